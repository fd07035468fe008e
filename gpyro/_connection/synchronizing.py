"""One remote call at a time inside a SynchronizedObjBase: who is inside, who waits, and how a call comes back.

The lock lives with connections, not with daemons: an object that was passed over a connection has no daemon.
Rules:

    WAITING   in the queue; goes in when nobody is inside, first come first served, or as soon as the call that
              is inside, topmost, waits for an outgoing call that this one descends from
    INSIDE    on the stack of those inside; all but the topmost wait for calls that led to the one above them
    LEFT      its method has ended, whichever way, or it never went in

An outgoing call of a call inside is a leg. It has an id of its own, given out when it begins and worth nothing
once it has ended; the id travels in the path of all calls that it leads to, but over no oneway call, for which
nobody waits. Ids are random, so only who was called by the one inside can come back in. Of several that come
back, one is let in at a time: the others descend from a call that is not topmost then. When a leg ends and
something that it led to is still inside, the method goes on only after that.

All state is guarded by one lock of the process, `_book`, held for a few lines that switch no greenlet. Leaving
never waits for it: a collector may end a greenlet, and so run its `finally`, in the middle of such lines in
this very thread.
"""

from __future__ import annotations

import enum
import functools
import itertools
import os
import weakref
from collections import deque
from collections.abc import Callable
from contextvars import Token
from typing import Any

from gpyro import hub
from gpyro._connection.rings import find_ring, ring_error, too_long_inside, waited_too_long
from gpyro.context import MAX_PATH, Call, Onward, Scope, enter_scope, leave_scope, make_call_id
from gpyro.errors import CallCancelled

__all__ = ["Hold", "enter"]

_book = hub.NativeLock()
#: Locks by the id() of their objects, as an object's own state is its class's and may be copied or stored.
_locks: dict[int, _ObjectLock] = {}
#: The legs under way in this process, by id.
_legs: dict[bytes, Leg] = {}
#: What is to be done in the book by whoever has it next.
_departures: deque[Callable[[], list[hub.Ticket]]] = deque()
_numbers = itertools.count()


class State(enum.Enum):
    """Where a call is; the table is at the top."""

    WAITING = "waiting"
    INSIDE = "inside"
    LEFT = "left"


def enter(owner: object, call: Call, seconds: float) -> Hold:
    """Wait until the call may go into the object; the one who called this has to see that it leaves.

    Raises:
        DeadLockError: it would wait for a call that waits for it; or perhaps did, for `seconds`.
        ServerBusyError: others were inside for `seconds`.
    """
    hold = Hold(_lock_of(owner), call, seconds)
    with _book:
        woken = hold.lock.forget_lost()
        ring = hold.begin()
    _wake(woken)
    _settle()
    try:
        if ring:
            raise ring_error(ring)
        if hold.came is not None and not hold.came.wait(seconds) and hold.state is State.WAITING:
            raise _error_of(waited_too_long, hold, seconds)
    except BaseException:
        hold.leave()
        raise
    return hold


def _error_of(make: Callable[[Hold, float], Exception], hold: Hold, seconds: float) -> Exception:
    with _book:
        error = make(hold, seconds)
    _settle()
    return error


def _lock_of(owner: object) -> _ObjectLock:
    lock = _locks.get(id(owner))
    if lock is None or lock.owner() is not owner:
        with _book:
            lock = _locks.get(id(owner))
            if lock is None or lock.owner() is not owner:
                lock = _locks[id(owner)] = _ObjectLock(owner)
        _settle()
    return lock


def _settle() -> None:
    """Do what was left to be done; whoever has had the book calls this."""
    while _departures and _book.acquire(blocking=False):
        woken: list[hub.Ticket] = []
        try:
            while _departures:
                woken += _departures.popleft()()
        finally:
            _book.release()
        _wake(woken)


def _do(work: Callable[[], list[hub.Ticket]]) -> None:
    _departures.append(work)
    _settle()


def _wake(tickets: list[hub.Ticket]) -> None:
    for ticket in tickets:
        ticket.end()


