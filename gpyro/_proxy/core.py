"""What the proxies and methods of one address share: its connections, and how calls are made over them."""

from __future__ import annotations

import copy
import math
import os
import time
import weakref
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from gpyro import hub, seams
from gpyro.configuration import Settings
from gpyro.configuration import config as process_config
from gpyro.connection import Connection, NotStarted, Tuning
from gpyro.context import current_scope
from gpyro.errors import (
    ConnectionClosedError,
    ConnectionDeniedError,
    ProtocolError,
    PyroError,
    TimeoutError,
    UnknownObjectError,
    URIError,
)
from gpyro.objects import DAEMON_ID, Method, unknown_object
from gpyro.uri import PyroURI
from gpyro.wire.hello import Greeting
from gpyro.wire.native import Frame, build_target

if TYPE_CHECKING:
    from gpyro.auth import Credentials, DefaultConnValidator
    from gpyro.hub import TLSConfig

__all__ = ["CallerEnd", "Core", "run_callbacks"]

#: Longest wait in one piece.
MAX_WAIT_SECONDS = 3600.0
#: Times that one call is sent again because it provably never started, before its error is raised.
MAX_RESENDS = 2
#: What an address by location becomes once the object's id is known.
LOCATIONS = {"PYROLOC": "PYRO", "PYROLOCSSL": "PYROSSL"}
#: Times that a call of an idempotent method is made again, and seconds before that: anything up to so many, and to
#: four times as many the next time, so that those whom a server has left come back one by one.
MAX_REPEATS = 2
REPEAT_SECONDS = 0.5
#: Times that a connection is begun anew because the proxy was released while it was being opened.
MAX_RELEASES = 100


