"""One database file on the disk: made whole or not at all, looked at before SQLite sees it, used by one process.

The lock is the system's (`flock` on the file itself): it ends with the process, however that ends. It says who
of several servers may use the file; SQLite's own locks, which are taken later, keep other programs away.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from gpyro import hub
from gpyro.errors import StorageError
from gpyro.storage.walcheck import DamagedLog, count_frames
from gpyro.util import make_private_directory

__all__ = ["EVENTS", "NAMES", "Claim", "FileKind", "make_file", "storage_error"]


class FileKind(NamedTuple):
    """A kind of file: whose it is and what it holds.

    `application_id` and `format`, the number of the newest format that is known, stand in the file's header.
    """

    application_id: int
    format: int
    #: Who uses such a file, and what is in it, for messages.
    server: str
    things: str

    @property
    def restore(self) -> str:
        """The way out where a file is damaged."""
        return f"put a copy from before in its place, or move it away to begin without {self.things}"


NAMES = FileKind(int.from_bytes(b"gpyn", "big"), 1, "name server", "names")
EVENTS = FileKind(int.from_bytes(b"gpye", "big"), 1, "event server", "events")
KINDS = {kind.application_id: kind for kind in (NAMES, EVENTS)}

#: Names tell who serves what, events what happens: for this user alone.
FILE_MODE = 0o600

MAGIC = b"SQLite format 3\0"
#: Source: https://www.sqlite.org/fileformat2.html, 1.3.
HEADER_BYTES, JOURNAL_MODES, USER_VERSION, APPLICATION = 100, slice(18, 20), slice(60, 64), slice(68, 72)
#: The mode with a write-ahead log, for reading and writing.
WITH_LOG = b"\2\2"
#: What SQLite puts beside a file.
BESIDE = ("-wal", "-shm", "-journal")

#: Files that this process uses, by device and number. To open and close one of them a second time would end
#: SQLite's locks on it.
_used: set[tuple[int, int]] = set()
_used_lock = hub.NativeLock()


def storage_error(path: str, what: str, way_out: str) -> StorageError:
    """Make the error: which file, what is wrong with it, what to do."""
    return StorageError(f"{path}: {what}; {way_out}")


def make_file(path: str, fill: Callable[[str], object]) -> None:
    """Make a database file, with its directory, if there is none; `fill` makes a whole one at another path.

    It is given its name when it is on the disk, so a crash leaves none or a whole one.

    Raises:
        StorageError: that cannot be done.
    """
    directory = os.path.dirname(path)
    try:
        make_private_directory(directory)
        if os.path.lexists(path):
            return
        place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(place, fcntl.LOCK_EX)
            if not os.path.lexists(path):
                _make_whole(path, fill)
                os.fsync(place)
        finally:
            os.close(place)
    except OSError as exc:
        raise _cannot(path, "made", exc) from exc


def _make_whole(path: str, fill: Callable[[str], object]) -> None:
    new = f"{path}.new"
    for name in (new, *(new + ending for ending in BESIDE)):
        if os.path.lexists(name):
            os.unlink(name)  # Left behind by one that was killed.
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
    try:
        fill(new)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(new, path)


def _cannot(path: str, what: str, exc: OSError) -> StorageError:
    reason = exc.strerror or str(exc)
    return storage_error(path, f"it cannot be {what}: {reason}", "see that this user may write there")


class Claim:
    """This process's use of one database file of some kind, which has been looked at from outside.

    Resources: `release` ends it, after SQLite has closed the file; in a forked child too, which has no claim.

    Raises:
        StorageError: another server uses the file, or it is not one that can be used. Nothing was changed.
    """

    def __init__(self, path: str, kind: FileKind) -> None:
        self.path = path
        self.kind = kind
        self._identity: tuple[int, int] | None = None
        self._descriptor = -1
        try:
            self._take()
        except OSError as exc:
            self.release()
            raise _cannot(path, "opened", exc) from exc
        except BaseException:
            self.release()
            raise

    def __repr__(self) -> str:
        return f"<Claim on {self.path}{'' if self._identity else ', released'}>"

    def _take(self) -> None:
        state = os.lstat(self.path)
        self._check_state(self.path, state)
        identity = (state.st_dev, state.st_ino)
        with _used_lock:
            if identity in _used:
                raise self._in_use("this process itself")
            _used.add(identity)
            self._identity = identity
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise self._in_use(f"another {self.kind.server}") from exc
        self._check_header(os.pread(self._descriptor, HEADER_BYTES, 0))

    def _in_use(self, who: str) -> StorageError:
        return storage_error(
            self.path, f"{who} uses this database", "end that one first, or give this one another directory"
        )

    def _check_state(self, path: str, state: os.stat_result) -> None:
        if not stat.S_ISREG(state.st_mode):
            raise storage_error(path, "this is no plain file", "move it away, or choose another directory")
        if state.st_uid != os.geteuid():
            raise storage_error(
                path, f"it belongs to user {state.st_uid}, and this is user {os.geteuid()}",
                f"run the {self.kind.server} as that user, or choose another directory",
            )  # fmt: skip
        if not state.st_mode & stat.S_IWUSR:
            raise storage_error(path, "it is read-only", "allow this user to write to it")
        if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise storage_error(
                path, f"others may write to it (mode {stat.S_IMODE(state.st_mode):o})",
                f"look at what they wrote, then chmod {FILE_MODE:o}",
            )  # fmt: skip

    def _check_header(self, header: bytes) -> None:
        if not header:
            raise storage_error(self.path, "it is empty", f"move it away to begin without {self.kind.things}")
        if header[: len(MAGIC)] != MAGIC or len(header) < HEADER_BYTES:
            raise storage_error(
                self.path, "this is no SQLite database, or it is damaged", self.kind.restore
            )  # fmt: skip
        self._check_application(int.from_bytes(header[APPLICATION], "big"))
        self.check_format(int.from_bytes(header[USER_VERSION], "big"))
        if header[JOURNAL_MODES] != WITH_LOG:
            raise self.damaged("its header does not speak of a log")

    def _check_application(self, number: int) -> None:
        if number == self.kind.application_id:
            return
        other = KINDS.get(number)
        what = f"it is a database of another program (application id {number:#x}), or damaged"
        if other is not None:
            what = f"it is a database of {other.things}, and this {self.kind.server} keeps {self.kind.things}"
        raise storage_error(self.path, what, "choose another directory")

    def damaged(self, how: str) -> StorageError:
        """Make the error that says so."""
        return storage_error(self.path, f"it is damaged: {how}", self.kind.restore)

    def check_format(self, number: int) -> None:
        """See that this gpyro knows a format.

        Raises:
            StorageError: it does not.
        """
        if number > self.kind.format:
            raise storage_error(
                self.path, f"it has format {number}, and this gpyro knows {self.kind.format} at most",
                "use the newer gpyro that wrote it, or choose another directory",
            )  # fmt: skip
        if number < 1:
            raise self.damaged(f"it has format {number}")

    def check_log(self) -> int:
        """Look at the write-ahead log beside the file; return how many of its frames are of whole transactions.

        Raises:
            StorageError: it is damaged, or it is not one that can be used.
        """
        log = f"{self.path}-wal"
        try:
            state = os.lstat(log)
            self._check_state(log, state)
            descriptor = os.open(log, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                return count_frames(file.read())
        except FileNotFoundError:
            return 0
        except OSError as exc:
            raise _cannot(log, "read", exc) from exc
        except DamagedLog as exc:
            raise storage_error(self.path, f"its log {log} is damaged: {exc}", self.kind.restore) from exc

    def release(self) -> None:
        """Let go of the file; again does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        with _used_lock:
            if self._identity is not None:
                _used.discard(self._identity)
            self._identity = None

    def abandon(self) -> None:
        """Let go of it in a forked child, whose locks may be held by threads that it does not have."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._identity = None


def _after_fork_in_child() -> None:
    global _used, _used_lock
    _used, _used_lock = set(), hub.NativeLock()


os.register_at_fork(after_in_child=_after_fork_in_child)
