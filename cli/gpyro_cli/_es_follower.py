"""The subscriber of `gpyro es tail`: prints what it gets."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from gpyro.context import deadline
from gpyro.errors import PyroError
from gpyro.eventserver import Event, Subscriber
from gpyro.util import escape_controls
from gpyro_cli._es_contact import EventContact
from gpyro_cli._following import following, format_time
from gpyro_cli.output import make_plain

__all__ = ["Follower", "event_line"]

#: To let the server know that nobody follows any more; it would find out by itself.
LEAVE_SECONDS = 1.0


class Follower(Subscriber):
    """Prints events, each in a line.

    Nobody waits for it: where it is too slow, the oldest events are dropped, which it tells.

    Args:
        contact: where the event server is.
        history: how many events of the past to begin with.
        limit: end after so many events; None goes on.
        as_json: print lines of JSON.
    """

    def __init__(self, contact: EventContact, history: int, limit: int | None, as_json: bool) -> None:
        super().__init__(contact.identification, contact.uri, policy="drop_old", history=history)
        self._limit = limit
        # In the order in which they come.
        self.setThreading(0)
        self._as_json = as_json
        self._count = 0
        self._problem: OSError | None = None

    def follow(self, subjects: Sequence[str], exact: bool) -> None:
        """Print until a signal ends it, nobody reads any more, or it has printed enough.

        Raises:
            OSError: what it wants to print cannot be written. Whatever `subscribe` and `listen` do.
        """
        if exact:
            self.subscribe(list(subjects))
        else:
            self.subscribeMatch(list(subjects))
        try:
            with following(self.abort):
                self.listen()
        finally:
            self._leave()
        if self._problem is not None:
            raise self._problem

    def _leave(self) -> None:
        """Let the server know at once, if it is there."""
        try:
            with deadline(LEAVE_SECONDS):
                self.close()
        except PyroError:
            pass

    def event(self, event: Event) -> None:
        if self._count == self._limit:
            return
        self._print(event_line(event, self._as_json))
        self._count += 1
        if self._count == self._limit:
            self.abort()

    def events_lost(self, count: int | None) -> None:
        if self._as_json:
            self._print(json.dumps({"lost": count}))
        else:
            click.echo("Events were lost." if count is None else f"{count} events were lost.", err=True)

    def _print(self, line: str) -> None:
        """What goes wrong here ends the command; of what `event` raises, only the log would know."""
        try:
            click.echo(line)
        except OSError as exc:
            self._problem = exc
            self.abort()


def event_line(event: Event, as_json: bool) -> str:
    """Write an event in a line, for people or as JSON."""
    try:
        message, problem = event.msg, None
    except Exception as exc:
        # Of a class that is not known here, or broken; the next event may be fine.
        message, problem = None, f"{type(exc).__name__}: {exc}"
    if as_json:
        entries = {"time": event.time, "sequence": event.sequence, "subject": event.subject}
        what = {"message": message} if problem is None else {"problem": problem}
        return json.dumps(make_plain({**entries, **what}), allow_nan=False)
    text = message if isinstance(message, str) else repr(message) if problem is None else f"({problem})"
    line = "  ".join((format_time(event.time, "milliseconds"), event.subject, text))
    return escape_controls(line.replace("\n", "\\n"))
