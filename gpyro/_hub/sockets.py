"""Addresses, sockets and their options: resolving, connecting and listening without blocking the hub.

Sockets are the C module's own: they stay what they are in a patched process and cost less than gevent's. Names
are looked up in native threads of our own, so that a resolver that hangs holds neither the hub nor the thread
pool that user code works with.
"""

from __future__ import annotations

import _socket
import errno
import logging
import os
import resource
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gevent import monkey
from gevent.hub import Waiter
from gevent.lock import Semaphore

from gpyro._hub.state import HubState, Timer, current_state
from gpyro.errors import DaemonError, ProtocolError, TimeoutError

if TYPE_CHECKING:
    from gpyro._hub.tls import TLSConfig

__all__ = [
    "connect", "descriptor_limit", "file_number", "is_loopback", "listen_tcp", "listen_unix", "peer_host",
    "peer_uid", "resolve", "turn_to_open", "unlink_unix", "wait_ready",
]  # fmt: skip

AF_INET, AF_INET6, AF_UNIX = _socket.AF_INET, _socket.AF_INET6, _socket.AF_UNIX
_native_thread = monkey.get_original("_thread", "start_new_thread")

#: Seconds until a silent peer is given up by the kernel, for peers that send no heartbeat: first probe after
#: 15 s, then two more 10 s apart. TCP_USER_TIMEOUT covers what keepalive does not: unacknowledged data.
KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
USER_TIMEOUT_MS = 20_000
#: Connections to one place that a thread opens at once. A server keeps a slot for each until it has said who it
#: is, which it cannot before its turn comes here; of 1,000 opened at once a server ended 256 that said nothing.
MAX_OPENING = 64
#: Lookups under way at once; each is one native thread.
MAX_LOOKUPS = 16
#: Seconds an answer of the resolver is used again, and a failure.
CACHE_SECONDS, NEGATIVE_CACHE_SECONDS = 30.0, 5.0
MAX_PORT = 65535
#: Names kept in the cache.
CACHE_NAMES = 1000

_log = logging.getLogger("gpyro.hub")
_lookup_lock = monkey.get_original("_thread", "allocate_lock")()
_cache: dict[str, tuple[float, list[str] | OSError]] = {}
_lookups = 0

Endpoint = tuple[str, str, int] | tuple[str, str]


def connect(
    endpoint: Any,
    timeout_seconds: float,
    keepalive: bool = True,
    tls: TLSConfig | None = None,
    server_hostname: str | None = None,
) -> Any:
    """Open a connection to `("tcp", host, port)` or `("unix", path)` and return the non-blocking socket.

    All addresses of a name share the time, and with `tls` so does the handshake; what is returned is a TlsSocket
    then. The certificate must be for the name in `tls`, else for `server_hostname`, else for the endpoint's host.

    Raises:
        TimeoutError: the time is over.
        ProtocolError: nobody listens there, the host is unknown, or TLS failed.
        ConfigurationError: a file that `tls` names cannot be used.
    """
    deadline = time.monotonic() + timeout_seconds
    if tls is None:
        return _connect(endpoint, timeout_seconds, deadline, keepalive)
    if endpoint[0] == "unix":
        raise ProtocolError(f"connection failed: unix socket {endpoint[1]!r} takes no TLS; leave out tls=")
    from gpyro._hub.tlssocket import connect_tls  # loads ssl, which only some programs need

    tls.client_context()
    sock = _connect(endpoint, timeout_seconds, deadline, keepalive)
    where, host = f"{endpoint[1]} port {endpoint[2]}", tls.server_hostname or server_hostname or endpoint[1]
    return connect_tls(sock, tls, where, host, deadline, timeout_seconds)


@contextmanager
def turn_to_open(endpoint: Any, timeout_seconds: float) -> Iterator[float]:
    """Wait until this thread opens fewer than MAX_OPENING connections to a place; gives the seconds that are left.

    The turn ends when what was written meanwhile has been sent.

    Raises:
        TimeoutError: the time is over.
    """
    state = current_state()
    door = state.doors.get(endpoint)
    if door is None:
        door = state.doors[endpoint] = Semaphore(MAX_OPENING)
    left = timeout_seconds
    if not door.acquire(blocking=False):
        deadline = time.monotonic() + timeout_seconds
        if not door.acquire(timeout=timeout_seconds):
            where = " port ".join(map(str, endpoint[1:]))
            raise TimeoutError(
                f"connection failed: {MAX_OPENING} other connections of this thread to {where} were still being "
                f"opened after {timeout_seconds:g} s (connect_timeout_seconds)"
            )
        left = max(deadline - time.monotonic(), 0.0)
    try:
        yield left
    finally:
        state.soon(_end_turn, state, endpoint, door)


def _end_turn(state: HubState, endpoint: Any, door: Any) -> None:
    door.release()
    if door.counter == MAX_OPENING:
        state.doors.pop(endpoint, None)


