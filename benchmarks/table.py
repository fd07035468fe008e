"""Results as text: one aligned table for each work; pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from benchmarks.goals import describe_goals
from benchmarks.model import Machine, Result, Work
from benchmarks.stats import paired_ratio, summarize

# Columns from here on hold words and are set flush left, as is the first.
WORD_COLUMNS = frozenset({"peer", "kept", "note"})


def render_machine(machine: Machine) -> str:
    """The line that says where and with what a run was made."""
    versions = ", ".join(f"{name} {number}" for name, number in sorted(machine.versions.items()))
    return (
        f"{machine.cores} cores, {machine.memory_gib:.0f} GiB, {machine.system}, Python {machine.python}, "
        f"load {machine.load:.2f} at start\n{versions}"
    )


def render_work(work: Work, results: Sequence[Result], with_goals: bool) -> str:
    """A work's title, its table, and, where figures mean something, its goals."""
    headings, rows = build_rows(work, results)
    parts = [f"## {work.name}: {work.title}", "", render_columns(headings, rows)]
    goals = describe_goals(work.name, results)
    if with_goals and goals:
        parts += ["", *goals]
    return "\n".join(parts)


def build_rows(work: Work, results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells."""
    extra = sorted({name for result in results for name in result.figures})
    rounds = max((len(result.samples) for result in results), default=0)
    spread = "quartiles" if rounds >= 4 else "range"
    headings = ["peer", work.unit.value, spread, f"x {work.baseline}", *extra, "kept", "note"]
    base = next((result.samples for result in results if result.peer == work.baseline), ())
    return headings, [build_row(result, base, extra) for result in results]


def build_row(result: Result, base: Sequence[float], extra: Sequence[str]) -> list[str]:
    """The cells of one peer."""
    if not result.samples:
        reason = result.failed or f"not measured: {result.refused}"
        return [result.peer, "-", "-", "-", *("-" for _ in extra), "-", reason]
    summary = summarize(result.samples)
    ratio = paired_ratio(result.samples, base)
    return [
        result.peer,
        format_number(summary.median),
        f"{format_number(summary.low)} .. {format_number(summary.high)}",
        "-" if ratio is None else f"{ratio:.2f}",
        *(format_number(result.figures[name]) for name in extra),
        result.kept or "-",
        result.note,
    ]


def format_number(value: float) -> str:
    """Three digits or more, thousands set apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def render_columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells in columns as wide as their widest, numbers flush right."""
    lines = [headings, *rows]
    widths = [max(len(cell) for cell in column) for column in zip_longest(*lines, fillvalue="")]
    rule = ["-" * width for width in widths]
    return "\n".join(render_line(headings, line, widths) for line in [headings, rule, *rows])


def render_line(headings: Sequence[str], cells: Sequence[str], widths: Sequence[int]) -> str:
    placed = [
        cell.ljust(width) if heading in WORD_COLUMNS else cell.rjust(width)
        for heading, cell, width in zip(headings, cells, widths, strict=True)
    ]
    return "  ".join(placed).rstrip()
