"""Events kept in memory: they end with the process."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence

from gpyro.eventrecords import EventRecord
from gpyro.storage.events import HISTORY_BYTES, HISTORY_EVENTS, LASTS, Lasting
from gpyro.storage.eventtable import Appended, Change, EventTable
from gpyro.storage.tablestorage import TableStorage

__all__ = ["EventMemory"]


class EventMemory(TableStorage):
    """An `EventTable` as a storage; every change lasts at once, and `close` lets the table go.

    The listener is called within `append`. Of several threads that append, or where the listener itself does, the
    one that is calling it already goes on with what the others appended, so that the order is kept.

    Args:
        max_events: most events in the history.
        max_bytes: most bytes in it.
    """

    def __init__(self, *, max_events: int = HISTORY_EVENTS, max_bytes: int = HISTORY_BYTES) -> None:
        super().__init__(EventTable(secrets.token_hex(8), max_events=max_events, max_bytes=max_bytes))
        self._untold: list[EventRecord] = []
        self._is_telling = False

    def _keep(self, change: Change) -> Lasting:
        self._open_table.apply(change)
        if isinstance(change, Appended) and self.listener is not None:
            self._untold += change.records
        return LASTS

    def append(self, records: Sequence[EventRecord], queues: Sequence[Iterable[str]]) -> Lasting:
        lasting = super().append(records, queues)
        with self._lock:
            if self._is_telling:
                return lasting
            self._is_telling = True
        try:
            self._tell()
        except BaseException:
            self._is_telling = False
            raise
        return lasting

    def _tell(self) -> None:
        while True:
            with self._lock:
                records, self._untold = self._untold, []
                if not records or self.listener is None:
                    self._is_telling = False
                    return
            self.listener(records)
