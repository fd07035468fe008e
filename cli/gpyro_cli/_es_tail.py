"""`gpyro es tail`: follow events in a terminal."""

from __future__ import annotations

import click

from gpyro_cli._es_contact import EventContact, needs_server

__all__ = ["tail"]

#: Matches every subject.
EVERYTHING = ".*"


@click.command()
@click.option("--exact", is_flag=True, help="PATTERNs are plain subjects.")
@click.option("--count", metavar="N", type=click.IntRange(1), help="End after N events.")
@click.option("--history", metavar="N", type=click.IntRange(0), default=0, help="Begin with the last N events.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON.")
@needs_server
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1)
def tail(
    contact: EventContact, patterns: tuple[str, ...], exact: bool, count: int | None, history: int, as_json: bool
) -> None:
    """Print events whose subjects match a PATTERN, by default all, until ctrl-C or SIGTERM.

    Patterns are regular expressions that match subjects from their beginning, in upper or lower case. Each line
    has time, subject and message. It goes on when the event server is started again; where events were lost, it
    says so.
    """
    if exact and not patterns:
        raise click.UsageError("--exact is for subjects; name one")
    from gpyro_cli._es_follower import Follower

    Follower(contact, history, count, as_json).follow(patterns or (EVERYTHING,), exact)
