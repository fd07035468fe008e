"""A running name server, shared by several tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gpyro
from gpyro.naming import NameServerProxy

__all__ = ["emptied_afterwards"]


@contextmanager
def emptied_afterwards(port: int) -> Iterator[NameServerProxy]:
    """Give a proxy of the name server at a port of this machine; afterwards it is as if just started."""
    proxy = gpyro.naming.NameServerLocator().getNS("127.0.0.1", port)
    yield proxy
    for name, kind in proxy.list(":"):
        if name != "Pyro":
            (proxy.unregister if kind else proxy.deleteGroup)(f":{name}")
    proxy.createGroup(":Default")
    proxy._release()
