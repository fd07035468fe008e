"""Fetches files from server.py into the current directory, and checks that they have arrived whole.

`python examples/filetransfer/download.py` lists what there is, with names it fetches these.
"""

import argparse
import hashlib
import os

import gpyro


def download(files, name):
    digest = hashlib.sha256()
    try:
        expected = files.digest(name)
    except FileNotFoundError as exc:
        raise SystemExit(str(exc)) from None
    part = f"{name}.part"
    with open(part, "wb") as file:
        while piece := files.read(name, file.tell()):
            digest.update(piece)
            file.write(piece)
    if digest.hexdigest() != expected:
        raise SystemExit(f"{part} is not what {name} was when it was begun; has that been changed meanwhile?")
    os.replace(part, name)
    print(f"{name}: {os.path.getsize(name)} bytes, sha256 {expected}")


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("names", metavar="NAME", nargs="*")
options = parser.parse_args()

files = gpyro.Proxy("PYRONAME://files")
for name in options.names:
    download(files, name)
if not options.names:
    print(*files.names(), sep="\n")
