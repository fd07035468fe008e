"""`gpyro es publish`: publish events from a shell."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

import click

from gpyro_cli._es_contact import EventContact, needs_server

__all__ = ["publish", "read_value"]


# A negative number is a value, not an option.
@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "-s", "--subject", "others", metavar="SUBJECT", multiple=True,
    help="Publish it under this subject too; may be repeated.",
)  # fmt: skip
@click.option("--text", "as_text", is_flag=True, help="VALUE is text, also where it would be JSON.")
@needs_server
@click.argument("subject")
@click.argument("value")
def publish(contact: EventContact, subject: str, value: str, others: tuple[str, ...], as_text: bool) -> None:
    """Publish VALUE under SUBJECT.

    VALUE is JSON if it can be read as such, and text otherwise; `-` reads lines from stdin, each of which is an
    event.
    """
    subjects = [subject, *others]
    if "" in subjects:
        raise click.UsageError("an empty subject is nobody's; name one")
    from gpyro.eventserver import Publisher

    publisher = Publisher(contact.identification, contact.uri)
    count = 0
    try:
        for text in (line.rstrip("\r\n") for line in sys.stdin) if value == "-" else (value,):
            publisher.publish(subjects, text if as_text else read_value(text))
            count += len(subjects)
    except BaseException:
        if count:
            _tell(count)
        raise
    _tell(count)


def _tell(count: int) -> None:
    click.echo("1 event published." if count == 1 else f"{count} events published.")


def read_value(text: str) -> Any:
    """Return the value of a JSON text, or the text itself where it is none."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")
