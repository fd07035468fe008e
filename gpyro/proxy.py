"""The caller's view of a remote object: dynamic proxies, with and without attributes.

A proxy connects on first use, over one connection for each OS thread that uses it, and may be shared by any
number of greenlets and threads. It does nothing by itself: printing, comparing, hashing or copying it, or
looking whether it has a method, never goes over the network.
"""

from __future__ import annotations

import copy
import math
import time
import weakref
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Any

from gpyro import hub, seams
from gpyro.configuration import Settings
from gpyro.configuration import config as process_config
from gpyro.connection import METHOD, Connection, NotStarted, Tuning
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
from gpyro.objects import Method, unknown_object
from gpyro.uri import PyroURI
from gpyro.wire.hello import Greeting
from gpyro.wire.native import build_target

__all__ = ["AttrProxy", "Proxy", "RemoteMethod", "getAttrProxyForURI", "getProxyForURI", "run_callbacks"]

#: Longest wait in one piece.
MAX_WAIT_SECONDS = 3600.0
#: Times that one call is sent again because it provably never started, before its error is raised.
MAX_RESENDS = 2
#: The object that every daemon has for itself. Source: Pyro.constants.INTERNAL_DAEMON_GUID.
DAEMON_ID = "c0000000011000001000000010000001"


class CallerEnd:
    """The handler of connections that proxies open: it serves objects that were passed, and nothing else."""

    def __init__(self, settings: Settings | None) -> None:
        self.settings = settings or process_config
        self.tuning = Tuning.of(self.settings)
        self.methods: dict[bytes, Method] = {}
        self.offload_all = False

    def find(self, connection: Connection, target: bytes, access: int, object_id: str, name: str) -> Method:
        """Nothing is connected here."""
        raise unknown_object(object_id)

    def greet(self, connection: Connection, greeting: Greeting) -> tuple[int, str] | None:
        """Never asked: this end opens its connections."""
        return ConnectionDeniedError.UNSPECIFIED, "this side takes no connections"

    def offload(self, context: Context, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run an offloaded callback in a thread of this hub's pool."""
        pool = _pools.get(hub.current_state())
        if pool is None:
            pool = hub.OffloadPool(
                hub.current_state(), self.settings.offload_threads, self.settings.offload_queue
            )
            _pools[hub.current_state()] = pool
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


class _Core:
    """What the proxies and methods of one address share: its connections and how calls are made."""

    __slots__ = (
        "_connections", "_end", "_lock", "_openings", "_resolved_at", "_settings", "bound", "calls",
        "identification", "object_id", "oneway", "resolved", "targets", "timeout", "uri",
    )  # fmt: skip

    def __init__(self, uri: PyroURI | None, settings: Settings | None, bound: Connection | None = None) -> None:
        self.uri = uri
        self.bound = bound
        self.calls: Any = None if bound is None else bound.calls
        self.timeout: float | None = None
        self.oneway: frozenset[str] = frozenset()
        self.identification: object = None
        #: The PYRO address behind a PYRONAME or PYROLOC one, once asked for.
        self.resolved: PyroURI | None = None
        self._resolved_at = 0.0
        self.object_id = ""
        self.targets: dict[str, bytes] = {}
        self._settings = settings
        self._end: CallerEnd | None = None
        self._connections: dict[Any, Connection] = {}
        self._openings: dict[Any, _Opening] = {}
        self._lock = hub.NativeLock()

    # -- calling ---------------------------------------------------------------------------------------------

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], access: int = 0) -> Any:
        """Call a method, or read (1) or write (2) an attribute."""
        until: float | None = None
        for attempt in range(MAX_RESENDS + 1):
            calls = self.calls
            if calls is None or calls.hub is not hub.get_hub_if_exists() or calls.is_stale():
                if self.timeout is not None and until is None:
                    until = time.monotonic() + self.timeout
                calls = self.connect(until)
            target = self.targets.get(name) if not access else None
            if target is None:
                target = self._target(name, access)
            try:
                if self.oneway and not access and name in self.oneway:
                    return calls.call_oneway(target, args, kwargs)
                return calls.call(target, args, kwargs, self.timeout if until is None else _left(until))
            except NotStarted as exc:
                self._forget(calls)
                if self.bound is not None:
                    self._check_bound(hub.current_state())
                if self.bound is not None or attempt == MAX_RESENDS:
                    raise ConnectionClosedError(str(exc), maybe_executed=False) from None
            except UnknownObjectError:
                self._unresolve()
                raise
        raise AssertionError("the loop returns or raises")

    def _target(self, name: str, access: int) -> bytes:
        target = build_target(self.object_id, name, 0 if self.bound is None else 1, access)
        if not access:
            self.targets[name] = target
        return target

    # -- connections -----------------------------------------------------------------------------------------

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
            return self._open(state, until)
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

    def _open(self, state: hub.HubState, until: float | None) -> Any:
        if self._end is None:
            self._end = CallerEnd(self._settings)
        remembered = self.resolved
        uri = self._resolve()
        if self.identification is not None:
            raise ConnectionDeniedError(
                "this proxy has an identification, and the server does not authenticate: nothing was sent",
                ConnectionDeniedError.SECURITY,
            )
        try:
            connection = Connection.open(uri.endpoint, self._end, self._connect_seconds(until))
        except ProtocolError:
            self._unresolve()
            if remembered is not None and remembered is uri:
                # The object may have moved since its name was looked up; nothing has been sent yet.
                return self._open(state, until)
            raise
        if uri.protocol == "PYROLOC":
            self._resolve_location(uri, connection, until)
        with self._lock:
            self._connections[state.hub] = connection
            for key, other in list(self._connections.items()):
                if other.closed_by is not None and key is not state.hub:
                    del self._connections[key]
        self.calls = connection.calls
        return connection.calls

    def _connect_seconds(self, until: float | None) -> float | None:
        """Return how long connecting may take; None is the setting."""
        scope = current_scope()
        limits = [limit for limit in (until, None if scope is None else scope.deadline) if limit is not None]
        if not limits:
            return None
        seconds = _left(min(limits))
        assert self._end is not None
        return seconds if until is not None else min(seconds, self._end.tuning.connect_timeout_seconds)

    def _resolve(self) -> PyroURI:
        """Return an address that can be connected to."""
        if self.resolved is not None and time.monotonic() - self._resolved_at > self._trust_seconds():
            self._unresolve()
        uri = self.resolved or self.uri
        assert uri is not None
        if uri.protocol == "PYRONAME":
            uri = seams.resolve_name.get()(uri)
            if uri.protocol == "PYRONAME":
                raise URIError(f"{self.uri} stands for {uri}, which is a name again")
            self.resolved = uri
            self._resolved_at = time.monotonic()
        if uri.protocol in ("PYROSSL", "PYROLOCSSL"):
            raise URIError(f"{uri}: TLS is not part of this version; use PYRO or PYROLOC")
        if not self.object_id and uri.protocol != "PYROLOC":
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

    def _unresolve(self) -> None:
        """What was found out about a name may not hold any more; it is asked again next time."""
        if self.uri is not None and self.uri.protocol in ("PYRONAME", "PYROLOC", "PYROLOCSSL"):
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

    def release(self) -> None:
        """Close the connections; what is queued is sent first. The next call connects again."""
        with self._lock:
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