class _ObjectLock:
    """Who is inside one object, outermost first, and who waits."""

    __slots__ = ("__weakref__", "inside", "owner", "queue")

    def __init__(self, owner: object) -> None:
        key = id(owner)
        self.owner = weakref.ref(owner, lambda ended: _locks.pop(key, None))
        self.inside: list[Hold] = []
        self.queue: dict[Hold, None] = {}

    def __repr__(self) -> str:
        return f"<lock of {self.owner()!r}, {len(self.inside)} inside, {len(self.queue)} waiting>"

    def admits(self, hold: Hold) -> bool:
        """Tell whether a call that comes may go in at once."""
        if not self.inside:
            return not self.queue
        return hold.descends_from(self.inside[-1])

    def let_in(self) -> list[hub.Ticket]:
        """Let in who may go now; returns whom to wake."""
        woken = []
        while (hold := self._next()) is not None:
            del self.queue[hold]
            hold.go_in()
            if hold.came is not None:
                woken.append(hold.came)
        if not woken and self.inside and self.inside[-1].back is not None:
            woken.append(self.inside[-1].back)
        return woken

    def _next(self) -> Hold | None:
        if not self.inside:
            return next(iter(self.queue), None)
        waiting = [
            hold for leg in self.inside[-1].legs.values() for hold in leg.waiters
            if hold.lock is self and hold.state is State.WAITING
        ]  # fmt: skip
        return min(waiting, key=lambda hold: hold.number, default=None)

    def forget_lost(self) -> list[hub.Ticket]:
        """Take out whose thread has ended in the middle of a call, which nothing will ever go on with."""
        lost = [hold for hold in (*self.inside, *self.queue) if hold.is_lost()]
        return [ticket for hold in lost for ticket in hold.depart()]


class Hold:
    """The place of one call on one object; see the table at the top."""

    __slots__ = (
        "_begun", "_noted", "_runner", "_seconds", "back", "call", "came", "legs", "lock", "number", "state",
    )  # fmt: skip

    def __init__(self, lock: _ObjectLock, call: Call, seconds: float) -> None:
        self.lock = lock
        self.call = call
        self.legs: dict[bytes, Leg] = {}
        self.state = State.WAITING
        self.number = next(_numbers)
        #: While it waits: that it is let in, and that it is topmost again.
        self.came: hub.Ticket | None = None
        self.back: hub.Ticket | None = None
        self._seconds = seconds
        self._runner = hub.getcurrent()
        #: True once a native thread runs the method; only that knows when it ends.
        self._begun = False
        self._noted: list[Leg] = []

    def __repr__(self) -> str:
        return f"<Hold {self.title} {self.state.value}, {len(self.legs)} legs>"

    @property
    def title(self) -> str:
        """Name object and method for people; a whole id would let everybody who reads it reach the object."""
        owner = self.call.method.owner
        kind = type(owner if owner.delegate is None else owner.delegate).__name__
        return f"{kind} {owner.objectGUID[:6]}.{self.call.method_name}"

    def descends_from(self, other: Hold) -> bool:
        """Tell whether an outgoing call of the other one, which still waits for that, has led to this one."""
        legs = other.legs
        return bool(legs) and any(call_id in legs for call_id in self.call.path)

    def is_waiting(self) -> bool:
        """Tell whether its method has not begun."""
        return self.state is State.WAITING

    def is_lost(self) -> bool:
        """Tell whether its thread has ended; a method in a thread of the pool ends by itself."""
        return bool(self.call.caller.state.ended) and not self._begun

    # -- in the book -----------------------------------------------------------------------------------------

    def begin(self) -> list[Hold]:
        """Go in or wait; returns the ring that waiting would close, if there is one."""
        self.call.hold = self
        if self.lock.admits(self):
            self.go_in()
            return []
        self.came = hub.Ticket()
        self.lock.queue[self] = None
        self._note_waiting()
        return find_ring(self)

    def go_in(self) -> None:
        """Be the one inside."""
        self.state = State.INSIDE
        self.lock.inside.append(self)
        self._forget_waiting()

    def depart(self) -> list[hub.Ticket]:
        """Be out, wherever it was; returns whom to wake."""
        if self.state is State.LEFT:
            return []
        self.lock.queue.pop(self, None)
        if self.state is State.INSIDE:
            self.lock.inside.remove(self)
        self.state = State.LEFT
        self.call.hold = None
        self._forget_waiting()
        for leg_id in self.legs:
            _legs.pop(leg_id, None)
        self.legs.clear()
        return self.lock.let_in()

    def waits_for(self) -> list[Hold]:
        """Return the calls that have to go on before this one can, as far as they are known here."""
        inside = self.lock.inside
        if self.state is State.WAITING:
            return inside[self._place() :]
        if self.back is not None:
            return inside[inside.index(self) + 1 :]
        return [hold for leg in self.legs.values() if leg.is_own for hold in leg.waiters]

    def _place(self) -> int:
        """Return how many of those inside it does not wait for: up to the topmost that has led to it."""
        for call_id in reversed(self.call.path):
            leg = _legs.get(call_id)
            if leg is not None and leg.hold.lock is self.lock:
                return self.lock.inside.index(leg.hold) + 1
        return 0

    def _note_waiting(self) -> None:
        for call_id in self.call.path:
            leg = _legs.get(call_id)
            if leg is not None:
                leg.waiters.add(self)
                self._noted.append(leg)

    def _forget_waiting(self) -> None:
        for leg in self._noted:
            leg.waiters.discard(self)
        self._noted.clear()

    # -- the method ------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """The method has ended, or the call gives up waiting; from any thread, once or more often."""
        _do(self.depart)

    def run_in_thread(self, function: Callable[..., Any], offload: Callable[[Callable[..., Any]], Any]) -> Any:
        """Run the method by `offload`; the object is free when the thread is through, however the call ends."""

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            if not self._begin_in_thread():
                raise CallCancelled("cancelled before it was started")
            try:
                return function(*args, **kwargs)
            finally:
                self.leave()

        try:
            return offload(run)
        finally:
            _do(self._abandon)

    def _begin_in_thread(self) -> bool:
        with _book:
            self._begun = self.state is State.INSIDE
            self._runner = hub.getcurrent()
        _settle()
        return self._begun

    def _abandon(self) -> list[hub.Ticket]:
        return [] if self._begun else self.depart()

    def go_out(self, scope: Scope, name: str) -> Leg:
        """Return the leg for an outgoing call, to be used with `with`."""
        return Leg(self, scope, name, self._runner is hub.getcurrent())

    def come_back(self) -> None:
        """Wait until everything that outgoing calls have led in here, and no longer wait for, is out.

        Raises:
            DeadLockError: that took too long.
        """
        inside = self.lock.inside
        if self.state is not State.INSIDE or inside[-1] is self:
            return
        with _book:
            if self.state is not State.INSIDE or inside[-1] is self:
                return
            ticket = self.back = hub.Ticket()
            self._note_waiting()
        try:
            _settle()
            if not ticket.wait(self._seconds) and inside[-1] is not self:
                raise _error_of(too_long_inside, self, self._seconds)
        finally:
            _do(self._came_back)

    def _came_back(self) -> list[hub.Ticket]:
        self.back = None
        self._forget_waiting()
        return []


