"""R15: servers that hold names are killed, one after another; how long their names stay."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import gevent

import gpyro
from benchmarks.reliability.report import Report
from gpyro.naming import NameServerLocator, NameServerProxy, NameServerStarter
from tests.support.programs import PROGRAMS, Program, free_port, make_environment

__all__ = ["run_leases"]

LEASE_SECONDS = 1.5
#: What is promised beyond the lease.
SLACK_SECONDS = 2.0
NAMES = 20
LOOK_SECONDS = 0.005
PATIENCE_SECONDS = 30.0


def run_leases(full: bool) -> Report:
    """Kill servers, and measure from the last renewal that was answered until the names are gone."""
    count = 100 if full else 12
    report = Report("R15", f"{count} servers with {NAMES} names each are killed; leases of {LEASE_SECONDS:g} s")
    with tempfile.TemporaryDirectory() as folder:
        gpyro.config.storage = folder
        starter = NameServerStarter()
        port = free_port()
        thread = threading.Thread(target=lambda: starter.start("127.0.0.1", port, dontlookupother=True))
        thread.start()
        assert starter.waitUntilStarted(PATIENCE_SECONDS) and starter.ns is not None
        renewed: dict[str, float] = {}
        starter.ns._leases.on_renewed = lambda lease: renewed.__setitem__(lease, time.monotonic())
        proxy = NameServerLocator().getNS("127.0.0.1", port)
        try:
            stayed = [_kill_one(Path(folder), port, proxy, renewed, number) for number in range(count)]
        finally:
            proxy._release()
            starter.shutdown()
            thread.join(PATIENCE_SECONDS)
    report.at_least("names stayed after the last renewal, shortest", min(stayed), LEASE_SECONDS, " s")
    longest = LEASE_SECONDS + SLACK_SECONDS
    report.at_most("names stayed after the last renewal, longest", max(stayed), longest, " s")
    report.tell("in the middle", f"{sorted(stayed)[count // 2]:.2f} s")
    return report


def _kill_one(
    folder: Path, port: int, proxy: NameServerProxy, renewed: dict[str, float], number: int
) -> float:
    names = [f"server{number}-{name}" for name in range(NAMES)]
    renewed.clear()
    words = [str(PROGRAMS / "lease_server.py"), "serve", str(port), *names]
    with Program(words, make_environment(folder, ns_lease_seconds=LEASE_SECONDS)) as server:
        server.read_until("up")
        _wait(lambda: bool(renewed))
        server.process.kill()
        server.process.wait()
        _wait(lambda: not any(proxy.resolve_many(names).values()))
    return time.monotonic() - max(renewed.values())


def _wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until, f"not so within {PATIENCE_SECONDS:g} s"
        gevent.sleep(LOOK_SECONDS)
