"""The end of a daemon: names, running calls, what callers notice, and daemons that nobody ends."""

from __future__ import annotations

import gc
import socket
import threading
import time
from pathlib import Path
from typing import Any

import gevent
import pytest

import gpyro
from tests.support.programs import PROGRAMS, make_environment, run
from tests.support.serving import (
    FakeNameServer,
    Thing,
    count_descriptors,
    count_threads,
    serve,
    settings,
    wait_until,
)


def call_in_thread(method: Any, *args: object) -> tuple[threading.Thread, list[object]]:
    """Call it in a thread with a hub of its own; the list gets what it returns or raises."""
    outcome: list[object] = []

    def call() -> None:
        try:
            outcome.append(method(*args))
        except BaseException as exc:
            outcome.append(exc)

    thread = threading.Thread(target=call)
    thread.start()
    return thread, outcome


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("method", ["nap", "block"])
def test_shutdown_from_another_thread_finishes_the_running_calls(method: str) -> None:
    names = FakeNameServer()
    with serve(names, "thing") as served:
        thread, outcome = call_in_thread(getattr(served.proxy(), method), 0.4)
        assert served.thing.entered.wait(10)
        served.daemon.shutdown()
        assert names.history == ["+thing", "-thing"]
        served.thread.join(10)
        assert refuses(served.port)
        assert served.thing.finished == [method]
        thread.join(10)
        assert outcome == ["slept" if method == "nap" else "blocked"]


def test_listener_is_closed_while_calls_still_run() -> None:
    with serve() as served:
        thread, outcome = call_in_thread(served.proxy().nap, 0.5)
        assert served.thing.entered.wait(10)
        served.daemon.shutdown()
        wait_until(lambda: refuses(served.port))
        assert served.thing.finished == []
        thread.join(10)
        assert outcome == ["slept"]


def test_shutdown_from_inside_a_call_answers_that_call() -> None:
    with serve() as served:
        assert served.proxy().end() == "ending"
        served.thread.join(10)
        assert not served.thread.is_alive()


def test_shutdown_from_inside_a_call_answers_it_under_handle_requests_too() -> None:
    def loop(daemon: gpyro.Daemon) -> None:
        while "ended" not in repr(daemon) or daemon._service._connections:
            daemon.handleRequests(0.05)

    with serve(loop=loop) as served:
        assert served.proxy().end() == "ending"
        served.thread.join(10)
        assert not served.thread.is_alive()


def test_shutdown_from_a_condition_ends_the_loop() -> None:
    names = FakeNameServer()
    daemon = gpyro.Daemon(port=0, norange=True)
    daemon.useNameServer(names)
    daemon.connect(Thing(), "thing")

    def condition() -> bool:
        daemon.shutdown()
        return True

    daemon.requestLoop(condition)
    assert names.history == ["+thing", "-thing"]
    assert refuses(daemon.port)


def test_shutdown_from_a_greenlet_ends_the_loop() -> None:
    daemon = gpyro.Daemon(port=0, norange=True)
    gevent.spawn_later(0.05, daemon.shutdown)
    daemon.requestLoop()
    assert "ended" in repr(daemon)


def test_shutdown_from_a_callback_of_the_hub_ends_the_loop() -> None:
    names = FakeNameServer()
    daemon = gpyro.Daemon(port=0, norange=True)
    daemon.useNameServer(names)
    daemon.connect(Thing(), "thing")
    timer = gevent.get_hub().loop.timer(0.05)
    timer.start(daemon.shutdown)
    daemon.requestLoop()
    timer.close()
    assert names.history == ["+thing", "-thing"]


def test_shutdown_in_the_daemons_own_thread_returns_when_the_calls_have_ended() -> None:
    daemon = gpyro.Daemon(port=0, norange=True)
    thing = Thing()
    uri = daemon.connect(thing)
    daemon.handleRequests(0)
    call = gevent.spawn(lambda: gpyro.Proxy(uri).nap(0.2))
    wait_until(thing.entered.is_set)
    daemon.shutdown()
    assert thing.finished == ["nap"]
    assert call.get(timeout=10) == "slept"


def test_calls_that_take_longer_than_the_drain_are_cut() -> None:
    with serve(drain_timeout_seconds=0.2) as served:
        thread, outcome = call_in_thread(served.proxy().nap, 60)
        assert served.thing.entered.wait(10)
        begin = time.monotonic()
        served.daemon.shutdown()
        served.thread.join(10)
        assert not served.thread.is_alive()
        assert time.monotonic() - begin >= 0.19
        thread.join(10)
        assert isinstance(outcome[0], (gpyro.errors.ConnectionClosedError, gpyro.errors.CallCancelled))
        assert served.thing.finished == []


