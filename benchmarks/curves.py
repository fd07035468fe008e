"""`python -m benchmarks.curves`: how gpyro and the best peers scale, one table and one plot for each curve."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from benchmarks.__main__ import choose_peers
from benchmarks.curvetables import render_curve, render_half_load
from benchmarks.halfload import HalfLoad, run_half_load
from benchmarks.machine import describe_machine
from benchmarks.model import Machine, Result
from benchmarks.plotdata import plot_curve, plot_half_load
from benchmarks.plotting import check_matplotlib, draw
from benchmarks.points import CURVES, HALF_LOAD, Curve, find_curve
from benchmarks.progress import clear, show
from benchmarks.rounds import run_rounds
from benchmarks.table import render_machine
from benchmarks.works import find_work

DEFAULT_ROUNDS = 5
#: A failure of these is the harness's or gpyro's own, and shows in the exit status.
OWN = frozenset({"raw", "gpyro"})


@dataclass
class Done:
    """What one curve came to: its points, or the latencies."""

    curve: Curve
    points: dict[int, list[Result]] = field(default_factory=dict)
    latency: HalfLoad | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def render(self) -> str:
        if self.latency:
            return render_half_load(self.curve, self.latency)
        return render_curve(self.curve, self.points)

    def failed(self) -> bool:
        """Whether gpyro or raw did."""
        results = [result for results in self.points.values() for result in results]
        results += self.latency.peaks if self.latency else []
        paced = [*self.latency.own, *self.latency.common] if self.latency else []
        # That the best peer's half is more than all of raw's is no failure.
        return any(result.peer in OWN and result.failed for result in results) or any(
            one.peer in OWN and one.reason and " at most" not in one.reason for one in paced
        )


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    machine = describe_machine({})
    finished = []
    for curve in arguments.only:
        done = run_curve(curve, arguments.peers or curve.peers, arguments.rounds, arguments.short)
        machine = replace(machine, versions={**machine.versions, **done.versions})
        clear()
        print(done.render(), end="\n\n", flush=True)
        finished.append(done)
    print(render_machine(machine))
    if arguments.json:
        write_json(arguments.json, machine, finished)
    if arguments.plot:
        write_plots(arguments.plot, machine, finished)
    return int(any(done.failed() for done in finished))


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    names = ", ".join(curve.name for curve in CURVES)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves", description=__doc__)
    parser.add_argument("--only", metavar="CURVE,...", help=f"of {names}; all without it")
    parser.add_argument("--peers", metavar="PEER,...", help="these; else those that do well, for each curve")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"of each point, else {DEFAULT_ROUNDS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there as well")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="write an SVG and a PNG of each curve there")
    parser.add_argument("--short", action="store_true", help="a few points and seconds, to see that it runs")
    arguments = parser.parse_args(argv)
    try:
        arguments.only = [find_curve(name) for name in arguments.only.split(",")] if arguments.only else CURVES
        arguments.peers = choose_peers(arguments.peers) if arguments.peers else None
        if arguments.plot:
            check_matplotlib()
    except ValueError as exc:
        parser.error(str(exc))
    arguments.rounds = max(1, arguments.rounds or (1 if arguments.short else DEFAULT_ROUNDS))
    return arguments


def run_curve(curve: Curve, peers: Sequence[str], rounds: int, short: bool) -> Done:
    """One point after another, each with processes of its own; the rounds of a point are interleaved."""
    done = Done(curve)
    for place, point in curve.chosen(short):
        work = find_work(point.name, short)
        if point is HALF_LOAD:
            done.latency, versions = run_half_load(work, peers, rounds, short, show)
        else:
            done.points[place], versions = run_rounds(work, peers, rounds, short, show)
        done.versions.update(versions)
    return done


def write_json(path: Path, machine: Machine, finished: Sequence[Done]) -> None:
    curves = {
        done.curve.name: {
            "points": {place: [asdict(result) for result in results] for place, results in done.points.items()},
            "latency": asdict(done.latency) if done.latency else None,
        }
        for done in finished
    }
    path.write_text(json.dumps({"machine": asdict(machine), "curves": curves}, indent=1) + "\n")


def write_plots(folder: Path, machine: Machine, finished: Sequence[Done]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for done in finished:
        about = replace(machine, versions=done.versions)
        if done.latency:
            plot = plot_half_load(done.curve, done.latency, about)
        else:
            plot = plot_curve(done.curve, done.points, about)
        for suffix in (".svg", ".png"):
            draw(plot, folder / f"{done.curve.name}{suffix}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        clear()
        sys.exit("interrupted; all processes that were started have been ended")
