"""How a name server is found.

Without a host these places are tried; the first that answers is taken:

    1. ns_hostname and ns_port, where ns_hostname is set
    2. whoever answers a broadcast within FIRST_ANSWER_SECONDS
    3. ns2_hostname and ns2_port, where ns2_hostname is set
    4. this machine: by its name, as localhost, and at the address in the file ns_urifile
    5. whoever answers the broadcast, sent again bc_retries times, each time within bc_timeout

While 3 and 4 are tried the question is still open, and who answers it meanwhile is next. Where a name server has
denied us, 5 is left out: there is one, and it wants an identification. An address that came by broadcast may be
anybody's: it is contacted like any other place, and identifications tell who is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, NoReturn

from gpyro import hub
from gpyro._naming.asking import FIRST_ANSWER_SECONDS, Asking, Found, choose_targets
from gpyro._naming.client import NameServerProxy
from gpyro._naming.server import NAMESERVER_NAME
from gpyro._naming.urifile import read_uri_file
from gpyro.configuration import config
from gpyro.errors import ConnectionDeniedError, NamingError, ProtocolError, PyroError, UnknownObjectError
from gpyro.uri import PyroURI, build_unix_address

__all__ = ["NameServerLocator", "find_by_broadcast", "find_name_server"]

LOCAL_HOST = "localhost"
#: Where localhost leads; a machine's own name often leads there too.
LOCAL_IPS = {"127.0.0.1", "::1"}
#: Seconds to look up this machine's own name. A resolver that does not know it at once is not there.
OWN_NAME_SECONDS = 0.5


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

    Source: Pyro 3 manual, chapter 5, "Locating the NS".
    """

    def __init__(self, identification: object = None) -> None:
        self.identification = identification

    def __repr__(self) -> str:
        return f"<NameServerLocator{' with an identification' if self.identification is not None else ''}>"

    def getNS(
        self, host: str | None = None, port: int | None = None, trace: int | bool = 0, bcaddr: str | None = None
    ) -> NameServerProxy:
        """Find the name server and return a proxy of it.

        Without a host it is looked for: at the place that the settings name, by broadcast, and on this machine;
        the order is at the top of `_naming/locating`. The setting `ns_broadcast` switches broadcasts off.

        Args:
            host: ask there and nowhere else.
            port: with a host its TCP port; by default the setting `ns_port`. Without a host, both the UDP port of
                the broadcast and the TCP port of the other places; the second name server's settings and the file
                `ns_urifile`, which have ports of their own, are not looked at then.
            trace: print each step.
            bcaddr: where to send the broadcast instead of the settings `ns_bc_addr` and `ns2_bc_addr`; by default
                255.255.255.255.

        Raises:
            NamingError: none answers; the message names each place and the reason.
            ConnectionDeniedError: one is there and does not let us in, or cannot prove who it is.
            ConfigurationError: the broadcast address is none.
            ProtocolError: the caller is the hub itself, where nothing may wait.
        """
        if hub.is_hub_greenlet():
            raise ProtocolError(
                "cannot look for a name server inside a callback of the hub; spawn a greenlet for it"
            )
        search = _Search(self.identification, host, bool(trace))
        if host is not None:
            found = search.first_of([_place_at(host, config.ns_port if port is None else port)])
        else:
            found = search.first_of(_configured_places(port)) or _look_around(search, port, bcaddr)
        return found or search.fail()


class _Search:
    """One search: what has been tried, and why it was not that."""

    def __init__(self, identification: object, host: str | None, trace: bool) -> None:
        self._identification = identification
        self._host = host
        self._trace = trace
        self._seen: set[str] = set()
        self._denial: ConnectionDeniedError | None = None
        self._cause: PyroError | None = None
        self.failures: list[str] = []

    def tell(self, text: str) -> None:
        """Print a step, where they are to be printed."""
        if self._trace:
            print(f"Locator: {text}")

    def first_of(self, places: Iterable[Place]) -> NameServerProxy | None:
        """Contact places, each once in a search, until there is a name server."""
        for place in places:
            key = place.text if place.uri is None else str(place.uri).replace("//127.0.0.1:", f"//{LOCAL_HOST}:")
            if key in self._seen:
                continue
            self._seen.add(key)
            self.tell(f"contacting the name server at {place.text}...")
            try:
                return _contact(place, self._identification)
            except PyroError as exc:
                self._note(place, exc)
        return None

    def _note(self, place: Place, exc: PyroError) -> None:
        self._cause = exc
        if self._denial is None and isinstance(exc, ConnectionDeniedError):
            self._denial = ConnectionDeniedError(f"{exc} (the name server at {place.text})", exc.code)
        self.failures.append(f"{place.text} ({_reason(exc)})")
        self.tell(f"not there: {_reason(exc)}")

    def was_denied(self) -> bool:
        """Tell whether there is a name server that does not let us in."""
        return self._denial is not None

    def note_broadcast(self, asking: Asking) -> None:
        """Take over what became of a question that brought no name server."""
        self.failures.extend(f"{where} ({problem})" for where, problem in asking.problems.items())

    def fail(self) -> NoReturn:
        """Tell that there is none.

        Raises:
            ConnectionDeniedError: one of them does not let us in. NamingError: otherwise.
        """
        if self._denial is not None:
            raise self._denial from self._cause
        where = "" if self._host is None else f" on host {self._host}"
        raise NamingError(
            f"could not find a name server{where}; tried {', '.join(self.failures)}; start one with `gpyro ns`"
            + ("" if self._host is not None else ", or tell where it is with GPYRO_NS_HOSTNAME and GPYRO_NS_PORT")
        ) from self._cause


