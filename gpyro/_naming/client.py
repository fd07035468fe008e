"""The caller's side of the name server: its proxy."""

from __future__ import annotations

from typing import Any

from gpyro._naming.server import check_address
from gpyro.configuration import Settings, config
from gpyro.errors import ConnectionClosedError, TimeoutError
from gpyro.names import Listing, SystemMeta, expand_name
from gpyro.proxy import Proxy, RemoteMethod
from gpyro.uri import PyroURI

__all__ = ["NameServerProxy"]


class NameServerProxy(Proxy):
    """A proxy of a name server; relative names belong to the default group of *this* process.

    It connects when it is first used and again when the connection is lost. A question whose answer was lost
    on the way is asked once more; a change is not, as nobody knows whether it was made.

    Args:
        URI: the address of a name server.
        identification: what this side proves itself with; None for nothing.
        noconnect: only the proxy; otherwise the server is asked for a sign of life.

    Raises:
        ProtocolError: nobody answers, unless `noconnect`.
    """

    def __init__(
        self, URI: PyroURI | str, identification: object = None, noconnect: bool | int = 0,
        *, config: Settings | None = None,
    ) -> None:  # fmt: skip
        super().__init__(URI, config=config)
        if identification is not None:
            self._setIdentification(identification)
        if not noconnect:
            self.ping()

    def _change(self, method: str, *args: Any) -> Any:
        return RemoteMethod(self.__dict__["_core"], method)(*args)

    def _ask(self, method: str, *args: Any) -> Any:
        try:
            return self._change(method, *args)
        except TimeoutError:
            raise
        except ConnectionClosedError:
            return self._change(method, *args)

    def __copy__(self) -> NameServerProxy:
        core = self.__dict__["_core"]
        twin = type(self)(core.uri, noconnect=1, config=core._settings)
        core.hand_on(twin.__dict__["_core"])
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        # Without a connection: who unpickles it has not asked for one.
        return type(self), (str(self.__dict__["_core"].uri), None, 1)

    # -- objects

    def register(self, name: str, URI: PyroURI | str) -> None:
        """Put an address under a name; see `NameServer.register`."""
        self._change("register", self.fullName(name), check_address(name, URI))

    def unregister(self, name: str) -> None:
        """Remove a name; see `NameServer.unregister`."""
        self._change("unregister", self.fullName(name))

    def resolve(self, name: str) -> PyroURI:
        """Return the address under a name; see `NameServer.resolve`."""
        uri = self._ask("resolve", self.fullName(name))
        return uri if isinstance(uri, PyroURI) else PyroURI(uri)

    def flatlist(self) -> Any:
        """Return (full name, address) of every object, sorted by name."""
        return self._ask("flatlist")

    # -- groups

    def list(self, groupname: str = "", offset: int = 0, limit: int | None = None) -> Listing:
        """Return what stands in a group; see `NameServer.list`."""
        return self._ask("list", self.fullName(groupname), offset, limit)  # type: ignore[no-any-return]

    def createGroup(self, groupname: str) -> None:
        """Make an empty group; see `NameServer.createGroup`."""
        self._change("createGroup", self.fullName(groupname))

    def deleteGroup(self, groupname: str) -> None:
        """Remove a group with all that is in it; see `NameServer.deleteGroup`."""
        self._change("deleteGroup", self.fullName(groupname))

    # -- either

    def setMeta(self, name: str, meta: Any) -> None:
        """Keep a value with an object or group; see `NameServer.setMeta`."""
        self._change("setMeta", self.fullName(name), meta)

    def getMeta(self, name: str) -> Any:
        """Return the value that `setMeta` gave, or None."""
        return self._ask("getMeta", self.fullName(name))

    def _getSystemMeta(self, name: str) -> SystemMeta:
        """Return what the server itself notes of an object or group."""
        kind, created, owner = self._ask("get_system_meta", self.fullName(name))
        return SystemMeta(kind, created, owner)

    def fullName(self, name: str) -> str:
        """Return the name with this process's default group in front if it is relative; nothing is asked."""
        return expand_name(name, config.ns_defaultgroup)

    # -- the server itself

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._ask("ping")

    def shutdown(self) -> str:
        """End the name server; see `NameServer.shutdown`."""
        return self._change("shutdown")  # type: ignore[no-any-return]
