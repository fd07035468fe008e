"""What storages in a SQLite file share: the claim on it, the journal, the end, and no use in a forked child."""

from __future__ import annotations

import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from gpyro import hub
from gpyro.errors import StorageError
from gpyro.storage.claim import Claim, FileKind, make_file
from gpyro.storage.journal import Journal, Round, Store

E = TypeVar("E")

__all__ = ["InFile"]


class InFile(ABC, Generic[E]):
    """The part of a storage that looks after its file; the storage has the lock, and what is in the file.

    `_open_file` opens it, at the end of the storage's own `__init__`.
    """

    _lock: Any
    path: str
    _claim: Claim
    _journal: Journal[E]
    _is_closing = False
    _is_orphan = False

    def _open_file(
        self, path: str, kind: FileKind, fill: Callable[[str], object],
        read: Callable[[Claim], Callable[[], Store[E]]],
    ) -> None:  # fmt: skip
        """Open the file and start the journal.

        Args:
            path: of the file; it is made where there is none, with its directory.
            kind: what it is.
            fill: makes a new one at another path.
            read: reads it, and returns what opens it for writing, in the journal's thread.

        Raises:
            StorageError: the file cannot be used. It is left as it was.
        """
        self.path = os.path.abspath(path)
        make_file(self.path, fill)
        self._claim = Claim(self.path, kind)
        try:
            open_store = read(self._claim)
            self._journal = Journal(self._lock, open_store, self._note_lasting, self._undo, self._tell_round)
            self._journal.start()
        except BaseException:
            self._claim.release()
            raise
        _living.add(self)

    # -- in the journal's thread -----------------------------------------------------------------------------

    @abstractmethod
    def _note_lasting(self, batch: Round[E]) -> None:
        """Have it seen that these entries last; the lock is held."""

    @abstractmethod
    def _undo(self, entries: list[E]) -> None:
        """Take back all that does not last; the lock is held."""

    def _tell_round(self, batch: Round[E]) -> None:
        """Tell of entries that last, without the lock."""

    # -- state and end ---------------------------------------------------------------------------------------

    @property
    def failure(self) -> Exception | None:
        """Why no changes are taken any more, or None."""
        return self._journal.failure

    @property
    def _end(self) -> str:
        """How it came to its end, for its repr."""
        return "of the parent process" if self._is_orphan else "closed"

    def _check_process(self) -> None:
        """See that this is not a forked child.

        Raises:
            StorageError: it is.
        """
        if self._is_orphan:
            raise StorageError(
                f"{self.path} was opened by the parent of this process, which alone may use it; open it here once "
                "the parent has closed it"
            )

    @abstractmethod
    def _drop(self) -> None:
        """Let go of what was in the file."""

    def close(self) -> None:
        """Wait until what is queued is on the disk, and close the file; what does not get there in time is left.

        Raises:
            StorageError: the disk did not answer in time.
        """
        if self._is_orphan:
            return
        with self._lock:
            was_closing, self._is_closing = self._is_closing, True
        in_time = self._journal.close()
        with self._lock:
            self._drop()
        if not in_time and not was_closing:
            raise StorageError(f"{self.path} could not be closed in time; the disk does not answer")

    def _abandon(self) -> None:
        """This is a forked child, where the journal's thread is not, and may have held the lock."""
        self._lock = hub.NativeLock()
        self._is_orphan = True
        self._drop()
        self._claim.abandon()


#: Those of this process, for its children.
_living: weakref.WeakSet[InFile[Any]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for storage in list(_living):
        storage._abandon()


os.register_at_fork(after_in_child=_after_fork_in_child)
