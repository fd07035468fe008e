"""Names that hang on leases: servers that vanish, are stopped, blocked, forked; name servers that are too.

Times are asserted here, as they are what is promised: names go at the end of the lease, within 2 s, not before.
"""

from __future__ import annotations

import ctypes.util
import glob
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import gevent
import pytest

import gpyro
from gpyro.errors import NamingError, ProtocolError
from gpyro.naming import NameServerLocator, NameServerProxy, NameServerStarter
from tests.support.programs import PROGRAMS, SECONDS, Ended, Program, free_port, make_environment

LEASE_SECONDS = 1.0
SLACK_SECONDS = 2.0
#: For what happens at no promised time.
LOOK_SECONDS = 0.01


class Place:
    """A name server of its own process, a proxy of it, and servers that hold names there."""

    def __init__(self, port: int, path: Path) -> None:
        self.port = port
        self.path = path
        #: Of the environment of the servers.
        self.variables: dict[str, str] = {}
        self.ns: NameServerProxy = NameServerLocator().getNS("127.0.0.1", port)

    def server(self, kind: str, *names: str, lease: float = LEASE_SECONDS, connecting: float = 5) -> Program:
        environment = make_environment(
            self.path, ns_lease_seconds=lease, connect_timeout_seconds=connecting
        ) | self.variables  # fmt: skip
        return Program([str(PROGRAMS / "lease_server.py"), kind, str(self.port), *names], environment)

    def knows(self, name: str) -> bool:
        return self.ns.resolve_many([name])[name] is not None

    def wait_until(self, condition: Callable[[], bool], what: str) -> float:
        """Return when it came to pass."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"not so after {SECONDS} s: {what}"
            gevent.sleep(LOOK_SECONDS)
        return time.monotonic()

    def gone(self, name: str) -> float:
        return self.wait_until(lambda: not self.knows(name), f"{name} is gone")

    def there(self, name: str) -> float:
        return self.wait_until(lambda: self.knows(name), f"{name} is there")


def renewals_of(starter: NameServerStarter) -> int:
    """Return how many renewals a name server has answered."""
    assert starter.ns is not None
    return starter.ns._leases.book.renewals


def is_renewed(starter: NameServerStarter, before: int) -> bool:
    return renewals_of(starter) > before


def stop(server: Program) -> Ended:
    """End a server in order, which it can once its loop runs."""
    server.read_until("serving")
    return server.stop()


@contextmanager
def name_server(path: Path, port: int, **variables: str) -> Iterator[Program]:
    with Program(["-m", "gpyro", "ns", "-r"], make_environment(path, ns_port=port) | variables) as program:
        program.read_until("Name Server started.")
        yield program


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    path, port = tmp_path_factory.mktemp("leases"), free_port()
    with name_server(path, port):
        place = Place(port, path)
        yield place
        place.ns._release()


@pytest.fixture
def nearby(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Place, NameServerStarter]]:
    """A name server in a thread of this process, so that its book can be looked at."""
    monkeypatch.setattr("gpyro._naming.starter.config", gpyro.config.snapshot(storage=str(tmp_path)))
    starter = NameServerStarter()
    thread = threading.Thread(target=lambda: starter.start("127.0.0.1", free_port(), dontlookupother=True))
    thread.start()
    assert starter.waitUntilStarted(SECONDS)
    assert starter.uri is not None and starter.uri.port is not None
    place = Place(starter.uri.port, tmp_path)
    yield place, starter
    place.ns._release()
    starter.shutdown()
    thread.join(SECONDS)
    assert not thread.is_alive()


# -- servers that vanish -------------------------------------------------------------------------------------


def test_names_of_a_killed_server_go_with_its_lease_and_not_before(
    nearby: tuple[Place, NameServerStarter],
) -> None:
    place, starter = nearby
    renewed: list[float] = []
    assert starter.ns is not None
    starter.ns._leases.on_renewed = lambda lease: renewed.append(time.monotonic())
    with place.server("serve", "first", "second", "kept") as server:
        server.read_until("up")
        place.wait_until(lambda: len(renewed) > 3, "the lease is renewed")
        server.process.kill()
        server.process.wait()
        first = place.gone("first")
        assert not place.knows("second")
        assert LEASE_SECONDS <= first - renewed[-1] <= LEASE_SECONDS + SLACK_SECONDS
    # What was registered to stay does.
    assert place.knows("kept")


def test_leases_of_any_age_are_over_in_time_and_not_before(place: Place) -> None:
    ended: dict[str, float] = {}

    def live(number: int) -> None:
        name, seconds = f"lease{number}", 1.0 + number % 4 / 4
        lease = place.ns.open_lease(seconds)
        place.ns.register(name, "PYRO://localhost:7766/x", lease=lease)
        gevent.sleep(number * 0.05)
        begin = time.monotonic()
        place.ns.renew_lease(lease)
        answered = time.monotonic()
        assert place.knows(name)
        gone = place.gone(name)
        # What is seen of it comes after it happened, by as much as a look takes.
        assert gone - answered >= seconds
        assert gone - begin <= seconds + SLACK_SECONDS
        with pytest.raises(NamingError, match="lease is over"):
            place.ns.renew_lease(lease)
        ended[name] = gone

    jobs = [gevent.spawn(live, number) for number in range(20)]
    gevent.joinall(jobs, timeout=SECONDS, raise_error=True)
    assert len(ended) == 20


def test_names_go_in_time_where_a_loop_of_the_programs_own_serves_the_name_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nobody calls it, so that nothing but the end of the lease gives it anything to do."""
    monkeypatch.setattr("gpyro._naming.starter.config", gpyro.config.snapshot(storage=str(tmp_path)))
    starter, ready, stop = NameServerStarter(), threading.Event(), threading.Event()

    def serve() -> None:
        starter.initialize("127.0.0.1", free_port(), dontlookupother=True)
        ready.set()
        while not stop.is_set():
            if select.select(starter.getServerSockets(), [], [], 0.2)[0]:
                starter.handleRequests(0)
        starter.shutdown()

    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(SECONDS)
    assert starter.ns is not None
    ns = NameServerProxy(str(starter.uri))
    lease = ns.open_lease(LEASE_SECONDS)
    ns.register("alone", "PYRO://localhost:7766/x", lease=lease)
    begin = time.monotonic()
    ns._release()
    while starter.ns._storage.kind(":Default.alone") is not None:
        assert time.monotonic() - begin <= LEASE_SECONDS + SLACK_SECONDS
        time.sleep(LOOK_SECONDS)  # between two looks; the hub of this thread has to stay out of it
    assert time.monotonic() - begin >= LEASE_SECONDS - 0.1
    stop.set()
    thread.join(SECONDS)
    assert not thread.is_alive()


