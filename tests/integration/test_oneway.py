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