class CallerEnd:
    """The handler of connections that proxies open: it serves objects that were passed, and nothing else."""

    def __init__(
        self, settings: Settings | None, pickle: Any = None, by_value: tuple[str, ...] | None = None
    ) -> None:
        self.settings = settings or process_config
        self.pickle = pickle
        self.by_value = self.settings.by_value if by_value is None else by_value
        self.tuning = Tuning.of(self.settings)
        self.methods: dict[bytes, Method] = {}
        self.offload_all = False

    def find(self, connection: Connection, target: bytes, access: int, object_id: str, name: str) -> Method:
        """Nothing is connected here."""
        raise unknown_object(object_id)

    def admit(self, connection: Connection, greeting: Greeting, hello: Frame) -> None:
        """Never asked: this end opens its connections."""
        connection.opening.deny(ConnectionDeniedError.UNSPECIFIED, "this side takes no connections")

    def offload(self, context: Context, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run an offloaded callback in a thread of this hub's pool."""
        state, of = hub.current_state(), self.settings
        pool = _pools.get(state)
        if pool is None:
            pool = _pools[state] = hub.OffloadPool(
                state, of.offload_threads, of.offload_queue, of.busy_wait_seconds
            )
        return pool.run(context, function, args, kwargs)

    def note_activity(self) -> None:
        """Let `run_callbacks` know."""
        activity = _activity_of(hub.current_state())
        activity.served += 1
        activity.signal.set()

    def connection_closed(self, connection: Connection) -> None:
        """The proxy notices when it is next used."""

    def idle_seconds(self) -> float:
        """The other side decides."""
        return 0.0

    def detailed_traceback(self) -> bool:
        """Read live."""
        return bool(self.settings.detailed_traceback)


class _Activity:
    """Rounds of callbacks served on one hub, and how many of them `run_callbacks` has told about."""

    def __init__(self) -> None:
        self.signal = hub.Signal()
        self.served = self.seen = 0


class _Opening:
    """A connection that one greenlet opens while others wait for it."""

    def __init__(self) -> None:
        self.done = hub.Signal()
        self.error: PyroError | None = None


_activities: weakref.WeakKeyDictionary[hub.HubState, _Activity] = weakref.WeakKeyDictionary()
_pools: weakref.WeakKeyDictionary[hub.HubState, hub.OffloadPool] = weakref.WeakKeyDictionary()


class Core:
    """What the proxies and methods of one address share: its connections and how calls are made."""

    __slots__ = (
        "_connections", "_end", "_epoch", "_lock", "_openings", "_resolved_at", "_settings", "bound", "by_value",
        "calls", "identification", "object_id", "oneway", "pickle_rules", "resolved", "targets", "timeout",
        "tls", "uri", "validator",
    )  # fmt: skip

    def __init__(self, uri: PyroURI | None, settings: Settings | None, bound: Connection | None = None) -> None:
        self.uri = uri
        self.bound = bound
        self.calls: Any = None if bound is None else bound.calls
        self.timeout: float | None = None
        self.oneway: frozenset[str] = frozenset()
        self.identification: object = None
        self.validator: DefaultConnValidator | None = None
        self.tls: TLSConfig | None = None
        #: What the server's pickles may name, where this proxy speaks pickle.
        self.pickle_rules: Any = None
        #: Modules whose classes travel by value without being registered; None is the setting.
        self.by_value: tuple[str, ...] | None = None
        #: The PYRO address behind a PYRONAME or PYROLOC one, once asked for.
        self.resolved: PyroURI | None = None
        self._resolved_at = 0.0
        self.object_id = ""
        self.targets: dict[str, bytes] = {}
        self._settings = settings
        self._end: CallerEnd | None = None
        self._connections: dict[Any, Connection] = {}
        self._openings: dict[Any, _Opening] = {}
        #: Counts releases; a connection that was begun before one is not used after it.
        self._epoch = 0
        self._lock = hub.NativeLock()

    # -- calling ---------------------------------------------------------------------------------------------

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], access: int = 0) -> Any:
        """Call a method, or read (1) or write (2) an attribute."""
        until = None if self.timeout is None else time.monotonic() + self.timeout
        for attempt in range(MAX_RESENDS + 1):
            calls = self.calls
            if calls is None or calls.hub is not hub.get_hub_if_exists() or calls.is_stale():
                calls = self.connect(until)
            target = self.targets.get(name) if not access else None
            if target is None:
                target = self._target(name, access)
            try:
                if self.oneway and not access and name in self.oneway:
                    return calls.call_oneway(target, args, kwargs)
                return calls.call(target, args, kwargs, None if until is None else _left(until))
            except NotStarted as exc:
                self._forget(calls)
                if self.bound is not None:
                    self._check_bound(hub.current_state())
                if self.bound is not None or attempt == MAX_RESENDS:
                    raise ConnectionClosedError(str(exc), maybe_executed=False) from None
            except ConnectionClosedError as exc:
                lost = calls.is_lost() and not isinstance(exc, TimeoutError)
                if not lost or self.bound is not None or target not in calls.idempotent:
                    raise
                self._forget(calls)
                return self._call_again(name, args, kwargs, until, exc)
            except UnknownObjectError:
                self.unresolve()
                raise
        raise AssertionError("the loop returns or raises")

    def _call_again(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], until: float | None, cause: ProtocolError
    ) -> Any:
        """Make a call of an idempotent method anew, whose connection was lost before its answer came."""
        first, seconds = str(cause), REPEAT_SECONDS
        for _ in range(MAX_REPEATS):
            limit = self._limit(until)
            hub.sleep(min(seconds * os.urandom(1)[0] / 256, math.inf if limit is None else _left(limit)))
            seconds *= 4
            try:
                calls = self.connect(until)
                return calls.call(self._target(name, 0), args, kwargs, None if until is None else _left(until))
            except ProtocolError as exc:
                # What was refused or took too long will again.
                if type(exc) not in (ProtocolError, ConnectionClosedError, NotStarted):
                    raise
                cause = exc
                if self.calls is not None:
                    self._forget(self.calls)
        raise ConnectionClosedError(
            f"{first}; the method is idempotent and was called {MAX_REPEATS} more times, the last time: {cause}",
            maybe_executed=True,
        ) from cause

    def _target(self, name: str, access: int) -> bytes:
        target = build_target(self.object_id, name, 0 if self.bound is None else 1, access)
        if not access:
            self.targets[name] = target
        return target

    # -- connections -----------------------------------------------------------------------------------------

    def address(self) -> PyroURI | None:
        """Return the address, resolved as far as it is known; None for an object of a connection.

        That of a PYROLOC names the object's id once a call has found it out, as in Pyro.
        """
        uri, object_id = self.resolved or self.uri, self.object_id
        if uri is None or not object_id or uri.protocol not in LOCATIONS:
            return uri
        return PyroURI(uri.address, object_id, uri.port, LOCATIONS[uri.protocol])

    def is_connected(self) -> bool:
        """Tell whether there is a connection that calls may go over, of any thread."""
        connections = [self.bound] if self.bound is not None else list(self._connections.values())
        return any(connection.is_open() for connection in connections)

    def connect(self, until: float | None = None) -> Any:
        """Return this thread's calling half, connected if need be; `until` is on the monotonic clock.

        Raises:
            ProtocolError and its kind, NamingError: the object cannot be reached.
        """
        state = hub.current_state()
        if self.bound is not None:
            return self._check_bound(state)
        while True:
            connection = self._connections.get(state.hub)
            if connection is not None:
                if connection.is_open() and self._is_alive(connection):
                    self.calls = connection.calls
                    return self.calls
                self._forget(connection.calls)
            opening = self._openings.get(state.hub)
            if opening is None:
                return self._open_for_all(state, until)
            hub.wait_for(opening.done, (), None if until is None else _left(until))
            if opening.error is not None:
                # A fresh one for each caller: a shared one would collect everybody's traceback.
                raise copy.copy(opening.error)

    def _is_alive(self, connection: Connection) -> bool:
        """Look whether a connection that was not used for a while has been closed by the peer."""
        return hub.is_hub_greenlet() or not connection.calls.is_stale() or connection.check_alive()

    def _open_for_all(self, state: hub.HubState, until: float | None) -> Any:
        """Open this thread's connection; others who need it meanwhile wait for this one."""
        if hub.is_hub_greenlet():
            raise ProtocolError("cannot connect inside a callback of the hub; spawn a greenlet for it")
        opening = self._openings[state.hub] = _Opening()
        try:
            for _ in range(MAX_RELEASES):
                epoch = self._epoch
                connection = self._open(state, until)
                if self._take(state, connection, epoch):
                    return connection.calls
                # Meanwhile it was released, or given another identification.
                connection.close_gently()
            raise ProtocolError(f"{self.uri} was released {MAX_RELEASES} times while it was being connected")
        except PyroError as exc:
            opening.error = exc
            raise
        finally:
            del self._openings[state.hub]
            opening.done.set()

    def _check_bound(self, state: hub.HubState) -> Any:
        connection = self.bound
        assert connection is not None
        if connection.state is not state:
            raise ProtocolError(
                "this object lives at the other end of a connection of another thread; call it from there"
            )
        if connection.closed_by is not None:
            raise ConnectionClosedError(
                "connection lost: this object lived at the other end of a connection that has ended"
            )
        return connection.calls

    def _take(self, state: hub.HubState, connection: Connection, epoch: int) -> bool:
        """Use a connection that was opened, unless this proxy was released since it was begun."""
        with self._lock:
            if epoch != self._epoch:
                return False
            self._connections[state.hub] = connection
            for key, other in list(self._connections.items()):
                if other.closed_by is not None and key is not state.hub:
                    del self._connections[key]
            self.calls = connection.calls
        return True

    def _open(self, state: hub.HubState, until: float | None) -> Connection:
        if self._end is None:
            self._end = CallerEnd(self._settings, self.pickle_rules, self.by_value)
        remembered = self.resolved
        uri = self._resolve()
        try:
            connection = Connection.open(
                uri.endpoint, self._end, self._connect_seconds(until), credentials=self.credentials(), uri=uri,
                tls=self._tls_for(uri),
            )  # fmt: skip
        except ConnectionDeniedError:
            raise
        except ProtocolError:
            self.unresolve()
            if remembered is not None and remembered is uri:
                # The object may have moved since its name was looked up; nothing has been sent yet.
                return self._open(state, until)
            raise
        if uri.protocol in LOCATIONS:
            self._resolve_location(uri, connection, until)
        return connection

    def credentials(self) -> Credentials | None:
        """Return what this side identifies itself with; None where that is nothing."""
        if self.identification is None and self.validator is None:
            return None
        from gpyro.auth import Credentials  # only proxies with an identification need the cryptography

        return Credentials(self.identification, self.validator)

    def _tls_for(self, uri: PyroURI) -> TLSConfig | None:
        """Return how to speak TLS with an address, None where it is a plain one.

        Raises:
            URIError: this proxy has a TLSConfig, and the address would lead past it.
        """
        if uri.protocol not in ("PYROSSL", "PYROLOCSSL"):
            if self.tls is not None:
                raise URIError(f"{uri} is a plain address, and this proxy has a TLSConfig; nothing was sent there")
            return None
        if self.tls is not None:
            return self.tls
        from gpyro.hub import TLSConfig  # only proxies with TLS need it

        return TLSConfig.from_settings(self._settings or process_config)

    def _connect_seconds(self, until: float | None) -> float | None:
        """Return how long connecting may take; None is the setting."""
        limit = self._limit(until)
        if limit is None:
            return None
        seconds = _left(limit)
        assert self._end is not None
        return seconds if until is not None else min(seconds, self._end.tuning.connect_timeout_seconds)

    @staticmethod
    def _limit(until: float | None) -> float | None:
        """Return the nearer of a limit and the deadline that holds here, on the monotonic clock."""
        scope = current_scope()
        limits = [limit for limit in (until, None if scope is None else scope.deadline) if limit is not None]
        return min(limits, default=None)

    def _resolve(self) -> PyroURI:
        """Return an address that can be connected to."""
        if self.resolved is not None and time.monotonic() - self._resolved_at > self._trust_seconds():
            self.unresolve()
        uri = self.resolved or self.uri
        assert uri is not None
        if uri.protocol == "PYRONAME":
            uri = seams.resolve_name.get()(uri, self)
            if uri.protocol == "PYRONAME":
                raise URIError(f"{self.uri} stands for {uri}, which is a name again")
            self.resolved = uri
            self._resolved_at = time.monotonic()
        if not self.object_id and uri.protocol not in LOCATIONS:
            self.object_id = uri.objectID
        return uri

    def _trust_seconds(self) -> float:
        """Return for how long the address behind a name is used for new connections."""
        return (self._settings or process_config).resolve_cache_seconds

    def _resolve_location(self, uri: PyroURI, connection: Connection, until: float | None) -> None:
        """Ask the daemon at a PYROLOC address for the id behind the name."""
        if self.object_id:
            return
        try:
            target = build_target(DAEMON_ID, "resolve")
            seconds = None if until is None else _left(until)
            object_id = connection.calls.call(target, (uri.objectID,), None, seconds)
        except BaseException as exc:
            connection.close()
            if isinstance(exc, NotStarted):
                raise ConnectionClosedError(str(exc)) from None
            raise
        self.object_id = object_id

    def unresolve(self) -> None:
        """What was found out about a name may not hold any more; it is asked again next time."""
        if self.uri is not None and self.uri.protocol in ("PYRONAME", *LOCATIONS):
            self.resolved = None
            self.object_id = ""
            self.targets.clear()
            with self._lock:
                connections, self._connections = list(self._connections.values()), {}
                self.calls = None
            for connection in connections:
                # Calls of others that are under way still get their answers.
                hub.run_soon_or_now(connection.state, connection.retire)

    def _forget(self, calls: Any) -> None:
        if self.calls is calls and self.bound is None:
            self.calls = None
        for key, connection in list(self._connections.items()):
            if connection.calls is calls:
                self._connections.pop(key, None)

    def hand_on(self, twin: Core) -> None:
        """Give a copy of the proxy what this one was told."""
        twin.timeout, twin.oneway = self.timeout, self.oneway
        twin.identification, twin.validator = self.identification, self.validator
        twin.tls, twin.pickle_rules, twin.by_value = self.tls, self.pickle_rules, self.by_value

    def release(self) -> None:
        """Close the connections; what is queued is sent first. The next call connects again."""
        with self._lock:
            self._epoch += 1
            connections, self._connections = list(self._connections.values()), {}
            if self.bound is None:
                self.calls = None
        for connection in connections:
            hub.run_soon_or_now(connection.state, connection.close_gently)

    def __del__(self) -> None:
        if getattr(self, "_connections", None):
            self.release()


def _left(until: float) -> float:
    """Return the seconds until a time of the monotonic clock.

    Raises:
        TimeoutError: it has passed.
    """
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time was over before the call was sent", maybe_executed=False)
    return left

def run_callbacks(timeout: float | None = None) -> bool:
    """Serve callbacks in a program whose hub does not run by itself.

    Args:
        timeout: seconds to wait for one; None waits without limit, 0 serves what is there.

    Returns:
        True once at least one has been served since it last returned, those during calls included; False when
        the time is over.
    """
    activity = _activity_of(hub.current_state())
    seen = activity.seen
    if timeout == 0 or activity.served != seen:
        hub.run_pending()
    until = math.inf if timeout is None else time.monotonic() + timeout
    while activity.served == seen and (left := until - time.monotonic()) > 0:
        # With a limit, as the loop would find nothing to wait for otherwise: connections do not count.
        hub.wait_for(activity.signal, (), min(left, MAX_WAIT_SECONDS))
    activity.seen = activity.served
    return activity.seen != seen


def _activity_of(state: hub.HubState) -> _Activity:
    activity = _activities.get(state)
    if activity is None:
        activity = _activities[state] = _Activity()
    return activity
