"""SIGTERM and ctrl-C while requestLoop runs: an orderly end, and the handlers as they were."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.socket import wait_read

import gpyro
from tests.support.events import event_server
from tests.support.programs import PROGRAMS, SECONDS, Program, make_environment
from tests.support.servers import Bench, running_daemon
from tests.support.serving import wait_until

BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


def start(tmp_path: Path, *words: str) -> Program:
    return Program([str(PROGRAMS / "loops_signals.py"), *words], make_environment(tmp_path))


@BOTH
@pytest.mark.parametrize("kind", ["plain", "patched"])
def test_signal_unregisters_finishes_the_running_call_and_ends_with_status_0(
    tmp_path: Path, kind: str, number: int
) -> None:
    with start(tmp_path, kind) as server:
        proxy = gpyro.Proxy(server.read_until("serving"))
        call = gevent.spawn(proxy.nap, 0.5)
        wait_until(lambda: proxy.entered())
        ended = server.stop(number)
        assert (ended.status, ended.stderr) == (0, "")
        assert ended.stdout.splitlines()[1:] == [
            "registered thing", "unregistered thing", "nap ended", "loop ended", "handlers as before", "after",
        ]  # fmt: skip
        assert call.get(timeout=10) == "slept"


@BOTH
def test_second_signal_does_what_it_would_have_done(tmp_path: Path, number: int) -> None:
    with start(tmp_path, "plain") as server:
        proxy = gpyro.Proxy(server.read_until("serving"))
        call = gevent.spawn(proxy.nap, 60)
        wait_until(lambda: proxy.entered())
        server.process.send_signal(number)
        server.read_until("unregistered thing")
        ended = server.stop(number)
        if number == signal.SIGTERM:
            assert ended.status == -signal.SIGTERM
        else:
            assert ended.status in (1, 130, -signal.SIGINT)
            assert "KeyboardInterrupt" in ended.stderr
        assert "nap ended" not in ended.stdout
        call.kill()


@BOTH
def test_handlers_of_the_program_itself_are_left_alone(tmp_path: Path, number: int) -> None:
    with start(tmp_path, "own handlers") as server:
        proxy = gpyro.Proxy(server.read_until("serving"))
        server.process.send_signal(number)
        server.read_until(f"own handler {int(number)}")
        assert proxy.echo(1) == 1
        proxy._setOneway("end")
        proxy.end()
        ended = server.finish()
        assert ended.status == 0
        assert "handlers as before" in ended.stdout


def test_signal_ends_all_loops_of_the_main_thread(tmp_path: Path) -> None:
    with start(tmp_path, "two") as server:
        server.read_until("looping")
        ended = server.stop(signal.SIGTERM)
        assert (ended.status, ended.stderr) == (0, "")
        assert ended.stdout.count("unregistered") == 2
        assert "handlers as before" in ended.stdout


def test_signal_still_ends_a_loop_after_another_one_has_ended(tmp_path: Path) -> None:
    with start(tmp_path, "one after another") as server:
        server.read_until("first loop ended")
        ended = server.stop(signal.SIGTERM)
        assert (ended.status, ended.stderr) == (0, "")
        assert "handlers as before" in ended.stdout


def test_loop_in_another_thread_leaves_signals_to_the_main_thread(tmp_path: Path) -> None:
    with start(tmp_path, "thread") as server:
        proxy = gpyro.Proxy(server.read_until("serving"))
        assert proxy.echo(1) == 1
        ended = server.stop(signal.SIGTERM)
        assert ended.status == -signal.SIGTERM


def test_handlers_are_defaults_again_after_a_loop_that_ends_by_itself() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with gpyro.Daemon(port=0, norange=True) as daemon:
        daemon.requestLoop(lambda: False)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.mark.parametrize("kind", ["call", "events"])
def test_ctrl_c_in_a_client_that_waits_is_one_exception_there_and_nothing_is_printed(
    tmp_path: Path, kind: str
) -> None:
    with event_server() as server:
        bench = Bench()
        uri = server.uri if kind == "events" else str(server.running.connect(bench))
        program = [str(PROGRAMS / "waiting_client.py"), uri, kind]
        with Program(program, make_environment(tmp_path)) as client:
            wait_until(lambda: bench.entered or server.service.status()["links"])
            client.read_until("waits")
            ended = client.stop(signal.SIGINT)
        assert (ended.status, ended.stdout.splitlines()[-1], ended.stderr) == (0, "interrupted", "")
        bench.go.set()


class Host(gpyro.ObjBase):
    def call_back(self, visitor: Any) -> None:
        visitor.work()

    def call_back_later(self, visitor: Any) -> None:
        visitor._setOneway("work")
        self.call_back(visitor)


@pytest.mark.parametrize("kind", ["callback", "oneway callback"])
def test_ctrl_c_in_a_method_that_the_server_calls_back_ends_the_client(tmp_path: Path, kind: str) -> None:
    with running_daemon() as running:
        program = [str(PROGRAMS / "waiting_client.py"), str(running.connect(Host())), kind]
        with Program(program, make_environment(tmp_path)) as client:
            # Here the server runs; while we read it does not.
            assert client.process.stdout is not None
            wait_read(client.process.stdout.fileno(), timeout=SECONDS)
            client.read_until("waits")
            ended = client.stop(signal.SIGINT)
        assert (ended.status, ended.stdout, ended.stderr) == (0, "waits\ninterrupted\n", "")