class RemoteMethod:
    """One method of a remote object; calling it is a remote call."""

    __slots__ = ("_core", "_name")

    def __init__(self, core: _Core, name: str) -> None:
        self._core = core
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        core = self._core
        calls = core.calls
        # The way of nearly every call; everything unusual is in _Core.call.
        if calls is not None and calls.pending and calls.hub is hub.get_hub_if_exists() and not core.oneway:
            target = core.targets.get(self._name)
            if target is not None:
                try:
                    return calls.call(target, args, kwargs, core.timeout)
                except NotStarted:
                    pass
        return core.call(self._name, args, kwargs)

    def __repr__(self) -> str:
        return f"<RemoteMethod {self._name} of {self._core.uri or 'an object of a connection'}>"


class Adapter:
    """What Pyro calls a proxy's adapter: its connection, to be bound again when the server has moved."""

    def __init__(self, core: _Core) -> None:
        self._core = core

    @property
    def URI(self) -> PyroURI | None:
        """The address behind the proxy, as far as it is known."""
        return self._core.resolved or self._core.uri

    def rebindURI(self, tries: int = 2**63 - 1, wait: float = 1) -> None:
        """Connect again, at most `tries` times with `wait` seconds between.

        Raises:
            TimeoutError: all tries failed. Source: Pyro 3 manual, chapter 7, "Automatic Rebinding".
        """
        for attempt in range(tries):
            self._core.release()
            self._core._unresolve()
            try:
                self._core.connect()
                return
            except PyroError:
                if attempt + 1 < tries:
                    hub.sleep(wait)
        raise TimeoutError(f"connection lost: {self._core.uri} could not be reached in {tries} tries")


