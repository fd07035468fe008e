"""Links of subscribers: what they leave at the server, and what becomes of one that the server does not take."""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from gevent.event import Event as Gate

from gpyro._events import members
from gpyro.errors import EventError
from gpyro.eventserver import EventService
from tests.support.events import EventServer, Recorder, event_server, event_server_at, listening
from tests.support.servers import SECONDS, eventually, free_port


def test_listening_again_and_again_leaves_nothing_at_the_server() -> None:
    with event_server(es_max_subscribers=3) as server:
        recorder = server.recorder("a")
        for number in range(6):
            server.service.publish("a", number)
            recorder.listen(timeout=0.01)
            eventually(lambda: server.service.status()["links"] == 0)
        with listening(recorder):
            recorder.wait_for(6)
        assert recorder.messages == list(range(6))


def test_link_that_nothing_uses_is_removed_though_its_connection_is_open() -> None:
    with event_server(es_resume_seconds=0.05) as server:
        es = server.proxy()
        es.open_link()
        assert server.service.status()["links"] == 1
        eventually(lambda: server.service.status()["links"] == 0)
        assert es.publish("a", 1) is None, "the connection is open still"


def test_error_that_lasts_does_not_fill_the_server_with_links(monkeypatch: pytest.MonkeyPatch) -> None:
    with event_server() as server:
        recorder = server.recorder("a")
        attach, tries, most = server.service._members.attach, 0, 0

        def fail(*args: Any) -> Any:
            nonlocal tries, most
            tries += 1
            most = max(most, server.service.status()["links"])
            if tries < 6:
                raise EventError("not now")
            return attach(*args)

        monkeypatch.setattr(server.service._members, "attach", fail)
        with listening(recorder):
            server.service.publish("a", 1)
            recorder.wait_for(1)
        assert tries == 6 and most <= 2


def test_subscriber_that_the_server_has_no_room_for_keeps_others_from_nothing_and_comes_in_later() -> None:
    port = free_port()
    uri = f"PYRO://127.0.0.1:{port}/eventserver"
    first, second = Recorder(uri), Recorder(uri)
    with event_server_at(port):
        first.subscribe("a")
        second.subscribe("a")
        jobs = [gevent.spawn(one.listen) for one in (first, second)]
        eventually(lambda: first._gpyro_subscription._link is not None)
    with event_server_at(port, es_max_subscribers=1) as service:
        eventually(lambda: len(service.subscribers()) == 1)
        there = _published_until_one_has_it(service, first, second)
        away = second if there is first else first
        assert away.got == []
        there.close()
        eventually(lambda: len(service.subscribers()) == 1 and service.subscribers()[0]["state"] == "listening")
        service.publish("a", "late")
        away.wait_for(1)
        assert away.messages == ["late"]
        for one in (first, second):
            one.abort()
        gevent.joinall(jobs, timeout=SECONDS, raise_error=True)
        first.ES._release()


def _published_until_one_has_it(service: EventService, *recorders: Recorder) -> Recorder:
    service.publish("a", "early")
    eventually(lambda: any(one.got for one in recorders))
    return next(one for one in recorders if one.got)


def test_subscriber_beyond_the_limit_of_its_link_hears_it_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(members, "MAX_BOXES", 1)
    with event_server() as server:
        first, second = server.recorder("a"), server.recorder("a")
        with listening(first):
            with pytest.raises(EventError, match=r"1 subscribers share this thread's connection .* limit is 1"):
                second.listen(timeout=SECONDS)
            server.service.publish("a", 1)
            first.wait_for(1)


def test_subscriber_whose_pattern_is_refused_by_the_next_server_hears_it_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    with event_server(es_resume_seconds=0.05) as server:
        good, bad = server.recorder("a"), server.recorder()
        bad.subscribeMatch("b.*c")
        good.ES._release()
        eventually(lambda: server.service.subscribers() == [])
        # The next server has no engine for it.
        monkeypatch.setattr("gpyro._events.subjects.MAX_PATTERNS", 0)
        with listening(good):
            with pytest.raises(EventError, match="the limit is 0"):
                bad.listen(timeout=SECONDS)
            server.service.publish("a", 1)
            good.wait_for(1)