def test_activity_does_not_shorten_the_drain() -> None:
    """Each of many small events must not count as a whole look's time."""
    with serve(drain_timeout_seconds=5) as served:
        others = [call_in_thread(served.proxy().nap, 1.5 + 0.01 * n) for n in range(40)]
        wait_until(lambda: len(served.daemon._service._connections) == 40)
        wait_until(lambda: all(c.serving.running for c in list(served.daemon._service._connections)))
        served.daemon.shutdown()
        for thread, _ in others:
            thread.join(10)
        assert [outcome for _, outcome in others] == [["slept"]] * 40


def test_shutdown_does_not_wait_for_a_peer_that_reads_nothing_longer_than_the_drain() -> None:
    with serve(drain_timeout_seconds=0.2) as served:
        idle = socket.create_connection(("127.0.0.1", served.port))
        wait_until(lambda: served.daemon._service._connections)
        served.daemon.shutdown()
        served.thread.join(10)
        assert not served.thread.is_alive()
        idle.close()


def test_shutdown_true_takes_the_objects_out() -> None:
    with gpyro.Daemon(port=0, norange=True) as daemon:
        thing = Thing()
        daemon.connect(thing)
        daemon.shutdown(True)
        assert thing.getDaemon() is None
        assert list(daemon.getRegistered().values()) == ["__PYRO_Internal_Daemon"]


def test_shutdown_without_it_keeps_them_and_another_daemon_may_have_them() -> None:
    thing = Thing()
    first = gpyro.Daemon(port=0, norange=True)
    first.connect(thing)
    first.shutdown()
    assert thing.getDaemon() is first
    with serve() as served:
        uri = served.daemon.connect(thing)
        first.shutdown(True)
        assert thing.getDaemon() is served.daemon
        assert gpyro.Proxy(uri).echo(1) == 1


def test_shutdown_twice_is_harmless() -> None:
    names = FakeNameServer()
    with serve(names, "thing") as served:
        served.daemon.shutdown()
        served.daemon.shutdown()
        served.thread.join(10)
        served.daemon.shutdown(True)
    assert names.history == ["+thing", "-thing"]


def test_connect_after_the_end_is_an_error() -> None:
    daemon = gpyro.Daemon(port=0, norange=True)
    daemon.shutdown()
    with pytest.raises(gpyro.errors.DaemonError, match="has been shut down"):
        daemon.connect(Thing())


def test_name_server_that_fails_does_not_stop_the_end(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeNameServer):
        def unregister(self, name: str) -> None:
            raise RuntimeError("out of order")

    with serve(Broken(), "thing") as served:
        served.daemon.shutdown()
        served.thread.join(10)
        assert not served.thread.is_alive()
    assert "could not unregister 'thing': out of order" in caplog.text


def test_name_server_that_does_not_answer_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    class Hanging(FakeNameServer):
        def unregister(self, name: str) -> None:
            gevent.sleep(600)

    daemon = gpyro.Daemon(port=0, norange=True, config=settings(connect_timeout_seconds=0.1))
    daemon.useNameServer(Hanging())
    daemon.connect(Thing(), "thing")
    daemon.shutdown()
    assert "could not unregister ['thing']: no answer within 0.1 s" in caplog.text


def test_name_of_somebody_else_is_never_unregistered() -> None:
    names = FakeNameServer()
    with gpyro.Daemon(port=0, norange=True) as owner, gpyro.Daemon(port=0, norange=True) as late:
        owner.useNameServer(names)
        owner.connect(Thing(), "thing")
        late.connect(Thing(), "thing")
        late.useNameServer(names)
        late.shutdown(True)
        assert list(names.names) == ["thing"]


def test_second_name_that_is_refused_leaves_the_object_under_its_first() -> None:
    names = FakeNameServer()
    with gpyro.Daemon(port=0, norange=True) as owner, gpyro.Daemon(port=0, norange=True) as daemon:
        owner.useNameServer(names)
        daemon.useNameServer(names)
        owner.connect(Thing(), "taken")
        thing = Thing()
        daemon.connect(thing, "first")
        with pytest.raises(gpyro.errors.NamingError, match="already exists"):
            daemon.connect(thing, "taken")
        assert daemon.getRegistered()[thing.GUID()] == "first"
        other = Thing()
        with pytest.raises(gpyro.errors.NamingError, match="already exists"):
            daemon.connect(other, "taken")
        assert other.GUID() not in daemon.getRegistered()
        assert other.getDaemon() is None
    assert names.names == {}


def test_persistent_name_stays() -> None:
    names = FakeNameServer()
    with gpyro.Daemon(port=0, norange=True) as daemon:
        daemon.useNameServer(names)
        thing = Thing()
        daemon.connectPersistent(thing, "kept")
        daemon.connect(Thing(), "gone")
    assert list(names.names) == ["kept"]
    with gpyro.Daemon(port=0, norange=True) as daemon:
        daemon.useNameServer(names)
        again = Thing()
        daemon.connectPersistent(again, "kept")
        assert again.GUID() == thing.GUID()


# -- what callers notice -------------------------------------------------------------------------------------


