"""Results as text: what was counted, the figure to pass, what was measured; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

__all__ = ["Report", "Row", "render"]

HEADINGS = ("what", "to pass", "measured", "")


@dataclass(frozen=True)
class Row:
    """One figure; `passed` is None where it is only told."""

    what: str
    goal: str
    measured: str
    passed: bool | None = None


@dataclass
class Report:
    """The figures of one attack."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)

    def tell(self, what: str, measured: object) -> None:
        """Add something that is no goal."""
        self.rows.append(Row(what, "", _text(measured)))

    def at_most(self, what: str, measured: float, limit: float, unit: str = "") -> None:
        """Add a figure that has to stay below."""
        self.rows.append(Row(what, f"<= {_text(limit)}{unit}", f"{_text(measured)}{unit}", measured <= limit))

    def at_least(self, what: str, measured: float, limit: float, unit: str = "") -> None:
        """Add a figure that has to be reached."""
        self.rows.append(Row(what, f">= {_text(limit)}{unit}", f"{_text(measured)}{unit}", measured >= limit))

    def exactly(self, what: str, measured: object, wanted: object) -> None:
        """Add a count that has to be this."""
        self.rows.append(Row(what, _text(wanted), _text(measured), measured == wanted))

    def missed(self) -> int:
        """Return how many figures were not reached."""
        return sum(row.passed is False for row in self.rows)


def _text(value: object) -> str:
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{int(value):,}"
    return str(value)


def render(report: Report) -> str:
    """Return the table of one attack."""
    verdict = {True: "pass", False: "MISS", None: ""}
    lines = [HEADINGS, *((row.what, row.goal, row.measured, verdict[row.passed]) for row in report.rows)]
    widths = [max(map(len, column)) for column in zip_longest(*lines, fillvalue="")]
    rule = tuple("-" * width for width in widths)
    table = "\n".join(_line(line, widths) for line in [lines[0], rule, *lines[1:]])
    return f"## {report.name}: {report.title}\n\n{table}"


def _line(cells: Sequence[str], widths: Iterable[int]) -> str:
    what, goal, measured, verdict = (
        cell.ljust(width) if at in (0, 3) else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"{what}  {goal}  {measured}  {verdict}".rstrip()
