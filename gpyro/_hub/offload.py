"""Bounded pools of native threads for methods that block outside gevent.

The threads are plain ones that wait in a queue, without a greenlet of their own: where the process ends while one
wakes up, a greenlet on its stack would take the process down with a segmentation fault (CPython up to 3.13 unwinds
such threads; tried with 3.12 and gevent's own pool).

A thread that waits in a remote call does not count as one that runs, since what it waits for may need a thread of
the same pool. So there are up to `threads` that run, and up to MOST_WAITING times as many beside them that wait.
All of the book is kept in the hub that the pool belongs to; a thread says only that it waits, in the set `_away`.
"""

from __future__ import annotations

import os
import time
import weakref
from _queue import Empty, SimpleQueue
from collections import Counter
from collections.abc import Callable
from contextvars import Context
from typing import Any, NamedTuple, TypeVar

from gevent import monkey
from gevent.hub import Waiter

from gpyro._hub.process import at_exit
from gpyro._hub.state import HubState, Timer, current_state, leave_thread, run_in_hub_of, take_thread
from gpyro._hub.threads import NativeLock, start_native_thread
from gpyro.errors import ServerBusyError

__all__ = ["MOST_WAITING", "OffloadPool", "compute"]

T = TypeVar("T")

#: Threads that may wait in remote calls, for each one that may run. Each costs about four descriptors: with ten
#: that run, fifty in all stay well below the 1024 that a process usually has.
MOST_WAITING = 4
#: Seconds that a thread above `threads` is kept for the next call, with its connections.
KEPT_SECONDS = 10.0
#: Methods that an error names.
MAX_NAMED = 5
#: Longest that the end of the process waits for threads that are about to end.
LEAVING_SECONDS = 2.0


class _Task(NamedTuple):
    """What a thread is asked to do, and who waits for it since when."""

    context: Context
    function: Callable[..., Any]
    args: Any
    kwargs: Any
    waiter: Any
    since: float

    def name(self) -> str:
        return str(getattr(self.function, "__qualname__", None) or type(self.function).__name__)