def _connect(endpoint: Any, timeout_seconds: float, deadline: float, keepalive: bool) -> Any:
    if endpoint[0] == "unix":
        targets: list[tuple[int, Any]] = [(AF_UNIX, endpoint[1])]
    else:
        targets = [(_family(ip), (ip, endpoint[2])) for ip in resolve(endpoint[1], timeout_seconds)]
    failure: Exception | None = None
    for index, (family, address) in enumerate(targets):
        left = deadline - time.monotonic()
        share = left / (len(targets) - index)
        try:
            return _connect_one(family, address, max(share, 0.0), keepalive)
        except OSError as exc:
            failure = exc
    where = endpoint[1] if endpoint[0] == "unix" else f"{endpoint[1]} port {endpoint[2]}"
    if isinstance(failure, OSError) and failure.errno == errno.ETIMEDOUT:
        raise TimeoutError(
            f"connection failed: no answer from {where} within {timeout_seconds:g} s (connect_timeout_seconds)"
        ) from failure
    reason = failure.strerror if isinstance(failure, OSError) else "no address"
    raise ProtocolError(f"connection failed: {where}: {reason}") from failure


def _connect_one(family: int, address: Any, timeout_seconds: float, keepalive: bool) -> Any:
    sock = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if family != AF_UNIX:
            set_options(sock, keepalive)
        code = sock.connect_ex(address)
        if code in (errno.EINPROGRESS, errno.EAGAIN):
            if not wait_ready(sock, 2, timeout_seconds):
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            code = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        if family != AF_UNIX and sock.getsockname() == sock.getpeername():
            # Linux may connect a socket to itself when it picks the port that nobody listens on.
            raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    except BaseException:
        sock.close()
        raise
    return sock


def wait_ready(sock: Any, events: int, timeout_seconds: float) -> bool:
    """Wait until the socket is readable (1), writable (2) or one of these (3); False when the time is over."""
    hub = current_state().hub
    waiter = Waiter(hub)
    watcher = hub.loop.io(sock.fileno(), events)
    timer = Timer(hub.loop, timeout_seconds, waiter.switch, False)
    try:
        watcher.start(waiter.switch, True)
        return bool(waiter.get())
    finally:
        timer.cancel()
        watcher.stop()
        watcher.close()


def set_options(sock: Any, keepalive: bool) -> None:
    """Set what every TCP socket of gpyro has; on Linux accepted sockets inherit it from the listener."""
    sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    if not keepalive:
        return
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
    for name, value in (*KEEPALIVE, ("TCP_USER_TIMEOUT", USER_TIMEOUT_MS)):
        if hasattr(_socket, name):
            sock.setsockopt(_socket.IPPROTO_TCP, getattr(_socket, name), value)


# -- names ---------------------------------------------------------------------------------------------------


def resolve(host: str, timeout_seconds: float) -> list[str]:
    """Return the numeric addresses of a host, IPv4 first; numeric ones and localhost are never looked up.

    Raises:
        ProtocolError: the host is unknown.
        TimeoutError: the resolver does not answer in time.
    """
    if _is_numeric(host):
        return [host]
    if host in ("", "localhost"):
        return ["127.0.0.1", "::1"] if host else ["127.0.0.1"]
    known = _cache.get(host)
    if known is None or known[0] < time.monotonic():
        known = _look_up(host, timeout_seconds)
    if isinstance(known[1], OSError):
        raise ProtocolError(f"unknown host {host!r}: {known[1].strerror}") from known[1]
    return known[1]


def name_of_host(ip: str) -> str | None:
    """Return the name of a numeric address, None where nobody knows one; others go on meanwhile."""
    try:
        return str(current_state().hub.resolver.gethostbyaddr(ip)[0])
    except OSError:
        return None


def _look_up(host: str, timeout_seconds: float) -> tuple[float, list[str] | OSError]:
    global _lookups
    if _lookups >= MAX_LOOKUPS:
        raise ProtocolError(f"cannot look up {host!r}: {_lookups} lookups are waiting for the resolver")
    hub = current_state().hub
    waiter = Waiter(hub)
    with _lookup_lock:
        _lookups += 1

    def ask() -> None:
        global _lookups
        answer: list[str] | OSError
        try:
            found = _socket.getaddrinfo(host, 0, 0, _socket.SOCK_STREAM)
            answer = sorted({str(row[4][0]) for row in found}, key=lambda ip: (":" in ip, ip))
        except OSError as exc:
            answer = exc
        except UnicodeError as exc:
            answer = OSError(errno.EINVAL, str(exc))
        with _lookup_lock:
            _lookups -= 1
        seconds = NEGATIVE_CACHE_SECONDS if isinstance(answer, OSError) else CACHE_SECONDS
        if len(_cache) >= CACHE_NAMES:
            _cache.clear()
        entry = _cache[host] = (time.monotonic() + seconds, answer)
        try:
            hub.loop.run_callback_threadsafe(waiter.switch, entry)
        except Exception:
            pass

    _native_thread(ask, ())
    timer = Timer(hub.loop, timeout_seconds, waiter.switch, None)
    try:
        entry = waiter.get()
    finally:
        timer.cancel()
    if entry is None:
        raise TimeoutError(f"the resolver did not answer for {host!r} within {timeout_seconds:g} s")
    return entry  # type: ignore[no-any-return]


