"""The running side of a daemon: listener, connections, limits, waiting, shutting down.

It refers to the objects but not to the Daemon, so that the hub, which refers to it, keeps no daemon alive.
Order of an end: unregister the names, stop accepting, say goodbye on all connections, let running calls
finish, then cut.
"""

from __future__ import annotations

import os
import resource
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context
from functools import partial
from typing import Any

from gpyro import hub
from gpyro._daemon.announcing import withdraw
from gpyro._daemon.entrance import Entrance
from gpyro._daemon.registry import Registry
from gpyro.configuration import Settings
from gpyro.connection import Connection, Tuning
from gpyro.context import current_scope
from gpyro.errors import ConnectionDeniedError, DaemonError
from gpyro.log import Log
from gpyro.objects import Method, ObjBase
from gpyro.wire.hello import Greeting
from gpyro.wire.native import Frame

__all__ = ["LocalStorage", "Service"]

#: Share of the descriptor limit that connections may take; the rest is for files, name look-ups, the program.
DESCRIPTOR_SHARE = 0.8
#: Looks at unused objects within the age at which they are reaped.
SWEEPS_PER_AGE = 4
#: Loop turns that serve what is pending: accept, greeting and request, answer, and one to see that it is quiet.
PENDING_TURNS = 4
#: Seconds between two looks whether the calls have ended, beside those that the end of a connection causes.
DRAIN_LOOK_SECONDS = 0.02
#: Seconds that the end of the process waits for the loops of background threads to say goodbye.
EXIT_SECONDS = 1.0


class LocalStorage:
    """What Pyro's getLocalStorage returns: one for each connection, with the connection as `caller`."""

    def __init__(self, caller: Connection | None = None) -> None:
        self.caller = caller


