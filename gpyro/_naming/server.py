"""The name server's object: its names, its twin, who watches it, what it tells of itself, and its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from gpyro import hub
from gpyro._naming.namespace import NameSpace
from gpyro._naming.pairing import Pair
from gpyro._naming.reporting import Details, details_of, storage_report
from gpyro._naming.rights import ADMIN, LOOKUP, GroupRights, Rights
from gpyro._naming.searching import Query, search
from gpyro._naming.twin import PairStorage, TwinObject
from gpyro._naming.watching import EventLog, EventRows
from gpyro.configuration import config
from gpyro.context import current_call
from gpyro.errors import NamingError
from gpyro.names import ROOT
from gpyro.objects import cancellable
from gpyro.storage.base import NameStorage
from gpyro.storage.memory import MemoryStorage
from gpyro.uri import PyroURI

__all__ = ["NAMESERVER_NAME", "NameServer"]

#: Under which name the server finds itself. Source: Pyro.constants.NAMESERVER_NAME.
NAMESERVER_NAME = ":Pyro.NameServer"
#: Its group.
OWN_GROUP = ":Pyro"
#: What a denied shutdown begins with. Source: Pyro 3.16, transcript A2.
DENIED = "Shutdown request denied"


class NameServer(NameSpace):
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
    Errors: NamingError, AccessDeniedError, StorageError and whatever else a storage raises go to the caller. Who
    lacks a right is not told whether there is such a name.

    Source: Pyro 3 manual, chapter 5; the names of the methods are Pyro's.
    """

    def __init__(
        self, storage: NameStorage | None = None, *, keep_running: bool = False,
        on_shutdown: Callable[[], object] | None = None,
        rights: Rights | Mapping[str, GroupRights] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(MemoryStorage(created=time.time()) if storage is None else storage, rights)
        # The same in every name server, so that an address from before a restart leads to the new one.
        self.objectGUID = NAMESERVER_NAME
        self._keep_running = keep_running
        self._on_shutdown = on_shutdown
        self._pair: Pair | None = None
        self._began = time.monotonic()
        self._log = EventLog(self._is_ending)
        self._storage.listen(self._log.note_changes)
        self._leases.book.listeners.append(self._note_lease)
        for group in (OWN_GROUP, config.ns_defaultgroup):
            self._ensure_group(group)

    def __repr__(self) -> str:
        rights = self._guard.rights
        return f"<NameServer {self._storage!r}{'' if rights is None else f', {rights!r}'}>"

    # -- the other name server of a pair ---------------------------------------------------------------------

    def _join(self, pair: Pair) -> TwinObject:
        """Keep the names together with another name server from now on; return what that one calls."""
        self._pair = pair
        self._storage = PairStorage(pair)
        self._leases.join(self._storage)
        return TwinObject(pair, self._guard)

    def twin(self) -> tuple[int, PyroURI | None]:
        """Return our role in a pair (0: none, 1 the primary, 2 the secondary), and the other one's address."""
        pair = self._pair
        if pair is None or pair.twin is None:
            return 0 if pair is None else pair.role, None
        twin = pair.twin
        return pair.role, PyroURI(twin.address, NAMESERVER_NAME, twin.port, twin.protocol)

    def pair_status(self) -> dict[str, Any] | None:
        """Return the state of the pair; None where there is none. Without waiting for it to be ready."""
        return None if self._pair is None else self._pair.status()

    def resync(self) -> None:
        """Compare the names of both name servers of the pair anew.

        Raises:
            NamingError: this is no pair, or the other one is away.
        """
        self._guard.require(ADMIN, ROOT)
        if self._pair is None:
            raise NamingError("cannot resync: this name server has no twin; start a pair with -1 and -2")
        self._pair.resync()

    # -- watching, details, status ---------------------------------------------------------------------------

    @cancellable
    def changes(
        self, group: str = ROOT, cursor: str | None = None, seconds: float = 0.0
    ) -> tuple[str, EventRows]:
        """Return what happened at or under a group since a cursor; wait for it where it is nothing yet.

        What the caller may not look up is left out. The group need not be there.

        Args:
            cursor: what the last call returned; None begins now, and returns at once.
            seconds: how long to wait at most, and never longer than 60; 0 only looks.

        Returns:
            The next cursor, and (kind, full name, addresses as text, time) of each event, see `NameEvent`. No
            events when the time is over or the server ends; at most 1,000, the rest comes with the next call.

        Raises:
            ServerBusyError: too many wait already. ValueError: this can be no cursor or time.
        """
        full_name = self.fullName(group)
        self._guard.require(LOOKUP, full_name)
        cursor, events = self._log.changes(full_name, cursor, seconds, self._guard.sight())
        return cursor, [(kind, name, [*uris], when) for kind, name, uris, when in events]

    def details(self, name: str) -> Details:
        """Return all that is known of an object or group.

        Returns:
            name: the full one; kind: "object" or "group"; uris: the addresses as text; members: uri, owner,
            created, leased and stale of each of them; created: seconds since 1970; owner; revision; meta: the
            user's.

        Raises:
            NamingError: there is no such name.
        """
        full_name = self.fullName(name)
        self._guard.require(LOOKUP, full_name)
        return details_of(self._storage.record(full_name), self._is_stale)

    def search(
        self, group: str = ROOT, glob: str | None = None, regex: str | None = None, meta: Any = None,
        after: str = "", limit: int = 1000,
    ) -> dict[str, Any]:  # fmt: skip
        """Find objects and groups below a group; what is given of `glob`, `regex` and `meta` has to fit.

        Args:
            group: where to look, at any depth.
            glob: a pattern with `*`, `?` and `[...]`: of full names if it begins with a colon, else of their last
                parts.
            regex: a regular expression that full names match from their beginning on, as with `re.match`.
            meta: a dict of which each item has to be in the user's meta, or a value that these have to equal.
            after: go on behind this full name.
            limit: how many to return at most, up to 10,000.

        Returns:
            found: the details of names, as `details` returns them, sorted part by part, each group before what is
            in it; after: the name to go on behind, or None when there is no more. What is found may be few or
            nothing before the end, as one call looks at a bounded number of names.

        Raises:
            NamingError: there is no such group. PatternError: a pattern is none, or could take too long.
            ValueError: the limit cannot be one.
        """
        full_name = self.fullName(group)
        self._guard.require(LOOKUP, full_name)
        query = Query(full_name, glob, regex, meta, after, limit)
        return search(self._storage, query, self._guard.sight(), self._is_stale)

    def status(self) -> dict[str, Any]:
        """Return what can be told of the name server as a whole; needs the right to look up the root.

        Returns:
            version, uri, uptime_seconds; names, groups, leases and stale_leases are numbers; revision and digest
            are equal in two servers that know the same; storage, pair, watchers.
        """
        self._guard.require(LOOKUP, ROOT)
        daemon = self.getDaemon()
        return {
            **storage_report(self._storage if self._pair is None else self._pair.storage, self._is_stale),
            "uri": None if daemon is None else str(daemon.uri_of(self)),
            "uptime_seconds": time.monotonic() - self._began,
            "watchers": self._log.watchers,
            "pair": self.pair_status(),
        }

    def _note_lease(self, event: str, lease: str) -> None:
        """Tell watchers of a lease that has become stale or is alive again; called with a lock held."""
        hub.spawn_in(hub.current_state(), lambda: self._log.note(event, self._storage.held_by(lease)))

    def _is_ending(self) -> bool:
        daemon = self.getDaemon()
        return daemon is not None and daemon.is_ending()

    # -- the server itself -----------------------------------------------------------------------------------

    def ping(self) -> None:
        """Answer."""

    def shutdown(self) -> str:
        """End the name server, soon after the answer; for callers on this machine.

        Where there are rights it needs "admin" of the root, and who has proved an identity may be elsewhere.

        Raises:
            NamingError: the caller is elsewhere, or the server was started to keep running.
        """
        self._guard.require(ADMIN, ROOT)
        caller = current_call.caller
        is_known = self._guard.rights is not None and current_call.identity is not None
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
