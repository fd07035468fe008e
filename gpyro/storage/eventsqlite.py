"""Events kept in a SQLite file: what came to last is on the disk.

All answers come from the table in memory; changes go to the file through the journal, many in one transaction,
while the hub runs on. `infile` looks after the file, `eventdatabase` knows what is in it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial

from gpyro.errors import ServerBusyError, StorageError
from gpyro.eventrecords import EventRecord
from gpyro.storage.claim import EVENTS, Claim
from gpyro.storage.eventdatabase import MAX_ON_THE_WAY, EventWriter, fill_new, read_into
from gpyro.storage.events import HISTORY_BYTES, HISTORY_EVENTS, LASTS, Lasting
from gpyro.storage.eventtable import Appended, Change, EventTable
from gpyro.storage.infile import InFile
from gpyro.storage.journal import Round
from gpyro.storage.tablestorage import TableStorage

__all__ = ["EventSqlite"]

#: Most bytes of events that wait for the disk at a time, all in memory; a single larger event waits alone.
MAX_BYTES_ON_THE_WAY = 64 * 1024 * 1024


class EventSqlite(InFile[Change], TableStorage):
    """The events of one log in a file of this user's (mode 0600); one process uses it at a time.

    The listener is called in the thread that writes, before those who wait for its events are woken; what it
    raises is a defect, after which no changes are taken.

    Args:
        path: of the file; it is made where there is none, with its directory.
        max_events: most events in the history.
        max_bytes: most bytes in it.

    Resources: `close` waits for what is queued, and ends the thread that writes. A process that is killed leaves
    the file as it is and lets go of it. In a forked child the storage is of no use.
    Errors: a change that the disk does not take is undone and its `settle` raises StorageError; with a full disk
    later ones may pass again, after any other failure none is taken until the file is opened anew. Questions are
    answered still. Where too much waits for the disk, ServerBusyError is raised.

    Raises:
        StorageError: the file is damaged, of a newer gpyro, of another program or user, or used by another event
            server. It is left as it was.
    """

    def __init__(self, path: str, *, max_events: int = HISTORY_EVENTS, max_bytes: int = HISTORY_BYTES) -> None:
        log = secrets.token_hex(8)
        TableStorage.__init__(self, EventTable(log, max_events=max_events, max_bytes=max_bytes))
        #: Events that do not last yet, and their bytes.
        self._on_the_way = self._bytes_on_the_way = 0
        self._open_file(path, EVENTS, lambda new: fill_new(new, log), self._read)

    def _read(self, claim: Claim) -> partial[EventWriter]:
        table = self._open_table
        self._file = read_into(table, claim)
        self.log = table.log
        return partial(EventWriter, claim.path, table, self._file, claim.release)

    def __repr__(self) -> str:
        if self._table is None:
            return f"<EventSqlite {self.path}, {self._end}>"
        return f"<EventSqlite {self.path}, {self._table}, {self._journal}>"

    @property
    def _open_table(self) -> EventTable:
        self._check_process()
        return super()._open_table

    # -- changing --------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._is_closing:
            raise StorageError(f"this {type(self).__name__} is closed")
        self._journal.check()

    def _check_room(self, records: Sequence[EventRecord]) -> None:
        count, size = len(records), sum(record.size for record in records)
        events, size_before = self._on_the_way, self._bytes_on_the_way
        if events + count > MAX_ON_THE_WAY or (events and size_before + size > MAX_BYTES_ON_THE_WAY):
            raise ServerBusyError(
                f"{events} events of {size_before} bytes wait for the disk, and {count} more of {size} would be "
                f"over the limit of {MAX_ON_THE_WAY} events or {MAX_BYTES_ON_THE_WAY} bytes; try again later"
            )
        if self._open_table.given + count > self._file.reserved:
            if self._journal.newest() is None:
                # It reserves some, if there is room again.
                self._journal.put(Appended([], []))
            raise StorageError(
                f"{self.path}: the disk has been full for so long that no event can be numbered; make room and "
                "try again"
            )

    def _keep(self, change: Change) -> Lasting:
        if isinstance(change, Appended):
            self._on_the_way += len(change.records)
            self._bytes_on_the_way += _size(change)
        return self._journal.put(change)

    def _newest_change(self) -> Lasting:
        return self._journal.newest() or LASTS

    # -- in the journal's thread -----------------------------------------------------------------------------

    def _note_lasting(self, batch: Round[Change]) -> None:
        table = self._table
        if table is None:
            return  # It was closed while the disk hung.
        for change in batch.entries:
            self._file.garbage.extend(table.apply(change))
            if isinstance(change, Appended):
                self._on_the_way -= len(change.records)
                self._bytes_on_the_way -= _size(change)

    def _tell_round(self, batch: Round[Change]) -> None:
        records = [r for change in batch.entries if isinstance(change, Appended) for r in change.records]
        if records and self.listener is not None:
            self.listener(records)

    def _undo(self, entries: list[Change]) -> None:
        """Take back all that does not last: that is all that is on its way."""
        self._on_the_way = self._bytes_on_the_way = 0
        if self._table is not None:
            self._table.undo()

    def _drop(self) -> None:
        self._table = None


def _size(change: Appended) -> int:
    return sum(record.size for record in change.records)
