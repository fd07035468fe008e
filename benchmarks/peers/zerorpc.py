"""zerorpc: ZeroMQ and MessagePack on gevent; one client is shared by greenlets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import gevent
import zerorpc
import zmq

from benchmarks.model import Work
from benchmarks.peer import Announce, Client, Peer
from benchmarks.peers._callers import call_each_in_greenlets, call_in_greenlets, pace_in_greenlets

# The shipped limits are meant for one call after another: 30 s for a call.
CALL_SECONDS = 60


class Echo:
    def echo(self, value: Any) -> Any:
        return value

    def nap(self, seconds: float) -> None:
        gevent.sleep(seconds)


class ZerorpcClient(Client):
    def __init__(self, address: str) -> None:
        self._address = address
        self._client = zerorpc.Client(address, timeout=CALL_SECONDS)
        self._others: list[ZerorpcClient] = []

    def echo(self, value: Any) -> Any:
        return self._client.echo(value)

    def echo_together(self, value: Any, calls: int, width: int) -> None:
        call_in_greenlets(lambda sent: self._client.echo(sent), value, calls, width)

    def echo_apart(self, value: Any, calls: int, width: int) -> None:
        while len(self._others) < width:
            self._others.append(ZerorpcClient(self._address))
        call_each_in_greenlets([partial(other.echo_in_turn, value) for other in self._others], calls)

    def echo_paced(self, value: Any, starts: Sequence[float], width: int) -> list[float]:
        return pace_in_greenlets([partial(self.echo_in_turn, value)] * width, starts)

    def nap_together(self, calls: int, seconds: float) -> None:
        call_in_greenlets(lambda sent: self._client.nap(sent), seconds, calls, calls)

    def close(self) -> None:
        self._client.close()


class ZerorpcPeer(Peer):
    distributions = ("zerorpc", "pyzmq")
    refused = {"idle": "a client needs several descriptors: 15,000 do not fit into one process"}

    def serve(self, announce: Announce, work: Work) -> None:
        server = zerorpc.Server(Echo())
        server.bind("tcp://127.0.0.1:0")
        # The port that was chosen is known to the ZeroMQ socket only.
        endpoint = server._events._socket.getsockopt(zmq.LAST_ENDPOINT)
        announce(endpoint.rstrip(b"\0").decode())
        server.run()

    def connect(self, address: str, work: Work) -> ZerorpcClient:
        return ZerorpcClient(address)


def build(name: str) -> ZerorpcPeer:
    return ZerorpcPeer()
