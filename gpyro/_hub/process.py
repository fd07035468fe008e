"""The process around gpyro: orderly ends on signals, and what is still to be done at exit."""

from __future__ import annotations

import atexit
import signal
import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar

from gevent._hub_local import get_hub_if_exists

from gpyro._hub.state import FINISH_SECONDS, HubState, current_state, fork_epoch

__all__ = ["Signals", "at_exit", "flush_at_exit", "pass_on_interrupt"]


def at_exit(function: Callable[[], object]) -> None:
    """Call it when this process ends in order; not in forked children."""
    epoch = fork_epoch()

    def run() -> None:
        if fork_epoch() == epoch:
            function()

    atexit.register(run)


#: What Python does with them unless told otherwise.
_DEFAULTS: dict[int, Any] = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}


def flush_at_exit() -> None:
    """At the end of the process, send what its main thread still has queued."""
    hub = get_hub_if_exists()
    state = getattr(hub, "gpyro_state", None)
    if state is not None:
        state.finish_output(FINISH_SECONDS)


class Signals:
    """Inside the block, SIGTERM and SIGINT call `on_signal(number)` in the hub.

    Only in the main thread, and only where the handlers are Python's defaults; they are back afterwards. A
    second signal of the same kind does what it would have done without. Several blocks may be open at a time,
    in greenlets of their own; each is called.
    """

    #: Open blocks that watch each signal.
    _users: ClassVar[Counter[int]] = Counter()

    def __init__(self, on_signal: Callable[[int], object]) -> None:
        self._on_signal = on_signal
        self._watchers: dict[int, Any] = {}

    def __repr__(self) -> str:
        return f"<Signals watching {sorted(map(int, self._watchers))}>"

    def __enter__(self) -> Signals:
        if threading.current_thread() is not threading.main_thread():
            return self
        # The loop's own watchers: a Python handler would run only when the loop's wait happens to end.
        loop = current_state().loop
        for number, default in _DEFAULTS.items():
            if signal.getsignal(number) == default:
                watcher = loop.signal(number, ref=False)
                watcher.start(self._in_hub, number)
                self._watchers[number] = watcher
                self._users[number] += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _in_hub(self, number: int) -> None:
        self._stop()
        self._on_signal(number)

    def _stop(self) -> None:
        watchers, self._watchers = self._watchers, {}
        for number, watcher in watchers.items():
            watcher.stop()
            watcher.close()
            self._users[number] -= 1
            if not self._users[number]:
                # The loop leaves the system's default behind; Python's own handler has to be set again.
                signal.signal(number, _DEFAULTS[number])


def pass_on_interrupt(state: HubState) -> None:
    """A KeyboardInterrupt came up in a greenlet that is not the main program: raise it there too, soon.

    Python raises a ctrl-C in whatever runs at that moment. Not where SIGINT is watched, or is the program's own:
    then none comes from there.
    """
    number = signal.SIGINT
    if state.hub.main_hub and signal.getsignal(number) is _DEFAULTS[number] and not Signals._users[number]:
        state.soon(state.hub.handle_system_error, KeyboardInterrupt, KeyboardInterrupt())
