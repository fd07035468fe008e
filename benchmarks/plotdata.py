"""What a plot shows: lines, bars, colours, places of labels; pure, without matplotlib."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.halfload import PERCENTILES, HalfLoad
from benchmarks.model import Machine, Paced, Result, Unit, Work
from benchmarks.points import Curve
from benchmarks.stats import Summary, paired_spread, summarize
from benchmarks.table import render_machine

#: Colours of Okabe and Ito, which the colour-blind can tell apart; peers of one family share theirs.
COLOURS = {
    "gpyro": "#0072B2", "raw": "#000000", "pyro5": "#D55E00", "pyro4": "#A04000", "pycapnp": "#009E73",
    "multiprocessing": "#B8860B", "grpcio": "#CC79A7", "zerorpc": "#3C9DD0", "rpyc": "#7F7F7F",
}  # fmt: skip
#: Beside the colours, for prints without any.
MARKERS = {
    "gpyro": "o", "raw": "x", "pyro5": "s", "pyro4": "p", "pycapnp": "^", "multiprocessing": "D", "grpcio": "v",
    "zerorpc": "P", "rpyc": "*",
}  # fmt: skip
#: A scale is logarithmic where the largest value is so many times the smallest.
DECADES_FROM = 20.0
FOOTER_WIDTH = 130


@dataclass(frozen=True)
class Line:
    """One peer: medians with their spread."""

    peer: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """One pair of axes; `ticks` are places on the x axis that have a text of their own."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    y_log: bool
    ticks: Mapping[float, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BarPanel:
    """One work: a bar for each peer."""

    title: str
    x_label: str
    bars: tuple[tuple[str, Summary], ...]
    x_log: bool


@dataclass(frozen=True)
class Plot:
    """One picture."""

    title: str
    panels: tuple[Panel | BarPanel, ...]
    footer: str


def family_of(peer: str) -> str:
    """`gpyro-key` is gpyro's, `import Pyro5.api` is Pyro 5's; empty if it is none that has a colour."""
    words = peer.lower().replace("-", " ").replace(".", " ").replace(",", " ").split()
    known = {"grpc": "grpcio", "capnp": "pycapnp", "gevent": "raw"}
    return next((known.get(word, word) for word in words if known.get(word, word) in COLOURS), "")


def colour_of(peer: str) -> str:
    return COLOURS.get(family_of(peer), "#999999")


def marker_of(peer: str) -> str:
    return MARKERS.get(family_of(peer), ".")


def describe(machine: Machine) -> str:
    """The line below a plot."""
    return "\n".join(textwrap.fill(line, FOOTER_WIDTH) for line in render_machine(machine).splitlines())


def spans_decades(values: Sequence[float]) -> bool:
    """Whether a logarithmic scale shows these better."""
    return bool(values) and min(values) > 0 and max(values) / min(values) >= DECADES_FROM


def build_line(peer: str, points: Mapping[float, Summary]) -> Line:
    return Line(
        peer, tuple(points), tuple(at.median for at in points.values()),
        tuple(at.low for at in points.values()), tuple(at.high for at in points.values()),
    )  # fmt: skip


def build_panel(
    title: str, x_label: str, y_label: str, lines: Sequence[Line], ticks: Mapping[float, str]
) -> Panel:
    """A panel without the peers that have no points."""
    kept = tuple(line for line in lines if line.xs)
    return Panel(title, x_label, y_label, kept, spans_decades([y for line in kept for y in line.ys]), ticks)


def plot_curve(curve: Curve, points: Mapping[int, Sequence[Result]], machine: Machine) -> Plot:
    """Calls or times over the places of the axis; with sizes also the ratios to raw."""
    names = list(dict.fromkeys(result.peer for results in points.values() for result in results))
    spreads: dict[str, dict[float, Summary]] = {name: {} for name in names}
    ratios: dict[str, dict[float, Summary]] = {name: {} for name in names}
    for place, results in points.items():
        raw = next((result.samples for result in results if result.peer == "raw"), ())
        for result in results:
            if result.samples:
                spreads[result.peer][place] = summarize(result.samples)
            if ratio := paired_spread(result.samples, raw):
                ratios[result.peer][place] = ratio
    of_sizes = curve.name == "sizes"
    ticks = {float(place): format_place(place, of_sizes) for place in points}
    x_label = f"{curve.axis} (log scale)"
    lines = [build_line(*item) for item in spreads.items()]
    panels = [build_panel("", x_label, curve.unit, lines, ticks)]
    if of_sizes:
        lines = [build_line(*item) for item in ratios.items()]
        panels.append(build_panel("divided by raw's", x_label, "times raw", lines, ticks))
    return Plot(curve.title, tuple(panels), describe(machine))


def format_place(place: int, in_bytes: bool) -> str:
    """A number as a tick says it: 1,000 or 64 KiB."""
    if not in_bytes:
        return f"{place:,}"
    for unit, size in (("MiB", 2**20), ("KiB", 2**10)):
        if place >= size:
            return f"{place // size} {unit}"
    return f"{place} B"


def plot_half_load(curve: Curve, found: HalfLoad, machine: Machine) -> Plot:
    """Two panels: each at half of its own most, and all at half of the best peer's."""
    ticks = {nines(fraction): name for name, fraction in PERCENTILES.items()}
    panels = []
    for title, paced in (
        ("each at half of the most that it does", found.own),
        (f"all at half of the most that {found.best} does", found.common),
    ):
        if paced:
            lines = [paced_line(one) for one in paced]
            panels.append(build_panel(title, "percentile of the calls", curve.unit, lines, ticks))
    return Plot(curve.title, tuple(panels), describe(machine))


def paced_line(paced: Paced) -> Line:
    """The distribution of all rounds, with its label's rate."""
    xs = tuple(nines(fraction) for fraction, _ in paced.distribution)
    ys = tuple(value for _, value in paced.distribution)
    name = paced.peer if not xs else f"{paced.peer}, {paced.rate:,.0f}/s"
    return Line(name, xs, ys, ys, ys)


def nines(fraction: float) -> float:
    """Where a percentile stands on an axis that gives the far end its room: 10 for 0.9, 100 for 0.99."""
    return 1 / (1 - fraction)


def plot_works(done: Sequence[tuple[Work, Sequence[Result]]], machine: Machine) -> Plot:
    """The ratios of each work to its baseline; without works in which nothing else stands beside gpyro."""
    panels = []
    for work, results in done:
        if all(result.peer.startswith("gpyro") for result in results):
            continue
        base = next((result.samples for result in results if result.peer == work.baseline), ())
        spreads = [(result.peer, paired_spread(result.samples, base)) for result in results]
        bars = sorted(((peer, at) for peer, at in spreads if at), key=lambda pair: pair[1].median)
        if not bars:
            continue
        more = work.unit is Unit.CALLS_PER_SECOND
        label = f"{work.unit.value}, times {work.baseline}; {'longer' if more else 'shorter'} is better"
        ordered = tuple(reversed(bars) if more else bars)
        log = spans_decades([at.median for _, at in bars])
        panels.append(BarPanel(f"{work.name}: {work.title}", label, ordered, log))
    return Plot("gpyro and its peers, ratios paired by round", tuple(panels), describe(machine))


def spread_labels(places: Sequence[float], gap: float) -> list[float]:
    """Move labels apart that stand nearer than `gap`, as little as may be, in the order that they have.

    Labels that touch become one block, which stands in the middle of where its labels wanted to be.
    """
    order = sorted(range(len(places)), key=lambda index: places[index])
    blocks: list[list[int]] = []
    for index in order:
        blocks.append([index])
        while len(blocks) > 1 and start_of(blocks[-1], places, gap) < end_of(blocks[-2], places, gap) + gap:
            last = blocks.pop()
            blocks[-1] += last
    moved = [0.0] * len(places)
    for block in blocks:
        first = start_of(block, places, gap)
        for step, index in enumerate(block):
            moved[index] = first + step * gap
    return moved


def start_of(block: Sequence[int], places: Sequence[float], gap: float) -> float:
    """Where the first label of a block stands."""
    return math.fsum(places[index] for index in block) / len(block) - gap * (len(block) - 1) / 2


def end_of(block: Sequence[int], places: Sequence[float], gap: float) -> float:
    """Where the last one does."""
    return start_of(block, places, gap) + gap * (len(block) - 1)
