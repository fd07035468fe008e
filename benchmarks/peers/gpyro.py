"""gpyro as it is shipped: requestLoop in a plain process, callers in a plain process.

`gpyro` asks nobody who he is, `gpyro-key` wants a login with a key and seals every frame, `gpyro-tls` is TLS 1.3
with certificates on both sides.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import cache, partial
from tempfile import mkdtemp
from typing import Any

import gevent

import gpyro
from benchmarks.model import Work
from benchmarks.peer import Announce, Client, Peer
from benchmarks.peers._callers import call_each_in_greenlets, call_in_greenlets, pace_in_greenlets
from gpyro import auth

#: Known to both processes; what is measured is the same for every key.
KEY = auth.Key("benchmark", bytes(range(32)))


class Echo(gpyro.ObjBase):
    def echo(self, value: Any) -> Any:
        return value

    def nap(self, seconds: float) -> None:
        gevent.sleep(seconds)


class GpyroClient(Client):
    def __init__(self, name: str, address: str) -> None:
        self._name, self._address = name, address
        self._others: list[GpyroClient] = []
        uri, _, folder = address.partition(" ")
        self._proxy = gpyro.Proxy(uri, tls=read_certificates(folder) if folder else None)
        if name == "gpyro-key":
            self._proxy._setIdentification(KEY)

    def echo(self, value: Any) -> Any:
        return self._proxy.echo(value)

    def echo_together(self, value: Any, calls: int, width: int) -> None:
        call_in_greenlets(lambda sent: self._proxy.echo(sent), value, calls, width)

    def echo_apart(self, value: Any, calls: int, width: int) -> None:
        while len(self._others) < width:
            other = GpyroClient(self._name, self._address)
            other.echo(value)
            self._others.append(other)
        call_each_in_greenlets([partial(other.echo_in_turn, value) for other in self._others], calls)

    def echo_paced(self, value: Any, starts: Sequence[float], width: int) -> list[float]:
        return pace_in_greenlets([partial(self.echo_in_turn, value)] * width, starts)

    def nap_together(self, calls: int, seconds: float) -> None:
        call_in_greenlets(lambda sent: self._proxy.nap(sent), seconds, calls, calls)

    def close(self) -> None:
        self._proxy._release()


def make_certificates() -> str:
    """Make a CA and certificates for both sides with the command; returns their directory."""
    folder = mkdtemp(prefix="gpyro-benchmark-")
    subprocess.run(
        [sys.executable, "-m", "gpyro", "certs", "init", folder], check=True, stdout=subprocess.DEVNULL
    )
    return folder


@cache  # a program has one TLSConfig for all its proxies
def read_certificates(folder: str, certificate: str = "client.pem") -> gpyro.TLSConfig:
    return gpyro.TLSConfig(
        certificate=f"{folder}/{certificate}", ca=f"{folder}/ca.pem", client_certificates="required"
    )


class GpyroPeer(Peer):
    distributions = ("gpyro", "gevent", "ormsgpack")

    def __init__(self, name: str) -> None:
        self._name = name

    def serve(self, announce: Announce, work: Work) -> None:
        folder = make_certificates() if self._name == "gpyro-tls" else ""
        daemon = gpyro.Daemon(
            "PYROSSL" if folder else "PYRO", host="127.0.0.1", port=0, norange=True,
            tls=read_certificates(folder, "host.pem") if folder else None,
            identifications=[KEY] if self._name == "gpyro-key" else None,
        )  # fmt: skip
        announce(f"{daemon.connect(Echo())} {folder}".strip())
        daemon.requestLoop()

    def connect(self, address: str, work: Work) -> GpyroClient:
        return GpyroClient(self._name, address)

    def connect_together(self, address: str, work: Work, value: Any, calls: int) -> None:
        def connect_and_call(sent: Any) -> None:
            client = self.connect(address, work)
            client.echo(sent)
            client.close()

        call_in_greenlets(connect_and_call, value, calls, work.width)


def build(name: str) -> GpyroPeer:
    return GpyroPeer(name)
