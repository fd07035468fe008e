"""What the commands of `gpyro es` that need a server share: where it is, and who asks."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from gpyro_cli.identification import identification_options, read_own_identification

if TYPE_CHECKING:
    from gpyro.auth import Key
    from gpyro.proxy import Proxy

__all__ = ["EventContact", "needs_server"]


class EventContact:
    """Where the event server is, from the options, None where it is to be looked for; and what we come with."""

    def __init__(self, uri: str | None, identification: str | Key | None) -> None:
        self.uri = uri
        self.identification = identification

    def get(self) -> Proxy:
        """Find it.

        Raises:
            NamingError: there is none. ConnectionDeniedError: the name server does not let us in.
        """
        from gpyro.eventserver import find_event_server

        return find_event_server(self.identification, self.uri)


def needs_server(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say where the server is; the command gets an `EventContact` first."""

    @click.option(
        "--uri", metavar="URI",
        help="Its address.  [default: what the name server knows, else what is in the file es_urifile]",
    )
    @identification_options("What to prove ourselves with")
    @wraps(function)
    def command(
        uri: str | None, identification: str | None, identification_file: str | None, **others: Any
    ) -> None:
        function(EventContact(uri, read_own_identification(identification, identification_file)), **others)

    return command
