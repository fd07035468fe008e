"""What the name server needs of the place where names are kept.

One storage serves one name server. Every name given to it is a full one (`gpyro.names.expand_name`); times
come in as arguments. All storages pass the same cases, `tests/unit/storage/conformance.py`.

The rules of the tree, the same everywhere:

    an object or a group stands in a group that is there; the root `:` is always there
    a name is taken once, by an object or by a group
    removing a group removes what is in it
    who resolves, lists or removes something of the other kind, or nothing, gets a NamingError whose `reason`
    is one of `gpyro.names.Reason` and whose `name` is the full name that was asked for
    listings are sorted by code points, so pages fit together
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, TypeVar

from gpyro.names import FlatListing, Listing, Names, SystemMeta

S = TypeVar("S", bound="NameStorage")

__all__ = ["NameStorage"]


class NameStorage(ABC):
    """A tree of names, kept somewhere.

    Who makes a storage closes it; it is a context manager for that. Every method that changes something has
    it in place (for one on disk: on disk) when it returns. Not made for several threads at once.

    NamingError is raised for whatever is wrong with a name, and by every method of a closed storage; errors
    of the place itself (a full disk) come out as that place's own.
    """

    @abstractmethod
    def register(
        self, name: str, uri_text: str, *, created: float, owner: str | None = None, replace: bool = False
    ) -> None:
        """Put an object's address under a name.

        Args:
            name: the full name.
            uri_text: the address; the name server has checked it.
            created: seconds since 1970.
            owner: who registers it.
            replace: take the place of an object of that name; its user meta stays.

        Raises:
            NamingError: the name is not right, is taken, or its group is not there.
        """

    @abstractmethod
    def unregister(self, name: str) -> str:
        """Remove an object's name and return the address that it had.

        Raises:
            NamingError: there is no such name, or it is that of a group.
        """

    @abstractmethod
    def resolve(self, name: str) -> str:
        """Return the address under a name.

        Raises:
            NamingError: there is no such name, or it is that of a group.
        """

    @abstractmethod
    def create_group(self, name: str, *, created: float, owner: str | None = None) -> None:
        """Make an empty group.

        Raises:
            NamingError: the name is not right, is taken, or its parent is no group.
        """

    @abstractmethod
    def delete_group(self, name: str) -> Names:
        """Remove a group with all that is in it; return the full names of the objects that went, sorted.

        Raises:
            NamingError: there is no such group, or it is the root.
        """

    @abstractmethod
    def list(self, group: str, offset: int = 0, limit: int | None = None) -> Listing:
        """Return (last part, GROUP or OBJECT) of what stands in a group, sorted by the part.

        Args:
            group: its full name.
            offset: how many to pass over.
            limit: how many to return at most; None returns the rest.

        Raises:
            NamingError: there is no such group.
            ValueError: `offset` or `limit` is negative.
        """

    @abstractmethod
    def flatlist(self) -> FlatListing:
        """Return (full name, address) of every object, sorted by name."""

    @abstractmethod
    def kind(self, name: str) -> int | None:
        """Return GROUP or OBJECT, or None where there is nothing of that name."""

    @abstractmethod
    def set_meta(self, name: str, meta: Any) -> None:
        """Keep a value of the user's, of data types, with an object or group; None takes it away.

        Raises:
            NamingError: there is no such name.
        """

    @abstractmethod
    def get_meta(self, name: str) -> Any:
        """Return a value equal to the one that `set_meta` gave, or None.

        Raises:
            NamingError: there is no such name.
        """

    @abstractmethod
    def get_system_meta(self, name: str) -> SystemMeta:
        """Return what is noted of an object or group: kind, time and owner.

        Raises:
            NamingError: there is no such name.
        """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of objects and groups, without the root."""

    def __bool__(self) -> bool:
        """Be true even when empty: a storage is a thing, not a collection that one was given."""
        return True

    @abstractmethod
    def close(self) -> None:
        """Let go of what the storage holds; closing again does nothing."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
