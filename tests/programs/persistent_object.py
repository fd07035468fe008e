"""An object that keeps its name and its id; the argument is the port."""

from __future__ import annotations

import sys

import gevent

import gpyro
from gpyro.errors import NamingError


class Counter(gpyro.ObjBase):
    def __init__(self) -> None:
        super().__init__()
        self._calls = 0

    def count(self) -> int:
        self._calls += 1
        return self._calls


def find_name_server() -> gpyro.naming.NameServerProxy:
    with gevent.Timeout(30):
        while True:
            try:
                return gpyro.naming.NameServerLocator().getNS("127.0.0.1", gpyro.config.ns_port)
            except NamingError:
                gevent.sleep(0.05)


ns = find_name_server()
daemon = gpyro.Daemon(port=int(sys.argv[1]), norange=True)
daemon.useNameServer(ns)
print("URI", daemon.connectPersistent(Counter(), "kept"), flush=True)
daemon.requestLoop()
