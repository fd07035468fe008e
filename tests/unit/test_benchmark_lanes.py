"""A lane tells what is lost, doubled and out of order."""

from __future__ import annotations

from benchmarks.reliability.lanes import Lane
from benchmarks.stats import percentile_of_counts


def lane_of(*numbers: int, first: int = 0, step: int = 1) -> Lane:
    lane = Lane(first, step)
    for number in numbers:
        lane.note(number)
    return lane


def test_events_that_come_in_order_leave_nothing_to_tell() -> None:
    lane = lane_of(3, 13, 23, first=3, step=10)

    assert (lane.got, lane.lost(33), lane.doubled, lane.late) == (3, 0, 0, 0)


def test_events_that_do_not_come_are_lost_at_both_ends_and_in_between() -> None:
    lane = lane_of(10, 40, step=10)

    assert lane.lost(60) == 4  # 0, 20, 30, 50
    assert repr(lane) == "<Lane 2 got, 3 missing, next is 50>"


def test_an_event_that_comes_after_a_later_one_is_out_of_order_and_not_lost() -> None:
    lane = lane_of(0, 2, 1)

    assert (lane.got, lane.lost(3), lane.doubled, lane.late) == (3, 0, 0, 1)


def test_an_event_that_comes_twice_is_doubled_and_counted_once() -> None:
    lane = lane_of(0, 1, 1, 0)

    assert (lane.got, lane.lost(2), lane.doubled, lane.late) == (2, 0, 2, 0)


def test_percentiles_of_counts_are_those_of_the_values() -> None:
    counts = [(5.0, 1), (1.0, 98), (2.0, 1)]

    assert [percentile_of_counts(counts, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 1.0, 2.0, 5.0]
