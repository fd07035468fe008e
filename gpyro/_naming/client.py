"""The caller's side of the name server: its proxy, how it is found, and what a PYRONAME address stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gpyro._naming import holding
from gpyro._naming.following import NameWatch
from gpyro._naming.namespace import MAX_AT_ONCE, check_address, check_list
from gpyro._naming.reporting import Details
from gpyro._naming.routing import Route
from gpyro._naming.watching import EventRows
from gpyro.configuration import Settings, config
from gpyro.namerecords import SystemMeta
from gpyro.names import ROOT, Listing, expand_name
from gpyro.proxy import Proxy, RemoteMethod
from gpyro.uri import PyroURI

if TYPE_CHECKING:
    from gpyro._proxy.core import Core
    from gpyro.auth import DefaultConnValidator

__all__ = ["NameServerProxy"]

#: Names in one page of a search: the first is there soon, and few are asked for in vain.
SEARCH_PAGE = 1_000


class NameServerProxy(Proxy):
    """A proxy of a name server; relative names belong to the default group of *this* process.

    It connects when it is first used and again when the connection is lost. A question whose answer was lost
    on the way is asked once more; a change is not, as nobody knows whether it was made. With a pair of name
    servers it moves to the other one, with questions and changes, and back when the first one answers again.

    Args:
        URI: the address of a name server.
        identification: what this side proves itself with; None for nothing.
        noconnect: only the proxy; otherwise the server is asked for a sign of life.

    Raises:
        ProtocolError: nobody answers, unless `noconnect`.
    """

    def __init__(
        self, URI: PyroURI | str, identification: object = None, noconnect: bool | int = 0,
        *, config: Settings | None = None,
    ) -> None:  # fmt: skip
        super().__init__(URI, config=config)
        self.__dict__["_route"] = Route(self.__dict__["_core"], self._use_core)
        if identification is not None:
            self._setIdentification(identification)
        if not noconnect:
            self.ping()

    def _change(self, method: str, *args: Any, **options: Any) -> Any:
        route: Route = self.__dict__["_route"]
        return route.change(method, args, options, lambda: self.resolve(args[0], "all"))

    def _ask(self, method: str, *args: Any, **options: Any) -> Any:
        route: Route = self.__dict__["_route"]
        return route.ask(method, args, options)

    # -- the two ways to a pair

    def _use_core(self, core: Core) -> None:
        self.__dict__["_core"] = core

    def _addresses(self) -> tuple[PyroURI, PyroURI | None]:
        """Return the addresses of the home server and, as far as it is known, of its twin."""
        route: Route = self.__dict__["_route"]
        assert route.home.uri is not None
        return route.home.uri, None if route.away is None else route.away.uri

    def _know_twin(self, uri: PyroURI | None) -> None:
        """Go there when the home server is away."""
        self.__dict__["_route"].know_twin(uri)

    def _has_identification(self) -> bool:
        """Tell whether it proves anything of us to the server."""
        return self.__dict__["_route"].home.identification is not None

    def _for_both(self, action: Callable[[], object]) -> None:
        route: Route = self.__dict__["_route"]
        try:
            for core in route.cores():
                self._use_core(core)
                action()
        finally:
            self._use_core(route.current)

    def _setTimeout(self, timeout: float | None) -> None:
        self._for_both(lambda: super(NameServerProxy, self)._setTimeout(timeout))

    def _setIdentification(self, ident: object) -> None:
        self.__dict__["_route"].forget_twin()
        super()._setIdentification(ident)

    def _setNewConnectionValidator(self, validator: DefaultConnValidator) -> None:
        self.__dict__["_route"].forget_twin()
        super()._setNewConnectionValidator(validator)

    def _release(self) -> None:
        self._for_both(super()._release)

    def __copy__(self) -> NameServerProxy:
        route: Route = self.__dict__["_route"]
        home = route.home
        assert home.uri is not None
        twin = type(self)(home.uri, noconnect=1, config=home._settings)
        home.hand_on(twin.__dict__["_core"])
        if route.away is not None:
            twin.__dict__["_route"].know_twin(route.away.uri)
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        # Without a connection: who unpickles it has not asked for one.
        home: Core = self.__dict__["_route"].home
        return type(self), (str(home.uri), None, 1), (home.timeout, home.oneway)

    # -- objects

    def register(
        self, name: str, URI: PyroURI | str, *, replace: bool = False, member: bool = False,
        lease: str | None = None,
    ) -> None:  # fmt: skip
        """Put an address under a name; see `NameServer.register`, and `hold`."""
        options = {"replace": replace, "member": member, "lease": lease}
        wanted = {option: value for option, value in options.items() if value}
        full_name, uri = self.fullName(name), check_address(name, URI)
        if lease is not None and not replace:
            # Under a lease it may be asked for again.
            self._ask("register", full_name, uri, **wanted)
            return
        self._change("register", full_name, uri, **wanted)
        if lease is None:
            holding.forget(self, full_name, str(uri) if member else None)

    def unregister(self, name: str, URI: PyroURI | str | None = None) -> None:
        """Remove a name, or one address under it; see `NameServer.unregister`."""
        full_name, uri = self.fullName(name), None if URI is None else str(check_address(name, URI))
        self._change("unregister", full_name, *(() if uri is None else (uri,)))
        # Whoever holds it in this process holds it no longer.
        holding.forget(self, full_name, uri)

    def resolve(self, name: str, choose: str = "first") -> Any:
        """Return the address under a name, or with "all" a list; see `NameServer.resolve`."""
        return self._ask("resolve", self.fullName(name), *(() if choose == "first" else (choose,)))

    def resolve_many(self, names: Sequence[str], choose: str = "first") -> dict[str, Any]:
        """Return {name: address, or None where there is none}; see `NameServer.resolve_many`.

        Asked in pieces where there are very many; names may come and go between two of them.
        """
        check_list(names)
        full_names = {name: self.fullName(name) for name in names}
        wanted, found = list(full_names.values()), {}
        for start in range(0, len(wanted), MAX_AT_ONCE):
            found.update(self._ask("resolve_many", wanted[start : start + MAX_AT_ONCE], choose))
        return {name: found[full_name] for name, full_name in full_names.items()}

    def flatlist(self) -> Any:
        """Return (full name, address) of every object, sorted by name."""
        return self._ask("flatlist")

    # -- groups

    def list(self, gname: str = "", offset: int = 0, limit: int | None = None) -> Listing:
        """Return what stands in a group; see `NameServer.list`."""
        return self._ask("list", self.fullName(gname), offset, limit)  # type: ignore[no-any-return]

    def createGroup(self, gname: str) -> None:
        """Make an empty group; see `NameServer.createGroup`."""
        self._change("createGroup", self.fullName(gname))

    def deleteGroup(self, gname: str) -> None:
        """Remove a group with all that is in it; see `NameServer.deleteGroup`."""
        full_name = self.fullName(gname)
        self._change("deleteGroup", full_name)
        holding.forget_below(self, full_name)

    # -- either

    def setMeta(self, name: str, meta: Any) -> None:
        """Keep a value with an object or group; see `NameServer.setMeta`."""
        self._change("setMeta", self.fullName(name), meta)

    def getMeta(self, name: str) -> Any:
        """Return the value that `setMeta` gave, or None."""
        return self._ask("getMeta", self.fullName(name))

    def _getSystemMeta(self, name: str) -> SystemMeta:
        """Return what the server itself notes of an object or group."""
        kind, created, owner = self._ask("get_system_meta", self.fullName(name))
        return SystemMeta(kind, created, owner)

    def fullName(self, name: str) -> str:
        """Return the name with this process's default group in front if it is relative; nothing is asked."""
        return expand_name(name, config.ns_defaultgroup)

    # -- watching, details, status

    def watch(self, group: str = ROOT) -> NameWatch:
        """Return an iterator of what happens at or under a group from now on, as `NameEvent`s.

            with ns.watch(":Plant") as events:
                for event in events:
                    print(event.kind, event.name, event.uris)

        It goes on for ever, also past restarts of the server: where events are lost there is one "reset", after
        which whoever keeps a list makes it anew. It uses a connection of its own, and `close` ends it.

        Raises:
            AccessDeniedError: the group may not be looked up. ProtocolError: no server answers.
        """
        return NameWatch(self, self.fullName(group))

    def changes(
        self, group: str = ROOT, cursor: str | None = None, seconds: float = 0.0
    ) -> tuple[str, EventRows]:
        """Return the next cursor, and what happened since one; see `NameServer.changes`, and `watch`."""
        return self._ask("changes", self.fullName(group), cursor, seconds)  # type: ignore[no-any-return]

    def details(self, name: str) -> Details:
        """Return all that is known of an object or group; see `NameServer.details`."""
        return self._ask("details", self.fullName(name))  # type: ignore[no-any-return]

    def search(
        self, group: str = ROOT, *, glob: str | None = None, regex: str | None = None, meta: Any = None,
        after: str = "",
    ) -> Iterator[Details]:  # fmt: skip
        """Return the details of what is found below a group, one after another; see `NameServer.search`.

        The first page is asked for at once, each other one when it is needed. What changes meanwhile may or may
        not be met.
        """
        query = (self.fullName(group), glob, regex, meta)
        return self._go_on(query, self._ask("search", *query, after, SEARCH_PAGE))

    def _go_on(self, query: tuple[Any, ...], page: dict[str, Any]) -> Iterator[Details]:
        yield from page["found"]
        while page["after"] is not None:
            page = self._ask("search", *query, page["after"], SEARCH_PAGE)
            yield from page["found"]

    def status(self) -> dict[str, Any]:
        """Return what can be told of the name server as a whole; see `NameServer.status`."""
        return self._ask("status")  # type: ignore[no-any-return]

    # -- leases

    def hold(self, name: str, URI: PyroURI | str, *, member: bool = False, replace: bool = False) -> None:
        """Register a name for as long as this process is there to hold it.

        All names that a process holds with one name server, under one identification, hang on one lease, which a
        native thread renews. They go at once when the process ends in order, within `ns_lease_seconds` and 2 s
        when it vanishes, and come back where the name server has lost them. Nothing has to be kept alive for that;
        this proxy may be released.

        Args:
            member: stand beside the addresses that are there.
            replace: take the place of the addresses that are there; needs the right to remove them.

        Raises:
            NamingError: the name is malformed or taken, its group is not there, or this is no address.
            ProtocolError: the name server does not answer.
        """
        full_name, uri = self.fullName(name), check_address(name, URI)
        seconds = config.ns_lease_seconds
        if not seconds:
            self.register(full_name, uri, member=member, replace=replace)
        else:
            holding.hold(self, full_name, str(uri), seconds, member=member, replace=replace)

    def let_go(self, name: str, URI: PyroURI | str) -> None:
        """Remove an address that `hold` has put under a name; nothing happens where it is gone already."""
        holding.let_go(self, self.fullName(name), str(check_address(name, URI)))

    def open_lease(self, seconds: float) -> str:
        """Begin a lease of one's own making, and return its id; see `NameServer.open_lease`, and `hold`."""
        return self._change("open_lease", seconds)  # type: ignore[no-any-return]

    def renew_lease(self, lease: str) -> int:
        """Let a lease begin anew, and return how many names hang on it; see `NameServer.renew_lease`."""
        return self._ask("renew_lease", lease)  # type: ignore[no-any-return]

    def close_lease(self, lease: str) -> None:
        """End a lease with all names that hang on it; see `NameServer.close_lease`."""
        self._change("close_lease", lease)

    # -- the server itself

    def twin(self) -> tuple[int, PyroURI | None]:
        """Return the server's role in a pair and its twin's address; see `NameServer.twin`."""
        role, uri = self._ask("twin")
        self.__dict__["_route"].know_twin(uri)
        return role, uri

    def pair_status(self) -> dict[str, Any] | None:
        """Return the state of the pair as the home server sees it; see `NameServer.pair_status`."""
        route: Route = self.__dict__["_route"]
        return RemoteMethod(route.home, "pair_status")()  # type: ignore[no-any-return]

    def resync(self) -> None:
        """Have both name servers of a pair compare their names; see `NameServer.resync`."""
        self._ask("resync")

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._ask("ping")

    def shutdown(self) -> str:
        """End the name server; see `NameServer.shutdown`."""
        return self._change("shutdown")  # type: ignore[no-any-return]
