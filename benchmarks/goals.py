"""The figures that gpyro wants to reach, and whether a run did; pure.

They stand in the project's design; a goal is a ratio to a peer measured in the
same run wherever there is one, because times are different on each machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.model import Result
from benchmarks.stats import median, paired_ratio

Results = Mapping[str, Result]
Figure = Callable[[Results], float | None]


@dataclass(frozen=True)
class Goal:
    """One figure of one work, with the bound that it should keep."""

    work: str
    text: str
    figure: Figure
    limit: float
    at_least: bool = False

    def describe(self, results: Results) -> str:
        """One line about this goal in this run; empty when the run does not tell."""
        value = self.figure(results)
        if value is None:
            return ""
        met = value >= self.limit if self.at_least else value <= self.limit
        bound = f"{'at least' if self.at_least else 'at most'} {self.limit:g}"
        return f"{'reached' if met else 'MISSED '}  {self.text}: {value:.2f}, {bound}"


def ratio(subject: str, base: str) -> Figure:
    """`subject` divided by `base`, paired by round."""

    def figure(results: Results) -> float | None:
        if subject not in results or base not in results:
            return None
        return paired_ratio(results[subject].samples, results[base].samples)

    return figure


def ratio_to_best(subject: str, higher_is_better: bool) -> Figure:
    """`subject` divided by the best of its peers; raw is no peer, and neither is `subject` with something more."""

    def figure(results: Results) -> float | None:
        others = [
            result for name, result in results.items()
            if name != "raw" and not name.startswith(subject) and result.samples
        ]  # fmt: skip
        if subject not in results or not others:
            return None
        best = sorted(others, key=lambda result: median(result.samples), reverse=higher_is_better)[0]
        return paired_ratio(results[subject].samples, best.samples)

    return figure


def value_of(subject: str, figure_name: str = "", scale: float = 1.0) -> Figure:
    """The median of `subject`, or one of its further figures, divided by `scale`."""

    def figure(results: Results) -> float | None:
        if subject not in results or not results[subject].samples:
            return None
        result = results[subject]
        return (result.figures[figure_name] if figure_name else median(result.samples)) / scale

    return figure


GOALS: tuple[Goal, ...] = (
    Goal("small", "gpyro / raw", ratio("gpyro", "raw"), 1.25),
    Goal("small", "logged in and sealed / not (gpyro-key / gpyro)", ratio("gpyro-key", "gpyro"), 1.25),
    Goal("rows", "gpyro / raw", ratio("gpyro", "raw"), 1.4),
    Goal("rows", "gpyro / best peer", ratio_to_best("gpyro", higher_is_better=False), 1.0),
    Goal("tuples", "gpyro / raw", ratio("gpyro", "raw"), 1.5),
    Goal("megabyte", "gpyro / raw", ratio("gpyro", "raw"), 0.6),
    Goal("greenlets", "gpyro / pyro5-marshal", ratio("gpyro", "pyro5-marshal"), 5.0, at_least=True),
    Goal("greenlets", "gpyro / best peer", ratio_to_best("gpyro", higher_is_better=True), 4.0, at_least=True),
    Goal("naps", "seconds", value_of("gpyro"), 1.6),
    Goal("connect", "gpyro / raw", ratio("gpyro", "raw"), 1.5),
    Goal("logins", "connect + login + call a second (gpyro-key)", value_of("gpyro-key"), 2000.0, at_least=True),
    Goal("idle", "KiB for each connection", value_of("gpyro"), 16.0),
    Goal("idle", "p99 of active calls in ms", value_of("gpyro", "p99 us", 1000.0), 10.0),
    Goal("startup", "import gpyro / import gevent", ratio("import gpyro", "import gevent"), 1.3),
    Goal(
        "startup", "import gpyro + first call / import gevent",
        ratio("import gpyro + first call", "import gevent"), 2.5,
    ),
    Goal("command", "gpyro --help in seconds", value_of("gpyro --help", scale=1000.0), 0.25),
)  # fmt: skip


def describe_goals(work: str, results: Sequence[Result]) -> list[str]:
    """The lines about all goals of one work that this run can tell about."""
    by_peer = {result.peer: result for result in results}
    lines = [goal.describe(by_peer) for goal in GOALS if goal.work == work]
    return [line for line in lines if line]
