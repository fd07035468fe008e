"""Subscribers that lose their connection, event servers that begin anew, and what is told of what is lost."""

from __future__ import annotations

from functools import partial

import gevent
import pytest
from gevent.event import Event as Gate

import gpyro
from gpyro.errors import ConnectionClosedError, ConnectionDeniedError, ProtocolError
from gpyro.eventserver import EventService, Publisher
from tests.support.events import EventServer, Recorder, event_server, event_server_at, listening
from tests.support.servers import SECONDS, eventually, free_port, nothing_left, running_daemon


def _break(server: EventServer) -> None:
    """End all connections to the server as a failing network does."""
    for connection in server.running.connections:
        connection.stream.raw_socket().shutdown(2)


def _stay_away(server: EventServer, recorder: Recorder) -> None:
    """Let its connection go until the server has forgotten it."""
    recorder.ES._release()
    eventually(lambda: server.service.subscribers() == [])


def test_subscriber_that_reconnects_carries_on_where_it_was() -> None:
    with event_server() as server:
        recorder = server.recorder("a")
        publisher = server.publisher()
        with listening(recorder):
            for number in range(50):
                publisher.publish("a", number)
                if number % 10 == 5:
                    _break(server)
                    eventually(lambda: not publisher.ES.adapter._core.is_connected())
            recorder.wait_for(50)
        assert recorder.messages == list(range(50))
        assert recorder.lost == []
        assert server.service.status()["delivered"] == 50


def test_events_published_while_it_was_away_come_afterwards() -> None:
    with event_server() as server:
        recorder = server.recorder("a")
        with listening(recorder):
            server.service.publish("a", 0)
            recorder.wait_for(1)
            _break(server)
            # In the same turn of the loop, so nobody has noticed yet.
            for number in range(1, 100):
                server.service.publish("a", number)
            recorder.wait_for(100)
        assert recorder.messages == list(range(100))


def test_reconnecting_with_handlers_under_way_doubles_nothing() -> None:
    with event_server() as server:
        recorder = server.recorder("a", gate=Gate())
        recorder.setThreading(1, limit=5)
        with listening(recorder):
            for number in range(20):
                server.service.publish("a", number)
            eventually(lambda: recorder.begun == 5)
            _break(server)
            eventually(lambda: server.described(kind="mailbox")["state"] == "listening")
            assert recorder.gate is not None
            recorder.gate.set()
            server.service.publish("a", 20)
            recorder.wait_for(21)
            eventually(lambda: server.described(kind="mailbox")["waiting"] == 0)
        assert sorted(recorder.messages) == list(range(21))


def test_subscriber_that_was_away_for_too_long_gets_the_rest_from_the_history() -> None:
    with event_server(es_resume_seconds=0.2) as server:
        recorder = server.recorder("a")
        recorder.subscribeMatch("b.*")
        publisher = server.publisher()
        with listening(recorder):
            publisher.publish("a", 0)
            recorder.wait_for(1)
        _stay_away(server, recorder)
        for number in range(1, 30):
            publisher.publish(("a", "bcd", "other")[number % 3], number)
        with listening(recorder):
            recorder.wait_for(20)
        assert recorder.messages == [number for number in range(30) if number % 3 != 2]
        assert recorder.lost == []


def test_what_the_history_has_not_any_more_is_told_as_lost() -> None:
    with event_server(es_resume_seconds=0.2, es_history=5) as server:
        recorder = server.recorder("a")
        publisher = server.publisher()
        with listening(recorder):
            publisher.publish("a", 0)
            recorder.wait_for(1)
        _stay_away(server, recorder)
        for number in range(1, 30):
            publisher.publish("a", number)
        with listening(recorder):
            recorder.wait_for(6)
        assert recorder.messages == [0, 25, 26, 27, 28, 29]
        assert recorder.lost == [None]


def test_late_joiner_gets_the_last_events_first_if_it_asks_for_them() -> None:
    with event_server() as server:
        publisher = server.publisher()
        for number in range(30):
            publisher.publish(("a", "b")[number % 2], number)
        late, later = server.recorder("a", history=3), server.recorder(history=100)
        later.subscribeMatch("[ab]")
        with listening(late, later):
            publisher.publish("a", 30)
            late.wait_for(4)
            later.wait_for(31)
        assert late.messages == [24, 26, 28, 30]
        assert later.messages == list(range(31))


def _has_listener(service: EventService) -> bool:
    return [entry["state"] for entry in service.subscribers()] == ["listening"]


