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


def run_idle(
    work: Work, peers: Sequence[str], short: bool, progress: Progress
) -> tuple[list[Result], dict[str, str]]:
    """One peer after another: the figures are memory and percentiles, not times to compare."""
    work = replace(work, count=min(work.count, descriptor_bound()))
    results, versions = [], {}
    for name in peers:
        progress(f"{work.name}: {name}")
        contestant = Contestant(name, work, short)
        results.append(run_one(contestant))
        versions.update(contestant.versions)
    return results, versions


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
    return replace(contestant.build_result(), samples=tuple(samples), figures=figures)


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
