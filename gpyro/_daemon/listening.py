"""Where a daemon listens, and whether it may: beyond this machine only with somebody at the door."""

from __future__ import annotations

import os
from typing import Any

from gpyro import hub
from gpyro.configuration import Settings
from gpyro.errors import DaemonError, ProtocolError
from gpyro.log import Log

__all__ = ["listen", "published_host", "unix_path_of", "warn_if_open"]


def unix_path_of(host: str) -> str:
    if not host.startswith("./u:"):
        return ""
    if not os.path.isabs(host[4:]):
        raise DaemonError(
            f"couldn't start the daemon: unix socket {host[4:]!r} needs an absolute path, like ./u:/run/plant.sock"
        )
    return host[4:]


def listen(
    host: str, port: int | None, norange: bool, settings: Settings, insecure: bool, unix_path: str, guarded: bool
) -> tuple[Any, str, int, bool]:
    """Open the listening socket.

    Args:
        insecure: the program says that anybody may call.
        guarded: callers have to identify themselves.

    Returns:
        The socket, the host and the port that addresses name, and whether only this machine reaches it.

    Raises:
        DaemonError: the port is taken, or others could call and nobody would ask who they are.
    """
    if unix_path:
        return hub.listen_unix(unix_path, settings.tcp_listen_backlog), host, 0, True
    try:
        ips = hub.resolve(host, settings.connect_timeout_seconds)
    except ProtocolError as exc:
        raise DaemonError(f"couldn't start the daemon: {exc}") from exc
    local = all(hub.is_loopback(ip) for ip in ips)
    if not local and not insecure and not guarded:
        raise DaemonError(
            f"couldn't start the daemon on {host!r}: anybody who reaches that address could call its objects. "
            "Let callers identify themselves: Daemon(identifications=[...]) (-i), or protocol='PYROSSL' "
            "with TLSConfig(client_certificates='required'); or bind to this machine (host='127.0.0.1', or a "
            "unix socket, host='./u:/path'); or say that it is wanted with insecure_no_auth=True (--insecure)"
        )
    wanted = port if port is not None else 0
    if not wanted and not norange:
        wanted = settings.port
    tries = 1 if norange else settings.port_range
    sock = hub.listen_tcp(ips[0], wanted, tries, settings.tcp_listen_backlog, bool(settings.sock_keepalive))
    return sock, host or ips[0], sock.getsockname()[1], local


def published_host(host: str, settings: Settings) -> str:
    """Return the host that addresses name: the name of one that is given by IP address, where dns_uri says so."""
    if not settings.dns_uri or host.startswith("./u:"):
        return host
    if hub.is_loopback(host):
        return "localhost"
    return hub.name_of_host(host) or host


def warn_if_open(hostname: str, insecure: bool) -> None:
    if insecure:
        Log.warn("Daemon", f"{hostname} is open to everybody who can reach it (insecure_no_auth)")
