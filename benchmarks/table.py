"""Results as text: one aligned table for each work; pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from benchmarks.goals import Verdict, judge_work
from benchmarks.model import Machine, Result, Work
from benchmarks.stats import Summary, median, paired_ratio, summarize

# Columns that hold words and are set flush left.
WORD_COLUMNS = frozenset({"peer", "kept", "note", "work", "figure", "verdict"})
SPREAD_RULE = (
    "spread: the quartiles of the rounds, or the range where there are fewer than four; ratios are paired by round"
)


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
    goals = [render_verdict(verdict) for verdict in judge_work(work.name, results) if verdict.summary]
    if with_goals and goals:
        parts += ["", *goals]
    return "\n".join(parts)


def render_verdict(verdict: Verdict) -> str:
    """One line about a goal that the run tells about."""
    assert verdict.summary is not None
    word = "reached" if verdict.met else "MISSED "
    figure = f"{format_number(verdict.summary.median)} ({render_spread(verdict.summary)})"
    return f"{word}  {verdict.text}: {figure}, {verdict.bound}"


def render_goals(verdicts: Sequence[Verdict], judged: bool) -> str:
    """The closing table: every goal of the run; not `judged` where the figures are too small to mean something."""
    title = "all goals of this run" if judged else "all goals of this run (short run: nothing is judged by it)"
    headings = ["work", "figure", "goal", "measured", "spread", "rounds", "verdict"]
    table = render_columns(headings, [build_goal_row(verdict, judged) for verdict in verdicts])
    return "\n".join([f"## goals: {title}", "", table, "", SPREAD_RULE])


def build_goal_row(verdict: Verdict, judged: bool) -> list[str]:
    """The cells of one goal."""
    start = [verdict.work, verdict.text, verdict.bound]
    if verdict.summary is None:
        return [*start, "-", "-", "-", "not measured"]
    summary = verdict.summary
    word = ("reached" if verdict.met else "MISSED") if judged else "-"
    return [*start, format_number(summary.median), render_spread(summary), str(summary.rounds), word]


def render_spread(summary: Summary) -> str:
    """Where the middle half of the rounds lies."""
    return f"{format_number(summary.low)} .. {format_number(summary.high)}"


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
        render_spread(summary),
        "-" if ratio is None else f"{ratio:.2f}",
        *(format_number(median(result.figures[name])) if name in result.figures else "-" for name in extra),
        result.kept or "-",
        result.note,
    ]


def format_number(value: float) -> str:
    """Three digits or more, thousands set apart; nothing at all is 0."""
    if value >= 100 or not value:
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
