"""Waiting across threads: a bell that a native thread waits for, and a ticket that everybody else waits for.

    bell.ring()                 from anywhere; never waits
    bell.wait(seconds)          in a native thread

    ticket.wait(seconds)        in a greenlet of any hub, or in a thread without one
    ticket.end()                from any thread; wakes each hub once, however many wait there

    with turns:                 one at a time, in the order in which they came; greenlets of any hub
"""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

from gevent.hub import Waiter

from gpyro._hub.state import HubState, Timer, current_state, run_in_hub_of
from gpyro._hub.threads import NativeLock, native_event

__all__ = ["Bell", "Ticket", "Turns"]


#: Between two looks whether the thread of one whose turn it is lives.
LOOK_SECONDS = 1.0


class Bell:
    """Calls one native thread; rung several times before it listens, it calls once."""

    def __init__(self) -> None:
        self._gate = native_event()

    def ring(self) -> None:
        """Call the thread; safe from anywhere."""
        try:
            self._gate.release()
        except RuntimeError:
            pass  # It has been rung already, and nobody has listened yet.

    def wait(self, seconds: float | None = None) -> bool:
        """Wait, with this whole thread, until it is rung; False when that took longer than `seconds`."""
        return bool(self._gate.acquire(timeout=-1 if seconds is None else seconds))


class Ticket:
    """Something that comes to pass once."""

    def __init__(self) -> None:
        self._lock = NativeLock()
        self._waiting: list[tuple[HubState, Any]] = []
        self.is_over = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'over' if self.is_over else f'{len(self._waiting)} wait'}>"

    def wait(self, seconds: float) -> bool:
        """Wait until it is over, without holding the hub; False when that took longer than `seconds`."""
        if self.is_over:
            return True
        state = current_state()
        waiter = Waiter(state.hub)
        entry = (state, waiter)
        with self._lock:
            if self.is_over:
                return True
            self._waiting.append(entry)
        # It also gives the loop of a thread that does nothing else something to wait for.
        timer = Timer(state.loop, seconds, waiter.switch, False)
        try:
            return bool(waiter.get())
        finally:
            timer.cancel()
            with self._lock:
                if not self.is_over:
                    self._waiting.remove(entry)

    def end(self) -> None:
        """Have it over, and wake who waits; safe from any thread."""
        with self._lock:
            self.is_over = True
            waiting, self._waiting = self._waiting, []
        by_hub: dict[HubState, list[Any]] = {}
        for state, waiter in waiting:
            by_hub.setdefault(state, []).append(waiter)
        for state, waiters in by_hub.items():
            run_in_hub_of(state, _Wake(waiters))


class Turns:
    """Lets one in at a time, in the order in which they came; who is in may wait, and may not come again.

    Greenlets of a thread that has ended neither leave nor take their turn: those who wait look now and then.
    """

    def __init__(self) -> None:
        self._lock = NativeLock()
        self._waiting: deque[tuple[Ticket, HubState]] = deque()
        #: Whose turn it is.
        self._holder: HubState | None = None

    def __repr__(self) -> str:
        return f"<Turns {'free' if self._holder is None else 'taken'}, {len(self._waiting)} wait>"

    def try_enter(self) -> bool:
        """Go in if nobody is in; False otherwise."""
        state = current_state()
        with self._lock:
            if self._holder is not None and _lives(self._holder):
                return False
            self._holder = state
            return True

    def leave(self) -> None:
        """Let the next one in; after `try_enter`."""
        self._pass_on()

    def __enter__(self) -> None:
        state = current_state()
        entry = Ticket(), state
        with self._lock:
            if self._holder is None or not _lives(self._holder):
                self._holder = state
                return
            self._waiting.append(entry)
        try:
            while not entry[0].wait(LOOK_SECONDS):
                self._pass_on(only_from_dead=True)
        except BaseException:
            with self._lock:
                is_in = entry not in self._waiting
                if not is_in:
                    self._waiting.remove(entry)
            if is_in:
                # It was this one's turn already.
                self._pass_on()
            raise

    def __exit__(self, *exc_info: object) -> None:
        self._pass_on()

    def _pass_on(self, only_from_dead: bool = False) -> None:
        with self._lock:
            if only_from_dead and self._holder is not None and _lives(self._holder):
                return
            following = None
            while self._waiting and following is None:
                ticket, state = self._waiting.popleft()
                following = ticket if _lives(state) else None
            self._holder = None if following is None else state
        if following is not None:
            following.end()


def _lives(state: HubState) -> bool:
    # Not every hub is told of its thread's end.
    return not state.ended and state.thread_id in sys._current_frames()


class _Wake:
    """Called in a hub, it wakes those who wait there."""

    def __init__(self, waiters: list[Any]) -> None:
        self._waiters = waiters

    def __call__(self) -> None:
        for waiter in self._waiters:
            waiter.switch(True)
