"""Many callers at once, for peers that come with threads or greenlets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import gevent

from benchmarks.peer import split_calls


def call_in_greenlets(call: Callable[[Any], Any], value: Any, calls: int, width: int) -> None:
    """`width` greenlets share one `call`; the first error is raised here."""

    def run(count: int) -> None:
        for _ in range(count):
            call(value)

    greenlets = [gevent.spawn(run, count) for count in split_calls(calls, width)]
    gevent.joinall(greenlets, raise_error=True)


def call_in_threads(callers: Sequence[Callable[[int], None]], calls: int) -> None:
    """One thread for each caller, which gets its share of the calls; the first error is raised here."""
    errors: list[BaseException] = []

    def run(caller: Callable[[int], None], count: int) -> None:
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
