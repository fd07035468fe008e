"""The running side of a daemon: listener, connections, limits, waiting, shutting down.

It refers to the objects but not to the Daemon, so that the hub, which refers to it, keeps no daemon alive.
Order of an end: unregister the names, stop accepting, say goodbye on all connections, let running calls
finish, then cut.
"""

from __future__ import annotations

import os
import resource
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context
from typing import Any

from gpyro import hub
from gpyro._daemon.registry import Registry
from gpyro.configuration import Settings
from gpyro.connection import Connection, Tuning
from gpyro.context import current_scope
from gpyro.errors import ConnectionDeniedError, DaemonError, ProtocolError, PyroError
from gpyro.log import Log
from gpyro.objects import Method
from gpyro.wire.hello import Greeting

__all__ = ["LocalStorage", "Service"]

#: Share of the descriptor limit that connections may take; the rest is for files, name look-ups, the program.
DESCRIPTOR_SHARE = 0.8
#: Loop turns that serve what is pending: accept, greeting and request, answer, and one to see that it is quiet.
PENDING_TURNS = 4


class LocalStorage:
    """What Pyro's getLocalStorage returns: one for each connection, with the connection as `caller`."""

    def __init__(self, caller: Connection) -> None:
        self.caller = caller


class Service:
    """Serves the objects of one registry on one hub.

    Resources: `shutdown` and then `finish_drain` close everything.
    Errors: those of callers end their calls or connections and are logged.
    """

    def __init__(self, sock: Any, settings: Settings, offload_all: bool, unix_path: str) -> None:
        self.registry = Registry()
        self.methods: dict[bytes, Method] = self.registry.methods
        self.settings = settings
        self.tuning = Tuning.of(settings)
        self.offload_all = offload_all
        self.name_server: Any = None
        self.idle_limit = 0.0
        self.ended = False
        self.served = 0
        #: False while a loop without a condition waits, which has nothing to look at after each request.
        self.wakes_on_activity = True
        self._sock = sock
        self._unix_path = unix_path
        self._unix = bool(unix_path)
        self._pid = os.getpid()
        self._state: hub.HubState | None = None
        self._listener: hub.Listener | None = None
        self._connections: set[Connection] = set()
        self._ungreeted: set[Connection] = set()
        self._signal = hub.Signal()
        self._bridge: hub.Bridge | None = None
        self._pool: hub.OffloadPool | None = None
        self._loops = 0
        self._end_requested = False
        self._max_connections = _max_connections(settings.maxconnections)
        _services.add(self)

    def __repr__(self) -> str:
        return f"<Service {self.status()}, {len(self._connections)} connections>"

    def status(self) -> str:
        """Say in a word what it does."""
        return "ended" if self.ended else "serving" if self._state is not None else "not started"

    # -- handler of connections ------------------------------------------------------------------------------

    def find(self, connection: Connection, target: bytes, access: int, object_id: str, name: str) -> Method:
        """Look a request's target up in the registry."""
        return self.registry.find(target, access, object_id, name)

    def greet(self, connection: Connection, greeting: Greeting) -> tuple[int, str] | None:
        """Let a caller in, as long as there is room for it."""
        if self.ended:
            return ConnectionDeniedError.UNSPECIFIED, "the server is shutting down"
        if len(self._connections) > self._max_connections:
            return ConnectionDeniedError.SERVERTOOBUSY, (
                f"server too busy: {self._max_connections} connections are open (maxconnections)"
            )
        if self._unix and hub.peer_uid(connection.sock) not in (None, 0, os.geteuid()):
            return ConnectionDeniedError.HOSTBLOCKED, "host blocked: the socket is for its own user only"
        self._ungreeted.discard(connection)
        return None

    def offload(self, context: Context, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run a method in a thread of this daemon's pool."""
        if self._pool is None:
            assert self._state is not None
            self._pool = hub.OffloadPool(self._state, self.settings.offload_threads, self.settings.offload_queue)
        return self._pool.run(context, function, args, kwargs)

    def note_activity(self) -> None:
        """Something was served; whoever waits in a loop for that looks at its condition."""
        self.served += 1
        if self.wakes_on_activity:
            self._signal.set()

    def connection_closed(self, connection: Connection) -> None:
        """Forget it."""
        self._connections.discard(connection)
        self._ungreeted.discard(connection)
        if self.ended:
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
        storage: LocalStorage = scope.call.caller.__dict__.setdefault(
            "local_storage", LocalStorage(scope.call.caller)
        )
        return storage

    # -- running ---------------------------------------------------------------------------------------------

    def check_alive(self) -> None:
        """See that this daemon can still be used.

        Raises:
            DaemonError: it has ended, or belongs to the parent process.
        """
        if self.ended:
            raise DaemonError("the daemon has been shut down")
        if os.getpid() != self._pid:
            raise DaemonError(f"the daemon belongs to process {self._pid}; make a new one in this child")

    def start(self) -> None:
        """Begin to accept on this thread's hub.

        Raises:
            DaemonError: another thread has begun already.
        """
        if os.getpid() != self._pid:
            self.check_alive()
        state = hub.current_state()
        if self._state is None and not self.ended:
            self._state = state
            self._listener = hub.Listener(self._sock, state, self._on_accept)
            hub.Watchdog.ensure(state, self.settings.watchdog_seconds)
        elif self._state is not None and self._state is not state:
            raise DaemonError(
                f"the daemon runs in {hub.thread_name(self._state.thread_id)}; "
                f"{hub.thread_name(state.thread_id)} may only connect, disconnect, shut down and list"
            )

    def _on_accept(self, sock: Any) -> None:
        connection = Connection.accept(sock, self)
        if len(self._ungreeted) >= self.settings.max_unauthenticated and not connection.is_local():
            # Before the greeting nobody is told anything; callers on this machine are not rationed.
            connection.close()
            return
        self._connections.add(connection)
        self._ungreeted.add(connection)
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
    ) -> None:
        """Wait until something was served, one of `others` is ready, or the time is over."""
        if others and callback is None:
            raise ProtocolError("callback required: what should be called when one of `others` is ready?")
        if self.ended:
            return
        ready = hub.wait_for(self._signal, others, timeout)
        if ready and callback is not None:
            callback(ready)

    def handle(
        self, timeout: float | None, others: Sequence[Any], callback: Callable[[list[Any]], object] | None
    ) -> None:
        """Do one round of `handleRequests`."""
        woken = self._bridge is not None and self._bridge.take()
        try:
            before = self.served
            self._run_pending()
            if self.served != before or timeout == 0 or woken:
                timeout = 0
            self.wait(timeout, others, callback)
            self._run_pending()
        finally:
            if self._bridge is not None:
                self._bridge.rearm()

    def _run_pending(self) -> None:
        """Serve what is there, as long as there is something, for a bounded number of turns."""
        for _ in range(PENDING_TURNS):
            before = self.served
            hub.run_pending(2)
            if self.served == before:
                break

    def selectables(self) -> list[Any]:
        """Return what a foreign loop selects on."""
        if self._bridge is None and not self.ended:
            assert self._state is not None
            state = self._state
            self._bridge = hub.Bridge(state, lambda: state.in_flight > 0)
        # The loop registers a watcher in the turn after the one that started it, so until a turn is quiet.
        self._run_pending()
        if self._bridge is None:
            return []
        self._bridge.rearm()
        return [self._bridge.selectable]

    # -- the end ---------------------------------------------------------------------------------------------

    def request_end(self) -> None:
        """Let the loop end; for signals, whose handler may not wait."""
        self._end_requested = True
        self._signal.set()

    def wants_to_end(self) -> bool:
        """Tell whether the loop should end."""
        return self.ended or self._end_requested

    def unregister_names(self) -> None:
        """Take the names out of the name server; a name server that is gone is logged."""
        names = self.registry.take_names()
        if self.name_server is None:
            return
        for name in names:
            try:
                self.name_server.unregister(name)
            except PyroError as exc:
                Log.warn("Daemon", f"could not unregister {name!r}: {exc}")

    def shutdown(self) -> None:
        """Unregister, stop accepting, say goodbye; finish the running calls unless a loop does that."""
        if os.getpid() != self._pid:
            return
        self.unregister_names()
        state = self._state
        if state is None:
            self._stop()
            self._cleanup()
            return
        if hub.current_state() is not state:
            hub.run_in_hub_of(state, self._stop)
            return
        self._stop()
        scope = current_scope()
        inside_call = scope is not None and scope.call is not None and scope.call.caller in self._connections
        if not self._loops and not inside_call:
            self.finish_drain()

    def _stop(self) -> None:
        if self.ended:
            return
        self.ended = True
        if self._listener is not None:
            self._listener.close()
        else:
            self._sock.close()
        if self._unix_path:
            _unlink(self._unix_path)
        for connection in list(self._connections):
            connection.leave("the server is shutting down")
        self._signal.set()

    def finish_drain(self) -> None:
        """Wait until running calls have been answered, at most drain_timeout_seconds, then cut."""
        left = self.settings.drain_timeout_seconds
        while self._connections and left > 0 and self._is_busy():
            hub.wait_for(self._signal, (), min(left, 0.05))
            left -= 0.05
        for connection in list(self._connections):
            connection.serving.cancel_all("the server is shutting down")
        hub.run_pending(2)
        for connection in list(self._connections):
            connection.close_gently()
        self._cleanup()

    def _is_busy(self) -> bool:
        return any(conn.serving.running or conn.serving.requests or conn.stream.out for conn in self._connections)

    def _cleanup(self) -> None:
        _services.discard(self)
        if self._bridge is not None:
            self._bridge.close()
            self._bridge = None
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def end_unreferenced(self) -> None:
        """Nobody refers to the daemon any more; may be called from anywhere, a collector included."""
        if os.getpid() != self._pid or self.ended:
            return
        if self._state is None:
            self._stop()
            _unfinished.add(self)
            return
        _unfinished.add(self)
        hub.spawn_in(self._state, self._end_for_good)

    def _end_for_good(self) -> None:
        if self in _unfinished:
            _unfinished.discard(self)
            self.shutdown()


_services: weakref.WeakSet[Service] = weakref.WeakSet()
#: Services of daemons that nobody references, which have yet to unregister their names.
_unfinished: set[Service] = set()


def end_all() -> None:
    """At the end of the process: unregister what is still registered."""
    for service in [*_unfinished, *_services]:
        if service._pid == os.getpid():
            service.unregister_names()
            if service._unix_path and not service.ended:
                _unlink(service._unix_path)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def _max_connections(wanted: int) -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(min(wanted, int(soft * DESCRIPTOR_SHARE)), 1)


hub.at_exit(end_all)
