"""Hands out the files of a directory, piece by piece.

`python examples/filetransfer/server.py DIRECTORY`, then download.py.
"""

import argparse
import hashlib
from pathlib import Path

import gpyro

PIECE_BYTES = 1024 * 1024


class Files:
    """Nothing is open between two calls, so there is nothing to close where a client goes away.

    Disks make wait outside of gevent. What is marked `offload` runs in a thread, and holds up nobody else.
    """

    def __init__(self, directory):
        self._directory = directory

    @gpyro.offload
    def names(self):
        return sorted(path.name for path in self._directory.iterdir() if path.is_file())

    @gpyro.offload
    def digest(self, name):
        digest = hashlib.sha256()
        with open(self._path(name), "rb") as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
        return digest.hexdigest()

    @gpyro.offload
    def read(self, name, start):
        """Return the piece that begins at `start`; an empty one at the end."""
        with open(self._path(name), "rb") as file:
            file.seek(start)
            return file.read(PIECE_BYTES)

    def _path(self, name):
        # A name is taken from the directory, so that none leads out of it.
        if name not in self.names():
            raise FileNotFoundError(f"there is no file {name!r} here")
        return self._directory / name


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("directory", metavar="DIRECTORY", type=Path)
options = parser.parse_args()

daemon = gpyro.Daemon()
daemon.useNameServer(gpyro.naming.NameServerLocator().getNS())
daemon.connect(Files(options.directory), "files")
print("Files of", options.directory, "are ready; ctrl-C ends this.")
daemon.requestLoop()
