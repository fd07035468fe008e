"""Oneway calls: not waited for, never answered, not lost by a release or the end of the process."""

from __future__ import annotations

import sys

import gevent
import pytest
from gevent import subprocess

import gpyro
from tests.support.servers import Bench, eventually, running_daemon


class Marked(gpyro.ObjBase):
    def __init__(self) -> None:
        super().__init__()
        self.noted: list[int] = []

    @gpyro.oneway
    def note(self, value: int) -> str:
        self.noted.append(value)
        return "nobody hears this"


def test_oneway_call_returns_at_once_and_is_made() -> None:
    with running_daemon() as running:
        bench = Bench()
        proxy = running.proxy(bench)
        proxy._setOneway(["wait"])
        proxy._setOneway("note")
        assert proxy.wait() is None and proxy.note(1) is None
        eventually(lambda: bench.noted == [1] and bench.entered == 1)
        bench.go.set()


def test_errors_of_oneway_calls_are_not_heard_of_and_the_connection_goes_on() -> None:
    with running_daemon() as running:
        proxy = running.proxy(Bench())
        proxy._setOneway(["fail", "unknown", "_never"])
        assert proxy.fail() is None and proxy.unknown() is None
        assert proxy.echo(1) == 1


def test_release_right_after_many_oneway_calls_loses_none() -> None:
    with running_daemon() as running:
        bench = Bench()
        proxy = running.proxy(bench)
        proxy._setOneway("note")
        for number in range(2000):
            proxy.note(number)
        proxy._release()
        eventually(lambda: len(bench.noted) == 2000)
        assert sorted(bench.noted) == list(range(2000))


def test_method_marked_oneway_at_the_server_is_not_answered_with_a_value() -> None:
    with running_daemon() as running:
        marked = Marked()
        proxy = running.proxy(marked)
        with gevent.Timeout(10):
            assert proxy.note(1) is None
        eventually(lambda: marked.noted == [1])


@pytest.mark.parametrize("patch", [False, True], ids=["unpatched", "patched"])
def test_process_that_ends_right_after_its_oneway_calls_loses_none(patch: bool) -> None:
    program = "from gevent import monkey; monkey.patch_all()\n" if patch else ""
    program += """
import sys, gpyro
proxy = gpyro.Proxy(sys.argv[1])
proxy._setOneway(["note"])
for number in range(1000):
    proxy.note(number)
proxy.note("x" * 3_000_000)
"""
    with running_daemon() as running:
        bench = Bench()
        uri = running.connect(bench)
        client = subprocess.Popen([sys.executable, "-c", program, uri], stderr=subprocess.PIPE, text=True)
        _, stderr = client.communicate(timeout=30)
        assert (client.returncode, stderr) == (0, "")
        eventually(lambda: len(bench.noted) == 1001)
        assert [len(item) for item in bench.noted if isinstance(item, str)] == [3_000_000]


@pytest.mark.parametrize("threaded", [0, 1])
def test_what_follows_a_oneway_call_waits_for_it_where_the_setting_says_so(threaded: int) -> None:
    with running_daemon(oneway_threaded=threaded) as running:
        bench = Bench()
        proxy, other = running.proxy(bench), running.proxy(bench)
        proxy._setOneway(["wait", "note"])
        proxy.wait()
        proxy.note(1)
        follower = gevent.spawn(proxy.echo, "after")
        # The answer to another connection comes back after the server has seen all of the first one's.
        eventually(lambda: bench.entered == 1)
        for _ in range(5):
            other.echo()
        if threaded:
            assert follower.get(timeout=10) == "after"
            assert (bench.noted, bench.finished) == ([1], 0)
        else:
            assert (bench.noted, follower.ready()) == ([], False)
        bench.go.set()
        assert follower.get(timeout=10) == "after"
        eventually(lambda: (bench.noted, bench.finished) == ([1], 1))


def test_oneway_calls_in_order_go_on_after_one_that_fails_and_survive_their_connection() -> None:
    with running_daemon(oneway_threaded=0) as running:
        bench = Bench()
        proxy = running.proxy(bench)
        proxy._setOneway(["fail", "note", "wait"])
        proxy.fail()
        for number in range(1500):
            proxy.note(number)
        assert proxy.echo(1) == 1
        assert bench.noted == list(range(1500))
        proxy.wait()
        for number in range(3000):
            proxy.note(number)
        proxy._release()
        bench.go.set()
        eventually(lambda: len(bench.noted) == 4500 and not running.connections)
