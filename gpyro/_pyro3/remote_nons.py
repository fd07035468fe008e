"""`Pyro.ext.remote_nons`: as `Pyro.ext.remote`, without a name server, and values travel as they do elsewhere.

    provide_server_object(Thing(), "thing", "localhost", 7766); handle_requests()      # in a server
    obj = get_server_object("thing", "localhost", 7766)                                # in a client
"""

from __future__ import annotations

from collections.abc import Callable

from gpyro import objects
from gpyro._pyro3.remote import _attributes_of, serve
from gpyro.configuration import config
from gpyro.daemon import Daemon, initClient, initServer
from gpyro.errors import PyroError
from gpyro.proxy import AttrProxy
from gpyro.uri import PyroURI

__all__ = ["get_server_object", "handle_requests", "interrupt", "provide_server_object"]

#: 1: tell what is done.
verbose = 0
#: The daemon that is in use, and what it serves.
pyro_daemon: Daemon | None = None
daemon_objects: list[objects.ObjBase] = []
#: 1: `handle_requests` ends.
abort = 0


def get_server_object(objectName: str, hostname: str, portnum: int) -> AttrProxy:
    """Return a proxy with attributes for the object of this name in the daemon at a host and port."""
    initClient(verbose)
    uri = PyroURI(hostname, objectName, portnum, "PYROLOC")
    if verbose:
        print(f"Binding object {objectName}\nURI: {uri}")
    return AttrProxy(uri)


def provide_server_object(
    obj: object, name: str | None = None, hostname: str = "", portnum: int | None = None
) -> AttrProxy:
    """Serve an object under a name, and return a proxy with attributes for it.

    Args:
        hostname, portnum: where the daemon listens that is made at the first object.

    Raises:
        DaemonError: it cannot listen there.
    """
    global pyro_daemon
    if pyro_daemon is None:
        initServer(verbose)
        # Ctrl-C is the orderly end of handle_requests.
        pyro_daemon = Daemon(host=hostname, port=portnum, config=config.snapshot(as_pyro3=False))
    served = obj if isinstance(obj, objects.ObjBase) else objects.ObjBase()
    attributes = None if served is obj else _attributes_of(obj)
    if served is not obj:
        served.delegateTo(obj)
    uri = pyro_daemon.connect(served, name, attributes=attributes)
    daemon_objects.append(served)
    if verbose:
        print(f"provide_server_object: URI = {uri}")
    return AttrProxy(uri)


def handle_requests(wait_time: float | None = None, callback: Callable[[], object] | None = None) -> int:
    """Serve until `interrupt`, SIGTERM or ctrl-C; see `Pyro.ext.remote.handle_requests`.

    Raises:
        PyroError: nothing is provided.
    """
    global abort
    abort = 0
    if pyro_daemon is None:
        raise PyroError(
            "there is no daemon with which to handle requests; call provide_server_object() first"
        )
    serve(pyro_daemon, lambda: not abort, wait_time, callback)
    abort = 1
    return abort


def interrupt(*args: object) -> None:
    """Let `handle_requests` end; also a handler for a signal."""
    global abort
    abort = 1
