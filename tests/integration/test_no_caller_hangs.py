"""Whatever goes wrong between taking a request and answering it, the caller hears something and others go on."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

import gpyro
from gpyro._connection.serving import Serving
from tests.support.servers import SECONDS, Bench, connection_of, eventually, running_daemon


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class UnprintableInPanic(Exception):
    def __str__(self) -> str:
        raise SystemExit("while it was shown")


class Treacherous(Exception):
    @property
    def remote_stacktrace(self) -> Any:
        raise KeyError("no lines")


class Explosive:
    """Registered, and fails while it is packed or built in the way that `how` says."""

    how: type[BaseException] | None = None

    def __init__(self, when: str = "packing") -> None:
        self.when = when


def pack(explosive: Explosive) -> str:
    if explosive.when == "packing" and Explosive.how is not None:
        raise Explosive.how("while it was packed")
    return explosive.when


def build(when: str) -> Explosive:
    if when == "building" and Explosive.how is not None:
        raise Explosive.how("while it was built")
    return Explosive(when)


gpyro.register(Explosive, name="tests.Explosive", to_state=pack, from_state=build)


class Trouble(Bench):
    def raise_it(self, name: str) -> None:
        raise {
            "unprintable": Unprintable, "in panic": UnprintableInPanic, "treacherous": Treacherous,
            "greenlet": gevent.GreenletExit, "timeout": gevent.Timeout, "generator": GeneratorExit,
            "cancelled": gpyro.errors.CallCancelled, "stop": StopIteration, "exit": SystemExit,
            "interrupt": KeyboardInterrupt,
        }[name]()  # fmt: skip

    def recurse(self) -> None:
        self.recurse()

    def give(self, when: str) -> Explosive:
        return Explosive(when)

    def take(self, explosive: Explosive) -> str:
        return explosive.when

    def hang_up(self) -> str:
        gpyro.current_call.caller.close()
        return "nobody hears this"

    def leave(self) -> str:
        gpyro.current_call.caller.leave("as told")
        return "last words"

    def kill_worker(self) -> None:
        gevent.kill(gevent.getcurrent())
        gevent.sleep(0)

    def many_names(self, **names: Any) -> list[str]:
        return sorted(names)


@pytest.fixture
def trouble() -> Iterator[tuple[Any, Any]]:
    with running_daemon() as server:
        proxy = server.proxy(Trouble())
        assert proxy.echo("before") == "before"
        (connection,) = server.connections
        yield server, proxy
        assert proxy.echo("after") == "after"
        assert not connection.serving.running
        assert not connection_of(proxy).calls.pending


def outcome_of(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """Return the name of the exception's class, or "returned"; an error if it takes too long."""
    with gevent.Timeout(SECONDS):
        try:
            function(*args, **kwargs)
        except gevent.Timeout:
            raise
        except Exception as exc:
            return type(exc).__name__
    return "returned"


@pytest.mark.parametrize(
    "name, expected", [
        ("unprintable", "Unprintable"), ("treacherous", "RuntimeError"), ("generator", "GeneratorExit"),
        ("stop", "StopIteration"), ("exit", "SystemExit"), ("interrupt", "KeyboardInterrupt"),
        ("greenlet", "ConnectionClosedError"), ("cancelled", "ConnectionClosedError"), ("timeout", "Timeout"),
    ],
)  # fmt: skip
def test_exception_of_any_kind_is_an_answer(name: str, expected: str, trouble: tuple[Any, Any]) -> None:
    _, proxy = trouble
    assert outcome_of(proxy.raise_it, name) == expected


def test_exception_that_panics_when_it_is_shown_is_an_answer(trouble: tuple[Any, Any]) -> None:
    _, proxy = trouble
    assert outcome_of(proxy.raise_it, "in panic") != "returned"


def test_recursion_without_end_is_an_answer(trouble: tuple[Any, Any]) -> None:
    _, proxy = trouble
    assert outcome_of(proxy.recurse) == "RecursionError"


