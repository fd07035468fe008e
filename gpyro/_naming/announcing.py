"""What a name server that starts has to do with its network: look for others, and answer who looks for it."""

from __future__ import annotations

import errno

from gpyro import hub
from gpyro._naming.broadcast import WILDCARDS, BCReqValidator, BroadcastServer
from gpyro._naming.locating import NameServerLocator, find_by_broadcast
from gpyro._naming.urifile import read_uri_file
from gpyro.configuration import config
from gpyro.errors import ConnectionDeniedError, DaemonError, NamingError, PyroError
from gpyro.uri import PyroURI

__all__ = ["Announcement", "look_for_others", "open_broadcast_server"]

#: Where a name server hears broadcasts that is for this machine alone: nobody else can send there.
LOOPBACK_BROADCAST = "127.255.255.255"


class Announcement:
    """How a name server wants to be found by broadcast.

    Args:
        host: where its daemon listens.
        bcport: the UDP port; None is the setting `ns_bc_port`, 0 a free one.
        bcaddr: the address to hear on, None for all; a name server for this machine alone hears on loopback.
        off: never by broadcast.
        shared: others may be found beside it, and may have the same port if they say so too.
    """

    def __init__(
        self, host: str, bcport: int | None, bcaddr: str | None, off: bool = False, shared: bool = False
    ) -> None:
        self.is_asked_for = bcport is not None or bcaddr is not None
        self.is_local = _is_local(host)
        self.is_wanted = not off and (self.is_asked_for or not self.is_local)
        self.off = off
        self.shared = shared
        self.port = config.ns_bc_port if bcport is None else bcport
        self.host = bcaddr or (LOOPBACK_BROADCAST if self.is_local else WILDCARDS[0])
        #: Where to ask for others: where one would have to ask for this one.
        self.asked_port = bcport
        self.asked_host = None if self.host in WILDCARDS or not self.is_wanted else self.host

    def __repr__(self) -> str:
        state = "wanted" if self.is_wanted else "not wanted"
        return f"<Announcement on {self.host} port {self.port}, {state}{', shared' if self.shared else ''}>"


def _is_local(host: str) -> bool:
    if host.startswith("./u:"):
        return True
    try:
        return all(hub.is_loopback(ip) for ip in hub.resolve(host, config.connect_timeout_seconds))
    except PyroError:
        # The daemon will tell the reason.
        return True


def look_for_others(hostname: str | None, port: int, announcement: Announcement) -> None:
    """Look whether a name server is running: where this one would be, where this user's file says, on the network.

    Where others are allowed, they are told with a warning.

    Raises:
        NamingError: one is, and no others are allowed.
    """
    there = _look_on_this_machine(hostname, port)
    where, way_out = "already", "-r"
    if there is None and announcement.asked_port != 0:
        # One for this machine alone takes nothing from others, so it does not wait for a slow answer.
        there = find_by_broadcast(announcement.asked_port, announcement.asked_host, announcement.is_wanted)
        where, way_out = "on this network already", "-m, or do not look with -r"
    if there is None:
        return
    if not announcement.shared:
        raise NamingError(
            f"Name Server was not started: one is running {where}, {there}; "
            f"end it with `gpyro nsc shutdown`, or start another one beside it with {way_out}"
        )
    print(f"WARNING: starting another name server; one is running {where}, {there}")


def _look_on_this_machine(hostname: str | None, port: int) -> str | None:
    places: list[tuple[str | None, int | None]] = []
    if port:
        places.append((hostname or config.host or "localhost", port))
    try:
        uri = read_uri_file(config.ns_urifile)
        places.append(("./u:" + (uri.unix_path or "") if uri.is_unix else uri.address, uri.port))
    except NamingError:
        pass
    for host, port_there in places:
        try:
            other = NameServerLocator().getNS(host, port_there)
            there = str(other.URI)
            other._release()
        except ConnectionDeniedError:
            return f"on {host} port {port_there}, and it wants an identification"
        except PyroError:
            continue
        return there
    return None


def open_broadcast_server(
    uri: PyroURI, announcement: Announcement, validator: BCReqValidator | None
) -> BroadcastServer | None:
    """Take the port for a broadcast server if there is to be one; the caller starts and closes it.

    One that was not asked for, and cannot have its port, is done without, with a warning.

    Raises:
        DaemonError: it was asked for, and cannot have it.
    """
    if not announcement.is_wanted:
        return None
    try:
        return BroadcastServer(uri, announcement.host, announcement.port, validator, shared=announcement.shared)
    except (OSError, PyroError) as exc:
        text = (
            f"the broadcast server cannot listen on {announcement.host} port {announcement.port}: "
            f"{getattr(exc, 'strerror', None) or exc}"
        )
        if getattr(exc, "errno", None) == errno.EADDRINUSE:
            text += ", perhaps by another name server; choose another port with -b, or let both share it with -m"
        if announcement.is_asked_for:
            raise DaemonError(f"Name Server was not started: {text}") from exc
        print(f"WARNING: {text}; this name server will not be found by broadcast (-x says that it need not)")
        return None
