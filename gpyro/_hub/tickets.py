"""Waiting across threads: a bell that a native thread waits for, and a ticket that everybody else waits for.

    bell.ring()                 from anywhere; never waits
    bell.wait(seconds)          in a native thread

    ticket.wait(seconds)        in a greenlet of any hub, or in a thread without one
    ticket.end()                from any thread; wakes each hub once, however many wait there

    with turns:                 one at a time, in the order in which they came; greenlets of any hub
"""

from __future__ import annotations

from collections import deque
from typing import Any

from gevent.hub import Waiter

from gpyro._hub.state import HubState, Timer, current_state, run_in_hub_of
from gpyro._hub.threads import NativeLock, native_event

__all__ = ["Bell", "Ticket", "Turns"]


#: How long a turn is waited for in one piece.
LOOK_SECONDS = 3600.0


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
    """Lets one in at a time, in the order in which they came; who is in may wait, and may not come again."""

    def __init__(self) -> None:
        self._lock = NativeLock()
        self._waiting: deque[Ticket] = deque()
        self._is_taken = False

    def __repr__(self) -> str:
        return f"<Turns {'taken' if self._is_taken else 'free'}, {len(self._waiting)} wait>"

    def __enter__(self) -> None:
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return
            ticket = Ticket()
            self._waiting.append(ticket)
        try:
            while not ticket.wait(LOOK_SECONDS):
                pass
        except BaseException:
            with self._lock:
                is_in = ticket not in self._waiting
                if not is_in:
                    self._waiting.remove(ticket)
            if is_in:
                # It was this one's turn already.
                self._pass_on()
            raise

    def __exit__(self, *exc_info: object) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        with self._lock:
            following = self._waiting.popleft() if self._waiting else None
            self._is_taken = following is not None
        if following is not None:
            following.end()


class _Wake:
    """Called in a hub, it wakes those who wait there."""

    def __init__(self, waiters: list[Any]) -> None:
        self._waiters = waiters

    def __call__(self) -> None:
        for waiter in self._waiters:
            waiter.switch(True)