def _look_around(search: _Search, port: int | None, bcaddr: str | None) -> NameServerProxy | None:
    """Ask by broadcast, and look at the places nearby while the question is open."""
    with _open_question(port, bcaddr, search.tell) as asking:
        _send(asking, search)
        found = search.first_of(_answers(asking.look(FIRST_ANSWER_SECONDS)))
        for place in () if found else _near_places(port):
            found = search.first_of(_answers(asking.look(0))) or search.first_of([place])
            if found:
                break
        if not found and not search.was_denied():
            found = search.first_of(_answers(asking.rest()))
        if not found:
            search.note_broadcast(asking)
        return found


def _open_question(port: int | None, bcaddr: str | None, tell: Callable[[str], object]) -> Asking:
    targets = choose_targets(config, port, bcaddr) if config.ns_broadcast else []
    if not targets:
        tell("not searching by broadcast (ns_broadcast is 0)")
    else:
        tell(f"searching a name server by broadcast to {' and '.join(map(str, targets))}...")
    return Asking(targets, config.bc_retries, config.bc_timeout, tell)


def _send(asking: Asking, search: _Search) -> None:
    try:
        asking.send()
    except OSError as exc:
        # No descriptor is left; the other places will tell the same of themselves.
        search.failures.append(f"broadcast ({_reason(exc)})")


def _answers(found: Iterator[Found]) -> Iterator[Place]:
    for uri, sender in found:
        yield Place(f"{uri}, as {sender} says", uri)


# -- places ----------------------------------------------------------------------------------------------------


def _configured_places(port: int | None) -> Iterator[Place]:
    if config.ns_hostname is not None:
        yield _place_at(config.ns_hostname, config.ns_port if port is None else port)


def _near_places(port: int | None) -> Iterator[Place]:
    """Return where else to look; a port that was asked for is not answered by another one."""
    if port is None and config.ns2_hostname is not None:
        yield _place_at(config.ns2_hostname, config.ns2_port)
    number = config.ns_port if port is None else port
    yield from _places_by_own_name(number)
    yield _place_at(LOCAL_HOST, number)
    if port is None:
        yield _place_in_file()


def _places_by_own_name(port: int) -> Iterator[Place]:
    """Return this machine by its name, unless that is another name of localhost."""
    name = os.uname().nodename
    try:
        if not name or LOCAL_IPS.issuperset(hub.resolve(name, OWN_NAME_SECONDS)):
            return
    except PyroError:
        # A machine that does not know its own name is reached as localhost.
        return
    yield _place_at(name, port)


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


# -- for others than programs that look themselves -------------------------------------------------------------


def find_by_broadcast(port: int | None, bcaddr: str | None, patiently: bool) -> str | None:
    """Look for a name server on this network, and return where one is, None where there is none.

    Args:
        port: the UDP port to ask at; by default the settings' ports.
        bcaddr: where to send the question, as for `getNS`.
        patiently: ask as often and wait as long as the settings say, instead of for the first answer only.

    Raises:
        ConfigurationError: the broadcast address is none.
    """
    search = _Search(None, None, trace=False)
    with _open_question(port, bcaddr, search.tell) as asking:
        _send(asking, search)
        for place in _answers(asking.rest() if patiently else asking.look(FIRST_ANSWER_SECONDS)):
            try:
                _contact(place, None)._release()
            except ConnectionDeniedError:
                return f"{place.uri}, and it wants an identification"
            except PyroError:
                continue
            return str(place.uri)
    return None


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
