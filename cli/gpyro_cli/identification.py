"""The options -i and --identification-file, the same for all commands that serve or call."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from gpyro.auth import Key, Verifier

__all__ = ["identification_options", "read_identification", "read_own_identification"]

F = TypeVar("F", bound=Callable[..., Any])


def identification_options(purpose: str) -> Callable[[F], F]:
    """Add both options to a command; `read_identification` makes something of their values."""

    def add(function: F) -> F:
        function = click.option(
            "--identification-file", metavar="FILE", type=click.Path(dir_okay=False),
            help="The same from a file of mode 0600: a passphrase, a key, or for servers accounts (gpyro keygen).",
        )(function)
        return click.option(
            "-i", "--identification", metavar="TEXT",
            help=f"{purpose}, a passphrase; - asks for it, so that it does not stand in the process list.",
        )(function)

    return add


def read_identification(text: str | None, path: str | None) -> str | Key | list[Verifier] | None:
    """Return what the options name, None where none was given.

    Raises:
        click.UsageError: both were given, or it is empty. ConfigurationError: the file is not right.
    """
    if text is not None and path is not None:
        raise click.UsageError("-i and --identification-file name one thing twice; give one of them")
    if path is not None:
        from gpyro.auth import load_identification

        return load_identification(path)
    if text == "-":
        text = _ask()
    if text == "":
        raise click.UsageError("-i: the passphrase is empty; leave the option out for no identification")
    return text


def read_own_identification(text: str | None, path: str | None) -> str | Key | None:
    """Return what the options name, for a command that has to prove itself with it.

    Raises:
        Whatever `read_identification` does. click.UsageError: the file holds accounts.
    """
    identification = read_identification(text, path)
    if isinstance(identification, list):
        raise click.UsageError(
            "--identification-file holds accounts, which are for servers; a caller has a passphrase or a key"
        )
    return identification


def _ask() -> str:
    if sys.stdin.isatty():
        answer: str = click.prompt("Identification", hide_input=True, err=True)
        return answer
    return sys.stdin.readline().rstrip("\r\n")
