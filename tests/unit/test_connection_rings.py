"""The search for calls that wait for each other, on calls that are only drawn."""

from __future__ import annotations

from typing import Any

import pytest

from gpyro._connection import rings
from gpyro._connection.rings import MAX_CALLS, MAX_NAMED, MAX_STEPS, find_ring, ring_error


class Drawn:
    """A call that waits for those it is told to."""

    back = None

    def __init__(self, title: str) -> None:
        self.title = title
        self.others: list[Any] = []
        self.legs: dict[bytes, Any] = {}

    def is_waiting(self) -> bool:
        return self.title.startswith("w")

    def waits_for(self) -> list[Any]:
        return self.others


def drawn(arrows: str) -> dict[str, Any]:
    """Make calls of "a>b b>c"."""
    calls: dict[str, Any] = {}
    for arrow in arrows.split():
        start, end = (calls.setdefault(name, Drawn(name)) for name in arrow.split(">"))
        start.others.append(end)
    return calls


@pytest.mark.parametrize(
    ("arrows", "ring"),
    [
        ("a>b", ""),
        ("a>a", "a"),
        ("a>b b>a", "ab"),
        ("a>b b>c c>b", ""),
        ("a>b a>c b>d c>a d>a", "ac"),
        ("a>b b>c c>d d>a b>e e>f f>g g>a", "abcd"),
    ],
)
def test_shortest_ring_that_begins_with_the_call_is_found(arrows: str, ring: str) -> None:
    assert "".join(call.title for call in find_ring(drawn(arrows)["a"])) == ring


@pytest.mark.parametrize(("length", "found"), [(MAX_CALLS, True), (MAX_CALLS + 10, False)])
def test_search_ends_after_a_bounded_number_of_calls(length: int, found: bool) -> None:
    calls = [Drawn(str(number)) for number in range(length)]
    for call, after in zip(calls, [*calls[1:], calls[0]], strict=True):
        call.others.append(after)
    start: Any = calls[0]
    assert len(find_ring(start)) == (length if found else 0)


def test_search_ends_after_a_bounded_number_of_steps() -> None:
    start: Any = Drawn("start")
    start.others = [Drawn("other")] * MAX_STEPS + [start]
    assert find_ring(start) == []
    del start.others[0]
    assert find_ring(start) == [start]


def test_error_says_of_each_call_whether_it_waits_or_has_called() -> None:
    error = ring_error([*drawn("w1>i1 i1>w2 w2>i2").values()])
    assert str(error).startswith(
        "dead-lock: w1 waits for i1, which has called w2, which waits for i2, which has called the first; "
        "the first was not started. "
    )
    assert error.chain == ("w1", "i1", "w2", "i2")


def test_error_names_a_bounded_number_of_calls() -> None:
    error = ring_error([*drawn(" ".join(f"w{number}>w{number + 1}" for number in range(99))).values()])
    assert len(error.chain) == MAX_NAMED + 1
    assert "... 80 calls left out" in error.chain
    assert str(error).count("which") == MAX_NAMED
    assert rings.MAX_NAMED == 20