def test_next_call_after_an_orderly_end_says_that_nobody_listens() -> None:
    with serve() as served:
        proxy = served.proxy()
        assert proxy.echo(1) == 1
        served.daemon.shutdown()
        served.thread.join(10)
        with pytest.raises(gpyro.errors.ProtocolError, match=f"127.0.0.1 port {served.port}: Connection refused"):
            proxy.echo(2)


def test_next_call_goes_to_the_restarted_server_in_silence() -> None:
    """The caller's hub does not run in between; a request is never lost in the dead connection."""
    port = 0
    proxy: Any = None
    identity = Thing().GUID()
    for _ in range(6):
        with serve(port=port) as served:
            port = served.port
            served.daemon.disconnect(served.thing)
            served.thing.objectGUID = identity
            served.daemon.connect(served.thing)
            if proxy is None:
                proxy = gpyro.Proxy(served.daemon.uri_of(served.thing))
            assert proxy.echo(1) == 1
            assert served.thing.calls == 1
    proxy._release()


def test_calls_under_way_at_an_orderly_end_are_served_once_each_by_one_of_the_servers() -> None:
    """100 greenlets call without pause while the server is replaced; every call is executed exactly once."""
    identity = Thing().GUID()
    executed = 0
    answered: list[int] = []
    with serve() as served:
        port = served.port
        served.daemon.disconnect(served.thing)
        served.thing.objectGUID = identity
        uri = served.daemon.connect(served.thing)
        first = served.thing
    del served
    with serve(port=port) as served:
        served.daemon.connect(first)
        proxy = gpyro.Proxy(uri)

        def call(number: int) -> None:
            while True:
                try:
                    answered.append(proxy.echo(number))
                    return
                except gpyro.errors.ConnectionClosedError as exc:
                    assert not exc.maybe_executed
                except gpyro.errors.ProtocolError as exc:
                    assert "refused" in str(exc)
                gevent.sleep(0.01)

        callers = [gevent.spawn(call, number) for number in range(300)]
        wait_until(lambda: first.calls > 50)
        served.daemon.shutdown(True)
        served.thread.join(10)
    with serve(port=port) as served:
        second = Thing()
        second.objectGUID = identity
        served.daemon.connect(second)
        gevent.joinall(callers, timeout=20)
        executed = first.calls + second.calls
    assert sorted(answered) == list(range(300))
    assert executed == 300
    proxy._release()


# -- daemons that nobody ends --------------------------------------------------------------------------------


def test_daemon_that_nobody_references_unregisters_and_ends() -> None:
    names = FakeNameServer()
    daemon = gpyro.Daemon(port=0, norange=True)
    port = daemon.port
    daemon.useNameServer(names)
    daemon.connect(Thing(), "thing")
    daemon.handleRequests(0)
    assert not refuses(port)
    del daemon
    gc.collect()
    wait_until(lambda: names.history == ["+thing", "-thing"])
    wait_until(lambda: refuses(port))


def test_daemon_whose_loop_never_ran_unregisters_and_ends_too() -> None:
    names = FakeNameServer()
    daemon = gpyro.Daemon(port=0, norange=True)
    port = daemon.port
    daemon.useNameServer(names)
    daemon.connect(Thing(), "thing")
    del daemon
    gc.collect()
    assert refuses(port)
    wait_until(lambda: names.history == ["+thing", "-thing"])


def test_daemon_that_never_ran_ends_in_order() -> None:
    names = FakeNameServer()
    daemon = gpyro.Daemon(port=0, norange=True)
    daemon.useNameServer(names)
    daemon.connect(Thing(), "thing")
    daemon.shutdown(True)
    assert names.history == ["+thing", "-thing"]
    assert refuses(daemon.port)


@pytest.mark.parametrize("how", ["never ran", "ran", "thread", "unix", "shutdown in atexit", "error"])
def test_names_are_gone_when_the_interpreter_ends_without_a_shutdown(tmp_path: Path, how: str) -> None:
    ended = run([str(PROGRAMS / "loops_exit.py"), how], make_environment(tmp_path))
    assert ended.stdout.splitlines() == ["registered thing", "unregistered thing"]
    if how == "error":
        assert (ended.status, ended.stderr.splitlines()[-1]) == (1, "RuntimeError: on purpose")
    else:
        assert (ended.status, ended.stderr) == (0, "")
    assert not (tmp_path / "calls.sock").exists()


def test_daemons_leave_neither_descriptors_nor_threads_behind() -> None:
    def once() -> None:
        with gpyro.Daemon(port=0, norange=True) as daemon:
            thing = Thing()
            uri = daemon.connect(thing)
            daemon.getServerSockets()
            proxy = gpyro.Proxy(uri)
            calls = gevent.spawn(lambda: [proxy.echo(1), proxy.block(0.001)])
            while not calls.dead:
                daemon.handleRequests(0.05)
            proxy._release()

    once()
    before = count_descriptors()
    threads = count_threads()
    for _ in range(10):
        once()
    wait_until(lambda: count_descriptors() <= before)
    wait_until(lambda: count_threads() <= threads)
