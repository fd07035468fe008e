"""What commands share that print what happens until somebody has seen enough."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

__all__ = ["following", "format_time"]

#: Seconds between two looks whether anybody still reads what is printed.
LOOK_SECONDS = 0.5


@contextmanager
def following(stop: Callable[[], object]) -> Iterator[None]:
    """Inside the block, call `stop` on ctrl-C and SIGTERM, and when nobody reads any more what is printed."""
    from gpyro import hub

    running = [True]
    with hub.Signals(lambda number: stop()):
        hub.spawn_in(hub.current_state(), lambda: _stop_with_reader(stop, running))
        try:
            yield
        finally:
            running.clear()


def _stop_with_reader(stop: Callable[[], object], running: list[bool]) -> None:
    """Look for the reader, also if there is nothing to print."""
    from gpyro import hub

    try:
        poll = select.poll()
        # An error is told without being asked for: the other end of the pipe is closed.
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return  # no file: whoever replaced it reads it
    while running:
        if poll.poll(0):
            stop()
            return
        hub.sleep(LOOK_SECONDS)


def format_time(seconds: float, timespec: str = "seconds") -> str:
    """Write a time since 1970 as local time."""
    return datetime.fromtimestamp(seconds).isoformat(sep=" ", timespec=timespec)
