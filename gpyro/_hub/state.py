"""What gpyro keeps for one gevent hub, that is for one OS thread: workers, the wheel, buffers, its end.

A hub that gpyro itself brought into a thread is destroyed when the thread ends, so that short threads leave
neither descriptors nor native threads behind. Connections register here and are closed then.
"""

from __future__ import annotations

import os
import sys
import time
import weakref
from collections.abc import Callable
from sys import getrefcount
from typing import Any, Protocol

import gevent
from gevent import get_hub, monkey
from gevent._hub_local import get_hub_if_exists
from greenlet import GreenletExit, greenlet

from gpyro._hub.memory import keep_freed_memory
from gpyro.configuration import config

__all__ = [
    "HubState", "Tenant", "Ticker", "Timer", "current_state", "fork_epoch", "is_current", "leave_thread",
    "run_in_hub_of", "run_soon_or_now", "spawn_in", "take_thread",
]  # fmt: skip

#: Slots of the wheel: a bit more than a minute at one tick a second; longer waits go round.
WHEEL_SLOTS = 64
#: A turn of the wheel that comes later than this, in seconds, was held up; nobody could be heard meanwhile.
HELD_SECONDS = 1.0
#: Large receive buffers kept for reuse per thread, and the size above which one is not kept.
KEPT_BUFFERS = 4
KEPT_BUFFER_BYTES = 4 * 1024 * 1024

#: Seconds that the end of a thread or process waits for peers to take what is queued, and then to close too.
FINISH_SECONDS = 5.0
LINGER_SECONDS = 0.25

#: The operating system's threads, also where `threading` is patched: there `_thread._local` belongs to greenlets.
_native_local = monkey.get_original("_thread", "_local")()
_fork_epoch = 0


def fork_epoch() -> int:
    """Return how many forks lie between the first process and this one; a change means "we are a child"."""
    return _fork_epoch


class Ticker(Protocol):
    """Something on the wheel."""

    wheel_slot: int
    stream: Any

    def tick(self) -> int:
        """Look at the time that passed; return the seconds until the next look, or 0 to leave the wheel."""
        ...

    def hub_ended(self) -> None:
        """The thread ends: let go of everything that belongs to its loop."""
        ...


class Tenant(Protocol):
    """Something that lives on a hub and has no stream: a daemon's service, a bridge."""

    def hub_ended(self) -> None:
        """The thread ends, or this is a forked child: let go of everything that belongs to the loop."""
        ...


#: Nobody waits for longer in one piece: over a year.
LONGEST_SECONDS = 5e7


