"""A storage around a `NameTree` in memory; where its changes are made to last is for those who extend it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TypeVar

from gpyro import hub
from gpyro.errors import NamingError
from gpyro.names import FlatListing, Listing, Names
from gpyro.nametree import Changes, Member, NameTree, Record, Records
from gpyro.storage.base import Listener, NameStorage, objects_in

T = TypeVar("T")

__all__ = ["TreeStorage"]


class TreeStorage(NameStorage):
    """All questions are answered from the tree; changes go through `amend`.

    An extension that keeps changes somewhere overrides `_keep`, and `_settle` where that takes time.
    """

    def __init__(self, tree: NameTree) -> None:
        self._tree: NameTree | None = tree
        #: Held for a few lines that never wait.
        self._lock = hub.NativeLock()
        self._listeners: list[Listener] = []
        #: Called without the lock after each change, with its revision; may wait, until a twin has it too.
        self.confirm: Callable[[int], object] | None = None
        #: Names whose change does not last yet. Nobody but who made it sees it before.
        self._unsettled: dict[str, object] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'closed' if self._tree is None else self._tree}>"

    @property
    def _open_tree(self) -> NameTree:
        if self._tree is None:
            raise NamingError(f"this {type(self).__name__} is closed")
        return self._tree

    # -- changing --------------------------------------------------------------------------------------------

    def amend(self, plan: Callable[[NameTree], Changes], *, confirm: bool = True) -> Changes:
        """Put what a plan returns in place, and return when it lasts.

        Args:
            plan: gets the tree, changes nothing, and returns the changes; all of them are kept, or none. It is
                called with the lock held, so it must not wait.
            confirm: have `confirm` called afterwards.

        Raises:
            StorageError: they could not be made to last, and are undone. Whatever the plan raises.
        """
        with self._lock:
            tree = self._open_tree
            changes = tree.apply_all(plan(tree))
            wait = self._keep(changes) if changes else None
        if wait is not None:
            wait()
        if confirm and changes and self.confirm is not None:
            self.confirm(changes[-1].revision)
        return changes

    def _keep(self, changes: Changes) -> Callable[[], object] | None:
        """Make changes last; the lock is held. Return what waits for that, or None where it is done already."""
        self._tell(changes)
        return None

    def _tell(self, changes: Changes) -> None:
        """Tell the listeners what lasts; in the order of the changes, so with the lock held."""
        for listener in self._listeners:
            listener(changes)

    def _settle(self, name: str | None) -> None:
        """Wait until the changes of a name last, or (None) all that were made so far."""

    def _ask(self, question: Callable[[NameTree], T], name: str | None = None) -> T:
        if self._unsettled and (name is None or name in self._unsettled):
            self._settle(name)
        with self._lock:
            return question(self._open_tree)

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

    def leases(self) -> Records:
        return self._ask(lambda tree: tree.leases())

    def held_by(self, lease: str) -> Names:
        return self._ask(lambda tree: tree.held_by(lease))

    # -- the whole -------------------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        with self._lock:
            return self._open_tree.revision

    @property
    def digest(self) -> int:
        """64 bits; equal where two storages keep the same."""
        with self._lock:
            return self._open_tree.digest

    def inspect(self, question: Callable[[NameTree], T]) -> T:
        """Ask the tree itself, with the lock held; for a pair, which compares two of them."""
        return self._ask(question)

    def listen(self, listener: Listener) -> None:
        with self._lock:
            self._listeners.append(listener)

    def __len__(self) -> int:
        return self._ask(len)

    def close(self) -> None:
        with self._lock:
            self._tree = None
