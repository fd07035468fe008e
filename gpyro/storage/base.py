"""What the name server needs of the place where names are kept.

One storage serves one name server. Every name given to it is a full one (`gpyro.names.expand_name`); times
come in as arguments; the user's meta are bytes. All storages pass the same cases,
`tests/unit/storage/conformance.py`.

The rules of the tree, the same everywhere:

    an object or a group stands in a group that is there; the root `:` is always there
    a name is taken once, by an object or by a group; an object has one address or several
    removing a group removes what is in it; the end of a lease removes the addresses that hang on it
    who resolves, lists or removes something of the other kind, or nothing, gets a NamingError whose `reason`
    is one of `gpyro.names.Reason` and whose `name` is the full name that was asked for
    listings are sorted by code points, so pages fit together
    every change has a revision, higher than all before it
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from gpyro.errors import NamingError
from gpyro.namerecords import Changes, Member, Record, Records, SystemMeta
from gpyro.names import OBJECT, FlatListing, Listing, Names
from gpyro.storage.closing import Closing

__all__ = ["KNOWN_TO_TWIN", "Listener", "NameStorage", "objects_in"]

#: The note up to which revision a twin knows everything, so that its graves are of no use any more.
KNOWN_TO_TWIN = "pair_base"
#: Called with what was changed, in order, once it lasts; from any thread, and never to wait there.
Listener = Callable[[Changes], object]


class NameStorage(Closing):
    """A tree of names, kept somewhere.

    Who makes a storage closes it; it is a context manager for that. Safe from any thread and greenlet. Every
    method that changes something has it in place (for one on disk: on disk) when it returns, and may wait for
    that without holding the hub; what is not yet on disk is seen by nobody else.

    NamingError is raised for whatever is wrong with a name or lease, and by every method of a closed storage;
    StorageError says that the place itself (a full disk) did not take the change, which is undone then.
    """

    # -- objects

    @abstractmethod
    def register(
        self, name: str, uri_text: str, *, created: float, owner: str | None = None, lease: str | None = None,
        replace: bool = False, member: bool = False, instead_of: tuple[Member, ...] | None = None,
    ) -> None:  # fmt: skip
        """Put an object's address under a name.

        Args:
            name: the full name.
            uri_text: the address; the name server has checked it.
            created: seconds since 1970.
            owner: who registers it.
            lease: the id of the lease that it hangs on; None stays until it is removed.
            replace: take the place of an object of that name; its user meta stays.
            member: stand beside the addresses that are there already.
            instead_of: replace them if they are exactly these, or are gone; otherwise the name is taken.

        Raises:
            NamingError: the name is not right, is taken, its group is not there, or there is no such lease.
        """

    @abstractmethod
    def unregister(self, name: str, uri_text: str | None = None) -> None:
        """Remove an object's name, or only one of the addresses under it; with the last one goes the name.

        Raises:
            NamingError: there is no such name or no such address under it, or it is that of a group.
        """

    def resolve(self, name: str) -> str:
        """Return the address under a name; of several the one that came first.

        Raises:
            NamingError: there is no such name, or it is that of a group.
        """
        return self.members(name)[0].uri

    @abstractmethod
    def members(self, name: str) -> tuple[Member, ...]:
        """Return all addresses under a name, the one that came first at the front.

        Raises:
            NamingError: there is no such name, or it is that of a group.
        """

    # -- groups

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
    def scan(self, group: str, after: str | None, limit: int) -> Records:
        """Return records of what is under a group at any depth: groups before what is in them, sorted by parts.

        Args:
            group: its full name; itself it is not returned.
            after: go on behind this full name, whether it is there (still) or not; None begins at the front.
            limit: how many to return at most; fewer are the last ones.

        Raises:
            NamingError: there is no such group.
        """

    # -- either

    @abstractmethod
    def kind(self, name: str) -> int | None:
        """Return GROUP or OBJECT, or None where there is nothing of that name."""

    @abstractmethod
    def record(self, name: str) -> Record:
        """Return all that is kept of an object or group.

        Raises:
            NamingError: there is no such name.
        """

    @abstractmethod
    def set_meta(self, name: str, meta: bytes | None) -> None:
        """Keep a value of the user's with an object or group; None takes it away.

        Raises:
            NamingError: there is no such name.
        """

    def get_meta(self, name: str) -> bytes | None:
        """Return what `set_meta` gave, or None.

        Raises:
            NamingError: there is no such name.
        """
        return self.record(name).meta

    def get_system_meta(self, name: str) -> SystemMeta:
        """Return what is noted of an object or group: kind, time and owner.

        Raises:
            NamingError: there is no such name.
        """
        record = self.record(name)
        return SystemMeta(record.kind, record.created, record.owner)

    # -- leases

    @abstractmethod
    def open_lease(self, lease: str, *, seconds: float, created: float, owner: str | None = None) -> None:
        """Begin a lease, on which addresses may hang; the clock is with whoever uses the storage.

        Raises:
            NamingError: there is one with that id.
        """

    @abstractmethod
    def close_lease(self, lease: str) -> Names:
        """End a lease with the addresses that hang on it, at one go; return the names that went altogether.

        Raises:
            NamingError: there is none with that id.
        """

    def close_leases(self, leases: Names) -> Names:
        """End several leases as `close_lease` does, at one go where the storage can; those that are over are none.

        Returns:
            The names that went altogether.
        """
        gone: Names = []
        for lease in leases:
            try:
                gone += self.close_lease(lease)
            except NamingError:
                continue
        return gone

    @abstractmethod
    def leases(self) -> Records:
        """Return all leases; each record's `name` is the id."""

    @abstractmethod
    def held_by(self, lease: str) -> Names:
        """Return the names that hang on a lease, sorted; none for a lease that is not there."""

    # -- the whole

    @property
    @abstractmethod
    def revision(self) -> int:
        """The highest revision of any change."""

    @abstractmethod
    def listen(self, listener: Listener) -> None:
        """Have a listener called with every change from now on, once it lasts."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of objects and groups, without the root."""

    def __bool__(self) -> bool:
        """Be true even when empty: a storage is a thing, not a collection that one was given."""
        return True


def objects_in(changes: Changes) -> Names:
    """Return the full names of the objects that changes take away, sorted."""
    return sorted(c.name for c in changes if c.after is None and c.before is not None and c.before.kind == OBJECT)
