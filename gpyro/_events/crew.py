"""Who handles events in a subscriber's program: workers that go from inbox to inbox, all of one link.

A worker greenlet handles what has come for one inbox after the other, as long as no handler blocks; so events cost
no greenlets. Where one blocks, control is back in the hub, and another worker goes on with the rest.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from gpyro import hub

if TYPE_CHECKING:
    from gpyro._events.inbox import Inbox

__all__ = ["Crew"]

#: How long handlers run before the loop looks at the network again.
TURN_SECONDS = 0.005


class Crew:
    """The workers of one link."""

    def __init__(self, state: hub.HubState) -> None:
        self._state = state
        self._ready: deque[Inbox] = deque()
        self._armed = False
        #: Odd while workers are put on what is ready; another number each time.
        self.turn = 0
        self._turn_end = 0.0
        #: Whose handlers the worker of this turn is at.
        self._busy: Inbox | None = None

    def __repr__(self) -> str:
        return f"<Crew, {len(self._ready)} inboxes are ready>"

    def add(self, inbox: Inbox) -> None:
        """There is something to do for an inbox; called once until `is_ready` is reset."""
        self._ready.append(inbox)
        if not self._armed:
            self._armed = True
            self._state.soon(self._pump)

    def is_over(self, turn: int) -> bool:
        """Tell whether a worker of this turn has to stop: its handler has blocked, or the loop is due."""
        return turn != self.turn or time.monotonic() >= self._turn_end

    def _pump(self) -> None:
        """Put workers on what is ready; runs in the hub."""
        self.turn += 1
        self._turn_end = time.monotonic() + TURN_SECONDS
        ready = self._ready
        while ready:
            self._state.run_worker(self._drain)
            busy, self._busy = self._busy, None
            if busy is not None:
                # Its handler has blocked; others of it may run beside that.
                busy.arm()
            if time.monotonic() >= self._turn_end:
                break
        self.turn += 1
        self._armed = bool(ready)
        if ready:
            self._state.later(0.0, self._pump)

    def _drain(self) -> bool:
        turn, ready, usable = self.turn, self._ready, True
        while ready and usable:
            inbox = ready.popleft()
            inbox.is_ready = False
            self._busy = inbox
            usable = inbox.work(self, turn)
            inbox.arm()
            if turn != self.turn:
                break
            self._busy = None
            if time.monotonic() >= self._turn_end:
                break
        return usable
