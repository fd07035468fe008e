"""Bounded pools of native threads for methods that block outside gevent.

The threads are plain ones that wait in a queue, without a greenlet of their own: where the process ends while one
wakes up, a greenlet on its stack would take the process down with a segmentation fault (CPython up to 3.13 unwinds
such threads; tried with 3.12 and gevent's own pool).
"""

from __future__ import annotations

import os
import weakref
from _queue import SimpleQueue
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVar

from gevent.hub import Waiter

from gpyro._hub.state import HubState, current_state, run_in_hub_of
from gpyro._hub.threads import start_native_thread
from gpyro.errors import ServerBusyError

__all__ = ["OffloadPool", "compute"]

T = TypeVar("T")

#: What a thread is asked to do: context, function, arguments, and who waits for it.
Task = tuple[Context, Callable[..., Any], Any, Any, Any]


class OffloadPool:
    """At most `threads` native threads, and at most `queue` calls that wait for one.

    Resources: the owner calls `close`; a running function cannot be stopped, only abandoned.
    """

    def __init__(self, state: HubState, threads: int, queue: int) -> None:
        self._state = state
        self._threads = threads
        self._queue = queue
        self._closed = False
        #: While calls are under way the loop has something to wait for.
        self._hold = state.loop.async_()
        self._begin()
        state.tenants.add(self)

    def _begin(self) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._pid = os.getpid()
        self._alive = 0
        #: Calls that run or wait for a thread.
        self._unfinished = 0

    def __repr__(self) -> str:
        return f"<OffloadPool {self.busy} of {self._threads} threads busy, {self._waiting()} calls waiting>"

    @property
    def busy(self) -> int:
        """Threads that run something."""
        return min(self._unfinished, self._threads)

    def _waiting(self) -> int:
        return max(self._unfinished - self._threads, 0)

    def run(self, context: Context, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run the function in a thread, within `context`, and wait for it without holding the hub.

        Raises:
            ServerBusyError: too many calls wait for a thread already, or the pool has been closed.
        """
        self._check_room()
        waiter = Waiter(self._state.hub)
        self._tasks.put((context, function, args, kwargs, waiter))
        value, error = waiter.get()
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
        if self._unfinished >= self._threads + self._queue:
            raise ServerBusyError(
                f"{self._waiting()} offloaded calls wait for {self._threads} threads, limit is {self._queue} "
                "(offload_queue); try again later"
            )
        if self._unfinished >= self._alive and self._alive < self._threads:
            self._start_thread()
        self._unfinished += 1
        if self._unfinished == 1:
            self._hold.start(_nothing)

    def _start_thread(self) -> None:
        tasks = self._tasks
        try:
            start_native_thread(lambda: self._serve(tasks))
        except RuntimeError as exc:
            if not self._alive:
                raise ServerBusyError(f"no thread for an offloaded call: {exc}; try again later") from exc
            return  # Those that there are will do it.
        self._alive += 1

    def _serve(self, tasks: SimpleQueue[Task | None]) -> None:
        """Take tasks until None comes; runs in a thread of the pool."""
        while True:
            task = tasks.get()
            if task is None:
                return
            run_in_hub_of(self._state, self._work(*task))
            del task  # Nothing of it is kept until the next one comes.

    def _work(
        self, context: Context, function: Callable[..., Any], args: Any, kwargs: Any, waiter: Any
    ) -> Callable[[], None]:
        outcome: tuple[Any, BaseException | None]
        try:
            outcome = (context.run(function, *args, **kwargs), None)
        except BaseException as exc:
            outcome = (None, exc)
        return lambda: self._ended(waiter, outcome)

    def _ended(self, waiter: Any, outcome: tuple[Any, BaseException | None]) -> None:
        self._unfinished -= 1
        if not self._unfinished:
            self._let_go()
        waiter.switch(outcome)

    def close(self) -> None:
        """Let the threads end when they are done; waits for none of them."""
        if not self._closed:
            self._closed = True
            for _ in range(self._alive):
                # Those that are busy take it afterwards.
                self._tasks.put(None)
            if not self._unfinished:
                self._let_go()

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
            self.close()
            self._let_go()


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
