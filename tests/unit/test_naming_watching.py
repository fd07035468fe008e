"""The log of events, who waits for them, and the caller's iterator."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

import gpyro
from gpyro import hub
from gpyro._naming import watching
from gpyro._naming.following import NameWatch
from gpyro._naming.watching import EventLog, NameEvent
from gpyro.errors import AccessDeniedError, NamingError, ProtocolError, ServerBusyError, TimeoutError
from gpyro.naming import NameServer, NameServerProxy
from gpyro.storage.memory import MemoryStorage
from tests.support.servers import SECONDS, eventually

URI = "PYRO://localhost:7766/abc"
OTHER = "PYRO://localhost:7766/def"


class Place:
    """A log fed by a storage."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        self.ending = False
        self.log = EventLog(lambda: self.ending)
        self.storage.listen(self.log.note_changes)
        self.storage.create_group(":g", created=1.0)
        self.cursor, _ = self.log.changes(":", None, 0)

    def register(self, name: str, uri: str = URI, **options: Any) -> None:
        self.storage.register(name, uri, created=1.0, **options)

    def read(self, group: str = ":", **options: Any) -> list[tuple[str, str]]:
        self.cursor, events = self.log.changes(group, self.cursor, 0, **options)
        return [(event.kind, event.name) for event in events]


@pytest.fixture
def place() -> Place:
    return Place()


# -- the log -------------------------------------------------------------------------------------------------


def test_each_kind_of_change_is_an_event_and_those_of_leases_are_none(place: Place) -> None:
    place.register(":g.x")
    place.register(":g.x", OTHER, member=True)
    place.storage.set_meta(":g", b"m")
    place.storage.open_lease("lease", seconds=5, created=1.0)
    place.register(":g.y", lease="lease")
    place.storage.close_lease("lease")
    place.storage.unregister(":g.x")
    place.storage.create_group(":h", created=1.0)
    place.storage.delete_group(":h")
    assert place.read() == [
        ("registered", ":g.x"), ("changed", ":g.x"), ("changed", ":g"), ("registered", ":g.y"),
        ("unregistered", ":g.y"), ("unregistered", ":g.x"), ("created", ":h"), ("deleted", ":h"),
    ]  # fmt: skip
    assert place.read() == []


def test_event_has_the_addresses_and_an_unregistered_one_those_it_had(place: Place) -> None:
    place.register(":g.x")
    place.register(":g.x", OTHER, member=True)
    place.storage.unregister(":g.x")
    _, events = place.log.changes(":g", place.cursor, 0)
    assert [event.uris for event in events] == [[URI], [URI, OTHER], [URI, OTHER]]
    assert all(isinstance(event, NameEvent) and event.time > 1e9 for event in events)


def test_stale_leases_are_noted_with_or_without_addresses(place: Place) -> None:
    place.log.note("stale", [":g.x"])
    place.log.note("alive", {":g.x": (URI,)})
    _, events = place.log.changes(":g", place.cursor, 0)
    assert [event[:3] for event in events] == [("stale", ":g.x", []), ("alive", ":g.x", [URI])]


def test_watcher_of_a_group_hears_of_it_and_of_what_is_in_it(place: Place) -> None:
    for name in (":g.x", ":gg", ":other"):
        place.register(name)
    place.storage.delete_group(":g")
    assert place.read(":g") == [("registered", ":g.x"), ("unregistered", ":g.x"), ("deleted", ":g")]


def test_what_may_not_be_seen_is_left_out(place: Place) -> None:
    place.register(":g.hidden")
    place.register(":g.seen")
    assert place.read(may_see=lambda name: name != ":g.hidden") == [("registered", ":g.seen")]


def test_cursor_of_another_log_is_a_reset_and_a_new_beginning(place: Place) -> None:
    for cursor in (EventLog().changes(":", None, 0)[0], f"{place.log.id}:99"):
        place.cursor = cursor
        place.register(f":g.x{len(cursor)}")
        assert place.read(":g") == [("reset", ":g")]
        assert place.read(":g") == []


