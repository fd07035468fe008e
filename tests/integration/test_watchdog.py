"""The watchdog names the method that holds the hub, and nobody else."""

from __future__ import annotations

import logging
import select
import threading
import time

import gevent
import pytest

import gpyro
from gpyro import hub
from tests.support.serving import serve


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "gpyro.watchdog")
    return caplog


def test_method_that_holds_the_hub_is_named_once(said: pytest.LogCaptureFixture) -> None:
    with serve(watchdog_seconds=0.1) as served:
        assert served.proxy().hold(0.5) == "held"
    assert len(said.records) == 1
    text = said.records[0].getMessage()
    assert "Thing.hold" in text
    assert "holds the hub for more than 0.1 s" in text
    assert "time.sleep(seconds)" in text
    for way in ("@gpyro.offload", "gevent"):
        assert way in text


def test_each_method_that_holds_the_hub_is_named(said: pytest.LogCaptureFixture) -> None:
    with serve(watchdog_seconds=0.1) as served:
        for _ in range(3):
            served.proxy().hold(0.4)
    assert len(said.records) == 3


@pytest.mark.parametrize("method", ["nap", "block"])
def test_method_that_waits_through_gevent_or_in_a_thread_is_not(
    said: pytest.LogCaptureFixture, method: str
) -> None:
    with serve(watchdog_seconds=0.1) as served:
        getattr(served.proxy(), method)(0.5)
    assert said.records == []


def test_idle_loop_is_not_held(said: pytest.LogCaptureFixture) -> None:
    with serve(watchdog_seconds=0.1) as served:
        served.proxy().echo(1)
        gevent.sleep(0.6)
    assert said.records == []


def test_busy_loop_is_not_held(said: pytest.LogCaptureFixture) -> None:
    """Many short calls one after another turn the loop, however long they go on."""
    with serve(watchdog_seconds=0.1) as served:
        proxy = served.proxy()
        until = time.monotonic() + 0.6
        while time.monotonic() < until:
            gevent.joinall([gevent.spawn(proxy.echo, n) for n in range(50)])
    assert said.records == []


def test_hub_that_nobody_runs_is_not_held(said: pytest.LogCaptureFixture) -> None:
    """Between two handleRequests the thread is the program's own."""
    sure = threading.Event()

    def loop(daemon: gpyro.Daemon) -> None:
        socks = daemon.getServerSockets()
        daemon.handleRequests(0)
        select.select([], [], [], 0.6)
        sure.set()  # No call has been noticed since handleRequests.
        while "ended" not in repr(daemon):
            if select.select(socks, [], [], 0.05)[0]:
                daemon.handleRequests()

    with serve(loop=loop, watchdog_seconds=0.1) as served:
        assert served.proxy().echo(1) == 1
        assert sure.wait(10)
    assert said.records == []


def test_method_is_named_in_a_foreign_loop_too(said: pytest.LogCaptureFixture) -> None:
    def loop(daemon: gpyro.Daemon) -> None:
        while "ended" not in repr(daemon):
            daemon.handleRequests(0.05)

    with serve(loop=loop, watchdog_seconds=0.1) as served:
        served.proxy().hold(0.5)
    assert ["Thing.hold" in record.getMessage() for record in said.records] == [True]


def test_condition_that_holds_the_loop_is_reported_as_code_outside(said: pytest.LogCaptureFixture) -> None:
    naps = [0.5]

    def condition() -> bool:
        if naps:
            time.sleep(naps.pop())  # holds the loop: that is what is to be reported
        return not said.records

    with gpyro.Daemon(port=0, norange=True, config=gpyro.config.snapshot(watchdog_seconds=0.1)) as daemon:
        state = hub.current_state()
        before, state.watchdog = state.watchdog, None
        try:
            daemon.requestLoop(condition, 0.01)
        finally:
            state.watchdog.close()
            state.watchdog = before
    assert "code outside of a remote call holds the hub" in said.records[0].getMessage()


def test_watchdog_may_be_turned_off(said: pytest.LogCaptureFixture) -> None:
    with serve(watchdog_seconds=0) as served:
        served.proxy().hold(0.3)
        assert served.daemon._service._state is not None
        assert served.daemon._service._state.watchdog is None
    assert said.records == []


def test_repr_tells_whom_it_watches() -> None:
    with serve(watchdog_seconds=0.1) as served:
        assert served.proxy().echo(1) == 1
        state = served.daemon._service._state
        assert state is not None
        assert repr(state.watchdog) == f"<Watchdog of thread {served.thread.ident}, 0 reports>"
