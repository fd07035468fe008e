"""One UDP socket: datagrams given to a callback in the hub, or waited for one by one with a time limit.

A datagram comes whole or not at all, from anybody, with any sender's address on it. So nothing here ends because
of one: what is too long is dropped and counted, and an error that an earlier datagram caused somewhere else (ICMP:
nobody listens there) is passed over.
"""

from __future__ import annotations

import _socket
import errno
import logging
import os
import time
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from gpyro._hub.sockets import resolve, wait_ready
from gpyro._hub.state import HubState, current_state, run_soon_or_now
from gpyro._hub.waiting import is_hub_greenlet
from gpyro.errors import DaemonError, ProtocolError

__all__ = ["MAX_DATAGRAM_BYTES", "Datagram", "UdpEndpoint", "ask_udp", "resolve_ipv4", "serve_udp"]

#: What is longer is dropped. With IP's and UDP's 28 bytes of headers it fits into a packet of 1,280 bytes, which
#: every network carries in one piece (RFC 8200, section 5).
MAX_DATAGRAM_BYTES = 1232
#: Datagrams taken in one loop turn, so that a flood of them does not hold up calls; also how many that are too
#: long are passed over in one look.
DATAGRAMS_PER_TURN = 16
#: Seconds to look up the name of an address to listen on or to ask.
RESOLVE_SECONDS = 5.0

_log = logging.getLogger("gpyro.hub")
#: Those that are open, so that a forked child closes its copies.
_endpoints: weakref.WeakSet[UdpEndpoint] = weakref.WeakSet()


class Datagram(NamedTuple):
    """What came, and from whom: as far as one can believe that."""

    data: bytes
    host: str
    port: int


class UdpEndpoint:
    """An open UDP socket; `serve_udp` and `ask_udp` make them.

    Resources: the owner closes it, from any thread. One that delivers also ends with its hub; in a forked child
    all are closed. Errors: what comes never raises; sending raises OSError.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        host, port = sock.getsockname()
        #: Where it is bound; the port is 0 until an asking one has sent something.
        self.host: str = host
        self.port: int = port
        #: Datagrams that were too long.
        self.dropped = 0
        self._state: HubState | None = None
        self._watcher: Any = None
        self._on_datagram: Callable[[Datagram], object] | None = None
        _endpoints.add(self)

    def __repr__(self) -> str:
        status = "closed" if self._sock is None else "delivering" if self._watcher is not None else "open"
        return f"<UdpEndpoint {self.host}:{self.port}, {status}, {self.dropped} dropped>"

    def deliver(self, on_datagram: Callable[[Datagram], object]) -> None:
        """Call `on_datagram` in this thread's hub with each datagram from now on; what it raises is reported.

        Raises:
            DaemonError: the endpoint is closed, or delivers already.
        """
        if self._sock is None or self._watcher is not None:
            raise DaemonError(f"{self!r} cannot deliver; open another one")
        self._on_datagram = on_datagram
        self._state = current_state()
        self._state.tenants.add(self)
        # Not counted by the loop: a program with nothing else to do may end.
        self._watcher = self._state.loop.io(self._sock.fileno(), 1, ref=False)
        self._watcher.start(self._on_readable)

    def receive(self, timeout_seconds: float) -> Datagram | None:
        """Wait for the next datagram; with 0, take one that is there.

        Returns:
            None when the time is over.

        Raises:
            ProtocolError: the caller is the hub itself, where nothing may wait.
        """
        if timeout_seconds > 0 and is_hub_greenlet():
            raise ProtocolError("cannot wait for a datagram inside a callback of the hub; spawn a greenlet for it")
        deadline = time.monotonic() + timeout_seconds
        while self._sock is not None:
            for _ in range(DATAGRAMS_PER_TURN):
                taken = self._take()
                if isinstance(taken, Datagram):
                    return taken
                if not taken:
                    break
            left = deadline - time.monotonic()
            if left <= 0 or not wait_ready(self._sock, 1, left):
                return None
        return None

    def send(self, data: bytes, host: str, port: int) -> bool:
        """Send one datagram; False when the system has no room for it now, as datagrams may get lost anyway.

        Raises:
            OSError: the system refuses: no way there, or it may not go there.
        """
        if self._sock is None:
            raise OSError(errno.EBADF, "the endpoint is closed")
        try:
            self._sock.sendto(data, (host, port))
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Close it; from another thread than the one that it delivers in, when that one's hub next looks."""
        if self._state is None:
            self._let_go()
        elif self._sock is not None:
            run_soon_or_now(self._state, self._let_go)

    def hub_ended(self) -> None:
        """The thread ends, or this is a forked child."""
        self._let_go()

    def _let_go(self) -> None:
        sock, self._sock = self._sock, None
        watcher, self._watcher = self._watcher, None
        if watcher is not None and self._state is not None and self._state.has_loop():
            watcher.stop()
            watcher.close()
        if sock is not None:
            sock.close()

    def _take(self) -> Datagram | bool:
        """Return the next datagram, True when there was one to pass over, False when there is none."""
        try:
            # One byte more, to see that it is longer.
            data, address = self._sock.recvfrom(MAX_DATAGRAM_BYTES + 1)
        except BlockingIOError:
            return False
        except OSError as exc:
            # About a datagram that was sent before: nobody listens there, or there is no way.
            _log.debug("udp %s:%s: %s", self.host, self.port, exc.strerror)
            return True
        if len(data) > MAX_DATAGRAM_BYTES:
            self.dropped += 1
            return True
        return Datagram(data, address[0], address[1])

    def _on_readable(self) -> None:
        for _ in range(DATAGRAMS_PER_TURN):
            if self._sock is None:
                return
            taken = self._take()
            if not taken:
                return
            if isinstance(taken, Datagram):
                assert self._on_datagram is not None and self._state is not None
                try:
                    self._on_datagram(taken)
                except Exception:
                    self._state.report(self)


def serve_udp(host: str, port: int, *, shared: bool = False) -> UdpEndpoint:
    """Open a socket that hears what is sent to an IPv4 address and port; port 0 is the system's choice.

    SO_REUSEADDR is set only with `shared`: unlike with TCP it lets several sockets have one UDP port, and each of
    them hears a broadcast. Without it a second server on the port is refused, which is how it is noticed; with it
    all who want to share have to say so.

    Raises:
        OSError: the port is taken, or the address is not ours.
        ProtocolError: the host is unknown, or no IPv4 address.
    """
    ip = resolve_ipv4(host)
    sock = _open()
    try:
        if shared:
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        sock.bind((ip, port))
    except BaseException:
        sock.close()
        raise
    return UdpEndpoint(sock)


def ask_udp() -> UdpEndpoint:
    """Open a socket that may send broadcasts, and hears the answers."""
    sock = _open()
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_BROADCAST, 1)
    except BaseException:
        sock.close()
        raise
    return UdpEndpoint(sock)


def resolve_ipv4(host: str) -> str:
    """Return a numeric IPv4 address of a host; those that are numeric are not looked up.

    Raises:
        ProtocolError: the host is unknown, or has none.
    """
    for ip in resolve(host, RESOLVE_SECONDS):
        if ":" not in ip:
            return ip
    raise ProtocolError(f"host {host!r} has no IPv4 address")


def _open() -> Any:
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    sock.setblocking(False)
    return sock


def _after_fork_in_child() -> None:
    for endpoint in list(_endpoints):
        endpoint.hub_ended()


os.register_at_fork(after_in_child=_after_fork_in_child)
