"""Reliable queues over real connections: at least once, in order, shared, kept over restarts of the server."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event as Gate

from gpyro.errors import EventError, EventQueueFullError, StorageError
from gpyro.eventrecords import QueueRecord
from gpyro.eventserver import Event
from gpyro.storage.eventdatabase import EventWriter
from gpyro.storage.eventsqlite import EventSqlite
from gpyro.storage.journal import NotKept
from tests.support.events import EventServer, Recorder, event_server, listening
from tests.support.servers import SECONDS, eventually


def _queue(server: EventServer) -> dict[str, Any]:
    (found,) = server.service.queues()
    return found


def test_queue_keeps_events_while_nobody_is_there() -> None:
    with event_server(es_resume_seconds=0.2) as server:
        first = server.recorder("jobs", queue="jobs")
        publisher = server.publisher()
        with listening(first):
            publisher.publish("jobs", 0)
            first.wait_for(1)
        first.close()
        assert server.service.subscribers() == []
        for number in range(1, 10):
            publisher.publish("jobs", number)
        assert (_queue(server)["waiting"], _queue(server)["consumers"]) == (9, 0)
        second = server.recorder(queue="jobs")
        second.setThreading(0)
        with listening(second):
            second.wait_for(9)
            eventually(lambda: _queue(server)["waiting"] + _queue(server)["unacknowledged"] == 0)
        assert second.messages == list(range(1, 10))
        assert [event.deliveries for event in second.events] == [1] * 9
        assert _queue(server)["delivered"] == 10


def test_event_whose_handler_fails_comes_again_with_what_is_behind_it_in_order() -> None:
    with event_server() as server:
        worker = server.recorder("jobs", "other", queue="jobs")
        worker.failing = [3]
        with listening(worker):
            publisher = server.publisher()
            for number in range(10):
                publisher.publish("jobs", number)
                publisher.publish("other", -number)
            worker.wait_for(20)
            eventually(lambda: _queue(server)["unacknowledged"] == 0)
        assert [message for subject, message in worker.got if subject == "jobs"] == list(range(10))
        other = [message for subject, message in worker.got if subject == "other"]
        assert other == [-number for number in range(10)]
        assert {event.msg: event.deliveries for event in worker.events if event.subject == "jobs"}[3] == 2
        assert _queue(server)["redelivered"] >= 1
        assert server.described(kind="queue")["failed"] == 1


def test_workers_share_a_queue_and_each_event_is_dealt_with_once() -> None:
    with event_server() as server:
        workers = [server.recorder(queue="jobs") for _ in range(4)]
        workers[0].subscribeMatch("job.*")
        with listening(*workers):
            publisher = server.publisher()
            for number in range(200):
                publisher.publish(f"job.{number % 20}", number)
            eventually(lambda: sum(len(worker.got) for worker in workers) == 200)
            eventually(lambda: _queue(server)["unacknowledged"] == 0)
        everything = sorted(message for worker in workers for message in worker.messages)
        assert everything == list(range(200))
        assert len([worker for worker in workers if worker.got]) > 1


def test_events_of_one_publisher_and_subject_are_never_handled_side_by_side() -> None:
    with event_server() as server:
        busy: set[str] = set()
        order: list[int] = []

        class Worker(Recorder):
            def event(self, event: Event) -> None:
                assert event.subject not in busy
                busy.add(event.subject)
                gevent.sleep(0)
                busy.discard(event.subject)
                order.append(event.msg)

        workers = [Worker(server.uri, queue="jobs") for _ in range(3)]
        workers[0].subscribe(["a", "b"])
        with listening(*workers):
            publisher = server.publisher()
            for number in range(100):
                publisher.publish("ab"[number % 2], number)
            eventually(lambda: len(order) == 100)
        for rest in (0, 1):
            assert [number for number in order if number % 2 == rest] == list(range(rest, 100, 2))
        assert all(worker._gpyro_subscription.inbox.failed == 0 for worker in workers)


def test_worker_whose_connection_is_lost_leaves_its_events_to_others_at_once() -> None:
    with event_server() as server:
        stuck = server.recorder("jobs", queue="jobs", gate=Gate(), redeliver_seconds=SECONDS)
        job = gevent.spawn(stuck.listen)
        server.service.publish("jobs", 1)
        eventually(lambda: stuck.begun == 1)
        # As if its process had been killed: it neither acknowledges nor comes back.
        job.kill()
        stuck.ES._release()
        other = server.recorder(queue="jobs")
        with listening(other):
            other.wait_for(1)
        assert other.messages == [1]
        assert other.events[0].deliveries == 2
        assert stuck.gate is not None
        stuck.gate.set()


def test_worker_that_was_taken_for_lost_and_does_not_know_it_gets_events_again() -> None:
    with event_server() as server:
        worker = server.recorder("jobs", queue="jobs")
        with listening(worker):
            server.service.publish("jobs", 1)
            worker.wait_for(1)
            (session,) = server.service._members.sessions.values()
            # As where its hub was held: nobody has told it.
            server.service._members.lost(session)
            plain = server.recorder("other")
            with listening(plain):
                # What comes for another one of the link ends the question that waits.
                server.service.publish(["other", "jobs"], 2)
                plain.wait_for(1)
                worker.wait_for(2)
        assert worker.messages == [1, 2]


def test_event_that_is_not_acknowledged_in_time_goes_to_another_and_a_late_acknowledgement_counts() -> None:
    with event_server() as server:
        slow = server.recorder("jobs", queue="jobs", gate=Gate(), redeliver_seconds=0.5)
        with listening(slow):
            server.service.publish("jobs", 1)
            eventually(lambda: slow.begun == 1)
            other = server.recorder(queue="jobs", gate=Gate())
            with listening(other):
                eventually(lambda: other.begun == 1)
                assert slow.gate is not None
                slow.gate.set()
                slow.wait_for(1)
                eventually(lambda: _queue(server)["delivered"] == 1)
                assert other.gate is not None
                other.gate.set()
                other.wait_for(1)
        assert _queue(server)["unacknowledged"] == _queue(server)["waiting"] == 0
        assert other.events[0].deliveries >= 2


def test_full_queue_refuses_the_event_for_everybody_and_tells_the_publisher() -> None:
    with event_server(es_block_seconds=0.05) as server:
        worker = server.recorder("jobs", queue="jobs", queuesize=5)
        plain = server.recorder("jobs")
        publisher = server.publisher()
        with listening(plain):
            for number in range(5):
                publisher.publish("jobs", number)
            for number in (5, 6):
                with pytest.raises(EventQueueFullError, match=r"'jobs' is full: 5 events .* nothing was publ"):
                    publisher.publish("jobs", number)
            plain.wait_for(5)
            with listening(worker):
                worker.wait_for(5)
                eventually(lambda: _queue(server)["unacknowledged"] == 0)
            publisher.publish("jobs", 7)
            plain.wait_for(6)
        assert plain.messages == [0, 1, 2, 3, 4, 7]
        assert _queue(server)["waiting"] == 1


def test_publisher_waits_for_room_in_a_queue() -> None:
    with event_server(es_block_seconds=SECONDS) as server:
        worker = server.recorder("jobs", queue="jobs", queuesize=3)
        publisher = server.publisher()
        job = gevent.spawn(lambda: [*map(partial(publisher.publish, "jobs"), range(20))])
        eventually(lambda: server.service.status()["blocked"] == 1)
        with listening(worker):
            job.get(timeout=SECONDS)
            worker.wait_for(20)
        assert worker.messages == list(range(20))


def test_subscriptions_of_a_queue_are_those_of_all_who_share_it_and_may_be_taken_back() -> None:
    with event_server() as server:
        first, second = server.recorder("a", queue="jobs"), server.recorder("b", queue="jobs")
        assert _queue(server)["subjects"] == ["a", "b"]
        second.unsubscribe("a")
        assert _queue(server)["subjects"] == ["b"]
        first.subscribeMatch("c.*")
        assert _queue(server)["patterns"] == ["c.*"]
        server.service.publish(["a", "b", "cc"], 1)
        assert _queue(server)["waiting"] == 2


def test_removed_queue_is_gone_with_its_events_and_its_subscribers_hear_it() -> None:
    with event_server() as server:
        worker = server.recorder("jobs", queue="jobs")
        job = gevent.spawn(worker.listen)
        eventually(lambda: server.described(kind="queue")["state"] == "listening")
        server.proxy().remove_queue("jobs")
        with pytest.raises(EventError, match="the queue 'jobs' was removed"):
            job.get(timeout=SECONDS)
        assert server.service.queues() == []
        with pytest.raises(EventError, match="there is no queue 'jobs'"):
            server.proxy().remove_queue("jobs")
        server.service.publish("jobs", 1)


def test_worker_that_failed_gets_what_another_one_fails_at_next() -> None:
    """What it gets as the answer to a question that it had asked before it failed is not taken for old."""
    with event_server() as server:
        first = server.recorder("jobs", queue="jobs", redeliver_seconds=SECONDS)
        gate = first.gate = Gate()
        first.failing = [1]
        publisher = server.publisher()
        with listening(first):
            publisher.publish("jobs", 1)
            eventually(lambda: first.begun == 1)
            publisher.publish("jobs", 2)
            gate.set()
            first.wait_for(2)
            for number in range(3, 8):
                first.failing = [number]
                publisher.publish("jobs", number)
                first.wait_for(number)
        assert first.messages == list(range(1, 8))
        assert _queue(server)["waiting"] == _queue(server)["unacknowledged"] == 0


def test_queue_that_two_make_at_the_same_time_is_the_first_ones(tmp_path: Path) -> None:
    with EventSqlite(str(tmp_path / "events.sqlite")) as storage, event_server(storage) as server:
        server.running.daemon.setAllowedIdentifications(["one", "two"])
        recorders = [Recorder(server.uri, ident=ident, queue="jobs") for ident in ("one", "two")]
        jobs = [gevent.spawn(recorder.subscribe, "jobs") for recorder in recorders]
        gevent.joinall(jobs, timeout=SECONDS)
        assert sorted(job.successful() for job in jobs) == [False, True]
        (failed,) = [job for job in jobs if not job.successful()]
        assert "the queue 'jobs' belongs to passphrase:" in str(failed.exception)
        owner = recorders[jobs.index(failed) - 1]
        assert _queue(server)["owner"] == f"passphrase:{recorders.index(owner) + 1}"
        for recorder in recorders:
            recorder.ES._release()


def test_subscription_of_a_queue_that_was_not_kept_is_none_until_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "events.sqlite")
    with EventSqlite(path) as storage, event_server(storage) as server:
        worker = server.recorder("a", queue="jobs")
        write = EventWriter.write

        def refuse(*args: Any) -> None:
            raise NotKept("the disk is full")

        monkeypatch.setattr(EventWriter, "write", refuse)
        with pytest.raises(StorageError, match="the disk is full"):
            worker.subscribe("b")
        with pytest.raises(StorageError, match="the disk is full"):
            worker.unsubscribe("a")
        monkeypatch.setattr(EventWriter, "write", write)
        assert _queue(server)["subjects"] == ["a"]
        worker.subscribe("b")
    with EventSqlite(path) as storage, event_server(storage) as server:
        assert _queue(server)["subjects"] == ["a", "b"]
        server.publisher().publish("b", 1)
        assert _queue(server)["waiting"] == 1


def test_queue_with_a_pattern_that_is_refused_now_is_taken_up_without_it(tmp_path: Path) -> None:
    path = str(tmp_path / "events.sqlite")
    with EventSqlite(path) as storage:
        storage.put_queue(QueueRecord("jobs", None, 0.0, 10, 30.0, ("a",), (r"(a)\1", "b"))).settle()
        with event_server(storage) as server:
            assert (_queue(server)["patterns"], _queue(server)["refused"]) == ([r"(a)\1", "b"], [r"(a)\1"])
            server.publisher().publish(["a", "aa", "bb"], 1)
            assert _queue(server)["waiting"] == 2
            worker = server.recorder("c", queue="jobs")
            assert _queue(server)["patterns"] == ["b", r"(a)\1"], "a server that takes it may come again"
            worker.unsubscribe(r"(a)\1")
            assert (_queue(server)["patterns"], _queue(server)["refused"]) == (["b"], [])


def test_queue_that_is_made_again_while_a_publisher_waits_for_another_one_gets_only_what_is_its_own() -> None:
    with event_server(es_block_seconds=SECONDS) as server:
        full = server.recorder("a", queue="z-full", queuesize=1)
        server.recorder("a", queue="again")
        publisher = server.publisher()
        publisher.publish("a", 1)
        job = gevent.spawn(publisher.publish, "a", 2)
        eventually(lambda: server.service.status()["blocked"] == 1)
        publisher.ES.remove_queue("again")
        again = server.recorder("b", queue="again")
        with listening(full, again):
            job.get(timeout=SECONDS)
            publisher.publish("b", 3)
            again.wait_for(1)
            full.wait_for(2)
        assert again.messages == [3] and full.messages == [1, 2]
        assert server.service._distributor.storage.waiting("again") == []


def test_queue_on_disk_is_there_with_its_events_when_the_server_begins_anew(tmp_path: Path) -> None:
    path = str(tmp_path / "events.sqlite")
    with EventSqlite(path) as storage, event_server(storage) as server:
        worker = server.recorder("jobs", queue="jobs", queuesize=77)
        worker.subscribeMatch("more.*")
        publisher = server.publisher()
        with listening(worker):
            for number in range(5):
                publisher.publish("jobs", number)
            worker.wait_for(5)
            eventually(lambda: _queue(server)["unacknowledged"] == 0)
        for number in range(5, 10):
            publisher.publish("more.of.it", (number, b"bytes"))
        newest = server.service.status()["history"]["newest"]
        log = server.service.status()["log"]
    with EventSqlite(path) as storage, event_server(storage) as server:
        assert server.service.status()["log"] == log
        assert _queue(server)["waiting"] == 5
        assert (_queue(server)["limit"], _queue(server)["patterns"]) == (77, ["more.*"])
        again = server.recorder(queue="jobs")
        late = server.recorder("jobs", history=3)
        with listening(again, late):
            server.publisher().publish("jobs", 10)
            again.wait_for(6)
            late.wait_for(4)
        assert again.messages == [*((number, b"bytes") for number in range(5, 10)), 10]
        assert late.messages == [2, 3, 4, 10]
        assert again.events[-1].sequence > newest
        assert server.service.status()["storage"] == path


def test_plain_subscriber_carries_on_over_a_restart_of_a_server_with_a_disk(tmp_path: Path) -> None:
    path = str(tmp_path / "events.sqlite")
    with EventSqlite(path) as storage, event_server(storage) as server:
        recorder = server.recorder("a")
        with listening(recorder):
            server.publisher().publish("a", 0)
            recorder.wait_for(1)
    with EventSqlite(path) as storage, event_server(storage) as server:
        server.publisher().publish("a", 1)
        # It has the address of the server before; what it remembers is what counts.
        recorder._gpyro_subscription.contact._uri = server.uri
        recorder._gpyro_subscription.contact.forget()
        with listening(recorder):
            server.publisher().publish("a", 2)
            recorder.wait_for(3)
        recorder.ES._release()
        assert recorder.messages == [0, 1, 2]
        assert recorder.lost == []
