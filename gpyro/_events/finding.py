"""How clients find the event server: by an address, by the name server, or by the file that it leaves."""

from __future__ import annotations

from typing import Any

from gpyro._events.service import EVENTSERVER_NAME
from gpyro.configuration import config
from gpyro.errors import NamingError
from gpyro.naming import find_name_server, read_uri_file
from gpyro.proxy import Proxy
from gpyro.uri import PyroURI

__all__ = ["find_event_server"]


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