class Proxy:
    """Calls the public methods of a remote object as if they were local.

        quotes = gpyro.Proxy("PYRONAME://:Default.our_object")
        print(quotes.getName())

    Args:
        uri: a PyroURI, or the text of one: PYRO, PYRONAME or PYROLOC.
        config: settings for this proxy; the process's by default.

    Raises:
        URIError: the text is not an address.

    Resources: `_release()` closes its connection, as does its end; it connects again when used.
    """

    _gpyro_by_reference_ = True

    def __init__(self, uri: PyroURI | str, *, config: Settings | None = None) -> None:
        parsed = uri if isinstance(uri, PyroURI) else PyroURI(uri)
        self.__dict__["_core"] = _Core(parsed, config)
        self.__dict__["objectID"] = parsed.objectID

    @property
    def URI(self) -> PyroURI:
        """The address, resolved as far as it is known."""
        core: _Core = self.__dict__["_core"]
        uri = core.resolved or core.uri
        if uri is None:
            raise URIError("an object of a connection has no address")
        return uri

    @property
    def adapter(self) -> Adapter:
        """Pyro's name for what holds the connection."""
        return Adapter(self.__dict__["_core"])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{name!r}: private names are never remote")
        method = RemoteMethod(self.__dict__["_core"], name)
        self.__dict__[name] = method
        return method

    # -- Pyro's controls -------------------------------------------------------------------------------------

    def _setOneway(self, methods: str | Iterable[str]) -> None:
        """Do not wait for these methods, besides those named before; nothing is heard of them."""
        names = [methods] if isinstance(methods, str) else list(methods)
        self.__dict__["_core"].oneway |= frozenset(names)

    def _setTimeout(self, timeout: float | None) -> None:
        """Give each call `timeout` seconds, connecting included; None or 0 takes the limit away."""
        if timeout is not None and timeout < 0:
            raise ValueError(f"timeout of {timeout!r} seconds; it is a positive number, or None for no limit")
        self.__dict__["_core"].timeout = float(timeout) if timeout else None

    def _setIdentification(self, ident: object) -> None:
        """Prove who we are with `ident` on the next connection; None takes it back."""
        self.__dict__["_core"].identification = ident
        self._release()

    def _release(self) -> None:
        """Close the connection; oneway calls still queued are sent first."""
        self.__dict__["_core"].release()

    # -- inert -----------------------------------------------------------------------------------------------

    def _gpyro_reference_(self) -> tuple[Any, str, bool]:
        core: _Core = self.__dict__["_core"]
        name = core.object_id if core.bound is not None else str(core.uri)
        return core.bound, name, isinstance(self, AttrProxy)

    def _gpyro_read_(self, name: str) -> Any:
        return self.__dict__["_core"].call(name, (), {}, access=1)

    def _gpyro_write_(self, name: str, value: Any) -> None:
        self.__dict__["_core"].call(name, (value,), {}, access=2)

    def __repr__(self) -> str:
        core: _Core = self.__dict__["_core"]
        where = core.uri if core.bound is None else f"object {core.object_id} of {core.bound.addr}"
        state = "connected" if core.is_connected() else "not connected"
        return f"<{type(self).__name__} {where}, {state}>"

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Proxy):
            return NotImplemented
        mine, theirs = self.__dict__["_core"], other.__dict__["_core"]
        return self.objectID == other.objectID and mine.bound is theirs.bound

    def __hash__(self) -> int:
        return hash(self.objectID)

    def __copy__(self) -> Proxy:
        core: _Core = self.__dict__["_core"]
        if core.bound is not None:
            return self
        assert core.uri is not None
        twin = type(self)(core.uri, config=core._settings)
        twin.__dict__["_core"].timeout = core.timeout
        twin.__dict__["_core"].oneway = core.oneway
        return twin

    def __deepcopy__(self, memo: object) -> Proxy:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        core: _Core = self.__dict__["_core"]
        if core.bound is not None:
            raise TypeError("a proxy for an object of a connection cannot be pickled")
        return type(self), (str(core.uri),)


class AttrProxy(Proxy):
    """A proxy that also reads and writes the object's public data attributes; each access is a remote call.

    What is read is a copy: `proxy.items.append(1)` changes nothing remotely.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{name!r}: private names are never remote")
        value = self._gpyro_read_(name)
        if value is not METHOD:
            return value
        method = RemoteMethod(self.__dict__["_core"], name)
        self.__dict__[name] = method
        return method

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or name in ("URI", "adapter", "objectID"):
            raise AttributeError(f"{name!r} of a proxy cannot be set")
        if name in self.__dict__:
            raise AttributeError(f"not an attribute: {name!r} is a method of the remote object")
        self._gpyro_write_(name, value)


def getProxyForURI(uri: PyroURI | str) -> Proxy:
    """Return a proxy for an address; the same as `Proxy(uri)`."""
    return Proxy(uri)


def getAttrProxyForURI(uri: PyroURI | str) -> AttrProxy:
    """Return a proxy with attributes for an address; the same as `AttrProxy(uri)`."""
    return AttrProxy(uri)


def run_callbacks(timeout: float | None = None) -> None:
    """Serve callbacks in a program whose hub does not run by itself.

    Returns once at least one has been served since it last returned, or after `timeout` seconds; None waits
    without limit, 0 serves what is there.
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


def _activity_of(state: hub.HubState) -> _Activity:
    activity = _activities.get(state)
    if activity is None:
        activity = _activities[state] = _Activity()
    return activity


def _bound_proxy(connection: Connection, object_id: str) -> Proxy:
    """Make a proxy for an object that the other end of a connection has passed."""
    proxy = Proxy.__new__(Proxy)
    core = _Core(None, None, connection)
    core.object_id = object_id
    proxy.__dict__["_core"] = core
    proxy.__dict__["objectID"] = object_id
    return proxy


seams.make_proxy.fill(Proxy)
seams.make_attr_proxy.fill(AttrProxy)
seams.make_bound_proxy.fill(_bound_proxy)
