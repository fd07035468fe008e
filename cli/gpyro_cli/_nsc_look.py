"""The commands of `gpyro nsc` that look further than Pyro's: search, watch, status."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gpyro_cli._following import following, format_time
from gpyro_cli._nsc_contact import Contact, json_option, name_argument, pass_contact
from gpyro_cli.output import entry_rows, json_list, print_json, print_pages, print_table

if TYPE_CHECKING:
    from gpyro.naming import NameEvent

__all__ = ["COMMANDS", "in_pages", "read_json"]

T = TypeVar("T")

#: Names of a search that are printed at once: few, as they may be long in coming.
PAGE = 100


@click.command()
@json_option
@click.option("--glob", metavar="PATTERN", help="Of the last parts of names; of full names if it begins with `:`.")
@click.option("--regex", metavar="PATTERN", help="Regular expression that full names match from their beginning.")
@click.option(
    "--meta", "metas", metavar="KEY=TEXT", multiple=True,
    help="What the user's meta has to have, a dict then; KEY:=JSON for other values than text.",
)
@name_argument("group", required=False)
@pass_contact
def search(
    contact: Contact, group: str | None, glob: str | None, regex: str | None, metas: tuple[str, ...],
    as_json: bool,
) -> None:  # fmt: skip
    """Find objects and groups below GROUP, by default everywhere; all that is asked for has to fit."""
    wanted = dict(map(_read_item, metas)) if metas else None
    found = contact.get().search(group or ":", glob=glob, regex=regex, meta=wanted)
    if as_json:
        with json_list() as items:
            for page in in_pages(found, PAGE):
                items.add(page)
        return
    rows = ((d["name"], d["kind"], uri) for d in found for uri in d["uris"] or ("",))
    print_pages(("NAME", "KIND", "ADDRESS"), in_pages(rows, PAGE))


def in_pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Return lists of so many items, each when it is full."""
    rest = iter(items)
    while page := [*islice(rest, size)]:
        yield page


def _read_item(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not key.rstrip(":") or not equals:
        raise click.UsageError(f"--meta {text!r}; it is KEY=TEXT or KEY:=JSON")
    return (key[:-1], read_json(value, "--meta")) if key.endswith(":") else (key, value)


def read_json(text: str, what: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        click.UsageError: it is none.
    """
    try:
        return json.loads(text)
    except ValueError as exc:
        raise click.UsageError(f"{what} {text[:60]!r} is no JSON: {exc}") from exc


# -- status --------------------------------------------------------------------------------------------------


@click.command()
@json_option
@pass_contact
def status(contact: Contact, as_json: bool) -> None:
    """Show what the name server tells of itself."""
    entries = contact.get().status()
    if as_json:
        print_json(entries)
    else:
        print_table(("ENTRY", "VALUE"), [*entry_rows(entries)])


# -- watch ---------------------------------------------------------------------------------------------------


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON.")
@click.option("--count", metavar="N", type=click.IntRange(1), help="End after N events.")
@name_argument("group", required=False)
@pass_contact
def watch(contact: Contact, group: str | None, as_json: bool, count: int | None) -> None:
    """Print what happens at or below GROUP, by default everywhere, until ctrl-C or SIGTERM.

    Each line has time, kind, name and addresses. It goes on when the name server is started again, and tells it by
    a "reset": events may be missing before it.
    """
    with contact.get().watch(group or ":") as events, following(events.close):
        for event in islice(events, count):
            click.echo(_event_line(event, as_json))


def _event_line(event: NameEvent, as_json: bool) -> str:
    from gpyro.util import escape_controls

    if as_json:
        return json.dumps({"kind": event.kind, "name": event.name, "uris": event.uris, "time": event.time})
    return escape_controls("  ".join((format_time(event.time), event.kind.ljust(12), event.name, *event.uris)))


COMMANDS = (search, status, watch)
