"""The examples of a process with all services in it, which a loop that is not gpyro's drives."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.display import display, needs_display
from tests.support.examples import Desk, desk_without_servers, lines_of
from tests.support.programs import Program

KINDS = pytest.mark.parametrize(
    "kind", ["select_loop", "asyncio_loop", pytest.param("tk_window", marks=needs_display)]
)


@pytest.fixture
def desk(tmp_path: Path, kind: str) -> Iterator[Desk]:
    """A desk without servers, and with a display where a window is needed."""
    with desk_without_servers(tmp_path) as desk:
        if kind != "tk_window":
            yield desk
            return
        with display() as desk.environment["DISPLAY"]:
            yield desk
            desk.close()  # windows before their display


def start(desk: Desk, kind: str) -> Program:
    program = desk.start(f"allinone/{kind}.py")
    program.read_until("The board is ready")
    return program


@KINDS
def test_name_server_event_server_and_board_work_in_one_process(desk: Desk, kind: str) -> None:
    program = start(desk, kind)
    said = ["good morning", "it is raining", "bye"]
    assert desk.run("allinone/client.py") == [f"The board says: {text}" for text in said]
    lines = lines_of(program.finish())
    ready = next(number for number, line in enumerate(lines) if line.startswith("The board is ready"))
    assert lines[ready + 1 :] == ([] if kind == "tk_window" else said)
    assert lines[ready - 3] == "Name Server started."
    assert not (Path(desk.environment["GPYRO_STORAGE"]) / "Pyro_NS_URI").exists()


@KINDS
def test_all_services_end_with_ctrl_c_and_can_be_started_again(desk: Desk, kind: str) -> None:
    for _ in range(2):
        ended = start(desk, kind).stop(signal.SIGINT)
        assert (ended.status, ended.stderr) == (0, "")
        assert os.listdir(desk.environment["GPYRO_STORAGE"]) == []
