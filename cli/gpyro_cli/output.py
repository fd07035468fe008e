"""How commands write: aligned tables, with colours on a terminal and without them in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from gpyro.util import escape_controls

__all__ = ["is_terminal", "print_failure", "print_table"]

GAP = "  "


def is_terminal() -> bool:
    """Tell whether a person reads what is printed."""
    return sys.stdout.isatty()


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in aligned columns; the header only for people, so that a pipe gets nothing but rows."""
    cells = [[escape_controls(str(cell)).replace("\n", " ") for cell in row] for row in rows]
    shown = [list(header), *cells] if is_terminal() else cells
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for index, row in enumerate(shown):
        line = _aligned(row, widths)
        if shown is not cells and index == 0:
            line = click.style(line, bold=True)
        elif is_terminal():
            line = click.style(line[: widths[0]], fg="cyan") + line[widths[0] :]
        click.echo(line)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def print_failure(text: str) -> None:
    """Print what went wrong with one of several things, on stderr."""
    click.echo(f"Error: {escape_controls(text)}", err=True)
