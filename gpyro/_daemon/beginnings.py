"""How a program begins: Pyro's `initServer` and `initClient`, which are optional here."""

from __future__ import annotations

import os

from gpyro.configuration import Settings
from gpyro.configuration import config as process_config
from gpyro.errors import PyroError
from gpyro.log import Log
from gpyro.util import make_private_directory

__all__ = ["initClient", "initServer", "settings_text"]


def initServer(banner: bool | int = 0, storageCheck: bool | int = 1) -> None:
    """Get ready to be a server; cheap, optional, and harmless when repeated.

    Args:
        banner: print a line with the version.
        storageCheck: see that the storage directory can be written to.

    Raises:
        PyroError: it cannot.

    Source: Pyro 3 manual, chapter 4, "Initialize Pyro".
    """
    _begin("Server", banner)
    if storageCheck:
        _check_storage()


def initClient(banner: bool | int = 0) -> None:
    """Get ready to be a client; cheap, optional, and harmless when repeated.

    Unlike `initServer` it never looks at the storage directory, so clients run where nothing can be written.
    """
    _begin("Client", banner)


def _begin(kind: str, banner: bool | int) -> None:
    from gpyro._version import __version__

    if banner:
        print(f"gpyro {kind} initialized. Using gpyro V{__version__}")
    if process_config.tracelevel:
        Log.msg(f"init{kind}", settings_text(process_config))


def settings_text(settings: Settings) -> str:
    rows = ", ".join(f"{row.name}={row.value!r}" for row in settings.dump())
    return f"active settings: {rows}"


def _check_storage() -> None:
    path = process_config.storage
    try:
        make_private_directory(path)
    except OSError as exc:
        raise PyroError(f"storage directory {path!r} cannot be made: {exc.strerror} (setting storage)") from exc
    if not os.access(path, os.W_OK):
        raise PyroError(f"storage directory {path!r} cannot be written to (setting storage)")