def test_stopped_server_loses_its_names_and_registers_again_when_it_goes_on(place: Place) -> None:
    with place.server("serve", "stopped") as server:
        server.read_until("up")
        before = place.ns.resolve("stopped")
        server.process.send_signal(signal.SIGSTOP)
        place.gone("stopped")
        server.process.send_signal(signal.SIGCONT)
        place.there("stopped")
        assert place.ns.resolve("stopped") == before
        ended = stop(server)
    assert "is over; registering 1 names again" in ended.stderr
    assert not place.knows("stopped")


def test_stale_name_is_taken_over_and_comes_back_when_it_is_free(
    nearby: tuple[Place, NameServerStarter],
) -> None:
    place, starter = nearby
    with place.server("serve", "wanted", lease=2) as first:
        first.read_until("up")
        before = place.ns.resolve("wanted")
        first.process.send_signal(signal.SIGSTOP)
        taken = "PYRO://localhost:7766/taken"

        def take() -> bool:
            try:
                place.ns.register("wanted", taken)
            except NamingError:
                return False
            return True

        begin = time.monotonic()
        assert place.wait_until(take, "the name is stale") - begin <= 2 + SLACK_SECONDS
        first.process.send_signal(signal.SIGCONT)
        # It learns of that with its next renewal, and leaves it to the other one.
        place.wait_until(partial(is_renewed, starter, renewals_of(starter) + 1), "two more renewals")
        assert str(place.ns.resolve("wanted")) == taken
        place.ns.unregister("wanted")
        place.there("wanted")
        assert place.ns.resolve("wanted") == before
        ended = stop(first)
    assert f"':Default.wanted' is lost for {before}: it stands for {taken} now" in ended.stderr


