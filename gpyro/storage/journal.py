"""Group commit: changes wait in a queue, and one native thread makes all that wait last at one go.

    with lock:
        journal.check()                   refuses what cannot be taken
        pending = journal.put(entry)      entries last in the order in which they are put
    pending.wait()                        without holding the hub; raises if the entry does not last

What is put while the thread is at the disk forms the next round. A round lasts as a whole or not at all:

    written      `lasts(round)` with the lock held, then `tell(round)` without it, then all who wait for it are
                 woken, each hub once
    not kept     (`NotKept`: a full disk) the round and all that is queued behind it are undone, in reverse order,
                 with the lock held; later entries are taken again
    any other    the same, and nothing is taken any more: after an fsync that failed nobody knows what is on
    failure      the disk (the system may have dropped the pages and report success the next time)

The journal knows neither what an entry is nor what a disk is; that is with its owner and its `Store`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from gpyro import hub
from gpyro.errors import ServerBusyError, StorageError

__all__ = ["MAX_QUEUED", "WAIT_SECONDS", "Journal", "NotKept", "Round", "Store"]

E = TypeVar("E")

#: Most entries that wait for the disk: as many as greenlets that a busy server's requests occupy.
MAX_QUEUED = 16_384
#: How long anybody waits for the disk. One that takes longer hangs, and nobody can tell what it will do.
WAIT_SECONDS = 60.0
#: After this time without entries the store is tidied up; shorter than people notice, longer than a pause
#: between two calls of one caller.
IDLE_SECONDS = 0.25


class NotKept(StorageError):
    """A round did not come to last, nothing of it is on the disk, and a later one may: the disk is full."""


class Store(Protocol[E]):
    """Where entries are made to last. It is made, used and closed in the journal's thread alone."""

    def write(self, entries: list[E]) -> None:
        """Make entries last, all or none.

        Raises:
            NotKept: there is none of them. Anything else: nobody knows, and nothing may be written any more.
        """

    def is_untidy(self) -> bool:
        """Tell whether there is something to tidy up when nothing else is to be done."""

    def needs_tidying(self) -> bool:
        """Tell whether there is so much of it that it cannot wait."""

    def tidy(self) -> None:
        """Tidy up. What it raises is like a failed write."""

    def close(self) -> None:
        """Let go of the disk."""


