"""Files that hold secrets or say who may do what: whom they may belong to, who may read and who may write them."""

from __future__ import annotations

import os
import stat
from typing import Final

from gpyro.errors import ConfigurationError

__all__ = ["check_directory", "check_file", "read_private", "read_trusted", "write_private"]

FILE_MODE: Final = 0o600
#: Whom a file must not be open to: group and others, others alone, and writers among both.
NOBODY_ELSE, NO_OTHERS, NO_WRITERS = 0o077, 0o007, 0o022
#: A line of a verifier is some 150 bytes; this is a file for 50,000 callers.
MAX_FILE_BYTES: Final = 8 * 1024 * 1024

_WAYS = {NOBODY_ELSE: ("read it", "600"), NO_OTHERS: ("read it", "640"), NO_WRITERS: ("change it", "644")}


def check_file(name: str, state: os.stat_result, forbidden: int) -> None:
    """See that a file is plain, belongs to this user or root, and has none of the `forbidden` bits.

    Raises:
        ConfigurationError: it is not so.
    """
    if not stat.S_ISREG(state.st_mode):
        raise ConfigurationError(f"{name!r} is no plain file")
    if state.st_uid not in (os.geteuid(), 0):
        raise ConfigurationError(
            f"{name!r} belongs to user {state.st_uid}; secrets and rights are read from files of this user or root"
        )
    if state.st_mode & forbidden:
        what, mode = _WAYS[forbidden]
        raise ConfigurationError(
            f"{name!r} has mode {stat.S_IMODE(state.st_mode):04o}, so that others can {what}; "
            f"`chmod {mode} {name}`"
        )


def check_directory(name: str, state: os.stat_result) -> None:
    """See that nobody else can exchange the files in a directory.

    Raises:
        ConfigurationError: others may write to it, or it belongs to somebody else than this user or root.
    """
    # In a directory like /tmp, with the sticky bit, everybody can only exchange what is his own.
    open_to_others = state.st_mode & NO_WRITERS and not state.st_mode & stat.S_ISVTX
    if state.st_uid not in (os.geteuid(), 0) or open_to_others:
        raise ConfigurationError(
            f"directory {name!r} has mode {stat.S_IMODE(state.st_mode):04o} and belongs to user {state.st_uid}, "
            f"so others could exchange the keys in it; `chmod 700` it, or take one of user {os.geteuid()}"
        )


def write_private(path: str | os.PathLike[str], text: str) -> None:
    """Make a new file that only this user can read, where nobody else can put another in its place.

    Raises:
        ConfigurationError: it exists, or cannot be made.
    """
    folder = os.path.dirname(os.path.abspath(path))
    try:
        check_directory(folder, os.stat(folder))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
    except OSError as exc:
        hint = "; nothing is overwritten, choose another name" if isinstance(exc, FileExistsError) else ""
        raise ConfigurationError(f"{os.fspath(path)!r} cannot be made: {exc.strerror}{hint}") from exc
    with open(descriptor, "w") as file:
        os.fchmod(descriptor, FILE_MODE)
        file.write(text)


def read_private(path: str | os.PathLike[str]) -> str:
    """Return the text of a file that only this user, or root, may read and write.

    Raises:
        ConfigurationError: others may, or it cannot be read.
    """
    return _read(os.fspath(path), NOBODY_ELSE)


def read_trusted(path: str | os.PathLike[str]) -> str:
    """Return the text of a file that only this user, or root, may write.

    Raises:
        ConfigurationError: others may, or it cannot be read.
    """
    return _read(os.fspath(path), NO_WRITERS)


def _read(name: str, forbidden: int) -> str:
    try:
        # Not blocking, so that a pipe in its place holds nobody up.
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            check_file(name, os.fstat(descriptor), forbidden)
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise ConfigurationError(f"{name!r} cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(f"{name!r} is larger than {MAX_FILE_BYTES} bytes, which no such file is")
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{name!r} is no text: byte {exc.start} is not UTF-8") from exc
