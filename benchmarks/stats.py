"""Medians, quartiles and paired ratios; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Where the samples of some rounds lie."""

    median: float
    low: float
    high: float
    rounds: int


def median(samples: Sequence[float]) -> float:
    return percentile(samples, 0.5)


def percentile(samples: Sequence[float], fraction: float) -> float:
    """The value below which `fraction` of the samples lie, between two samples by straight line.

    Raises:
        ValueError: there are no samples.
    """
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    place = fraction * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def summarize(samples: Sequence[float]) -> Summary:
    """Median and quartiles; with fewer than four rounds the extremes in their place."""
    if len(samples) < 4:
        return Summary(median(samples), min(samples), max(samples), len(samples))
    return Summary(median(samples), percentile(samples, 0.25), percentile(samples, 0.75), len(samples))


def paired_spread(samples: Sequence[float], base: Sequence[float]) -> Summary | None:
    """Median and quartiles of sample / base, round by round.

    A pair of one round met the same state of the machine, so this moves less
    than the ratio of two medians. None without a pair.
    """
    ratios = [sample / other for sample, other in zip(samples, base, strict=False) if other]
    return summarize(ratios) if ratios else None


def paired_ratio(samples: Sequence[float], base: Sequence[float]) -> float | None:
    """The median of `paired_spread`."""
    spread = paired_spread(samples, base)
    return spread.median if spread else None


def percentile_of_counts(counts: Sequence[tuple[float, int]], fraction: float) -> float:
    """As `percentile`, of values that are given with how often each came; between no two of them.

    Raises:
        ValueError: there are none.
    """
    left = fraction * (sum(count for _, count in counts) - 1)
    for value, count in sorted(counts):
        left -= count
        if left < 0:
            return value
    raise ValueError("no samples")
