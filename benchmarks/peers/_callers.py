"""Many callers at once, for peers that come with threads or greenlets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from time import perf_counter
from typing import Any

import gevent
import gevent.queue

from benchmarks.peer import split_calls

#: One caller: it makes as many calls as it is told.
Caller = Callable[[int], None]
#: What a loop sleeps is a multiple of this; what is nearer is waited for by asking again and again.
TICK_SECONDS = 0.001


def call_in_greenlets(call: Callable[[Any], Any], value: Any, calls: int, width: int) -> None:
    """`width` greenlets share one `call`; the first error is raised here."""

    def run(count: int) -> None:
        for _ in range(count):
            call(value)

    call_each_in_greenlets([run] * width, calls)


def call_each_in_greenlets(callers: Sequence[Caller], calls: int) -> None:
    """One greenlet for each caller, which gets its share of the calls; the first error is raised here."""
    shares = split_calls(calls, len(callers))
    greenlets = [gevent.spawn(*pair) for pair in zip(callers, shares, strict=True)]
    gevent.joinall(greenlets, raise_error=True)


def call_in_threads(callers: Sequence[Caller], calls: int) -> None:
    """One thread for each caller, which gets its share of the calls; the first error is raised here."""
    errors: list[BaseException] = []

    def run(caller: Caller, count: int) -> None:
        try:
            caller(count)
        except BaseException as exc:
            errors.append(exc)

    shares = split_calls(calls, len(callers))
    threads = [threading.Thread(target=run, args=pair) for pair in zip(callers, shares, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def pace_in_greenlets(callers: Sequence[Caller], starts: Sequence[float]) -> list[float]:
    """See `Client.echo_paced`; a greenlet for each caller, and one that hands out the starts."""
    due: Any = gevent.queue.SimpleQueue()
    took: list[float] = []
    begun = perf_counter()

    def run(caller: Caller) -> None:
        while (start := due.get()) is not None:
            caller(1)
            took.append(perf_counter() - begun - start)

    greenlets = [gevent.spawn(run, caller) for caller in callers]
    for start in starts:
        while (ahead := begun + start - perf_counter()) > 0:
            if ahead > 2 * TICK_SECONDS:
                gevent.sleep(ahead - TICK_SECONDS)
            else:
                # Unlike sleep(0), this lets the loop look at its sockets; with this priority it does not wait for
                # a moment in which they are quiet.
                gevent.idle(2)
        due.put(start)
    for _ in callers:
        due.put(None)
    gevent.joinall(greenlets, raise_error=True)
    return took


def pace_in_threads(callers: Sequence[Caller], starts: Sequence[float]) -> list[float]:
    """See `Client.echo_paced`; a thread for each caller, and this one hands out the starts."""
    due: SimpleQueue[float | None] = SimpleQueue()
    took: list[float] = []
    begun = perf_counter()

    def run(calls: int, caller: Caller) -> None:
        while (start := due.get()) is not None:
            caller(1)
            took.append(perf_counter() - begun - start)

    def hand_out(calls: int) -> None:
        try:
            for start in starts:
                while (ahead := begun + start - perf_counter()) > 0:
                    time.sleep(ahead)
                due.put(start)
        finally:
            for _ in callers:
                due.put(None)

    call_in_threads([hand_out, *(partial(run, caller=caller) for caller in callers)], 0)
    return took
