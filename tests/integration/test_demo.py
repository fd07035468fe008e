"""`gpyro demo`, whole, and stopped in the middle: nothing is left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.programs import Program, make_environment, run


def processes_of(directory: Path) -> list[str]:
    """Return the command lines of processes that run in this directory or under it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve().is_relative_to(directory):
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**make_environment(tmp_path), "TMPDIR": str(tmp_path)}


@pytest.mark.smoke
def test_demo_succeeds_tells_its_figures_and_leaves_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    ended = run(["-m", "gpyro", "demo"], environment)
    assert (ended.status, ended.stderr) == (0, "")
    for text in (
        "34 kinds came back with the same type and value",
        "ZeroDivisionError; where it happened, in the server:",
        "in _divide",
        "BrokenToolError, a RemoteError: the drill is worn out",
        "1,000 answers after",
        "1,000 ran at the same time",
        "called our object 5 times over the same connection",
        "41 became 42",
        "its 2 names are gone",
        "All as it should be",
    ):
        assert text in ended.stdout
    assert os.listdir(tmp_path) == []
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("line", ["name server", "object server", "client", "exception"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_that_is_stopped_in_the_middle_leaves_nothing(
    tmp_path: Path, environment: dict[str, str], line: str, number: int
) -> None:
    with Program(["-u", "-m", "gpyro", "demo"], environment) as program:
        program.read_until(line)
        ended = program.stop(number)
    assert ended.status not in (0, -signal.SIGKILL)
    assert os.listdir(tmp_path) == []
    assert processes_of(tmp_path) == []


def test_demo_tells_every_value_when_asked(environment: dict[str, str]) -> None:
    ended = run(["-m", "gpyro", "demo", "--verbose"], environment)
    assert ended.status == 0
    assert "    Decimal: Decimal('3.140')" in ended.stdout
    assert "    name server: *** gpyro Name Server ***" in ended.stdout


def test_demo_without_room_for_files_fails_with_the_reason(tmp_path: Path, environment: dict[str, str]) -> None:
    environment["TMPDIR"] = str(tmp_path / "missing")
    program = (
        "import sys, tempfile\n"
        "from gpyro_cli.main import main\n"
        "tempfile.tempdir = sys.argv[1]\n"
        "main(['demo'])"
    )
    ended = run(["-c", program, str(tmp_path / "missing")], environment)
    assert ended.status == 1
    assert "No such file or directory" in ended.stderr
    assert ended.stderr.count("\n") == 1
