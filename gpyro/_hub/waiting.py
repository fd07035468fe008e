"""How a greenlet waits: for a signal, for descriptors of the program's own, for a moment.

These are what `requestLoop` and `handleRequests` are made of. They work in patched and unpatched processes:
waiting in any greenlet, the main one included, is what makes this thread's hub run. A thread's hub is always
asked of `current_state`: one that we make ends with its thread, one that gevent makes does not.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Sequence
from typing import Any

import gevent
from gevent import monkey
from gevent._hub_local import get_hub_if_exists
from gevent.hub import Waiter

from gpyro._hub.state import Timer, current_state

_poll: Callable[[], select.poll] = monkey.get_original("select", "poll")

__all__ = ["Pacer", "Signal", "is_hub_greenlet", "pause", "run_pending", "sleep", "wait_for"]


#: How long one that has much to do keeps others waiting: less than a person or a heartbeat would notice.
TURN_SECONDS = 0.005


class Signal:
    """Something happened; set from the hub or any greenlet of its thread, where greenlets wait for it."""

    def __init__(self) -> None:
        self._waiters: list[Any] = []
        self.is_set = False

    def __repr__(self) -> str:
        return f"<Signal {'set' if self.is_set else 'waited for' if self._waiters else 'idle'}>"

    def set(self) -> None:
        """Wake those who wait; it stays set until the next wait returns."""
        if not self.is_set:
            self.is_set = True
            for waiter in self._waiters:
                waiter.hub.loop.run_callback(waiter.switch, None)


def wait_for(signal: Signal, others: Sequence[Any], timeout_seconds: float | None) -> list[Any]:
    """Wait until the signal is set, one of `others` is readable, or the time is over.

    Returns:
        Those of `others` that are readable. The signal is cleared.
    """
    hub = current_state().hub
    waiter = Waiter(hub)
    ready: list[Any] = []
    watchers = []
    timer = None
    try:
        for other in others:
            fd = other if isinstance(other, int) else other.fileno()
            watcher = hub.loop.io(fd, 1)
            watchers.append(watcher)
            watcher.start(_note_ready, other, ready, watcher, waiter)
        if timeout_seconds is not None:
            timer = Timer(hub.loop, timeout_seconds, waiter.switch, None)
        if not signal.is_set:
            signal._waiters.append(waiter)
            try:
                waiter.get()
            finally:
                signal._waiters.remove(waiter)
    finally:
        signal.is_set = False
        if timer is not None:
            timer.cancel()
        for watcher in watchers:
            watcher.stop()
            watcher.close()
    # A wait that was over before the loop looked at them has seen none.
    return ready or _readable(others)


def _readable(others: Sequence[Any]) -> list[Any]:
    """Return those that are readable now, without waiting."""
    by_descriptor = {other if isinstance(other, int) else other.fileno(): other for other in others}
    if not by_descriptor:
        return []
    poll = _poll()
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    return [by_descriptor[descriptor] for descriptor, found in poll.poll(0) if not found & select.POLLNVAL]


def _note_ready(other: Any, ready: list[Any], watcher: Any, waiter: Any) -> None:
    watcher.stop()
    ready.append(other)
    if len(ready) == 1:
        # At the end of this loop turn, so that others that are ready too come along.
        waiter.hub.loop.run_callback(waiter.switch, None)


def run_pending(turns: int = 2) -> None:
    """Let the hub look at its descriptors and run what is due, without waiting."""
    hub = current_state().hub
    for _ in range(turns):
        # A timer, and not sleep(0): callbacks that arm callbacks are run in one pass of up to thousands, in which
        # the loop looks at no descriptor; timers are due after it has looked.
        waiter = Waiter(hub)
        timer = Timer(hub.loop, 0, waiter.switch, None)
        try:
            waiter.get()
        finally:
            timer.cancel()


def pause() -> None:
    """Let all others run that can, those that wait for a descriptor or a time too; for long work, some ms each."""
    run_pending(1)


class Pacer:
    """For long work: lets others run now and then, and counts the seconds that were our own.

    Args:
        turn_seconds: how long nobody else runs.
    """

    def __init__(self, turn_seconds: float = TURN_SECONDS) -> None:
        self.seconds = 0.0
        self._turn_seconds = turn_seconds
        self._began = time.monotonic()

    def __repr__(self) -> str:
        return f"<Pacer, {self.seconds:.3f} s of work>"

    def give(self) -> None:
        """Let others run, if this turn has been long enough."""
        length = time.monotonic() - self._began
        if length > self._turn_seconds:
            self.seconds += length
            pause()
            self._began = time.monotonic()


def sleep(seconds: float) -> None:
    """Wait without holding the hub."""
    current_state()
    gevent.sleep(seconds)


def is_hub_greenlet() -> bool:
    """Tell whether the caller runs in the hub itself, where nothing may wait."""
    return gevent.getcurrent() is get_hub_if_exists()


