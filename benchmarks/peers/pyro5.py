"""Pyro 5 with three serializers, and with its multiplex server.

A Pyro 5 proxy belongs to one thread, so many callers have a proxy each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import Pyro5.api

from benchmarks.model import Work
from benchmarks.peer import Announce, Client, Peer
from benchmarks.peers._callers import call_in_threads, pace_in_greenlets

# The pool must hold the connections of the `greenlets` work, or of the point of a curve, if that has more; the
# shipped 80 refuse the rest.
POOL_SIZE = 200


@Pyro5.api.expose
class Echo:
    def echo(self, value: Any) -> Any:
        return value


class Pyro5Client(Client):
    connection_each = True

    def __init__(self, address: str) -> None:
        self._address = address
        self._proxy = Pyro5.api.Proxy(address)
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
        proxy = Pyro5.api.Proxy(self._address)

        def run(calls: int) -> None:
            proxy._pyroClaimOwnership()
            for _ in range(calls):
                proxy.echo(value)

        return run

    def close(self) -> None:
        self._proxy._pyroRelease()


class Pyro5Peer(Peer):
    notes = {"greenlets": "a proxy for each greenlet; gevent-patched client"}

    def __init__(self, name: str) -> None:
        kind = name.removeprefix("pyro5-")
        self._multiplex = kind == "multiplex"
        self._serializer = "marshal" if self._multiplex else kind
        self.distributions = ("Pyro5", *({"msgpack", "serpent"} & {kind}))
        self.refused = {"naps": "one call at a time on a connection: 10,000 s"}
        if not self._multiplex:
            self.refused["idle"] = "a thread for each connection, at most 80 (THREADPOOL_SIZE)"
        self._configure()

    def _configure(self) -> None:
        Pyro5.api.config.SERIALIZER = self._serializer
        if self._multiplex:
            Pyro5.api.config.SERVERTYPE = "multiplex"

    def serve(self, announce: Announce, work: Work) -> None:
        Pyro5.api.config.THREADPOOL_SIZE = max(POOL_SIZE, 2 * work.width)
        daemon = Pyro5.api.Daemon(host="127.0.0.1", port=0)
        announce(str(daemon.register(Echo())))
        daemon.requestLoop()

    def connect(self, address: str, work: Work) -> Pyro5Client:
        return Pyro5Client(address)


def build(name: str) -> Pyro5Peer:
    return Pyro5Peer(name)
