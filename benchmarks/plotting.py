"""Draws with matplotlib, which nothing but `--plot` needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.plotdata import BarPanel, Panel, Plot, colour_of, marker_of, spread_labels

#: Inches: of a panel's axes, and round them; names of lines stand at the right, names of bars at the left.
LINES_WIDE, LINES_HIGH, LINES_LEFT, LINES_RIGHT = 5.2, 3.7, 0.95, 1.75
BARS_WIDE, BARS_EACH, BARS_LEFT, BARS_RIGHT = 3.5, 0.26, 3.3, 0.55
ABOVE, BELOW, HEAD, FOOT, FOOT_LINE = 0.35, 0.75, 0.5, 0.15, 0.14
BAR_COLUMNS = 2
DOTS_PER_INCH = 130
#: Distance of two labels, as a share of the height of a panel.
LABEL_GAP = 0.05
#: Sizes of letters, in points.
TINY, SMALL, MIDDLE, LARGE = 6.5, 8, 9.5, 12
SUFFIXES = (".svg", ".png")


def check_matplotlib() -> None:
    """See to it that nobody measures for long what cannot be drawn.

    Raises:
        ValueError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as exc:
        raise ValueError('--plot needs matplotlib, which is not installed: pip install "gpyro[bench]"') from exc


def check_file(path: Path) -> None:
    """See to it that a plot can be written there.

    Raises:
        ValueError: its ending is none of those that can.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"cannot write a plot to {path}: its name has to end with .svg or .png")


def draw(plot: Plot, path: Path) -> None:
    """Write one picture, as SVG or PNG by the ending of its name."""
    import matplotlib

    # The same measurements give the same file.
    with matplotlib.rc_context({"backend": "agg", "svg.hashsalt": "gpyro", "font.size": SMALL}):
        from matplotlib.figure import Figure

        bars = [panel for panel in plot.panels if isinstance(panel, BarPanel)]
        figure = Figure(dpi=DOTS_PER_INCH)
        axes = place_bars(figure, plot, bars) if bars else place_lines(figure, plot)
        for axis, panel in zip(axes, plot.panels, strict=True):
            draw_bars(axis, panel) if isinstance(panel, BarPanel) else draw_lines(axis, panel)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


# -- places --------------------------------------------------------------------------------------------------


def place_lines(figure: Any, plot: Plot) -> list[Any]:
    """Axes side by side."""
    each = LINES_LEFT + LINES_WIDE + LINES_RIGHT
    wide, foot = each * max(len(plot.panels), 1), foot_of(plot)
    high = HEAD + ABOVE + LINES_HIGH + BELOW + foot
    frame(figure, plot, wide, high)
    return [
        add_axes(figure, number * each + LINES_LEFT, foot + BELOW, LINES_WIDE, LINES_HIGH)
        for number in range(len(plot.panels))
    ]


def place_bars(figure: Any, plot: Plot, panels: list[BarPanel]) -> list[Any]:
    """Axes in columns, as high as they have bars."""
    rows = [panels[start : start + BAR_COLUMNS] for start in range(0, len(panels), BAR_COLUMNS)]
    heights = [BARS_EACH * (1 + max(len(panel.bars) for panel in row)) for row in rows]
    each = BARS_LEFT + BARS_WIDE + BARS_RIGHT
    high = HEAD + sum(heights) + (ABOVE + BELOW) * len(rows) + foot_of(plot)
    frame(figure, plot, each * max(len(row) for row in rows), high)
    axes, top = [], high - HEAD
    for row, height in zip(rows, heights, strict=True):
        top -= ABOVE
        for number, panel in enumerate(row):
            own = BARS_EACH * (1 + len(panel.bars))
            axes.append(add_axes(figure, number * each + BARS_LEFT, top - own, BARS_WIDE, own))
        top -= height + BELOW
    return axes


def foot_of(plot: Plot) -> float:
    return FOOT + FOOT_LINE * len(plot.footer.splitlines())


def frame(figure: Any, plot: Plot, wide: float, high: float) -> None:
    """The size, the title, and the lines about the machine."""
    figure.set_size_inches(wide, high)
    figure.text(0.2 / wide, 1 - 0.15 / high, plot.title, fontsize=LARGE, fontweight="bold", va="top")
    figure.text(0.2 / wide, 0.1 / high, plot.footer, fontsize=TINY, color="#555555", va="bottom")


def add_axes(figure: Any, left: float, bottom: float, wide: float, high: float) -> Any:
    """Axes at a place in inches."""
    whole_wide, whole_high = figure.get_size_inches()
    return figure.add_axes((left / whole_wide, bottom / whole_high, wide / whole_wide, high / whole_high))


# -- what stands there ---------------------------------------------------------------------------------------


def draw_lines(axis: Any, panel: Panel) -> None:
    """Lines with their spread, each with its name at its end."""
    axis.set_xscale("log")
    if panel.y_log:
        axis.set_yscale("log")
    for line in panel.lines:
        colour, ours = colour_of(line.peer), line.peer.startswith("gpyro")
        axis.plot(
            line.xs, line.ys, color=colour, marker=marker_of(line.peer), markersize=4,
            linewidth=2.4 if ours else 1.3, zorder=3 if ours else 2,
            linestyle="--" if line.peer.startswith("raw") else "-",
        )  # fmt: skip
        axis.fill_between(line.xs, line.lows, line.highs, color=colour, alpha=0.15, linewidth=0)
    if not panel.y_log:
        axis.set_ylim(bottom=0)
    if panel.ticks:
        axis.set_xticks(list(panel.ticks), list(panel.ticks.values()), rotation=30 if len(panel.ticks) > 8 else 0)
        axis.xaxis.minorticks_off()
    axis.set_xlabel(panel.x_label)
    axis.set_ylabel(panel.y_label + (" (log scale)" if panel.y_log else ""))
    axis.set_title(panel.title, fontsize=MIDDLE, loc="left")
    axis.grid(True, which="major", alpha=0.3)
    show_numbers(axis, axis.yaxis)
    name_lines(axis, panel)


def name_lines(axis: Any, panel: Panel) -> None:
    """Write each name beside the end of its line, none upon another."""
    axis.autoscale_view()
    to_share = axis.transData + axis.transAxes.inverted()
    ends = [tuple(to_share.transform((line.xs[-1], line.ys[-1]))) for line in panel.lines]
    heights = spread_labels([high for _, high in ends], LABEL_GAP)
    for line, end, height in zip(panel.lines, ends, heights, strict=True):
        colour = colour_of(line.peer)
        axis.annotate(
            line.peer, xy=end, xytext=(1.04, height), xycoords="axes fraction", textcoords="axes fraction",
            color=colour, fontsize=SMALL, va="center", annotation_clip=False,
            fontweight="bold" if line.peer.startswith("gpyro") else "normal",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.6},
        )  # fmt: skip


def draw_bars(axis: Any, panel: BarPanel) -> None:
    """Bars from the baseline's 1 on a scale of decades, else from 0."""
    start = 1.0 if panel.x_log else 0.0
    if panel.x_log:
        axis.set_xscale("log")
    names = [peer for peer, _ in panel.bars]
    middle = [at.median for _, at in panel.bars]
    axis.barh(
        range(len(names)), [value - start for value in middle], left=start, height=0.65,
        color=[colour_of(name) for name in names], ecolor="#444444", error_kw={"elinewidth": 0.8},
        xerr=[[at.median - at.low for _, at in panel.bars], [at.high - at.median for _, at in panel.bars]],
    )  # fmt: skip
    for place, (_, at) in enumerate(panel.bars):
        axis.annotate(
            f"{at.median:.3g}", xy=(max(at.high, start), place), xytext=(4, 0), textcoords="offset points",
            fontsize=SMALL, va="center",
        )  # fmt: skip
    axis.set_yticks(range(len(names)), names)
    for label in axis.get_yticklabels():
        label.set_fontweight("bold" if label.get_text().startswith(("gpyro", "import gpyro")) else "normal")
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.margins(x=0.15)
    axis.axvline(1.0, color="black", linewidth=0.8)
    # Above the names as well, which leaves room for long ones.
    axis.set_title(panel.title, fontsize=MIDDLE, loc="left", x=-BARS_LEFT / BARS_WIDE + 0.06)
    axis.set_xlabel(panel.x_label + (" (log scale)" if panel.x_log else ""))
    show_numbers(axis, axis.xaxis)


def show_numbers(axis: Any, of: Any) -> None:
    """Thousands set apart in place of powers of ten; no frame where nothing is read off it."""
    of.set_major_formatter(lambda value, _place: f"{value:,.10g}")
    of.set_minor_formatter(lambda value, _place: "")
    axis.spines[["top", "right"]].set_visible(False)
