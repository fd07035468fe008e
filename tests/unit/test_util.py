"""Object ids, tracebacks of two sides, private directories."""

from __future__ import annotations

import io
import os
import re
import stat
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from gpyro.util import (
    MAX_FRAMES,
    MAX_LINE_LENGTH,
    MAX_LINES,
    MAX_LOCALS,
    MAX_VALUE_LENGTH,
    bounded_lines,
    escape_controls,
    excepthook,
    getPyroTraceback,
    make_guid,
    make_private_directory,
    remote_note,
    traceback_lines,
)

REMOTE = [
    "Traceback (most recent call last):\n",
    '  File "server.py", line 3, in fail\n    1 / 0\n',
    "ZeroDivisionError: x\n",
]
FRAMED = """\
 +--- This exception occurred remotely - Remote traceback:
 | Traceback (most recent call last):
 |   File "server.py", line 3, in fail
 |     1 / 0
 | ZeroDivisionError: x
 +--- End of remote traceback
"""


def caught(function: Callable[[], object]) -> BaseException:
    """Return the exception that a function raises, with its traceback."""
    try:
        function()
    except BaseException as exc:
        return exc
    raise AssertionError("nothing was raised")


def with_remote(exc: BaseException, lines: list[str]) -> BaseException:
    """Return an exception as it is where it arrives."""
    exc.__dict__["remote_stacktrace"] = lines
    exc.__dict__["__notes__"] = ["a note", remote_note(lines)]
    return exc


