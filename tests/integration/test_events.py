"""Events from publishers to subscribers over real connections: subjects, delivery, handlers, bad input."""

from __future__ import annotations

import datetime
import decimal
import threading
import time
from typing import Any

import gevent
import pytest
from gevent.event import Event as Gate

import gpyro
from gpyro.errors import (
    EventError,
    NamingError,
    NoModuleError,
    PatternError,
    SerializationError,
    UnknownObjectError,
)
from gpyro.eventserver import Event, Publisher, Subscriber
from tests.support.events import Recorder, event_server, listening
from tests.support.servers import SECONDS, eventually, free_port, running_daemon

# -- subjects ------------------------------------------------------------------------------------------------


def test_subjects_ignore_case_and_events_keep_the_publishers_spelling() -> None:
    with event_server() as server:
        recorder = server.recorder("stock.SUN")
        with listening(recorder):
            server.publisher().publish("STOCK.sun", 1)
            recorder.wait_for(1)
        assert recorder.got == [("STOCK.sun", 1)]


def test_one_call_with_several_subjects_gives_events_of_one_time() -> None:
    with event_server() as server:
        recorder = server.recorder("a", "b", "c")
        with listening(recorder):
            server.publisher().publish(["A", "b", "other"], "m")
            recorder.wait_for(2)
        assert recorder.got == [("A", "m"), ("b", "m")]
        first, second = recorder.events
        assert first.time == second.time
        assert abs(first.time - time.time()) < 60
        assert first.sequence < second.sequence


def test_patterns_match_from_the_beginning_and_ignore_case() -> None:
    with event_server() as server:
        recorder = server.recorder()
        recorder.subscribeMatch(r"^stockquote\.S.*$")
        recorder.subscribeMatch("mid")
        with listening(recorder):
            publisher = server.publisher()
            for subject in ("STOCKQUOTE.SUNW", "STOCKQUOTE.AAPL", "middle", "amid", "x.stockquote.S"):
                publisher.publish(subject, 0)
            publisher.publish("mid", "last")
            recorder.wait_for(3)
        assert [subject for subject, _ in recorder.got] == ["STOCKQUOTE.SUNW", "middle", "mid"]


def test_subscriber_whose_subject_and_patterns_match_gets_an_event_once() -> None:
    with event_server() as server:
        recorder = server.recorder("x.both", "X.BOTH")
        recorder.subscribeMatch(["x.*", "X.b"])
        with listening(recorder):
            server.publisher().publish(["x.both", "x.other"], "m")
            recorder.wait_for(2)
        assert recorder.got == [("x.both", "m"), ("x.other", "m")]


def test_unsubscribe_ends_the_exact_subject_first_and_then_the_pattern_of_that_text() -> None:
    with event_server() as server:
        recorder, control = server.recorder("ab"), server.recorder("ab")
        recorder.subscribeMatch("ab")
        publisher = server.publisher()
        with listening(recorder, control):
            recorder.unsubscribe("AB")
            publisher.publish("ab", 1)
            recorder.unsubscribe("ab")
            publisher.publish("ab", 2)
            recorder.unsubscribe(["ab", "unknown"])
            control.wait_for(2)
        assert recorder.messages == [1]


def test_nothing_is_subscribed_or_published_without_a_subject() -> None:
    with event_server() as server:
        recorder = server.recorder()
        nothings: list[Any] = ["", None, [], ()]
        for nothing in nothings:
            recorder.subscribe(nothing)
            recorder.subscribeMatch(nothing)
            recorder.unsubscribe(nothing)
            server.publisher().publish(nothing, "m")
        assert server.service.status()["events"] == 0
        assert server.service.subscribers() == []


# -- values --------------------------------------------------------------------------------------------------

VALUES = [
    None, True, 1, 2**80, 1.5, "text", b"bytes", (1, (2, 3)), [1, (2,)], {"k": [1]}, {(1, 2): "x"}, {1, 2},
    frozenset({3}), decimal.Decimal("1.10"), datetime.datetime(2026, 1, 2, 3, 4, 5), 1 + 2j, bytearray(b"x"),
    b"x" * 100_000, [b"y" * 10_000, "beside"], ZeroDivisionError("an error is a value too"),
]  # fmt: skip


