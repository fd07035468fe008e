"""Names the method that holds the hub: a native thread that looks whether the loop still turns.

A hub that waits for events is idle, not held, however long it waits; what counts is one call that does not give
the loop back. Nor is a hub held that nobody runs: between two `handleRequests` the thread is the program's. The
watching thread looks twice a second and costs the calls nothing.
"""

from __future__ import annotations

import logging
import sys
import traceback
from types import FrameType

from gpyro._hub.state import HubState
from gpyro._hub.threads import native_event, start_native_thread

__all__ = ["Watchdog"]

#: Seconds between two looks.
LOOK_SECONDS = 0.5
#: The local variable that holds the method, in the function that runs a call.
CALL_MARK = "gpyro_method"
_log = logging.getLogger("gpyro.watchdog")


class Watchdog:
    """Watches one hub; `limit_seconds` is how long it may be held before a warning names who holds it.

    Resources: the owner closes it.
    """

    def __init__(self, state: HubState, limit_seconds: float) -> None:
        self._state = state
        self._limit = limit_seconds
        self._stop = native_event()
        self.reports = 0
        start_native_thread(self._run)

    @classmethod
    def ensure(cls, state: HubState, limit_seconds: float) -> None:
        """See that this hub is watched; one is enough for all daemons of a thread. 0 seconds: not watched."""
        if state.watchdog is None and limit_seconds:
            state.watchdog = cls(state, limit_seconds)

    def __repr__(self) -> str:
        return f"<Watchdog of thread {self._state.thread_id}, {self.reports} reports>"

    def close(self) -> None:
        """End the thread."""
        if self._stop.locked():
            self._stop.release()

    def _run(self) -> None:
        held_looks, reported = 0, False
        last: tuple[int, tuple[int, ...]] = (-1, ())
        look = min(LOOK_SECONDS, self._limit / 2)
        while not self._stop.acquire(timeout=look):
            if self._state.ended:
                return
            frame = sys._current_frames().get(self._state.thread_id)
            holder = None if frame is None or _is_waiting(frame) else self._find_holder(frame)
            seen = (self._turns(), () if holder is None else holder[0])
            if holder is None or seen != last:
                held_looks, last, reported = 0, seen, False
                frame = None  # which would keep what is in it
                continue
            held_looks += 1
            if held_looks * look >= self._limit and not reported:
                reported = True
                assert frame is not None
                self._report(holder[1], frame)
            del frame

    def _turns(self) -> int:
        try:
            return self._state.turns()
        except Exception:
            return -1  # The loop is gone; the next look sees that and ends.

    def _find_holder(self, frame: FrameType) -> tuple[tuple[int, ...], str] | None:
        """Return something that tells this call from others, and its method's name; None if nobody holds it."""
        at: FrameType | None = frame
        while at is not None:
            if CALL_MARK in at.f_code.co_varnames:
                found = at.f_locals
                return (id(at), found.get("request_id", 0)), f"{found.get(CALL_MARK)!r}"
            at = at.f_back
        return ((), "code outside of a remote call") if self._state.runs() else None

    def _report(self, name: str, frame: FrameType) -> None:
        self.reports += 1
        stack = "".join(traceback.format_stack(frame)[-6:])
        _log.warning(
            "%s holds the hub for more than %.1f s; nothing else is served meanwhile. Mark it @gpyro.offload, "
            "patch the process, or let it wait through gevent. It is at:\n%s",
            name, self._limit, stack,
        )


def _is_waiting(frame: FrameType) -> bool:
    """Tell whether the thread sits in the loop itself."""
    code = frame.f_code
    return code.co_name == "run" and "gevent" in code.co_filename
