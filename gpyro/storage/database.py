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

import sqlite3
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import NamedTuple

from ormsgpack import packb, unpackb

from gpyro.errors import NamingError
from gpyro.namerecords import Changes, Grave, Graves, Member, Record
from gpyro.names import ROOT
from gpyro.nametree import NameTree
from gpyro.storage.base import KNOWN_TO_TWIN
from gpyro.storage.claim import NAMES, Claim
from gpyro.storage.sqlitefile import FileWriter, Row, fetch, make_tables, reading

__all__ = ["Entry", "Stand", "Writer", "fill_new", "read_into"]

TABLES = """
CREATE TABLE names (
    name PRIMARY KEY NOT NULL, kind, revision, created, owner, uri, lease, others, meta, seconds
) WITHOUT ROWID;
CREATE TABLE notes (key PRIMARY KEY NOT NULL, value) WITHOUT ROWID;
CREATE TABLE graves (name PRIMARY KEY NOT NULL, revision, covers, uris) WITHOUT ROWID;
CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), revision, digest, seal);
"""
COLUMNS = "name, kind, revision, created, owner, uri, lease, others, meta, seconds"
ROW = "(?,?,?,?,?,?,?,?,?,?)"


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
    for row in fetch(cursor):
        name = row[0]
        if not name > before:
            raise ValueError(f"{name!r} comes after {before!r}")
        before = name
        yield record_of(row)


# -- making and reading --------------------------------------------------------------------------------------


def fill_new(path: str, created: float) -> None:
    """Make the tables in an empty file."""
    tree = NameTree(created=created)
    stand = stand_of(tree)

    def fill(connection: sqlite3.Connection) -> None:
        connection.execute(f"INSERT INTO names ({COLUMNS}) VALUES {ROW}", row_of(tree.record(ROOT)))
        state = (stand.revision, stand.digest.to_bytes(8, "big"), stand.seal({}))
        connection.execute("INSERT INTO state VALUES (1, ?, ?, ?)", state)

    make_tables(path, NAMES, TABLES, fill)


class Contents(NamedTuple):
    """What is in a file beside the names."""

    notes: dict[str, str]
    graves: Graves
    seal: bytes


def read_into(tree: NameTree, claim: Claim) -> Contents:
    """Fill an empty tree from a file, checking all of it; return what else is in it.

    Raises:
        StorageError: it is damaged, or cannot be read.
    """
    with reading(claim, NamingError) as connection:
        return _read_checked(connection, tree)


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


class Writer(FileWriter[Entry]):
    """What writes names, with the notes that are there already."""

    def __init__(self, path: str, notes: dict[str, str], seal: bytes, close: Callable[[], object]) -> None:
        self._notes = dict(notes)
        super().__init__(path, NAMES, seal, close)

    def write(self, entries: list[Entry]) -> None:
        notes = {**self._notes, **dict(entry.note for entry in entries if entry.note is not None)}
        after = {change.name: change.after for entry in entries for change in entry.changes}
        stand = entries[-1].stand
        state = (stand.revision, stand.digest.to_bytes(8, "big"), stand.seal(notes))
        with self.transaction() as execute:
            self._write_rows(after)
            for entry in entries:
                if entry.buries:
                    self._write_graves(entry.changes)
            for key in notes.keys() - self._notes.keys() | {e.note[0] for e in entries if e.note is not None}:
                execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (key, notes[key]))
                if key == KNOWN_TO_TWIN:
                    execute("DELETE FROM graves WHERE revision <= ?", (int(notes[key]),))
            execute("UPDATE state SET revision = ?, digest = ?, seal = ?", state)
        self._notes = notes

    def _write_rows(self, after: dict[str, Record | None]) -> None:
        self.insert(
            f"INSERT OR REPLACE INTO names ({COLUMNS})", [row_of(r) for r in after.values() if r is not None]
        )  # fmt: skip
        self.delete(
            "DELETE FROM names WHERE name IN", [name for name, record in after.items() if record is None]
        )  # fmt: skip

    def _write_graves(self, changes: Changes) -> None:
        execute = self.connection.execute
        for change in changes:
            if change.after is not None:
                execute("DELETE FROM graves WHERE name = ?", (change.name,))
            elif change.before is not None:
                grave = Grave.of(change)
                fields = (change.name, grave.revision, grave.covers, packb(grave.uris))
                execute("INSERT OR REPLACE INTO graves VALUES (?,?,?,?)", fields)