def test_values_of_every_kind_arrive_as_the_same_type() -> None:
    with event_server() as server:
        recorder = server.recorder("v")
        with listening(recorder):
            publisher = server.publisher()
            for value in VALUES:
                publisher.publish("v", value)
            recorder.wait_for(len(VALUES))
        for sent, got in zip(VALUES, recorder.messages, strict=True):
            assert type(got) is type(sent)
            assert repr(got) == repr(sent)


def test_message_larger_than_a_frame_travels_too() -> None:
    with event_server(es_queue_bytes=64 * 1024 * 1024) as server:
        recorder = server.recorder("large")
        large = bytes(range(256)) * 4 * 10_000
        with listening(recorder):
            server.publisher().publish("large", large)
            recorder.wait_for(1)
        assert recorder.messages == [large]


class Unregistered:
    """A class that only its own program knows, registered while the test runs."""

    def __init__(self, value: int) -> None:
        self.value = value


def test_proxies_travel_in_events_and_objects_of_a_connection_are_refused() -> None:
    with event_server() as server:
        recorder = server.recorder("p")
        target = gpyro.ObjBase()
        uri = server.running.daemon.connect(target)
        with listening(recorder):
            publisher = server.publisher()
            publisher.publish("p", [server.proxy(str(uri)), target])
            recorder.wait_for(1)
            with pytest.raises(SerializationError, match="connect the object to a daemon"):
                publisher.publish("p", gpyro.ObjBase())
        assert [str(proxy.URI) for proxy in recorder.messages[0]] == [str(uri), str(uri)]


def test_changing_a_message_does_not_change_it_for_other_subscribers() -> None:
    with event_server() as server:
        recorders = [server.recorder("m") for _ in range(3)]
        with listening(*recorders):
            server.publisher().publish("m", [1])
            for recorder in recorders:
                recorder.wait_for(1)
                recorder.messages[0].append(2)
        assert [recorder.messages for recorder in recorders] == [[[1, 2]]] * 3


# -- Pyro-style subscribers ----------------------------------------------------------------------------------


