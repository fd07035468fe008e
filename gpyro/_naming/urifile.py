"""The file in which a name server leaves its address, for programs on the same machine."""

from __future__ import annotations

import os
import stat

from gpyro.errors import NamingError, URIError
from gpyro.uri import PyroURI
from gpyro.util import make_private_directory

__all__ = ["UriFile", "read_uri_file"]

#: An address has at most some hundred bytes; what is longer is something else.
MAX_BYTES = 1024
#: The address tells where names can be changed: for this user alone.
FILE_MODE = 0o600


class UriFile:
    """The file of one running name server.

    Who writes it removes it; `remove` leaves the file alone when another server has put its own there since.
    """

    def __init__(self, path: str, uri: PyroURI) -> None:
        self.path = path
        self._text = f"{uri}\n"
        self._identity: tuple[int, int] | None = None

    def __repr__(self) -> str:
        return f"<UriFile {self.path}, {'written' if self._identity else 'not written'}>"

    def write(self) -> None:
        """Put the address in place at one go: a reader sees the old file or the new one, never half of it.

        Raises:
            OSError: it cannot be written.
        """
        make_private_directory(os.path.dirname(self.path))
        new = f"{self.path}.{os.getpid()}.new"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, FILE_MODE)
        try:
            with open(descriptor, "w") as file:
                file.write(self._text)
                state = os.fstat(file.fileno())
            os.replace(new, self.path)
        except BaseException:
            os.unlink(new)
            raise
        self._identity = (state.st_dev, state.st_ino)

    def remove(self) -> None:
        """Remove the file if it is still the one that was written here; what cannot be removed stays."""
        identity, self._identity = self._identity, None
        if identity is None:
            return
        try:
            state = os.stat(self.path, follow_symlinks=False)
            # A number of a file that is gone may be given to the next one, so the text has to be ours too.
            if (state.st_dev, state.st_ino) == identity and _read(self.path) == self._text:
                os.unlink(self.path)
        except OSError:
            pass


def read_uri_file(path: str) -> PyroURI:
    """Return the address in the file.

    Raises:
        NamingError: there is no such file, it belongs to somebody else, or holds no address.
    """
    try:
        return PyroURI(_read(path).strip())
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not text"
        raise NamingError(f"{path!r} cannot be read: {reason or exc}") from exc
    except URIError as exc:
        raise NamingError(f"{path!r} holds no address: {exc}") from exc


def _read(path: str) -> str:
    # Not blocking, so that a pipe in its place holds nobody up; never through a link that somebody laid there.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or state.st_uid != os.geteuid():
            raise PermissionError(1, "it is no plain file of this user")
        return file.read(MAX_BYTES).decode()
