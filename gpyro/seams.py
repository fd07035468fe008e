"""The typed slots through which lower rooms reach upper ones, each filled when the upper room is imported.

An import never points up. The few places where a lower room needs an upper one (an address that makes a
proxy, a codec that meets one) look here instead. There is no other late binding in gpyro.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Generic, TypeVar

T = TypeVar("T")

__all__ = ["Slot", "get_daemon_of", "make_attr_proxy", "make_bound_proxy", "make_proxy", "resolve_name"]


class Slot(Generic[T]):
    """One late-bound function: `fill` is called by the upper room, `get` by the lower one.

    `room` is the module that fills it; the first `get` imports that room if nothing else has.
    """

    def __init__(self, name: str, room: str) -> None:
        self.name = name
        self.room = room
        self._value: T | None = None

    def fill(self, value: T) -> T:
        """Store the function and hand it back, so that it can stand in front of a definition."""
        self._value = value
        return value

    def get(self) -> T:
        """Return the function.

        Raises:
            RuntimeError: the room was imported and did not fill its slot (a bug in gpyro).
        """
        if self._value is None:
            import_module(self.room)
        if self._value is None:
            raise RuntimeError(f"{self.room} did not fill the slot {self.name!r}")
        return self._value

    def __repr__(self) -> str:
        return f"<Slot {self.name} from {self.room}, {'empty' if self._value is None else 'filled'}>"


#: PyroURI -> Proxy
make_proxy: Slot[Callable[[Any], Any]] = Slot("make_proxy", "gpyro.proxy")
#: PyroURI -> AttrProxy
make_attr_proxy: Slot[Callable[[Any], Any]] = Slot("make_attr_proxy", "gpyro.proxy")
#: (connection, object id) -> Proxy for an object at the other end of that connection
make_bound_proxy: Slot[Callable[[Any, str], Any]] = Slot("make_bound_proxy", "gpyro.proxy")
#: (PYRONAME PyroURI, Core of the proxy that asks) -> PyroURI of the object, asked of a name server
resolve_name: Slot[Callable[[Any, Any], Any]] = Slot("resolve_name", "gpyro.naming")
#: object -> the Daemon that it is connected to, or None
get_daemon_of: Slot[Callable[[Any], Any]] = Slot("get_daemon_of", "gpyro.daemon")
