"""The caller's side of the name server: its proxy, how it is found, and what a PYRONAME address stands for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from gpyro._naming.following import NameWatch
from gpyro._naming.reporting import Details
from gpyro._naming.server import NAMESERVER_NAME, check_address, check_many
from gpyro._naming.urifile import read_uri_file
from gpyro._naming.watching import EventRows
from gpyro.configuration import Settings, config
from gpyro.errors import (
    ConnectionClosedError,
    ConnectionDeniedError,
    NamingError,
    PyroError,
    TimeoutError,
    UnknownObjectError,
)
from gpyro.names import ROOT, Listing, expand_name
from gpyro.nametree import SystemMeta
from gpyro.proxy import Proxy, RemoteMethod
from gpyro.uri import PyroURI, build_unix_address

__all__ = ["NameServerLocator", "NameServerProxy", "find_name_server", "resolve_uri"]

LOCAL_HOST = "localhost"
#: Names in one page of a search: the first is there soon, and few are asked for in vain.
SEARCH_PAGE = 1_000


class NameServerProxy(Proxy):
    """A proxy of a name server; relative names belong to the default group of *this* process.

    It connects when it is first used and again when the connection is lost. A question whose answer was lost
    on the way is asked once more; a change is not, as nobody knows whether it was made.

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
        if identification is not None:
            self._setIdentification(identification)
        if not noconnect:
            self.ping()

    def _change(self, method: str, *args: Any, **options: Any) -> Any:
        return RemoteMethod(self.__dict__["_core"], method)(*args, **options)

    def _ask(self, method: str, *args: Any) -> Any:
        try:
            return self._change(method, *args)
        except TimeoutError:
            raise
        except ConnectionClosedError:
            return self._change(method, *args)

    def __copy__(self) -> NameServerProxy:
        core = self.__dict__["_core"]
        twin = type(self)(core.uri, noconnect=1, config=core._settings)
        core.hand_on(twin.__dict__["_core"])
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        # Without a connection: who unpickles it has not asked for one.
        return type(self), (str(self.__dict__["_core"].uri), None, 1)

    # -- objects

    def register(
        self, name: str, URI: PyroURI | str, *, replace: bool = False, member: bool = False
    ) -> None:
        """Put an address under a name; see `NameServer.register`."""
        options = {"replace": replace, "member": member}
        wanted = {option: value for option, value in options.items() if value}
        self._change("register", self.fullName(name), check_address(name, URI), **wanted)

    def unregister(self, name: str, URI: PyroURI | str | None = None) -> None:
        """Remove a name, or one address under it; see `NameServer.unregister`."""
        self._change("unregister", self.fullName(name), *(() if URI is None else (check_address(name, URI),)))

    def resolve(self, name: str, choose: str = "first") -> Any:
        """Return the address under a name, or with "all" a list; see `NameServer.resolve`."""
        return self._ask("resolve", self.fullName(name), *(() if choose == "first" else (choose,)))

    def resolve_many(self, names: Sequence[str], choose: str = "first") -> dict[str, Any]:
        """Return {name: address, or None where there is none}, asked at one go; see `NameServer.resolve_many`."""
        check_many(names)
        full_names = {name: self.fullName(name) for name in names}
        found = self._ask("resolve_many", list(full_names.values()), choose)
        return {name: found[full_name] for name, full_name in full_names.items()}

    def flatlist(self) -> Any:
        """Return (full name, address) of every object, sorted by name."""
        return self._ask("flatlist")

    # -- groups

    def list(self, groupname: str = "", offset: int = 0, limit: int | None = None) -> Listing:
        """Return what stands in a group; see `NameServer.list`."""
        return self._ask("list", self.fullName(groupname), offset, limit)  # type: ignore[no-any-return]

    def createGroup(self, groupname: str) -> None:
        """Make an empty group; see `NameServer.createGroup`."""
        self._change("createGroup", self.fullName(groupname))

    def deleteGroup(self, groupname: str) -> None:
        """Remove a group with all that is in it; see `NameServer.deleteGroup`."""
        self._change("deleteGroup", self.fullName(groupname))

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

    # -- the server itself

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._ask("ping")

    def shutdown(self) -> str:
        """End the name server; see `NameServer.shutdown`."""
        return self._change("shutdown")  # type: ignore[no-any-return]


class Place(NamedTuple):
    """Where a name server may be: in words, and its address or what keeps us from knowing it."""

    text: str
    uri: PyroURI | None
    problem: str = ""


