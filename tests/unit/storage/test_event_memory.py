"""EventMemory passes the cases that every storage of events passes."""

from __future__ import annotations

from gpyro.storage.eventmemory import EventMemory
from gpyro.storage.events import EventStorage
from tests.unit.storage.event_conformance import (
    MODEL_BYTES,
    MODEL_EVENTS,
    EventStorageConformance,
    event,
    event_state_machine,
    queue,
)


class TestEventMemory(EventStorageConformance):
    def make_storage(self, **bounds: int) -> EventStorage:
        return EventMemory(**bounds)


TestEventMemoryAgainstModel = event_state_machine(
    lambda: EventMemory(max_events=MODEL_EVENTS, max_bytes=MODEL_BYTES)
).TestCase


def test_repr_tells_what_is_in_it_and_that_it_is_closed() -> None:
    storage = EventMemory()
    storage.put_queue(queue("q"))
    storage.append([event(), event()], [("q",), ()])
    assert repr(storage) == "<EventMemory <EventTable 2 events to 2, 536 bytes, 1 wait in 1 queues>>"
    storage.close()
    assert repr(storage) == "<EventMemory closed>"


def test_two_logs_have_different_ids() -> None:
    assert EventMemory().log != EventMemory().log
