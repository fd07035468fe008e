"""The examples of connections: who is let in, what a connection keeps, what becomes of calls when it breaks."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.examples import Desk, chat_in_two_rooms, desk_without_servers, lines_of
from tests.support.programs import run


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk with a name server."""
    with desk_without_servers(tmp_path) as desk:
        desk.name_server()
        yield desk


# -- callbacks ---------------------------------------------------------------------------------------------------


def test_callbacks_reach_the_guest_during_its_calls_and_between_them(desk: Desk) -> None:
    server = desk.serve("callbacks/server.py")
    lines = desk.run("callbacks/client.py")
    assert lines[:4] == [
        "I hear that the leek is washed", "I hear that the leek is chopped", "I hear that the leek is fried",
        "I get fried leek",
    ]  # fmt: skip
    assert sorted(lines[4:]) == ["I get the roast", "I get the soup"]
    assert len(lines_of(server.stop(signal.SIGINT))) == 1


def test_kitchen_notices_that_a_guest_is_gone(desk: Desk) -> None:
    server = desk.serve("callbacks/server.py")
    guest = "import gpyro; gpyro.Proxy('PYRONAME://kitchen').order('soup', 0.5, gpyro.ObjBase())"
    assert run(["-c", guest], desk.environment) == (0, "", "")
    assert server.read_until("Nobody is there any more for the ") == "soup."
    assert len(lines_of(server.stop(signal.SIGINT))) == 2


# -- a chat without an event server ------------------------------------------------------------------------------


def test_chat_without_an_event_server_passes_on_what_is_typed_to_those_in_the_room(desk: Desk) -> None:
    server = desk.serve("chat-no-es/server.py")
    anna, bert, carl = chat_in_two_rooms(desk, "chat-no-es/chat.py")

    assert lines_of(bert.finish()) == [
        "*** bert, you are in tea", *(f"<anna> line {number}" for number in range(20))
    ]  # fmt: skip
    assert lines_of(anna.finish()) == [
        "*** anna, you are in tea", "*** bert comes in", "<bert> and ünïcode — too", "*** bert leaves"
    ]  # fmt: skip
    assert lines_of(carl.finish()) == ["*** carl, you are in coffee"]
    assert len(lines_of(server.stop(signal.SIGINT))) == 1


def test_chat_without_an_event_server_tells_who_is_gone_and_whose_name_is_taken(desk: Desk) -> None:
    server = desk.serve("chat-no-es/server.py")
    anna = desk.start("chat-no-es/chat.py", "anna", "tea", has_input=True)
    anna.read_until("*** anna, you are in tea")
    bert = desk.start("chat-no-es/chat.py", "bert", "tea", has_input=True)
    anna.read_until("*** bert comes in")

    other = desk.start("chat-no-es/chat.py", "anna", "tea", has_input=True)
    assert lines_of(other.finish()) == ["*** there is somebody called anna in tea already"]

    bert.kill()
    anna.read_until("*** bert leaves")
    again = desk.start("chat-no-es/chat.py", "bert", "tea", has_input=True)
    anna.read_until("*** bert comes in")
    assert lines_of(again.stop(signal.SIGINT)) in ([], ["*** bert, you are in tea"])
    anna.read_until("*** bert leaves")

    # Ends at once although anna is there, who hears of it.
    assert len(lines_of(server.stop(signal.SIGINT))) == 1
    assert lines_of(anna.finish())[-1].startswith("*** ")


@pytest.mark.parametrize(
    "line", [
        "chat = ", "gevent.spawn(", "chat.visit(", "inside.wait(", "print(line)", "inside.set(",
        "for line in typed_lines(", "wait_read(", "if not line", "chat.leave(",
    ],
)  # fmt: skip
def test_chat_without_an_event_server_ends_with_a_ctrl_c_at_any_moment(desk: Desk, line: str) -> None:
    desk.serve("chat-no-es/server.py")
    assert desk.interrupt(line, "chat-no-es/chat.py", "bert", "tea") in ([], ["*** bert, you are in tea"])


# -- servers that come again -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-C", "kill"])
def test_reconnect_waits_for_a_server_that_is_started_again(desk: Desk, how: signal.Signals) -> None:
    server = desk.serve("reconnect/server.py")
    client = desk.start("reconnect/client.py", "--count", "1000000", "--pause", "0")
    client.read_until("ticket 10")
    server.stop(how)
    reason = client.read_until("The server is away: ")
    assert how is signal.SIGKILL or reason == "name not found: ':Default.tickets'"
    desk.serve("reconnect/server.py")
    client.read_until("The server is back.")
    assert client.read_until("ticket ") == "1"
    assert client.stop(signal.SIGINT).status == 0


# -- sessions ----------------------------------------------------------------------------------------------------


def test_sessions_keep_a_basket_for_each_connection(desk: Desk) -> None:
    server = desk.serve("sessions/server.py")
    assert desk.run("sessions/client.py") == [
        "Anna, in session 1, has ['tea', 'cake'].",
        "Bert, in session 2, has ['coffee'].",
        "Anna, in session 3, has [].",
    ]
    assert lines_of(server.stop(signal.SIGINT))[1:] == [
        f"Session {number} begins, for somebody at 127.0.0.1." for number in (1, 2, 3)
    ]


# -- who is let in -----------------------------------------------------------------------------------------------


def test_passphrases_open_the_vault_for_those_who_have_one(desk: Desk, tmp_path: Path) -> None:
    for name, text in (("right", "one long passphrase"), ("wrong", "another long passphrase")):
        (tmp_path / name).write_text(text + "\n")
        (tmp_path / name).chmod(0o600)
    server = desk.serve("passphrases/server.py", "right")
    assert desk.run("passphrases/client.py", "right") == ["The vault is open for staff."]
    for words in ([], ["wrong"]):
        (line,) = desk.run("passphrases/client.py", *words)
        assert line.startswith("I am not let in: security reasons")
    assert desk.run("passphrases/client.py", "right") == ["The vault is open for staff."]
    ended = server.stop(signal.SIGINT)
    assert (ended.status, len(ended.stdout.splitlines())) == (0, 1)


def test_hostfilter_lets_in_callers_of_its_networks_and_nobody_else(desk: Desk) -> None:
    server = desk.serve("hostfilter/server.py", "10.0.0.0/8", "127.0.0.0/8")
    assert desk.run("hostfilter/client.py") == ["Hello, Anna!"]
    assert len(lines_of(server.stop(signal.SIGINT))) == 1
    server = desk.serve("hostfilter/server.py", "10.0.0.0/8", "2001:db8::/32")
    assert desk.run("hostfilter/client.py") == ["My network is not let in: host blocked"]
    assert lines_of(server.stop(signal.SIGINT))[1:] == ["not let in: 127.0.0.1"]


def test_connectionlimit_refuses_the_third_until_the_first_has_left(desk: Desk) -> None:
    server = desk.serve("connectionlimit/server.py")
    for _ in range(2):
        assert desk.run("connectionlimit/client.py") == [
            "Anna: Please sit down.",
            "Bert: Please sit down.",
            "Carl: server too busy: 2 connections are open (maxconnections)",
            "Carl, after Anna has left: Please sit down.",
        ]
    assert len(lines_of(server.stop(signal.SIGINT))) == 1
