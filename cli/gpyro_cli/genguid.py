"""`gpyro genguid`: print a new object id."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("genguid")
def command() -> None:
    """Print a new object id: 32 hexadecimal digits."""
    from gpyro.util import make_guid

    click.echo(make_guid())
