"""Medians, spreads and paired ratios of the benchmarks."""

from __future__ import annotations

import pytest

from benchmarks.stats import Summary, paired_ratio, paired_spread, percentile, summarize


def test_spread_of_a_ratio_is_that_of_its_rounds_and_not_of_two_medians() -> None:
    # Each round twice as slow as the one before, for both alike.
    slowing = [1.0, 2.0, 4.0, 8.0, 16.0]

    assert paired_spread([2 * value for value in slowing], slowing) == Summary(2.0, 2.0, 2.0, 5)


def test_spread_is_the_quartiles_and_the_range_of_fewer_than_four_rounds() -> None:
    ones = [1.0] * 5

    assert paired_spread([1.0, 2.0, 3.0, 4.0, 5.0], ones) == Summary(3.0, 2.0, 4.0, 5)
    assert paired_spread([3.0, 1.0, 2.0], ones) == Summary(2.0, 1.0, 3.0, 3)


def test_rounds_without_a_partner_are_left_out() -> None:
    assert paired_spread([4.0, 9.0], [2.0]) == Summary(2.0, 2.0, 2.0, 1)
    assert paired_ratio([4.0, 6.0], [2.0, 0.0]) == 2.0


def test_ratio_without_a_pair_is_none() -> None:
    assert paired_spread([], [1.0]) is None
    assert paired_ratio([1.0], []) is None


def test_percentile_lies_between_two_samples_by_straight_line() -> None:
    assert percentile([3.0, 1.0], 0.25) == 1.5
    with pytest.raises(ValueError, match="no samples"):
        summarize([])
