"""What a call costs, counted: time is too noisy for a test to look at, and counts are the same on any machine.

The figures of today are in the tables below, and a test fails where one is exceeded by more than its headroom.
Where a call gets cheaper, lower them; where it has to get dearer, raise them and say in the commit what for. A
test that fails prints by place what was counted. docs/benchmarks.md has the figures, too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.campaigns import needs_strace
from tests.support.costs import SIDES, Counting, counting, system_calls


class Cost(NamedTuple):
    """What one call costs on one side."""

    #: Calls of functions written in Python; those of other functions.
    python: float
    c: float
    #: Bytecode instructions.
    instructions: float


#: By Python, for (client, server): one call of `echo("hello, world")` after another, the caller's loop and the
#: served method included. On 3.10 a message is looked at before ormsgpack 1.12 reads it, which is two functions,
#: and the server takes a new worker for each call while it is being counted, which is two more: what counts refers
#: to the last one there.
IN_TURN = {
    (3, 10): (Cost(26, 31, 941), Cost(30, 40, 1168)),
    (3, 11): (Cost(24, 30, 920), Cost(26, 38, 1123)),
    (3, 12): (Cost(24, 30, 864), Cost(26, 38, 1044)),
    (3, 13): (Cost(24, 30, 886), Cost(26, 38, 1060)),
}
#: These are whole numbers, but for instructions, which differ a little between releases of one Python.
PYTHON_HEADROOM, C_HEADROOM, INSTRUCTIONS_HEADROOM = 1.5, 2.5, 0.03

#: Calls of functions written in Python, and of others, with 100 greenlets on one proxy, for (client, server). How
#: many frames come together depends on the machine a little.
TOGETHER = {
    (3, 10): ((10.8, 22.5), (13.0, 24.8)),
    (3, 11): ((8.9, 21.6), (11.0, 23.8)),
    (3, 12): ((8.9, 21.6), (11.0, 23.8)),
    (3, 13): ((8.9, 21.6), (11.0, 23.8)),
}
TOGETHER_HEADROOM = 0.1

#: Each side sends and receives once; beside that it waits once, and gevent's loop looks whether it was forked.
SYSTEM_CALLS_IN_TURN = {"all": 4, "sendto": 1, "recvfrom": 1, "epoll_wait": 1, "epoll_ctl": 0}
#: A clock that ticks once a second adds one now and then.
SYSTEM_CALLS_HEADROOM = 0.1
#: With 100 greenlets, whose frames leave together.
SYSTEM_CALLS_TOGETHER, SOCKET_CALLS_TOGETHER = 0.5, 0.15

#: A greenlet that calls goes into the hub and comes back; a worker of the server likewise, and serves all that has
#: come. The figures of (client, server).
SWITCHES_IN_TURN, SWITCHES_TOGETHER = (2, 2), (2, 0.3)
#: A turn that had more frames than its share goes on by a timer.
TIMERS_TOGETHER = 0.1

#: Memory that is allocated for one large value, in sizes of that value: by the sender none, by the receiver the
#: object that its user gets. Beyond max_message_bytes a value travels in chunks.
SIZES, SENDER_COPIES, RECEIVER_COPIES = (1_000_000, 16_000_000), 0, 1
#: What a method returns may be changed at once, so as much of it as the system does not take is copied then.
CHANGING_RESULT_COPIES = {("bytearray", 16_000_000): 1, ("ndarray", 16_000_000): 1}
#: A receiver reads the beginning of each frame into 64 KiB.
COPIES_HEADROOM = 0.2

#: A connection that has made one call and is idle, for (client, server): bytes of Python's own memory, and objects
#: that the garbage collector looks at. The goal is 16 KiB, what the kernel has of it aside.
IDLE_BYTES, IDLE_OBJECTS = (7_200, 5_700), (35, 28)
#: Objects and blocks of memory that thousands of calls may leave behind in all: free lists move a little.
LEFT_OBJECTS, LEFT_BLOCKS = 50, 500

VERSION = sys.version_info[:2]
needs_figures = pytest.mark.skipif(
    VERSION not in IN_TURN, reason=f"there are no figures of Python {VERSION[0]}.{VERSION[1]} yet"
)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counting]:
    with counting(tmp_path_factory.mktemp("costs")) as sides:
        yield sides


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Counting]:
    """Return processes in which nothing was counted before."""
    with counting(tmp_path) as sides:
        yield sides


@needs_figures
def test_a_small_call_takes_no_more_function_calls_than_written_here(both: Counting) -> None:
    counted = both.count("turn", "calls", 20, 220)

    for side, cost in zip(SIDES, IN_TURN[VERSION], strict=True):
        counted[side].check("python", cost.python + PYTHON_HEADROOM, f"{side} in turn")
        counted[side].check("c", cost.c + C_HEADROOM, f"{side} in turn")


@needs_figures
def test_a_small_call_takes_no_more_instructions_than_written_here(both: Counting) -> None:
    counted = both.count("turn", "instructions", 20, 220)

    for side, cost in zip(SIDES, IN_TURN[VERSION], strict=True):
        counted[side].check("instructions", cost.instructions * (1 + INSTRUCTIONS_HEADROOM), f"{side} in turn")


@needs_figures
def test_calls_of_a_hundred_greenlets_cost_less_each_than_one_alone(both: Counting) -> None:
    counted = both.count("together", "calls", 400, 2400)

    for side, (python, c) in zip(SIDES, TOGETHER[VERSION], strict=True):
        counted[side].check("python", python * (1 + TOGETHER_HEADROOM), f"{side} together")
        counted[side].check("c", c * (1 + TOGETHER_HEADROOM), f"{side} together")


def test_a_small_call_sends_once_and_receives_once_on_each_side(both: Counting) -> None:
    counted = both.count("turn", "calls", 20, 220)

    for side in SIDES:
        counted[side].check("socket", 2 + SYSTEM_CALLS_HEADROOM, f"{side} in turn")


def test_frames_of_a_hundred_greenlets_leave_and_come_together(both: Counting) -> None:
    counted = both.count("together", "calls", 400, 2400)

    for side in SIDES:
        counted[side].check("socket", SOCKET_CALLS_TOGETHER, f"{side} together")


@needs_strace
def test_a_small_call_asks_four_things_of_the_system_on_each_side(tmp_path: Path) -> None:
    logs = {side: tmp_path / side for side in SIDES}
    with counting(tmp_path, logs) as sides:
        sides.count("turn", "mark", 20, 420)

    for side in SIDES:
        counted = system_calls(logs[side], 20, 420, 3)
        for name, figure in SYSTEM_CALLS_IN_TURN.items():
            counted.check(name, figure + SYSTEM_CALLS_HEADROOM, f"{side} in turn")


@needs_strace
def test_calls_of_a_hundred_greenlets_share_what_they_ask_of_the_system(tmp_path: Path) -> None:
    logs = {side: tmp_path / side for side in SIDES}
    with counting(tmp_path, logs) as sides:
        sides.count("together", "mark", 400, 2400)

    for side in SIDES:
        system_calls(logs[side], 400, 2400, 3).check("all", SYSTEM_CALLS_TOGETHER, f"{side} together")


def test_a_call_that_does_not_block_begins_no_greenlet_and_switches_twice_on_each_side(both: Counting) -> None:
    counted = both.count("turn", "switches", 20, 220)

    for side, switches in zip(SIDES, SWITCHES_IN_TURN, strict=True):
        counted[side].check("begun", 0, f"{side} in turn")
        counted[side].check("switches", switches, f"{side} in turn")


def test_a_worker_of_the_server_serves_what_has_come_together(both: Counting) -> None:
    counted = both.count("together", "switches", 400, 2400)

    for side, switches in zip(SIDES, SWITCHES_TOGETHER, strict=True):
        counted[side].check("begun", 0, f"{side} together")
        counted[side].check("switches", switches, f"{side} together")


def test_a_call_without_a_deadline_begins_no_timer(both: Counting) -> None:
    in_turn = both.count("turn", "calls", 20, 220)
    together = both.count("together", "calls", 400, 2400)

    for side in SIDES:
        in_turn[side].check("timers", 0, f"{side} in turn")
        together[side].check("timers", TIMERS_TOGETHER, f"{side} together")


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "memoryview", "ndarray"])
def test_a_large_value_is_copied_no_more_often_than_written_here(both: Counting, kind: str) -> None:
    if kind == "ndarray":
        pytest.importorskip("numpy")
    for size in SIZES:
        for work, sides in (("take", SIDES), ("give", SIDES[::-1])):
            sent = CHANGING_RESULT_COPIES.get((kind, size), SENDER_COPIES) if work == "give" else SENDER_COPIES
            copies = (sent, RECEIVER_COPIES)
            allocated = both.count(work, "copies", 1, 3, repeat=1, value=(kind, size))
            peak = both.count(work, "peak", 0, 1, repeat=2, value=(kind, size))
            for side, limit in zip(sides, copies, strict=True):
                what = f"{side}, {work} {kind} of {size} bytes"
                allocated[side].check("allocated", (limit + COPIES_HEADROOM) * size, what)
                peak[side].check("peak", (limit + COPIES_HEADROOM) * size, what)


def test_an_idle_connection_holds_no_more_memory_than_written_here(fresh: Counting) -> None:
    counted = fresh.count("connect", "memory", 0, 200, repeat=1)

    for side, size, objects in zip(SIDES, IDLE_BYTES, IDLE_OBJECTS, strict=True):
        counted[side].check("bytes", size, f"{side}, idle")
        counted[side].check("objects", objects, f"{side}, idle")


@pytest.mark.parametrize(("work", "few", "many"), [("turn", 1000, 4000), ("together", 2000, 22000)])
def test_calls_leave_nothing_behind(fresh: Counting, work: str, few: int, many: int) -> None:
    counted = fresh.count(work, "objects", few, many, repeat=1)

    for side in SIDES:
        counted[side].check("objects", LEFT_OBJECTS / (many - few), f"{side}, {work}")
        counted[side].check("blocks", LEFT_BLOCKS / (many - few), f"{side}, {work}")
