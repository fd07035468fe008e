"""How long tests of reliability go on: short in every run, long where the environment asks for it."""

from __future__ import annotations

import os
import shutil

import pytest

__all__ = ["needs_strace", "points"]

#: `RELIABILITY_SIZE=full pytest ...`, as `python -m benchmarks.reliability --size full`.
VARIABLE = "RELIABILITY_SIZE"

#: strace kills, fails and records at one exact system call.
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace on this machine")


def points(short: int, full: int) -> int:
    """Return how many points are to be tried."""
    return full if os.environ.get(VARIABLE) == "full" else short
