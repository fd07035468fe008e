"""What becomes of events when a subscriber does not take them: each policy, what is counted, who is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gevent
import pytest
from gevent.event import Event as Gate

import gpyro
from gpyro.errors import ConnectionClosedError, EventQueueFullError, ServerBusyError, TimeoutError
from tests.support.events import EventServer, Recorder, event_server, listening
from tests.support.servers import SECONDS, eventually


def _publish(server: EventServer, numbers: Sequence[int], subject: str = "a") -> list[Any]:
    """Publish one number after another; returns the errors."""
    publisher, errors = server.publisher(), []
    for number in numbers:
        try:
            publisher.publish(subject, number)
        except EventQueueFullError as exc:
            errors.append(exc)
    return errors


def _slow(server: EventServer, **options: Any) -> Recorder:
    """A subscriber whose handlers wait for its gate, one at a time."""
    recorder = server.recorder("a", gate=Gate(), **options)
    recorder.setThreading(0)
    return recorder


def test_drop_new_keeps_the_first_events_and_tells_how_many_were_lost() -> None:
    with event_server(es_queuesize=4) as server:
        slow, quick = _slow(server, policy="drop_new"), server.recorder("a", policy="drop_new", queuesize=1000)
        with listening(slow, quick):
            assert _publish(server, range(20)) == []
            quick.wait_for(20)
            assert server.described(limit=4)["dropped"] == 16
            assert slow.gate is not None
            slow.gate.set()
            slow.wait_for(4)
            eventually(lambda: slow.lost)
            _publish(server, [20])
            slow.wait_for(5)
        assert slow.messages == [0, 1, 2, 3, 20]
        assert slow.lost == [16]
        assert quick.messages == list(range(21))
        assert server.service.status()["dropped"] == 16


def test_drop_old_keeps_the_last_events_and_tells_how_many_were_lost() -> None:
    with event_server(es_queuesize=4) as server:
        slow, quick = _slow(server, policy="drop_old"), server.recorder("a", policy="drop_new", queuesize=1000)
        with listening(slow, quick):
            assert _publish(server, [0]) == []
            eventually(lambda: slow.begun == 1)
            assert _publish(server, range(1, 20)) == []
            quick.wait_for(20)
            assert slow.gate is not None
            slow.gate.set()
            eventually(lambda: 19 in slow.messages)
        # The one that was being handled, one that was on its way, and the last ones.
        assert slow.messages[0] == 0
        assert slow.messages[-2:] == [18, 19]
        assert slow.messages == sorted(slow.messages)
        assert len(slow.messages) + sum(count or 0 for count in slow.lost) == 20
        assert server.service.status()["dropped"] == 20 - len(slow.messages)


def test_disconnect_ends_the_subscription_and_listen_raises_why() -> None:
    with event_server(es_queuesize=4) as server:
        slow, quick = _slow(server, policy="disconnect"), server.recorder("a")
        job = gevent.spawn(slow.listen)
        with listening(quick):
            eventually(lambda: server.service.status()["links"] == 1)
            assert _publish(server, [0]) == []
            eventually(lambda: slow.begun == 1)
            _publish(server, range(1, 10))
            with pytest.raises(EventQueueFullError, match=r"are 4 \(es_queuesize\).*policy is disconnect"):
                job.get(timeout=SECONDS)
            quick.wait_for(10)
            assert slow.gate is not None
            slow.gate.set()
            assert [entry["policy"] for entry in server.service.subscribers()] == ["block"]
        assert quick.messages == list(range(10))


def test_block_lets_only_the_publisher_wait_that_fills_the_queue_and_loses_nothing() -> None:
    with event_server(es_queuesize=4, es_block_seconds=SECONDS) as server:
        slow, quick, other = _slow(server), server.recorder("a", queuesize=100), server.recorder("b")
        with listening(slow, quick, other):
            job = gevent.spawn(_publish, server, range(20))
            eventually(lambda: server.service.status()["blocked"] == 1)
            # Who publishes to others is not held up, and others have had what the publisher waits with.
            assert _publish(server, range(50), "b") == []
            other.wait_for(50)
            quick.wait_for(5)
            assert not job.ready()
            assert slow.gate is not None
            slow.gate.set()
            assert job.get(timeout=SECONDS) == []
            slow.wait_for(20)
            quick.wait_for(20)
        assert slow.messages == quick.messages == list(range(20))
        assert server.service.status()["dropped"] == 0


def test_blocked_publisher_is_told_after_its_time_and_later_ones_do_not_wait() -> None:
    with event_server(es_queuesize=4) as server:
        slow, quick = _slow(server, block_seconds=0.05), server.recorder("a", queuesize=100)
        with listening(slow, quick):
            errors = _publish(server, range(10))
            quick.wait_for(10)
            assert len(errors) == 1
            assert "one subscriber had no room for 'a' within 0.05 s" in str(errors[0])
            assert "all others have it" in str(errors[0])
            assert server.described(limit=4)["state"] == "stalled"
            assert slow.gate is not None
            slow.gate.set()
            slow.wait_for(4)
            eventually(lambda: server.described(limit=4)["state"] == "listening")
            eventually(lambda: slow.lost)
            _publish(server, [10])
            slow.wait_for(5)
        assert slow.messages == [0, 1, 2, 3, 10]
        assert slow.lost == [6]


def test_several_blocked_publishers_keep_their_order() -> None:
    with event_server(es_queuesize=2, es_block_seconds=SECONDS) as server:
        slow = _slow(server)
        with listening(slow):
            jobs = [gevent.spawn(_publish, server, range(start, start + 10)) for start in (0, 100, 200)]
            eventually(lambda: server.service.status()["blocked"] == 3)
            assert slow.gate is not None
            slow.gate.set()
            assert [job.get(timeout=SECONDS) for job in jobs] == [[], [], []]
            slow.wait_for(30)
        for start in (0, 100, 200):
            mine = [number for number in slow.messages if number // 100 == start // 100]
            assert mine == [*range(start, start + 10)]


def test_setting_es_blockqueue_decides_where_the_subscriber_says_nothing() -> None:
    with event_server(es_queuesize=2, es_blockqueue=False) as server:
        slow = server.recorder("a")
        assert _publish(server, range(12)) == []
        assert server.described(kind="mailbox")["policy"] == "drop_new"
        assert server.described(kind="mailbox")["dropped"] == 10
        with listening(slow):
            slow.wait_for(2)
            eventually(lambda: slow.lost)
        assert slow.lost == [10]


def test_bytes_bound_a_queue_too() -> None:
    with event_server(es_queue_bytes=50_000) as server:
        slow = server.recorder("a", policy="drop_new")
        publisher = server.publisher()
        for _ in range(20):
            publisher.publish("a", b"x" * 10_000)
        entry = server.described(kind="mailbox")
        assert (entry["waiting"], entry["dropped"]) == (4, 16)
        with listening(slow):
            slow.wait_for(4)


def test_blocked_publisher_is_let_go_when_the_server_ends() -> None:
    with event_server(es_queuesize=2, es_block_seconds=SECONDS) as server:
        slow = _slow(server)
        with listening(slow):
            job = gevent.spawn(_publish, server, range(20))
            eventually(lambda: server.service.status()["blocked"] == 1)
            server.running.daemon.shutdown()
            # What it is told depends on where it was met: waiting, or beginning with the next event.
            with pytest.raises((ServerBusyError, ConnectionClosedError), match=r"shut|connection"):
                job.get(timeout=SECONDS)
            assert slow.gate is not None
            slow.gate.set()


def test_publisher_that_gives_up_waiting_leaves_the_queue_in_order() -> None:
    with event_server(es_queuesize=2, es_block_seconds=SECONDS) as server:
        slow = _slow(server)
        with listening(slow):
            publisher = server.publisher()
            publisher.publish("a", 0)
            publisher.publish("a", 1)
            with pytest.raises(TimeoutError), gpyro.deadline(0.05):
                publisher.publish("a", 2)
            eventually(lambda: server.service.status()["blocked"] == 0)
            assert slow.gate is not None
            slow.gate.set()
            slow.wait_for(2)
            publisher.publish("a", 3)
            slow.wait_for(3)
        assert slow.messages == [0, 1, 3]
        assert slow.lost == [1]


def test_subscriber_whose_program_is_gone_is_removed_after_a_while() -> None:
    with event_server(es_resume_seconds=0.2) as server:
        gone = server.recorder("a")
        gone.ES._release()
        eventually(lambda: server.service.subscribers() == [])
        assert _publish(server, range(3)) == []