def test_worker_loses_no_event_when_a_server_without_a_database_begins_anew_under_it() -> None:
    port = free_port()
    worker = Recorder(f"PYRO://127.0.0.1:{port}/eventserver", queue="jobs")
    worker.setThreading(1, limit=4)
    gate = worker.gate = Gate()
    with event_server_at(port) as service:
        worker.subscribe("a")
        job = gevent.spawn(worker.listen)
        service.publish("a", "old")
        eventually(lambda: worker.begun == 1)
    worker.gate = None
    with event_server_at(port) as service:
        eventually(lambda: [queue["consumers"] for queue in service.queues()] == [1])
        service.publish("a", "new")
        worker.wait_for(1)
        assert worker.messages == ["new"], "both have the same number, and are not the same"
        eventually(lambda: service.queues()[0]["delivered"] == 1)
        service.publish("a", "last")
        worker.wait_for(2)
        gate.set()
        worker.wait_for(3)
        assert sorted(worker.messages) == ["last", "new", "old"]
        eventually(lambda: service.queues()[0]["waiting"] == service.queues()[0]["unacknowledged"] == 0)
        worker.abort()
        job.get(timeout=SECONDS)
        worker.ES._release()


def test_subscriptions_are_all_there_again_when_the_program_changes_some_after_a_restart() -> None:
    port = free_port()
    recorder = Recorder(f"PYRO://127.0.0.1:{port}/eventserver")
    with event_server_at(port):
        recorder.subscribe(["a", "b"])
    with event_server_at(port) as service:
        recorder.unsubscribe("a")
        recorder.subscribe("c")
        assert sorted(service.subscribers()[0]["subjects"]) == ["b", "c"]
        with listening(recorder):
            service.publish(["a", "b", "c"], 1)
            recorder.wait_for(2)
        assert recorder.got == [("b", 1), ("c", 1)]
        assert recorder.lost == [None]
        recorder.ES._release()


