"""A SQLite file with a write-ahead log: how it is made, read without a change to it, and written in transactions.

What is in the file is for those who use this. They keep a table `state` of one row with a column `seal`, which
differs where anything in the file differs, and write it in every transaction.
"""

from __future__ import annotations

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from gpyro.errors import StorageError
from gpyro.storage.claim import Claim, FileKind, storage_error
from gpyro.storage.journal import NotKept

__all__ = ["FileWriter", "Row", "fetch", "make_tables", "reading"]

#: Rows for one statement, the powers of two up to this: few statements to prepare, and each is one passage
#: through the interpreter's lock however many rows it has. Ten variables each; SQLite allows 999 everywhere.
ROWS_AT_ONCE = 64
#: Rows fetched at a time while loading.
FETCHED_AT_ONCE = 2000

#: The log is emptied into the file at this size: some 1,000 small changes, read in less than 0.1 s at a restart.
MAX_LOG_BYTES = 4 * 1024 * 1024
#: How long SQLite waits for another program that looks at the file.
BUSY_SECONDS = 1.0

#: From a format to the next one, by application id and number: {(id, 1): function(connection)} would lead to 2.
#: There is but one of each so far.
UPGRADES: dict[tuple[int, int], Callable[[sqlite3.Connection], object]] = {}

E = TypeVar("E")
T = TypeVar("T")
Row = tuple[Any, ...]
Execute = Callable[..., sqlite3.Cursor]


def _connect(path: str, options: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{Path(path).as_uri()}?{options}", uri=True, isolation_level=None, timeout=BUSY_SECONDS
    )  # fmt: skip


def make_tables(path: str, kind: FileKind, tables: str, fill: Callable[[sqlite3.Connection], object]) -> None:
    """Make the tables in an empty file, and fill them."""
    connection = _connect(path, "mode=rw")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN; {tables}")
        connection.execute(f"PRAGMA application_id = {kind.application_id}")
        connection.execute(f"PRAGMA user_version = {kind.format}")
        fill(connection)
        connection.execute("COMMIT")
    except sqlite3.Error as exc:
        raise _failed(path, exc) from exc
    finally:
        connection.close()


@contextmanager
def reading(claim: Claim, *faults: type[Exception]) -> Iterator[sqlite3.Connection]:
    """Open a file for reading; `faults` are what the reader raises where something in it cannot be.

    Nothing of the file and its log is changed, not even by SQLite: the file is open for reading alone, so the
    log cannot be emptied into it. A log without whole transactions is not opened at all; SQLite would remove it.

    Raises:
        StorageError: it is damaged, or cannot be read.
    """
    known: tuple[type[Exception], ...] = (
        sqlite3.Error, ValueError, TypeError, AttributeError, OverflowError, *faults,
    )  # fmt: skip
    log = "vfs=unix-none" if claim.check_log() else "immutable=1"
    connection = _connect(claim.path, f"mode=ro&{log}")
    try:
        # Without this SQLite would share the log's index with other processes, in a file.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        claim.check_format(connection.execute("PRAGMA user_version").fetchone()[0])
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise ValueError(" ".join(found.split()))
        yield connection
    except known as exc:
        raise claim.damaged(str(exc)) from exc
    finally:
        connection.close()


def fetch(cursor: sqlite3.Cursor) -> Iterator[Row]:
    """Go through the rows that a cursor has."""
    while rows := cursor.fetchmany(FETCHED_AT_ONCE):
        yield from rows