class NameServerLocator:
    """Finds the name server.

    Args:
        identification: what to prove ourselves with, and what the server has to prove that it knows: a passphrase
            or a key, see `Proxy._setIdentification`; None for nothing.

    Source: Pyro 3 manual, chapter 5, "Locating the NS"; broadcasts are not part of this version.
    """

    def __init__(self, identification: object = None) -> None:
        self.identification = identification

    def __repr__(self) -> str:
        return f"<NameServerLocator{' with an identification' if self.identification is not None else ''}>"

    def getNS(
        self, host: str | None = None, port: int | None = None, trace: int | bool = 0, bcaddr: str | None = None
    ) -> NameServerProxy:
        """Find the name server and return a proxy of it.

        Without a host, these are tried in order: the settings `ns_hostname` and `ns_port`, this machine at
        `ns_port`, and the address in the file `ns_urifile`.

        Args:
            host: ask there and nowhere else.
            port: its port; by default the setting `ns_port`.
            trace: print each place that is tried.
            bcaddr: accepted as in Pyro; nothing is broadcast in this version.

        Raises:
            NamingError: none answers; the message names each place and the reason.
            ConnectionDeniedError: one is there and does not let us in, or cannot prove who it is.
        """
        failures = []
        denial: ConnectionDeniedError | None = None
        for place in _places(host, port):
            if trace:
                print(f"Locator: contacting the name server at {place.text}...")
            try:
                return _contact(place, self.identification)
            except PyroError as exc:
                cause: PyroError = exc
                if denial is None and isinstance(exc, ConnectionDeniedError):
                    denial = ConnectionDeniedError(f"{exc} (the name server at {place.text})", exc.code)
                failures.append(f"{place.text} ({_reason(exc)})")
                if trace:
                    print(f"Locator: not there: {_reason(exc)}")
        if denial is not None:
            raise denial from cause
        where = "" if host is None else f" on host {host}"
        raise NamingError(
            f"could not find a name server{where}; tried {', '.join(failures)}; start one with `gpyro ns`"
            + (", or tell where it is with GPYRO_NS_HOSTNAME and GPYRO_NS_PORT" if host is None else "")
        ) from cause


def _places(host: str | None, port: int | None) -> Iterator[Place]:
    """Return where to look, each place once; a port that was asked for is not answered by another one."""
    anywhere = port is None
    port = config.ns_port if port is None else port
    if host is not None:
        yield _place_at(host, port)
        return
    seen = set()
    candidates = [] if config.ns_hostname is None else [_place_at(config.ns_hostname, port)]
    in_file = [_place_in_file()] if anywhere else []
    for place in (*candidates, _place_at(LOCAL_HOST, port), *in_file):
        key = None if place.uri is None else str(place.uri).replace("//127.0.0.1:", f"//{LOCAL_HOST}:")
        if key is None or key not in seen:
            yield place
        seen.add(key)


def _place_at(host: str, port: int) -> Place:
    try:
        if host.startswith("./u:"):
            return Place(host, PyroURI(build_unix_address(host[len("./u:") :]), NAMESERVER_NAME, None))
        return Place(f"{host} port {port}", PyroURI(host, NAMESERVER_NAME, port))
    except PyroError as exc:
        return Place(f"{host} port {port}", None, str(exc))


def _place_in_file() -> Place:
    path = config.ns_urifile
    try:
        uri = read_uri_file(path)
    except NamingError as exc:
        return Place(f"the address in {path}", None, _reason(exc.__cause__ or exc))
    return Place(f"{uri} from {path}", uri)


def _contact(place: Place, identification: object) -> NameServerProxy:
    if place.uri is None:
        raise NamingError(place.problem)
    proxy = NameServerProxy(place.uri, identification, noconnect=1)
    proxy._setTimeout(config.connect_timeout_seconds)
    try:
        proxy.ping()
    except BaseException as exc:
        proxy._release()
        if isinstance(exc, (UnknownObjectError, AttributeError)):
            raise NamingError("a daemon answers there, but it is no name server") from exc
        raise
    proxy._setTimeout(None)
    return proxy


def _reason(exc: BaseException) -> str:
    """Return what went wrong, without what the place already says."""
    if isinstance(exc, OSError):
        return str(exc.strerror or exc)
    cause = exc.__cause__
    if isinstance(cause, OSError) and cause.strerror:
        return str(cause.strerror)
    return str(exc)


def find_name_server(
    identification: object = None, host: str | None = None, port: int | None = None
) -> NameServerProxy:
    """Find the name server for somebody who has an identification, whether the server wants one or not.

    Raises:
        NamingError: none answers. ConnectionDeniedError: it does not accept this identification.
    """
    try:
        return NameServerLocator().getNS(host, port)
    except ConnectionDeniedError:
        # A list is what a server accepts, not what it is known by.
        if identification is None or isinstance(identification, (list, tuple)):
            raise
        return NameServerLocator(identification).getNS(host, port)


def resolve_uri(uri: PyroURI, asker: Any = None) -> PyroURI:
    """Return the address behind a PYRONAME one; fills `seams.resolve_name`.

    Args:
        asker: who asks, with an `identification` for a name server that wants one.

    Raises:
        NamingError: no name server answers, or it does not know the name.
    """
    identification = None if asker is None else asker.identification
    ns = find_name_server(identification, uri.address or None, uri.port)
    try:
        found: PyroURI = ns.resolve(uri.objectID)
        return found
    finally:
        ns._release()