def _is_numeric(host: str) -> bool:
    for family in (AF_INET, AF_INET6):
        try:
            _socket.inet_pton(family, host.split("%")[0])
        except (OSError, UnicodeError, ValueError):
            continue
        return True
    return False


def _family(ip: str) -> int:
    return AF_INET6 if ":" in ip else AF_INET


def is_loopback(ip: str) -> bool:
    """Tell whether a numeric address never leaves this machine."""
    return ip.startswith("127.") or ip == "::1" or ip.startswith("::ffff:127.")


# -- listening -----------------------------------------------------------------------------------------------


def listen_tcp(ip: str, port: int, tries: int, backlog: int, keepalive: bool) -> Any:
    """Bind the first free port of `port` to `port + tries - 1` and listen; port 0 is the system's choice.

    Raises:
        DaemonError: no port is free, or the address is not ours.
    """
    family = _family(ip)
    # A range that begins near the end of all ports is shorter.
    tries = max(min(tries, MAX_PORT - port + 1), 1)
    for candidate in range(port, port + tries):
        sock = _socket.socket(family, _socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            if family == AF_INET6:
                sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
            set_options(sock, keepalive)
            sock.bind((ip, candidate))
            sock.listen(backlog)
            return sock
        except OSError as exc:
            sock.close()
            if exc.errno != errno.EADDRINUSE or candidate == port + tries - 1:
                raise DaemonError(_bind_message(ip, port, tries, exc)) from exc
        except OverflowError as exc:
            sock.close()
            raise DaemonError(f"port {candidate} is not a port, ports are 0 to 65535") from exc
    raise AssertionError("the loop returns or raises")


def _bind_message(ip: str, port: int, tries: int, exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        ports = f"port {port} is" if tries <= 1 else f"ports {port} to {port + tries - 1} are all"
        return (
            f"couldn't start the daemon on {ip}: {ports} in use; "
            "give another port, or norange=True with port=0 for a free one"
        )
    return f"couldn't start the daemon on {ip} port {port}: {exc.strerror}"


def listen_unix(path: str, backlog: int) -> Any:
    """Listen on a unix socket that only this user can reach (mode 0600).

    A socket file that nobody listens on any more is replaced.

    Raises:
        DaemonError: the path is in use, not a socket, or cannot be made.
    """
    _remove_stale(path)
    sock = _socket.socket(AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(path)
        # Before listen nobody can connect, so there is no moment with wider rights.
        os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)
        sock.listen(backlog)
    except OSError as exc:
        sock.close()
        raise DaemonError(f"couldn't start the daemon on unix socket {path!r}: {exc.strerror or exc}") from exc
    return sock


def _remove_stale(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise DaemonError(f"couldn't start the daemon: {path!r} exists and is not a socket")
    probe = _socket.socket(AF_UNIX, _socket.SOCK_STREAM)
    try:
        probe.setblocking(False)
        code = probe.connect_ex(path)
    finally:
        probe.close()
    if code != errno.ECONNREFUSED:
        raise DaemonError(f"couldn't start the daemon: unix socket {path!r} is in use")
    os.unlink(path)


def descriptor_limit() -> int:
    """Return how many descriptors this process may have; a large number where that is not limited."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 30


def file_number(path: str) -> int:
    """Return the inode of a socket file, 0 if there is none."""
    try:
        return os.lstat(path).st_ino
    except OSError:
        return 0


def unlink_unix(path: str, number: int) -> None:
    """Remove a socket file, unless another server has put its own there meanwhile."""
    if number and file_number(path) == number:
        try:
            os.unlink(path)
        except OSError as exc:
            _log.warning("socket file %r could not be removed: %s", path, exc.strerror)


def peer_uid(sock: Any) -> int | None:
    """Return the user id at the other end of a unix socket, None where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return None
    credentials = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], sys.byteorder, signed=True)


def peer_host(sock: Any) -> str:
    """Return the numeric address at the other end of a TCP socket; empty when it is gone already."""
    try:
        return str(sock.getpeername()[0])
    except OSError:
        return ""


def adopt(fd: int, family: int) -> Any:
    """Make a non-blocking socket of an accepted descriptor."""
    sock = _socket.socket(family, _socket.SOCK_STREAM, 0, fd)
    sock.setblocking(False)
    if family != AF_UNIX and not sys.platform.startswith("linux"):
        set_options(sock, True)
    return sock


