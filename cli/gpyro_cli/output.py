"""How commands write: aligned tables or JSON; with colours on a terminal and without them in a pipe."""

from __future__ import annotations

import base64
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from gpyro.util import escape_controls

__all__ = [
    "JsonList", "entry_rows", "is_terminal", "json_list", "make_plain", "print_failure", "print_json",
    "print_pages", "print_table", "silence_stdout",
]  # fmt: skip

GAP = "  "


def is_terminal() -> bool:
    """Tell whether a person reads what is printed."""
    return sys.stdout.isatty()


# -- tables --------------------------------------------------------------------------------------------------


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in aligned columns; the header only for people, so that a pipe gets nothing but rows."""
    print_pages(header, [rows])


def print_pages(header: Sequence[str], pages: Iterable[Sequence[Sequence[object]]]) -> None:
    """Print pages of rows as they come, each aligned by itself, below one header."""
    wants_header = is_terminal()
    for rows in pages:
        cells = [[escape_controls(str(cell)).replace("\n", " ") for cell in row] for row in rows]
        shown = [list(header), *cells] if wants_header else cells
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        lines = []
        for index, row in enumerate(shown):
            line = _aligned(row, widths)
            if wants_header and index == 0:
                line = click.style(line, bold=True)
            elif is_terminal():
                line = click.style(line[: widths[0]], fg="cyan") + line[widths[0] :]
            lines.append(line)
        wants_header = False
        if lines:
            click.echo("\n".join(lines))


def entry_rows(entries: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    """Return rows for what a server tells of itself, entries within entries as `outer.inner`."""
    for key, value in sorted(entries.items()):
        if isinstance(value, Mapping):
            yield from entry_rows(value, f"{before}{key}.")
        else:
            yield before + key, "-" if value is None else round(value, 3) if isinstance(value, float) else value


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def print_failure(text: str) -> None:
    """Print what went wrong with one of several things, on stderr."""
    click.echo(f"Error: {escape_controls(text)}", err=True)


def silence_stdout() -> None:
    """Let what is still to be written go nowhere: whoever read it has closed the pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


# -- JSON ----------------------------------------------------------------------------------------------------


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Print a value as one JSON document, or with `indent=None` as one line."""
    click.echo(json.dumps(make_plain(value), indent=indent, allow_nan=False))


class JsonList:
    """A JSON list that is printed as its items come, one on each line."""

    def __init__(self) -> None:
        self._began = False

    def add(self, items: Iterable[object]) -> None:
        """Print some items."""
        lines = [json.dumps(make_plain(item), allow_nan=False) for item in items]
        if lines:
            click.echo((",\n" if self._began else "[\n") + ",\n".join(lines), nl=False)
            self._began = True

    def end(self) -> None:
        """Print the end of the list."""
        click.echo("\n]" if self._began else "[]")


@contextmanager
def json_list() -> Iterator[JsonList]:
    """Print a JSON list; it is a whole document also when the block ends with an error."""
    items = JsonList()
    try:
        yield items
    except BrokenPipeError:
        raise
    except BaseException:
        items.end()
        raise
    items.end()


def make_plain(value: Any) -> Any:
    """Return a value as JSON can have it, to be read: bytes as base64, what else JSON does not have as text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else repr(key): make_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [make_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return [make_plain(item) for item in sorted(value, key=repr)]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    return str(value)
