"""Remote Python objects for gevent: daemon, dynamic proxies, hierarchical name server and tools.

    import gpyro
    daemon = gpyro.Daemon()
    uri = daemon.connect(anything)
    gpyro.Proxy(uri).method()

Names are loaded when they are first used, so that `import gpyro` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gpyro._version import __version__

if TYPE_CHECKING:
    from gpyro import auth, errors, eventserver, log, naming, util
    from gpyro._serializers.pickle_rules import PickleRules
    from gpyro.configuration import config
    from gpyro.context import current_call, deadline
    from gpyro.daemon import Daemon, initClient, initServer
    from gpyro.hub import TLSConfig
    from gpyro.objects import (
        CallbackObjBase,
        ObjBase,
        SynchronizedObjBase,
        cancellable,
        expose,
        idempotent,
        offload,
        oneway,
    )
    from gpyro.proxy import AttrProxy, Proxy, getAttrProxyForURI, getProxyForURI, run_callbacks
    from gpyro.serializers import register
    from gpyro.uri import PyroURI

_WHERE = {
    "AttrProxy": "gpyro.proxy",
    "CallbackObjBase": "gpyro.objects",
    "Daemon": "gpyro.daemon",
    "ObjBase": "gpyro.objects",
    "PickleRules": "gpyro._serializers.pickle_rules",
    "Proxy": "gpyro.proxy",
    "PyroURI": "gpyro.uri",
    "SynchronizedObjBase": "gpyro.objects",
    "TLSConfig": "gpyro.hub",
    "cancellable": "gpyro.objects",
    "config": "gpyro.configuration",
    "current_call": "gpyro.context",
    "deadline": "gpyro.context",
    "expose": "gpyro.objects",
    "getAttrProxyForURI": "gpyro.proxy",
    "getProxyForURI": "gpyro.proxy",
    "idempotent": "gpyro.objects",
    "initClient": "gpyro.daemon",
    "initServer": "gpyro.daemon",
    "offload": "gpyro.objects",
    "oneway": "gpyro.objects",
    "register": "gpyro.serializers",
    "run_callbacks": "gpyro.proxy",
}
_MODULES = ("auth", "errors", "eventserver", "log", "naming", "util")

__all__ = [
    "AttrProxy",
    "CallbackObjBase",
    "Daemon",
    "ObjBase",
    "PickleRules",
    "Proxy",
    "PyroURI",
    "SynchronizedObjBase",
    "TLSConfig",
    "__version__",
    "auth",
    "cancellable",
    "config",
    "current_call",
    "deadline",
    "errors",
    "eventserver",
    "expose",
    "getAttrProxyForURI",
    "getProxyForURI",
    "idempotent",
    "initClient",
    "initServer",
    "log",
    "naming",
    "offload",
    "oneway",
    "register",
    "run_callbacks",
    "util",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(import_module(_WHERE[name]), name)
    elif name in _MODULES:
        value = import_module(f"gpyro.{name}")
    else:
        raise AttributeError(f"module 'gpyro' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
