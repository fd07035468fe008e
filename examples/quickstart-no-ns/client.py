"""A client that is told the address of an object, and needs no name server.

`python examples/quickstart-no-ns/client.py URI`, with the address that server.py prints.
"""

import argparse

import gpyro

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("uri", metavar="URI", help="PYRO://host:port/id")
options = parser.parse_args()

print(gpyro.Proxy(options.uri).greet("Anna"))
