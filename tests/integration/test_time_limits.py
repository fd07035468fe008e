"""Deadlines: they hold here, travel to the server, end the call there, and go on to the calls that it makes."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

import gpyro
from tests.support.servers import Bench, connection_of, eventually, running_daemon


class Middle(gpyro.ObjBase):
    """A server that calls another one."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner
        self.ended_by: BaseException | None = None

    def pass_on(self) -> None:
        try:
            self.inner.wait()
        except BaseException as exc:
            self.ended_by = exc
            raise

    def left(self) -> float | None:
        return gpyro.current_call.deadline

    def left_inside(self) -> float | None:
        return self.inner.left()  # type: ignore[no-any-return]


def test_timeout_of_a_proxy_ends_the_call_on_both_sides_and_keeps_the_connection() -> None:
    with running_daemon() as running:
        bench = Bench()
        proxy = running.proxy(bench)
        proxy.echo()
        connection = connection_of(proxy)
        proxy._setTimeout(0.1)
        with pytest.raises(gpyro.errors.TimeoutError) as info:
            proxy.wait()
        assert info.value.maybe_executed
        assert isinstance(info.value, gpyro.errors.ConnectionClosedError)
        eventually(lambda: bench.cancelled == 1)
        assert bench.unwound == 1
        assert proxy.echo(3) == 3
        assert connection_of(proxy) is connection
        proxy._setTimeout(None)
        assert proxy.nap(0.2, 4) == 4


def test_deadline_is_shared_by_all_calls_of_a_block_and_gone_after_it() -> None:
    with running_daemon() as running:
        middle = Middle(None)
        proxy = running.proxy(middle)
        with gpyro.deadline(30):
            first = proxy.left()
            gevent.sleep(0.01)
            second = proxy.left()
        assert 29 < second < first <= 30
        assert proxy.left() is None


def test_what_is_left_of_a_deadline_goes_on_over_two_hops() -> None:
    with running_daemon() as running:
        inner = running.proxy(Middle(None))
        outer = running.proxy(Middle(inner))
        with gpyro.deadline(30):
            assert 29 < outer.left_inside() <= 30
        assert outer.left_inside() is None


def test_deadline_cancels_the_whole_chain_of_calls() -> None:
    with running_daemon() as running:
        bench = Bench()
        middle = Middle(running.proxy(bench))
        outer = running.proxy(middle)
        with pytest.raises(gpyro.errors.TimeoutError), gpyro.deadline(0.1):
            outer.pass_on()
        eventually(lambda: bench.cancelled == 1 and middle.ended_by is not None)


def test_nearer_deadline_wins_inside_and_the_outer_one_holds_again_after_it() -> None:
    with gpyro.deadline(30):
        with gpyro.deadline(10):
            inner = gpyro.current_call.deadline
        outer = gpyro.current_call.deadline
        with gpyro.deadline(60):
            still = gpyro.current_call.deadline
    assert inner is not None and inner <= 10
    assert outer is not None and 29 < outer <= 30
    assert still is not None and still <= 30


def test_call_whose_deadline_has_passed_is_not_sent() -> None:
    with running_daemon() as running:
        bench = Bench()
        proxy = running.proxy(bench)
        proxy.echo()
        with pytest.raises(gpyro.errors.TimeoutError) as info, gpyro.deadline(0.001):
            gevent.sleep(0.01)
            proxy.note(1)
        assert not info.value.maybe_executed
        assert bench.noted == []


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_deadline_that_is_no_positive_number_is_an_error(seconds: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        gpyro.deadline(seconds)


def test_caller_that_vanishes_cancels_what_has_a_deadline_or_may_be_cancelled_and_tells_the_rest() -> None:
    with running_daemon() as running:
        bench = Bench()
        limited, cancellable, watching, plain = (running.proxy(bench) for _ in range(4))
        limited._setTimeout(30)
        calls = [
            gevent.spawn(limited.wait), gevent.spawn(cancellable.wait_cancellably),
            gevent.spawn(watching.watch), gevent.spawn(plain.wait),
        ]  # fmt: skip
        eventually(lambda: bench.entered == 4)
        for proxy in (limited, cancellable, watching, plain):
            connection_of(proxy).close()
        gevent.joinall(calls, timeout=20)
        assert all(isinstance(call.exception, gpyro.errors.ConnectionClosedError) for call in calls)
        assert all(call.exception.maybe_executed for call in calls)
        eventually(lambda: bench.cancelled == 2 and bench.finished == 1)
        bench.go.set()
        eventually(lambda: bench.finished == 2)


def test_oneway_call_outlives_its_caller() -> None:
    with running_daemon() as running:
        bench = Bench()
        proxy = running.proxy(bench)
        proxy._setOneway("wait")
        assert proxy.wait() is None
        eventually(lambda: bench.entered == 1)
        proxy._release()
        eventually(lambda: not running.connections)
        bench.go.set()
        eventually(lambda: bench.finished == 1)
        assert bench.cancelled == 0


def test_server_that_ends_a_call_in_time_tells_the_caller_so() -> None:
    with running_daemon() as running:
        bench = Bench()
        proxy = running.proxy(bench)
        with pytest.raises(gpyro.errors.TimeoutError), gpyro.deadline(0.2):
            proxy.wait()
        assert proxy.echo("next") == "next"
