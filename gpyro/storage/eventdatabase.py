"""The SQLite file in which events are kept: its tables, how it is read and checked, and how changes get there.

    events   one row for each event that is in the history or waits in a queue, and for some that are to go
    queues   one row for each queue; the record is packed
    pending  one row for each event that waits in a queue
    state    one row: the log's id, its highest sequence, up to which one they may have been given, the lowest one
             of the history, and a seal over these and all rows

A transaction stores its state, so rows that do not add up to it are damage. Columns have no types, so that every
value comes back as the type that it had.

Sequences are given before their events last. So that none of them is given again after a crash, each transaction
notes a `reserved` that is higher than all that are given before the next one; a new start goes on from there.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple

from ormsgpack import packb, unpackb

from gpyro.eventrecords import EventRecord, QueueRecord
from gpyro.storage.claim import EVENTS, Claim
from gpyro.storage.eventtable import Acknowledged, Appended, Change, EventTable, QueuePut
from gpyro.storage.journal import NotKept
from gpyro.storage.sqlitefile import FileWriter, Row, fetch, make_tables, reading

__all__ = ["MAX_ON_THE_WAY", "EventWriter", "FileState", "fill_new", "read_into"]

TABLES = """
CREATE TABLE events (sequence INTEGER PRIMARY KEY, subject, time, publisher, payload);
CREATE TABLE queues (id INTEGER PRIMARY KEY, record);
CREATE TABLE pending (queue, sequence, PRIMARY KEY (queue, sequence)) WITHOUT ROWID;
CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), log, newest, reserved, oldest, seal);
"""
#: Most events that wait for the disk at a time: some seconds of a busy server.
MAX_ON_THE_WAY = 65_536
#: Sequences that are reserved with each transaction: for what is on the way, and as many that are given while the
#: disk is full. So many are passed over by the start after a crash.
RESERVED = 2 * MAX_ON_THE_WAY
#: Most rows of events that one transaction removes: some 50 ms.
PRUNED_AT_ONCE = 10_000


class State(NamedTuple):
    """The row of that name."""

    log: str
    newest: int
    reserved: int
    oldest: int

    def seal(self, digest: int) -> bytes:
        """Return 16 bytes that differ where anything differs in it, or in rows that add up to the digest."""
        return blake2b(packb((*self, digest)), digest_size=16).digest()


class Sums(NamedTuple):
    """The digests of a queue's row, and of the rows of what waits in it."""

    queue: int = 0
    pending: int = 0


class FileState:
    """What is known of a file beside its events; for the journal's thread alone, but for `reserved`."""

    def __init__(self, seal: bytes) -> None:
        self.seal = seal
        #: Of all rows: each row's digest, one XOR the other.
        self.digest = 0
        #: By the queue's id.
        self.sums: dict[int, Sums] = {}
        #: Events whose rows are to go.
        self.garbage: deque[EventRecord] = deque()
        #: The highest sequence that may be given; nothing is reserved before the first transaction.
        self.reserved = 0


def digest_of(row: Row) -> int:
    """Return 64 bits that differ where anything in a row does."""
    return int.from_bytes(blake2b(packb(row), digest_size=8).digest(), "big")


def row_of(record: EventRecord) -> Row:
    """Return an event as a row."""
    return record.sequence, record.subject, record.time, record.publisher, record.payload


# -- making and reading --------------------------------------------------------------------------------------


