"""`python -m benchmarks.growth`: what both processes hold after many calls through one proxy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.processes import WorkerFailed
from benchmarks.progress import clear, show
from benchmarks.reliability.report import Report, render
from benchmarks.reliability.stage import Stage, ask
from benchmarks.table import render_machine

CALLS, SHORT_CALLS = 1_000_000, 20_000
GREENLETS = 100
#: Parts of the calls after which both are looked at. By the first one, pools are full and caches are warm.
PARTS = (0.1, 0.5, 1.0)
GROWTH_MIB = 1.0
#: What the moment of a count decides: whether a worker greenlet waits for the next call, about 20 objects with its
#: frames, and the frames that Python makes of functions only while somebody looks. Looks differ by 0 to 50, and
#: not by more after more calls; one object lost in every 5,000th call would be 180 more in a full run.
NOISE_OBJECTS = 100
MIB = 1024

Look = dict[str, dict[str, Any]]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--calls", type=int, help=f"how many; else {CALLS:,}")
    parser.add_argument("--short", action="store_true", help=f"{SHORT_CALLS:,} calls, to see that it runs")
    arguments = parser.parse_args(argv)
    calls = arguments.calls or (SHORT_CALLS if arguments.short else CALLS)
    machine = describe_machine({})
    try:
        report = measure(calls)
    except WorkerFailed as exc:
        raise SystemExit(str(exc)) from exc
    clear()
    print(render(report), end="\n\n")
    print(render_machine(machine).strip())
    print(f"{report.missed()} figures missed")
    return int(report.missed() > 0)


def measure(calls: int) -> Report:
    """Make the calls, and return the figures."""
    report = Report("growth", f"{calls:,} small calls through one proxy, {GREENLETS} greenlets")
    looks: list[Look] = []
    made = 0
    with Stage() as stage:
        client = stage.actor("many")
        begun = perf_counter()
        for part in PARTS:
            show(f"growth: to {part:.0%}")
            ask(client, "call", count=round(part * calls) - made, greenlets=GREENLETS)
            made = round(part * calls)
            looks.append({"server": stage.status(), "client": ask(client, "status")})
        report.tell("calls a second, with the looks", float(int(calls / (perf_counter() - begun))))
    report.exactly("calls that were served", looks[-1]["server"]["executed"], calls)
    for side in ("server", "client"):
        tell_side(report, side, [look[side] for look in looks])
    return report


def tell_side(report: Report, side: str, looks: Sequence[dict[str, Any]]) -> None:
    """Add what one process held, and how much more that was at the end than at the first look."""
    for part, look in zip(PARTS, looks, strict=True):
        counts = f"{look['objects']:,} objects, {look['descriptors']} descriptors"
        report.tell(f"{side} after {part:.0%}", f"{look['resident_kib'] / MIB:.2f} MiB, {counts}")
    first, last = looks[0], looks[-1]
    grown = (last["resident_kib"] - first["resident_kib"]) / MIB
    report.at_most("  resident memory grew by", grown, GROWTH_MIB, " MiB")
    report.at_most("  more objects", last["objects"] - first["objects"], NOISE_OBJECTS)
    report.at_most("  more descriptors", last["descriptors"] - first["descriptors"], 0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        clear()
        sys.exit("interrupted; all processes that were started have been ended")
