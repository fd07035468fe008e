"""Latency at half load: every call begins at a time of its own, and is timed from there.

Half of what a peer does at most, measured in the same run; and for all of them half of what the best peer does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.goals import find_best
from benchmarks.model import Paced, Result, Work
from benchmarks.processes import WorkerProcess
from benchmarks.rounds import Contestant, Progress
from benchmarks.stats import median, percentile_of_counts

SHARE = 0.5
#: Where a peer gets behind, the round lasts longer than its arrivals.
PACE_SECONDS = 60.0
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
#: Of the whole distribution, for a plot: even steps on an axis of nines.
FRACTIONS = tuple(1 - 0.5 * 10 ** (-step / 8) for step in range(23))


@dataclass(frozen=True)
class HalfLoad:
    """What a run came to: the most calls in a second, the latencies at half of it, and at half of the best's."""

    peaks: list[Result]
    own: list[Paced]
    common: list[Paced]
    best: str


class Pacing:
    """The rounds of one peer at one rate."""

    def __init__(self, contestant: Contestant, peak: Result, rate: float) -> None:
        self.contestant = contestant
        self.rate = rate
        self.reason = describe_lacking(peak, rate)
        self.counts: list[dict[float, int]] = []
        self.done: list[float] = []

    def measure(self, number: int) -> None:
        """One round, unless there is a reason not to."""
        client: WorkerProcess = self.contestant.client
        with self.contestant.failure_ends_part():
            seconds = self.contestant.work.round_seconds
            asked = {"do": "pace", "rate": self.rate, "seconds": seconds, "number": number}
            reply = client.request(asked, PACE_SECONDS)
            self.counts.append({value: count for value, count in reply["counts"]})
            self.done.append(reply["calls"] / reply["seconds"])
            return
        self.reason = self.contestant.build_result().failed

    def build(self) -> Paced:
        if self.reason:
            return Paced(self.contestant.name, self.rate, reason=self.reason)
        return summarize_rounds(self.contestant.name, self.rate, self.counts, self.done)


def describe_lacking(peak: Result, rate: float) -> str:
    """Why a peer is not measured at a rate; empty if it is."""
    if not peak.samples:
        return peak.failed or peak.refused
    most = median(peak.samples)
    return f"does {most:,.0f} calls a second at most" if most <= rate else ""


def summarize_rounds(
    peer: str, rate: float, rounds: Sequence[dict[float, int]], done: Sequence[float]
) -> Paced:
    """The percentiles of each round, and the distribution of all of them together."""
    whole: Counter[float] = Counter()
    for counts in rounds:
        whole.update(counts)
    pairs = sorted(whole.items())
    return Paced(
        peer, rate, tuple(done),
        {
            name: tuple(percentile_of_counts(list(counts.items()), fraction) for counts in rounds)
            for name, fraction in PERCENTILES.items()
        },
        tuple((fraction, percentile_of_counts(pairs, fraction)) for fraction in FRACTIONS),
    )  # fmt: skip


def run_half_load(
    work: Work, peers: Sequence[str], rounds: int, short: bool, progress: Progress
) -> tuple[HalfLoad, dict[str, str]]:
    """Interleaved rounds of the most that each does, then of both loads."""
    rounds = min(rounds, work.most_rounds)
    contestants = [Contestant(name, work, short) for name in peers]
    versions: dict[str, str] = {}
    with ExitStack() as stack:
        for contestant in contestants:
            contestant.start_server(stack)
        for contestant in contestants:
            progress(f"{work.name}: warming up {contestant.name}")
            contestant.start_client(stack)
            versions.update(contestant.versions)
        for _ in range(rounds):
            for contestant in contestants:
                if contestant.in_race:
                    progress(f"{work.name}: the most that {contestant.name} does")
                    contestant.measure()
        peaks = [contestant.build_result() for contestant in contestants]
        pairs = list(zip(contestants, peaks, strict=True))
        own = [Pacing(one, peak, SHARE * median(peak.samples) if peak.samples else 0.0) for one, peak in pairs]
        best = find_best("gpyro", {peak.peer: peak for peak in peaks}, higher_is_better=True)
        common = [Pacing(one, peak, SHARE * median(best.samples)) for one, peak in pairs] if best else []
        for pacings in (own, common):
            for number in range(1, rounds + 1):
                for pacing in pacings:
                    if not pacing.reason:
                        progress(f"{work.name}: round {number}, {pacing.contestant.name}, {pacing.rate:,.0f}/s")
                        pacing.measure(number)
    at_own, at_common = ([pacing.build() for pacing in pacings] for pacings in (own, common))
    return HalfLoad(peaks, at_own, at_common, best.peer if best else ""), versions