class FileWriter(ABC, Generic[E]):
    """The open file, in the journal's thread: a `journal.Store`.

    Args:
        path: of the file.
        kind: what it is.
        seal: what was read.
        close: called when the file is closed.

    Raises:
        StorageError: it cannot be written, or is not what was read any more.
    """

    def __init__(self, path: str, kind: FileKind, seal: bytes, close: Callable[[], object]) -> None:
        self._path = path
        self._kind = kind
        self._log = f"{path}-wal"
        self._release = close
        #: True where a transaction was given up: the log must begin anew before the next one, see `walcheck`.
        self._must_begin_anew = False
        #: False once nobody knows what is on the disk.
        self.is_sound = True
        self.connection = _connect(path, "mode=rw")
        try:
            self._open(seal)
        except BaseException as exc:
            self.connection.close()
            if isinstance(exc, sqlite3.Error):
                raise _failed(path, exc) from exc
            raise

    def _open(self, seal: bytes) -> None:
        execute = self.connection.execute
        # Others are kept out, and the log's index is in memory.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA synchronous = FULL")
        execute("PRAGMA wal_autocheckpoint = 0")
        # A page that were written before the end of its transaction could come a second time, see `walcheck`.
        execute("PRAGMA cache_spill = OFF")
        execute("BEGIN IMMEDIATE")
        found = execute("SELECT seal FROM state").fetchone()[0]
        if found != seal:
            raise storage_error(
                self._path, "another program has changed it just now", "end that program and start again"
            )
        self._upgrade()
        execute("COMMIT")
        try:
            # Frames of a transaction that was cut short go with the rest.
            self._begin_anew()
        except NotKept:
            self._must_begin_anew = True

    def _upgrade(self) -> None:
        number = self.connection.execute("PRAGMA user_version").fetchone()[0]
        for step in range(number, self._kind.format):
            UPGRADES[self._kind.application_id, step](self.connection)
            self.connection.execute(f"PRAGMA user_version = {step + 1}")

    # -- writing ---------------------------------------------------------------------------------------------

    @abstractmethod
    def write(self, entries: list[E]) -> None:
        """Write entries in one transaction; it is on the disk when this returns.

        Raises:
            NotKept: the disk is full, and there is nothing of it. StorageError: nobody knows.
        """

    @contextmanager
    def transaction(self) -> Iterator[Execute]:
        """Make what is executed within last when it ends, all or none.

        Raises:
            NotKept: the disk is full, and there is nothing of it. StorageError: nobody knows.
        """
        if self._must_begin_anew:
            self._begin_anew()
        self.is_sound = False
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield self.connection.execute
            self.connection.execute("COMMIT")
        except sqlite3.Error as exc:
            self._give_up(exc)
        self.is_sound = True

    def insert(self, statement: str, rows: Sequence[Row]) -> None:
        """Execute a statement that wants VALUES of all rows, which are as long as each other."""
        for part in _parts(rows):
            values = ",".join([f"({','.join('?' * len(part[0]))})"] * len(part))
            self.connection.execute(f"{statement} VALUES {values}", [field for row in part for field in row])

    def delete(self, statement: str, keys: Sequence[Any], *fixed: Any) -> None:
        """Execute a statement that ends with IN for all keys; `fixed` is for its marks before that."""
        for part in _parts(keys):
            self.connection.execute(f"{statement} ({','.join('?' * len(part))})", [*fixed, *part])

    def _give_up(self, exc: sqlite3.Error) -> None:
        failure = _failed(self._path, exc)
        self._must_begin_anew = True
        try:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
        except sqlite3.Error as second:
            raise _failed(self._path, second) from exc
        self.is_sound = isinstance(failure, NotKept)
        raise failure from exc

    # -- the log and the end ---------------------------------------------------------------------------------

    def is_untidy(self) -> bool:
        """Tell whether there is something in the log."""
        return self._log_bytes() > 0

    def needs_tidying(self) -> bool:
        """Tell whether the log is long."""
        return self._log_bytes() > MAX_LOG_BYTES

    def _log_bytes(self) -> int:
        try:
            return os.stat(self._log).st_size
        except FileNotFoundError:
            return 0

    def tidy(self) -> None:
        """Empty the log into the file; where the disk is too full for that, it stays as it is."""
        try:
            self._begin_anew()
        except NotKept:
            self._must_begin_anew = True

    def _begin_anew(self) -> None:
        try:
            is_busy = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.Error as exc:
            failure = _failed(self._path, exc)
            self.is_sound = isinstance(failure, NotKept)
            raise failure from exc
        if is_busy:
            raise storage_error(self._path, "its log cannot be emptied: another program reads it", "end that one")
        self._must_begin_anew = False

    def close(self) -> None:
        """Empty the log, close the file and let others use it."""
        try:
            self.connection.close()
        finally:
            self._release()


def _parts(items: Sequence[T]) -> Iterable[Sequence[T]]:
    at = 0
    while at < len(items):
        size = min(ROWS_AT_ONCE, 1 << ((len(items) - at).bit_length() - 1))
        yield items[at : at + size]
        at += size


def _failed(path: str, exc: sqlite3.Error) -> StorageError:
    """Translate SQLite's error; a full disk is the one after which it goes on."""
    text = str(exc)
    if "full" in text:
        return NotKept(f"{path}: the disk is full ({text}), so the change was not made; make room and try again")
    if "locked" in text:
        return storage_error(path, f"another program uses it ({text})", "end that one first")
    return storage_error(path, f"it cannot be written ({text})", "see to the disk, then start the server again")
