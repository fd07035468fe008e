"""The server under attack: daemons on one hub, with and without a login, and what it tells of itself."""

from __future__ import annotations

import gc
import logging
import os
import time
from pathlib import Path
from typing import Any

import gevent
import greenlet

import gpyro
from gpyro import hub
from gpyro._connection.opening import Opening
from gpyro.wire.native import FrameType
from tests.support.attackers import KEY

__all__ = ["Server"]


class Target(gpyro.ObjBase):
    """What is called; counts the calls, and those of callers who were not let in."""

    def __init__(self, wants_login: bool) -> None:
        super().__init__()
        self._wants_login = wants_login
        self.executed = self.early = 0

    def echo(self, value: Any = None) -> Any:
        caller = gpyro.current_call.caller
        self.executed += 1
        # Not the connection's state now: a oneway call may run after its connection has ended.
        let_in = getattr(caller, "was_welcomed", False)
        self.early += not let_in or (self._wants_login and caller.identity is None)
        return value


def note_welcomes() -> None:
    """From now on, mark each connection of this process that a WELCOME is sent on."""
    say = Opening.say

    def note(self: Opening, kind: FrameType, body: bytes) -> bytes:
        sent = say(self, kind, body)
        if kind is FrameType.WELCOME:
            self._connection.was_welcomed = True
        return sent

    Opening.say = note  # type: ignore[method-assign]


class Watch:
    """Looks on at an entrance: how many are not let in at a time, and for how long."""

    def __init__(self, entrance: Any) -> None:
        self._entrance = entrance
        self._arrived, self._left = entrance.arrived, entrance.left
        entrance.arrived, entrance.left = self.arrived, self.left
        self.most = self.came = self.sources = 0
        self.longest = 0.0

    def arrived(self, connection: Any) -> None:
        self._arrived(connection)
        self.came += 1
        self.most = max(self.most, len(self._entrance._waiting))

    def left(self, connection: Any) -> None:
        since = self._entrance._waiting.get(connection)
        if since is not None:
            self.longest = max(self.longest, time.monotonic() - since[0])
        self._left(connection)
        self.sources = max(self.sources, len(self._entrance.sources))


class Server:
    """One daemon that wants a login, one that does not, and one inside TLS where certificates are given."""

    def __init__(self, settings: dict[str, Any], certificate: str = "", ca: str = "") -> None:
        logging.disable(logging.CRITICAL)
        note_welcomes()
        self.targets: list[Target] = []
        self.watches: list[Watch] = []
        self.daemons: list[Any] = []
        self.uris = [self._serve(settings, login=True), self._serve(settings, login=False)]
        if certificate:
            tls = gpyro.TLSConfig(certificate=certificate, ca=ca)
            self.uris.append(self._serve(settings, login=True, tls=tls))
        self._cpu = time.process_time()
        self._since = time.monotonic()

    def _serve(self, settings: dict[str, Any], login: bool, tls: Any = None) -> str:
        daemon = gpyro.Daemon(
            "PYRO" if tls is None else "PYROSSL", host="127.0.0.1", port=0, norange=True,
            config=gpyro.config.snapshot(**settings), tls=tls,
        )  # fmt: skip
        if login:
            daemon.setAllowedIdentifications([KEY.verifier()])
        target = Target(login)
        self.targets.append(target)
        self.watches.append(Watch(daemon._service.entrance))
        self.daemons.append(daemon)
        uri = str(daemon.connect(target))
        gevent.spawn(daemon.requestLoop)
        return uri

    def status(self, collect: bool = True) -> dict[str, Any]:
        """Return counts and sizes; `collect` lets the garbage collector go first."""
        if collect:
            collect_garbage()
        now = time.monotonic()
        seconds, used = now - self._since, time.process_time() - self._cpu
        objects = gc.get_objects() if collect else []
        state = hub.current_state()
        idle = set(map(id, state._idle_workers))
        found = {
            "descriptors": count_descriptors(),
            "objects": len(objects),
            "greenlets": sum(
                isinstance(item, greenlet.greenlet) and bool(item) and not item.dead and id(item) not in idle
                for item in objects
            ),
            "connections": sum(len(daemon._service._connections) for daemon in self.daemons),
            "not_let_in": sum(len(daemon._service.entrance._waiting) for daemon in self.daemons),
            "closing": len(state.closing),
            "sources_connected": sum(
                len(daemon._service.entrance.sources._connections) for daemon in self.daemons
            ),
            "resident_kib": resident_kib(),
            "peak_kib": resident_kib("VmHWM"),
            "executed": sum(target.executed for target in self.targets),
            "early": sum(target.early for target in self.targets),
            "most_not_let_in": max(watch.most for watch in self.watches),
            "longest_not_let_in": max(watch.longest for watch in self.watches),
            "came": sum(watch.came for watch in self.watches),
            "sources": max(watch.sources for watch in self.watches),
            "blocked": sum(daemon._service.entrance.sources.count_blocked(now) for daemon in self.daemons),
            "seconds": seconds,
            "cpu": used,
        }  # fmt: skip
        # To look at all that takes time, which is not what is looked at.
        self._since, self._cpu = time.monotonic(), time.process_time()
        return found

    def forget_peak(self) -> dict[str, Any]:
        """Let the peak of the resident memory begin at what it is now."""
        gc.collect()
        gevent.sleep(0.05)  # for the last caller to be let go of
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        return self.status(collect=False)


def collect_garbage() -> None:
    # The first round may run finalisers that make garbage of their own.
    for _ in range(3):
        gc.collect()


def count_descriptors() -> int:
    """Return how many are open, without the one that is open to look."""
    return len(os.listdir("/proc/self/fd")) - 1


def resident_kib(name: str = "VmRSS") -> int:
    """Return a size from /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0
