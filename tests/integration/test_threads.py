"""Several threads: proxies shared by them, daemons in the background, and what short threads leave behind."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import gpyro
from gpyro._hub.state import _states
from tests.support.serving import (
    FakeNameServer,
    Thing,
    count_descriptors,
    count_threads,
    serve,
    wait_until,
)


def run_all(work: Any, count: int) -> list[BaseException]:
    """Run it in `count` threads at once; returns what they raised."""
    errors: list[BaseException] = []
    gate = threading.Barrier(count)

    def one() -> None:
        try:
            gate.wait(20)
            work()
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return errors


def test_2000_short_threads_with_one_shared_proxy_leave_nothing_behind() -> None:
    with serve() as served:
        proxy = served.proxy()
        assert proxy.echo(0) == 0
        descriptors, threads = count_descriptors(), count_threads()
        ended = sum(state.ended for state in _states)
        for _ in range(100):
            assert run_all(lambda: proxy.echo(1), 20) == []
        assert served.thing.calls == 2001
        wait_until(lambda: len(served.daemon._service._connections) == 1)
        gc.collect()
        # Small differences: a hub opens its own when it first has to.
        wait_until(lambda: count_descriptors() <= descriptors + 2)
        wait_until(lambda: count_threads() <= threads)
        # The proxy keeps the last ones' until it next connects.
        assert sum(state.ended for state in _states) <= ended + 60
        proxy._release()


def test_proxy_is_used_by_several_threads_at_once_each_with_its_own_connection() -> None:
    with serve() as served:
        proxy = served.proxy()
        peak = []

        def work() -> None:
            for number in range(200):
                assert proxy.echo(number) == number
            peak.append(len(served.daemon._service._connections))

        assert run_all(work, 8) == []
        assert served.thing.calls == 1600
        assert 1 <= max(peak) <= 8


def test_offloaded_method_calls_other_servers_from_its_thread() -> None:
    with serve() as other, serve() as served:
        proxy = served.proxy()
        assert [proxy.ask_in_thread(other.uri, n) for n in range(20)] == list(range(20))
        assert [proxy.ask(other.uri, n) for n in range(20)] == list(range(20))


def test_daemon_belongs_to_the_thread_that_first_serves_it() -> None:
    with serve() as served:
        assert served.proxy().echo(1) == 1
        for use in (
            served.daemon.requestLoop,
            lambda: served.daemon.handleRequests(0),
            served.daemon.getServerSockets,
        ):
            with pytest.raises(gpyro.errors.DaemonError) as caught:
                use()
            assert f"runs in server ({served.thread.ident})" in str(caught.value)
            assert f"MainThread ({threading.get_ident()}) may only" in str(caught.value)


def test_connecting_and_the_like_work_from_any_thread() -> None:
    names = FakeNameServer()
    with serve(names) as served:
        assert served.proxy().echo(1) == 1

        def work() -> None:
            for _ in range(20):
                thing = Thing()
                uri = served.daemon.connect(thing)
                proxy = gpyro.Proxy(uri)
                assert proxy.echo(2) == 2
                assert uri.objectID in served.daemon.getRegistered()
                served.daemon.disconnect(thing)
                with pytest.raises(gpyro.errors.PyroError):
                    proxy.echo(3)

        assert run_all(work, 4) == []
        assert set(served.daemon.getRegistered().values()) == {None, "__PYRO_Internal_Daemon"}


def test_many_threads_connect_the_same_object_once() -> None:
    with serve() as served:
        thing = Thing()
        uris = []
        assert run_all(lambda: uris.append(str(served.daemon.connect(thing))), 10) == []
        assert len(set(uris)) == 1
        assert len(served.daemon.getRegistered()) == 3


def test_daemon_whose_thread_has_ended_is_closed_and_can_still_be_shut_down() -> None:
    names = FakeNameServer()
    daemon = gpyro.Daemon(port=0, norange=True)
    daemon.setTransientsCleanupAge(60)
    daemon.useNameServer(names)
    uri = daemon.connect(Thing(), "thing")
    stop = threading.Event()
    thread = threading.Thread(target=daemon.requestLoop, args=(lambda: not stop.is_set(), 0.01))
    thread.start()
    proxy = gpyro.Proxy(uri)
    assert proxy.echo(1) == 1
    stop.set()
    thread.join(10)
    with pytest.raises(gpyro.errors.ProtocolError, match="refused"):
        proxy.echo(2)
    assert "ended" in repr(daemon)
    daemon.shutdown(True)
    assert names.names == {}
    assert len(daemon.getRegistered()) == 1


def test_futures_of_a_thread_pool_share_a_proxy() -> None:
    with serve() as served, ThreadPoolExecutor(4) as pool:
        assert list(pool.map(served.proxy().echo, range(100))) == list(range(100))


def test_background_daemon_is_shut_down_from_the_main_thread() -> None:
    with serve() as served:
        assert served.proxy().echo(1) == 1
        served.daemon.shutdown(True)
        served.thread.join(10)
        assert not served.thread.is_alive()
        assert len(served.daemon.getRegistered()) == 1