def test_history_does_not_repeat_what_another_subscription_had() -> None:
    with event_server() as server:
        for number in range(4):
            server.service.publish("y", number)
        late = server.recorder("y", history=2)
        late.subscribe("Y")
        late.subscribeMatch("y")
        with listening(late):
            server.service.publish("y", 4)
            late.wait_for(3)
        assert late.messages == [2, 3, 4]


def test_event_server_that_begins_anew_is_found_again_and_the_loss_is_told() -> None:
    port = free_port()
    uri = f"PYRO://127.0.0.1:{port}/eventserver"
    with nothing_left():
        with event_server_at(port) as service:
            recorder = Recorder(uri)
            recorder.subscribe("a")
            job = gevent.spawn(recorder.listen)
            Publisher(esURI=uri).publish("a", 0)
            recorder.wait_for(1)
        for number in (1, 2):
            with event_server_at(port) as service:
                eventually(partial(_has_listener, service))
                Publisher(esURI=uri).publish("a", number)
                recorder.wait_for(number + 1)
        recorder.abort()
        job.get(timeout=SECONDS)
        assert recorder.messages == [0, 1, 2]
        assert recorder.lost == [None, None]
        recorder.ES._release()
        del recorder, job, service


def test_publisher_whose_server_dies_gets_an_error_and_none_hangs() -> None:
    with event_server(es_block_seconds=SECONDS) as server:
        publisher, slow = server.publisher(), server.recorder("a", queuesize=1)
        publisher.publish("a", 1)
        job = gevent.spawn(publisher.publish, "a", 2)
        eventually(lambda: server.service.status()["blocked"] == 1)
        _break(server)
        with pytest.raises(ConnectionClosedError) as caught:
            job.get(timeout=SECONDS)
        assert caught.value.maybe_executed
        with listening(slow):
            slow.wait_for(2)
        assert slow.messages == [1, 2]
        server.running.daemon.shutdown(True)
        with pytest.raises(ProtocolError):
            publisher.publish("a", 3)


def test_subscriber_that_is_not_let_in_any_more_hears_it() -> None:
    with running_daemon() as running:
        running.daemon.setAllowedIdentifications(["right"])
        service = EventService()
        uri = str(running.daemon.connect(service))
        with pytest.raises(ConnectionDeniedError):
            Recorder(uri, ident="wrong").subscribe("a")
        recorder = Recorder(uri, ident="right")
        recorder.subscribe("a")
        job = gevent.spawn(recorder.listen)
        eventually(lambda: service.status()["links"] == 1)
        assert [entry["identity"] for entry in service.subscribers()] == ["passphrase:1"]
        running.daemon.setAllowedIdentifications(["other"])
        for connection in running.connections:
            connection.stream.raw_socket().shutdown(2)
        with pytest.raises(ConnectionDeniedError):
            job.get(timeout=SECONDS)
        recorder.ES._release()


def test_subscribers_of_one_identity_are_of_no_use_to_another() -> None:
    with running_daemon() as running:
        running.daemon.setAllowedIdentifications(["one", "two"])
        service = EventService()
        uri = str(running.daemon.connect(service))
        mine = Recorder(uri, ident="one")
        mine.subscribe("a")
        other = Recorder(uri, ident="two")
        with pytest.raises(gpyro.errors.EventError, match="does not know this subscriber"):
            other.ES.select(mine._gpyro_subscription.token, "b")
        queue = Recorder(uri, ident="one", queue="jobs")
        queue.subscribe("jobs")
        with pytest.raises(gpyro.errors.AccessDeniedError, match="queue 'jobs' belongs to passphrase:1"):
            Recorder(uri, ident="two", queue="jobs").subscribe("jobs")
        with pytest.raises(gpyro.errors.AccessDeniedError, match="belongs to"):
            other.ES.remove_queue("jobs")
        mine.ES.remove_queue("jobs")
        mine.ES._release()
        other.ES._release()


def test_box_that_the_server_has_forgotten_is_made_again_by_whatever_comes_next() -> None:
    with event_server(es_resume_seconds=0.2) as server:
        recorder = server.recorder("a")
        _stay_away(server, recorder)
        recorder.subscribe("b")
        assert sorted(server.described(kind="mailbox")["subjects"]) == ["a", "b"]
        _stay_away(server, recorder)
        recorder.unsubscribe("a")
        with listening(recorder):
            server.publisher().publish(["a", "b"], 1)
            recorder.wait_for(1)
        assert recorder.got == [("b", 1)]
        recorder.close()
        recorder.close()
        assert server.service.subscribers() == []
