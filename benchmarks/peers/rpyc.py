"""rpyc: values travel by reference unless they are copied with `obtain`, as is done here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import rpyc
from rpyc.utils.classic import obtain
from rpyc.utils.server import ThreadedServer

from benchmarks.model import Work
from benchmarks.peer import Announce, Client, Peer
from benchmarks.peers._callers import call_in_threads, pace_in_greenlets

CONFIG = {"allow_pickle": True}


class Echo(rpyc.Service):  # type: ignore[misc]
    def exposed_echo(self, value: Any) -> Any:
        return value

    def exposed_echo_copy(self, value: Any) -> Any:
        return obtain(value)


def open_connection(address: str) -> Any:
    host, port = address.split(":")
    return rpyc.connect(host, int(port), config=CONFIG)


class RpycClient(Client):
    connection_each = True

    def __init__(self, address: str, by_copy: bool) -> None:
        self._address = address
        self._connection = open_connection(address)
        # `connection.root.echo` costs a call of its own to fetch the method; a bound one is what users keep.
        root = self._connection.root
        self._echo, self._echo_copy = root.echo, root.echo_copy
        self._by_copy = by_copy
        self._callers: list[Callable[[int], None]] = []

    def echo(self, value: Any) -> Any:
        return obtain(self._echo_copy(value)) if self._by_copy else self._echo(value)

    def echo_together(self, value: Any, calls: int, width: int) -> None:
        while len(self._callers) < width:
            self._callers.append(self._new_caller(value))
        call_in_threads(self._callers, calls)

    def echo_paced(self, value: Any, starts: Sequence[float], width: int) -> list[float]:
        return pace_in_greenlets(self._callers, starts)

    def _new_caller(self, value: Any) -> Callable[[int], None]:
        connection = open_connection(self._address)
        echo = connection.root.echo

        def run(calls: int, keep: Any = connection) -> None:
            for _ in range(calls):
                echo(value)

        return run

    def close(self) -> None:
        self._connection.close()


class RpycPeer(Peer):
    distributions = ("rpyc",)
    notes = {
        "rows": "copied with obtain (pickle)",
        "tuples": "copied with obtain (pickle)",
        "greenlets": "a connection for each greenlet; gevent-patched client",
    }
    refused = {
        "naps": "one call at a time on a connection: 10,000 s",
        "idle": "a thread for each connection: 15,000 threads",
    }

    def serve(self, announce: Announce, work: Work) -> None:
        server = ThreadedServer(Echo, hostname="127.0.0.1", port=0, protocol_config=CONFIG)
        announce(f"127.0.0.1:{server.port}")
        server.start()

    def connect(self, address: str, work: Work) -> RpycClient:
        return RpycClient(address, by_copy=work.payload in ("rows", "tuples"))


def build(name: str) -> RpycPeer:
    return RpycPeer()