class Gated(EventService):
    """Makes boxes when it is told to."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.gate = Gate()
        self.waiting = 0

    def open_box(self, *args: Any) -> tuple[str, str, int]:
        self.waiting += 1
        assert self.gate.wait(SECONDS)
        return super().open_box(*args)


def test_program_that_subscribes_while_its_link_makes_its_box_again_has_one_box() -> None:
    port = free_port()
    recorder = Recorder(f"PYRO://127.0.0.1:{port}/eventserver")
    with event_server_at(port):
        recorder.subscribe("a")
        job = gevent.spawn(recorder.listen)
        eventually(lambda: recorder._gpyro_subscription._link is not None)
    with event_server_at(port, Gated) as service:
        assert isinstance(service, Gated)
        eventually(lambda: service.waiting == 1)
        subscribing = gevent.spawn(recorder.subscribe, "b")
        gevent.sleep(0)
        service.gate.set()
        subscribing.get(timeout=SECONDS)
        eventually(lambda: [entry["state"] for entry in service.subscribers()] == ["listening"])
        service.publish(["a", "b"], 1)
        recorder.wait_for(2)
        assert service.waiting == 1
        recorder.abort()
        job.get(timeout=SECONDS)
        recorder.ES._release()


def test_program_that_takes_long_to_subscribe_keeps_no_other_subscriber_of_the_thread_waiting() -> None:
    port = free_port()
    uri = f"PYRO://127.0.0.1:{port}/eventserver"
    with event_server_at(port, Gated) as service:
        assert isinstance(service, Gated)
        service.gate.set()
        quick, slow = Recorder(uri), Recorder(uri)
        quick.subscribe("a")
        service.gate.clear()
        subscribing = gevent.spawn(slow.subscribe, "b")
        eventually(lambda: service.waiting == 2)
        jobs = [gevent.spawn(one.listen) for one in (slow, quick)]
        eventually(lambda: [entry["state"] for entry in service.subscribers()] == ["listening"])
        service.publish("a", 1)
        quick.wait_for(1)
        service.gate.set()
        subscribing.get(timeout=SECONDS)
        eventually(lambda: [entry["state"] for entry in service.subscribers()] == ["listening"] * 2)
        service.publish("b", 2)
        slow.wait_for(1)
        for one in (slow, quick):
            one.abort()
        gevent.joinall(jobs, timeout=SECONDS, raise_error=True)
        quick.ES._release()


def test_subscriber_that_was_closed_listens_to_nothing() -> None:
    with event_server() as server:
        recorder = server.recorder("a")
        recorder.close()
        with listening(recorder):
            server.service.publish("a", 1)
            recorder.subscribe("b")
            server.service.publish("b", 2)
            recorder.wait_for(1)
        assert recorder.messages == [2]


def test_history_that_never_came_is_asked_for_again_and_the_doubt_is_told() -> None:
    with event_server(es_resume_seconds=0.05) as server:
        for number in range(4):
            server.service.publish("a", number)
        recorder = server.recorder("a", history=2)
        recorder.ES._release()
        eventually(lambda: server.service.subscribers() == [])
        with listening(recorder):
            recorder.wait_for(2)
        assert recorder.messages == [2, 3]
        assert recorder.lost == [None]


def _break(server: EventServer) -> None:
    for connection in server.running.connections:
        connection.stream.raw_socket().shutdown(2)


def test_link_that_is_back_tells_at_once_what_is_done_and_who_has_left() -> None:
    with event_server(es_block_seconds=SECONDS) as server:
        slow, leaving = server.recorder("a", gate=Gate()), server.recorder("b")
        jobs = [gevent.spawn(one.listen) for one in (slow, leaving)]
        eventually(lambda: [one["state"] for one in server.service.subscribers()] == ["listening"] * 2)
        server.service.publish("a", 1)
        eventually(lambda: slow.begun == 1)
        link = slow._gpyro_subscription._link
        assert link is not None
        _break(server)
        eventually(lambda: len(link._by_number) == 0)
        eventually(lambda: len(link._by_number) == 2 and link._waiting)
        assert repr(link) == "<Link of 2 subscribers, fetching>"
        leaving.abort()
        assert slow.gate is not None
        slow.gate.set()
        eventually(lambda: server.described(subjects=["b"])["state"] == "away")
        eventually(lambda: server.described(subjects=["a"])["delivered"] == 1)
        slow.abort()
        gevent.joinall(jobs, timeout=SECONDS, raise_error=True)


class SlowlyAttached(EventService):
    """Tells late that a box is attached."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.gate = Gate()
        self.attached = 0

    def attach(self, *args: Any) -> list[int | str | None]:
        numbers = super().attach(*args)
        self.attached += 1
        assert self.gate.wait(SECONDS)
        return numbers


def test_subscriber_that_leaves_while_it_is_attached_is_not_fetched_for() -> None:
    port = free_port()
    with event_server_at(port, SlowlyAttached) as service:
        assert isinstance(service, SlowlyAttached)
        uri = f"PYRO://127.0.0.1:{port}/eventserver"
        leaving, staying = Recorder(uri), Recorder(uri)
        leaving.subscribe("a")
        staying.subscribe("b")
        jobs = [gevent.spawn(one.listen) for one in (leaving, staying)]
        eventually(lambda: service.attached == 1)
        leaving.abort()
        jobs[0].get(timeout=SECONDS)
        service.gate.set()
        eventually(lambda: sorted(one["state"] for one in service.subscribers()) == ["away", "listening"])
        staying.abort()
        jobs[1].get(timeout=SECONDS)
        staying.ES._release()
