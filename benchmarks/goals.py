"""The figures that gpyro wants to reach, and whether a run did; pure.

They stand in the project's design; a goal is a ratio to a peer measured in the
same run wherever there is one, because times are different on each machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.model import Result
from benchmarks.stats import Summary, median, paired_spread, summarize

#: Figures that the commands for one server alone judge by, too.
DELIVERIES_A_SECOND = 100_000
RESOLVES_A_SECOND, RESOLVES_BESIDE_A_SECOND = 20_000, 15_000
PAGE_SECONDS, LOAD_SECONDS, KIB_A_NAME = 0.3, 1.0, 1.0


@dataclass(frozen=True)
class Finding:
    """What a run tells about one figure; `best` is the peer that it was compared to, where the run chose one."""

    summary: Summary
    best: str = ""


Results = Mapping[str, Result]
Figure = Callable[[Results], Finding | None]


@dataclass(frozen=True)
class Verdict:
    """One goal in one run; without a summary the run does not tell."""

    work: str
    text: str
    bound: str
    summary: Summary | None
    met: bool


@dataclass(frozen=True)
class Goal:
    """One figure of one work, with the bound that its median should keep."""

    work: str
    text: str
    figure: Figure
    limit: float
    at_least: bool = False

    def judge(self, results: Results) -> Verdict:
        """Whether this run kept the bound."""
        finding = self.figure(results)
        bound = f"{'at least' if self.at_least else 'at most'} {self.limit:,g}"
        if finding is None:
            return Verdict(self.work, self.text, bound, None, met=False)
        value = finding.summary.median
        met = value >= self.limit if self.at_least else value <= self.limit
        text = f"{self.text} ({finding.best})" if finding.best else self.text
        return Verdict(self.work, text, bound, finding.summary, met)


def ratio(subject: str, base: str) -> Figure:
    """`subject` divided by `base`, paired by round."""

    def figure(results: Results) -> Finding | None:
        if subject not in results or base not in results:
            return None
        spread = paired_spread(results[subject].samples, results[base].samples)
        return Finding(spread) if spread else None

    return figure


def ratio_to_best(subject: str, higher_is_better: bool) -> Figure:
    """`subject` divided by the best of its peers; raw is no peer, and neither is `subject` with something more."""

    def figure(results: Results) -> Finding | None:
        best = find_best(subject, results, higher_is_better)
        if subject not in results or best is None:
            return None
        spread = paired_spread(results[subject].samples, best.samples)
        return Finding(spread, best.peer) if spread else None

    return figure


def find_best(subject: str, results: Results, higher_is_better: bool) -> Result | None:
    """The peer with the best median, without raw and without what is `subject` with something more."""
    others = [
        result for name, result in results.items()
        if name != "raw" and not name.startswith(subject) and result.samples
    ]  # fmt: skip
    ordered = sorted(others, key=lambda result: median(result.samples), reverse=higher_is_better)
    return ordered[0] if ordered else None


def value_of(subject: str, figure_name: str = "", scale: float = 1.0) -> Figure:
    """What `subject` measured, or one of its further figures, divided by `scale`."""

    def figure(results: Results) -> Finding | None:
        if subject not in results or not results[subject].samples:
            return None
        result = results[subject]
        values = result.figures[figure_name] if figure_name else result.samples
        return Finding(summarize([value / scale for value in values]))

    return figure


def sum_of(figure_name: str) -> Figure:
    """A further figure of all subjects and rounds together: a count that has to stay 0."""

    def figure(results: Results) -> Finding | None:
        counts = [sum(result.figures[figure_name]) for result in results.values() if result.samples]
        return Finding(summarize([sum(counts)])) if counts else None

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
    Goal("fanout", "deliveries a second", value_of("gpyro"), DELIVERIES_A_SECOND, at_least=True),
    Goal(
        "fanout", "deliveries a second, a subject each", value_of("gpyro, a subject each"),
        DELIVERIES_A_SECOND, at_least=True,
    ),
    Goal("fanout", "deliveries a second, 1 KiB", value_of("gpyro, 1 KiB"), DELIVERIES_A_SECOND, at_least=True),
    Goal("fanout", "events lost, in all", sum_of("lost"), 0.0),
    Goal("fanout", "events out of order, in all", sum_of("disorder"), 0.0),
    Goal("naming", "names resolved a second", value_of("gpyro"), RESOLVES_A_SECOND, at_least=True),
    Goal(
        "naming", "the same while 10 others register", value_of("gpyro, 10 register"),
        RESOLVES_BESIDE_A_SECOND, at_least=True,
    ),
    Goal("naming", "first page of all names, in ms", value_of("gpyro", "page ms"), 1e3 * PAGE_SECONDS),
    Goal("naming", "load from disk, with all checks, in ms", value_of("gpyro", "load ms"), 1e3 * LOAD_SECONDS),
    Goal("naming", "KiB of memory for each name", value_of("gpyro", "KiB/name"), KIB_A_NAME),
    Goal("startup", "import gpyro / import gevent", ratio("import gpyro", "import gevent"), 1.3),
    Goal(
        "startup", "import gpyro + first call / import gevent",
        ratio("import gpyro + first call", "import gevent"), 2.5,
    ),
    Goal("command", "gpyro --help in seconds", value_of("gpyro --help", scale=1000.0), 0.25),
)  # fmt: skip


def judge_work(work: str, results: Sequence[Result]) -> list[Verdict]:
    """All goals of one work, also those that this run does not tell about."""
    by_peer = {result.peer: result for result in results}
    return [goal.judge(by_peer) for goal in GOALS if goal.work == work]
