"""What programs know as `Pyro.core`, in one place; each thing lives in a room of its own.

    import gpyro.core
    daemon = gpyro.core.Daemon()

Source: Pyro 3 manual, chapter 4; what is not here yet comes with the `gpyro.pyro3` package.
"""

from __future__ import annotations

from gpyro.daemon import Daemon, initClient, initServer
from gpyro.errors import PyroError
from gpyro.objects import CallbackObjBase, ObjBase, SynchronizedObjBase
from gpyro.proxy import AttrProxy, Proxy, getAttrProxyForURI, getProxyForURI
from gpyro.uri import PyroURI

__all__ = [
    "AttrProxy",
    "CallbackObjBase",
    "Daemon",
    "ObjBase",
    "Proxy",
    "PyroError",
    "PyroURI",
    "SynchronizedObjBase",
    "getAttrProxyForURI",
    "getProxyForURI",
    "initClient",
    "initServer",
]
