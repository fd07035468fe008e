"""Who waits for whom inside synchronized objects: the search for rings, and what is said of those that wait.

A call that waits for an object waits for those inside. One inside waits for what its own outgoing call has led to,
where that is served in this process; what happens in others is not known here, so a ring through them shows only
when a wait takes too long.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING

from gpyro.errors import DeadLockError, ServerBusyError

if TYPE_CHECKING:
    from gpyro._connection.synchronizing import Hold

__all__ = ["find_ring", "ring_error", "too_long_inside", "waited_too_long"]

#: Calls that one search looks at, and steps from one to the next: a millisecond, as the book is held meanwhile.
#: Where more wait for each other, the limit of time has to do.
MAX_CALLS, MAX_STEPS = 500, 2000
#: Calls that an error names.
MAX_NAMED = 20
#: What cannot be told from here: calls of such a greenlet do not show whose they are.
WAY_OUT = (
    "If one that is inside waits for a greenlet or a thread that it has started itself, and that calls back, it "
    "waits for itself, and trying again does not help: start it with contextvars.copy_context().run "
    "(docs/usage.md)"
)


def find_ring(start: Hold) -> list[Hold]:
    """Return the shortest ring of calls that wait for each other and begin with `start`; empty without one."""
    came_from: dict[Hold, Hold] = {}
    todo = deque([start])
    steps = 0
    while todo and len(came_from) <= MAX_CALLS:
        hold = todo.popleft()
        for other in hold.waits_for():
            steps += 1
            if steps > MAX_STEPS:
                return []
            if other is start:
                return _way(start, hold, came_from)
            if other not in came_from:
                came_from[other] = hold
                todo.append(other)
    return []


def _way(start: Hold, end: Hold, came_from: dict[Hold, Hold]) -> list[Hold]:
    way = [end]
    while way[-1] is not start:
        way.append(came_from[way[-1]])
    return way[::-1]


def ring_error(ring: list[Hold]) -> DeadLockError:
    """Return the error for the call that would close a ring."""
    told = [f"{_relation(before)} {hold.title}" for before, hold in pairwise(ring)]
    told.append(f"{_relation(ring[-1])} the first")
    return _error(
        f"dead-lock: {_sentence(ring[0], told)}; the first was not started. Let such objects call each other in "
        "one order only, or outside of their synchronized methods",
        ring,
    )


def _relation(hold: Hold) -> str:
    """Say how one call of a ring depends on the next; only those that wait are not inside."""
    return "waits for" if hold.is_waiting() or hold.back is not None else "has called"


def waited_too_long(hold: Hold, seconds: float) -> ServerBusyError:
    """Return the error for a call that was not let in."""
    before = list(hold.waits_for())
    told = _sentence(hold, [*map(_doing, reversed(before))])
    text = f"waited {seconds:g} s (synchronized_wait_seconds): {told}; the first was not started"
    if any(leg.is_own for other in before for leg in list(other.legs.values())):
        return _error(f"perhaps a dead-lock, {text}. {WAY_OUT}", [hold, *reversed(before)])
    return ServerBusyError(f"{text}; try again later. {WAY_OUT}")


def too_long_inside(hold: Hold, seconds: float) -> DeadLockError:
    """Return the error for a method that cannot go on, as what it has led to is still inside."""
    above = list(hold.waits_for())
    told = _sentence(hold, [*map(_doing, reversed(above))])
    return _error(
        f"perhaps a dead-lock, an outgoing call has ended, and what it led to was inside for another {seconds:g} "
        f"s (synchronized_wait_seconds): {told}",
        [hold, *reversed(above)],
    )


def _sentence(first: Hold, told: list[str]) -> str:
    return f"{first.title} {', which '.join(_short(told))}"


def _doing(hold: Hold) -> str:
    names = [leg.name for leg in list(hold.legs.values())][:MAX_NAMED]
    return f"waits for {hold.title}" + (f" (in its call of {', '.join(names)})" if names else "")


def _short(told: list[str]) -> list[str]:
    if len(told) <= MAX_NAMED:
        return told
    half = MAX_NAMED // 2
    return [*told[:half], f"... {len(told) - 2 * half} calls left out", *told[-half:]]


def _error(text: str, chain: list[Hold]) -> DeadLockError:
    error = DeadLockError(text)
    error.chain = tuple(_short([hold.title for hold in chain]))
    return error
