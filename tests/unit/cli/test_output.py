"""How commands write: tables page by page, and JSON of values that JSON does not have."""

from __future__ import annotations

import json
from typing import Any

import pytest
from gpyro_cli.output import json_list, make_plain, print_json, print_pages


def test_each_page_is_aligned_by_itself_and_written_at_one_go(capsys: pytest.CaptureFixture[str]) -> None:
    print_pages(("NAME", "KIND"), [[("a", "x"), ("bbb", "y")], [], [("c", "z")]])
    assert capsys.readouterr().out == "a    x\nbbb  y\nc  z\n"


def test_control_characters_are_shown_and_not_sent(capsys: pytest.CaptureFixture[str]) -> None:
    print_pages(("NAME",), [[("a\x1b[31m\nb",)]])
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (b"\x00", "AA=="), ((1, [2.5]), [1, [2.5]]), ({3, 1}, [1, 3]), (float("nan"), "nan"), (True, True),
        ({1: None, "a": {("t",): "u"}}, {"1": None, "a": {"('t',)": "u"}}), (2**80, 2**80), (3j, "3j"),
    ],
)  # fmt: skip
def test_values_become_what_json_can_have(value: Any, plain: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_plain(value) == plain
    print_json(value)
    assert json.loads(capsys.readouterr().out) == plain


def test_list_is_one_document_whatever_happens(capsys: pytest.CaptureFixture[str]) -> None:
    with json_list() as items:
        items.add([1, 2])
        items.add([])
        items.add([{"a": b"x"}])
    assert json.loads(capsys.readouterr().out) == [1, 2, {"a": "eA=="}]
    with pytest.raises(KeyError), json_list() as items:
        items.add([1])
        raise KeyError
    assert json.loads(capsys.readouterr().out) == [1]
    with json_list():
        pass
    assert capsys.readouterr().out == "[]\n"
