"""Other threads: real locks in patched and unpatched processes, and calls that cross into a hub."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from gevent import monkey
from gevent._hub_local import get_hub_if_exists
from gevent.hub import MAIN_THREAD_IDENT

from gpyro._hub.state import HubState, run_in_hub_of

__all__ = ["NativeLock", "call_in_hub", "join_thread", "native_event", "start_native_thread", "thread_name"]

T = TypeVar("T")

#: A lock of the operating system's threads, also where `threading` is patched. Hold it for a few lines that
#: never switch greenlets.
NativeLock: Callable[[], Any] = monkey.get_original("_thread", "allocate_lock")

_native_ident: Callable[[], int] = monkey.get_original("_thread", "get_ident")
_start_new_thread = monkey.get_original("_thread", "start_new_thread")


def start_native_thread(function: Callable[[], object]) -> None:
    """Run it in a thread of the operating system that does not keep the process alive."""
    _start_new_thread(function, ())


def native_event() -> Any:
    """Return a locked lock: `release` is "go", `acquire` waits for it, also with a time-out."""
    lock = NativeLock()
    lock.acquire()
    return lock


def thread_name(ident: int) -> str:
    """Return the name of a thread by its native id, for messages."""
    if ident == MAIN_THREAD_IDENT:
        # In a patched process `threading` knows greenlets, not the threads of the system.
        return f"MainThread ({ident})"
    for thread in threading.enumerate():
        if thread.ident == ident:
            return f"{thread.name} ({ident})"
    return f"thread {ident}"


def join_thread(ident: int, seconds: float) -> None:
    """Wait for a thread of the `threading` module to end, with this whole thread waiting."""
    for thread in threading.enumerate():
        if thread.ident == ident and seconds > 0:
            thread.join(seconds)


def call_in_hub(state: HubState, function: Callable[[], T], timeout_seconds: float) -> T:
    """Call `function` in the hub of the thread that `state` belongs to, and return what it returns.

    From that thread itself it is called at once. From another one the caller's whole thread waits.

    Raises:
        RuntimeError: that hub did not run within the time.
    """
    if get_hub_if_exists() is state.hub or state.thread_id == _native_ident():
        return function()
    done = native_event()
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((function(), None))
        except BaseException as exc:
            outcome.append((None, exc))
        finally:
            done.release()

    run_in_hub_of(state, run)
    if not done.acquire(timeout=timeout_seconds):
        raise RuntimeError(f"the hub of {thread_name(state.thread_id)} did not run for {timeout_seconds:g} s")
    value, error = outcome[0]
    if error is not None:
        raise error
    return value  # type: ignore[no-any-return]
