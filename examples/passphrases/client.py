"""Tries to get into a vault, with a passphrase or without one.

`python examples/passphrases/client.py [FILE]`, while server.py runs.
"""

import argparse

import gpyro

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("file", metavar="FILE", nargs="?", help="holds the passphrase; only you can read it")
options = parser.parse_args()

vault = gpyro.Proxy("PYRONAME://vault")
if options.file:
    vault._setIdentification(gpyro.auth.load_identification(options.file))
try:
    print(vault.open())
except gpyro.errors.ConnectionDeniedError as exc:
    print("I am not let in:", exc)
