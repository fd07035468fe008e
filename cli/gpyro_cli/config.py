"""`gpyro config`: show the settings."""

from __future__ import annotations

import click

from gpyro_cli.output import print_table

__all__ = ["command"]


@click.command("config")
@click.argument("items", nargs=-1)
@click.option("-c", "--changed", is_flag=True, help="Only those that are not the defaults.")
@click.option("-v", "--verbose", is_flag=True, help="Tell what each is for.")
def command(items: tuple[str, ...], changed: bool, verbose: bool) -> None:
    """Show the active settings, or only ITEMS, each with its value and where that comes from.

    The origin is default, the file, the environment variable, or code.
    """
    from gpyro.configuration import ITEMS, config

    unknown = [item for item in items if item not in ITEMS]
    if unknown:
        raise click.UsageError(f"there is no setting {unknown[0]!r}; `gpyro config` lists them all")
    rows = [row for row in config.dump() if not items or row.name in items]
    rows = [row for row in rows if not changed or row.origin != "default"]
    header = ("SETTING", "VALUE", "ORIGIN", "MEANING") if verbose else ("SETTING", "VALUE", "ORIGIN")
    print_table(header, [(row.name, _shown(row.value), row.origin, row.help)[: len(header)] for row in rows])
    for note in config.notes():
        click.echo(f"Note: {note}", err=True)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        value = ",".join(value)
    return "-" if value is None else str(value) or '""'