def test_killed_server_is_restarted_at_once_and_takes_its_name_over(
    nearby: tuple[Place, NameServerStarter],
) -> None:
    place, starter = nearby
    addresses = set()
    for _ in range(3):
        before = renewals_of(starter)
        with place.server("serve", "restarted", lease=3600) as server:
            server.read_until("up")
            addresses.add(str(place.ns.resolve("restarted")))
            # Which connection is the holder's is known with the first renewal, which comes at once.
            place.wait_until(partial(is_renewed, starter, before), "the first renewal")
            server.process.kill()
            server.process.wait()
    assert len(addresses) == 3


def test_name_of_a_live_server_is_not_taken_over(place: Place) -> None:
    with place.server("serve", "mine", lease=3600) as server:
        server.read_until("up")
        with place.server("serve", "mine", lease=3600) as second:
            ended = second.finish()
        assert ended.status == 1
        assert "name already exists: ':Default.mine'; it stands for PYRO://" in ended.stderr
        assert stop(server).status == 0


# -- servers that are busy -----------------------------------------------------------------------------------


def test_server_that_holds_its_hub_longer_than_the_lease_keeps_its_names(place: Place) -> None:
    kinds = ("sleep", "spin", "patched")
    servers = [place.server(kind, kind) for kind in kinds]
    try:
        for server in servers:
            server.read_until("up")
        waiting = [server for server, kind in zip(servers, kinds, strict=True) if kind != "patched"]
        jobs = [gevent.get_hub().threadpool.spawn(server.read_until, "done") for server in waiting]
        looks = 0
        while not all(job.ready() for job in jobs):
            assert all(place.ns.resolve_many(kinds).values())
            looks += 1
            gevent.sleep(LOOK_SECONDS)
        assert looks > 50
        for job in jobs:
            job.get()
        for server in servers:
            assert stop(server).stderr == ""
    finally:
        for server in servers:
            server.__exit__(None, None, None)
    assert not any(place.ns.resolve_many(kinds).values())


def test_a_thousand_names_hang_on_one_lease(nearby: tuple[Place, NameServerStarter]) -> None:
    place, starter = nearby
    assert starter.ns is not None
    book = starter.ns._leases.book
    names = [f"object{number}" for number in range(1000)]
    with place.server("serve", *names, lease=2) as server:
        server.read_until("up")
        assert len(book) == 1
        begin, before = time.monotonic(), book.renewals
        place.wait_until(lambda: book.renewals >= before + 3, "three renewals")
        passed = time.monotonic() - begin
        # The first may come at once; then there is one in each third of the length.
        assert passed >= 4 / 3 - 0.1
        assert len(place.ns.list()) == 1000
        assert stop(server).status == 0
    assert place.ns.list() == []
    assert len(book) == 0


# -- ends, forks, members ------------------------------------------------------------------------------------


def test_server_that_just_ends_frees_its_names_at_once(place: Place) -> None:
    with place.server("end", "brief", lease=3600) as server:
        ended = server.finish()
    assert (ended.status, ended.stderr) == (0, "")
    assert not place.knows("brief")


def test_servers_stand_side_by_side_under_one_name(place: Place) -> None:
    with place.server("member", "team") as first, place.server("member", "team") as second:
        for server in (first, second):
            server.read_until("up")
        assert len(set(map(str, place.ns.resolve("team", "all")))) == 2
        assert stop(first).status == 0
        assert len(place.ns.resolve("team", "all")) == 1
        second.process.kill()
        place.gone("team")


def test_forked_child_neither_keeps_nor_ends_its_parents_names(place: Place) -> None:
    with place.server("fork", "parent") as server:
        child = int(server.read_until("child"))
        try:
            server.process.kill()
            place.gone("parent")
        finally:
            os.kill(child, signal.SIGKILL)
    with place.server("forked child ends", "parent") as server:
        server.read_until("done")
        assert place.knows("parent")
        assert stop(server).status == 0


def test_forked_child_holds_names_of_its_own(place: Place) -> None:
    with place.server("forked child holds", "parent", lease=3600) as server:
        server.read_until("child up")
        server.read_until("done")
        # It has ended in order.
        assert not place.knows("child's")
        assert place.knows("parent")
        assert stop(server).status == 0


# -- name servers that are stopped or lose their memory ------------------------------------------------------


