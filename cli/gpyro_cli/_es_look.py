"""The commands of `gpyro es` that look at a server and tidy it up: status, remove."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from gpyro_cli._es_contact import EventContact, needs_server
from gpyro_cli.output import entry_rows, print_json, print_pages, print_table

if TYPE_CHECKING:
    from gpyro.proxy import Proxy

__all__ = ["remove", "status"]

#: Subscribers that are asked for at once.
PAGE = 500
#: Subjects and patterns that a line of a table has room for.
SHOWN = 5

SUBSCRIBERS = ("SUBSCRIBER", "IDENTITY", "KIND", "STATE", "POLICY", "QUEUED", "DELIVERED", "DROPPED", "SUBJECTS")
QUEUES = ("QUEUE", "OWNER", "CONSUMERS", "QUEUED", "REDELIVERED", "AFTER", "SUBJECTS")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, which has more.")
@needs_server
def status(contact: EventContact, as_json: bool) -> None:
    """Show what the event server tells of itself, its subscribers and its queues.

    What is QUEUED is the events that wait, those that are sent and not acknowledged, and the most of both
    together.
    """
    es = contact.get()
    entries = es.status()
    pages = _pages(es)
    if as_json:
        subscribers = [each for page in pages for each in page]
        print_json({"server": entries, "subscribers": subscribers, "queues": es.queues()})
        return
    print_table(("ENTRY", "VALUE"), [*entry_rows(entries)])
    _print_part(SUBSCRIBERS, ([_subscriber_row(each) for each in page] for page in pages))
    _print_part(QUEUES, [[_queue_row(each) for each in es.queues()]])


def _pages(es: Proxy) -> Iterator[list[dict[str, Any]]]:
    page = es.subscribers(0, PAGE)
    while page:
        yield page
        page = es.subscribers(page[-1]["id"], PAGE) if len(page) == PAGE else []


def _print_part(header: tuple[str, ...], pages: Iterable[list[tuple[object, ...]]]) -> None:
    """Print a table below another one, where it has rows."""

    def apart() -> Iterator[list[tuple[object, ...]]]:
        for number, page in enumerate(filter(None, pages)):
            if not number:
                click.echo()
            yield page

    print_pages(header, apart())


def _subscriber_row(one: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        one["label"], one["identity"] or "-", one["kind"], one["state"], one["policy"], _queued(one),
        one["delivered"], one["dropped"], _subjects(one),
    )  # fmt: skip


def _queue_row(one: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        one["name"], one["owner"] or "-", one["consumers"], _queued(one), one["redelivered"],
        f"{one['redeliver_seconds']:g} s", _subjects(one),
    )  # fmt: skip


def _queued(one: Mapping[str, Any]) -> str:
    return f"{one['waiting']}+{one['unacknowledged']}/{one['limit']}"


def _subjects(one: Mapping[str, Any]) -> str:
    texts = [*one["subjects"], *(f"/{pattern}/" for pattern in one["patterns"])]
    return " ".join(texts[:SHOWN]) + (" ..." if len(texts) > SHOWN else "")


@click.command()
@needs_server
@click.argument("queue")
def remove(contact: EventContact, queue: str) -> None:
    """Remove the reliable queue QUEUE, with the events that wait in it."""
    contact.get().remove_queue(queue)
    click.echo(f"{queue} removed.")
