"""`python -m benchmarks`: gpyro beside its peers, one table for each work, and one of all goals."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.goals import Verdict, judge_work
from benchmarks.idle import run_idle
from benchmarks.machine import describe_machine
from benchmarks.model import Kind, Machine, Result, Work
from benchmarks.peers import PEERS
from benchmarks.plotdata import plot_works
from benchmarks.plotting import check_file, check_matplotlib, draw
from benchmarks.progress import clear, show
from benchmarks.rounds import run_rounds
from benchmarks.services import run_fan_out, run_naming
from benchmarks.startup import run_startup
from benchmarks.table import render_goals, render_machine, render_work
from benchmarks.works import WORKS, find_work

DEFAULT_ROUNDS = 7
# A failure of these is the harness's or gpyro's own, and shows in the exit status.
OWN_SUBJECTS = frozenset({"raw", "gpyro", "import gpyro", "import gpyro + first call", "gpyro --help"})


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    if arguments.list:
        print(render_list())
        return 0
    machine = describe_machine({})
    results: list[Result] = []
    verdicts: list[Verdict] = []
    for work in arguments.only:
        done, versions = run_work(work, arguments)
        machine = replace(machine, versions={**machine.versions, **versions})
        results += done
        verdicts += judge_work(work.name, done)
        clear()
        print(render_work(work, done, with_goals=not arguments.short), end="\n\n", flush=True)
    if verdicts:
        print(render_goals(verdicts, judged=not arguments.short), end="\n\n")
    print(render_machine(machine))
    if arguments.json:
        write_json(arguments.json, machine, results, verdicts)
    if arguments.plot:
        pairs = [(work, [one for one in results if one.work == work.name]) for work in arguments.only]
        draw(plot_works(pairs, machine), arguments.plot)
    return int(any(result.failed and result.peer in OWN_SUBJECTS for result in results))


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="WORK,...", help="these works; all without it")
    parser.add_argument("--peers", metavar="PEER,...", help="these peers; all without it")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"rounds of each work, else {DEFAULT_ROUNDS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there as well")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios there, as .svg or .png")
    parser.add_argument("--short", action="store_true", help="a few seconds, to see that everything runs")
    parser.add_argument("--list", action="store_true", help="tell the works and the peers")
    arguments = parser.parse_args(argv)
    try:
        arguments.only = choose_works(arguments.only, arguments.short)
        arguments.peers = choose_peers(arguments.peers)
        if arguments.plot:
            check_file(arguments.plot)
            check_matplotlib()
    except ValueError as exc:
        parser.error(str(exc))
    arguments.rounds = max(1, arguments.rounds or (1 if arguments.short else DEFAULT_ROUNDS))
    return arguments


def choose_works(names: str | None, short: bool) -> list[Work]:
    chosen = names.split(",") if names else [work.name for work in WORKS]
    return [find_work(name, short) for name in chosen]


def choose_peers(names: str | None) -> list[str]:
    chosen = names.split(",") if names else list(PEERS)
    for name in chosen:
        if name not in PEERS:
            raise ValueError(f"no peer is called {name!r}; there are {', '.join(PEERS)}")
    return chosen


def run_work(work: Work, arguments: argparse.Namespace) -> tuple[list[Result], dict[str, str]]:
    if work.kind is Kind.IDLE:
        return run_idle(work, arguments.peers, arguments.rounds, arguments.short, show)
    if work.kind in (Kind.STARTUP, Kind.COMMAND):
        return run_startup(work, arguments.peers, arguments.rounds, show), {}
    if work.kind is Kind.FANOUT:
        return run_fan_out(work, arguments.peers, arguments.rounds, arguments.short, show), {}
    if work.kind is Kind.NAMING:
        return run_naming(work, arguments.peers, arguments.rounds, show), {}
    return run_rounds(work, arguments.peers, arguments.rounds, arguments.short, show)


def render_list() -> str:
    works = [f"  {work.name:12} {work.title}" for work in WORKS]
    return "\n".join(["works:", *works, "peers:", *(f"  {name}" for name in PEERS)])


def write_json(path: Path, machine: Machine, results: Sequence[Result], verdicts: Sequence[Verdict]) -> None:
    content = {
        "machine": asdict(machine),
        "results": [asdict(result) for result in results],
        "goals": [asdict(verdict) for verdict in verdicts],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        clear()
        sys.exit("interrupted; all processes that were started have been ended")
