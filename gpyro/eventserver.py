"""Events: publishers tell subscribers, by subject, through an event server.

    $ gpyro es
    >>> from gpyro.eventserver import Publisher
    >>> Publisher().publish("Stock.SUNW", 12.5)

What lies behind is in `_events/`: `clients` what programs use, `starter` what runs a server, `service` the object
that it serves. `python -m gpyro.eventserver` is `gpyro es`.
"""

from __future__ import annotations

from gpyro._events.clients import Publisher, Subscriber
from gpyro._events.event import Event
from gpyro._events.finding import find_event_server
from gpyro._events.service import EVENTSERVER_NAME, EventService
from gpyro._events.starter import EventServiceStarter
from gpyro.util import run_command

__all__ = [
    "EVENTSERVER_NAME",
    "Event",
    "EventService",
    "EventServiceStarter",
    "Publisher",
    "Subscriber",
    "find_event_server",
]

if __name__ == "__main__":
    run_command("es")
