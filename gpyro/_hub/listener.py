"""The accept loop: a callback in the hub that takes a few connections a turn and survives a full table.

When descriptors run out the loop would see the same readiness for ever. A descriptor held in reserve is given
up for a moment, those who wait are accepted and turned away, and accepting pauses; so nobody hangs in the
backlog and the processor stays idle.
"""

from __future__ import annotations

import errno
import logging
import os
import socket as _socket
import sys
import time
from collections.abc import Callable
from typing import Any

from gevent import monkey

from gpyro._hub.sockets import adopt
from gpyro._hub.state import HubState, Timer

__all__ = ["Listener"]

#: Connections taken in one loop turn, so that a storm of them does not hold up calls.
ACCEPTS_PER_TURN = 16
#: Seconds without accepting after the descriptors ran out.
PAUSE_SECONDS = 0.2
#: Seconds without accepting while the owner has no room for one more.
FULL_SECONDS = 0.005
#: Where Linux's struct tcp_info has how many wait to be accepted, for a socket that listens (tcpi_unacked).
TCP_INFO_WAITING_AT, TCP_INFO_BYTES = 24, 104
#: Seconds between two log lines about that.
LOG_SECONDS = 10.0

_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_GONE = (errno.ECONNABORTED, errno.EINTR, errno.EPROTO, errno.EPERM)
_log = logging.getLogger("gpyro.hub")
#: In a patched process `os.close` closes later, when the loop has let go of the descriptor; here it counts now.
_close: Callable[[int], None] = monkey.get_original("os", "close")


class Listener:
    """A listening socket on one hub; `on_accept(sock)` gets each connection, non-blocking.

    `has_room(waiting)` is asked before each; while it says no, callers wait in the system's backlog, and
    `waiting()` tells how many do.

    Resources: the owner closes it. Errors: a failing accept is logged and accepting goes on.
    """

    def __init__(
        self, sock: Any, state: HubState, on_accept: Callable[[Any], object],
        has_room: Callable[[Callable[[], int]], bool] = lambda waiting: True,
    ) -> None:  # fmt: skip
        self._sock = sock
        self._state = state
        self._on_accept = on_accept
        self._has_room = has_room
        self._watcher = state.loop.io(sock.fileno(), 1)
        self._reserve = _open_reserve()
        self._last_log = -LOG_SECONDS
        self._pause: Timer | None = None
        self._watcher.start(self._on_readable)

    def __repr__(self) -> str:
        return "<Listener closed>" if self._sock is None else f"<Listener on {self._sock.getsockname()}>"

    def close(self) -> None:
        """Stop accepting and close the socket; the system resets what still waits in the backlog."""
        if self._sock is None:
            return
        if self._state.has_loop():
            if self._pause is not None:
                self._pause.cancel()
            self._watcher.stop()
            self._watcher.close()
        self._sock.close()
        self._sock = None
        if self._reserve is not None:
            _close(self._reserve)
            self._reserve = None

    def _on_readable(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if self._sock is None:
                return
            if not self._has_room(self.waiting):
                self._rest(FULL_SECONDS)
                return
            if not self._accept_one():
                return

    def _accept_one(self) -> bool:
        try:
            fd, _ = self._sock._accept()
        except BlockingIOError:
            return False
        except OSError as exc:
            if exc.errno in _FULL:
                self._turn_away(exc)
                return False
            if exc.errno not in _GONE:
                _log.error("accept failed: %s", exc)
            return exc.errno in _GONE
        sock = adopt(fd, self._sock.family)
        try:
            self._on_accept(sock)
        except Exception:
            # Closed, so that the caller is not left waiting for somebody who will never answer.
            sock.close()
            self._state.report(self)
        return True

    def _turn_away(self, exc: OSError) -> None:
        now = time.monotonic()
        if now - self._last_log >= LOG_SECONDS:
            self._last_log = now
            _log.error("no descriptor for a new connection (%s); turning callers away", exc.strerror)
        if self._reserve is not None:
            _close(self._reserve)
            self._reserve = None
        try:
            for _ in range(ACCEPTS_PER_TURN):
                fd, _ = self._sock._accept()
                _close(fd)
        except OSError:
            pass  # Nobody waits any more, or something else has taken the place of the reserve.
        self._reserve = _open_reserve()
        self._rest(PAUSE_SECONDS)

    def waiting(self) -> int:
        """Return how many wait to be accepted; 0 where the system does not tell."""
        if self._sock is None or self._sock.family == _socket.AF_UNIX or not sys.platform.startswith("linux"):
            return 0
        try:
            info = self._sock.getsockopt(_socket.IPPROTO_TCP, _socket.TCP_INFO, TCP_INFO_BYTES)
        except OSError:
            return 0
        return int.from_bytes(info[TCP_INFO_WAITING_AT : TCP_INFO_WAITING_AT + 4], sys.byteorder)

    def is_resting(self) -> bool:
        """Tell whether a timer has to come before the next connection is taken."""
        return self._pause is not None

    def _rest(self, seconds: float) -> None:
        self._watcher.stop()
        self._pause = self._state.later(seconds, self._resume)

    def _resume(self) -> None:
        self._pause = None
        if self._sock is not None:
            self._watcher.start(self._on_readable)


def _open_reserve() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