class OffloadPool:
    """At most `threads` native threads that run, some that wait in remote calls, and `queue` calls that wait.

    Args:
        wait_seconds: a call waits for as long while none gets a thread and none ends; None: for ever.

    Resources: the owner calls `close`; a running function cannot be stopped, only abandoned.
    """

    def __init__(self, state: HubState, threads: int, queue: int, wait_seconds: float | None = None) -> None:
        self._state = state
        self._threads = threads
        self._queue = queue
        self._wait_seconds = wait_seconds
        self._closed = False
        #: While calls are under way the loop has something to wait for.
        self._hold = state.loop.async_()
        self._begin()
        state.tenants.add(self)

    def _begin(self) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._pid = os.getpid()
        self._alive = 0
        #: Calls that run, and those that wait for a thread, longest first; by who waits for them.
        self._running: dict[Any, _Task] = {}
        self._queued: dict[Any, _Task] = {}
        #: Threads that wait in a remote call; each adds and removes itself.
        self._away: set[_Seat] = set()
        self._retiring = False
        #: When a call last got a thread, or ended; and what looks whether that is too long ago.
        self._moved = 0.0
        self._timer: Timer | None = None

    def __repr__(self) -> str:
        return (
            f"<OffloadPool {self.busy} of {self._threads} threads busy, {len(self._away)} in remote calls, "
            f"{len(self._queued)} calls waiting>"
        )

    @property
    def busy(self) -> int:
        """Threads that run something, and do not wait in a remote call."""
        return max(len(self._running) - len(self._away), 0)

    @property
    def unfinished(self) -> int:
        """Calls that run or wait for a thread."""
        return len(self._running) + len(self._queued)

    def run(self, context: Context, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run the function in a thread, within `context`, and wait for it without holding the hub.

        Raises:
            ServerBusyError: too many calls wait for a thread already, or none got free in time, or the pool has
                been closed. The function was not started.
        """
        self._check_room()
        waiter = Waiter(self._state.hub)
        if not self.unfinished:
            self._hold.start(_nothing)
        self._queued[waiter] = _Task(context, function, args, kwargs, waiter, time.monotonic())
        try:
            self._dispatch()
            value, error = waiter.get()
        except BaseException:
            # Whoever was cancelled before a thread has taken it shall not run any more.
            if self._queued.pop(waiter, None) is not None and not self._state.ended:
                self._has_changed()
            raise
        if error is not None:
            try:
                raise error
            finally:
                del error
        return value

    def _check_room(self) -> None:
        if self._closed:
            raise ServerBusyError("the threads for offloaded calls have ended with their server")
        if self._pid != os.getpid():
            self._begin()  # A forked child has none of the threads.
        if len(self._queued) >= self._queue and not self._has_room():
            raise ServerBusyError(
                f"{len(self._queued)} offloaded calls wait for {self._threads} threads, limit is {self._queue} "
                "(offload_queue); try again later"
            )

    # -- in the hub ------------------------------------------------------------------------------------------

    def _has_room(self) -> bool:
        """Tell whether a call more may run."""
        running = len(self._running)
        return running < self._threads * (1 + MOST_WAITING) and running - len(self._away) < self._threads

    def _dispatch(self) -> None:
        """Hand out what waits, as far as threads may run it."""
        while self._queued and self._has_room():
            if self._alive <= len(self._running) and not self._start_thread():
                break
            waiter = next(iter(self._queued))
            self._running[waiter] = task = self._queued.pop(waiter)
            self._moved = time.monotonic()
            self._tasks.put(task)
        if self._queued:
            self._watch_waits()

    def _start_thread(self) -> bool:
        tasks, seat = self._tasks, _Seat(self)
        self._alive += 1
        try:
            start_native_thread(lambda: self._serve(tasks, seat))
        except RuntimeError as exc:
            self._alive -= 1
            if not self._alive:
                raise ServerBusyError(f"no thread for an offloaded call: {exc}; try again later") from exc
            return False  # Those that there are will do it.
        return True

    def _ended(self, waiter: Any, outcome: tuple[Any, BaseException | None]) -> None:
        del self._running[waiter]
        self._moved = time.monotonic()
        self._has_changed()
        waiter.switch(outcome)

    def _has_changed(self) -> None:
        """There is a thread that may run something, or one call less."""
        self._dispatch()
        if not self._queued:
            self._end_timer()
        if self._closed:
            self._end_threads(self._alive - len(self._running))
        if not self.unfinished:
            self._let_go()

    def _watch_waits(self) -> None:
        """See that the call that has waited longest does not for ever."""
        if self._timer is None and self._wait_seconds is not None:
            first = next(iter(self._queued.values()))
            over = max(first.since, self._moved) + self._wait_seconds
            self._timer = self._state.later(over - time.monotonic(), self._wait_is_over)

    def _wait_is_over(self) -> None:
        self._end_timer()
        if self._pid != os.getpid() or self._wait_seconds is None:
            return  # In a forked child; those who wait are its parent's.
        until = time.monotonic() - self._wait_seconds
        text = self._describe()
        for task in [task for task in self._queued.values() if max(task.since, self._moved) <= until]:
            if self._queued.pop(task.waiter, None) is not None:
                task.waiter.switch((None, ServerBusyError(text)))
        self._has_changed()

    def _end_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _describe(self) -> str:
        names = Counter(task.name() for task in self._running.values()).most_common()
        told = [f"{name} ({count})" for name, count in names[:MAX_NAMED]]
        if len(names) > MAX_NAMED:
            told.append(f"{len(names) - MAX_NAMED} methods more")
        return (
            f"no thread for an offloaded call: {len(self._running)} threads are in use, none got free within "
            f"{self._wait_seconds:g} s (busy_wait_seconds), and the call was not started. They run "
            f"{', '.join(told)}; {len(self._away)} of them wait in remote calls. Limits are {self._threads} that "
            f"run (offload_threads) and {self._threads * MOST_WAITING} more that wait in remote calls; raise "
            "offload_threads, let offloaded methods call each other less deep, or try again later"
        )

    # -- in a thread of the pool -----------------------------------------------------------------------------

    def _serve(self, tasks: SimpleQueue[_Task | None], seat: _Seat) -> None:
        """Take tasks until None comes."""
        take_thread(seat.wrap)
        while True:
            try:
                task = tasks.get(True, KEPT_SECONDS if self._alive > self._threads else None)
            except Empty:
                if not self._retiring:
                    self._retiring = True
                    run_in_hub_of(self._state, self._retire)
                continue
            if task is None:
                try:
                    leave_thread()
                finally:
                    _leaving.note(-1)
                return
            run_in_hub_of(self._state, self._work(task, seat))
            del task  # Nothing of it is kept until the next one comes.

    def _work(self, task: _Task, seat: _Seat) -> Callable[[], None]:
        outcome: tuple[Any, BaseException | None]
        waiter = task.waiter
        seat.sit_down(waiter)
        try:
            outcome = (task.context.run(task.function, *task.args, **task.kwargs), None)
        except BaseException as exc:
            outcome = (None, exc)
        seat.get_up()
        return lambda: self._ended(waiter, outcome)

    # -- the end ---------------------------------------------------------------------------------------------

    def _retire(self) -> None:
        """A thread had nothing to do for a while: end those above `threads` that have nothing to do now."""
        self._retiring = False
        self._end_threads(min(self._alive - self._threads, self._alive - len(self._running)))

    def _end_threads(self, count: int) -> None:
        for _ in range(count):
            self._alive -= 1
            _leaving.note(1)
            self._tasks.put(None)

    def close(self) -> None:
        """Let the threads end when they are done; waits for none of them."""
        if not self._closed:
            self._closed = True
            self._has_changed()

    def _let_go(self) -> None:
        self._hold.stop()
        if self._closed:
            self._hold.close()

    def abandon(self) -> None:
        """Forget the threads: this is a forked child, which has none of them."""
        self._closed = True

    def hub_ended(self) -> None:
        """The thread ends: what still runs is for nobody. In a forked child the next call begins anew."""
        if self._pid == os.getpid():
            self._closed = True
            self._queued.clear()
            self._end_timer()
            # Those that are busy take it afterwards.
            self._end_threads(self._alive)
            self._let_go()


class _Leaving:
    """Counts threads that have nothing to do and are told to end, which takes them a moment.

    A process that ends in that moment would take them down while they end their hubs, and they it.
    """

    def __init__(self) -> None:
        self._count = 0
        self._lock = NativeLock()

    def __repr__(self) -> str:
        return f"<{self._count} threads are leaving>"

    def note(self, change: int) -> None:
        """So many more, or less."""
        with self._lock:
            self._count += change

    def wait(self) -> None:
        """At the end of the process: wait for them, for at most LEAVING_SECONDS."""
        until = time.monotonic() + LEAVING_SECONDS
        while self._count > 0 and time.monotonic() < until:
            _native_sleep(0.001)


_leaving = _Leaving()
_native_sleep: Any = monkey.get_original("time", "sleep")
# Made early, so called late: after the ends of daemons that end with the process.
at_exit(_leaving.wait)


class _Seat:
    """One thread of a pool: notes while what it runs waits in a remote call, in whichever of its greenlets.

    Only the thread itself changes it, but for the pool's set, where adding and removing are one step each.
    """

    def __init__(self, pool: OffloadPool) -> None:
        self._pool = pool
        self._away = pool._away
        #: Who waits for what it runs; greenlets that an earlier method has left behind do not count.
        self._task: Any = None
        self._calls = 0

    def __repr__(self) -> str:
        return f"<_Seat {'idle' if self._task is None else 'busy'}, {self._calls} remote calls>"

    def sit_down(self, task: Any) -> None:
        """Something begins to run."""
        self._task = task

    def get_up(self) -> None:
        """It has ended."""
        self._task = None
        self._calls = 0
        self._away.discard(self)

    def wrap(self, switch: Callable[[], Any]) -> Callable[[], Any]:
        """Return the way into the thread's hub that notes who takes it."""

        def switch_away() -> Any:
            task = self._task
            if task is None:
                return switch()
            self._calls += 1
            self._away.add(self)
            pool = self._pool
            if pool._queued:
                run_in_hub_of(pool._state, pool._has_changed)
            try:
                return switch()
            finally:
                # Meanwhile the thread may have begun to run something else.
                if self._task is task:
                    self._calls -= 1
                    if not self._calls:
                        self._away.discard(self)

        return switch_away


#: Threads for gpyro's own arithmetic, and what may wait for one: half of a machine with four cores.
COMPUTE_THREADS, COMPUTE_QUEUE = 2, 10_000
_own: weakref.WeakKeyDictionary[HubState, OffloadPool] = weakref.WeakKeyDictionary()


def compute(function: Callable[[], T]) -> T:
    """Run gpyro's own arithmetic, the salting of passphrases, in a native thread, and wait for it.

    Raises:
        ServerBusyError: too much waits already.
    """
    state = current_state()
    pool = _own.get(state)
    if pool is None:
        pool = _own[state] = OffloadPool(state, COMPUTE_THREADS, COMPUTE_QUEUE)
    result: T = pool.run(Context(), function, (), {})
    return result


def _nothing() -> None:
    pass