class Timer:
    """A call at a later time that can be taken back."""

    __slots__ = ("_watcher",)

    def __init__(self, loop: Any, seconds: float, function: Callable[..., object], *args: object) -> None:
        # One of nan seconds would put all timers of the loop out of order.
        if seconds != seconds:
            raise ValueError(f"a timer of {seconds} seconds; a time is a number")
        self._watcher = loop.timer(min(max(seconds, 0.0), LONGEST_SECONDS))
        self._watcher.start(function, *args, update=True)

    def cancel(self) -> None:
        """Take it back; harmless when it has fired."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.stop()
            watcher.close()


class HubState:
    """One hub's share of gpyro.

    Resources: owned by the thread; `end` closes all of it and runs when the thread ends.
    Errors: what escapes a callback that runs in the hub goes to the hub's own error report.
    """

    def __init__(self, hub: Any, ours: bool) -> None:
        self.hub = hub
        #: How a remote call goes into the hub to wait there.
        self.switch: Callable[[], Any] = getattr(_native_local, "wrap", _unwrapped)(hub.switch)
        self.loop = hub.loop
        self.ours = ours
        #: The thread's native id, which `sys._current_frames` knows.
        self.thread_id: int = hub.thread_ident
        self.ended = False
        #: True while something makes this hub run without being called into (a patched process, requestLoop).
        self.loops_by_itself = 0
        self.members: weakref.WeakSet[Ticker] = weakref.WeakSet()
        self.tenants: weakref.WeakSet[Tenant] = weakref.WeakSet()
        #: Who waits for timers in greenlets: seconds that the loop may stand still where somebody else runs it.
        self.turns_wanted: dict[object, float] = {}
        #: Streams that have yet to send what is queued before they close.
        self.closing: set[Any] = set()
        self.watchdog: Any = None
        #: Called, from any thread, when there is something to do for a hub that a foreign loop may have to run.
        self.pokes: list[Callable[[], object]] = []
        #: By endpoint, what connections that are being opened wait for.
        self.doors: dict[Any, Any] = {}
        self.in_flight = 0
        #: Connections whose requests wait for a call to end, in the order in which they began to wait.
        self.waiting_for_slot: dict[Any, None] = {}
        #: Parked workers that are kept; a busy server's calls of one loop turn find theirs among them.
        self.kept_workers = config.idle_workers
        self._idle_workers: list[_Worker] = []
        self._slots: list[set[Ticker]] = [set() for _ in range(WHEEL_SLOTS)]
        self._at = 0
        self._scheduled = 0
        self._wheel_timer: Any = None
        self._turned = 0.0
        #: Seconds in which this hub was held and heard nobody, as far as the wheel noticed.
        self.held = 0.0
        self._buffers: list[bytearray] = []
        _states.add(self)

    def __repr__(self) -> str:
        return (
            f"<HubState of thread {self.thread_id}, {'ended, ' if self.ended else ''}{len(self.members)} members, "
            f"{len(self._idle_workers)} idle workers, {self._scheduled} on the wheel>"
        )

    def runs(self) -> bool:
        """Tell whether this hub answers without being called into."""
        return self.loops_by_itself > 0 or monkey.is_module_patched("socket")

    def turns(self) -> int:
        """Return how often the loop has gone round; safe from any thread."""
        return int(self.loop.iteration)

    # -- callbacks -------------------------------------------------------------------------------------------

    def soon(self, function: Callable[..., object], *args: object) -> None:
        """Call it in the hub before it next waits."""
        self.loop.run_callback(function, *args)

    def later(self, seconds: float, function: Callable[..., object], *args: object) -> Timer:
        """Call it in the hub after `seconds`."""
        return Timer(self.loop, seconds, function, *args)

    def report(self, context: object) -> None:
        """Hand the exception being handled to the hub's error report; nothing is dropped in silence."""
        self.hub.handle_error(context, *sys.exc_info())

    # -- workers ---------------------------------------------------------------------------------------------

    def run_worker(self, job: Callable[[], bool]) -> None:
        """Run `job()` in a worker greenlet, now; return when it has ended or has blocked.

        Only from the hub. The job returns False when its greenlet was thrown at and may not be used again.
        """
        idle = self._idle_workers
        while idle:
            worker = idle.pop()
            if getrefcount(worker) == _PARKED_REFERENCES:
                break
            # Something that an earlier job left behind refers to it, and might throw at it; or it was thrown at.
            if not worker.dead:
                worker.switch()  # Without a job it ends.
        else:
            worker = _Worker(self)
        worker.job = job
        worker.switch()

    # -- the wheel -------------------------------------------------------------------------------------------

    def watch(self, ticker: Ticker, seconds: int) -> None:
        """Call `ticker.tick()` after about `seconds`, and on as it asks for."""
        slot = (self._at + min(max(seconds, 1), WHEEL_SLOTS - 1)) % WHEEL_SLOTS
        ticker.wheel_slot = slot
        self._slots[slot].add(ticker)
        self._scheduled += 1
        if self._wheel_timer is None:
            # Not counted by the loop: a program with nothing else to do may end.
            self._turned = time.monotonic()
            self._wheel_timer = self.loop.timer(1.0, 1.0, ref=False)
            self._wheel_timer.start(self._turn_wheel, update=True)

    def unwatch(self, ticker: Ticker) -> None:
        """Take it off the wheel."""
        slot = ticker.wheel_slot
        if slot >= 0 and ticker in self._slots[slot]:
            self._slots[slot].discard(ticker)
            self._scheduled -= 1
        ticker.wheel_slot = -1

    def has_tickers(self) -> bool:
        """Tell whether anything is on the wheel; safe from any thread."""
        return self._scheduled > 0

    def clock(self) -> float:
        """Return the monotonic clock less `held`.

        A peer whose time is measured by it is not blamed for a method that blocks, or a hub that nobody runs.
        """
        return time.monotonic() - self.held

    def _turn_wheel(self) -> None:
        now = time.monotonic()
        late = now - self._turned - 1.0
        self._turned = now
        if late > HELD_SECONDS:
            self.held += late
        self._at = (self._at + 1) % WHEEL_SLOTS
        due = self._slots[self._at]
        if due:
            self._slots[self._at] = set()
            self._scheduled -= len(due)
            for ticker in due:
                ticker.wheel_slot = -1
                try:
                    seconds = ticker.tick()
                except Exception:
                    self.report(ticker)
                    continue
                if seconds:
                    self.watch(ticker, seconds)
        if not self._scheduled:
            self._wheel_timer.stop()
            self._wheel_timer.close()
            self._wheel_timer = None

    # -- buffers ---------------------------------------------------------------------------------------------

    def take_buffer(self, size: int) -> bytearray:
        """Lend a buffer of at least `size` bytes; used pages cost much less than fresh ones."""
        keep_freed_memory()
        for index, buffer in enumerate(self._buffers):
            if len(buffer) >= size:
                return self._buffers.pop(index)
        return bytearray(size)

    def give_buffer(self, buffer: bytearray) -> None:
        """Take a lent buffer back; the largest are kept."""
        if len(buffer) > KEPT_BUFFER_BYTES:
            return
        self._buffers.append(buffer)
        if len(self._buffers) > KEPT_BUFFERS:
            del self._buffers[min(range(len(self._buffers)), key=lambda index: len(self._buffers[index]))]

    # -- the end ---------------------------------------------------------------------------------------------

    def finish_output(self, seconds: float) -> None:
        """Send what is queued anywhere, with this whole thread waiting."""
        streams = [*self.closing, *(member.stream for member in list(self.members))]
        deadline = time.monotonic() + seconds
        for stream in streams:
            stream.finish(max(deadline - time.monotonic(), 0.0))
        deadline = time.monotonic() + LINGER_SECONDS
        for stream in streams:
            stream.await_end(deadline - time.monotonic())

    def end(self) -> None:
        """Close everything; runs in the dying thread."""
        if self.ended:
            return
        self.ended = True
        for tenant in list(self.tenants):
            tenant.hub_ended()
        self.finish_output(FINISH_SECONDS)
        self.drop_all()
        self._idle_workers.clear()
        if self.has_loop():
            if self._wheel_timer is not None:
                self._wheel_timer.stop()
                self._wheel_timer.close()
            if self.ours:
                _destroy(self.hub)
        self._wheel_timer = None
        self._buffers.clear()
        # What refers to the hub from now on shall not keep this alive.
        self.hub.__dict__.pop("gpyro_state", None)

    def drop_all(self) -> None:
        """Let go of all that lives on this hub, in silence: its thread ends, or this is a forked child."""
        for tenant in list(self.tenants):
            tenant.hub_ended()
        for member in list(self.members):
            member.hub_ended()
        for stream in list(self.closing):
            stream.close()
        if self.watchdog is not None:
            self.watchdog.close()
            self.watchdog = None

    def has_loop(self) -> bool:
        """Tell whether the loop is still there; a thread pool destroys the hubs of its threads itself."""
        return self.hub.loop is not None