class Round(hub.Ticket, Generic[E]):
    """Entries that are made to last together; over when they do, or are undone."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[E] = []
        self.error: Exception | None = None

    def lasts(self) -> bool:
        """Wait until it is known, and tell whether the entries last.

        Raises:
            StorageError: that took too long.
        """
        if not hub.Ticket.wait(self, WAIT_SECONDS):
            raise StorageError(
                f"the disk has not taken a change within {WAIT_SECONDS:g} s; it may still do so. "
                "Look at the machine's disk, and ask again for what is there"
            )
        return self.error is None

    def settle(self) -> None:
        """Wait until the entries last.

        Raises:
            StorageError: they do not and are undone, or that took too long.
        """
        if not self.lasts():
            raise StorageError(str(self.error)) from self.error


class Journal(Generic[E]):
    """The queue, and the thread that empties it.

    Args:
        lock: its owner's; held for `check`, `put`, `newest`, `lasts` and `undo`, and never for long.
        open_store: called in the thread. Only the thread has the store, so a forked child cannot end it.
        lasts: called in the thread for each round that lasts, in order.
        undo: called in the thread with the entries that do not last, in the order in which they were put.
        tell: called in the thread after `lasts`, without the lock.

    Resources: `close` ends the thread when the queue is empty.
    Errors: failures of the store go to those who wait, and to `check`. What `lasts`, `undo` or `tell` raises is a
    defect; it is told on stderr and stops the journal.
    """

    def __init__(
        self, lock: Any, open_store: Callable[[], Store[E]], lasts: Callable[[Round[E]], object],
        undo: Callable[[list[E]], object], tell: Callable[[Round[E]], object] | None = None,
    ) -> None:  # fmt: skip
        self._lock = lock
        self._open_store = open_store
        self._lasts = lasts
        self._undo = undo
        self._tell = tell
        self._bell = hub.Bell()
        #: The round that is being written, and the one that takes entries.
        self._current: Round[E] | None = None
        self._next: Round[E] | None = None
        self._failure: Exception | None = None
        self._closing = False
        self._opened = hub.Ticket()
        self._closed = hub.Ticket()

    def __repr__(self) -> str:
        waiting = sum(len(queued.entries) for queued in (self._current, self._next) if queued is not None)
        state = "closed" if self._closed.is_over else f"stopped: {self._failure}" if self._failure else "open"
        return f"<Journal {state}, {waiting} changes wait>"

    def start(self) -> None:
        """Start the thread, and return when the store is open.

        Raises:
            StorageError: there is no thread to be had. Whatever opening the store raises.
        """
        try:
            hub.start_native_thread(self._run)
        except RuntimeError as exc:
            raise StorageError(f"no thread for writing to the disk: {exc}; try again later") from exc
        if not self._opened.wait(WAIT_SECONDS):
            # It ends as soon as the disk answers.
            self.close(0)
            raise StorageError(f"the disk did not answer within {WAIT_SECONDS:g} s; look at the machine's disk")
        if self._failure is not None:
            raise self._failure

    @property
    def failure(self) -> Exception | None:
        """What stopped it, or None."""
        return self._failure

    def check(self) -> None:
        """See that an entry can be put; the lock is held.

        Raises:
            StorageError: an earlier failure stopped it. ServerBusyError: too many entries wait.
        """
        if self._failure is not None:
            raise StorageError(
                "no changes are taken since a write failed, as nobody knows what is on the disk: "
                f"{self._failure}"
            )
        if self._next is not None and len(self._next.entries) >= MAX_QUEUED:
            raise ServerBusyError(f"{MAX_QUEUED} changes wait for the disk, which is the limit; try again later")

    def put(self, entry: E) -> Round[E]:
        """Queue an entry, and return what it waits for; the lock is held, and `check` has been called."""
        if self._next is None:
            self._next = Round()
            self._bell.ring()
        self._next.entries.append(entry)
        return self._next

    def newest(self) -> Round[E] | None:
        """Return what the last of all entries waits for, or None where all last; the lock is held."""
        return self._next or self._current

    def close(self, seconds: float = WAIT_SECONDS) -> bool:
        """End the thread when all that is queued is done; nothing may be put any more.

        Returns:
            True; False when that took longer than `seconds`.
        """
        with self._lock:
            self._closing = True
        self._bell.ring()
        return self._closed.wait(seconds)

    # -- in the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            store = self._open_store()
        except Exception as exc:
            self._failure = exc
            self._closed.end()
            self._opened.end()
            return
        self._opened.end()
        try:
            while self._turn(store):
                pass
        finally:
            self._attempt(store.close)
            self._closed.end()

    def _turn(self, store: Store[E]) -> bool:
        """Do what is to be done next; False when that was all."""
        if not self._bell.wait(IDLE_SECONDS if self._failure is None and store.is_untidy() else None):
            self._attempt(store.tidy)
            return True
        with self._lock:
            self._current, self._next = self._next, None
            closing = self._closing
        if self._current is not None:
            self._write(store, self._current)
        if self._failure is None and store.needs_tidying():
            self._attempt(store.tidy)
        # Nothing has been put since `closing` was seen; what was put before it was seen too.
        return not closing

    def _write(self, store: Store[E], batch: Round[E]) -> None:
        error = self._failure
        if error is None:
            try:
                store.write(batch.entries)
            except Exception as exc:
                error = exc
        if error is not None:
            self._fail(batch, error)
            return
        with self._lock:
            self._guarded(self._lasts, batch)
            self._current = None
        if self._tell is not None:
            self._guarded(self._tell, batch)
        batch.end()

    def _fail(self, batch: Round[E], error: Exception) -> None:
        with self._lock:
            undone = [batch] if self._next is None else [batch, self._next]
            self._current = self._next = None
            if not isinstance(error, NotKept):
                self._failure = error
            self._guarded(self._undo, [entry for each in undone for entry in each.entries])
        for each in undone:
            each.error = error
            each.end()

    def _attempt(self, action: Callable[[], object]) -> None:
        """Do something that nobody waits for; its failure stops the journal."""
        try:
            action()
        except Exception as exc:
            with self._lock:
                self._failure = self._failure or exc

    def _guarded(self, function: Callable[[Any], object], argument: object) -> None:
        try:
            function(argument)
        except Exception as exc:
            self._failure = self._failure or exc
            # Nobody else is told of it.
            sys.excepthook(*sys.exc_info())
