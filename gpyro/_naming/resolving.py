"""What a PYRONAME address stands for, and which name server is asked for it."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from gpyro._naming.client import NameServerProxy
from gpyro._naming.locating import find_name_server
from gpyro._naming.server import NAMESERVER_NAME
from gpyro.configuration import config
from gpyro.errors import NamingError, ProtocolError, ServerBusyError
from gpyro.uri import PyroURI

__all__ = ["resolve_uri"]


class _Remembered(NamedTuple):
    """The name server that had the last name, with its twin."""

    home: PyroURI
    twin: PyroURI | None
    wants_identification: bool
    until: float


#: Settings that the search goes by: where that search led to. Those who look up names one after another need not
#: search again each time, and know the twin of a server that is away.
_remembered: dict[tuple[object, ...], _Remembered] = {}
#: Most of them: a program has one set of settings, or two.
MAX_REMEMBERED = 16
#: Seconds after which it is searched for again: another one may be in the first place again.
REMEMBER_SECONDS = 10.0


def _search_settings() -> tuple[object, ...]:
    names = (
        "ns_hostname", "ns_port", "ns_urifile", "ns_broadcast", "ns_bc_addr", "ns_bc_port", "ns2_hostname",
        "ns2_port", "ns2_bc_addr", "ns2_bc_port",
    )  # fmt: skip
    return tuple(getattr(config, name) for name in names)


def _remember(ns: NameServerProxy) -> None:
    home, twin = ns._addresses()
    if config.ns_hostname is not None:
        wanted = PyroURI(config.ns_hostname, NAMESERVER_NAME, config.ns_port)
        if str(home) != str(wanted):
            # It stands in for the configured one, which may be back for the next question.
            return
    if len(_remembered) >= MAX_REMEMBERED:
        _remembered.clear()
    until = time.monotonic() + REMEMBER_SECONDS
    _remembered[_search_settings()] = _Remembered(home, twin, ns._has_identification(), until)


def _ask_remembered(name: str, identification: object) -> PyroURI | None:
    """Ask the name server that had the last name; None where it is away or does not have this one."""
    known = _remembered.get(_search_settings())
    if known is None or time.monotonic() > known.until:
        return None
    ns = NameServerProxy(known.home, identification if known.wants_identification else None, noconnect=1)
    ns._know_twin(known.twin)
    try:
        found: PyroURI = ns.resolve(name)
        return found
    except (NamingError, ProtocolError, ServerBusyError):
        # Somebody else may have it; the search tells what is wrong.
        _remembered.pop(_search_settings(), None)
        return None
    finally:
        ns._release()


def resolve_uri(uri: PyroURI, asker: Any = None) -> PyroURI:
    """Return the address behind a PYRONAME one; fills `seams.resolve_name`.

    Args:
        asker: who asks, with an `identification` for a name server that wants one.

    Raises:
        NamingError: no name server answers, or it does not know the name.
    """
    identification = None if asker is None else asker.identification
    is_anywhere = not uri.address and uri.port is None
    remembered = _ask_remembered(uri.objectID, identification) if is_anywhere else None
    if remembered is not None:
        return remembered
    ns = find_name_server(identification, uri.address or None, uri.port)
    try:
        found: PyroURI = ns.resolve(uri.objectID)
        if is_anywhere:
            _remember(ns)
        return found
    finally:
        ns._release()
