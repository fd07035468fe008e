"""What a foreign loop selects on: one socket that becomes readable when the hub has something to do.

The hub's own poll descriptor may not be handed out: watching it in gevent's select aborts the process, and
timers, offloaded calls and other threads do not make it readable. So a native thread polls it and writes one
byte to a socket pair, then waits until the byte has been taken. While calls are running it also writes every
10 ms, so that timers fire in a hub that nobody else runs, once a second while connections are watched over, and as
often as greenlets that wait for timers have asked for (`HubState.turns_wanted`).
"""

from __future__ import annotations

import _socket
import math
import select
import time
from collections.abc import Callable

from gevent import monkey

from gpyro._hub.state import HubState
from gpyro._hub.threads import native_event, start_native_thread

__all__ = ["Bridge"]

#: Milliseconds between two wake-ups while calls, offloads or timers are pending; 10 ms were tried and gave a
#: 0.2 s call back after 0.205 s.
BUSY_MS = 10
#: Milliseconds of one look at the descriptor while nothing is pending; that is how late a call that a greenlet
#: of the program's own starts is noticed.
IDLE_MS = 100
#: Seconds between two wake-ups while connections are on the wheel: it turns once a second.
WHEEL_SECONDS = 1.0
#: Seconds after which the thread looks whether it is still wanted.
LOOK_SECONDS = 1.0

_poll: Callable[[], select.poll] = monkey.get_original("select", "poll")


class Bridge:
    """One end of a socket pair for `select`, and the thread behind it.

    The pair is made at once, so that its number is low: `select` takes none above 1,023, and the connections
    come later. The thread begins with `open`. `is_busy()` tells whether calls are pending; it is asked from the
    thread, so it only reads.

    Resources: the owner closes it; it ends with its hub.
    """

    def __init__(self, state: HubState, is_busy: Callable[[], bool]) -> None:
        self._state = state
        self._is_busy = is_busy
        self._ours, self._theirs = _make_pair()
        self._go = native_event()
        self._opened = self._closed = False
        state.tenants.add(self)

    def __repr__(self) -> str:
        status = "closed" if self._closed else "open" if self._opened else "not used"
        return f"<Bridge of {self._state!r}, {status}>"

    @property
    def selectable(self) -> object:
        """The socket to select on for reading."""
        return self._theirs

    def open(self) -> None:
        """Begin to watch the hub; harmless when repeated."""
        if not self._opened and not self._closed:
            self._opened = True
            self._state.pokes.append(self.poke)
            # Asked here: the thread may begin when the loop is gone already.
            fd = self._state.loop.fileno()
            start_native_thread(lambda: self._watch(fd))

    def take(self) -> bool:
        """Take the byte, as the caller is about to run the hub; tell whether there was one."""
        if not self._opened:
            return False
        try:
            return bool(self._theirs.recv(64))
        except OSError:
            return False

    def poke(self) -> None:
        """Make it readable; safe from any thread."""
        if not self._opened:
            return
        try:
            self._ours.send(b"!")
        except OSError:
            pass  # it is readable already, or closed

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
            self._stop_poking()
            if not self._opened:
                self._ours.close()

    def hub_ended(self) -> None:
        """The thread ends, or this is a forked child."""
        self._closed = True
        self._stop_poking()
        self._theirs.close()
        self._ours.close()

    def _stop_poking(self) -> None:
        if self.poke in self._state.pokes:
            self._state.pokes.remove(self.poke)

    def _watch(self, fd: int) -> None:
        poll = _poll()
        poll.register(fd, select.POLLIN)
        while not self._closed:
            if self._go.acquire(timeout=LOOK_SECONDS):
                self._wait_and_write(poll)
        self._ours.close()

    def _wait_and_write(self, poll: select.poll) -> None:
        begun = time.monotonic()
        while not self._closed:
            busy = self._is_busy() or time.monotonic() >= begun + self._longest_pause()
            try:
                ready = poll.poll(BUSY_MS if busy else IDLE_MS)
            except OSError:
                return
            if ready or busy:
                self.poke()
                return


    def _longest_pause(self) -> float:
        """Return after how many seconds the hub has to turn although nothing comes."""
        pause = WHEEL_SECONDS if self._state.has_tickers() else math.inf
        # A copy at one go: this is another thread than the one that fills it.
        return min([pause, *list(self._state.turns_wanted.values())])


def _make_pair() -> tuple[_socket.socket, _socket.socket]:
    import socket

    pair = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    ours, theirs = pair
    ours.setblocking(False)
    theirs.setblocking(False)
    # A full socket object, since Tk and asyncio look at more than fileno().
    selectable = socket.socket(theirs.family, theirs.type, theirs.proto, theirs.detach())
    # Of a patched process, it would wait in gevent's way although its descriptor does not block.
    selectable.setblocking(False)
    return ours, selectable