def test_name_server_without_memory_gets_all_names_back(tmp_path: Path) -> None:
    port = free_port()
    with name_server(tmp_path, port):
        place = Place(port, tmp_path)
        place.ns.createGroup(":Plant")
        place.ns.createGroup(":Plant.hall")
        first = place.server("serve", "a", "b", ":Plant.hall.pump", lease=30)
        second = place.server("serve", "c", lease=30)
        for server in (first, second):
            server.read_until("up")
        before = place.ns.flatlist()
    try:
        with name_server(tmp_path, port):
            place.wait_until(lambda: len(place.ns.flatlist()) == 5, "all are back")
            assert place.ns.flatlist() == before
            for server in (first, second):
                assert stop(server).status == 0
            assert len(place.ns.flatlist()) == 1
    finally:
        for server in (first, second):
            server.__exit__(None, None, None)
        place.ns._release()


def test_name_server_that_is_stopped_for_longer_than_the_lease_forgets_nobody(tmp_path: Path) -> None:
    port = free_port()
    with name_server(tmp_path, port) as names:
        place = Place(port, tmp_path)
        with place.server("serve", "lasting") as server:
            server.read_until("up")
            revision = place.ns._getSystemMeta("lasting").created
            names.process.send_signal(signal.SIGSTOP)
            gevent.sleep(2.5 * LEASE_SECONDS)
            names.process.send_signal(signal.SIGCONT)
            until = time.monotonic() + 2 * LEASE_SECONDS
            while time.monotonic() < until:
                assert place.knows("lasting")
                gevent.sleep(LOOK_SECONDS)
            # It has not been registered again meanwhile.
            assert place.ns._getSystemMeta("lasting").created == revision
            assert stop(server).status == 0
        place.ns._release()


def test_server_ends_although_the_name_server_does_not_answer(tmp_path: Path) -> None:
    port = free_port()
    with name_server(tmp_path, port) as names:
        place = Place(port, tmp_path)
        with place.server("serve", "stuck", lease=30, connecting=0.5) as server:
            server.read_until("up")
            names.process.send_signal(signal.SIGSTOP)
            begin = time.monotonic()
            assert stop(server).status == 0
            # Half a second for what the daemon asks, and what the end of a lease may take.
            assert time.monotonic() - begin < 5.0
        names.process.send_signal(signal.SIGCONT)
        place.ns._release()


# -- clocks --------------------------------------------------------------------------------------------------


def faketime_library() -> str | None:
    found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1") or glob.glob("/usr/lib*/faketime/libfaketime.so.1")
    return found[0] if found else ctypes.util.find_library("faketime")


@pytest.mark.skipif(faketime_library() is None, reason="libfaketime is not installed; it lets the clock jump")
def test_clocks_that_jump_by_an_hour_end_no_lease_and_keep_none(tmp_path: Path) -> None:
    port = free_port()
    stamp = tmp_path / "clock"
    stamp.write_text("+0\n")
    jumping = {
        "LD_PRELOAD": str(faketime_library()), "FAKETIME_TIMESTAMP_FILE": str(stamp), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    with name_server(tmp_path, port, **jumping):
        place = Place(port, tmp_path)
        place.variables = jumping
        with place.server("serve", "timeless") as server:
            server.read_until("up")
            created = place.ns._getSystemMeta("timeless").created
            for jump in ("+3600", "-3600", "+3600", "+0"):
                stamp.write_text(f"{jump}\n")
                until = time.monotonic() + 0.7 * LEASE_SECONDS
                while time.monotonic() < until:
                    assert place.knows("timeless")
                    gevent.sleep(LOOK_SECONDS)
                if jump == "+3600":
                    place.ns.register("clock", "PYRO://localhost:7766/x", replace=True)
                    assert place.ns._getSystemMeta("clock").created - time.time() > 3000
            assert place.ns._getSystemMeta("timeless").created == created
            server.process.kill()
            killed = time.monotonic()
            stamp.write_text("-3600\n")
            assert place.gone("timeless") - killed <= LEASE_SECONDS + SLACK_SECONDS
        place.ns._release()


def test_program_that_holds_names_tells_when_nobody_answers() -> None:
    with pytest.raises(ProtocolError):
        gpyro.naming.NameServerProxy(f"PYRO://127.0.0.1:{free_port()}/:Pyro.NameServer", noconnect=1).hold(
            "nobody", "PYRO://localhost:7766/x"
        )
