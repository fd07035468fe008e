"""Bounded pools of native threads for methods that block outside gevent."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import Any

from gpyro._hub.state import HubState
from gpyro.errors import ServerBusyError

__all__ = ["OffloadPool"]


class OffloadPool:
    """At most `threads` native threads, and at most `queue` calls that wait for one.

    Resources: the owner calls `close`; a running function cannot be stopped, only abandoned.
    """

    def __init__(self, state: HubState, threads: int, queue: int) -> None:
        # Not at the top: it takes a fifth of the time of `import gpyro.proxy`, and few programs offload.
        from gevent.threadpool import ThreadPool

        self._pool = ThreadPool(threads, hub=state.hub)
        self._threads = threads
        self._queue = queue
        self._waiting = 0
        self._closed = False
        self.busy = 0

    def __repr__(self) -> str:
        return f"<OffloadPool {self.busy} of {self._threads} threads busy, {self._waiting} calls waiting>"

    def run(self, context: Context, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run the function in a thread, within `context`, and wait for it without holding the hub.

        Raises:
            ServerBusyError: too many calls wait for a thread already, or the pool has been closed.
        """
        if self._closed:
            raise ServerBusyError("the threads for offloaded calls have ended with their server")
        if self.busy >= self._threads and self._waiting >= self._queue:
            raise ServerBusyError(
                f"{self._waiting} offloaded calls wait for {self._threads} threads, limit is {self._queue} "
                "(offload_queue); try again later"
            )
        self._waiting += 1
        try:
            result = self._pool.spawn(_run_in, context, function, args, kwargs)
        finally:
            self._waiting -= 1
        self.busy += 1
        result.rawlink(self._ended)
        return result.get()

    def _ended(self, _: object) -> None:
        self.busy -= 1

    def close(self) -> None:
        """Let the threads end when they are done; waits for none of them."""
        if not self._closed:
            self.abandon()
            for _ in range(self._pool.size):
                # What ends a thread of the pool; those that are busy take it afterwards. The pool's own kill()
                # waits for them.
                self._pool.task_queue.put(None)

    def abandon(self) -> None:
        """Forget the threads: this is a forked child, which has none of them."""
        self._closed = True
        self._pool.fork_watcher.stop()
        self._pool.fork_watcher.close()


def _run_in(context: Context, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    return context.run(function, *args, **kwargs)
