"""`Pyro.ext.remote`: objects that are served and found with one call, and passed by reference on the way.

    obj = provide_local_object(Thing(), ":Things.one")      # in a server, which then calls handle_requests()
    obj = get_remote_object(":Things.one")                  # in a client

What one side passes to the other, as an argument or a result, arrives there as a `DynamicProxy` where it is an
object of a class of the program's own, and comes home as the object itself.

Programs set the variables at the top of this module.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from gpyro import objects, proxy
from gpyro.configuration import config
from gpyro.daemon import Daemon, initClient, initServer
from gpyro.errors import NamingError, PyroError
from gpyro.naming import NameServerLocator, NameServerProxy
from gpyro.objects import build_table
from gpyro.serializers import is_registered, register
from gpyro.uri import PyroURI

__all__ = [
    "DynamicProxy", "Error", "Nameserver", "ObjBase", "find_nameserver", "get_remote_object", "handle_requests",
    "interrupt", "provide_local_object", "register_type", "unregister_object", "unregister_objects", "unwrap",
    "wrap",
]  # fmt: skip

#: 1: tell what is done.
verbose = 0
#: 1: objects of all classes travel by value, as far as they can.
copy_types = 0
#: Where the daemon listens that is made at the first object.
daemon_host = ""
daemon_port = 0
#: The name server and the daemon that are in use.
pyro_nameserver: NameServerProxy | None = None
pyro_daemon: Daemon | None = None
#: What has been provided.
daemon_objects: list[objects.ObjBase] = []
#: Classes whose objects travel by value.
daemon_types: list[type] = []
#: 1: `handle_requests` ends.
abort = 0

#: Objects that others may make this process provide, by having them returned: a bound, as they stay.
MAX_OBJECTS = 10_000

#: The same by object id, and by the id() of what they serve, which they keep alive.
_by_guid: dict[str, objects.ObjBase] = {}
_by_subject: dict[int, objects.ObjBase] = {}

#: Whose objects are data.
_DATA = frozenset(("builtins", "gpyro", *sys.stdlib_module_names)) - {"__main__"}


class Error(Exception):
    """What a call of a provided object failed with; the text begins with the name of the exception."""


register(Error, name="Pyro.ext.remote.Error")


class ObjBase(objects.ObjBase):
    """What serves a provided object; its methods take and give objects by reference."""


class DynamicProxy(proxy.AttrProxy):
    """A proxy that takes and gives objects by reference."""

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        if isinstance(value, proxy.RemoteMethod):
            value = self.__dict__[name] = _ByReference(value)
            return value
        return unwrap(value)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, wrap(value))


class _ByReference:
    """A remote method whose arguments and result go through `wrap` and `unwrap`."""

    def __init__(self, method: proxy.RemoteMethod) -> None:
        self._method = method

    def __repr__(self) -> str:
        return f"<by reference: {self._method!r}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return unwrap(self._method(*wrap(args), **wrap(kwargs)))


# -- both ways -------------------------------------------------------------------------------------------------


def register_type(t: type) -> None:
    """Let objects of this class, and of those that inherit from it, travel by value."""
    if t not in daemon_types:
        daemon_types.append(t)


def wrap(value: Any) -> Any:
    """Return what travels in place of a value: a proxy for an object, a copy of a container with such proxies."""
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(map(wrap, value))
    if type(value) is dict:
        return {key: wrap(item) for key, item in value.items()}
    return provide_local_object(value) if _is_object(value) else value


def unwrap(value: Any) -> Any:
    """Return what a received value stands for: our own object behind a proxy, and proxies of this kind."""
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(map(unwrap, value))
    if type(value) is dict:
        return {key: unwrap(item) for key, item in value.items()}
    if not isinstance(value, proxy.AttrProxy):
        return value
    own = _by_guid.get(value.objectID)
    if own is not None:
        return own.delegate._gpyro_subject if isinstance(own.delegate, _Face) else own
    return value if isinstance(value, DynamicProxy) else DynamicProxy(value.URI)


def _is_object(value: Any) -> bool:
    cls = type(value)
    if isinstance(value, (proxy.Proxy, BaseException, type)) or copy_types or isinstance(value, (*daemon_types,)):
        return False
    return isinstance(value, objects.ObjBase) or not (
        cls.__module__.partition(".")[0] in _DATA or is_registered(cls)
    )


class _Face:
    """Stands for an object where a daemon serves it: its public methods and attributes, by reference."""

    __slots__ = ("_gpyro_subject",)

    def __init__(self, subject: object) -> None:
        object.__setattr__(self, "_gpyro_subject", subject)

    def __repr__(self) -> str:
        return f"<provided: {self._gpyro_subject!r}>"

    def __getattr__(self, name: str) -> Any:
        return wrap(getattr(self._gpyro_subject, name))

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._gpyro_subject, name, unwrap(value))


def _face_of(subject: object) -> _Face:
    methods = {name: _method(name) for name in build_table(subject).methods}
    face: _Face = type(type(subject).__name__, (_Face,), {"__slots__": (), **methods})(subject)
    return face


def _method(name: str) -> Callable[..., Any]:
    def call(self: _Face, *args: Any, **kwargs: Any) -> Any:
        try:
            result = getattr(self._gpyro_subject, name)(*unwrap(args), **unwrap(kwargs))
        except Exception as exc:
            raise Error(f"{type(exc).__name__} in {name}: {exc}") from exc
        return wrap(result)

    call.__name__ = name
    return call


def _attributes_of(subject: object) -> list[str]:
    names = {*getattr(subject, "__dict__", ())}
    for cls in type(subject).__mro__:
        if cls.__module__.partition(".")[0] not in _DATA:
            names.update(vars(cls))
    hidden = {*vars(objects.ObjBase), "objectGUID"}
    return [
        name for name in names
        if not name.startswith("_") and name not in hidden and not callable(getattr(subject, name, None))
    ]  # fmt: skip


# -- serving ---------------------------------------------------------------------------------------------------


def provide_local_object(
    obj: object, name: str | None = None, hostname: str | None = None, portnum: int | None = None
) -> DynamicProxy:
    """Serve an object, and return a proxy for it.

    Args:
        obj: any object; its public methods and attributes are served.
        name: for the name server, from which who had it before is taken out; None for no name.
        hostname, portnum: where the name server is; by default it is looked for.

    Raises:
        NamingError: there is no name server, or the name is malformed. Error: too many objects are provided.
    """
    global pyro_nameserver
    daemon = _own_daemon()
    if name:
        if pyro_nameserver is None or hostname:
            pyro_nameserver = find_nameserver(hostname, portnum)
        daemon.useNameServer(pyro_nameserver)
        _take_name(pyro_nameserver, name)
        _tell(f"Remoting object {name}")
    served = _by_subject.get(id(obj)) or _make_servant(obj)
    uri = daemon.connect(served, name or None, attributes=_attributes_of(obj))
    if served.GUID() not in _by_guid:
        daemon_objects.append(served)
        _by_guid[served.GUID()] = _by_subject[id(obj)] = served
    return DynamicProxy(uri)


def _own_daemon() -> Daemon:
    global pyro_daemon
    if pyro_daemon is None:
        initServer(verbose)
        # Ctrl-C is the orderly end of handle_requests.
        pyro_daemon = Daemon(host=daemon_host, port=daemon_port, config=config.snapshot(as_pyro3=False))
        # A client that passes an object is called back before it handles requests, if it ever does.
        pyro_daemon.getServerSockets()
    return pyro_daemon


def _take_name(ns: NameServerProxy, name: str) -> None:
    try:
        ns.unregister(name)
    except NamingError:
        # Nobody had it.
        pass


def _make_servant(obj: object) -> objects.ObjBase:
    if len(daemon_objects) >= MAX_OBJECTS:
        raise Error(
            f"{len(daemon_objects)} objects are provided already, which is the limit; end some with "
            "unregister_object(), or let them travel by value with register_type(class)"
        )
    if isinstance(obj, objects.ObjBase):
        if isinstance(obj, ObjBase) and obj.delegate is None:
            obj.delegateTo(_face_of(obj))
        return obj
    servant = ObjBase()
    servant.delegateTo(_face_of(obj))
    return servant


def unregister_object(obj: object) -> None:
    """Serve an object no longer; one that is not served is passed over."""
    served = _by_subject.pop(id(obj), None)
    if served is None:
        return
    del _by_guid[served.GUID()]
    daemon_objects.remove(served)
    if pyro_daemon is not None and served.daemon is pyro_daemon:
        pyro_daemon.disconnect(served)


def unregister_objects() -> None:
    """Serve nothing any more; the end of the process does it too."""
    for face in [served.delegate for served in daemon_objects]:
        unregister_object(face._gpyro_subject if isinstance(face, _Face) else face)


def handle_requests(wait_time: float | None = None, callback: Callable[[], object] | None = None) -> int:
    """Serve until `interrupt`, SIGTERM or ctrl-C; returns 1.

    Args:
        wait_time: call `callback` each time that so many seconds have passed; None: after each thing served.

    Raises:
        Error: nothing is provided.
    """
    global abort
    abort = 0
    if pyro_daemon is None:
        raise Error("there is no daemon with which to handle requests; call provide_local_object() first")
    serve(pyro_daemon, lambda: not abort, wait_time, callback)
    abort = 1
    return abort


def serve(
    daemon: Daemon, goes_on: Callable[[], object], wait_time: float | None, callback: Callable[[], object] | None
) -> None:
    """Serve while `goes_on()`, which is asked after each thing served and each `wait_time` seconds."""
    since: float | None = None

    def condition() -> object:
        nonlocal since
        now = time.monotonic()
        if since is None:
            since = now
        elif callback is not None and (not wait_time or now - since >= wait_time):
            since = now
            callback()
        return goes_on()

    daemon.requestLoop(condition, wait_time)


def interrupt(*args: object) -> None:
    """Let `handle_requests` end; also a handler for a signal."""
    global abort
    abort = 1


# -- finding ---------------------------------------------------------------------------------------------------


def find_nameserver(hostname: str | None = None, portnum: int | None = None) -> NameServerProxy:
    """Return the name server: at an address, at a host and port, or where it is found.

    Raises:
        NamingError: there is none.
    """
    if hostname and "://" in hostname:
        ns = NameServerProxy(PyroURI(hostname))
    else:
        _tell(f"Searching for Naming Service on {hostname or 'BROADCAST'}:{portnum or config.ns_bc_port}...")
        ns = NameServerLocator().getNS(hostname, portnum)
    _tell(f"Naming Service found at {ns.URI}")
    return ns


def get_remote_object(name: str, hostname: str | None = None, portnum: int | None = None) -> DynamicProxy:
    """Return a proxy for the object of this name.

    Raises:
        Error: the name server does not know it. NamingError: there is no name server.
    """
    global pyro_nameserver
    if pyro_nameserver is None or hostname:
        initClient(verbose)
        pyro_nameserver = find_nameserver(hostname, portnum)
    _tell(f"Binding object {name}")
    try:
        uri = pyro_nameserver.resolve(name)
    except PyroError as exc:
        raise Error(f"Couldn't bind object, nameserver says: {exc}") from exc
    _tell(f"URI: {uri}")
    return DynamicProxy(uri)


class Nameserver:
    """A name server by host and port, with objects in place of addresses."""

    def __init__(self, ns: str | None, ns_port: int | None) -> None:
        self.ns = ns
        self.ns_port = ns_port

    def __repr__(self) -> str:
        return f"<Nameserver {self}>"

    def __str__(self) -> str:
        return f"{self.ns}:{self.ns_port}" if self.ns_port else str(self.ns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Nameserver) and (self.ns, self.ns_port) == (other.ns, other.ns_port)

    def __hash__(self) -> int:
        return hash((self.ns, self.ns_port))

    def resolve(self, name: str) -> DynamicProxy:
        """Return a proxy for the object of this name."""
        return get_remote_object(name, self.ns, self.ns_port)

    def register(self, name: str, object: object) -> DynamicProxy:
        """Serve an object under a name."""
        return provide_local_object(object, name, self.ns, self.ns_port)

    def unregister(self, object: object) -> None:
        """Serve an object no longer."""
        unregister_object(object)


def _tell(text: str) -> None:
    if verbose:
        print(text)
