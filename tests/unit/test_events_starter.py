"""The starter of the event server: in threads, greenlets and loops of the program's own, and what it refuses."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

import gpyro
from gpyro import naming
from gpyro._events import starter as starter_room
from gpyro.configuration import Settings
from gpyro.errors import ConnectionDeniedError, DaemonError, NamingError
from gpyro.eventserver import EventServiceStarter, Publisher
from tests.support.programs import free_port
from tests.support.settings import use_in_naming

SECONDS = 20
NAME = ":Pyro.EventService"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    settings = Settings(
        storage=str(tmp_path / "storage"), ns_port=free_port(), ns_hostname="127.0.0.1", ns_broadcast=False
    )
    monkeypatch.setattr(starter_room, "config", settings)
    return use_in_naming(settings, monkeypatch)


class running:
    """Runs a starter in a thread; leaving the block ends both."""

    def __init__(self, starter: Any, *args: Any, **options: Any) -> None:
        self.starter = starter
        self.thread = threading.Thread(target=starter.start, args=args, kwargs=options)

    def __enter__(self) -> Any:
        self.thread.start()
        assert self.starter.waitUntilStarted(SECONDS)
        return self.starter

    def __exit__(self, *exc_info: object) -> None:
        self.starter.shutdown()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()


@pytest.fixture
def ns(settings: Settings) -> Iterator[naming.NameServerProxy]:
    with running(naming.NameServerStarter()):
        proxy = naming.NameServerLocator().getNS()
        yield proxy
        proxy._release()


def events_of(starter: EventServiceStarter) -> int:
    """Ask the server how many events there were, over the network."""
    proxy = gpyro.Proxy(str(starter.uri))
    proxy._setIdentification(starter.identification)
    try:
        return proxy.status()["events"]  # type: ignore[no-any-return]
    finally:
        proxy._release()


def test_started_in_a_thread_it_serves_under_its_name(ns: naming.NameServerProxy, settings: Settings) -> None:
    with running(EventServiceStarter(), port=0) as starter:
        assert ns.resolve(NAME) == starter.uri
        assert naming.read_uri_file(settings.es_urifile) == starter.uri
        assert stat.S_IMODE(os.stat(settings.es_urifile).st_mode) == 0o600
        assert starter.running
        Publisher(None, starter.uri).publish("a", 1)
        assert events_of(starter) == 1
        assert repr(starter) == f"<EventServiceStarter {starter.uri}>"
    assert repr(starter) == f"<EventServiceStarter ended, was {starter.uri}>"
    assert not starter.running
    assert not os.path.exists(settings.es_urifile)
    with pytest.raises(NamingError, match="name not found"):
        ns.resolve(NAME)


def test_its_name_is_held_and_not_kept_for_good(ns: naming.NameServerProxy) -> None:
    with running(EventServiceStarter(), port=0):
        assert [member["leased"] for member in ns.details(NAME)["members"]] == [True]


def test_waiter_in_a_greenlet_learns_when_it_serves(settings: Settings) -> None:
    starter = EventServiceStarter()
    waiter = gevent.spawn(starter.waitUntilStarted, SECONDS)
    server = gevent.spawn(starter.start, port=0, useNameServer=0)
    assert waiter.get(timeout=SECONDS) is True
    assert events_of(starter) == 0
    starter.shutdown()
    server.get(timeout=SECONDS)


def test_waiter_learns_that_it_could_not_start(settings: Settings) -> None:
    starter = EventServiceStarter()
    with pytest.raises(NamingError, match=r"could not find a name server.*or do without \(-N, useNameServer=0\)"):
        starter.start(port=0)
    with pytest.raises(DaemonError, match="the event server could not start: could not find a name server"):
        starter.waitUntilStarted(SECONDS)
    assert repr(starter) == "<EventServiceStarter not started>"


def test_waiter_gives_up_after_its_time() -> None:
    assert EventServiceStarter().waitUntilStarted(0.05) is False


def test_pyros_positional_arguments_are_taken(settings: Settings) -> None:
    port = free_port()
    with running(EventServiceStarter(), "127.0.0.1", port, 0, 1) as starter:
        assert str(starter.uri) == f"PYRO://127.0.0.1:{port}/{NAME}"
        with pytest.raises(DaemonError, match=f"port {port} of 127.0.0.1 is in use, perhaps by another event"):
            EventServiceStarter().initialize("127.0.0.1", port, 0, 1)
        with running(EventServiceStarter(), "127.0.0.1", port, 0, 0) as other:
            assert other.uri.port > port


def test_setting_running_to_false_ends_it(settings: Settings) -> None:
    starter = EventServiceStarter()
    thread = threading.Thread(target=starter.start, kwargs={"port": 0, "useNameServer": 0})
    thread.start()
    assert starter.waitUntilStarted(SECONDS)
    starter.running = True
    assert starter.running
    starter.running = 0
    thread.join(SECONDS)
    assert not thread.is_alive()


def test_loop_of_the_programs_own_serves_and_ends(settings: Settings) -> None:
    starter = EventServiceStarter()
    starter.initialize(port=0, useNameServer=0)
    assert starter.getServerSockets()
    job = gevent.spawn(events_of, starter)
    while not job.ready():
        starter.handleRequests(0.1)
    assert job.get() == 0
    starter.shutdown(starter.es)
    assert starter.getServerSockets() == []
    starter.handleRequests(0)
    assert not os.path.exists(settings.es_urifile)


def test_starter_without_a_server_refuses_to_handle_requests() -> None:
    with pytest.raises(DaemonError, match=r"there is no event server yet; call initialize\(\) first"):
        EventServiceStarter().handleRequests(0)
    assert EventServiceStarter().getServerSockets() == []


def test_starter_is_used_once(settings: Settings) -> None:
    with running(EventServiceStarter(), port=0, useNameServer=0) as starter:
        pass
    with pytest.raises(DaemonError, match="has been used before"):
        starter.start()


def test_second_one_is_refused_unless_it_is_wanted(ns: naming.NameServerProxy) -> None:
    asked: list[str] = []

    def ask(answer: bool) -> bool:
        asked.append("asked")
        return answer

    with running(EventServiceStarter(), port=0) as first:
        with pytest.raises(NamingError, match=f"one is running already, {first.uri}; .*--force"):
            EventServiceStarter().initialize(port=0)
        with pytest.raises(NamingError, match="one is running already"):
            EventServiceStarter().initialize(port=0, anyway=lambda: ask(False))
        assert ns.resolve(NAME) == first.uri
        with running(EventServiceStarter(), port=0, anyway=lambda: ask(True)) as second:
            assert ns.resolve(NAME) == second.uri
        assert asked == ["asked", "asked"]
        with pytest.raises(NamingError, match="name not found"):
            ns.resolve(NAME)


def test_one_that_does_not_let_us_ask_is_taken_for_running(ns: naming.NameServerProxy) -> None:
    with running(EventServiceStarter("pw"), port=0):
        with pytest.raises(NamingError, match="one is running already"):
            EventServiceStarter().initialize(port=0)
        with pytest.raises(NamingError, match="one is running already"):
            EventServiceStarter("pw").initialize(port=0)


@pytest.mark.parametrize("other", ["nobody", "daemon"])
def test_name_of_one_that_is_gone_is_taken(ns: naming.NameServerProxy, other: str) -> None:
    with gpyro.Daemon(port=0, norange=True) as daemon:
        # A daemon that came to have the port since knows of no event server.
        port = daemon.port if other == "daemon" else free_port()
        ns.register(NAME, f"PYRO://127.0.0.1:{port}/{NAME}")
        thread = threading.Thread(target=daemon.requestLoop)
        thread.start()
        try:
            with running(EventServiceStarter(), port=0) as starter:
                assert ns.resolve(NAME) == starter.uri
        finally:
            daemon.shutdown()
            thread.join(SECONDS)


def test_identification_is_wanted_of_clients(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with running(EventServiceStarter("pw"), port=0, useNameServer=0) as starter:
        assert events_of(starter) == 0
        starter.identification = "wrong"
        with pytest.raises(ConnectionDeniedError):
            events_of(starter)
    assert capsys.readouterr().out.splitlines() == [
        "Requiring connection authentication.", f"URI= {starter.uri}", "Event Server started.",
        "Event Server gracefully stopped.",
    ]  # fmt: skip


def test_storage_that_cannot_be_written_is_told_and_passed_over(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    settings.es_urifile = str(tmp_path / "file" / "Pyro_ES_URI")
    with running(EventServiceStarter(), port=0, useNameServer=0) as starter:
        assert events_of(starter) == 0
    out = capsys.readouterr().out
    assert "WARNING: the URI could not be written" in out
    assert "(es_urifile)" in out


def test_database_is_let_go_of_when_it_cannot_listen(settings: Settings) -> None:
    with running(EventServiceStarter(), "127.0.0.1", free_port(), 0, 1) as first:
        port = first.uri.port
        with pytest.raises(DaemonError, match="in use"):
            EventServiceStarter().initialize("127.0.0.1", port, 0, 1, persistent=1)
        with running(EventServiceStarter(), port=0, useNameServer=0, persistent=1):
            assert os.path.exists(os.path.join(settings.storage, "Pyro_ES_database", "events.sqlite"))
