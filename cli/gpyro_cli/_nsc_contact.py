"""What the commands of `gpyro nsc` share: where the name server is, and how they go through several names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gpyro_cli.completion import complete_name
from gpyro_cli.output import print_failure

if TYPE_CHECKING:
    from gpyro.naming import NameServerProxy

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["Contact", "each", "json_option", "name_argument", "pass_contact"]


class Contact:
    """Where the name server is, from the options; it is contacted when a command needs it."""

    def __init__(
        self, host: str | None, port: int | None, bcaddr: str | None, identification: object,
        timeout: float | None = None,
    ) -> None:  # fmt: skip
        self.host = host
        self.port = port
        self.bcaddr = bcaddr
        self.identification = identification
        self.timeout = timeout

    def get(self) -> NameServerProxy:
        """Find it.

        Raises:
            NamingError: there is none. ConnectionDeniedError: it does not let us in. TimeoutError: that took
            longer than --timeout.
        """
        from gpyro.context import deadline

        if self.timeout is None:
            return self._find()
        with deadline(self.timeout):
            ns = self._find()
        ns._setTimeout(self.timeout)
        return ns

    def _find(self) -> NameServerProxy:
        from gpyro.naming import NameServerLocator

        return NameServerLocator(self.identification).getNS(self.host, self.port, bcaddr=self.bcaddr)


pass_contact = click.make_pass_decorator(Contact)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON; docs/nameserver.md has its shape.")


def name_argument(name: str, nargs: int = 1, required: bool = True) -> Callable[[F], F]:
    """Make an argument that is a name, or several; shells complete it."""
    return click.argument(name, nargs=nargs, required=required, shell_complete=complete_name)


def each(names: Sequence[str], action: Callable[[str], object]) -> None:
    """Do it for each name; those that fail are told, the others are done, and the status is 1 then."""
    from gpyro.errors import AccessDeniedError, NamingError

    failed = False
    for name in names:
        try:
            action(name)
        except (AccessDeniedError, NamingError) as exc:
            if len(names) == 1:
                raise
            print_failure(str(exc))
            failed = True
    if failed:
        raise click.exceptions.Exit(1)