@pytest.mark.parametrize("how", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, gevent.GreenletExit])
@pytest.mark.parametrize("method, when", [("give", "packing"), ("take", "building")])
def test_code_of_the_users_that_fails_in_the_server_while_values_travel_is_an_answer(
    how: type[BaseException], method: str, when: str, trouble: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, proxy = trouble
    monkeypatch.setattr(Explosive, "how", how)
    assert outcome_of(getattr(proxy, method), when if method == "give" else Explosive(when)) != "returned"
    monkeypatch.setattr(Explosive, "how", None)


def test_worker_that_is_killed_within_a_call_answers_it(trouble: tuple[Any, Any]) -> None:
    _, proxy = trouble
    assert outcome_of(proxy.kill_worker) == "ConnectionClosedError"


def test_method_that_hangs_up_on_its_caller_fails_the_call(trouble: tuple[Any, Any]) -> None:
    _, proxy = trouble
    assert outcome_of(proxy.hang_up) == "ConnectionClosedError"


def test_method_that_says_goodbye_is_answered(trouble: tuple[Any, Any]) -> None:
    _, proxy = trouble
    assert proxy.leave() == "last words"


def test_fault_of_gpyro_itself_while_reading_fails_the_calls_and_closes(
    trouble: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server, proxy = trouble

    def broken(self: Serving, frame: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Serving, "take", broken)
    assert outcome_of(proxy.echo, 1) == "ConnectionClosedError"
    monkeypatch.undo()
    eventually(lambda: not server.connections)
    assert "a bug" in capsys.readouterr().err


def test_fault_of_gpyro_itself_while_answering_is_reported(
    trouble: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, proxy = trouble

    def broken(*args: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr("gpyro._connection.serving.traceback_lines", broken)
    assert outcome_of(proxy.fail) == "SerializationError"
    monkeypatch.undo()


def test_oneway_calls_behind_one_that_hangs_up_are_made_once_each() -> None:
    with running_daemon() as server:
        bench = Trouble()
        proxy = server.proxy(bench)
        proxy.echo()
        proxy._setOneway(["note", "hang_up"])
        stream = connection_of(proxy).stream
        stream.corked = True  # So that all of them arrive in one turn.
        for number in range(5):
            proxy.note(number)
        proxy.hang_up()
        for number in range(5, 10):
            proxy.note(number)
        stream.corked = False
        stream.flush()
        eventually(lambda: len(bench.noted) == 10)
        gevent.sleep(0)
        assert bench.noted == list(range(10))


def test_connection_that_ends_in_the_middle_of_a_turn_drops_what_came_with_it() -> None:
    with running_daemon() as server:
        bench = Trouble()
        proxy = server.proxy(bench)
        proxy.echo()
        calls = [gevent.spawn(outcome_of, proxy.hang_up)]
        calls += [gevent.spawn(outcome_of, proxy.note, number) for number in range(5)]
        gevent.joinall(calls, timeout=SECONDS, raise_error=True)
        assert [call.value for call in calls] == ["ConnectionClosedError"] * 6
        assert bench.noted == []


def test_answers_that_cannot_be_decoded_are_errors_of_those_calls_alone() -> None:
    with running_daemon() as server:
        bench = Trouble()
        proxy = server.proxy(bench)
        Explosive.how = ValueError
        try:
            calls = [gevent.spawn(outcome_of, proxy.give, "building") for _ in range(3)]
            others = [gevent.spawn(proxy.nap, 0, number) for number in range(3)]
            gevent.joinall([*calls, *others], timeout=SECONDS, raise_error=True)
            assert "returned" not in [call.value for call in calls]
            assert [other.value for other in others] == [0, 1, 2]
        finally:
            Explosive.how = None


def test_unknown_method_called_without_waiting_is_silent_but_logged(caplog: pytest.LogCaptureFixture) -> None:
    with running_daemon() as server, caplog.at_level(logging.INFO, "gpyro.calls"):
        proxy = server.proxy(Bench())
        proxy._setOneway("nothing_like_that")
        assert proxy.nothing_like_that() is None
        assert proxy.echo(1) == 1
        assert "nothing_like_that" in caplog.text


def test_quick_calls_leave_nothing_for_the_collector() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Bench())
        for _ in range(50):
            proxy.echo((1, "two"))
        gc.collect()
        gc.disable()
        try:
            for _ in range(200):
                proxy.echo((1, "two"))
            assert gc.collect() < 50
        finally:
            gc.enable()
