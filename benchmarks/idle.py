"""Many idle connections: what each costs the server, and what an active caller feels.

The server, the process that holds the connections and the active caller are
three processes, because each end of 15,000 connections needs descriptors.
"""

from __future__ import annotations

import resource
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from benchmarks.model import Result, Work
from benchmarks.processes import read_resident_kib
from benchmarks.rounds import START_SECONDS, Contestant, Progress

# Beyond HOLD_SECONDS in measuring, so that a slow holder still reports how far it came.
HOLD_TIMEOUT_SECONDS = 130.0
# A share of the descriptor limit stays free for the libraries themselves.
DESCRIPTOR_SHARE = 0.78
WARM_SECONDS = 0.3
# Each round opens all connections anew, which takes up to minutes; the goals are about these, and these are quick.
REPEATED = frozenset({"raw", "gpyro"})


def run_idle(
    work: Work, peers: Sequence[str], rounds: int, short: bool, progress: Progress
) -> tuple[list[Result], dict[str, str]]:
    """Interleaved rounds with new processes in each; one round for those that are not REPEATED."""
    work = replace(work, count=min(work.count, descriptor_bound()))
    parts: dict[str, list[Result]] = {name: [] for name in peers}
    versions: dict[str, str] = {}
    for number in range(min(rounds, work.most_rounds)):
        for name, done in parts.items():
            if number and (name not in REPEATED or not done[-1].samples):
                continue
            progress(f"{work.name}: round {number + 1}, {name}")
            contestant = Contestant(name, work, short)
            done.append(run_one(contestant))
            versions.update(contestant.versions)
    return [join_rounds(done) for done in parts.values()], versions


def join_rounds(parts: Sequence[Result]) -> Result:
    """One result of the rounds of a peer; a round that failed ends its part."""
    last = parts[-1]
    if not last.samples:
        return last
    return replace(
        last,
        samples=tuple(sample for part in parts for sample in part.samples),
        figures={name: [part.figures[name][0] for part in parts] for name in last.figures},
    )


def descriptor_bound() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return int(hard * DESCRIPTOR_SHARE)


def run_one(contestant: Contestant) -> Result:
    figures: dict[str, float] = {}
    samples: list[float] = []
    with ExitStack() as stack:
        contestant.start_server(stack)
        contestant.start_client(stack)
        if contestant.in_race:
            with contestant.failure_ends_part():
                figures = measure_one(contestant, stack)
                samples.append(figures.pop("kib"))
    columns = {name: [value] for name, value in figures.items()}
    return replace(contestant.build_result(), samples=tuple(samples), figures=columns)


def measure_one(contestant: Contestant, stack: ExitStack) -> dict[str, float]:
    """Memory before and after, then latencies while all connections are held."""
    work, server, active = contestant.work, contestant.server, contestant.client
    holder = stack.enter_context(contestant.new_client(contestant.address))
    holder.read(START_SECONDS)
    active.request({"do": "latencies", "seconds": WARM_SECONDS}, START_SECONDS)
    before = read_resident_kib(server.pid)
    held = holder.request({"do": "hold", "count": work.count}, HOLD_TIMEOUT_SECONDS)
    after = read_resident_kib(server.pid)
    latencies = active.request({"do": "latencies", "seconds": work.round_seconds}, START_SECONDS)
    opened = held["calls"]
    kib_each = (after - before) / opened
    return {"kib": kib_each, "held": opened, "opened/s": opened / held["seconds"], **latencies}
