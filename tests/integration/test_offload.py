"""Offloaded methods that call each other: threads that wait in remote calls, and calls that get none."""

from __future__ import annotations

import threading
from typing import Any

import gevent
import pytest

import gpyro
from gpyro._hub import offload
from gpyro._hub.offload import MOST_WAITING
from tests.support.servers import SECONDS, Bench, Running, eventually, running_daemon
from tests.support.synchronized import is_free, spawn, value_of


class Methods:
    """Offloaded methods that call, block and return at once."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.entered = 0
        self.started: list[Any] = []

    @gpyro.offload
    def deep(self, home: str, more: int) -> int:
        return 0 if more == 0 else 1 + int(gpyro.Proxy(home).deep(home, more - 1))

    @gpyro.offload
    def call(self, uri: str, method: str) -> Any:
        return getattr(gpyro.Proxy(uri), method)()

    @gpyro.offload
    def call_from_a_greenlet(self, uri: str, method: str) -> Any:
        return gevent.spawn(getattr(gpyro.Proxy(uri), method)).get()

    @gpyro.offload
    def sleep(self) -> None:
        gevent.sleep(0.001)

    @gpyro.offload
    def leave_behind(self, uri: str, method: str) -> None:
        gevent.spawn(getattr(gpyro.Proxy(uri), method))
        gevent.sleep(0.01)

    @gpyro.offload
    def block(self) -> str:
        self.entered += 1
        assert self.go.wait(SECONDS)
        return "went on"

    @gpyro.offload
    def note(self, value: Any = "noted") -> Any:
        self.started.append(value)
        return value


class Offloaded(Methods, gpyro.ObjBase):
    pass


class Alone(Methods, gpyro.SynchronizedObjBase):
    pass


def pool_of(running: Running) -> Any:
    pool = running.service._pool
    assert pool is not None
    return pool


def nothing_runs(running: Running) -> bool:
    pool = pool_of(running)
    return not pool.unfinished and not pool._away and pool._timer is None


def test_chain_of_offloaded_methods_may_be_deeper_than_there_are_threads() -> None:
    with running_daemon() as running:
        home = running.connect(Offloaded())
        assert running.proxy(home).deep(home, 15) == 15
        eventually(lambda: nothing_runs(running))
    with running_daemon(offload_threads=1) as running:
        home = running.connect(Offloaded())
        assert running.proxy(home).deep(home, MOST_WAITING) == MOST_WAITING
        eventually(lambda: nothing_runs(running))


@pytest.mark.parametrize("method", ["call", "call_from_a_greenlet"])
def test_offloaded_methods_go_on_while_others_wait_in_remote_calls(method: str) -> None:
    with running_daemon(offload_threads=1) as running:
        offloaded, bench = Offloaded(), Bench()
        home = running.connect(offloaded)
        first = spawn(getattr(running.proxy(home), method), running.connect(bench), "wait")
        eventually(lambda: bench.entered == 1)
        assert running.proxy(home).note("meanwhile") == "meanwhile"
        bench.go.set()
        value_of(first)


def test_call_in_the_queue_gets_a_thread_as_soon_as_another_begins_to_wait() -> None:
    with running_daemon(offload_threads=1) as running:
        offloaded, bench = Offloaded(), Bench()
        home, away = running.connect(offloaded), running.connect(bench)
        busy = spawn(running.proxy(home).block)
        eventually(lambda: offloaded.entered == 1)
        waiting = [spawn(running.proxy(home).call, away, "wait"), spawn(running.proxy(home).note)]
        eventually(lambda: pool_of(running).unfinished == 3)
        offloaded.go.set()
        value_of(busy)
        assert value_of(waiting[1]) == "noted"
        bench.go.set()
        value_of(waiting[0])


def test_threads_that_only_work_are_no_more_than_there_may_be() -> None:
    with running_daemon(offload_threads=2) as running:
        offloaded = Offloaded()
        home = running.connect(offloaded)
        calls = [spawn(running.proxy(home).block) for _ in range(4)]
        eventually(lambda: offloaded.entered == 2)
        eventually(lambda: pool_of(running).unfinished == 4)
        assert repr(pool_of(running)) == (
            "<OffloadPool 2 of 2 threads busy, 0 in remote calls, 2 calls waiting>"
        )
        offloaded.go.set()
        assert [value_of(call) for call in calls] == ["went on"] * 4


def test_chain_that_is_too_deep_is_refused_with_the_way_out_and_others_go_on() -> None:
    with running_daemon(offload_threads=1, busy_wait_seconds=0.2) as running:
        home = running.connect(Offloaded())
        with pytest.raises(gpyro.errors.ServerBusyError) as info:
            running.proxy(home).deep(home, MOST_WAITING + 1)
        assert str(info.value) == (
            "no thread for an offloaded call: 5 threads are in use, none got free within 0.2 s "
            "(busy_wait_seconds), and the call was not started. They run Methods.deep (5); 5 of them wait in "
            "remote calls. Limits are 1 that run (offload_threads) and 4 more that wait in remote calls; raise "
            "offload_threads, let offloaded methods call each other less deep, or try again later"
        )
        assert running.proxy(home).note() == "noted"
        eventually(lambda: nothing_runs(running))


def test_call_that_waits_for_threads_that_only_work_is_refused_and_never_started() -> None:
    with running_daemon(offload_threads=2, busy_wait_seconds=0.1) as running:
        offloaded = Offloaded()
        home = running.connect(offloaded)
        busy = [spawn(running.proxy(home).block) for _ in range(2)]
        eventually(lambda: offloaded.entered == 2)
        with pytest.raises(gpyro.errors.ServerBusyError, match=r"Methods.block \(2\); 0 of them wait"):
            running.proxy(home).note("never")
        offloaded.go.set()
        assert [value_of(call) for call in busy] == ["went on"] * 2
        assert running.proxy(home).note("after") == "after"
        assert offloaded.started == ["after"]
        eventually(lambda: nothing_runs(running))


def test_deadline_ends_a_chain_that_is_too_deep_before_it_is_refused() -> None:
    with running_daemon(offload_threads=1, busy_wait_seconds=SECONDS * 3) as running:
        home = running.connect(Offloaded())
        proxy = running.proxy(home)
        with gpyro.deadline(0.3), pytest.raises(gpyro.errors.TimeoutError):
            proxy.deep(home, 100)
        eventually(lambda: nothing_runs(running))
        assert proxy.note() == "noted"


def test_call_that_is_cancelled_in_the_queue_is_never_started() -> None:
    with running_daemon(offload_threads=1) as running:
        offloaded = Offloaded()
        home = running.connect(offloaded)
        busy = spawn(running.proxy(home).block)
        eventually(lambda: offloaded.entered == 1)
        with gpyro.deadline(0.1), pytest.raises(gpyro.errors.TimeoutError):
            running.proxy(home).note("never")
        eventually(lambda: pool_of(running).unfinished == 1 and pool_of(running)._timer is None)
        offloaded.go.set()
        value_of(busy)
        assert running.proxy(home).note("after") == "after"
        assert offloaded.started == ["after"]


def test_greenlet_that_a_method_has_left_behind_does_not_count_as_a_waiting_thread() -> None:
    with running_daemon(offload_threads=1) as running:
        offloaded, bench = Offloaded(), Bench()
        home = running.connect(offloaded)
        running.proxy(home).leave_behind(running.connect(bench), "wait")
        eventually(lambda: bench.entered == 1)
        eventually(lambda: nothing_runs(running))
        busy = [spawn(running.proxy(home).block) for _ in range(2)]
        eventually(lambda: pool_of(running).unfinished == 2)
        assert (pool_of(running).busy, len(pool_of(running)._queued)) == (1, 1)
        offloaded.go.set()
        assert [value_of(call) for call in busy] == ["went on"] * 2
        bench.go.set()


def test_threads_above_the_setting_end_when_they_have_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offload, "KEPT_SECONDS", 0.05)
    with running_daemon(offload_threads=2) as running:
        home = running.connect(Offloaded())
        assert running.proxy(home).deep(home, 8) == 8
        assert pool_of(running)._alive > 2
        eventually(lambda: pool_of(running)._alive == 2)
        assert running.proxy(home).deep(home, 8) == 8


def test_threads_that_end_leave_no_hub_behind_that_gevent_has_made() -> None:
    with running_daemon(offload_threads=3) as running:
        home = running.connect(Offloaded())
        for call in [spawn(running.proxy(home).sleep) for _ in range(9)]:
            value_of(call)


def test_synchronized_object_takes_a_deep_chain_of_offloaded_calls_back_in() -> None:
    with running_daemon(offload_threads=1, busy_wait_seconds=0.2) as running:
        alone = Alone()
        home = running.connect(alone)
        assert running.proxy(home).deep(home, MOST_WAITING) == MOST_WAITING
        with pytest.raises(gpyro.errors.ServerBusyError, match=r"They run Methods.deep \(5\)"):
            running.proxy(home).deep(home, MOST_WAITING + 1)
        assert is_free(alone)
        assert running.proxy(home).note() == "noted"


def test_offloaded_callbacks_of_a_caller_may_be_deeper_than_there_are_threads() -> None:
    class Back(gpyro.ObjBase):
        def __init__(self, relay: Any) -> None:
            super().__init__()
            self.relay = relay

        @gpyro.offload
        def again(self, back: Any, more: int) -> int:
            return 0 if more == 0 else 1 + int(back.again(back, more - 1))

    class Relay(gpyro.ObjBase):
        def start(self, back: Any, more: int) -> int:
            return int(back.again(back, more))

    with running_daemon() as running:
        assert running.proxy(Relay()).start(Back(None), 15) == 15
