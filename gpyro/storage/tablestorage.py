"""A storage around an `EventTable` in memory; where its changes are made to last is for those who extend it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence

from gpyro import hub
from gpyro.errors import StorageError
from gpyro.eventrecords import EventRecord, QueueRecord
from gpyro.storage.events import LASTS, EventListener, EventStorage, Lasting
from gpyro.storage.eventtable import Change, EventTable

__all__ = ["TableStorage"]


class TableStorage(EventStorage):
    """All questions are answered from the table, in which there is only what lasts."""

    def __init__(self, table: EventTable) -> None:
        self._table: EventTable | None = table
        self.log = table.log
        self.listener: EventListener | None = None
        #: Held for a few lines that never wait, and not while the listener is called.
        self._lock = hub.NativeLock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'closed' if self._table is None else self._table}>"

    @property
    def _open_table(self) -> EventTable:
        if self._table is None:
            raise StorageError(f"this {type(self).__name__} is closed")
        return self._table

    # -- for those who extend it -----------------------------------------------------------------------------

    @abstractmethod
    def _keep(self, change: Change) -> Lasting:
        """Make a change last that is planned, and have it applied to the table then; the lock is held."""

    def _check_open(self) -> None:
        """See that a change can be taken now; the lock is held.

        Raises:
            StorageError, ServerBusyError: it cannot.
        """

    def _check_room(self, records: Sequence[EventRecord]) -> None:
        """See that events can be taken now; the lock is held, and `_check_open` has been called.

        Raises:
            StorageError, ServerBusyError: they cannot.
        """

    def _newest_change(self) -> Lasting:
        """Return what makes everything last that was changed so far; the lock is held."""
        return LASTS

    # -- changing --------------------------------------------------------------------------------------------

    def _change(self, plan: Callable[[EventTable], Change | None]) -> Lasting:
        with self._lock:
            table = self._open_table
            self._check_open()
            change = plan(table)
            return self._newest_change() if change is None else self._keep(change)

    def append(self, records: Sequence[EventRecord], queues: Sequence[Iterable[str]]) -> Lasting:
        def plan(table: EventTable) -> Change | None:
            self._check_room(records)
            change = table.plan_append(records, queues)
            return change if change.records else None

        return self._change(plan)

    def put_queue(self, record: QueueRecord) -> Lasting:
        return self._change(lambda table: table.plan_put(record))

    def remove_queue(self, name: str) -> Lasting:
        return self._change(lambda table: table.plan_remove(name))

    def acknowledge(self, name: str, sequences: Iterable[int]) -> Lasting:
        return self._change(lambda table: table.plan_acknowledge(name, sequences))

    # -- asking ----------------------------------------------------------------------------------------------

    @property
    def newest(self) -> int:
        with self._lock:
            return self._open_table.newest

    @property
    def oldest(self) -> int:
        with self._lock:
            return self._open_table.oldest

    def history(self, after: int = 0) -> list[EventRecord]:
        with self._lock:
            return self._open_table.history(after)

    def history_size(self) -> tuple[int, int]:
        with self._lock:
            return self._open_table.history_size()

    def queues(self) -> list[QueueRecord]:
        with self._lock:
            return self._open_table.queues()

    def waiting(self, name: str) -> list[EventRecord]:
        with self._lock:
            return self._open_table.waiting(name)

    @property
    def failure(self) -> Exception | None:
        return None

    def close(self) -> None:
        with self._lock:
            self._table = None
