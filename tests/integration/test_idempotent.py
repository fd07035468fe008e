"""Methods that are marked idempotent are called again when the connection is lost before their answer came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

import gpyro
from gpyro._proxy import core
from tests.support.servers import SECONDS, connection_of, eventually, running_daemon


class Desk(gpyro.ObjBase):
    def __init__(self) -> None:
        super().__init__()
        self.go = Event()
        self.go.set()
        self.calls: list[str] = []

    @gpyro.idempotent
    def look(self) -> str:
        self.calls.append("look")
        self.go.wait()
        return "seen"

    @gpyro.idempotent
    def fail(self, how: bool = True) -> None:
        self.calls.append("fail")
        if how:
            raise gpyro.errors.ConnectionClosedError("of the method's own", maybe_executed=True)

    def take(self) -> str:
        self.calls.append("take")
        self.go.wait()
        return "taken"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "REPEAT_SECONDS", 0.0)


def spawn(function: Callable[[], Any]) -> Any:
    def run() -> Any:
        try:
            return function()
        except gpyro.errors.PyroError as exc:
            return exc

    return gevent.spawn(run)


def cut_during(desk: Desk, proxy: Any, name: str) -> Any:
    """Call a method, cut the connection while it runs, and return what became of the call."""
    desk.go.clear()
    desk.calls.clear()
    call = spawn(getattr(proxy, name))
    eventually(lambda: desk.calls == [name])
    connection_of(proxy).close()
    desk.go.set()
    return call.get(timeout=SECONDS)


def test_idempotent_method_is_called_again_once_the_proxy_has_had_an_answer_of_it() -> None:
    with running_daemon() as running:
        desk = Desk()
        proxy = running.proxy(desk)
        assert proxy.look() == "seen"
        assert cut_during(desk, proxy, "look") == "seen"
        assert desk.calls == ["look", "look"]


@pytest.mark.parametrize("asked", [True, False])
def test_other_methods_are_not_called_again(asked: bool) -> None:
    with running_daemon() as running:
        desk = Desk()
        proxy = running.proxy(desk)
        if asked:
            proxy.take()
        error = cut_during(desk, proxy, "take")
        assert isinstance(error, gpyro.errors.ConnectionClosedError) and error.maybe_executed
        assert desk.calls == ["take"]


def test_connection_error_that_the_method_itself_raised_is_an_answer() -> None:
    with running_daemon() as running:
        desk = Desk()
        proxy = running.proxy(desk)
        proxy.fail(False)
        with pytest.raises(gpyro.errors.ConnectionClosedError, match="of the method's own"):
            proxy.fail()
        assert desk.calls == ["fail", "fail"]


def test_method_that_cannot_be_called_again_says_how_often_that_was_tried() -> None:
    desk = Desk()
    with running_daemon() as running:
        proxy = gpyro.Proxy(running.connect(desk))
        assert proxy.look() == "seen"
        desk.go.clear()
        call = spawn(proxy.look)
        eventually(lambda: len(desk.calls) == 2)
        connection = connection_of(proxy)
        running.service._listener.close()
        running.service._sock.close()
        connection.close()
        error = call.get(timeout=SECONDS)
        desk.go.set()
        assert isinstance(error, gpyro.errors.ConnectionClosedError) and error.maybe_executed
        assert "the method is idempotent and was called 2 more times" in str(error)
        assert isinstance(error.__cause__, gpyro.errors.ProtocolError)
        proxy._release()


def test_time_limit_holds_for_all_attempts_together() -> None:
    with running_daemon() as running:
        desk = Desk()
        proxy = running.proxy(desk)
        proxy.look()
        proxy._setTimeout(0.3)
        desk.go.clear()
        call = spawn(proxy.look)
        eventually(lambda: len(desk.calls) == 2)
        connection_of(proxy).close()
        error = call.get(timeout=SECONDS)
        assert isinstance(error, gpyro.errors.TimeoutError)
        assert len(desk.calls) <= 3
        desk.go.set()
