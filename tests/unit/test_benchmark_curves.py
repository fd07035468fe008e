"""Points of the scaling curves, latencies of paced calls, and what becomes a plot; nothing here is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from benchmarks.curvetables import render_curve, render_half_load
from benchmarks.halfload import FRACTIONS, HalfLoad, describe_lacking, summarize_rounds
from benchmarks.measuring import arrivals
from benchmarks.model import Machine, Paced, Result
from benchmarks.peers import PEERS
from benchmarks.peers._callers import Caller, pace_in_greenlets, pace_in_threads
from benchmarks.plotdata import (
    BarPanel,
    Panel,
    colour_of,
    nines,
    plot_curve,
    plot_half_load,
    plot_works,
    spread_labels,
)
from benchmarks.points import CURVES, LARGE, POINTS, SIZES, find_curve
from benchmarks.works import WORKS, build_payload, find_work

Pace = Callable[[Sequence[Caller], Sequence[float]], list[float]]

MACHINE = Machine(2, 8.0, "3.12.1", "Linux", 0.5, {"gevent": "26.9"})


def point(name: str, **samples: tuple[float, ...]) -> list[Result]:
    return [Result(name, peer, values) for peer, values in samples.items()]


# -- points --------------------------------------------------------------------------------------------------


def test_points_are_found_by_name_as_works_are_and_no_name_is_there_twice() -> None:
    names = [work.name for work in (*WORKS, *POINTS)]

    assert len(set(names)) == len(names)
    assert all(find_work(name).name == name for name in names)


def test_curves_have_peers_that_there_are_and_short_runs_points_that_there_are() -> None:
    for curve in CURVES:
        assert set(curve.peers) <= set(PEERS)
        assert len(curve.chosen(short=True)) == len(curve.few)
        assert curve.chosen(short=False) == list(curve.points)


def test_sizes_go_from_64_bytes_to_64_mib_and_large_ones_make_few_calls() -> None:
    assert (SIZES[0], SIZES[-1]) == (64, 64 * 2**20)
    works = [find_work(f"bytes-{size}") for size in SIZES]
    assert {work.least_calls for work in works if int(work.payload[6:]) > LARGE} == {1}
    assert len(build_payload("bytes-1024")) == 1024


# -- paced calls ---------------------------------------------------------------------------------------------


def test_arrivals_are_the_same_for_all_peers_in_a_round_and_as_many_as_the_rate_says() -> None:
    starts = list(arrivals(10_000.0, 1.0, 3))

    assert starts == list(arrivals(10_000.0, 1.0, 3))
    assert starts != list(arrivals(10_000.0, 1.0, 4))
    assert all(one < other for one, other in pairwise(starts))
    assert 9_500 < len(starts) < 10_500
    assert len(list(arrivals(1.0, 1e-9, 1))) == 1


@pytest.mark.parametrize("pace", [pace_in_greenlets, pace_in_threads])
def test_each_start_is_one_call_and_a_late_one_is_timed_from_when_it_was_meant(pace: Pace) -> None:
    calls: list[int] = []

    # All were to begin long ago, as if one slow call had held them up.
    took = pace([calls.append] * 3, [-5.0, -4.0, -3.0, -2.0])

    assert calls == [1] * 4
    assert [int(seconds) for seconds in sorted(took, reverse=True)] == [5, 4, 3, 2]


@pytest.mark.parametrize("pace", [pace_in_greenlets, pace_in_threads])
def test_call_that_fails_ends_the_round_with_its_error(pace: Pace) -> None:
    def fail(_calls: int) -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        pace([fail], [0.0])


def test_percentiles_are_those_of_each_round_and_the_distribution_is_that_of_all() -> None:
    found = summarize_rounds("gpyro", 100.0, [{1.0: 99, 9.0: 1}, {3.0: 100}], [90.0, 95.0])

    assert found.percentiles["p50"] == (1.0, 3.0)
    assert found.percentiles["p99.9"] == (1.0, 3.0)
    assert found.done == (90.0, 95.0)
    assert found.distribution[0] == (0.5, 3.0)
    assert [fraction for fraction, _ in found.distribution] == list(FRACTIONS)


def test_peer_is_not_paced_beyond_what_it_does_at_most() -> None:
    assert describe_lacking(Result("half-load", "rpyc", (1000.0,)), 500.0) == ""
    assert describe_lacking(Result("half-load", "rpyc", (1000.0,)), 4000.0) == "does 1,000 calls a second at most"
    assert describe_lacking(Result("half-load", "rpyc", failed="not installed"), 1.0) == "not installed"


# -- tables --------------------------------------------------------------------------------------------------


def test_table_of_a_curve_has_the_peers_beside_each_other_and_says_who_was_not_measured() -> None:
    broken = Result("callers-30", "rpyc", failed="ended with code 1")
    points = {
        1: [*point("callers-1", gpyro=(200.0,), raw=(100.0,)), Result("callers-1", "rpyc", (50.0,))],
        30: [*point("callers-30", gpyro=(900.0,), raw=(300.0,)), broken],
    }

    text = render_curve(find_curve("callers"), points)

    lines = [line.split() for line in text.splitlines()]
    assert ["1", "200", "100", "50.0"] in lines
    assert ["30", "900", "300", "-"] in lines
    assert ["1", "2.00", "2.00", "..", "2.00", "4.00", "4.00", "..", "4.00", "rpyc"] in lines
    assert "rpyc at 30: ended with code 1" in text


def test_table_of_half_load_says_when_no_peer_sets_a_common_load() -> None:
    paced = summarize_rounds("gpyro", 100.0, [{5.0: 10}], [99.0])

    text = render_half_load(find_curve("latency"), HalfLoad(point("half-load", gpyro=(200.0,)), [paced], [], ""))

    assert "no peer in this run" in text
    lines = [line.split()[:8] for line in text.splitlines()]
    assert ["gpyro", "200", "100", "99.0", "5.00", "5.00", "5.00", "5.00"] in lines


# -- plots ---------------------------------------------------------------------------------------------------


def test_sizes_are_drawn_as_times_and_as_ratios_to_raw() -> None:
    points = {64: point("bytes-64", gpyro=(30.0, 60.0), raw=(20.0, 40.0)), 4096: point("bytes-4096", raw=(50.0,))}

    plot = plot_curve(find_curve("sizes"), points, MACHINE)

    times, ratios = plot.panels
    assert isinstance(times, Panel) and isinstance(ratios, Panel)
    assert times.ticks == {64.0: "64 B", 4096.0: "4 KiB"}
    assert [(line.peer, line.xs, line.ys) for line in ratios.lines] == [
        ("gpyro", (64,), (1.5,)), ("raw", (64, 4096), (1.0, 1.0)),
    ]  # fmt: skip
    assert "Python 3.12.1" in plot.footer


def test_peer_without_points_has_no_line() -> None:
    paced = [summarize_rounds("gpyro", 1000.0, [{5.0: 10}], [99.0]), Paced("rpyc", 1.0, reason="not installed")]

    (panel,) = plot_half_load(find_curve("latency"), HalfLoad([], paced, [], ""), MACHINE).panels

    assert isinstance(panel, Panel)
    assert [line.peer for line in panel.lines] == ["gpyro, 1,000/s"]


def test_nines_stand_equally_far_from_each_other() -> None:
    assert [round(nines(fraction)) for fraction in (0.9, 0.99, 0.999)] == [10, 100, 1000]


def test_bars_are_ratios_with_the_best_first_on_a_scale_that_shows_them_all() -> None:
    small, greenlets, fanout = (find_work(name) for name in ("small", "greenlets", "fanout"))

    plot = plot_works(
        [
            (small, point("small", gpyro=(30.0,), raw=(20.0,), zerorpc=(600.0,))),
            (greenlets, point("greenlets", gpyro=(100.0,), rpyc=(50.0,))),
            (fanout, point("fanout", gpyro=(9.0,))),
        ],
        MACHINE,
    )

    bars = [panel for panel in plot.panels if isinstance(panel, BarPanel)]
    assert [[(peer, at.median) for peer, at in panel.bars] for panel in bars] == [
        [("raw", 1.0), ("gpyro", 1.5), ("zerorpc", 30.0)], [("gpyro", 1.0), ("rpyc", 0.5)],
    ]  # fmt: skip
    assert [panel.x_log for panel in bars] == [True, False]
    assert ["shorter" in panel.x_label for panel in bars] == [True, False]


def test_peers_of_a_curve_have_colours_of_their_own() -> None:
    for curve in CURVES:
        assert len({colour_of(peer) for peer in curve.peers}) == len(curve.peers)
    assert colour_of("import Pyro5.api + first call") == colour_of("pyro5-marshal")


def test_labels_are_moved_apart_and_keep_their_order() -> None:
    assert spread_labels([0.1, 0.9], 0.05) == [0.1, 0.9]
    moved = spread_labels([0.52, 0.5, 0.51, 0.9], 0.1)

    assert moved == pytest.approx([0.61, 0.41, 0.51, 0.9])
    assert spread_labels([], 0.1) == []