@pytest.mark.parametrize("cursor", ["", "x", "a:b", "a:-1", "a:" + "9" * 30, 7, b"a:1"])
def test_what_is_no_cursor_is_refused(place: Place, cursor: Any) -> None:
    with pytest.raises(ValueError, match="cursor="):
        place.log.changes(":", cursor, 0)


@pytest.mark.parametrize("seconds", [-1, float("nan"), "1", None])
def test_what_is_no_time_is_refused(place: Place, seconds: Any) -> None:
    with pytest.raises(ValueError, match="seconds="):
        place.log.changes(":", place.cursor, seconds)


def test_watcher_who_comes_too_late_hears_a_reset(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_EVENTS", 10)
    for number in range(11):
        place.register(f":g.x{number}")
    assert place.read() == [("reset", ":")]
    assert place.read() == []
    assert repr(place.log) == "<EventLog 10 of 12 events, 0 watchers>"


def test_addresses_are_bounded_like_events(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_ADDRESSES", 10)
    for number in range(6):
        place.register(":g.x", f"PYRO://localhost:7766/{number}", member=number > 0)
    assert place.log._addresses == sum(len(event.uris) for event in place.log._events) <= 10
    assert place.read() == [("reset", ":")]


def test_deletion_of_a_large_group_comes_in_pages(place: Place) -> None:
    count = 2 * watching.MAX_EVENTS_AT_ONCE + 3
    for number in range(count):
        place.register(f":g.x{number}")
    place.cursor, _ = place.log.changes(":", None, 0)
    place.storage.delete_group(":g")
    pages = []
    while page := place.read():
        pages.append(page)
    assert [len(page) for page in pages] == [1_000, 1_000, 4]
    assert len({name for page in pages for _, name in page}) == count + 1


def test_deletion_of_a_group_larger_than_the_log_keeps_its_end(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MAX_EVENTS", 10)
    for number in range(30):
        place.register(f":g.x{number}")
    place.cursor, _ = place.log.changes(":", None, 0)
    place.storage.delete_group(":g")
    assert len(place.log._events) == 10
    assert place.log._events[-1][:2] == ("deleted", ":g")
    assert place.read() == [("reset", ":")]


# -- waiting -------------------------------------------------------------------------------------------------


def test_waiting_watcher_is_woken_by_what_concerns_it_and_by_nothing_else(place: Place) -> None:
    job = gevent.spawn(place.log.changes, ":g", place.cursor, SECONDS)
    eventually(lambda: place.log.watchers == 1)
    looks = []
    original = place.log._page
    place.log._page = lambda *args: looks.append(args) or original(*args)  # type: ignore[method-assign, func-returns-value]
    for number in range(1_000):
        place.register(f":other{number}")
    hub.sleep(0)
    assert (looks, job.ready()) == ([], False)
    place.register(":g.x")
    cursor, events = job.get(timeout=SECONDS)
    assert [event.name for event in events] == [":g.x"]
    assert len(looks) == 1
    assert place.log.changes(":", cursor, 0)[1] == []
    assert (place.log.watchers, place.log._waiting) == (0, {})


def test_watcher_of_a_quiet_group_loses_nothing_while_the_log_runs_over(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MAX_EVENTS", 10)
    job = gevent.spawn(place.log.changes, ":g", place.cursor, SECONDS)
    eventually(lambda: place.log.watchers == 1)
    for number in range(50):
        place.register(f":other{number}")
    place.register(":g.x")
    assert [event[:2] for event in job.get(timeout=SECONDS)[1]] == [("registered", ":g.x")]


def test_watcher_is_woken_from_another_thread(place: Place) -> None:
    job = gevent.spawn(place.log.changes, ":", place.cursor, SECONDS)
    eventually(lambda: place.log.watchers == 1)
    thread = threading.Thread(target=place.register, args=(":g.x",))
    thread.start()
    assert [event.name for event in job.get(timeout=SECONDS)[1]] == [":g.x"]
    thread.join(SECONDS)


def test_wait_without_events_ends_with_a_cursor_at_the_present(place: Place) -> None:
    job = gevent.spawn(place.log.changes, ":g", place.cursor, 0.05)
    eventually(lambda: place.log.watchers == 1)
    place.register(":other")
    cursor, events = job.get(timeout=SECONDS)
    assert events == []
    assert cursor == place.log.changes(":", None, 0)[0]


def test_end_of_the_server_ends_the_wait(place: Place) -> None:
    job = gevent.spawn(place.log.changes, ":", place.cursor, 60)
    eventually(lambda: place.log.watchers == 1)
    place.ending = True
    assert job.get(timeout=SECONDS)[1] == []
    assert watching.LOOK_SECONDS <= 0.5


def test_watcher_that_is_killed_leaves_nothing_behind(place: Place) -> None:
    job = gevent.spawn(place.log.changes, ":g", place.cursor, SECONDS)
    eventually(lambda: place.log.watchers == 1)
    job.kill()
    assert (place.log.watchers, place.log._waiting) == (0, {})


def test_too_many_watchers_are_told_to_come_later(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_WATCHERS", 2)
    jobs = [gevent.spawn(place.log.changes, ":", place.cursor, SECONDS) for _ in range(2)]
    eventually(lambda: place.log.watchers == 2)
    with pytest.raises(ServerBusyError, match="2 callers wait"):
        place.log.changes(":", place.cursor, SECONDS)
    assert place.log.changes(":", place.cursor, 0)[1] == []
    place.register(":g.x")
    assert all(job.get(timeout=SECONDS)[1] for job in jobs)


# -- over a connection ---------------------------------------------------------------------------------------


class Serving:
    """A name server in a greenlet, which can be started again at its port."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.port = 0
        self.start()

    def start(self) -> None:
        self.ns = NameServer(**self.options)
        self.daemon = gpyro.Daemon(port=self.port, norange=True)
        self.port = self.daemon.port
        self.uri = self.daemon.connect(self.ns)
        self.job = gevent.spawn(self.daemon.requestLoop)

    def stop(self) -> None:
        self.daemon.shutdown(True)
        self.job.join(SECONDS)
        assert self.job.ready()


@pytest.fixture
def serving() -> Iterator[Serving]:
    one = Serving()
    yield one
    one.stop()


@pytest.fixture
def ns(serving: Serving) -> Iterator[NameServerProxy]:
    proxy = NameServerProxy(serving.uri)
    yield proxy
    proxy._release()


def take(watch: NameWatch, count: int) -> list[tuple[str, str]]:
    with gevent.Timeout(SECONDS):
        return [next(watch)[:2] for _ in range(count)]


def test_watch_tells_what_happens_from_the_moment_it_is_made(ns: NameServerProxy) -> None:
    ns.register(":Default.before", URI)
    with ns.watch(":Default") as watch:
        ns.register("after", URI)
        ns.unregister("after")
        ns.createGroup(":elsewhere")
        ns.setMeta(":Default", 1)
        assert take(watch, 3) == [
            ("registered", ":Default.after"), ("unregistered", ":Default.after"), ("changed", ":Default"),
        ]  # fmt: skip
        assert repr(watch).endswith("open, 0 events at hand>")
    assert list(watch) == []
    assert repr(watch).startswith(f"<NameWatch of ':Default' at {ns.URI}, closed")


def test_watch_outlives_a_restart_and_tells_of_it_once(serving: Serving, ns: NameServerProxy) -> None:
    with ns.watch(":Default") as watch:
        job = gevent.spawn(take, watch, 2)
        eventually(lambda: serving.ns._log.watchers == 1)
        serving.stop()
        eventually(lambda: "server is lost" in repr(watch))
        serving.start()
        eventually(lambda: serving.ns._log.watchers == 1)
        serving.ns.register("x", URI)
        assert job.get(timeout=SECONDS) == [("reset", ":Default"), ("registered", ":Default.x")]


def test_connection_that_is_lost_loses_no_event(serving: Serving, ns: NameServerProxy) -> None:
    with ns.watch() as watch:
        job = gevent.spawn(take, watch, 1)
        eventually(lambda: serving.ns._log.watchers == 1)
        watch._ns._release()
        serving.ns.register("x", URI)
        assert job.get(timeout=SECONDS) == [("registered", ":Default.x")]


def test_close_ends_those_who_wait_at_once(serving: Serving, ns: NameServerProxy) -> None:
    watch = ns.watch()
    jobs = [gevent.spawn(list, watch) for _ in range(3)]
    eventually(lambda: serving.ns._log.watchers == 1)
    watch.close()
    watch.close()
    assert [job.get(timeout=SECONDS) for job in jobs] == [[], [], []]
    eventually(lambda: serving.ns._log.watchers == 0)


def test_close_from_another_thread_ends_those_who_wait(serving: Serving, ns: NameServerProxy) -> None:
    watch = ns.watch()
    job = gevent.spawn(list, watch)
    eventually(lambda: serving.ns._log.watchers == 1)
    thread = threading.Thread(target=watch.close)
    thread.start()
    assert job.get(timeout=SECONDS) == []
    thread.join(SECONDS)


def test_close_while_the_server_is_lost_ends_it(serving: Serving, ns: NameServerProxy) -> None:
    watch = ns.watch()
    job = gevent.spawn(list, watch)
    eventually(lambda: serving.ns._log.watchers == 1)
    serving.stop()
    eventually(lambda: "server is lost" in repr(watch))
    watch.close()
    assert job.get(timeout=SECONDS) == []
    serving.start()


def test_greenlets_share_the_events_of_one_watch(serving: Serving, ns: NameServerProxy) -> None:
    with ns.watch() as watch:
        jobs = [gevent.spawn(next, watch) for _ in range(4)]
        eventually(lambda: serving.ns._log.watchers == 1)
        for number in range(4):
            serving.ns.register(f"x{number}", URI)
        names = sorted(job.get(timeout=SECONDS).name for job in jobs)
        assert names == [f":Default.x{number}" for number in range(4)]


def test_greenlet_that_gives_up_leaves_the_watch_to_the_others(serving: Serving, ns: NameServerProxy) -> None:
    with ns.watch() as watch:
        first, second = gevent.spawn(next, watch), gevent.spawn(next, watch)
        eventually(lambda: serving.ns._log.watchers == 1)
        first.kill()
        serving.ns.register("x", URI)
        assert second.get(timeout=SECONDS).name == ":Default.x"


def test_deadline_of_the_caller_ends_one_question_and_not_the_watch(ns: NameServerProxy) -> None:
    with ns.watch() as watch:
        with pytest.raises(TimeoutError), gpyro.deadline(0.05):
            next(watch)
        ns.register("x", URI)
        assert take(watch, 1) == [("registered", ":Default.x")]


def test_watch_of_a_server_that_is_not_there_is_an_error(serving: Serving, ns: NameServerProxy) -> None:
    serving.stop()
    with pytest.raises(ProtocolError):
        ns.watch()
    serving.start()


def test_watch_of_what_cannot_be_a_group_is_an_error(ns: NameServerProxy) -> None:
    with pytest.raises(NamingError, match="empty part"):
        ns.watch(":a..b")


def test_shutdown_does_not_wait_for_watchers(serving: Serving, ns: NameServerProxy) -> None:
    job = gevent.spawn(ns.changes, ":", ns.changes()[0], 60)
    eventually(lambda: serving.ns._log.watchers == 1)
    serving.stop()
    assert job.get(timeout=SECONDS)[1] == []
    serving.start()


# -- rights, details, status ---------------------------------------------------------------------------------

RIGHTS = {":": {"*": {"lookup", "register"}}, ":secret": {"chief": {"admin"}}}


@pytest.fixture
def guarded() -> Iterator[tuple[Serving, NameServerProxy]]:
    one = Serving(rights=RIGHTS)
    proxy = NameServerProxy(one.uri)
    one.ns.createGroup(":secret")
    one.ns.register(":secret.x", URI)
    yield one, proxy
    proxy._release()
    one.stop()


def test_watcher_without_a_right_sees_nothing_of_hidden_groups(guarded: tuple[Serving, NameServerProxy]) -> None:
    serving, ns = guarded
    with pytest.raises(AccessDeniedError, match=":secret"):
        ns.watch(":secret")
    with pytest.raises(AccessDeniedError):
        ns.changes(":secret.x")
    with ns.watch() as watch:
        job = gevent.spawn(take, watch, 1)
        eventually(lambda: serving.ns._log.watchers == 1)
        serving.ns.register(":secret.y", URI)
        serving.ns.deleteGroup(":secret")
        serving.ns.register("seen", URI)
        assert job.get(timeout=SECONDS) == [("registered", ":Default.seen")]


def test_details_of_hidden_names_are_denied_whether_they_are_there_or_not(
    guarded: tuple[Serving, NameServerProxy]
) -> None:
    _, ns = guarded
    texts = set()
    for name in (":secret.x", ":secret.z"):
        with pytest.raises(AccessDeniedError) as info:
            ns.details(name)
        texts.add(str(info.value).replace(name, "NAME"))
    assert len(texts) == 1


def test_status_needs_the_right_to_look_up_the_root() -> None:
    serving = Serving(rights={":Default": {"*": {"admin"}}})
    ns = NameServerProxy(serving.uri)
    with pytest.raises(AccessDeniedError, match="'lookup' to ':'"):
        ns.status()
    ns._release()
    serving.stop()


def test_details_tell_all_but_the_ids_of_leases(serving: Serving, ns: NameServerProxy) -> None:
    serving.ns._storage.open_lease("lease", seconds=5, created=2.0)
    serving.ns._storage.register(":Default.x", URI, created=3.0, owner="me", lease="lease")
    ns.register("x", OTHER, member=True)
    ns.setMeta("x", {"room": (1, b"2")})
    details = ns.details("x")
    owner = details["members"][1].pop("owner")
    created = details["members"][1].pop("created")
    assert owner.startswith("127.0.0.1:") and created > 1e9
    assert details == {
        "name": ":Default.x", "kind": "object", "uris": [URI, OTHER], "created": 3.0, "owner": "me",
        "revision": serving.ns._storage.revision, "meta": {"room": (1, b"2")},
        "members": [
            {"uri": URI, "owner": "me", "created": 3.0, "leased": True, "stale": False},
            {"uri": OTHER, "leased": False, "stale": False},
        ],
    }  # fmt: skip
    assert ns.details(":Default")["kind"] == "group"
    with pytest.raises(NamingError, match=r"name not found: ':Default\.y'"):
        ns.details("y")


def test_status_tells_of_the_server_as_a_whole(serving: Serving, ns: NameServerProxy) -> None:
    ns.register("x", URI)
    status = ns.status()
    assert status.pop("uptime_seconds") >= 0
    storage = serving.ns._storage
    assert isinstance(storage, MemoryStorage)
    assert status == {
        "version": gpyro.__version__, "uri": str(serving.uri), "names": 1, "groups": 2, "leases": 0,
        "stale_leases": 0, "revision": storage.revision, "digest": f"{storage.digest:016x}",
        "storage": "MemoryStorage", "pair": None, "watchers": 0,
    }  # fmt: skip
