"""The SQLite file in which names are kept: its tables, how it is read and checked, and how changes get there.

    names   one row for each object, group and lease; the first address in columns of its own, others packed
    notes   texts of the server's own
    graves  what was removed while a twin may not have known, see `gpyro.nametree.Grave`; empty without a twin
    state   one row: revision and digest of the tree after the last transaction, and a seal over both, the notes
            and the root's time

A transaction stores its state, so rows that do not add up to it are damage. Columns have no types, so that
every value comes back as the type that it had.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from ormsgpack import packb, unpackb

from gpyro.errors import NamingError, StorageError
from gpyro.namerecords import Changes, Grave, Graves, Member, Record
from gpyro.names import ROOT
from gpyro.nametree import NameTree
from gpyro.storage.base import KNOWN_TO_TWIN
from gpyro.storage.claim import APPLICATION_ID, FORMAT, RESTORE, Claim, storage_error
from gpyro.storage.journal import NotKept

__all__ = ["Entry", "Stand", "Writer", "fill_new", "read_into"]

TABLES = """
CREATE TABLE names (
    name PRIMARY KEY NOT NULL, kind, revision, created, owner, uri, lease, others, meta, seconds
) WITHOUT ROWID;
CREATE TABLE notes (key PRIMARY KEY NOT NULL, value) WITHOUT ROWID;
CREATE TABLE graves (name PRIMARY KEY NOT NULL, revision, covers, uris) WITHOUT ROWID;
CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), revision, digest, seal);
"""
#: From a format to the next one: {1: function(connection)} would lead to 2. There is but one so far.
UPGRADES: dict[int, Callable[[sqlite3.Connection], object]] = {}

COLUMNS = "name, kind, revision, created, owner, uri, lease, others, meta, seconds"
ROW = "(?,?,?,?,?,?,?,?,?,?)"
#: Rows for one statement, the powers of two up to this: few statements to prepare, and each is one passage
#: through the interpreter's lock however many rows it has. Ten variables each; SQLite allows 999 everywhere.
ROWS_AT_ONCE = 64
#: Rows fetched at a time while loading.
FETCHED_AT_ONCE = 2000

#: The log is emptied into the file at this size: some 1,000 changes, read in less than 0.1 s at a restart.
MAX_LOG_BYTES = 4 * 1024 * 1024
#: How long SQLite waits for another program that looks at the file.
BUSY_SECONDS = 1.0

Row = tuple[Any, ...]


class Stand(NamedTuple):
    """What a tree and its notes add up to at one moment."""

    revision: int
    digest: int
    root_created: float

    def seal(self, notes: dict[str, str]) -> bytes:
        """Return 16 bytes that differ where anything of it differs."""
        fields = (self.revision, self.digest.to_bytes(8, "big"), self.root_created, sorted(notes.items()))
        return blake2b(packb(fields), digest_size=16).digest()


def stand_of(tree: NameTree) -> Stand:
    """Return what a tree adds up to."""
    return Stand(tree.revision, tree.digest, tree.record(ROOT).created)


class Entry(NamedTuple):
    """Changes that belong together, or a note, and what all adds up to with them."""

    changes: Changes
    stand: Stand
    note: tuple[str, str] | None = None
    #: What the note was before.
    note_before: str | None = None
    #: Remember what is removed.
    buries: bool = False


# -- rows ----------------------------------------------------------------------------------------------------


def row_of(record: Record) -> Row:
    """Return a record as a row."""
    name, kind, revision, created, owner, members, meta, seconds = record
    uri, lease, others = None, None, None
    if members:
        first = members[0]
        if first.created == created and first.owner == owner:
            uri, lease = first.uri, first.lease
            members = members[1:]
        others = packb([tuple(member) for member in members]) if members else None
    return name, kind, revision, created, owner, uri, lease, others, meta, seconds


def record_of(row: Row) -> Record:
    """Return a row as a record."""
    name, kind, revision, created, owner, uri, lease, others, meta, seconds = row
    members: tuple[Member, ...] = () if uri is None else (Member(uri, created, owner, lease),)
    if others is not None:
        members += tuple(Member(*fields) for fields in unpackb(others))
    return Record(name, kind, revision, created, owner, members, meta, seconds)


def _records(cursor: sqlite3.Cursor) -> Iterator[Record]:
    """Go through rows that must come in the order of their names, in which groups are before what is in them."""
    before = ""
    while rows := cursor.fetchmany(FETCHED_AT_ONCE):
        for row in rows:
            name = row[0]
            if not name > before:
                raise ValueError(f"{name!r} comes after {before!r}")
            before = name
            yield record_of(row)


# -- making and reading --------------------------------------------------------------------------------------


def _connect(path: str, options: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{Path(path).as_uri()}?{options}", uri=True, isolation_level=None, timeout=BUSY_SECONDS
    )  # fmt: skip


def fill_new(path: str, created: float) -> None:
    """Make the tables in an empty file."""
    tree = NameTree(created=created)
    stand = stand_of(tree)
    connection = _connect(path, "mode=rw")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN; {TABLES}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute(f"INSERT INTO names ({COLUMNS}) VALUES {ROW}", row_of(tree.record(ROOT)))
        state = (stand.revision, stand.digest.to_bytes(8, "big"), stand.seal({}))
        connection.execute("INSERT INTO state VALUES (1, ?, ?, ?)", state)
        connection.execute("COMMIT")
    except sqlite3.Error as exc:
        raise _failed(path, exc) from exc
    finally:
        connection.close()


class Contents(NamedTuple):
    """What is in a file beside the names."""

    notes: dict[str, str]
    graves: Graves
    seal: bytes


def read_into(tree: NameTree, claim: Claim) -> Contents:
    """Fill an empty tree from a file, checking all of it; return what else is in it.

    Nothing of the file and its log is changed, not even by SQLite: the file is open for reading alone, so the
    log cannot be emptied into it. A log without whole transactions is not opened at all; SQLite would remove it.

    Raises:
        StorageError: it is damaged, or cannot be read.
    """
    log = "vfs=unix-none" if claim.check_log() else "immutable=1"
    connection = _connect(claim.path, f"mode=ro&{log}")
    try:
        # Without this SQLite would share the log's index with other processes, in a file.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        claim.check_format(connection.execute("PRAGMA user_version").fetchone()[0])
        faults = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if faults != "ok":
            raise ValueError(" ".join(faults.split()))
        return _read_checked(connection, tree)
    except (sqlite3.Error, NamingError, ValueError, TypeError, AttributeError, OverflowError) as exc:
        raise storage_error(claim.path, f"it is damaged: {exc}", RESTORE) from exc
    finally:
        connection.close()


def _read_checked(connection: sqlite3.Connection, tree: NameTree) -> Contents:
    revision, digest, seal = connection.execute("SELECT revision, digest, seal FROM state").fetchone()
    tree.load(_records(connection.execute(f"SELECT {COLUMNS} FROM names")), revision)
    notes: dict[str, str] = dict(connection.execute("SELECT key, value FROM notes").fetchall())
    stand = stand_of(tree)
    if stand.digest.to_bytes(8, "big") != digest or stand.seal(notes) != seal:
        raise ValueError("its names are not those that were written")
    rows = connection.execute("SELECT name, revision, covers, uris FROM graves ORDER BY revision")
    graves = {name: Grave(revision, covers, tuple(unpackb(uris))) for name, revision, covers, uris in rows}
    return Contents(notes, graves, seal)


# -- writing -------------------------------------------------------------------------------------------------


class Writer:
    """The open file, in the journal's thread.

    Raises:
        StorageError: it cannot be written, or is not what was read (`seal`) any more.
    """

    def __init__(self, path: str, notes: dict[str, str], seal: bytes, close: Callable[[], object]) -> None:
        self._path = path
        self._log = f"{path}-wal"
        self._notes = dict(notes)
        self._release = close
        #: True where a transaction was given up: the log must begin anew before the next one, see `walcheck`.
        self._must_begin_anew = False
        self._connection = _connect(path, "mode=rw")
        try:
            self._open(seal)
        except BaseException as exc:
            self._connection.close()
            if isinstance(exc, sqlite3.Error):
                raise _failed(path, exc) from exc
            raise

    def _open(self, seal: bytes) -> None:
        execute = self._connection.execute
        # Others are kept out, and the log's index is in memory.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA synchronous = FULL")
        execute("PRAGMA wal_autocheckpoint = 0")
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
        number = self._connection.execute("PRAGMA user_version").fetchone()[0]
        for step in range(number, FORMAT):
            UPGRADES[step](self._connection)
            self._connection.execute(f"PRAGMA user_version = {step + 1}")

    def write(self, entries: list[Entry]) -> None:
        """Write entries in one transaction; it is on the disk when this returns.

        Raises:
            NotKept: the disk is full, and there is nothing of it. StorageError: nobody knows.
        """
        if self._must_begin_anew:
            self._begin_anew()
        notes = {**self._notes, **dict(entry.note for entry in entries if entry.note is not None)}
        after = {change.name: change.after for entry in entries for change in entry.changes}
        stand = entries[-1].stand
        state = (stand.revision, stand.digest.to_bytes(8, "big"), stand.seal(notes))
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._write_rows(after)
            for entry in entries:
                if entry.buries:
                    self._write_graves(entry.changes)
            for key in notes.keys() - self._notes.keys() | {e.note[0] for e in entries if e.note is not None}:
                self._connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (key, notes[key]))
                if key == KNOWN_TO_TWIN:
                    self._connection.execute("DELETE FROM graves WHERE revision <= ?", (int(notes[key]),))
            self._connection.execute("UPDATE state SET revision = ?, digest = ?, seal = ?", state)
            self._connection.execute("COMMIT")
        except sqlite3.Error as exc:
            self._give_up(exc)
        self._notes = notes

    def _write_rows(self, after: dict[str, Record | None]) -> None:
        rows = [row_of(record) for record in after.values() if record is not None]
        for part in _parts(rows):
            values = ",".join([ROW] * len(part))
            fields = [field for row in part for field in row]
            self._connection.execute(f"INSERT OR REPLACE INTO names ({COLUMNS}) VALUES {values}", fields)
        for names in _parts([(name,) for name, record in after.items() if record is None]):
            marks = ",".join("?" * len(names))
            self._connection.execute(
                f"DELETE FROM names WHERE name IN ({marks})", [name for (name,) in names]
            )  # fmt: skip

    def _write_graves(self, changes: Changes) -> None:
        execute = self._connection.execute
        for change in changes:
            if change.after is not None:
                execute("DELETE FROM graves WHERE name = ?", (change.name,))
            elif change.before is not None:
                grave = Grave.of(change)
                fields = (change.name, grave.revision, grave.covers, packb(grave.uris))
                execute("INSERT OR REPLACE INTO graves VALUES (?,?,?,?)", fields)

    def _give_up(self, exc: sqlite3.Error) -> None:
        failure = _failed(self._path, exc)
        self._must_begin_anew = True
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as second:
            raise _failed(self._path, second) from exc
        raise failure from exc

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
            is_busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.Error as exc:
            raise _failed(self._path, exc) from exc
        if is_busy:
            raise storage_error(self._path, "its log cannot be emptied: another program reads it", "end that one")
        self._must_begin_anew = False

    def close(self) -> None:
        """Empty the log, close the file and let others use it."""
        try:
            self._connection.close()
        finally:
            self._release()


def _parts(rows: list[Row]) -> Iterable[list[Row]]:
    at = 0
    while at < len(rows):
        size = min(ROWS_AT_ONCE, 1 << ((len(rows) - at).bit_length() - 1))
        yield rows[at : at + size]
        at += size


def _failed(path: str, exc: sqlite3.Error) -> StorageError:
    """Translate SQLite's error; a full disk is the one after which it goes on."""
    text = str(exc)
    if "full" in text:
        return NotKept(f"{path}: the disk is full ({text}), so the change was not made; make room and try again")
    if "locked" in text:
        return storage_error(path, f"another program uses it ({text})", "end that one first")
    return storage_error(path, f"it cannot be written ({text})", "see to the disk, then start the server again")
