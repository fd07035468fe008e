"""The works of gpyro's own servers, which no peer has: events, and names.

How they are measured stands in `events` and `naming`, whose commands tell more of each.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.events import LINKS, ONE_KIB, ONE_SUBJECT, SUBJECT_EACH, measure_fan
from benchmarks.model import Result, Work
from benchmarks.naming import BESIDE, REGISTERING, measure
from benchmarks.processes import WorkerFailed
from benchmarks.rounds import Progress

#: A short run is about the harness, and most of its time would be the start of processes.
FEW_PROCESSES = 2
FAN_CASES = {"gpyro": ONE_SUBJECT, "gpyro, a subject each": SUBJECT_EACH, "gpyro, 1 KiB": ONE_KIB}


def run_fan_out(
    work: Work, peers: Sequence[str], rounds: int, short: bool, progress: Progress
) -> list[Result]:
    """A row for each way to publish; the rounds of one share their processes."""
    rounds = min(rounds, work.most_rounds)
    results = []
    for label, case in FAN_CASES.items() if "gpyro" in peers else ():
        progress(f"{work.name}: {case.name}")
        try:
            fan = measure_fan(case, work.count, work.calls, FEW_PROCESSES if short else LINKS, rounds)
        except WorkerFailed as exc:
            results.append(Result(work.name, label, failed=str(exc)))
            continue
        figures: dict[str, list[float]] = {
            "lost": [fan.wanted - fan.got], "disorder": [fan.wrong],
            "server us": [fan.server_us], "subscriber us": [fan.subscribers_us],
        }  # fmt: skip
        results.append(Result(work.name, label, fan.rates, note=case.name, figures=figures))
    return results


def run_naming(work: Work, peers: Sequence[str], rounds: int, progress: Progress) -> list[Result]:
    """A row for each rate; the first one has what is known of the server besides."""
    if "gpyro" not in peers:
        return []
    progress(f"{work.name}: {work.count:,} names")
    try:
        found = measure(work.count, work.round_seconds, min(rounds, work.most_rounds))
    except WorkerFailed as exc:
        return [Result(work.name, "gpyro", failed=str(exc))]
    figures: dict[str, list[float]] = {
        "page ms": [seconds * 1e3 for seconds in found.page_seconds],
        "load ms": [seconds * 1e3 for seconds in found.load_seconds],
        "KiB/name": [found.kib_each],
    }
    rows: list[tuple[str, list[float], str, dict[str, list[float]]]] = [
        ("gpyro", found.alone, "resolved", figures),
        (f"gpyro, {BESIDE} register", found.busy, f"resolved, while {BESIDE} others register", {}),
        (f"gpyro, {BESIDE} of these", found.beside, f"registered by those {BESIDE}, on the disk", {}),
        ("gpyro, register", found.registered, f"registered by {REGISTERING} callers, on the disk", {}),
    ]
    return [Result(work.name, label, tuple(rates), note=note, figures=more) for label, rates, note, more in rows]
