"""The examples of objects and calls, each run as people run them: what they print, and how they end."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.examples import EXAMPLES, Desk, desk_without_servers, lines_of
from tests.support.programs import make_environment, run


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk with a name server."""
    with desk_without_servers(tmp_path) as desk:
        desk.name_server()
        yield desk


@pytest.fixture
def bare_desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk without one."""
    with desk_without_servers(tmp_path) as desk:
        yield desk


# -- the first ones ----------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_quickstart_greets_whoever_finds_it_by_name_and_goes_with_ctrl_c(desk: Desk) -> None:
    server = desk.serve("quickstart/server.py")
    assert desk.run("quickstart/client.py") == [
        "Hello, Anna! You are guest number 1.", "Hello, Bert! You are guest number 2."
    ]  # fmt: skip
    assert desk.run("quickstart/client.py")[1] == "Hello, Bert! You are guest number 4."
    assert lines_of(server.stop(signal.SIGINT)) == ["The greeter is ready; ctrl-C ends it."]
    ended = run([str(EXAMPLES / "quickstart" / "client.py")], desk.environment)
    assert ended.status == 1
    assert "name not found: ':Default.greeter'" in ended.stderr


def test_quickstart_without_a_name_server_needs_the_address_alone(bare_desk: Desk) -> None:
    server = bare_desk.start("quickstart-no-ns/server.py")
    uri = server.read_until("The greeter is")
    assert re.fullmatch(r"PYRO://127\.0\.0\.1:\d+/greeter", uri)
    assert bare_desk.run("quickstart-no-ns/client.py", uri) == ["Hello, Anna!"]
    assert lines_of(server.stop(signal.SIGINT)) == [f"The greeter is {uri}"]


def test_an_example_without_a_name_server_says_what_to_do(bare_desk: Desk) -> None:
    ended = run([str(EXAMPLES / "quickstart" / "server.py")], bare_desk.environment)
    assert ended.status == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("gpyro.errors.NamingError: could not find a name server")
    assert "start one with `gpyro ns`" in last


# -- objects -----------------------------------------------------------------------------------------------------


def test_factory_makes_a_cart_for_each_and_puts_away_the_one_that_is_left(desk: Desk) -> None:
    server = desk.serve("factory/server.py", "--age", "2")
    assert desk.run("factory/client.py") == [
        "Anna pays 2.95", "Anna's cart has been put away.", "Bert leaves his cart standing."
    ]  # fmt: skip
    assert server.read_until("The cart of ") == "Bert was left standing and is put away."
    assert len(lines_of(server.stop(signal.SIGINT))) == 2, "Anna's cart was put away twice"


def test_banks_move_money_and_say_no_with_errors_of_their_own(desk: Desk) -> None:
    north = desk.serve("bank/bank.py", "north")
    alone = run([str(EXAMPLES / "bank" / "customer.py")], desk.environment)
    assert (alone.status, alone.stderr) == (1, "There is only one bank; start another one.\n")
    south = desk.serve("bank/bank.py", "south")
    for _ in range(2):
        assert desk.run("bank/customer.py") == [
            "Anna has 100.00 at north.",
            "Anna has 100.00 at south.",
            "After the transfer she has 70.00 and 130.00.",
            "NotEnoughMoney: Anna has 70.00 at north, not 500.00",
            "She closes her last account, and takes 130.00 home.",
            "NoSuchAccount: Anna has no account at south",
            "So her first account still holds 70.00, and she takes that home too.",
        ]
    for bank in (north, south):
        assert len(lines_of(bank.stop(signal.SIGINT))) == 1


def test_attributes_are_read_and_set_from_outside_and_what_is_read_is_a_copy(desk: Desk) -> None:
    server = desk.serve("attributes/server.py")
    assert desk.run("attributes/client.py") == [
        "In the kitchen it is 20.0 degrees.",
        "target: 21.5",
        "refused: 95 degrees; this heating does 5 to 30",
        "readings: [19.5, 20.0, 20.5]",
        "readings: [19.5, 20.0, 20.5, 22.0]",
        "not there: 'Thermostat' object has no attribute 'colour'",
        "not there: '_target': private names are never remote",
    ]
    assert len(lines_of(server.stop(signal.SIGINT))) == 1


def test_exceptions_arrive_as_what_they_are_with_the_traceback_of_the_server(desk: Desk) -> None:
    server = desk.serve("exceptions/server.py")
    lines = desk.run("exceptions/client.py")
    assert lines[:5] == [
        "ZeroDivisionError: division by zero",
        "PaperJam: paper jam in tray 2, so empty tray 2",
        "RemoteError: __main__.OutOfInk is not known here: no cyan is left",
        "AttributeError: 'Press' object has no method 'fly' for the outside",
        "What happened here, and below that what happened there:",
    ]
    traceback = "\n".join(lines[5:])
    assert traceback.index("in <module>") < traceback.index("Remote traceback:") < traceback.index("in divide")
    assert len(lines_of(server.stop(signal.SIGINT))) == 1


# -- time --------------------------------------------------------------------------------------------------------


def test_timeouts_stop_the_caller_from_waiting_and_the_server_from_working(desk: Desk) -> None:
    server = desk.serve("timeouts/server.py")
    why = "the call took longer than it was allowed; the server was asked to cancel it"
    assert desk.run("timeouts/client.py") == [
        "bread is baked", f"no pizza: {why}",
        "bun is baked", f"no cake: {why}",
        "no roast: 2 seconds",
    ]  # fmt: skip
    for what in ("pizza", "cake", "roast"):
        server.read_until(f"Nobody waits for the {what} any more.")
    assert len(lines_of(server.stop(signal.SIGINT))) == 4


def test_oneway_calls_return_before_the_pages_are_printed(desk: Desk) -> None:
    server = desk.serve("oneway/server.py")
    assert desk.run("oneway/client.py") == [
        "All pages are on their way, and there is time for other things.", "5 pages have been printed."
    ]  # fmt: skip
    assert sorted(lines_of(server.stop(signal.SIGINT))[1:]) == [f"page {number}" for number in range(1, 6)]


# -- many and much -----------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_manycalls_that_wait_a_second_each_are_served_at_the_same_time(desk: Desk) -> None:
    server = desk.serve("manycalls/server.py")
    lines = desk.run("manycalls/client.py", "--calls", "2000")
    assert re.fullmatch(r"2000 customers were served in \d+\.\d seconds\.", lines[0])
    # One after another they would take half an hour, and the client would not have ended.
    most = re.fullmatch(r"As many as (\d+) were served at the same time\.", lines[1])
    assert most and 1 < int(most[1]) <= 2000
    assert len(lines_of(server.stop(signal.SIGINT))) == 1


def test_largedata_comes_back_unchanged_while_small_calls_go_on(desk: Desk) -> None:
    server = desk.serve("largedata/server.py")
    lines = desk.run("largedata/client.py", "--mib", "24")
    assert lines[0] == "24 MiB came back unchanged."
    small = re.fullmatch(r"Meanwhile (\d+) small calls were answered\.", lines[1])
    assert small and int(small[1]) >= 2
    assert re.fullmatch(r"Too large: message is 52\d+ bytes, limit is 4194304 \(max_value_bytes\)", lines[2])
    assert len(lines_of(server.stop(signal.SIGINT))) == 1


def test_filetransfer_brings_files_of_any_size_whole_and_none_from_elsewhere(desk: Desk, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "inner").mkdir(parents=True)
    mib = 1024 * 1024
    contents = {"large": os.urandom(5 * mib + 17), "empty": b"", "wörds.txt": b"words", "even": bytes(mib)}
    for name, content in contents.items():
        (shared / name).write_bytes(content)
    (shared / "inner" / "secret").write_text("secret")
    server = desk.serve("filetransfer/server.py", str(shared))

    assert desk.run("filetransfer/download.py") == sorted(contents)
    assert desk.run("filetransfer/download.py", *contents) == [
        f"{name}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}"
        for name, content in contents.items()
    ]
    assert {name: (tmp_path / name).read_bytes() for name in contents} == contents
    for name in ("nothing", "inner", "inner/secret", "../shared/even", str(shared / "even")):
        ended = run([str(EXAMPLES / "filetransfer" / "download.py"), name], desk.environment)
        assert (ended.status, ended.stdout, ended.stderr) == (1, "", f"there is no file {name!r} here\n")
    assert [path.name for path in tmp_path.glob("*.part")] == []
    assert len(lines_of(server.stop(signal.SIGINT))) == 1


# -- all of them -------------------------------------------------------------------------------------------------


def test_every_example_is_in_the_readme_and_says_what_it_is_for(tmp_path: Path) -> None:
    readme = (EXAMPLES / "README.md").read_text()
    programs = sorted(EXAMPLES.glob("*/*.py"))
    for program in programs:
        assert f"[{program.parent.name}]({program.parent.name})" in readme
        assert program.name in readme
        source = program.read_text()
        assert ast.get_docstring(ast.parse(source)), program
        if "import argparse" in source:
            lines = lines_of(run([str(program), "--help"], make_environment(tmp_path)))
            assert lines[0].startswith(f"usage: {program.name}")
