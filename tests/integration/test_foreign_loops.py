"""getServerSockets in event loops that are not gevent's: nothing is missed, nothing spins, nothing aborts."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest

import gpyro
from tests.support.programs import PROGRAMS, Program, make_environment
from tests.support.servers import hello
from tests.support.serving import serve, wait_until

KINDS = pytest.mark.parametrize("kind", ["select", "gevent", "patched", "asyncio"])


@contextmanager
def looping(tmp_path: Path, kind: str, connections: int = 0) -> Iterator[Any]:
    words = [str(PROGRAMS / "loops_foreign.py"), kind, str(connections)]
    with Program(words, make_environment(tmp_path)) as program:
        uri = program.read_until("serving")
        proxy = gpyro.Proxy(uri)
        with ExitStack() as stack:
            for _ in range(connections):
                port = gpyro.PyroURI(uri).port or 0
                caller = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                caller.sendall(hello())  # who says nothing is not kept for long while others wait
            if connections:
                program.read_until("looping")
            yield proxy
            proxy.off()
            proxy._release()
            ended = program.finish()
            assert (ended.status, ended.stderr) == (0, "")
            assert ended.stdout.endswith("ended\n")


@KINDS
def test_calls_of_every_kind_are_served(tmp_path: Path, kind: str) -> None:
    with serve() as other, looping(tmp_path, kind) as proxy:
        calls = [
            gevent.spawn(proxy.nap, 0.2),
            gevent.spawn(proxy.block, 0.2),
            gevent.spawn(proxy.ask, other.uri, "far"),
            gevent.spawn(lambda: [proxy.echo(number) for number in range(100)]),
        ]
        gevent.joinall(calls, timeout=20)
        assert [call.value for call in calls] == ["slept", "blocked", "far", list(range(100))]


@KINDS
def test_idle_loop_takes_no_processor_time(tmp_path: Path, kind: str) -> None:
    """Not at once but after one idle second each: select may time out, and the wheel turns once a second."""
    with looping(tmp_path, kind) as proxy:
        proxy.echo(1)
        proxy.idle()
        gevent.sleep(1.0)
        rounds, seconds = proxy.idle()
        assert rounds <= 20
        assert seconds <= 0.2


def test_sleeping_call_does_not_spin_either(tmp_path: Path) -> None:
    with looping(tmp_path, "select") as proxy:
        proxy.idle()
        proxy.nap(1.0)
        rounds, seconds = proxy.idle()
        assert rounds <= 250, "a wake-up each 10 ms is meant"
        assert seconds <= 0.5


@KINDS
def test_2000_connections_disturb_neither_select_nor_the_calls(tmp_path: Path, kind: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 5000:
        pytest.skip(f"only {hard} descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with looping(tmp_path, kind, 2000) as proxy:
            begin = time.monotonic()
            calls = [gevent.spawn(proxy.nap, 0.1), gevent.spawn(proxy.block, 0.1)]
            assert [proxy.echo(number) for number in range(50)] == list(range(50))
            gevent.joinall(calls, timeout=20)
            assert [call.value for call in calls] == ["slept", "blocked"]
            assert time.monotonic() - begin < 20
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_drain_goes_on_in_a_foreign_loop() -> None:
    """Shut down inside a call: the others finish although only the program's own loop runs the hub."""
    import select

    def loop(daemon: gpyro.Daemon) -> None:
        while socks := daemon.getServerSockets():
            if select.select(socks, [], [], 0.5)[0]:
                daemon.handleRequests()

    with serve(loop=loop) as served:
        proxy = served.proxy()
        nap = gevent.spawn(proxy.nap, 0.3)
        wait_until(served.thing.entered.is_set)
        assert proxy.end() == "ending"
        assert nap.get(timeout=10) == "slept"
        served.thread.join(10)
        assert not served.thread.is_alive()


def test_shutdown_by_another_thread_wakes_a_foreign_loop_that_has_no_connections() -> None:
    """What other threads ask of a hub does not show on its descriptor while it does not run."""
    import select

    ready = threading.Event()

    def loop(daemon: gpyro.Daemon) -> None:
        while socks := daemon.getServerSockets():
            ready.set()
            select.select(socks, [], [], 60)
            daemon.handleRequests()

    with serve(loop=loop) as served:
        assert ready.wait(10)
        served.daemon.shutdown()
        served.thread.join(10)
        assert not served.thread.is_alive()


@KINDS
def test_flood_of_calls_on_one_connection_is_served_without_pauses(tmp_path: Path, kind: str) -> None:
    """What a turn leaves over waits in the hub and not in the socket, so no descriptor tells of it."""
    with looping(tmp_path, kind) as proxy:
        proxy.echo(0)
        begin = time.monotonic()
        calls = [gevent.spawn(proxy.echo, number) for number in range(4000)]
        gevent.joinall(calls, timeout=30)
        assert [call.value for call in calls] == list(range(4000))
        assert time.monotonic() - begin < 8
