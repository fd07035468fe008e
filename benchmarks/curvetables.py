"""Curves as text: a row for each point, a column for each peer; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks.goals import find_best
from benchmarks.halfload import PERCENTILES, HalfLoad
from benchmarks.model import Paced, Result
from benchmarks.points import Curve
from benchmarks.stats import median, paired_spread, summarize
from benchmarks.table import SPREAD_RULE, format_number, render_columns, render_spread

#: Of each place on the axis, the results of all peers.
Points = Mapping[int, Sequence[Result]]
Cell = Callable[[Result, Sequence[Result]], str]


def render_curve(curve: Curve, points: Points) -> str:
    """The medians, their spread, gpyro beside the others, and what there is to say about a peer."""
    parts = [f"## {curve.name}: {curve.title}", "", f"{curve.unit}, median of the rounds", ""]
    parts += [render_cells(curve, points, median_cell), "", "spread", "", render_cells(curve, points, spread_cell)]
    if curve.name == "sizes":
        parts += ["", "times raw", "", render_cells(curve, points, ratio_cell)]
    parts += ["", render_comparison(curve, points), "", SPREAD_RULE, *describe_peers(points)]
    return "\n".join(parts)


def render_cells(curve: Curve, points: Points, cell: Cell) -> str:
    """A row for each place."""
    names = [result.peer for result in next(iter(points.values()))]
    rows = [
        [f"{place:,}", *(cell(result, results) for result in results)] for place, results in points.items()
    ]
    return render_columns([curve.axis.split(",")[0], *names], rows)


def median_cell(result: Result, _others: Sequence[Result]) -> str:
    return format_number(median(result.samples)) if result.samples else "-"


def spread_cell(result: Result, _others: Sequence[Result]) -> str:
    return render_spread(summarize(result.samples)) if result.samples else "-"


def ratio_cell(result: Result, others: Sequence[Result]) -> str:
    raw = next((other for other in others if other.peer == "raw"), None)
    spread = paired_spread(result.samples, raw.samples) if raw else None
    return format_number(spread.median) if spread else "-"


def render_comparison(curve: Curve, points: Points) -> str:
    """gpyro beside raw and beside the best peer of each point, with the spread of the paired ratios."""
    rows = [[f"{place:,}", *compare(results)] for place, results in points.items()]
    headings = [curve.axis.split(",")[0], "gpyro / raw", "spread", "gpyro / best peer", "spread", "note"]
    return render_columns(headings, rows)


def compare(results: Sequence[Result]) -> list[str]:
    """Two ratios with their spread, and the best peer's name."""
    by_peer = {result.peer: result for result in results}
    ours = by_peer.get("gpyro")
    best = find_best("gpyro", by_peer, higher_is_better=not is_time(results))
    cells = []
    for other in (by_peer.get("raw"), best):
        spread = paired_spread(ours.samples, other.samples) if ours and other else None
        cells += [format_number(spread.median), render_spread(spread)] if spread else ["-", "-"]
    return [*cells, best.peer if best else ""]


def is_time(results: Sequence[Result]) -> bool:
    """Whether less is better."""
    return any(result.work.startswith("bytes-") for result in results)


def describe_peers(points: Points) -> list[str]:
    """How each does it, and where it was not measured."""
    lines: dict[str, None] = {}
    for place, results in points.items():
        for result in results:
            if result.note:
                lines[f"{result.peer}: {result.note}"] = None
            if not result.samples:
                lines[f"{result.peer} at {place:,}: {result.failed or f'not measured: {result.refused}'}"] = None
            elif result.kept not in ("yes", ""):
                lines[f"{result.peer}: {result.kept}"] = None
    return ["", *lines] if lines else []


def render_half_load(curve: Curve, found: HalfLoad) -> str:
    """A table for each of the two loads."""
    parts = [f"## {curve.name}: {curve.title}", "", "at half of the most that each does", ""]
    parts += [render_paced(found.peaks, found.own)]
    if found.common:
        parts += ["", f"all at half of the most that {found.best} does, the best of the peers", ""]
        parts += [render_paced(found.peaks, found.common)]
    else:
        parts += ["", "no peer in this run whose load all could bear"]
    parts += ["", "microseconds, median of the rounds", SPREAD_RULE]
    return "\n".join([*parts, *(f"{peak.peer}: {peak.note}" for peak in found.peaks if peak.note)])


def render_paced(peaks: Sequence[Result], paced: Sequence[Paced]) -> str:
    """A row for each peer."""
    headings = ["peer", "most calls/s", "began/s", "ended/s", *PERCENTILES, "spread of p99", "note"]
    rows = []
    for peak, one in zip(peaks, paced, strict=True):
        most = format_number(median(peak.samples)) if peak.samples else "-"
        if one.reason:
            rows.append([one.peer, most, *["-"] * (len(headings) - 3), f"not measured: {one.reason}"])
            continue
        figures = [format_number(median(one.percentiles[name])) for name in PERCENTILES]
        spread = render_spread(summarize(one.percentiles["p99"]))
        done = format_number(median(one.done))
        rows.append([one.peer, most, format_number(one.rate), done, *figures, spread, ""])
    return render_columns(headings, rows)
