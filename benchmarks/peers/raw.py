"""Bare gevent: a StreamServer that echoes the same number of bytes, without meaning.

What any protocol on gevent pays at least. The bytes are as many as MessagePack
needs for the payload, in both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import gevent
import ormsgpack
from gevent import socket
from gevent.server import StreamServer

from benchmarks.model import Work
from benchmarks.peer import Announce, Client, Peer
from benchmarks.peers._callers import call_each_in_greenlets, pace_in_greenlets
from benchmarks.works import build_payload

SMALL_BUFFER = 65_536
LARGE_BUFFER = 1_048_576


# What is sent at one go must fit into the buffers of the sockets, as the echo comes while it is sent.
STREAMED_BEYOND = 1_048_576


def buffer_size(work: Work) -> int:
    value = build_payload(work.payload)
    return LARGE_BUFFER if isinstance(value, bytes) and len(value) > SMALL_BUFFER else SMALL_BUFFER


def open_socket(address: str) -> Any:
    host, port = address.split(":")
    sock = socket.create_connection((host, int(port)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def echo_bytes(sock: Any, data: bytes, buffer_bytes: int) -> None:
    if len(data) > STREAMED_BEYOND:
        gevent.spawn(sock.sendall, data)
    else:
        sock.sendall(data)
    missing = len(data)
    while missing:
        received = sock.recv(buffer_bytes)
        if not received:
            raise ConnectionError("the raw echo server closed the connection")
        missing -= len(received)


class RawClient(Client):
    connection_each = True

    def __init__(self, address: str, work: Work) -> None:
        self._address = address
        self._data = ormsgpack.packb(build_payload(work.payload))
        self._buffer_bytes = buffer_size(work)
        self._sock = open_socket(address)
        self._others: list[Any] = []

    def echo(self, value: Any) -> Any:
        echo_bytes(self._sock, self._data, self._buffer_bytes)
        return value

    def echo_together(self, value: Any, calls: int, width: int) -> None:
        while len(self._others) < width:
            self._others.append(open_socket(self._address))
        call_each_in_greenlets([partial(self._echo_on, sock) for sock in self._others], calls)

    def echo_paced(self, value: Any, starts: Sequence[float], width: int) -> list[float]:
        return pace_in_greenlets([partial(self._echo_on, sock) for sock in self._others], starts)

    def _echo_on(self, sock: Any, calls: int) -> None:
        for _ in range(calls):
            echo_bytes(sock, self._data, self._buffer_bytes)

    def close(self) -> None:
        self._sock.close()


class RawPeer(Peer):
    distributions = ("gevent",)
    notes = {
        "greenlets": "a connection for each greenlet: bytes cannot be told apart on one",
        "sizes": "from 1 MiB on, a greenlet sends while another receives",
    }
    refused = {"naps": "bytes without calls"}

    def serve(self, announce: Announce, work: Work) -> None:
        buffer_bytes = buffer_size(work)

        def handle(sock: Any, _address: Any) -> None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := sock.recv(buffer_bytes):
                sock.sendall(data)

        server = StreamServer(("127.0.0.1", 0), handle, backlog=1024)
        server.start()
        announce(f"127.0.0.1:{server.server_port}")
        server.serve_forever()

    def connect(self, address: str, work: Work) -> RawClient:
        return RawClient(address, work)


def build(name: str) -> RawPeer:
    return RawPeer()