class Service:
    """Serves the objects of one registry on one hub.

    Resources: `shutdown` and then `finish_drain` close everything.
    Errors: those of callers end their calls or connections and are logged.
    """

    def __init__(
        self, sock: Any, settings: Settings, offload_all: bool, unix_path: str, pickle: Any = None,
        by_value: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.registry = Registry(settings.as_pyro3)
        self.methods: dict[bytes, Method] = self.registry.methods
        self.settings = settings
        self.tuning = Tuning.of(settings)
        self.offload_all = offload_all
        self.pickle = pickle
        self.by_value = by_value
        self.name_server: Any = None
        self.idle_limit = 0.0
        self.ended = False
        self.served = 0
        #: False while a loop without a condition waits, which has nothing to look at after each request.
        self.wakes_on_activity = True
        self._sock = sock
        self._unix_path = unix_path
        self._unix = bool(unix_path)
        self._unix_number = hub.file_number(unix_path) if unix_path else 0
        self._pid = os.getpid()
        self._state: hub.HubState | None = None
        self._listener: hub.Listener | None = None
        self._connections: set[Connection] = set()
        self._signal = hub.Signal()
        self._bridge: hub.Bridge | None = None
        self._pool: hub.OffloadPool | None = None
        self._loops = 0
        self._end_requested = False
        self._interrupted = False
        #: A `requestLoop` has returned because of the end.
        self.loop_ended = False
        self._disconnect_at_end = False
        self._start_lock = hub.NativeLock()
        self._max_connections = _max_connections(settings.maxconnections)
        #: What validators get as the daemon; weak, as nothing of the hub keeps that alive.
        self.daemon: Callable[[], Any] = lambda: None
        self.entrance = Entrance(
            settings, lambda: self.daemon(), self._refusal, self._take_in, max(self._max_connections // 10, 4)
        )
        #: A TLSConfig, where this daemon speaks TLS.
        self.tls: Any = None
        #: Called with the storage of each connection when that is first asked for (setInitTLS).
        self.init_storage: Callable[[LocalStorage], object] | None = None
        self._cleanup_age = 0.0
        self._reaper: hub.Timer | None = None
        _services.add(self)

    def __repr__(self) -> str:
        return f"<Service {self.status()}, {len(self._connections)} connections>"

    def status(self) -> str:
        """Say in a word what it does."""
        if os.getpid() != self._pid:
            return f"of process {self._pid}"
        return "ended" if self.ended else "serving" if self._state is not None else "not started"

    # -- handler of connections ------------------------------------------------------------------------------

    def find(self, connection: Connection, target: bytes, access: int, object_id: str, name: str) -> Method:
        """Look a request's target up in the registry."""
        return self.registry.find(target, access, object_id, name, connection.principals)

    def admit(self, connection: Connection, greeting: Greeting, hello: Frame) -> None:
        """Let the entrance decide."""
        self.entrance.admit(connection, greeting, hello)

    def _refusal(self, connection: Connection) -> tuple[int, str] | None:
        """Say why nobody, or not this caller, can be let in now, whoever it is."""
        if self.ended or os.getpid() != self._pid:
            return ConnectionDeniedError.UNSPECIFIED, "the server is shutting down"
        if len(self._connections) > self._max_connections:
            return ConnectionDeniedError.SERVERTOOBUSY, (
                f"server too busy: {self._max_connections} connections are open (maxconnections)"
            )
        if self._unix and hub.peer_uid(connection.sock) not in (None, 0, os.geteuid()):
            return ConnectionDeniedError.HOSTBLOCKED, "host blocked: the socket is for its own user only"
        return None

    def offload(self, context: Context, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run a method in a thread of this daemon's pool."""
        if self._pool is None:
            assert self._state is not None
            of = self.settings
            self._pool = hub.OffloadPool(
                self._state, of.offload_threads, of.offload_queue, of.busy_wait_seconds
            )
        return self._pool.run(context, function, args, kwargs)

    def note_activity(self) -> None:
        """Something was served; whoever waits in a loop for that looks at its condition."""
        self.served += 1
        if self.wakes_on_activity:
            self._signal.set()

    def connection_closed(self, connection: Connection) -> None:
        """Forget it."""
        if connection in self._connections:
            self._connections.discard(connection)
            self.entrance.left(connection)
        # Where its thread has ended, or this is a forked child, nobody waits any more who could be woken.
        if self.ended and not connection.state.ended and os.getpid() == self._pid:
            self._signal.set()

    def idle_seconds(self) -> float:
        """Return the limit that setTimeout gave."""
        return self.idle_limit

    def detailed_traceback(self) -> bool:
        """Read live."""
        return bool(self.settings.detailed_traceback)

    def local_storage(self) -> LocalStorage:
        """Return the storage of the running call's connection."""
        scope = current_scope()
        if scope is None or scope.call is None:
            raise DaemonError("no call is running here: local storage belongs to the connection of a call")
        caller = scope.call.caller
        storage: LocalStorage | None = caller.__dict__.get("local_storage")
        if storage is None:
            storage = caller.__dict__["local_storage"] = LocalStorage(caller)
            if self.init_storage is not None:
                self.init_storage(storage)
        return storage

    # -- running ---------------------------------------------------------------------------------------------

    def check_alive(self) -> None:
        """See that this daemon can still be used.

        Raises:
            DaemonError: it has ended, or belongs to the parent process.
        """
        self.check_process()
        if self.ended:
            raise DaemonError("the daemon has been shut down")

    def is_usable(self) -> bool:
        """Tell whether this daemon has not ended and is this process's."""
        return not self.ended and os.getpid() == self._pid

    def check_process(self) -> None:
        """See that this is not a forked child.

        Raises:
            DaemonError: it is.
        """
        if os.getpid() != self._pid:
            raise DaemonError(f"the daemon belongs to process {self._pid}; make a new one in this child")

    def start(self) -> None:
        """Begin to accept on this thread's hub.

        Raises:
            DaemonError: another thread has begun already.
        """
        self.check_process()
        state = hub.current_state()
        with self._start_lock:
            if self._state is None and not self.ended:
                self._state = state
                self._begin(state)
                self._arm_reaper()
        if self._state is not None and self._state is not state:
            raise DaemonError(
                f"the daemon runs in {hub.thread_name(self._state.thread_id)}; "
                f"{hub.thread_name(state.thread_id)} may only connect, disconnect, shut down and list"
            )

    def _begin(self, state: hub.HubState) -> None:
        listener = self._listener = hub.Listener(self._sock, state, self._on_accept, self.entrance.has_room)
        self._bridge = hub.Bridge(
            state,
            lambda: state.in_flight > 0 or self.ended or listener.is_resting() or self.entrance.is_called_upon(),
        )
        state.tenants.add(self)
        hub.Watchdog.ensure(state, self.settings.watchdog_seconds)

    def _on_accept(self, sock: Any) -> None:
        assert self._state is not None
        self.entrance.receive(sock, "" if self._unix else hub.peer_host(sock), self._state)

    def _take_in(self, sock: Any) -> None:
        if self.tls is not None:
            sock = hub.accept_tls(sock, self.tls)
        connection = Connection.accept(sock, self)
        self._connections.add(connection)
        self.entrance.arrived(connection)
        self.note_activity()

    @contextmanager
    def looping(self) -> Iterator[None]:
        """Inside, this hub runs by itself, and peers are told so."""
        state = self._state or hub.current_state()
        state.loops_by_itself += 1
        self._loops += 1
        try:
            yield
        finally:
            state.loops_by_itself -= 1
            self._loops -= 1

    def wait(
        self, timeout: float | None, others: Sequence[Any], callback: Callable[[list[Any]], object] | None
    ) -> bool:
        """Wait until something was served, one of `others` is ready, or the time is over.

        Returns:
            True if `callback` was called with those that are ready.
        """
        if self.ended:
            return False
        ready = hub.wait_for(self._signal, others, timeout)
        if ready and callback is not None:
            callback(ready)
            return True
        return False

    def handle(
        self, timeout: float | None, others: Sequence[Any], callback: Callable[[list[Any]], object] | None
    ) -> None:
        """Do one round of `handleRequests`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        woken = self._bridge is not None and self._bridge.take()
        before = self.served
        try:
            self._run_pending()
            while True:
                found = woken or self.served != before
                left = 0.0 if found else None if deadline is None else max(deadline - time.monotonic(), 0.0)
                found = self.wait(left, others, callback) or found
                self._run_pending()
                if found or left == 0 or self.served != before or self.wants_to_end():
                    return
        finally:
            if self._bridge is not None:
                self._bridge.rearm()
                if self.served != before:
                    # Look once more: the loop registers a watcher in the turn after the one that started it, and
                    # what a turn leaves over waits in the hub, so no descriptor tells of either.
                    self._bridge.poke()

    def _run_pending(self) -> None:
        """Serve what is there, as long as there is something, for a bounded number of turns."""
        for _ in range(PENDING_TURNS):
            before = self.served
            hub.run_pending(2)
            if self.served == before:
                break

    def selectables(self) -> list[Any]:
        """Return what a foreign loop selects on; nothing any more once the daemon has ended."""
        if self._bridge is None:
            return []
        self._bridge.open()
        before = self.served
        # The loop registers a watcher in the turn after the one that started it, so until a turn is quiet.
        self._run_pending()
        if self._bridge is None:
            return []
        self._bridge.rearm()
        if self.served != before:
            self._bridge.poke()
        return [self._bridge.selectable]

    # -- reaping ---------------------------------------------------------------------------------------------

    def set_cleanup_age(self, seconds: float) -> None:
        """Reap nameless objects that were not used for `seconds`; 0 leaves them alone."""
        self._cleanup_age = seconds
        if self._state is not None:
            hub.run_in_hub_of(self._state, self._arm_reaper)

    def _arm_reaper(self) -> None:
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        if self._cleanup_age and self._state is not None and not self.ended:
            self._reaper = self._state.later(self._cleanup_age / SWEEPS_PER_AGE, self._sweep)

    def _sweep(self) -> None:
        self._arm_reaper()
        running = [call for conn in self._connections for call in conn.serving.running.values()]
        for object_id in self.registry.sweep({id(call.method.owner) for call in running}, SWEEPS_PER_AGE):
            obj = self.registry.disconnect(object_id).obj
            assert isinstance(obj, ObjBase)
            obj.daemon = None
            assert self._state is not None
            hub.spawn_in(self._state, obj._gotReaped)

    # -- the end ---------------------------------------------------------------------------------------------

    def request_end(self, interrupted: bool = False) -> None:
        """Let the loop end; for signals, whose handler may not wait.

        Args:
            interrupted: it was ctrl-C.
        """
        self._end_requested = True
        self._interrupted |= interrupted
        self._signal.set()

    def wants_to_end(self) -> bool:
        """Tell whether the loop should end."""
        return self.ended or self._end_requested

    def is_interrupted(self) -> bool:
        """Tell whether ctrl-C has ended the loop, and the program is to hear of that."""
        return self._interrupted and bool(self.settings.as_pyro3)

    def check_loop(self) -> None:
        """See that no loop has ended with the daemon: a program that loops over its loop would do that for ever.

        Raises:
            DaemonError: one has.
        """
        if self.loop_ended:
            raise DaemonError(
                "the daemon has been shut down, and its requestLoop has ended; make a new Daemon to serve again"
            )

    def unregister_names(self) -> None:
        """Take the names out of the name server; one that is gone, or does not answer in time, is logged."""
        names = self.registry.take_names()
        if self.name_server is None or not names:
            return
        seconds = self.settings.connect_timeout_seconds
        left = dict(names)
        hub.current_state()  # One that we make ends with its thread; one that Timeout makes does not.
        with hub.Timeout(seconds, False):
            for name, uri in names.items():
                # What goes wrong is logged, and the end goes on.
                withdraw(self.name_server, name, uri)
                del left[name]
        if left:
            Log.warn("Daemon", f"could not unregister {[*left]!r}: no answer within {seconds:g} s")

    def shutdown(self, disconnect: bool = False) -> None:
        """Unregister, stop accepting, say goodbye; finish the running calls unless a loop does that.

        Safe from any thread, greenlet or call. In another thread than the daemon's, inside a call and in the
        hub itself the rest happens later.
        """
        if os.getpid() != self._pid:
            return
        if hub.is_hub_greenlet():
            hub.spawn_in(hub.current_state(), lambda: self.shutdown(disconnect))
            return
        self._disconnect_at_end |= disconnect
        self.unregister_names()
        state = self._state
        if state is None or state.ended:
            self._stop()
            self._cleanup()
        elif not hub.is_current(state):
            hub.spawn_in(state, self._stop_and_drain)
        elif self._is_inside_call():
            self._stop()
            if not self._loops:
                hub.spawn_in(state, self.finish_drain)
        else:
            self._stop_and_drain()

    def _is_inside_call(self) -> bool:
        scope = current_scope()
        return scope is not None and scope.call is not None and scope.call.caller in self._connections

    def _stop_and_drain(self) -> None:
        self._stop()
        if not self._loops:
            self.finish_drain()

    def _stop(self) -> None:
        with self._start_lock:
            if self.ended:
                return
            self.ended = True
        # The file goes first: once nobody listens on it, another server may put its own in this place.
        hub.unlink_unix(self._unix_path, self._unix_number)
        if self._listener is not None:
            self._listener.close()
        else:
            self._sock.close()
        self.entrance.close()
        for connection in list(self._connections):
            connection.leave("the server is shutting down")
        self._signal.set()

    def finish_drain(self) -> None:
        """Wait until running calls have been answered, at most drain_timeout_seconds, then cut."""
        deadline = time.monotonic() + self.settings.drain_timeout_seconds
        while self._is_busy() and time.monotonic() < deadline:
            hub.wait_for(self._signal, (), min(DRAIN_LOOK_SECONDS, max(deadline - time.monotonic(), 0.0)))
        for connection in list(self._connections):
            # From the hub: whoever throws into a worker is not switched back to.
            cancel = partial(connection.serving.cancel_all, "the server is shutting down")
            hub.run_in_hub_of(connection.state, cancel)
        hub.run_pending(2)
        for connection in list(self._connections):
            connection.close_gently()
        self._cleanup()

    def _is_busy(self) -> bool:
        return any(
            connection.serving.running or connection.serving.requests or not connection.stream.is_flushed()
            for connection in self._connections
        )

    def _cleanup(self) -> None:
        _services.discard(self)
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        if self._bridge is not None:
            self._bridge.close()
            self._bridge = None
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        if self._disconnect_at_end:
            self.registry.disconnect_all()

    def hub_ended(self) -> None:
        """The daemon's thread ends, or this is a forked child: nobody will ever serve here again."""
        if os.getpid() != self._pid:
            self._forget()
        elif not self.ended:
            Log.msg("Daemon", f"{self!r} ends with its thread")
            self._stop()
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        if self._pool is not None and os.getpid() == self._pid:
            self._pool.close()
            self._pool = None

    def _forget(self) -> None:
        """Close what the parent process has; its socket file and its peers stay as they are."""
        self.entrance.abandon()
        if self._listener is not None:
            self._listener.close()
        else:
            self._sock.close()
        if self._bridge is not None:
            self._bridge.hub_ended()
            self._bridge = None
        if self._pool is not None:
            self._pool.abandon()
            self._pool = None

    def end_unreferenced(self) -> None:
        """Nobody refers to the daemon any more; may be called from anywhere, a collector included.

        So nothing may wait here. Where no hub runs by itself, names leave from a thread of their own.
        """
        if os.getpid() != self._pid:
            return
        state = self._state
        if state is None:
            self._stop()
            self._cleanup()
        has_names = self.name_server is not None and self.registry.has_names()
        if self.ended and not has_names:
            return
        _unfinished.add(self)
        if state is not None and not state.ended and (state.runs() or not has_names):
            hub.spawn_in(state, self._end_for_good)
        else:
            hub.start_native_thread(self._end_for_good)

    def _end_for_good(self) -> None:
        if self in _unfinished:
            self.shutdown()
            _unfinished.discard(self)


_services: weakref.WeakSet[Service] = weakref.WeakSet()
#: Services of daemons that nobody references, which have yet to unregister their names.
_unfinished: set[Service] = set()


def end_all() -> None:
    """At the end of the process: unregister what is still registered, and say goodbye where that is possible."""
    elsewhere = []
    for service in {*_unfinished, *_services}:
        if service._pid != os.getpid():
            continue
        service.unregister_names()
        if service._state is None or hub.is_current(service._state):
            service._stop()
        elif service._loops and not service.ended:
            hub.spawn_in(service._state, service._stop)
            elsewhere.append(service._state.thread_id)
        hub.unlink_unix(service._unix_path, service._unix_number)
    # CPython up to 3.13 may crash where a thread that it does not wait for is in a greenlet at the very end.
    deadline = time.monotonic() + EXIT_SECONDS
    for thread_id in elsewhere:
        hub.join_thread(thread_id, deadline - time.monotonic())


def _forget_in_child() -> None:
    for service in list(_services):
        service._forget()


def _max_connections(wanted: int) -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(min(wanted, int(soft * DESCRIPTOR_SHARE)), 1)


hub.at_exit(end_all)
os.register_at_fork(after_in_child=_forget_in_child)
