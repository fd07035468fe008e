"""The name server's object: Pyro's methods on a storage of names."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from gpyro import hub
from gpyro._naming.rights import ADMIN, LOOKUP, REGISTER, REMOVE, GroupRights, Rights, is_owner, make_rights
from gpyro.configuration import config
from gpyro.context import current_call
from gpyro.errors import NamingError, URIError
from gpyro.names import ROOT, Listing, SystemMeta, check_page, expand_name, naming_error, split_name
from gpyro.objects import ObjBase
from gpyro.storage.base import NameStorage
from gpyro.storage.memory import MemoryStorage
from gpyro.uri import PyroURI

__all__ = ["NAMESERVER_NAME", "NameServer", "check_address"]

#: Under which name the server finds itself. Source: Pyro.constants.NAMESERVER_NAME.
NAMESERVER_NAME = ":Pyro.NameServer"
#: Its group.
OWN_GROUP = ":Pyro"
#: What a denied shutdown begins with. Source: Pyro 3.16, transcript A2.
DENIED = "Shutdown request denied"


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


class NameServer(ObjBase):
    """Keeps addresses of objects under hierarchical names.

    Names may be relative: they belong to the default group of this process then. A `NameServerProxy` has
    put its own default group in front before.

    Args:
        storage: where the names are kept; memory by default.
        keep_running: refuse `shutdown` to callers.
        on_shutdown: called when a caller may and does shut it down; by default its daemon ends.
        rights: {group: {identity or role: {"lookup", "register", "remove", "admin"}}}, see `_naming/rights`. None
            lets everybody do everything. Calls from this process itself are not restricted; those that it makes
            while it serves a caller count as that caller's.

    Resources: who gives a storage closes it.
    Errors: NamingError, AccessDeniedError, and whatever a storage raises, go to the caller. Who lacks a right is
    not told whether there is such a name.

    Source: Pyro 3 manual, chapter 5; the names of the methods are Pyro's.
    """

    def __init__(
        self, storage: NameStorage | None = None, *, keep_running: bool = False,
        on_shutdown: Callable[[], object] | None = None,
        rights: Rights | Mapping[str, GroupRights] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        # The same in every name server, so that an address from before a restart leads to the new one.
        self.objectGUID = NAMESERVER_NAME
        self._storage = MemoryStorage(created=time.time()) if storage is None else storage
        self._keep_running = keep_running
        self._on_shutdown = on_shutdown
        self._rights = make_rights(rights)
        # A storage is not made for several threads at once; nothing under it ever waits.
        self._lock = hub.NativeLock()
        for group in (OWN_GROUP, config.ns_defaultgroup):
            self._ensure_group(group)

    def __repr__(self) -> str:
        return f"<NameServer {self._storage!r}{'' if self._rights is None else f', {self._rights!r}'}>"

    def _ensure_group(self, group: str) -> None:
        if group == ROOT or self._storage.kind(group) is not None:
            return
        self._ensure_group(split_name(group)[0])
        self._storage.create_group(group, created=time.time())

    # -- rights ----------------------------------------------------------------------------------------------

    def _require(self, right: str, *names: str) -> None:
        """See that the caller has a right to all these names.

        Raises:
            AccessDeniedError: to one of them it has not.
        """
        caller = current_call.caller
        if self._rights is None or caller is None:
            return
        for name in names:
            if not self._rights.may(caller.principals, right, name):
                raise self._rights.denial(caller.identity, caller.principals, right, name)

    def _require_unless_owner(self, right: str, name: str) -> None:
        """Like `_require`, but who registered the name needs no right; the lock is held."""
        if self._rights is not None and self._storage.kind(name) is not None:
            if is_owner(current_call.identity, self._storage.get_system_meta(name).owner):
                return
        self._require(right, name)

    # -- objects ---------------------------------------------------------------------------------------------

    def register(self, name: str, URI: PyroURI | str) -> None:
        """Put an address under a name.

        Raises:
            NamingError: the name is malformed or taken, its group is not there, or this is no address.
        """
        full_name, uri = self.fullName(name), check_address(name, URI)
        self._require(REGISTER, full_name)
        with self._lock:
            self._storage.register(full_name, str(uri), created=time.time(), owner=_owner())

    def unregister(self, name: str) -> None:
        """Remove a name; who registered it may always.

        Raises:
            NamingError: there is no such name, or it is that of a group.
        """
        full_name = self.fullName(name)
        with self._lock:
            self._require_unless_owner(REMOVE, full_name)
            self._storage.unregister(full_name)

    def resolve(self, name: str) -> PyroURI:
        """Return the address under a name.

        Raises:
            NamingError: there is no such name, or it is that of a group.
        """
        full_name = self.fullName(name)
        self._require(LOOKUP, full_name)
        with self._lock:
            text = self._storage.resolve(full_name)
        return PyroURI(text)

    def flatlist(self) -> Any:
        """Return (full name, address) of every object that the caller may look up, sorted by name."""
        with self._lock:
            entries = self._storage.flatlist()
        caller = current_call.caller
        if self._rights is not None and caller is not None:
            visible = self._rights.visible_groups(caller.principals)
            entries = [entry for entry in entries if self._rights.nearest(entry[0]) in visible]
        return [(name, PyroURI(text)) for name, text in entries]

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
        self._require(LOOKUP, full_name)
        caller = current_call.caller
        hidden: frozenset[str] = frozenset()
        if self._rights is not None and caller is not None:
            hidden = self._rights.hidden_in(full_name, caller.principals)
        with self._lock:
            if not hidden:
                return self._storage.list(full_name, offset, limit)
            check_page(offset, limit)
            entries = self._storage.list(full_name)
        shown = [entry for entry in entries if entry[0] not in hidden]
        return shown[offset : None if limit is None else offset + limit]

    def createGroup(self, groupname: str) -> None:
        """Make an empty group; the group that it stands in must be there.

        Raises:
            NamingError: the name is malformed or taken, or its parent is no group.
        """
        full_name = self.fullName(groupname)
        self._require(REGISTER, full_name)
        with self._lock:
            self._storage.create_group(full_name, created=time.time(), owner=_owner())

    def deleteGroup(self, groupname: str) -> None:
        """Remove a group with all that is in it; needs "admin" there, and where groups in it have own rights.

        Raises:
            NamingError: there is no such group, or it is the root.
        """
        full_name = self.fullName(groupname)
        if self._rights is not None:
            self._require(ADMIN, full_name, *self._rights.below(full_name))
        with self._lock:
            self._storage.delete_group(full_name)

    # -- either ----------------------------------------------------------------------------------------------

    def setMeta(self, name: str, meta: Any) -> None:
        """Keep a value with an object or group; None takes it away. Needs "admin", unless the caller made it.

        Raises:
            NamingError: there is no such name.
        """
        full_name = self.fullName(name)
        with self._lock:
            self._require_unless_owner(ADMIN, full_name)
            self._storage.set_meta(full_name, meta)

    def getMeta(self, name: str) -> Any:
        """Return the value that `setMeta` gave, or None.

        Raises:
            NamingError: there is no such name.
        """
        full_name = self.fullName(name)
        self._require(LOOKUP, full_name)
        with self._lock:
            return self._storage.get_meta(full_name)

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
        self._require(LOOKUP, full_name)
        with self._lock:
            return self._storage.get_system_meta(full_name)

    def fullName(self, name: str) -> str:
        """Return the name with the default group in front if it is relative.

        Raises:
            NamingError: it is malformed.
        """
        return expand_name(name, config.ns_defaultgroup)

    # -- the server itself -----------------------------------------------------------------------------------

    def ping(self) -> None:
        """Answer."""

    def shutdown(self) -> str:
        """End the name server, soon after the answer; for callers on this machine.

        Where there are rights it needs "admin" of the root, and who has proved an identity may be elsewhere.

        Raises:
            NamingError: the caller is elsewhere, or the server was started to keep running.
        """
        self._require(ADMIN, ROOT)
        caller = current_call.caller
        is_known = self._rights is not None and current_call.identity is not None
        if caller is not None and not caller.is_local() and not is_known:
            raise NamingError(
                f"{DENIED}: it comes from {caller.addr}, and only programs on the name server's own machine may"
            )
        if self._keep_running:
            raise NamingError(f"{DENIED}: this name server was started with -k; stop its process with SIGTERM")
        if self._on_shutdown is not None:
            self._on_shutdown()
        elif self.getDaemon() is not None:
            self.getDaemon().shutdown()
        return "Will shut down shortly"


def _owner() -> str | None:
    """Return who calls, for the system meta: an identity, "host:port", or None for this process itself."""
    caller = current_call.caller
    if caller is None:
        return None
    if caller.identity is not None:
        return str(caller.identity)
    return ":".join(map(str, caller.addr[:2])) if isinstance(caller.addr, tuple) else str(caller.addr)
