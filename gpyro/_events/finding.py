"""How clients find the event server: by an address, by the name server, or by the file that it leaves."""

from __future__ import annotations

import weakref
from typing import Any

from gpyro import hub
from gpyro._events.service import EVENTSERVER_NAME
from gpyro.configuration import config
from gpyro.errors import NamingError
from gpyro.naming import find_name_server, read_uri_file
from gpyro.proxy import Proxy
from gpyro.uri import PyroURI

__all__ = ["Contact", "find_event_server"]


def find_event_server(ident: object = None, esURI: PyroURI | str | None = None) -> Proxy:
    """Return a proxy for the event server.

    Args:
        ident: what to prove ourselves with, to the event server and to a name server that wants that: a
            passphrase or a key. None for servers that let everybody in.
        esURI: its address; by default it is the name `:Pyro.EventService`, and where no name server knows that the
            address in the file of the setting es_urifile.

    Raises:
        NamingError: there is none. ConnectionDeniedError: the name server does not let us in.
        URIError: that is no address.
    """
    uri = _locate(ident) if esURI is None else esURI
    proxy = Proxy(uri)
    if ident is not None:
        proxy._setIdentification(ident)
    return proxy


def _locate(ident: Any) -> PyroURI | str:
    try:
        ns = find_name_server(ident)
        try:
            ns.resolve(EVENTSERVER_NAME)
        finally:
            ns._release()
    except NamingError as missing:
        try:
            return read_uri_file(config.es_urifile)
        except NamingError:
            raise NamingError(
                f"no event server was found: {missing}, and there is no address in {config.es_urifile} "
                "(es_urifile); start one with `gpyro es`, or give its address"
            ) from missing
    # By its name, so that it is found again where it starts anew.
    return f"PYRONAME://{EVENTSERVER_NAME}"


class Contact:
    """One event server as the subscribers of a program see it: they share one proxy, and so its connections.

    Attributes:
        key: equal for those who may share it.
    """

    def __init__(self, ident: object, esURI: PyroURI | str | None) -> None:
        self.key = _key_of(ident, esURI)
        self._ident = ident
        self._uri = esURI
        self._proxy: Proxy | None = None
        self._lock = hub.NativeLock()

    def __repr__(self) -> str:
        return f"<Contact to {self._proxy or 'no event server yet'}>"

    @classmethod
    def of(cls, ident: object, esURI: PyroURI | str | None) -> Contact:
        """Return the one that there is for these, or a new one."""
        key = _key_of(ident, esURI)
        with _lock:
            contact = _contacts.get(key)
            if contact is None:
                contact = _contacts[key] = cls(ident, esURI)
            return contact

    @property
    def es(self) -> Any:
        """The proxy; it is looked for where there is none. See `find_event_server` for errors."""
        proxy = self._proxy
        if proxy is None:
            found = find_event_server(self._ident, self._uri)
            found._setOneway(["note_done", "detach", "close_link"])
            with self._lock:
                proxy = self._proxy = self._proxy or found
        return proxy

    def forget(self) -> None:
        """It could not be reached: where it leaves its address there may be another one next time."""
        with self._lock:
            self._proxy = None


def _key_of(ident: object, esURI: PyroURI | str | None) -> object:
    # Of keys and the like only the very same is equal, which has to be kept alive for that.
    return ("" if esURI is None else str(esURI), ident if isinstance(ident, (str, bytes)) else _Same(ident))


class _Same:
    """Equal for the very same thing."""

    def __init__(self, thing: object) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.thing is self.thing

    def __hash__(self) -> int:
        return id(self.thing)


_contacts: weakref.WeakValueDictionary[object, Contact] = weakref.WeakValueDictionary()
_lock = hub.NativeLock()
