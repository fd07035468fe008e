"""Calls that are given up at any moment: nobody else notices, no frame is cut, everything is given back."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import gevent
from gevent.pool import Pool

import gpyro
from tests.support.servers import Bench, connection_of, eventually, running_daemon

CALLS = 10_000
#: Greenlets that call at once; each makes its share of the calls.
CALLERS = 200


class Nesting(gpyro.ObjBase):
    """Calls on to another object, as a server that is a client does."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def through(self, value: Any) -> Any:
        return self.inner.nap(0.001, value)


class Caller:
    """Makes calls, gives up some of them at random moments, and checks every answer that comes."""

    def __init__(self, proxies: list[Any], nesting: list[Any], seed: int) -> None:
        self.proxies = proxies
        self.nesting = nesting
        self.random = random.Random(seed)
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[object] = []

    def run(self, calls: int) -> None:
        for number in range(calls):
            value = (id(self), number)
            try:
                with gevent.Timeout(self.random.choice((0, 0.0002, 0.001, 0.003, 5)), False):
                    answer = self.one_call(value)
                    self.outcomes["answered"] += 1
                    if answer != value:
                        self.wrong.append((value, answer))
                    continue
            except Exception as exc:
                self.wrong.append((value, exc))
            self.outcomes["given up"] += 1

    def one_call(self, value: Any) -> Any:
        kind = self.random.randrange(4)
        if kind == 0:
            return self.random.choice(self.proxies).echo(value)
        if kind == 1:
            return self.random.choice(self.proxies).nap(0.001, value)
        if kind == 2:
            with gpyro.deadline(5):
                return self.random.choice(self.proxies).nap(0.002, value)
        return self.random.choice(self.nesting).through(value)


def test_10000_calls_given_up_at_random_moments_disturb_nobody_and_leave_nothing() -> None:
    with running_daemon() as running:
        bench = Bench()
        inner = running.proxy(bench)
        proxies = [inner, running.proxy(bench), running.proxy(bench)]
        nesting = Nesting(running.proxy(bench))
        nested = [running.proxy(nesting), running.proxy(nesting)]
        callers = [Caller(proxies, nested, seed) for seed in range(CALLERS)]
        pool = Pool(CALLERS)
        for caller in callers:
            pool.spawn(caller.run, CALLS // CALLERS)
        assert pool.join(timeout=60)
        outcomes: Counter[str] = Counter()
        for caller in callers:
            assert caller.wrong == []
            outcomes += caller.outcomes
        assert sum(outcomes.values()) == CALLS
        assert min(outcomes["answered"], outcomes["given up"]) > CALLS // 20, outcomes
        for proxy in (*proxies, *nested):
            assert proxy._core.calls is not None
            assert connection_of(proxy).closed_by is None
            assert connection_of(proxy).calls.pending == {}
        eventually(lambda: not any(connection.serving.running for connection in running.connections))
        # The same connections go on as if nothing had been.
        assert [proxy.echo(7) for proxy in proxies] == [7, 7, 7]
        assert [proxy.through(8) for proxy in nested] == [8, 8]


def test_callers_that_are_killed_take_their_calls_with_them() -> None:
    with running_daemon() as running:
        bench = Bench()
        proxy = running.proxy(bench)
        callers = [gevent.spawn(proxy.wait) for _ in range(500)]
        eventually(lambda: bench.entered == 500)
        for number, caller in enumerate(callers):
            if number % 2:
                caller.kill(block=False)
        eventually(lambda: bench.cancelled == 250)
        assert len(connection_of(proxy).calls.pending) == 250
        bench.go.set()
        gevent.joinall(callers, timeout=20)
        assert bench.finished == 250
        assert bench.unwound == 500
