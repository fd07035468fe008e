"""multiprocessing.connection: pickled objects over a socket, from the standard library.

It has no calls: the server sends back what it receives, with a thread for each connection.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Client as open_client
from multiprocessing.connection import Connection, Listener
from typing import Any

from benchmarks.model import Work
from benchmarks.peer import Announce, Client, Peer
from benchmarks.peers._callers import call_in_threads, pace_in_threads


def open_connection(address: str) -> Any:
    host, port = address.split(":")
    return open_client((host, int(port)))


def echo_all(connection: Connection) -> None:
    try:
        while True:
            connection.send(connection.recv())
    except (EOFError, ConnectionError):
        connection.close()


class ConnectionClient(Client):
    connection_each = True

    def __init__(self, address: str) -> None:
        self._address = address
        self._connection = open_connection(address)
        self._callers: list[Callable[[int], None]] = []

    def echo(self, value: Any) -> Any:
        self._connection.send(value)
        return self._connection.recv()

    def echo_together(self, value: Any, calls: int, width: int) -> None:
        while len(self._callers) < width:
            self._callers.append(self._new_caller(value))
        call_in_threads(self._callers, calls)

    def echo_paced(self, value: Any, starts: Sequence[float], width: int) -> list[float]:
        return pace_in_threads(self._callers, starts)

    def _new_caller(self, value: Any) -> Callable[[int], None]:
        connection = open_connection(self._address)

        def run(calls: int) -> None:
            for _ in range(calls):
                connection.send(value)
                connection.recv()

        return run

    def close(self) -> None:
        self._connection.close()


class ConnectionPeer(Peer):
    notes = {
        "greenlets": "a thread and a connection for each caller",
        "connections": "a thread for each",
        # What is between 16 KiB and a packet of the loopback waits for the other side's delayed ACK.
        "sizes": "beyond 16 KiB in two writes, without TCP_NODELAY",
    }
    refused = {
        "naps": "one message at a time on a connection: 10,000 s",
        "idle": "a thread for each connection: 15,000 threads",
    }

    def serve(self, announce: Announce, work: Work) -> None:
        listener = Listener(("127.0.0.1", 0), backlog=1024)
        host, port = listener.address
        announce(f"{host}:{port}")
        while True:
            threading.Thread(target=echo_all, args=(listener.accept(),), daemon=True).start()

    def connect(self, address: str, work: Work) -> ConnectionClient:
        return ConnectionClient(address)


def build(name: str) -> ConnectionPeer:
    return ConnectionPeer()
