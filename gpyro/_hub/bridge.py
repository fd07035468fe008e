"""What a foreign loop selects on: one socket that becomes readable when the hub has something to do.

The hub's own poll descriptor may not be handed out: watching it in gevent's select aborts the process, and
timers, offloaded calls and other threads do not make it readable. So a native thread polls it and writes one
byte to a socket pair, then waits until the byte has been taken. While calls are running it also writes every
10 ms, so that timers fire in a hub that nobody else runs.
"""

from __future__ import annotations

import _socket
import select
from collections.abc import Callable

from gevent import monkey

from gpyro._hub.state import HubState
from gpyro._hub.threads import native_event, start_native_thread

__all__ = ["Bridge"]

#: Milliseconds between two wake-ups while calls, offloads or timers are pending; 10 ms were tried and gave a
#: 0.2 s call back after 0.205 s.
BUSY_MS = 10
#: Milliseconds after which the thread looks whether it is still wanted.
IDLE_MS = 1000

_poll: Callable[[], select.poll] = monkey.get_original("select", "poll")


class Bridge:
    """One end of a socket pair for `select`, and the thread behind it.

    `is_busy()` tells whether calls or timers are pending; it is asked from the thread, so it only reads.

    Resources: the owner closes it.
    """

    def __init__(self, state: HubState, is_busy: Callable[[], bool]) -> None:
        self._state = state
        self._is_busy = is_busy
        self._ours, self._theirs = _make_pair()
        self._go = native_event()
        self._closed = False
        start_native_thread(self._watch)

    def __repr__(self) -> str:
        return f"<Bridge of {self._state!r}, {'closed' if self._closed else 'open'}>"

    @property
    def selectable(self) -> object:
        """The socket to select on for reading."""
        return self._theirs

    def take(self) -> bool:
        """Take the byte, as the caller is about to run the hub; tell whether there was one."""
        try:
            return bool(self._theirs.recv(64))
        except OSError:
            return False

    def rearm(self) -> None:
        """Let the thread look again: the hub has run, and its descriptors are registered."""
        try:
            self._go.release()
        except RuntimeError:
            pass  # it is looking already

    def close(self) -> None:
        """End the thread and close both ends."""
        if not self._closed:
            self._closed = True
            self.rearm()
            self._theirs.close()

    def _watch(self) -> None:
        poll = _poll()
        poll.register(self._state.loop.fileno(), select.POLLIN)
        while not self._closed:
            if not self._go.acquire(timeout=IDLE_MS / 1000):
                continue
            self._wait_and_write(poll)
        self._ours.close()

    def _wait_and_write(self, poll: select.poll) -> None:
        while not self._closed:
            busy = self._is_busy()
            try:
                ready = poll.poll(BUSY_MS if busy else BUSY_MS * 10)
            except OSError:
                return
            if ready or busy:
                try:
                    self._ours.send(b"!")
                except OSError:
                    pass  # a byte is already there
                return


def _make_pair() -> tuple[_socket.socket, _socket.socket]:
    import socket

    pair = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    ours, theirs = pair
    ours.setblocking(False)
    theirs.setblocking(False)
    # A full socket object, since Tk and asyncio look at more than fileno().
    return ours, socket.socket(theirs.family, theirs.type, theirs.proto, theirs.detach())
