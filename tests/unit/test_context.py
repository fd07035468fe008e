"""The context of the running call and deadlines, without any connection."""

from __future__ import annotations

import contextvars
import gc
import time
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

import gpyro
from gpyro.context import MAX_PATH, Call, current_scope, enter_scope


def call_of(caller: Any = None) -> Call:
    return Call(caller, 7, "method", False, None)


def test_outside_a_call_everything_is_none() -> None:
    assert not gpyro.current_call
    assert repr(gpyro.current_call) == "<current_call: none>"
    assert gpyro.current_call.caller is None
    assert gpyro.current_call.identity is None
    assert gpyro.current_call.deadline is None
    assert gpyro.current_call.cancelled is False


def test_inside_a_call_its_record_is_seen() -> None:
    call = call_of(SimpleNamespace(identity="somebody"))

    def look() -> None:
        enter_scope(call)
        assert gpyro.current_call
        assert gpyro.current_call.identity == "somebody"
        assert gpyro.current_call.caller is call.caller
        assert repr(gpyro.current_call) == "<current_call: <Call 7 method running>>"
        call.cancelled = True
        assert gpyro.current_call.cancelled is True
        assert "cancelled" in repr(gpyro.current_call)

    contextvars.Context().run(look)
    assert not gpyro.current_call


def test_greenlet_sees_the_call_that_it_was_handed_and_no_other() -> None:
    call = call_of()

    def look() -> list[Any]:
        enter_scope(call)
        seeing = gevent.spawn(contextvars.copy_context().run, gpyro.current_call._call)
        blind = gevent.spawn(gpyro.current_call._call)
        return [seeing.get(), blind.get()]

    assert contextvars.Context().run(look) == [call, None]


def test_record_of_a_call_is_freed_without_the_collector() -> None:
    def count() -> int:
        return sum(type(item) is Call for item in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = count()
        for _ in range(10):
            call = call_of()
            assert call.call is call
        del call
        assert count() == before
    finally:
        gc.enable()


def test_deadline_holds_inside_its_block_only() -> None:
    with gpyro.deadline(5):
        left = gpyro.current_call.deadline
        assert left is not None and 4 < left <= 5
        assert not gpyro.current_call
    assert gpyro.current_call.deadline is None
    assert current_scope() is None


def test_nearer_deadline_stays() -> None:
    with gpyro.deadline(1), gpyro.deadline(5):
        left = gpyro.current_call.deadline
        assert left is not None and left <= 1


def test_deadline_that_has_passed_leaves_nothing_not_less() -> None:
    with gpyro.deadline(1e-9):
        time.monotonic()
        assert gpyro.current_call.deadline == 0.0


def test_deadline_inside_a_call_keeps_the_call() -> None:
    call = call_of()
    call.path = (b"outer001",)
    call.trace = b"trace"

    def look() -> None:
        enter_scope(call)
        with gpyro.deadline(5):
            assert gpyro.current_call._call() is call
            scope = current_scope()
            assert scope is not None
            assert scope.trace == b"trace"
            assert scope.onward_path() == (b"outer001", call.id)

    contextvars.Context().run(look)


def test_one_deadline_may_be_entered_again() -> None:
    again = gpyro.deadline(5)
    for _ in range(2):
        with again:
            assert gpyro.current_call.deadline
    assert gpyro.current_call.deadline is None


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_deadline_that_is_not_positive_is_an_error(seconds: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        gpyro.deadline(seconds)


def test_ids_of_calls_are_made_when_needed_and_stay() -> None:
    first, second = call_of(), call_of()
    assert first.id == b""
    assert first.onward_path() == first.onward_path() == (first.id,)
    assert len(first.id) == 8
    assert second.onward_path() != first.onward_path()


def test_path_of_a_deep_chain_forgets_its_oldest_calls() -> None:
    call = call_of()
    call.path = tuple(bytes([number]) * 8 for number in range(MAX_PATH))
    path = call.onward_path()
    assert len(path) == MAX_PATH
    assert path[0] == b"\x01" * 8
    assert path[-1] == call.id
