"""Forked children: their proxies connect again, their parent's daemons and connections are none of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.programs import PROGRAMS, make_environment, run


@pytest.mark.parametrize("kind", ["fork", "multiprocessing", "patched", "from a thread", "inside a loop"])
def test_child_has_connections_of_its_own_and_the_parent_goes_on(tmp_path: Path, kind: str) -> None:
    ended = run([str(PROGRAMS / "loops_fork.py"), kind], make_environment(tmp_path))
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "child calls child",
        "child's connection is another one True",
        "child's daemon: belongs to process PARENT",
        "child's shutdown changed nothing True",
        "child's own daemon has the object True",
        "child ended 0",
        "parent's connection is the same True",
        "parent calls parent",
        "parent's daemon serves parent",
        "port is free at the end True",
        "names []",
    ]