class Leg:
    """One outgoing call of a call that is inside; its id lets back in what it leads to.

    `is_own`: the method itself waits for it, and not a greenlet that it has spawned.
    """

    __slots__ = ("_scope", "_token", "hold", "id", "is_own", "name", "waiters")

    def __init__(self, hold: Hold, scope: Scope, name: str, is_own: bool) -> None:
        self.id = make_call_id()
        self.name = name
        self.is_own = is_own
        #: Calls that it has led to and that wait for an object.
        self.waiters: set[Hold] = set()
        self.hold = hold
        self._scope = scope
        self._token: Token[Scope | None] | None = None

    def __repr__(self) -> str:
        return f"<Leg {self.hold.title} to {self.name}>"

    def __enter__(self) -> None:
        hold, scope = self.hold, self._scope
        with _book:
            if hold.state is State.INSIDE:
                hold.legs[self.id] = _legs[self.id] = self
        _settle()
        path = (*hold.call.path, self.id)[-MAX_PATH:]
        self._token = enter_scope(Onward(scope.deadline, path, scope.trace, scope.call))

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        assert self._token is not None
        leave_scope(self._token)
        _do(self._end)
        # Whoever is cancelled shall end soon, and not go on.
        if self.is_own and not (kind is not None and issubclass(kind, (CallCancelled, hub.GreenletExit))):
            self.hold.come_back()

    def _end(self) -> list[hub.Ticket]:
        self.hold.legs.pop(self.id, None)
        _legs.pop(self.id, None)
        return []


def _forget_in_child() -> None:
    """A forked child has none of the calls that are inside."""
    global _book
    _book = hub.NativeLock()
    _locks.clear()
    _legs.clear()
    _departures.clear()


os.register_at_fork(after_in_child=_forget_in_child)
