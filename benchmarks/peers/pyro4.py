"""Pyro 4 with pickle, the fastest of its serializers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import Pyro4

from benchmarks.model import Work
from benchmarks.peer import Announce, Client, Peer
from benchmarks.peers._callers import call_in_threads, pace_in_greenlets

# The pool must hold the connections of the `greenlets` work, or of the point of a curve, if that has more.
POOL_SIZE = 200

Pyro4.config.SERIALIZER = "pickle"
Pyro4.config.SERIALIZERS_ACCEPTED = {"pickle"}


@Pyro4.expose
class Echo:
    def echo(self, value: Any) -> Any:
        return value


class Pyro4Client(Client):
    connection_each = True

    def __init__(self, address: str) -> None:
        self._address = address
        self._proxy = Pyro4.Proxy(address)
        self._callers: list[Callable[[int], None]] = []

    def echo(self, value: Any) -> Any:
        return self._proxy.echo(value)

    def echo_together(self, value: Any, calls: int, width: int) -> None:
        while len(self._callers) < width:
            self._callers.append(self._new_caller(value))
        call_in_threads(self._callers, calls)

    def echo_paced(self, value: Any, starts: Sequence[float], width: int) -> list[float]:
        return pace_in_greenlets(self._callers, starts)

    def _new_caller(self, value: Any) -> Callable[[int], None]:
        proxy = Pyro4.Proxy(self._address)

        def run(calls: int) -> None:
            for _ in range(calls):
                proxy.echo(value)

        return run

    def close(self) -> None:
        self._proxy._pyroRelease()


class Pyro4Peer(Peer):
    distributions = ("Pyro4",)
    notes = {"greenlets": "a proxy for each greenlet; gevent-patched client"}
    refused = {
        "naps": "one call at a time on a connection: 10,000 s",
        "idle": "a thread for each connection, at most 80 (THREADPOOL_SIZE)",
    }

    def serve(self, announce: Announce, work: Work) -> None:
        Pyro4.config.THREADPOOL_SIZE = max(POOL_SIZE, 2 * work.width)
        daemon = Pyro4.Daemon(host="127.0.0.1", port=0)
        announce(str(daemon.register(Echo())))
        daemon.requestLoop()

    def connect(self, address: str, work: Work) -> Pyro4Client:
        return Pyro4Client(address)


def build(name: str) -> Pyro4Peer:
    return Pyro4Peer()
