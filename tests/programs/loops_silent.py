"""A client that is silent after its first call until it gets a signal."""

import sys

KIND, URI = sys.argv[1:]
if KIND == "patched":
    from gevent import monkey

    monkey.patch_all()

import signal
import time

import gpyro

signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
got = []
proxy = gpyro.Proxy(URI)
proxy.echo(1)
connection = proxy._core._connections[next(iter(proxy._core._connections))]
print("connected", flush=True)
while not got:
    time.sleep(0.05)  # in the plain process nothing runs the hub meanwhile
proxy.echo(2)
print("goes on", connection.closed_by is None, flush=True)
