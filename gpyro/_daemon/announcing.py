"""How a daemon's names get into the name server, and out of it.

A name server is whatever has Pyro's `register`, `unregister` and `resolve`. One whose class has `hold` and
`let_go` is asked for those: then names end with the process that holds them, however that ends. They are looked
for in the class, as a plain proxy has a method of any name.
"""

from __future__ import annotations

from typing import Any

from gpyro.errors import AccessDeniedError, NamingError, PyroError
from gpyro.log import Log
from gpyro.uri import PyroURI

__all__ = ["announce", "announce_for_good", "name_taken", "withdraw"]


def announce(ns: Any, name: str, uri: PyroURI, member: bool) -> None:
    """Register a name for as long as it is held, or where the name server has no such thing until it is removed.

    Args:
        member: stand beside other servers' addresses of that name.

    Raises:
        NamingError: it is malformed or taken. Whatever else the name server raises.
    """
    hold = getattr(type(ns), "hold", None)
    if hold is not None:
        hold(ns, name, uri, member=member)
    elif member:
        ns.register(name, uri, member=True)
    else:
        ns.register(name, uri)


def announce_for_good(ns: Any, name: str, uri: PyroURI) -> None:
    """Register a name that stays when this process ends; one that is there already is replaced.

    Raises:
        NamingError: it is malformed. Whatever else the name server raises.
    """
    try:
        known = ns.resolve(name)
    except NamingError:
        known = None
    if known is not None and known != uri:
        ns.unregister(name)
    elif known is not None:
        if hasattr(type(ns), "hold"):
            _make_permanent(ns, name, uri)
        return
    ns.register(name, uri)


def _make_permanent(ns: Any, name: str, uri: PyroURI) -> None:
    """The address is there, but may hang on a lease."""
    try:
        ns.register(name, uri, replace=True)
    except AccessDeniedError as exc:
        # Somebody else has registered this very address, and we may not change that.
        Log.warn("Daemon", f"{name!r} stays as it is registered: {exc}")


def name_taken(ns: Any, name: str, exc: NamingError) -> NamingError:
    """Say who has the name, and how to free it where that server is gone."""
    try:
        holder = f"it stands for {ns.resolve(name)}"
    except PyroError:
        holder = "it is free again by now"
    error = NamingError(
        f"{exc}; {holder}. If that server is gone: `gpyro nsc remove {name}`, or ns.unregister({name!r})"
    )
    error.reason, error.name = exc.reason, exc.name
    return error


def withdraw(ns: Any, name: str, uri: PyroURI) -> None:
    """Take a name out, or of several addresses under it this one; what goes wrong is logged."""
    let_go = getattr(type(ns), "let_go", None)
    try:
        if let_go is not None:
            let_go(ns, name, uri)
        else:
            ns.unregister(name)
    except Exception as exc:
        Log.warn("Daemon", f"could not unregister {name!r}: {exc}")
