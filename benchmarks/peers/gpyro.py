"""gpyro as it is shipped: requestLoop in a plain process, callers in a plain process."""

from __future__ import annotations

from typing import Any

import gevent

import gpyro
from benchmarks.model import Work
from benchmarks.peer import Announce, Client, Peer
from benchmarks.peers._callers import call_in_greenlets


class Echo(gpyro.ObjBase):
    def echo(self, value: Any) -> Any:
        return value

    def nap(self, seconds: float) -> None:
        gevent.sleep(seconds)


class GpyroClient(Client):
    def __init__(self, address: str) -> None:
        self._proxy = gpyro.Proxy(address)

    def echo(self, value: Any) -> Any:
        return self._proxy.echo(value)

    def echo_together(self, value: Any, calls: int, width: int) -> None:
        call_in_greenlets(lambda sent: self._proxy.echo(sent), value, calls, width)

    def nap_together(self, calls: int, seconds: float) -> None:
        call_in_greenlets(lambda sent: self._proxy.nap(sent), seconds, calls, calls)

    def close(self) -> None:
        self._proxy._release()


class GpyroPeer(Peer):
    distributions = ("gpyro", "gevent", "ormsgpack")

    def serve(self, announce: Announce, work: Work) -> None:
        daemon = gpyro.Daemon(host="127.0.0.1", port=0, norange=True)
        announce(str(daemon.connect(Echo())))
        daemon.requestLoop()

    def connect(self, address: str, work: Work) -> GpyroClient:
        return GpyroClient(address)


def build(name: str) -> GpyroPeer:
    return GpyroPeer()