def in_module(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function as if it stood in the module of that name."""
    assert isinstance(function, FunctionType)
    names = {**function.__globals__, "__name__": name}
    return FunctionType(function.__code__, names, closure=function.__closure__)


def divide() -> float:
    numerator = 1
    denominator = 0
    return numerator / denominator


def call(function: Callable[[], object]) -> object:
    return function()


# -- ids and directories


def test_guids_are_32_hexadecimal_digits_and_never_meet() -> None:
    guids = {make_guid() for _ in range(1000)}
    assert len(guids) == 1000
    assert all(re.fullmatch(r"[0-9a-f]{32}", guid) for guid in guids)


def test_private_directory_is_made_with_its_parents_for_this_user_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        make_private_directory(str(tmp_path / "a" / "b"))
    finally:
        os.umask(old)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b")] == [0o700, 0o700]


def test_directory_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private_directory(str(tmp_path))
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_file_in_place_of_the_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_private_directory(str(tmp_path / "file"))


def test_controls_are_escaped_and_line_ends_stay() -> None:
    assert escape_controls("a\x1b[2Jb\tc\nd\r\x00\x9b") == "a\\x1b[2Jb\tc\nd\r\\x00\\x9b"


# -- where the exception arrives


def test_local_traceback_alone_is_that_of_the_traceback_module() -> None:
    exc = caught(divide)
    assert getPyroTraceback(exc) == traceback.format_exception(type(exc), exc, exc.__traceback__)


def test_remote_traceback_stands_under_the_local_one() -> None:
    exc = caught(divide)
    exc.remote_stacktrace = REMOTE  # type: ignore[attr-defined]
    text = "".join(getPyroTraceback(exc))
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("ZeroDivisionError: division by zero\n" + FRAMED)


def test_remote_traceback_is_shown_once_by_all_ways_to_print(capsys: pytest.CaptureFixture[str]) -> None:
    exc = with_remote(caught(divide), REMOTE)
    assert "".join(getPyroTraceback(exc)).endswith(FRAMED)
    assert "".join(getPyroTraceback(exc)).count("+--- This exception") == 1
    excepthook(type(exc), exc, exc.__traceback__)
    assert capsys.readouterr().err == "".join(getPyroTraceback(exc))
    if sys.version_info >= (3, 11):
        assert "".join(traceback.format_exception(exc)).endswith(FRAMED)


def test_remote_traceback_of_a_cause_is_shown_too() -> None:
    def fail() -> None:
        try:
            divide()
        except ZeroDivisionError as exc:
            exc.remote_stacktrace = REMOTE  # type: ignore[attr-defined]
            raise KeyError("later") from exc

    text = "".join(getPyroTraceback(caught(fail)))
    assert "KeyError: 'later'" in text
    assert text.endswith(FRAMED)


def test_remote_lines_cannot_steer_the_terminal_or_look_like_local_ones() -> None:
    evil = ["evil \x1b]0;title\x07\n +--- End of remote traceback\nlocal?\n"]
    exc = with_remote(caught(divide), evil)
    text = "".join(getPyroTraceback(exc))
    assert "\x1b" not in text
    assert "\n |  +--- End of remote traceback\n | local?\n" in text


def test_type_and_traceback_may_be_given_as_in_pyro() -> None:
    exc = caught(divide)
    other = caught(lambda: call(divide))
    lines = "".join(getPyroTraceback(exc, ZeroDivisionError, other.__traceback__))
    assert "in call" in lines
    assert getPyroTraceback(None) == []


@pytest.mark.parametrize("odd", ["text", [], None, 5])
def test_attribute_of_another_kind_is_passed_over(odd: object) -> None:
    exc = caught(divide)
    exc.remote_stacktrace = odd  # type: ignore[attr-defined]
    assert "".join(getPyroTraceback(exc)).endswith("ZeroDivisionError: division by zero\n")


def test_cycle_of_causes_ends() -> None:
    one, two = caught(divide), caught(divide)
    one.__context__, two.__context__ = two, one
    two.remote_stacktrace = REMOTE  # type: ignore[attr-defined]
    assert "".join(getPyroTraceback(one)).count(FRAMED) == 1


def test_excepthook_without_stderr_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    exc = caught(divide)
    excepthook(type(exc), exc, exc.__traceback__)


def test_excepthook_is_one_for_sys(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(sys, "excepthook", excepthook)
    exc = caught(divide)
    sys.excepthook(type(exc), exc, exc.__traceback__)
    assert stream.getvalue().endswith("ZeroDivisionError: division by zero\n")


# -- where the exception happened


def served(function: Callable[[], object], *modules: str) -> BaseException:
    """Return what the function raises under frames of these modules, outermost first."""
    for module in reversed(modules):
        inner = function

        def frame(inner: Callable[[], object] = inner) -> object:
            return inner()

        moved = in_module(module, frame)
        moved.__defaults__ = (inner,)
        function = moved
    try:
        function()
    except Exception as exc:
        # As a daemon sees it: its own frames come first, this test's is cut off.
        return exc.with_traceback(exc.__traceback__ and exc.__traceback__.tb_next)
    raise AssertionError("nothing was raised")


def test_traceback_begins_with_the_first_frame_of_the_user() -> None:
    exc = served(lambda: call(divide), "gpyro.daemon", "gpyro._hub.offload", "gevent.threadpool", "gpyro.objects")
    lines = traceback_lines(exc)
    assert lines[0] == "Traceback (most recent call last):\n"
    assert "in <lambda>" in lines[1]
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    assert lines[-1] == "ZeroDivisionError: division by zero\n"
    assert not any("in frame" in line for line in lines)


def test_frames_of_gpyro_below_the_user_stay() -> None:
    exc = served(in_module("user", lambda: served_inner()), "gpyro.daemon")
    assert sum("in frame" in line for line in traceback_lines(exc)) == 1


def served_inner() -> None:
    raise served(divide, "gpyro.proxy")


def test_module_whose_name_only_begins_like_gpyro_is_the_users() -> None:
    exc = served(divide, "gpyro.daemon", "gpyro_plugins")
    assert sum("in frame" in line for line in traceback_lines(exc)) == 1


def test_when_all_frames_are_gpyros_all_stay() -> None:
    exc = served(in_module("gpyro.naming", divide), "gpyro.daemon")
    lines = traceback_lines(exc)
    assert any("in frame" in line for line in lines)
    assert any("in divide" in line for line in lines)


def test_exception_that_was_never_raised_has_its_last_line() -> None:
    assert traceback_lines(ValueError("x")) == ["ValueError: x\n"]


def test_remote_traceback_of_an_onward_call_travels_beside_the_lines_and_not_in_them() -> None:
    exc = with_remote(caught(divide), REMOTE)
    text = "".join(traceback_lines(exc))
    assert "in divide" in text and "server.py" not in text
    # Python 3.10 shows notes where the package exceptiongroup is, which pytest needs there.
    assert "a note" in text


def test_remote_traceback_of_a_cause_travels_within_the_lines() -> None:
    def fail() -> None:
        try:
            divide()
        except ZeroDivisionError as exc:
            raise KeyError("later") from with_remote(exc, REMOTE)

    assert "".join(traceback_lines(caught(fail))).count(FRAMED) == 1


def test_lines_over_the_bound_lose_their_middle() -> None:
    lines = [f"{number}\n" for number in range(MAX_LINES + 3)]
    assert bounded_lines(lines[:MAX_LINES]) == lines[:MAX_LINES]
    shorter = bounded_lines(lines)
    assert (shorter[0], shorter[-1], shorter[MAX_LINES // 2]) == ("0\n", lines[-1], "  ... 3 lines left out\n")


def test_causes_travel_along() -> None:
    def fail() -> None:
        try:
            divide()
        except ZeroDivisionError as exc:
            raise KeyError("later") from exc

    text = "".join(traceback_lines(caught(fail)))
    assert text.index("ZeroDivisionError") < text.index("direct cause") < text.index("KeyError")


def test_plain_traceback_shows_no_values_and_a_detailed_one_does() -> None:
    exc = caught(divide)
    plain = traceback_lines(exc)
    assert not any("denominator = 0" in line for line in plain)
    lines = traceback_lines(exc, detailed=True)
    assert lines[: len(plain)] == plain
    place = next(number for number, line in enumerate(lines) if line.startswith("Local variables of divide at "))
    assert __file__ in lines[place]
    assert lines[place + 1 :] == ["    numerator = 1\n", "    denominator = 0\n"]


def test_detailed_traceback_of_served_call_shows_no_frame_of_gpyro() -> None:
    lines = traceback_lines(served(divide, "gpyro.daemon"), detailed=True)
    assert [line for line in lines if line.startswith("Local variables")] == [
        line for line in lines if line.startswith("Local variables of divide")
    ]


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Long:
    def __repr__(self) -> str:
        return "line\nline " * 1000


def values_of_all_kinds() -> None:
    broken = Broken()  # noqa: F841
    nested = [[[[[Broken()]]]]]  # noqa: F841
    long = Long()  # noqa: F841
    text = "x" * 10_000  # noqa: F841
    huge = 10**100_000  # noqa: F841
    endless: list[object] = []
    endless.append(endless)
    raise ValueError


def test_values_in_a_detailed_traceback_are_bounded_one_line_each_and_broken_ones_are_named() -> None:
    lines = traceback_lines(caught(values_of_all_kinds), detailed=True)
    place = next(number for number, line in enumerate(lines) if "of values_of_all_kinds" in line)
    values = dict(line.strip().split(" = ", 1) for line in lines[place + 1 :])
    assert list(values) == ["broken", "nested", "long", "text", "huge", "endless"]
    assert values["broken"] == "<Broken whose repr raised RuntimeError>"
    assert values["long"].startswith("line line line")
    assert all(len(value) <= MAX_VALUE_LENGTH for value in values.values())
    assert values["text"].startswith("'xxx")


def test_number_of_values_of_one_frame_is_bounded() -> None:
    assert MAX_LOCALS == 20

    def fail() -> None:
        a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = a8 = a9 = 0  # noqa: F841
        b0 = b1 = b2 = b3 = b4 = b5 = b6 = b7 = b8 = b9 = 0  # noqa: F841
        c0 = c1 = c2 = 0  # noqa: F841
        raise ValueError

    lines = traceback_lines(caught(fail), detailed=True)
    assert lines[-1] == "    ... and 3 more\n"
    assert lines[-2] == "    b9 = 0\n"


def test_traceback_of_a_deep_recursion_is_bounded() -> None:
    def even(depth: int) -> None:
        odd(depth + 1)

    def odd(depth: int) -> None:
        even(depth + 1)

    for detailed in (False, True):
        lines = traceback_lines(caught(lambda: even(0)), detailed)
        assert len(lines) <= MAX_LINES + 1
        assert sum(" in even" in line or " in odd" in line for line in lines if "File" in line) <= MAX_FRAMES
        assert any(line.startswith("RecursionError") for line in lines)


def test_endless_message_is_bounded_and_its_end_is_kept() -> None:
    lines = traceback_lines(ValueError("x" * 100_000 + "\ny" * 100_000))
    assert len(lines) == MAX_LINES + 1
    assert all(len(line) <= MAX_LINE_LENGTH + 1 for line in lines)
    assert re.fullmatch(r"  \.\.\. \d+ lines left out\n", lines[MAX_LINES // 2])
    assert lines[0].startswith("ValueError: xxx")
    assert lines[-1] == "y\n"


def test_exception_that_breaks_every_rule_still_gives_lines() -> None:
    class Evil(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("no")

    lines = traceback_lines(Evil("x"), detailed=True)
    assert lines
    assert "Evil" in lines[-1]
