"""Sends something large, and small things beside it over the same connection, which do not wait for it.

`python examples/largedata/client.py`, while server.py runs.
"""

import argparse
import os

import gevent

import gpyro

MIB = 1024 * 1024

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--mib", type=int, default=128, metavar="N", help="how large, in MiB (default: 128)")
options = parser.parse_args()

mirror = gpyro.Proxy("PYRONAME://mirror")
large = os.urandom(MIB) * options.mib
coming_back = gevent.spawn(mirror.echo, large)
small = 0
while not coming_back.ready():
    mirror.echo(small)
    small += 1
print(f"{options.mib} MiB came back", "unchanged." if coming_back.get() == large else "changed!")
print(f"Meanwhile {small} small calls were answered.")

# There is a limit, the same at the server for what it takes; here it is lowered for one proxy.
careful = gpyro.Proxy(mirror.URI, config=gpyro.config.snapshot(max_value_bytes=4 * MIB))
try:
    careful.echo(bytes(5 * MIB))
except gpyro.errors.ProtocolError as exc:
    print("Too large:", exc)
