"""Says on a terminal what is going on; nowhere else."""

from __future__ import annotations

import sys


def show(text: str) -> None:
    """Put a text in the place of the last one."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def clear() -> None:
    """Take the last text away, for something that stays."""
    show("")
