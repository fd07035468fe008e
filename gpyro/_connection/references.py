"""What travels by reference on one connection: proxies, connected objects, objects of this connection.

Four kinds, by number on the wire:

    0  the address of an object of some daemon, arrives as a proxy
    1  the same, arrives as a proxy with attributes
    2  an object of the sender that is reachable over this very connection
    3  an object of the receiver that comes home
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gpyro import seams
from gpyro.errors import PyroError, RemoteProtocolError, SerializationError
from gpyro.objects import Method, Table, build_table
from gpyro.serializers import register
from gpyro.uri import PyroURI

__all__ = ["AddressesOnly", "Exports", "Reference"]

ADDRESS, ATTR_ADDRESS, LOCAL, HOME = 0, 1, 2, 3

register(PyroURI, name="gpyro.URI", to_state=str, from_state=PyroURI)


class Reference(Protocol):
    """What a proxy tells about itself to the connection that it is sent over."""

    def _gpyro_reference_(self) -> tuple[Any, str, bool]:
        """Return the connection it is bound to or None, its address or object id, and "has attributes"."""
        ...


def _proxy_of(kind: int, data: bytes) -> object:
    """Make a proxy of the address of some daemon's object.

    Raises:
        RemoteProtocolError: it is none.
    """
    text = _text_of(data)
    try:
        if kind == ADDRESS:
            return seams.make_proxy.get()(PyroURI(text))
        if kind == ATTR_ADDRESS:
            return seams.make_attr_proxy.get()(PyroURI(text))
    except PyroError as exc:
        raise RemoteProtocolError(f"reference to an address that is none: {data[:80]!r}") from exc
    raise RemoteProtocolError(f"reference of kind {kind} to {text[:80]!r}, which this side does not have")


def _text_of(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise RemoteProtocolError(f"reference to an address that is none: {data[:80]!r}") from exc


class Exports:
    """The references of one connection; `owner` is the connection.

    Objects stay reachable until the connection ends, at most `limit` of them.
    """

    __slots__ = ("_by_id", "_ids", "_limit", "_owner")

    def __init__(self, owner: Any, limit: int) -> None:
        self._owner = owner
        self._limit = limit
        self._by_id: dict[str, tuple[object, Table | Relay]] = {}
        #: By id() of the object; a proxy, made anew for each arrival, by its connection and the id there.
        self._ids: dict[object, str] = {}

    def __repr__(self) -> str:
        return f"<Exports, {len(self._by_id)} objects>"

    def encode_reference(self, value: object) -> tuple[int, bytes] | None:
        """Say how an object travels over this connection; None if it is none of ours."""
        if hasattr(type(value), "_gpyro_reference_"):
            return self._encode_proxy(value)
        daemon = seams.get_daemon_of.get()(value)
        if daemon is not None:
            return ADDRESS, str(daemon.uri_of(value)).encode()
        return LOCAL, self._export(value, id(value), build_table).encode()

    def decode_reference(self, kind: int, data: bytes) -> object:
        """Make of a reference what the receiver works with.

        Raises:
            RemoteProtocolError: it refers to nothing.
        """
        if kind in (LOCAL, HOME):
            text = _text_of(data)
            if kind == LOCAL:
                return seams.make_bound_proxy.get()(self._owner, text)
            if text in self._by_id:
                return self._by_id[text][0]
        return _proxy_of(kind, data)

    def find(self, object_id: str) -> Table | Relay | None:
        """Return what is callable on an object of this connection."""
        entry = self._by_id.get(object_id)
        return None if entry is None else entry[1]

    def clear(self) -> None:
        """The connection has ended."""
        self._by_id.clear()
        self._ids.clear()

    def _encode_proxy(self, proxy: Any) -> tuple[int, bytes]:
        connection, name, has_attributes = proxy._gpyro_reference_()
        if connection is None:
            return (ATTR_ADDRESS if has_attributes else ADDRESS), name.encode()
        if connection is self._owner:
            return HOME, name.encode()
        return LOCAL, self._export(proxy, (connection, name), Relay).encode()

    def _export(self, value: object, key: object, table_of: Callable[[Any], Table | Relay]) -> str:
        known = self._ids.get(key)
        if known is not None:
            return known
        if len(self._by_id) >= self._limit:
            raise SerializationError(
                f"{len(self._by_id)} objects were passed over this connection already, limit is {self._limit} "
                "(max_exports_per_connection); connect them to a daemon instead"
            )
        object_id = str(len(self._by_id) + 1)
        self._by_id[object_id] = (value, table_of(value))
        self._ids[key] = object_id
        return object_id


class AddressesOnly:
    """The references of what outlives its connection: only what has an address travels."""

    def __repr__(self) -> str:
        return "<AddressesOnly>"

    def encode_reference(self, value: object) -> tuple[int, bytes] | None:
        """Say how an object travels, which is by its address.

        Raises:
            SerializationError: it has none.
        """
        if hasattr(type(value), "_gpyro_reference_"):
            connection, name, has_attributes = value._gpyro_reference_()  # type: ignore[attr-defined]
            if connection is None:
                return (ATTR_ADDRESS if has_attributes else ADDRESS), name.encode()
        else:
            daemon = seams.get_daemon_of.get()(value)
            if daemon is not None:
                return ADDRESS, str(daemon.uri_of(value)).encode()
        raise SerializationError(
            f"{type(value).__name__} lives at one end of a connection, and this value goes further; connect the "
            "object to a daemon, so that it has an address"
        )

    def decode_reference(self, kind: int, data: bytes) -> object:
        """Make a proxy of an address.

        Raises:
            RemoteProtocolError: it is none.
        """
        return _proxy_of(kind, data)


class Relay:
    """Stands for an object at the far end of another connection; valid while that one lives."""

    __slots__ = ("_proxy",)

    def __init__(self, proxy: Any) -> None:
        self._proxy = proxy

    def __repr__(self) -> str:
        return f"<Relay to {self._proxy!r}>"

    @property
    def owner(self) -> Relay:
        """What its methods belong to: nothing that is here."""
        return self

    def find(self, name: str) -> Method:
        """Return a method that passes the call on; the far side's own table decides about the name."""
        if name.startswith("_"):
            raise AttributeError(f"{name!r} is private; such names are never reachable from outside")
        # Not getattr, which finds what a proxy has for itself first.
        return Method(self._proxy.__getattr__(name), name, self._proxy)

    def read(self, name: str) -> Any:
        """Pass an attribute read on."""
        return self._proxy._gpyro_read_(name)

    def write(self, name: str, value: Any) -> None:
        """Pass an attribute write on."""
        self._proxy._gpyro_write_(name, value)