def fill_new(path: str, log: str) -> None:
    """Make the tables in an empty file, for a log of that id."""
    state = State(log, 0, 0, 1)

    def fill(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO state VALUES (1, ?, ?, ?, ?, ?)", (*state, state.seal(0)))

    make_tables(path, EVENTS, TABLES, fill)


def read_into(table: EventTable, claim: Claim) -> FileState:
    """Fill an empty table from a file, checking all of it; return what else is known of the file.

    Raises:
        StorageError: it is damaged, or cannot be read.
    """
    with reading(claim) as connection:
        *fields, seal = connection.execute("SELECT log, newest, reserved, oldest, seal FROM state").fetchone()
        state, file = State(*fields), FileState(seal)
        table.log, table.newest, table.given = state.log, state.newest, state.reserved
        execute = connection.execute
        file.garbage.extend(
            table.load(
                _read_events(file, execute("SELECT * FROM events ORDER BY sequence")),
                _read_queues(file, execute("SELECT * FROM queues ORDER BY id")),
                _read_pending(file, execute("SELECT * FROM pending ORDER BY queue, sequence")), state.oldest,
            )
        )  # fmt: skip
        if state.seal(file.digest) != seal:
            raise ValueError("its events are not those that were written")
    file.reserved = state.reserved
    return file


def _read_events(file: FileState, cursor: sqlite3.Cursor) -> Iterator[EventRecord]:
    # Most texts come again and again: each is kept once.
    subjects: dict[str, tuple[str, str]] = {}
    publishers: dict[str, str] = {}
    for row in fetch(cursor):
        file.digest ^= digest_of(row)
        sequence, subject, time, publisher, payload = row
        texts = subjects.get(subject)
        if texts is None:
            texts = subjects[subject] = (subject, subject.casefold())
        yield EventRecord(*texts, time, publishers.setdefault(publisher, publisher), payload, sequence)


def _read_queues(file: FileState, cursor: sqlite3.Cursor) -> Iterator[tuple[int, QueueRecord]]:
    for row in fetch(cursor):
        number, packed = row
        digest = digest_of(row)
        file.digest ^= digest
        file.sums[number] = Sums(queue=digest)
        *fields, subjects, patterns = unpackb(packed)
        yield number, QueueRecord._make((*fields, tuple(subjects), tuple(patterns)))


def _read_pending(file: FileState, cursor: sqlite3.Cursor) -> Iterator[tuple[int, int]]:
    sums: dict[int, int] = {}
    for row in fetch(cursor):
        number, sequence = row
        digest = digest_of(row)
        sums[number] = sums.get(number, 0) ^ digest
        yield number, sequence
    for number, digest in sums.items():
        file.digest ^= digest
        file.sums[number] = Sums(file.sums[number].queue, digest)


# -- writing -------------------------------------------------------------------------------------------------


class _Draft:
    """What some changes come to, before it is written.

    Nothing is appended for a queue after it was removed, nor acknowledged there, so rows may be put in before
    others are taken out.
    """

    def __init__(self, file: FileState) -> None:
        self._file = file
        self.digest = file.digest
        #: Of the queues that are changed; None is for those that go.
        self.sums: dict[int, Sums | None] = {}
        self.events: list[Row] = []
        self.pending: list[Row] = []
        self.queues: dict[int, bytes] = {}
        self.acknowledged: dict[int, list[int]] = {}
        self.pruned = list(islice(file.garbage, PRUNED_AT_ONCE))
        for record in self.pruned:
            self.digest ^= digest_of(row_of(record))

    def add(self, change: Change) -> None:
        """Put a change in."""
        if isinstance(change, Appended):
            self._append(change)
        elif isinstance(change, Acknowledged):
            self._count_pending(change.id, [(change.id, sequence) for sequence in change.sequences])
            self.acknowledged.setdefault(change.id, []).extend(change.sequences)
        elif isinstance(change, QueuePut):
            before = self._sums_of(change.id)
            digest = digest_of((change.id, change.packed))
            self.digest ^= before.queue ^ digest
            self.sums[change.id] = Sums(digest, before.pending)
            self.queues[change.id] = change.packed
        else:
            before = self._sums_of(change.id)
            self.digest ^= before.queue ^ before.pending
            self.sums[change.id] = None

    def _append(self, change: Appended) -> None:
        by_queue: dict[int, list[Row]] = {}
        for record, ids in zip(change.records, change.queues, strict=True):
            row = row_of(record)
            self.events.append(row)
            self.digest ^= digest_of(row)
            for number in ids:
                by_queue.setdefault(number, []).append((number, record.sequence))
        for number, rows in by_queue.items():
            self._count_pending(number, rows)
            self.pending += rows

    def _sums_of(self, number: int) -> Sums:
        return self.sums.get(number) or self._file.sums.get(number) or Sums()

    def _count_pending(self, number: int, rows: list[Row]) -> None:
        digest = 0
        for row in rows:
            digest ^= digest_of(row)
        self.digest ^= digest
        before = self._sums_of(number)
        self.sums[number] = Sums(before.queue, before.pending ^ digest)

    def write(self, writer: EventWriter) -> None:
        """Write the rows, within a transaction."""
        writer.insert("INSERT INTO events", self.events)
        writer.insert("INSERT INTO pending", self.pending)
        writer.insert("INSERT OR REPLACE INTO queues", list(self.queues.items()))
        for number, sequences in self.acknowledged.items():
            writer.delete("DELETE FROM pending WHERE queue = ? AND sequence IN", sequences, number)
        removed = [number for number, sums in self.sums.items() if sums is None]
        writer.delete("DELETE FROM pending WHERE queue IN", removed)
        writer.delete("DELETE FROM queues WHERE id IN", removed)
        writer.delete("DELETE FROM events WHERE sequence IN", [record.sequence for record in self.pruned])

    def note_written(self) -> None:
        """Have it known of the file."""
        file = self._file
        file.digest = self.digest
        for number, sums in self.sums.items():
            if sums is None:
                file.sums.pop(number, None)
            else:
                file.sums[number] = sums
        for _ in self.pruned:
            file.garbage.popleft()


class EventWriter(FileWriter[Change]):
    """What writes events.

    Args:
        path: of the file.
        table: of which only that is read which other threads do not change, and the highest sequence given.
        file: what was read.
        close: called when the file is closed.
    """

    def __init__(self, path: str, table: EventTable, file: FileState, close: Callable[[], Any]) -> None:
        self._table = table
        self._file = file
        self._newest = table.newest
        self._reserve = RESERVED
        super().__init__(path, EVENTS, file.seal, close)

    def _open(self, seal: bytes) -> None:
        super()._open(seal)
        try:
            self.write([])
        except NotKept:
            pass  # Nothing is reserved, so no event is taken before there is room.

    def write(self, entries: list[Change]) -> None:
        draft, table = _Draft(self._file), self._table
        for change in entries:
            draft.add(change)
        newest = draft.events[-1][0] if draft.events else self._newest
        state = State(table.log, newest, table.given + self._reserve, table.oldest)
        with self.transaction() as execute:
            draft.write(self)
            execute(
                "UPDATE state SET log = ?, newest = ?, reserved = ?, oldest = ?, seal = ?",
                (*state, state.seal(draft.digest)),
            )  # fmt: skip
        draft.note_written()
        self._newest = newest
        self._file.reserved = state.reserved

    def is_untidy(self) -> bool:
        return bool(self._file.garbage) or super().is_untidy()

    def tidy(self) -> None:
        """Remove what nobody needs, and empty the log, as far as the disk has room for that."""
        try:
            if self._file.garbage:
                self.write([])
        except NotKept:
            return
        super().tidy()

    def close(self) -> None:
        """Give back the sequences that were reserved and not given, and close the file."""
        self._reserve = 0
        try:
            if self.is_sound:
                self.write([])
        except NotKept:
            pass  # They are passed over.
        finally:
            super().close()
