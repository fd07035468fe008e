"""The examples of events, each run as people run them: what they print, in which order, and how they end."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.examples import EXAMPLES, Desk, chat_in_two_rooms, desk_without_servers, lines_of
from tests.support.programs import run

SYMBOLS = ["SUNW", "IBM", "SGI", "MSFT", "SAP"]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk with a name server and an event server."""
    with desk_without_servers(tmp_path) as desk:
        desk.name_server()
        desk.event_server()
        yield desk


@pytest.fixture
def bare_desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk with no server of either kind."""
    with desk_without_servers(tmp_path) as desk:
        yield desk


# -- stock quotes ------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_stockquotes_reach_those_who_follow_them_all_and_in_order(desk: Desk) -> None:
    some = desk.start("stockquotes/follow.py", "IBM", "sap", "--count", "14")
    matching = desk.start("stockquotes/follow_match.py", "--count", "21")
    some.read_until("Waiting for prices of IBM, sap")
    matching.read_until(r"Waiting for subjects that match ^STOCKQUOTE\.S.*$")
    prices = desk.run("stockquotes/market.py", "--rounds", "7", "--pause", "0")
    assert [line.split()[0] for line in prices] == SYMBOLS * 7
    published = ["STOCKQUOTE." + line for line in prices]
    assert lines_of(some.finish())[1:] == [line for line in published if line.split()[0].endswith(("IBM", "SAP"))]
    assert lines_of(matching.finish())[1:] == [line for line in published if line.startswith("STOCKQUOTE.S")]


def test_stockquotes_match_whatever_pattern_is_given(desk: Desk) -> None:
    matching = desk.start("stockquotes/follow_match.py", r"stockquote\.(ibm|msft)$", "--count", "4")
    matching.read_until("Waiting")
    prices = desk.run("stockquotes/market.py", "--rounds", "2", "--pause", "0")
    expected = ["STOCKQUOTE." + line for line in prices if line.startswith(("IBM", "MSFT"))]
    assert lines_of(matching.finish())[1:] == expected


def test_stockquotes_programs_that_go_on_end_with_ctrl_c(desk: Desk) -> None:
    market = desk.start("stockquotes/market.py", "--pause", "0.01")
    followers = [desk.start("stockquotes/follow.py", "SGI"), desk.start("stockquotes/follow_match.py")]
    for program in followers:
        program.read_until("STOCKQUOTE.SGI")
    for program in (*followers, market):
        assert program.stop(signal.SIGINT).status == 0


def test_stockquotes_without_a_name_server_need_the_address_alone(bare_desk: Desk) -> None:
    uri = bare_desk.event_server("-N")
    followers = [bare_desk.start("stockquotes-no-ns/follow.py", uri) for _ in range(2)]
    for follower in followers:
        follower.read_until("Waiting")
    prices = bare_desk.run("stockquotes-no-ns/market.py", uri, "--rounds", "6", "--pause", "0")
    assert len(prices) == 6
    expected = [f"STOCKQUOTE.{symbol} {line.split()[1]}" for line in prices for symbol in SYMBOLS]
    for follower in followers:
        assert lines_of(follower.finish())[1:] == [*expected, "The market is closed."]


# -- counting cars -----------------------------------------------------------------------------------------------


def test_countingcars_adds_up_what_several_counters_report(desk: Desk) -> None:
    places = ["north", "south", "harbour", "bridge"]
    table = desk.start("countingcars/table.py", *places)
    table.read_until("Counting")
    counters = [desk.start("countingcars/counter.py", place, "--rounds", "25", "--pause", "0") for place in places]
    seen = {}
    for place, counter in zip(places, counters, strict=True):
        (line,) = lines_of(counter.finish())
        seen[place] = int(re.fullmatch(rf"{place} has seen (\d+) cars", line)[1])  # type: ignore[index]
    expected = [f"{place}: {seen[place]} cars in 25 reports" for place in places]
    assert lines_of(table.finish())[1:] == [*expected, f"all: {sum(seen.values())} cars"]


def test_a_table_that_is_ended_early_shows_what_it_has(desk: Desk) -> None:
    table = desk.start("countingcars/table.py", "north", "south")
    table.read_until("Counting")
    desk.run("countingcars/counter.py", "north", "--rounds", "3", "--pause", "0")
    ended = table.stop(signal.SIGINT)
    assert ended.status == 0
    assert ended.stdout.splitlines()[2] == "south: 0 cars in 0 reports"


# -- chat --------------------------------------------------------------------------------------------------------


def test_chat_passes_on_what_is_typed_to_those_in_the_room_and_to_nobody_else(desk: Desk) -> None:
    anna, bert, carl = chat_in_two_rooms(desk, "chat/chat.py", "TEA")

    said = [line for line in lines_of(bert.finish()) if line.startswith("<")]
    assert said == [f"<anna> line {number}" for number in range(20)]
    assert lines_of(anna.finish()) == [
        "*** anna, you are in tea", "*** bert comes in", "<bert> and ünïcode — too", "*** bert leaves"
    ]  # fmt: skip
    assert lines_of(carl.finish()) == ["*** carl, you are in coffee"]


def test_chat_tells_those_who_come_late_what_was_said(desk: Desk) -> None:
    anna = desk.start("chat/chat.py", "anna", "tea", has_input=True)
    for number in range(8):
        anna.type_line(f"line {number}")
    anna.end_input()
    assert lines_of(anna.finish()) == ["*** anna, you are in tea"]
    bert = desk.start("chat/chat.py", "bert", "tea", "--history", "4", has_input=True)
    bert.read_until("*** anna leaves")
    bert.end_input()
    assert lines_of(bert.finish()) == [
        "*** bert, you are in tea", "<anna> line 5", "<anna> line 6", "<anna> line 7", "*** anna leaves"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line", [
        "subject = ", "self.subscribe(", 'print(f"*** {options.nick}', "gevent.spawn(", "room.publish(",
        "for text in typed_lines(", "wait_read(", "if not line", "room.close(",
    ],
)  # fmt: skip
def test_chat_ends_with_a_ctrl_c_at_any_moment(desk: Desk, line: str) -> None:
    assert desk.interrupt(line, "chat/chat.py", "bert", "tea") in ([], ["*** bert, you are in tea"])


# -- a reliable queue --------------------------------------------------------------------------------------------

DONE = re.compile(r"(JOB\.\w+) (\d+) done by (\w+)(?:, delivery (\d+))?")


def test_queueconsumers_share_the_jobs_and_what_they_drop_comes_again(desk: Desk) -> None:
    workers = {
        name: desk.start("queueconsumer/worker.py", name, "--drop-every", "5", "--seconds", "0")
        for name in ("anna", "bert")
    }
    for name, worker in workers.items():
        worker.read_until(f"{name} works")
    lines = desk.run("queueconsumer/producer.py", "--jobs", "24")
    assert (lines[0], lines[-1]) == ("24 jobs published", "all of them are done")
    done = [match.groups() for match in map(DONE.fullmatch, lines[1:-1]) if match]
    assert len(done) == 24
    # Jobs of one kind are in order, whoever did them.
    for kind in ("WELD", "DRILL", "POLISH", "PAINT"):
        numbers = [int(number) for subject, number, _, _ in done if subject == f"JOB.{kind}"]
        assert numbers == sorted(numbers) and len(numbers) == 6

    drops, dones = [], []
    for name, worker in workers.items():
        ended = worker.stop(signal.SIGINT)
        assert ended.status == 0
        dropped = re.findall(r"^(JOB\.\w+ \d+) dropped, delivery (\d+)$", ended.stdout, re.MULTILINE)
        assert ended.stderr.count(f"RuntimeError: {name} has dropped JOB.") == 2 * len(dropped)
        drops += dropped
        dones += re.findall(r"^(JOB\.\w+ \d+) done, delivery (\d+)$", ended.stdout, re.MULTILINE)
    # Five tries are had by one of them at least.
    assert len(drops) >= 3
    assert len(dones) == 24
    delivered = {job: int(count) for job, count in dones}
    assert all(delivered[job] > int(count) for job, count in drops)
    assert {f"{subject} {number}": int(count or 1) for subject, number, _, count in done} == delivered


def test_a_queue_keeps_jobs_while_nobody_works(desk: Desk) -> None:
    first = desk.start("queueconsumer/worker.py", "anna")
    first.read_until("anna works")
    assert first.stop(signal.SIGINT).status == 0
    assert desk.run("queueconsumer/producer.py", "--jobs", "6", "--leave") == ["6 jobs published"]
    second = desk.start("queueconsumer/worker.py", "bert", "--seconds", "0")
    numbers = sorted(int(second.read_until("JOB.").split()[1]) for _ in range(6))
    assert numbers == [1, 2, 3, 4, 5, 6]


# -- without an event server -------------------------------------------------------------------------------------


def test_an_example_without_an_event_server_says_what_to_do(bare_desk: Desk) -> None:
    ended = run([str(EXAMPLES / "stockquotes" / "market.py")], bare_desk.environment)
    assert ended.status == 1
    assert ended.stderr.splitlines()[-1].endswith("start one with `gpyro es`, or give its address")
