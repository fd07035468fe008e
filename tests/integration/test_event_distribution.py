"""An event's way into the boxes: what is replayed and what is not yet, much at a time, and who has to wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest

from gpyro.errors import EventError
from gpyro.eventrecords import EventRecord
from gpyro.storage.eventsqlite import EventSqlite
from tests.support.events import EventServer, event_server, listening
from tests.support.servers import SECONDS, eventually


@contextmanager
def _held_back(storage: EventSqlite) -> Iterator[threading.Event]:
    """Let events last and nobody hear of that, until the gate is opened, as a busy hub does."""
    tell, gate = storage.listener, threading.Event()
    assert tell is not None

    def listener(records: list[EventRecord]) -> None:
        assert gate.wait(SECONDS)
        tell(records)

    storage.listener = listener
    try:
        yield gate
    finally:
        gate.set()
        storage.listener = tell


@contextmanager
def _ticking() -> Iterator[list[int]]:
    """Count how often others have their turn, while this greenlet is in the server itself."""
    ticks = [0]

    def count() -> None:
        while True:
            ticks[0] += 1
            gevent.sleep(0)

    counter = gevent.spawn(count)
    try:
        yield ticks
    finally:
        counter.kill()


def _sequences(server: EventServer, number: int) -> list[int]:
    """Return what waits in the mailbox of that number."""
    (member,) = [one for one in server.service._members.members.values() if one.box.number == number]
    return [entry.sequence for entry in member.box.unsent]  # type: ignore[union-attr]


@pytest.mark.parametrize("wanted", [{"subjects": ["a"]}, {"patterns": ["a.*"]}])
def test_event_that_lasts_and_is_not_distributed_yet_comes_once_to_who_asks_for_history(
    tmp_path: Path, wanted: dict[str, Any]
) -> None:
    with EventSqlite(str(tmp_path / "events.sqlite")) as storage, event_server(storage) as server:
        publisher = server.publisher()
        publisher.publish("a", 0)
        late = server.recorder(history=10)
        with _held_back(storage) as gate:
            job = gevent.spawn(publisher.publish, "a", 1)
            eventually(lambda: storage.newest == 2)
            late.subscribe(wanted.get("subjects"))
            late.subscribeMatch(wanted.get("patterns"))
            gate.set()
            job.get(timeout=SECONDS)
        with listening(late):
            publisher.publish("a", 2)
            late.wait_for(3)
        assert late.messages == [0, 1, 2]
        assert late.lost == []


def test_subscriber_that_comes_back_gets_what_is_not_distributed_yet_once(tmp_path: Path) -> None:
    with EventSqlite(str(tmp_path / "events.sqlite")) as storage:
        with event_server(storage, es_resume_seconds=0.2) as server:
            recorder, publisher = server.recorder("a"), server.publisher()
            with listening(recorder):
                publisher.publish("a", 0)
                recorder.wait_for(1)
            recorder.ES._release()
            eventually(lambda: server.service.subscribers() == [])
            with _held_back(storage) as gate:
                job = gevent.spawn(publisher.publish, "a", 1)
                eventually(lambda: storage.newest == 2)
                with listening(recorder):
                    gate.set()
                    job.get(timeout=SECONDS)
                    publisher.publish("a", 2)
                    recorder.wait_for(3)
            assert recorder.messages == [0, 1, 2]
            assert recorder.lost == []


def test_pattern_that_is_new_while_a_publisher_waits_for_a_queue_misses_nothing() -> None:
    with event_server(es_block_seconds=SECONDS) as server:
        worker = server.recorder("jobs", queue="jobs", queuesize=1)
        publisher = server.publisher()
        publisher.publish("jobs", 1)
        job = gevent.spawn(publisher.publish, "jobs", 2)
        eventually(lambda: server.service.status()["blocked"] == 1)
        late = server.recorder(history=10)
        late.subscribeMatch("jo.s")
        with listening(worker, late):
            job.get(timeout=SECONDS)
            late.wait_for(2)
        assert late.messages == [1, 2]


def test_history_is_looked_through_while_others_run() -> None:
    with event_server(es_history=20_000) as server:
        for _ in range(10):
            server.service.publish([f"{kind}{number}" for kind in "ab" for number in range(500)], None)
        with _ticking() as ticks:
            server.service.open_box({"queuesize": 20_000}, [], ["a"], 20_000)
        assert ticks[0] >= 3
        found = _sequences(server, server.described(kind="mailbox")["id"])
        assert len(found) == 5_000 and found == sorted(set(found))


def test_many_costly_patterns_in_one_call_leave_others_their_turn() -> None:
    with event_server() as server:
        token, _, _ = server.service.open_box({})
        with _ticking() as ticks:
            server.service.select(token, None, [rf"(?:a|b)*(?:a|c)*x{number}$" for number in range(300)])
        assert ticks[0] >= 10
        assert server.service.status()["patterns"] == 300


def test_much_to_distribute_leaves_others_their_turn_and_keeps_the_order() -> None:
    with event_server(es_queuesize=10_000) as server:
        for _ in range(500):
            server.service.open_box({"policy": "drop_new"}, ["quick"], ["s"])
        ids = [entry["id"] for entry in server.service.subscribers(limit=1000)]
        other = gevent.Greenlet(server.service.publish, "quick", 2)
        with _ticking() as ticks:
            other.start_later(0.001)
            server.service.publish([f"s{number}" for number in range(200)], 1)
            assert ticks[0] >= 5, "100,000 boxes were filled in one go"
            other.get(timeout=SECONDS)
        assert server.service.status()["events"] == 201
        for number in (ids[0], ids[-1]):
            assert _sequences(server, number) == list(range(1, 202))


def test_much_to_distribute_leaves_callers_over_connections_their_turn() -> None:
    with event_server() as server:
        for _ in range(500):
            server.service.open_box({"policy": "drop_new"}, None, ["s"])
        es, served = server.proxy(), 0
        job = gevent.spawn(server.service.publish, [f"s{number}" for number in range(400)], 1)
        while not job.ready():
            es.status()
            served += 1
        job.get()
        assert served >= 10, "200,000 boxes in pieces of 10,000"


def test_one_call_with_more_events_than_a_queue_holds_is_refused_at_once_and_nobody_else_is() -> None:
    with event_server(es_block_seconds=SECONDS) as server:
        worker = server.recorder("jobs", "other", queue="jobs", queuesize=3)
        worker.subscribeMatch("j")
        plain = server.recorder("other")
        publisher = server.publisher()
        message = (
            r"one call has 4 events of \d+ bytes for the queue 'jobs'; its limits are 3 events and \d+ bytes\. "
            r"Nothing was published; publish fewer subjects at a time"
        )
        with pytest.raises(EventError, match=message):
            publisher.publish(["j1", "j2", "j3", "other"], 0)
        publisher.publish(["j1", "j2", "j3"], 1)
        with listening(worker, plain):
            worker.wait_for(3)
            publisher.publish("other", 2)
            plain.wait_for(1)
            worker.wait_for(4)
        assert worker.messages == [1, 1, 1, 2] and plain.messages == [2]


def test_calls_with_many_events_for_one_queue_do_not_wait_for_each_other() -> None:
    with event_server(es_block_seconds=SECONDS) as server:
        worker = server.recorder(queue="jobs", queuesize=5)
        worker.subscribeMatch("j")
        publishers = [server.publisher() for _ in range(6)]
        jobs = [
            gevent.spawn(publisher.publish, [f"j{number}" for number in range(4)], place)
            for place, publisher in enumerate(publishers)
        ]
        with listening(worker):
            gevent.joinall(jobs, timeout=SECONDS, raise_error=True)
            worker.wait_for(24)
        assert sorted(worker.messages) == sorted([*range(6)] * 4)


def test_publisher_that_goes_away_while_its_events_are_distributed_leaves_nobody_waiting() -> None:
    with event_server(es_block_seconds=SECONDS) as server:
        opened = [server.service.open_box({"policy": "block", "queuesize": 1}, ["x"], ["s"]) for _ in range(300)]
        server.service.publish("x", 0)
        job = gevent.spawn(server.service.publish, [f"s{number}" for number in range(100)], 1)
        eventually(lambda: server.service.status()["events"] > 1)
        job.kill()
        eventually(lambda: server.service.status()["events"] == 101)
        # Each has its first event, and lacks the others.
        eventually(lambda: server.service.status()["dropped"] == 100 * len(opened))
        assert server.service.status()["blocked"] == 0
