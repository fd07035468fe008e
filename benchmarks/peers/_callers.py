"""Many callers at once, for peers that come with threads or greenlets."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import gevent

from benchmarks.peer import split_calls

#: One caller: it makes as many calls as it is told.
Caller = Callable[[int], None]


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
    """See `Client.echo_paced`; a greenlet for each caller, which takes the next start when it is free.

    A loop sleeps for a millisecond or more, which is longer than most calls take. So the loop asks for the time in
    each of its turns, and never sleeps; the watcher's priority has it asked while sockets are busy, too.
    """
    hub = gevent.get_hub()
    coming = iter(starts)
    waiting: deque[tuple[float, Any]] = deque()
    took: list[float] = []
    begun = perf_counter()

    def run(caller: Caller) -> None:
        for start in coming:
            if begun + start > perf_counter():
                waiting.append((begun + start, gevent.getcurrent()))
                hub.switch()
            caller(1)
            took.append(perf_counter() - begun - start)

    def look() -> None:
        while waiting and waiting[0][0] <= perf_counter():
            waiting.popleft()[1].switch()

    watcher = hub.loop.idle()
    watcher.priority = hub.loop.MAXPRI
    watcher.start(look)
    try:
        gevent.joinall([gevent.spawn(run, caller) for caller in callers], raise_error=True)
    finally:
        watcher.stop()
        watcher.close()
    return took


def pace_in_threads(callers: Sequence[Caller], starts: Sequence[float]) -> list[float]:
    """See `Client.echo_paced`; a thread for each caller, which sleeps until the next start that nobody has."""
    coming = iter(starts)
    took: list[float] = []
    begun = perf_counter()

    def run(_calls: int, caller: Caller) -> None:
        for start in coming:
            ahead = begun + start - perf_counter()
            if ahead > 0:
                time.sleep(ahead)
            caller(1)
            took.append(perf_counter() - begun - start)

    call_in_threads([partial(run, caller=caller) for caller in callers], 0)
    return took
