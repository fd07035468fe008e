"""A storage around a `NameTree` in memory; where its changes are made to last is for those who extend it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Protocol, TypeVar

from gpyro import hub
from gpyro.errors import NamingError
from gpyro.namerecords import Changes, Graves, Member, Record, Records
from gpyro.names import FlatListing, Listing, Names
from gpyro.nametree import NameTree
from gpyro.storage.base import Listener, NameStorage, objects_in

T = TypeVar("T")

__all__ = ["MAX_NOTES", "MAX_NOTE_LENGTH", "Pending", "TreeStorage"]

#: Notes are for the few things that a server has to remember of itself; all of them are kept in memory.
MAX_NOTES, MAX_NOTE_LENGTH = 64, 65_536


class Pending(Protocol):
    """Changes on their way to where they last."""

    def lasts(self) -> bool:
        """Wait until it is known, and tell whether they last; they are undone otherwise."""

    def settle(self) -> None:
        """Wait until they last.

        Raises:
            StorageError: they do not.
        """


class TreeStorage(NameStorage):
    """All questions are answered from the tree; changes go through `amend`.

    An extension that keeps changes somewhere overrides `_check_open`, `_keep`, `_keep_note` and `_newest`. What
    does not last yet is in the tree already, as later changes build on it, but nobody sees it: whoever asks
    for something that depends on it waits until it lasts, and looks again if it was undone.
    """

    def __init__(self, tree: NameTree) -> None:
        self._tree: NameTree | None = tree
        #: Held for a few lines that never wait.
        self._lock = hub.NativeLock()
        self._listeners: list[Listener] = []
        #: Called without the lock after each change, with its revision; may wait, until a twin has it too.
        self.confirm: Callable[[int], object] | None = None
        self._notes: dict[str, str] = {}
        self._graves: Graves = {}
        self._buries = False
        #: Names (and notes) whose change does not last yet.
        self._unsettled: dict[str, Pending] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'closed' if self._tree is None else self._tree}>"

    @property
    def _open_tree(self) -> NameTree:
        if self._tree is None:
            raise NamingError(f"this {type(self).__name__} is closed")
        return self._tree

    # -- changing --------------------------------------------------------------------------------------------

    def amend(self, plan: Callable[[NameTree], Changes]) -> Changes:
        """Put what a plan returns in place, and return when it lasts.

        Args:
            plan: gets the tree, changes nothing, and returns the changes; all of them are kept, or none. It is
                called with the lock held, so it must not wait; and again, if it found nothing to do or raised
                because of changes that were undone.

        Raises:
            StorageError: they could not be made to last, and are undone. Whatever the plan raises.
        """
        changes = self.adopt(lambda tree: tree.apply_all(plan(tree)))
        if changes and self.confirm is not None:
            self.confirm(changes[-1].revision)
        return changes

    def adopt(self, put: Callable[[NameTree], Changes]) -> Changes:
        """Have a function put changes in place, and return when they last; `confirm` is not called.

        Args:
            put: as the plan of `amend`, but its changes are in place when it returns them.

        Raises:
            StorageError: they could not be made to last, and are undone. Whatever the function raises.
        """
        while True:
            error: NamingError | None = None
            changes: Changes = []
            with self._lock:
                tree = self._open_tree
                self._check_open()
                try:
                    changes = put(tree)
                except NamingError as exc:
                    error = exc
                pending = self._keep(changes) if changes else self._newest()
            if changes and pending is not None:
                pending.settle()
            elif pending is not None and not pending.lasts():
                continue
            if error is not None:
                raise error
            break
        return changes

    def _check_open(self) -> None:
        """See that a change can be taken now; the lock is held.

        Raises:
            StorageError, ServerBusyError: it cannot.
        """

    def _keep(self, changes: Changes) -> Pending | None:
        """Make changes last; the lock is held. Return what is waited for, or None where it is done already."""
        self._tell(changes)
        return None

    def _keep_note(self, key: str, before: str | None) -> Pending | None:
        """Make a note last that is in place now; as `_keep`."""
        return None

    def _newest(self) -> Pending | None:
        """Return what makes everything last that was changed so far, or None where all does; the lock is held."""
        return None

    def _tell(self, changes: Changes) -> None:
        """Tell the listeners what lasts; in the order of the changes, so with the lock held."""
        for listener in self._listeners:
            listener(changes)

    def _ask(self, question: Callable[[NameTree], T], name: str | None = None) -> T:
        """Return the answer to a question about one name, or (None) about all.

        It is given only once all that it depends on lasts.
        """
        while True:
            with self._lock:
                tree = self._open_tree
                if not self._unsettled or (name is not None and name not in self._unsettled):
                    return question(tree)
                pending = self._newest() if name is None else self._unsettled[name]
                error = None
                try:
                    answer = question(tree)
                except NamingError as exc:
                    error = exc
            if pending is None or pending.lasts():
                if error is not None:
                    raise error
                return answer

    def bury(self) -> Graves:
        """Remember from now on what is removed, for a twin that is away; return what was remembered before."""
        self._buries = True
        graves, self._graves = self._graves, {}
        return graves

    # -- notes -----------------------------------------------------------------------------------------------

    def get_note(self, key: str) -> str | None:
        """Return what `put_note` gave, or None."""
        return self._ask(lambda tree: self._notes.get(key), note_name(key))

    def put_note(self, key: str, value: str) -> None:
        """Keep a text of the server's own beside the names; it lasts when this returns.

        Raises:
            ValueError: it is too long, or there are too many. StorageError: it could not be made to last.
        """
        if len(value) > MAX_NOTE_LENGTH:
            raise ValueError(f"note {key!r} has {len(value)} characters, the limit is {MAX_NOTE_LENGTH}")
        with self._lock:
            self._open_tree  # noqa: B018  (raises where the storage is closed)
            self._check_open()
            if key not in self._notes and len(self._notes) >= MAX_NOTES:
                raise ValueError(f"note {key!r} would be one more than {MAX_NOTES}, which is the limit")
            before = self._notes.get(key)
            self._notes[key] = value
            pending = self._keep_note(key, before)
        if pending is not None:
            pending.settle()

    # -- objects ---------------------------------------------------------------------------------------------

    def register(
        self, name: str, uri_text: str, *, created: float, owner: str | None = None, lease: str | None = None,
        replace: bool = False, member: bool = False, instead_of: tuple[Member, ...] | None = None,
    ) -> None:  # fmt: skip
        self.amend(
            lambda tree: tree.plan_register(
                name, uri_text, created=created, owner=owner, lease=lease, replace=replace, member=member,
                instead_of=instead_of,
            )
        )  # fmt: skip

    def unregister(self, name: str, uri_text: str | None = None) -> None:
        self.amend(lambda tree: tree.plan_unregister(name, uri_text))

    def members(self, name: str) -> tuple[Member, ...]:
        return self._ask(lambda tree: tree.members(name), name)

    # -- groups ----------------------------------------------------------------------------------------------

    def create_group(self, name: str, *, created: float, owner: str | None = None) -> None:
        self.amend(lambda tree: tree.plan_create_group(name, created=created, owner=owner))

    def delete_group(self, name: str) -> Names:
        return objects_in(self.amend(lambda tree: tree.plan_delete_group(name)))

    def list(self, group: str, offset: int = 0, limit: int | None = None) -> Listing:
        return self._ask(lambda tree: tree.list(group, offset, limit))

    def flatlist(self) -> FlatListing:
        return self._ask(lambda tree: tree.flatlist())

    def scan(self, group: str, after: str | None, limit: int) -> Records:
        return self._ask(lambda tree: [*islice(tree.walk(group, after), limit)])

    # -- either ----------------------------------------------------------------------------------------------

    def kind(self, name: str) -> int | None:
        return self._ask(lambda tree: tree.kind(name), name)

    def record(self, name: str) -> Record:
        return self._ask(lambda tree: tree.record(name), name)

    def set_meta(self, name: str, meta: bytes | None) -> None:
        self.amend(lambda tree: tree.plan_set_meta(name, meta))

    # -- leases ----------------------------------------------------------------------------------------------

    def open_lease(self, lease: str, *, seconds: float, created: float, owner: str | None = None) -> None:
        self.amend(lambda tree: tree.plan_open_lease(lease, seconds=seconds, created=created, owner=owner))

    def close_lease(self, lease: str) -> Names:
        return objects_in(self.amend(lambda tree: tree.plan_close_lease(lease)))

    def close_leases(self, leases: Names) -> Names:
        def close_all(tree: NameTree) -> Changes:
            known = {record.name for record in tree.leases()}
            plans = (tree.apply_all(tree.plan_close_lease(lease)) for lease in leases if lease in known)
            return [change for plan in plans for change in plan]

        changes = self.adopt(close_all)
        if changes and self.confirm is not None:
            self.confirm(changes[-1].revision)
        return objects_in(changes)

    def leases(self) -> Records:
        return self._ask(lambda tree: tree.leases())

    def held_by(self, lease: str) -> Names:
        return self._ask(lambda tree: tree.held_by(lease))

    # -- the whole -------------------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        return self._ask(lambda tree: tree.revision)

    @property
    def digest(self) -> int:
        """64 bits; equal where two storages keep the same."""
        return self._ask(lambda tree: tree.digest)

    def inspect(self, question: Callable[[NameTree], T]) -> T:
        """Ask the tree itself, with the lock held; for a pair, which compares two of them.

        It may be asked again, when changes that it saw were undone.
        """
        return self._ask(question)

    def listen(self, listener: Listener) -> None:
        with self._lock:
            self._listeners.append(listener)

    def __len__(self) -> int:
        return self._ask(len)

    def close(self) -> None:
        with self._lock:
            self._tree = None


def note_name(key: str) -> str:
    """Return under what a note stands beside names, which begin with a colon, and leases, which have none."""
    return f"note:{key}"
