"""`gpyro es` by itself: its options, its values, its lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from gpyro_cli._es_follower import event_line
from gpyro_cli._es_publish import read_value
from gpyro_cli.main import cli

from gpyro.eventserver import Event


def usage_error(*words: str) -> str:
    result = CliRunner().invoke(cli, ["es", *words])
    assert result.exit_code == 2
    return result.stderr


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("21.5", 21.5), ("-5", -5), ("true", True), ("null", None), ('"21.5"', "21.5"), ("", ""),
        ('{"a": [1, "x"]}', {"a": [1, "x"]}), ("valve open", "valve open"), ("{'a': 1}", "{'a': 1}"),
        ("NaN", "NaN"), ("-Infinity", "-Infinity"),
        ("[" * 100_000, "[" * 100_000), ("1" * 10_000, "1" * 10_000), ("01", "01"),
    ],
)  # fmt: skip
def test_value_is_json_where_it_can_be_and_text_otherwise(text: str, value: Any) -> None:
    found = read_value(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("words", "option"),
    [(["-p", "0", "publish", "a", "b"], "-p"), (["-i", "pw", "tail"], "-i"), (["-N", "status"], "-N"),
     (["-d", "dir", "remove", "q"], "-d"), (["--force", "status"], "-f")],
)  # fmt: skip
def test_options_of_the_server_do_not_stand_before_a_command(words: list[str], option: str) -> None:
    assert f"{option} before '" in usage_error(*words)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["publish", "", "1"], "an empty subject is nobody's"),
        (["publish"], "Missing argument 'SUBJECT'"), (["publish", "x"], "Missing argument 'VALUE'"),
        (["publish", "x", "1", "2"], "unexpected extra argument"), (["remove"], "Missing argument 'QUEUE'"),
        (["tail", "--exact"], "--exact is for subjects; name one"), (["tail", "--count", "0"], "x>=1"),
        (["status", "extra"], "unexpected extra argument"), (["nosuch"], "No such command 'nosuch'"),
        (["-p", "x"], "'x' is not a valid integer"), (["-i", ""], "the passphrase is empty"),
        (["publish", "-i", "a", "--identification-file", "b", "x", "1"], "name one thing twice"),
    ],
)  # fmt: skip
def test_wrong_words_end_with_status_2(words: list[str], text: str) -> None:
    assert text in usage_error(*words)


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["publish", "-h"], ["tail", "--help"], ["status", "-h"]])
def test_h_is_help(words: list[str]) -> None:
    result = CliRunner().invoke(cli, ["es", *words])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("Usage: ")


# -- lines of tail -------------------------------------------------------------------------------------------


def event(message: Any, subject: str = "Plant.temp") -> Event:
    return Event(subject, message, 1_700_000_000.25)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("valve open", "valve open"), (21.5, "21.5"), ((1, "a"), "(1, 'a')"), (None, "None"),
        ("a\x1b[2Jb\nc\x07", "a\\x1b[2Jb\\nc\\x07"), (b"\0", "b'\\x00'"), ("", ""),
    ],
)  # fmt: skip
def test_line_has_time_subject_and_message_without_control_characters(message: Any, shown: str) -> None:
    when, clock, rest = event_line(event(message), as_json=False).split(" ", 2)
    assert (len(when), len(clock), clock[-4:]) == (10, 12, ".250")
    assert rest == f" Plant.temp  {shown}"


def test_line_of_json_has_plain_values() -> None:
    line = event_line(event({"t": (1, float("nan")), "b": b"\0\xff"}), as_json=True)
    assert "\n" not in line
    assert json.loads(line) == {
        "time": 1_700_000_000.25, "sequence": 0, "subject": "Plant.temp",
        "message": {"t": [1, "nan"], "b": "AP8="},
    }  # fmt: skip


def test_message_that_cannot_be_unpacked_is_told_in_its_line() -> None:
    broken = Event.received("x", b"rubbish", 1.0, 7)
    assert "  x  (SerializationError: " in event_line(broken, as_json=False)
    assert json.loads(event_line(broken, as_json=True))["problem"].startswith("SerializationError: ")