_states: weakref.WeakSet[HubState] = weakref.WeakSet()


class _Worker(greenlet):
    """A greenlet that runs jobs, one after another, and waits in the pool between them."""

    def __init__(self, state: HubState) -> None:
        super().__init__(parent=state.hub)
        self._state = state
        self.job: Callable[[], bool] | None = None

    def run(self) -> None:
        state = self._state
        idle = state._idle_workers
        while self.job is not None:
            job, self.job = self.job, None
            try:
                reusable = job()
            except BaseException:
                state.report(job)
                return
            del job
            if not reusable or len(idle) >= state.kept_workers:
                return
            idle.append(self)
            state.hub.switch()


def _count_parked_references() -> int:
    """Return how many references a worker has that is parked and that nobody else knows, counted as above."""

    class Parked(greenlet):
        def run(self) -> None:
            assert self.parent is not None
            self.parent.switch()

    idle = [Parked()]
    idle[0].switch()
    while idle:
        worker = idle.pop()
        if count := getrefcount(worker):
            return count
    raise AssertionError("unreachable")


#: It differs between Pythons.
_PARKED_REFERENCES = _count_parked_references()


def _destroy(hub: Any) -> None:
    """End a hub for good."""
    hub.destroy(destroy_loop=True)
    if not hub.dead:
        # Its loop has ended, and it has thrown that at this greenlet; it would wait here for ever, with all that
        # the exception's traceback refers to, out of reach of the garbage collector.
        hub.throw(GreenletExit)