class Listener(gpyro.ObjBase):
    """A subscriber that is an object, as Pyro has them."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[tuple[str, Any, int]] = []

    def event(self, event: Event) -> None:
        if event.msg == "fail":
            raise ValueError("not this one")
        self.got.append((event.subject, event.msg, event.sequence))


def test_object_of_any_daemon_is_a_subscriber() -> None:
    with running_daemon() as other, event_server() as server:
        listener = Listener()
        proxy = server.proxy(other.connect(listener))
        es = server.proxy()
        es.subscribe("a", proxy)
        es.subscribeMatch("A+", proxy)
        for message in ((1, 2), "fail", "after"):
            es.publish("a", message)
        eventually(lambda: len(listener.got) == 2)
        assert [message for _, message, _ in listener.got] == [(1, 2), "after"]
        eventually(lambda: server.described(kind="object")["delivered"] == 3)
        assert server.described(kind="object")["failed"] == 1
        es.unsubscribe(["a", "A+"], proxy)
        assert server.service.subscribers() == []
        es.publish("a", "nobody hears this")
        eventually(lambda: not server.service._members.couriers)


def test_object_of_the_callers_connection_is_a_subscriber_until_that_ends() -> None:
    with event_server(es_resume_seconds=0.5) as server:
        listener, es = Listener(), server.proxy()
        es.subscribe("a", listener)
        es.publish("a", 1)
        eventually(lambda: len(listener.got) == 1)
        es._release()
        server.publisher().publish("a", 2)
        eventually(lambda: not server.service.subscribers())
        assert len(listener.got) == 1


def test_object_that_is_gone_is_removed_and_others_are_served() -> None:
    with running_daemon() as other, event_server(es_resume_seconds=0.3) as server:
        unknown, living = Listener(), Listener()
        es = server.proxy()
        es.subscribe("a", server.proxy(f"PYRO://127.0.0.1:{free_port()}/nobody"))
        es.subscribe("a", server.proxy(other.connect(unknown)))
        es.subscribe("a", server.proxy(other.connect(living)))
        other.daemon.disconnect(unknown)
        for number in range(5):
            es.publish("a", number)
        eventually(lambda: len(server.service.subscribers()) == 1)
        eventually(lambda: len(living.got) == 5)
        assert [message for _, message, _ in living.got] == [0, 1, 2, 3, 4]


def test_object_that_subscribes_again_within_its_event_still_gets_one_after_the_other() -> None:
    with running_daemon() as other, event_server() as server:
        es = server.proxy()

        class Restless(Listener):
            running = most = 0

            def event(self, event: Event) -> None:
                self.running += 1
                self.most = max(self.most, self.running)
                if event.msg == 0:
                    es.unsubscribe("a", proxy)
                    es.subscribe("a", proxy)
                    es.publish("a", 1)
                    assert es.status()["events"] == 2
                super().event(event)
                self.running -= 1

        restless = Restless()
        proxy = server.proxy(other.connect(restless))
        es.subscribe("a", proxy)
        es.publish("a", 0)
        eventually(lambda: [message for _, message, _ in restless.got] == [0, 1])
        assert restless.most == 1
        es.unsubscribe("a", proxy)
        eventually(lambda: not server.service._members._leaving)


def test_unsubscribing_an_unknown_object_is_an_error_and_an_unknown_subject_is_not() -> None:
    with event_server() as server:
        es, listener = server.proxy(), Listener()
        with pytest.raises(EventError, match="has not subscribed to anything here"):
            es.unsubscribe("a", listener)
        es.subscribe("a", listener)
        es.unsubscribe("unknown", listener)
        es.unsubscribe("a", listener)


@pytest.mark.parametrize("subscriber", [None, 3, "text", [1]])
def test_subscriber_that_is_no_object_is_refused(subscriber: Any) -> None:
    with event_server() as server, pytest.raises(EventError, match="a subscriber is an object with a method"):
        server.proxy().subscribe("a", subscriber)


def test_bad_pattern_leaves_no_object_subscribed() -> None:
    with event_server() as server:
        with pytest.raises(PatternError):
            server.proxy().subscribeMatch(["good", "("], Listener())
        assert server.service.subscribers() == []


# -- handlers ------------------------------------------------------------------------------------------------


def test_handler_that_raises_is_logged_and_the_next_event_follows(caplog: pytest.LogCaptureFixture) -> None:
    with event_server() as server:
        recorder, other = server.recorder("a"), server.recorder("a")
        recorder.failing = [1]
        with listening(recorder, other):
            publisher = server.publisher()
            for number in range(3):
                publisher.publish("a", number)
            recorder.wait_for(2)
            other.wait_for(3)
        assert recorder.messages == [0, 2]
        assert "1 is more than it can deal with" in caplog.text


def test_handlers_that_block_run_side_by_side_up_to_the_limit() -> None:
    with event_server() as server:
        gate = Gate()
        recorder = server.recorder("a", gate=gate)
        recorder.setThreading(1, limit=3)
        with listening(recorder):
            publisher = server.publisher()
            for number in range(7):
                publisher.publish("a", number)
            eventually(lambda: recorder.begun == 3)
            gevent.sleep(0)
            assert recorder.begun == 3
            gate.set()
            recorder.wait_for(7)
        assert sorted(recorder.messages) == list(range(7))


def test_without_threading_events_are_handled_strictly_one_after_another() -> None:
    with event_server() as server:
        running: list[int] = []
        order: list[int] = []

        class Strict(Recorder):
            def event(self, event: Event) -> None:
                running.append(event.msg)
                assert len(running) == 1
                gevent.sleep(0.001 if event.msg % 2 else 0)  # the handler itself waits, as a real one does
                running.remove(event.msg)
                order.append(event.msg)

        strict = Strict(server.uri)
        strict.setThreading(0)
        strict.subscribe("a")
        with listening(strict):
            publisher = server.publisher()
            for number in range(20):
                publisher.publish("a", number)
            eventually(lambda: len(order) == 20)
        assert order == list(range(20))


@pytest.mark.parametrize("limit", [0, -1, 1.5, "3"])
def test_limit_of_handlers_has_to_be_a_number(limit: Any) -> None:
    with event_server() as server, pytest.raises(ValueError, match="limit="):
        server.recorder().setThreading(1, limit=limit)


def test_abort_ends_listen_at_once_from_a_handler_and_from_another_thread() -> None:
    with event_server() as server:

        class Once(Recorder):
            def event(self, event: Event) -> None:
                super().event(event)
                self.abort()

        once = Once(server.uri)
        once.subscribe("a")
        job = gevent.spawn(once.listen)
        server.publisher().publish("a", 1)
        job.get(timeout=SECONDS)
        assert once.messages == [1]
        idle = server.recorder("b")
        job = gevent.spawn(idle.listen)
        eventually(lambda: "listening" in repr(idle))
        threading.Thread(target=idle.abort).start()
        job.get(timeout=SECONDS)


def test_abort_before_the_first_listen_ends_that_one_and_no_later_one() -> None:
    with event_server() as server:
        recorder = server.recorder("a")
        recorder.abort()  # as where a thread that shall listen has not come to it yet
        with gevent.Timeout(SECONDS):
            recorder.listen()
        job = gevent.spawn(recorder.listen)
        server.publisher().publish("a", 1)
        eventually(lambda: recorder.messages == [1])
        assert not job.ready()
        recorder.abort()
        job.get(timeout=SECONDS)
        recorder.abort()  # nobody listens, and nothing is left of this
        job = gevent.spawn(recorder.listen)
        server.publisher().publish("a", 2)
        eventually(lambda: recorder.messages == [1, 2])
        recorder.abort()
        job.get(timeout=SECONDS)


@pytest.mark.parametrize("options", [{}, {"queue": "jobs"}])
def test_no_handler_is_begun_after_abort_and_the_rest_comes_at_the_next_listen(options: dict[str, Any]) -> None:
    with event_server() as server:

        class OneByOne(Recorder):
            def event(self, event: Event) -> None:
                super().event(event)
                self.abort()

        subscriber = OneByOne(server.uri, **options)
        subscriber.setThreading(0)
        subscriber.subscribe("a")
        for number in range(3):
            server.service.publish("a", number)
        for count in (1, 2, 3):
            subscriber.listen(SECONDS)
            assert subscriber.messages == list(range(count))
        assert [event.sequence for event in subscriber.events] == [1, 2, 3]


def test_what_comes_while_nobody_listens_is_there_at_the_next_listen() -> None:
    with event_server() as server:
        recorder = server.recorder("a")
        publisher = server.publisher()
        for start in (0, 10, 20):
            for number in range(start, start + 10):
                publisher.publish("a", number)
            with listening(recorder):
                recorder.wait_for(start + 10)
        assert recorder.messages == list(range(30))


def test_listen_ends_after_its_time_and_only_one_may_listen() -> None:
    with event_server() as server:
        recorder = server.recorder("a")
        recorder.listen(0.01)
        with listening(recorder), pytest.raises(EventError, match="listens already"):
            recorder.listen()


def test_exit_in_a_handler_ends_listen_with_it() -> None:
    with event_server() as server:

        class Leaver(Recorder):
            def event(self, event: Event) -> None:
                raise SystemExit(event.msg)

        leaver = Leaver(server.uri)
        leaver.subscribe("a")
        server.publisher().publish("a", 3)
        with pytest.raises(SystemExit) as caught:
            leaver.listen()
        assert caught.value.code == 3


def test_handler_may_publish_subscribe_and_call_the_server() -> None:
    with event_server() as server:

        class Echo(Recorder):
            def event(self, event: Event) -> None:
                super().event(event)
                if event.subject == "question":
                    self.subscribe("answer")
                    self.publish("answer", event.msg * 2)

        echo = Echo(server.uri)
        echo.subscribe("question")
        with listening(echo):
            server.publisher().publish("question", 21)
            echo.wait_for(2)
        assert echo.got == [("question", 21), ("answer", 42)]


def test_subscribers_of_a_thread_share_one_connection_and_each_thread_has_its_own() -> None:
    with event_server() as server:
        recorders = [server.recorder("a") for _ in range(20)]
        with listening(*recorders):
            assert server.service.status()["links"] == 1
            assert len(server.running.connections) == 1
            other = Recorder(server.uri)
            other.subscribe("a")
            thread = threading.Thread(target=other.listen)
            thread.start()
            eventually(lambda: server.service.status()["links"] == 2)
            server.publisher().publish("a", 1)
            for recorder in recorders:
                recorder.wait_for(1)
            other.wait_for(1)
            other.abort()
            thread.join(SECONDS)
            assert not thread.is_alive()


def test_subscriber_that_is_also_a_thread_works() -> None:
    with event_server() as server:

        class Consumer(threading.Thread, Recorder):
            def __init__(self) -> None:
                threading.Thread.__init__(self, daemon=True)
                Recorder.__init__(self, server.uri)

            def run(self) -> None:
                self.subscribe("a")
                self.listen()

        consumer = Consumer()
        consumer.start()
        eventually(lambda: server.service.status()["links"] == 1)
        server.publisher().publish("a", 1)
        consumer.wait_for(1)
        consumer.abort()
        consumer.join(SECONDS)
        assert not consumer.is_alive()


class PublisherFirst(Publisher, Recorder):
    def __init__(self, uri: str) -> None:
        Publisher.__init__(self, esURI=uri)
        Recorder.__init__(self, uri)


class RecorderFirst(Recorder, Publisher):
    def __init__(self, uri: str) -> None:
        Recorder.__init__(self, uri)
        Publisher.__init__(self, esURI=uri)


@pytest.mark.parametrize("make", [PublisherFirst, RecorderFirst])
def test_publisher_that_is_also_a_subscriber_works(make: type[PublisherFirst | RecorderFirst]) -> None:
    with event_server() as server:
        both = make(server.uri)
        both.subscribe("a")
        with listening(both):
            both.publish("a", 1)
            both.wait_for(1)
        assert both.messages == [1]
        both._gpyro_es._release()
        both._gpyro_subscription.es._release()


def test_subscriber_without_init_says_what_is_missing() -> None:
    class Forgetful(Subscriber):
        def __init__(self) -> None:
            pass

    with pytest.raises(EventError, match=r"Subscriber.__init__ has not been called for this Forgetful"):
        Forgetful().subscribe("a")
    assert repr(Forgetful()) == "<Forgetful: not initialised>"


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        (3, "a subject of type int"),
        (["a", None], "NoneType"),
        ({"a": 1}, "dict"),
        ("x" * 300, "300 characters"),
        ("a\nb", "printable"),
    ],
)
def test_subject_that_is_none_is_an_error_at_whoever_gave_it(subject: Any, text: str) -> None:
    with event_server() as server:
        recorder = server.recorder("a")
        for call in (
            recorder.subscribe, recorder.unsubscribe, lambda given: server.publisher().publish(given, "m"),
            lambda given: server.proxy().publish(given, "m"),
        ):  # fmt: skip
            with pytest.raises(EventError, match=text):
                call(subject)
        with listening(recorder):
            server.publisher().publish("a", "still served")
            recorder.wait_for(1)


def test_pattern_that_is_broken_or_catastrophic_is_an_error_at_the_subscriber() -> None:
    with event_server() as server:
        recorder = server.recorder("a")
        with pytest.raises(PatternError, match="is no regular expression"):
            recorder.subscribeMatch("(")
        with pytest.raises(PatternError, match="refers to what another group"):
            recorder.subscribeMatch(r"(a+)\1$")
        with pytest.raises(EventError, match=r"pattern .* has 300 characters, the limit is"):
            recorder.subscribeMatch("a" * 300)
        assert server.described(kind="mailbox")["patterns"] == []
        with listening(recorder):
            server.publisher().publish("a", 1)
            recorder.wait_for(1)


def test_message_that_cannot_travel_is_an_error_at_the_publisher() -> None:
    with event_server() as server:
        recorder = server.recorder("a")
        with listening(recorder):
            with pytest.raises(SerializationError, match=r"message: a _thread\.lock cannot travel"):
                server.publisher().publish("a", threading.Lock())
            with pytest.raises(SerializationError, match="lock"):
                server.proxy().publish("a", [threading.Lock()])
            server.publisher().publish("a", 1)
            recorder.wait_for(1)
        assert recorder.messages == [1]


def test_message_of_a_class_that_only_the_publisher_knows_fails_where_it_is_looked_at() -> None:
    with event_server() as server:
        recorder = server.recorder("a")
        payload = _packed_object_of_a_class_that_nobody_knows()
        with listening(recorder):
            server.publisher().ES.publish_packed("a", payload, "p")
            server.publisher().publish("a", 1)
            recorder.wait_for(1)
        assert recorder.messages == [1]
        event = Event.received("a", payload, 0.0, 1)
        with pytest.raises(NoModuleError, match=r"tests\.unknown"):
            _ = event.msg


def _packed_object_of_a_class_that_nobody_knows() -> bytes:
    from gpyro._events.event import pack_message
    from gpyro.serializers import register

    register(Unregistered, name="tests.known.no")
    return pack_message(Unregistered(1)).replace(b"tests.known.no", b"tests.unknown.")


def test_event_larger_than_a_queue_may_be_is_refused() -> None:
    with event_server(es_queue_bytes=10_000) as server:
        with pytest.raises(EventError, match=r"has 200\d\d bytes, limit is 10000 \(es_queue_bytes"):
            server.publisher().publish("a", "x" * 20_000)


def test_there_is_no_event_server_at_that_address() -> None:
    with event_server() as server:
        wrong = server.uri[:-4] + "0000"
        with pytest.raises(UnknownObjectError):
            Publisher(esURI=wrong).publish("a", 1)
        with pytest.raises(gpyro.errors.URIError):
            Publisher(esURI="nonsense")


def test_without_a_name_server_the_error_says_how_to_give_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(ident: object) -> Any:
        raise NamingError("no name server answers")

    monkeypatch.setattr("gpyro._events.finding.find_name_server", find)
    monkeypatch.setattr("gpyro._events.finding.config", gpyro.config.snapshot(es_urifile="/nowhere/at/all"))
    with pytest.raises(NamingError, match=r"start one with `gpyro es`, or give its address"):
        Publisher()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"policy": "sometimes"}, "policy 'sometimes' is not one of"),
        ({"queuesize": 0}, "queuesize=0"),
        ({"queuesize": 1.5}, "queuesize=1.5"),
        ({"block_seconds": -1}, "block_seconds=-1"),
        ({"queue": ""}, "the name of a queue"),
        ({"queue": 3}, "the name of a queue is a text, not int"),
        ({"queue": "q", "policy": "drop_old"}, "a reliable queue drops nothing"),
        ({"queue": "q", "redeliver_seconds": 0}, "redeliver_seconds=0"),
        ({"queue": "q", "history": 3}, "history=3"),
    ],
)
def test_option_that_is_not_right_is_named(options: dict[str, Any], text: str) -> None:
    with event_server() as server, pytest.raises(EventError, match=text):
        server.recorder("a", **options)


def test_subscribers_beyond_the_limit_are_refused() -> None:
    with event_server(es_max_subscribers=3) as server:
        for _ in range(3):
            server.recorder("a")
        with pytest.raises(gpyro.errors.ServerBusyError, match=r"limit is 3 \(es_max_subscribers\)"):
            server.recorder("a")


@pytest.mark.parametrize("seconds", [float("nan"), -1, "nan", None])
def test_time_to_wait_that_is_none_is_refused(seconds: Any) -> None:
    with event_server() as server:
        es = server.proxy()
        link = es.open_link()
        with pytest.raises(EventError, match="a time to wait is a number, 0 or more"):
            es.fetch(link, [], seconds)


def test_tokens_of_others_are_of_no_use_and_made_up_ones_neither() -> None:
    with event_server() as server:
        es = server.proxy()
        calls: list[tuple[str, tuple[Any, ...]]] = [
            ("fetch", ("0" * 32, [], 0)), ("select", ("0" * 32, "a")), ("close_box", ("x",)),
            ("attach", ("y", [])), ("note_done", ("z", [])),
        ]  # fmt: skip
        for method, arguments in calls:
            with pytest.raises(EventError, match="does not know this"):
                getattr(es, method)(*arguments)


def test_catastrophic_subject_patterns_do_not_hold_the_hub_for_long() -> None:
    """Expensive patterns of one subscriber leave others time in between."""
    with event_server() as server:
        recorder, other = server.recorder(), server.recorder("quick")
        recorder.subscribeMatch([f"(?:a|b)*(?:a|c)*x{number}$" for number in range(20)])
        ticks = 0

        def count() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                gevent.sleep(0)

        with listening(recorder, other):
            counter = gevent.spawn(count)
            server.publisher().publish("a" * 200, 1)
            counter.kill()
            server.publisher().publish("quick", 1)
            other.wait_for(1)
        assert ticks >= 20


def test_repr_of_everything_tells_its_state() -> None:
    with event_server() as server:
        recorder = server.recorder("a")
        with listening(recorder):
            server.publisher().publish("a", 1)
            recorder.wait_for(1)
            assert repr(recorder) == "<Recorder: <Subscription to 1 subjects, 0 patterns, listening>>"
            assert "1 events, 0 queues, 0 publishers wait" in repr(server.service)
            assert "1 boxes, 1 links, 0 objects" in repr(server.service)
            link = recorder._gpyro_subscription._link
            assert repr(link) == "<Link of 1 subscribers, fetching>"
            assert "1 handled" in repr(recorder._gpyro_subscription.inbox)
        assert repr(server.publisher()).startswith("<Publisher at <Proxy PYRO://127.0.0.1:")
        assert repr(recorder.events[0]) == "<Event 1 'a'>"
