"""Goals of the benchmarks: what a run tells about them, and how the closing table shows it."""

from __future__ import annotations

from benchmarks.goals import GOALS, Goal, judge_work, ratio, ratio_to_best, sum_of, value_of
from benchmarks.model import Result
from benchmarks.table import render_goals, render_verdict
from benchmarks.works import WORKS


def results(**samples: tuple[float, ...]) -> dict[str, Result]:
    return {name: Result("small", name, values) for name, values in samples.items()}


def test_ratio_is_judged_by_its_median_and_carries_its_spread() -> None:
    goal = Goal("small", "gpyro / raw", ratio("gpyro", "raw"), 1.25)

    verdict = goal.judge(results(gpyro=(11.0, 24.0, 36.0), raw=(10.0, 20.0, 30.0)))

    assert verdict.met
    assert render_verdict(verdict) == "reached  gpyro / raw: 1.20 (1.10 .. 1.20), at most 1.25"


def test_goal_that_is_missed_says_so() -> None:
    goal = Goal("greenlets", "calls", value_of("gpyro"), 20_000, at_least=True)

    verdict = goal.judge(results(gpyro=(10_000.0,)))

    assert render_verdict(verdict) == "MISSED   calls: 10,000 (10,000 .. 10,000), at least 20,000"


def test_best_peer_is_named_and_is_neither_raw_nor_the_subject_with_a_login() -> None:
    figure = ratio_to_best("gpyro", higher_is_better=True)
    goal = Goal("greenlets", "gpyro / best peer", figure, 4.0, at_least=True)
    run = results(gpyro=(400.0,), raw=(900.0,), pycapnp=(100.0,), rpyc=(50.0,))

    verdict = goal.judge({**run, "gpyro-key": Result("greenlets", "gpyro-key", (300.0,))})

    assert verdict.text == "gpyro / best peer (pycapnp)"
    assert verdict.met


def test_count_that_has_to_stay_nothing_is_that_of_all_rows_and_rounds() -> None:
    goal = Goal("fanout", "lost", sum_of("lost"), 0.0)
    whole = Result("fanout", "gpyro", (1.0,), figures={"lost": [0, 0]})
    lossy = Result("fanout", "gpyro, 1 KiB", (1.0,), figures={"lost": [0, 2]})

    assert goal.judge({"gpyro": whole}).met
    assert not goal.judge({"gpyro": whole, "gpyro, 1 KiB": lossy}).met


def test_goal_whose_figure_was_not_measured_is_in_the_closing_table_all_the_same() -> None:
    verdicts = judge_work("small", [Result("small", "gpyro", (1.2,)), Result("small", "raw", (1.0,))])

    lines = render_goals(verdicts, judged=True).splitlines()

    assert [line.split()[0] for line in lines if line.startswith("small")] == ["small"] * len(verdicts)
    assert any(line.startswith("small  gpyro / raw") and line.endswith("reached") for line in lines)
    assert any("gpyro-key" in line and line.endswith("not measured") for line in lines)


def test_short_run_shows_figures_and_judges_none() -> None:
    text = render_goals(judge_work("small", list(results(gpyro=(9.0,), raw=(1.0,)).values())), judged=False)

    assert "short run" in text
    assert "MISSED" not in text


def test_every_work_has_a_goal_and_every_goal_a_work() -> None:
    assert {goal.work for goal in GOALS} == {work.name for work in WORKS}
