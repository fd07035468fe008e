"""Names, addresses, groups, meta and leases: what callers do with a storage of names, where they may."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpyro._naming.expiring import Leases
from gpyro._naming.guard import Guard, owner_of_call
from gpyro._naming.meta import decode_meta, encode_meta
from gpyro._naming.rights import ADMIN, LOOKUP, REGISTER, REMOVE, GroupRights, Rights
from gpyro.configuration import config
from gpyro.context import current_call
from gpyro.errors import NamingError, URIError
from gpyro.namerecords import Member, Record, SystemMeta
from gpyro.names import OBJECT, ROOT, Listing, Reason, expand_name, naming_error, split_name
from gpyro.nametree import check_page
from gpyro.objects import ObjBase
from gpyro.storage.base import NameStorage
from gpyro.uri import PyroURI

__all__ = ["MAX_AT_ONCE", "NameSpace", "check_address", "check_list", "choose_address"]

#: Of its own, so that a program that seeds `random` gets the numbers that it expects.
_dice = random.SystemRandom()

#: Which of several addresses is wanted.
FIRST, RANDOM, ALL = "first", "random", "all"
#: Most names that one `resolve_many` takes: an answer of some MB, and some 10 ms of the hub.
MAX_AT_ONCE = 10_000


def check_address(name: str, URI: object) -> PyroURI:
    """Return what is to be registered under a name as an address.

    Raises:
        NamingError: it is none, or one that is itself a name. Source: Pyro's text is "invalid URI".
    """
    try:
        uri = URI if isinstance(URI, PyroURI) else PyroURI(URI)  # type: ignore[arg-type]
    except URIError as exc:
        raise naming_error("invalid URI", name, f": {exc}") from exc
    if uri.protocol == "PYRONAME":
        raise naming_error("invalid URI", name, f": {uri} is a name again; register the address behind it")
    return uri


class NameSpace(ObjBase):
    """The names of one name server; `NameServer` adds what makes it one.

    Args:
        storage: where the names are kept. rights: see `NameServer`.
    """

    def __init__(self, storage: NameStorage, rights: Rights | Mapping[str, GroupRights] | None) -> None:
        super().__init__()
        self._storage = storage
        self._guard = Guard(rights)
        self._was_served = False
        self._leases = Leases(storage, self._has_ended)

    def _ensure_group(self, group: str) -> None:
        if group == ROOT or self._storage.kind(group) is not None:
            return
        self._ensure_group(split_name(group)[0])
        self._storage.create_group(group, created=time.time())

    def _record_or_none(self, name: str) -> Record | None:
        return None if self._storage.kind(name) is None else self._storage.record(name)

    # -- objects ---------------------------------------------------------------------------------------------

    def register(
        self, name: str, URI: PyroURI | str, *, replace: bool = False, member: bool = False,
        lease: str | None = None,
    ) -> None:  # fmt: skip
        """Put an address under a name; it stays until it is removed, or its lease ends.

        A name whose addresses all hang on leases that are stale, or whose holders' connections have ended, is
        taken over, as if it were free.

        Args:
            replace: take the place of the addresses that are there; needs the right to remove them.
            member: stand beside the addresses that are there.
            lease: the id of the caller's lease that the address hangs on, see `open_lease`. Under the same lease
                the same address may be registered again, which changes nothing.

        Raises:
            NamingError: the name is malformed or taken, its group is not there, this is no address, or the lease
                is over.
        """
        full_name, uri = self.fullName(name), str(check_address(name, URI))
        self._guard.require(REGISTER, full_name)
        if lease is not None:
            self._check_lease(lease)
        record = self._record_or_none(full_name)
        instead_of = None
        if replace:
            if record is not None:
                self._guard.require_unless_owner(REMOVE, full_name, record)
        elif record is not None and lease is not None and _stands_under(record, uri, lease):
            return
        elif record is not None and not member and self._is_abandoned(full_name, record):
            instead_of = record.members
        self._storage.register(
            full_name, uri, created=time.time(), owner=owner_of_call(), lease=lease, replace=replace,
            member=member, instead_of=instead_of,
        )  # fmt: skip

    def _is_abandoned(self, full_name: str, record: Record) -> bool:
        """Tell whether the caller may take over a name from holders that seem to be gone."""
        leases = [member.lease for member in record.members]
        return (
            bool(leases)
            and all(lease is not None and self._leases.book.is_abandoned(lease) for lease in leases)
            and self._guard.may_unless_owner(REMOVE, full_name, record)
        )

    def unregister(self, name: str, URI: PyroURI | str | None = None) -> None:
        """Remove a name, or only one of the addresses under it; who registered it may always.

        Raises:
            NamingError: there is no such name or address, or it is that of a group.
        """
        full_name = self.fullName(name)
        uri = None if URI is None else str(check_address(name, URI))
        self._guard.require_unless_owner(REMOVE, full_name, self._record_or_none(full_name), uri)
        self._storage.unregister(full_name, uri)

    def resolve(self, name: str, choose: str = FIRST) -> Any:
        """Return the address under a name.

        Args:
            choose: which, where there are several: "first" is the one that came first, "random" any of them,
                "all" a list of all.

        Raises:
            NamingError: there is no such name, or it is that of a group.
            ValueError: `choose` is none of these.
        """
        full_name = self.fullName(name)
        self._guard.require(LOOKUP, full_name)
        return choose_address(self._storage.members(full_name), choose)

    def resolve_many(self, names: Sequence[str], choose: str = FIRST) -> dict[str, Any]:
        """Return {name as it was asked for: what `resolve` returns}; None where the caller sees nothing.

        Raises:
            NamingError: a name is malformed. ValueError: more than 10,000 names at once.
        """
        check_list(names)
        if len(names) > MAX_AT_ONCE:
            raise ValueError(f"{len(names)} names at once, limit is {MAX_AT_ONCE}; ask for them in pieces")
        found = {}
        for name in names:
            full_name = self.fullName(name)
            visible = self._storage.kind(full_name) == OBJECT and self._guard.may_look_up(full_name)
            found[name] = choose_address(self._storage.members(full_name), choose) if visible else None
        return found

    def flatlist(self) -> Any:
        """Return (full name, address) of every object that the caller may look up, sorted by name."""
        may_see = self._guard.sight()
        return [(name, PyroURI(text)) for name, text in self._storage.flatlist() if may_see(name)]

    # -- groups ----------------------------------------------------------------------------------------------

    def list(self, groupname: str = "", offset: int = 0, limit: int | None = None) -> Listing:
        """Return (last part, 0 for a group or 1 for an object) of what stands in a group, sorted.

        What has rights of its own that do not let the caller look it up is left out.

        Args:
            groupname: the group; empty is the default group, `:` the root.
            offset: how many to pass over.
            limit: how many to return at most; None returns the rest.

        Raises:
            NamingError: there is no such group.
        """
        full_name = self.fullName(groupname)
        self._guard.require(LOOKUP, full_name)
        hidden = self._guard.hidden_in(full_name)
        if not hidden:
            return self._storage.list(full_name, offset, limit)
        check_page(offset, limit)
        shown = [entry for entry in self._storage.list(full_name) if entry[0] not in hidden]
        return shown[offset : None if limit is None else offset + limit]

    def createGroup(self, groupname: str) -> None:
        """Make an empty group; the group that it stands in must be there.

        Raises:
            NamingError: the name is malformed or taken, or its parent is no group.
        """
        full_name = self.fullName(groupname)
        self._guard.require(REGISTER, full_name)
        self._storage.create_group(full_name, created=time.time(), owner=owner_of_call())

    def deleteGroup(self, groupname: str) -> None:
        """Remove a group with all that is in it; needs "admin" there, and where groups in it have own rights.

        Raises:
            NamingError: there is no such group, or it is the root.
        """
        full_name = self.fullName(groupname)
        self._guard.require_below(ADMIN, full_name)
        self._storage.delete_group(full_name)

    # -- either ----------------------------------------------------------------------------------------------

    def setMeta(self, name: str, meta: Any) -> None:
        """Keep a value with an object or group; None takes it away. Needs "admin", unless the caller made it.

        Raises:
            NamingError: there is no such name. SerializationError: it is no data, or more than 16 KiB.
        """
        full_name = self.fullName(name)
        body = encode_meta(meta)
        self._guard.require_unless_owner(ADMIN, full_name, self._record_or_none(full_name))
        self._storage.set_meta(full_name, body)

    def getMeta(self, name: str) -> Any:
        """Return a value equal to the one that `setMeta` gave, or None.

        Raises:
            NamingError: there is no such name.
        """
        full_name = self.fullName(name)
        self._guard.require(LOOKUP, full_name)
        return decode_meta(self._storage.get_meta(full_name))

    def get_system_meta(self, name: str) -> tuple[int, float, str | None]:
        """Return kind, time in seconds since 1970 and owner, as they travel; see `_getSystemMeta`."""
        meta = self._getSystemMeta(name)
        return meta.kind, meta.created, meta.owner

    def _getSystemMeta(self, name: str) -> SystemMeta:
        """Return what the server itself notes of an object or group.

        Raises:
            NamingError: there is no such name.
        """
        full_name = self.fullName(name)
        self._guard.require(LOOKUP, full_name)
        return self._storage.get_system_meta(full_name)

    def fullName(self, name: str) -> str:
        """Return the name with the default group in front if it is relative.

        Raises:
            NamingError: it is malformed.
        """
        return expand_name(name, config.ns_defaultgroup)

    # -- leases ----------------------------------------------------------------------------------------------

    def open_lease(self, seconds: float) -> str:
        """Begin a lease, on which names may hang (`register`): they go when it is not renewed in time.

        Args:
            seconds: its length, from 1 to 3,600; renew it each third of that.

        Returns:
            Its id. Who knows it may renew and close the lease; with rights, only under the same identity.

        Raises:
            ValueError: it cannot be that long. NamingError: there are 20,000 leases already.
            AccessDeniedError: the caller may register nothing anywhere.
        """
        self._guard.require_anywhere(REGISTER)
        lease = self._leases.open(seconds, owner_of_call(), time.time())
        self._watch_leases()
        return lease

    def renew_lease(self, lease: str) -> int:
        """Let a lease begin anew, and return how many names hang on it.

        Raises:
            NamingError: its reason is "lease is over": it was not renewed in time, or never was.
        """
        self._check_lease(lease)
        count = self._leases.renew(lease, current_call.caller)
        self._watch_leases()
        return count

    def close_lease(self, lease: str) -> None:
        """End a lease; the names that hang on it go, all at one go.

        Raises:
            NamingError: its reason is "lease is over".
        """
        self._check_lease(lease)
        self._leases.close(lease)

    def hold(self, name: str, URI: PyroURI | str, *, member: bool = False, replace: bool = False) -> None:
        """Register a name; here it needs no lease, as it ends with this process or is kept on purpose.

        `NameServerProxy.hold` is what others hold names with.
        """
        self.register(name, URI, member=member, replace=replace)

    def let_go(self, name: str, URI: PyroURI | str) -> None:
        """Remove an address that `hold` has put under a name; nothing happens where it is not there."""
        try:
            self.unregister(name, URI)
        except NamingError as exc:
            if exc.reason != Reason.NAME_NOT_FOUND:
                raise

    def _check_lease(self, lease: str) -> None:
        """See that a lease is there and the caller's.

        Raises:
            NamingError: its reason is "lease is over"; somebody else's is not told from one that is not there.
        """
        if not self._guard.is_callers_own(self._leases.book.owner_of(lease)):
            raise naming_error(Reason.LEASE_OVER, lease, " for this caller, who has not opened it")

    def _watch_leases(self) -> None:
        """See that the hub that serves looks after the leases, or for a call of our own this thread's."""
        caller = current_call.caller
        self._leases.watch(None if caller is None else caller.state)

    def _is_stale(self, lease: str) -> bool:
        """Tell whether the holder of a lease has not been heard of for a while."""
        return self._leases.book.is_stale(lease)

    def _has_ended(self) -> bool:
        daemon = self.getDaemon()
        if daemon is not None:
            self._was_served = True
        return self._was_served and (daemon is None or daemon.is_ending())


def _stands_under(record: Record, uri: str, lease: str) -> bool:
    return any((member.uri, member.lease) == (uri, lease) for member in record.members)


def choose_address(members: tuple[Member, ...], choose: str) -> Any:
    """Return one address of several, or all of them as a list; see `NameServer.resolve`."""
    if choose == FIRST:
        return PyroURI(members[0].uri)
    if choose == RANDOM:
        return PyroURI(_dice.choice(members).uri)
    if choose == ALL:
        return [PyroURI(member.uri) for member in members]
    raise ValueError(f"choose={choose!r}; it is {FIRST!r}, {RANDOM!r} or {ALL!r}")


def check_list(names: Sequence[str]) -> None:
    """See that these are several names, and not one that would be taken for its letters.

    Raises:
        TypeError: it is one, or no names at all.
    """
    if isinstance(names, str):
        raise TypeError(f"names={names!r} is one name; give a list of names, or use resolve")
    if isinstance(names, bytes) or not isinstance(names, Iterable):
        raise TypeError(f"names={names!r} is of type {type(names).__name__}; give a list of names")
