"""Event servers in a greenlet of this process, and subscribers that note what they get."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import gevent
from gevent.event import Event as Gate

import gpyro
from gpyro.configuration import Settings
from gpyro.eventserver import Event, EventService, Publisher, Subscriber
from gpyro.storage.events import EventStorage
from tests.support.servers import SECONDS, Running, eventually, running_daemon

__all__ = ["EventServer", "Recorder", "event_server", "event_server_at", "listening"]


class EventServer(NamedTuple):
    """One that is being served."""

    running: Running
    service: EventService
    uri: str

    def publisher(self) -> Publisher:
        publisher = Publisher(esURI=self.uri)
        self.running._proxies.append(publisher.ES)
        return publisher

    def recorder(self, *subjects: str, **options: Any) -> Recorder:
        """Return a subscriber to these subjects."""
        recorder = Recorder(self.uri, **options)
        self.running._proxies.append(recorder.ES)
        recorder.subscribe(list(subjects))
        return recorder

    def proxy(self, uri: str | None = None) -> Any:
        proxy = gpyro.Proxy(uri or self.uri)
        self.running._proxies.append(proxy)
        return proxy

    def described(self, **wanted: Any) -> dict[str, Any]:
        """Return what the service tells of the one subscriber that has these values."""
        found = [
            entry for entry in self.service.subscribers()
            if all(entry[key] == value for key, value in wanted.items())
        ]  # fmt: skip
        assert len(found) == 1, self.service.subscribers()
        return found[0]


@contextmanager
def event_server(storage: EventStorage | None = None, **items: Any) -> Iterator[EventServer]:
    """Serve events; `items` are settings. Nothing may be left when the block has ended."""
    with running_daemon(**items) as running:
        settings: Settings = running.service.settings
        service = EventService(storage, settings)
        yield EventServer(running, service, str(running.daemon.connect(service)))


@contextmanager
def event_server_at(
    port: int, make: Callable[..., EventService] = EventService, **items: Any
) -> Iterator[EventService]:
    """Serve events at PYRO://127.0.0.1:port/eventserver, so that it can begin anew there."""
    config = gpyro.config.snapshot(**items)
    daemon = gpyro.Daemon(port=port, norange=True, config=config)
    loop = gevent.spawn(daemon.requestLoop)
    service = make(config=config)
    service.objectGUID = "eventserver"
    daemon.connect(service)
    try:
        yield service
    finally:
        daemon.shutdown(True)
        loop.get(timeout=SECONDS)


class Recorder(Subscriber):
    """Notes what it gets; with `gate` each handler waits until that is open, and those in `failing` fail."""

    def __init__(self, uri: str, gate: Gate | None = None, **options: Any) -> None:
        super().__init__(esURI=uri, **options)
        self.got: list[tuple[str, Any]] = []
        self.events: list[Event] = []
        self.lost: list[int | None] = []
        self.begun = 0
        self.gate = gate
        self.failing: list[Any] = []

    def event(self, event: Event) -> None:
        self.begun += 1
        if self.gate is not None:
            assert self.gate.wait(SECONDS)
        if event.msg in self.failing:
            self.failing.remove(event.msg)
            raise ValueError(f"{event.msg!r} is more than it can deal with")
        self.events.append(event)
        self.got.append((event.subject, event.msg))

    def events_lost(self, count: int | None) -> None:
        self.lost.append(count)

    @property
    def messages(self) -> list[Any]:
        return [message for _, message in self.got]

    def wait_for(self, count: int) -> None:
        """Wait until it has had so many events."""
        eventually(lambda: len(self.got) >= count, f"got {len(self.got)} of {count} events: {self.got[-10:]}")


@contextmanager
def listening(*subscribers: Subscriber) -> Iterator[list[gevent.Greenlet]]:
    """Let them listen for the length of the block; what `listen` raised is raised at its end."""
    jobs = [gevent.spawn(subscriber.listen) for subscriber in subscribers]
    try:
        eventually(lambda: all(map(_is_attached, subscribers)))
        yield jobs
    finally:
        for subscriber in subscribers:
            subscriber.abort()
        gevent.joinall(jobs, timeout=SECONDS)
    for job in jobs:
        job.get(timeout=SECONDS)


def _is_attached(subscriber: Subscriber) -> bool:
    subscription = subscriber._gpyro_subscription
    link = subscription._link
    return link is not None and link._members.get(subscription) is not None