class _Guard:
    """Lives in a native thread's own storage; its end is the thread's end."""

    def __init__(self, state: HubState) -> None:
        self._state = state
        self._pid = os.getpid()

    def __del__(self) -> None:
        # A forked child drops the storage of its parent's threads before anything else runs there.
        if self._pid == os.getpid() and not sys.is_finalizing():
            self._state.end()


def current_state() -> HubState:
    """Return the state of this thread's hub, made when first asked for."""
    hub = get_hub_if_exists()
    ours = hub is None or hasattr(_native_local, "wrap")
    if hub is None:
        hub = get_hub()
        # It is raised where the main greenlet waits. gevent prints it as well, as if something were broken.
        hub.NOT_ERROR = (*hub.NOT_ERROR, KeyboardInterrupt)
    try:
        return hub.gpyro_state  # type: ignore[no-any-return]
    except AttributeError:
        pass
    # Asked of the hub: in a patched process every greenlet is a thread to `threading`.
    is_main = bool(hub.main_hub)
    state: HubState = HubState(hub, ours and not is_main)
    hub.gpyro_state = state
    if not is_main:
        _native_local.guard = _Guard(state)
    return state


def take_thread(wrap: Callable[[Callable[[], Any]], Callable[[], Any]]) -> None:
    """Begin a native thread of gpyro's own: its hub ends with it, and remote calls wait by what `wrap` returns."""
    _native_local.wrap = wrap


def leave_thread() -> None:
    """A thread of gpyro's own is about to end: end its hub, also one that was made by gevent alone."""
    if get_hub_if_exists() is not None:
        current_state().end()


def _unwrapped(switch: Callable[[], Any]) -> Callable[[], Any]:
    return switch


def is_current(state: HubState) -> bool:
    """Tell whether the caller is in the thread that `state` belongs to; makes no hub where there is none."""
    return state.hub is get_hub_if_exists()


def run_in_hub_of(state: HubState, function: Callable[[], object]) -> None:
    """Call `function` in the hub of another (or this) thread; safe from any thread.

    It runs when that hub next looks; nothing is waited for. Once that thread has ended nothing is called.
    """
    if state.hub is get_hub_if_exists():
        state.soon(function)
        return
    try:
        state.loop.run_callback_threadsafe(function)
        # The loop itself tells its descriptor only while it waits there.
        for poke in list(state.pokes):
            poke()
    except Exception:
        # A loop that is gone refuses. The end of its thread has closed everything.
        if not state.ended and state.has_loop():
            raise


def spawn_in(state: HubState, function: Callable[[], object]) -> None:
    """Run `function` in a greenlet of its own in the thread that `state` belongs to; safe from anywhere."""
    run_in_hub_of(state, lambda: gevent.spawn(function))


def run_soon_or_now(state: HubState, function: Callable[[], object]) -> None:
    """Call `function` in the thread that `state` belongs to: at once if this is it, else when its hub looks."""
    if state.hub is get_hub_if_exists():
        function()
        return
    run_in_hub_of(state, function)


def _after_fork_in_child() -> None:
    """Connections and daemons belong to the parent; a child starts with none of them."""
    global _fork_epoch
    _fork_epoch += 1
    # Those of other threads too, which this process does not have: as long as a descriptor is open here, the
    # peer of one that the parent closes would see no end.
    for state in list(_states):
        if not state.ended:
            state.drop_all()
    hub = get_hub_if_exists()
    if hub is not None:
        ours: HubState | None = getattr(hub, "gpyro_state", None)
        if ours is not None:
            ours._idle_workers.clear()
        gevent.reinit(hub)


os.register_at_fork(after_in_child=_after_fork_in_child)
