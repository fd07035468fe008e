"""`python -m benchmarks.events`: an event server, its figures beside their goals."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gevent

from benchmarks.machine import describe_machine
from benchmarks.processes import WorkerProcess
from benchmarks.reliability.report import Report, render
from benchmarks.reliability.runs import show
from benchmarks.reliability.stage import RECOVERY_SECONDS, Stage, ask, begin
from benchmarks.table import render_machine

#: Subscribers, and the links to the server that they share.
SUBSCRIBERS, LINKS = 1000, 10
#: Goals.
DELIVERIES_A_SECOND, LATENCY_MS, GROWTH = 100_000, 20.0, 2.0
#: What takes longer hangs.
PATIENCE_SECONDS = 120.0
#: Share of the events that are published before the measurement, so that all is warm.
LEAD_IN = 10
KIB = 1024


class Size(NamedTuple):
    """How much is measured."""

    events: int
    seconds: float
    subscribers: int
    counts: tuple[int, ...]
    publishes: int


FULL = Size(1500, 5.0, SUBSCRIBERS, (100, 1000, 10_000), 2000)
SHORT = Size(20, 0.3, 50, (20, 200), 50)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.events", description=__doc__)
    parser.add_argument("--only", metavar="NAME,...", default=",".join(RUNS), help=f"of {', '.join(RUNS)}")
    parser.add_argument("--short", action="store_true", help="small, in seconds: shows that it runs")
    parser.add_argument("--processes", type=int, default=LINKS, help="of the subscribers, 1, 2, 5 or 10")
    arguments = parser.parse_args(argv)
    names = arguments.only.split(",")
    for name in names:
        if name not in RUNS:
            parser.error(f"no measurement is called {name!r}; there are {', '.join(RUNS)}")
    if LINKS % arguments.processes:
        parser.error(f"{LINKS} links cannot be shared out to {arguments.processes} processes")
    machine = describe_machine({})
    missed = 0
    for name in names:
        show(f"{name} ...")
        report = RUNS[name](SHORT if arguments.short else FULL, arguments.processes)
        show("")
        print(render(report), end="\n\n", flush=True)
        missed += report.missed()
    print(render_machine(machine).strip())
    print(f"{missed} figures missed")
    return int(missed > 0)


# -- fan-out -------------------------------------------------------------------------------------------------


def run_fan_out(size: Size, processes: int) -> Report:
    """One publisher, and many subscribers who all get everything."""
    report = Report("fan-out", f"{size.subscribers:,} subscribers on {LINKS} links, {size.events:,} events")
    names = [f"Bench.{number}" for number in range(size.subscribers)]
    fan_out(report, "one subject", size, processes, "Bench.all", "Bench.all", 0)
    fan_out(report, "a subject each, published in one call", size, processes, "Bench.{number}", names, 0)
    fan_out(report, "one subject, 1 KiB", size, processes, "Bench.all", "Bench.all", KIB)
    return report


def fan_out(
    report: Report, name: str, size: Size, processes: int, subject: str, published: Any, filler: int
) -> None:
    each, threads = size.subscribers // LINKS, LINKS // processes
    with Stage("event server") as stage:
        subscribers = [
            stage.actor(
                "subscribers", kind="counting", threads=threads, each=each, start=number * threads * each,
                subject=subject,
            )
            for number in range(processes)
        ]  # fmt: skip
        publisher = stage.actor("publishers")
        wait_for_links(stage, LINKS)
        publish(publisher, subscribers, max(size.events // LEAD_IN, 1), published, filler)
        cpus = [ask(one, "reset")["cpu"] for one in subscribers]
        before = stage.status()
        burst = publish(publisher, subscribers, size.events, published, filler)
        after = stage.status()
        found = [ask(one, "figures") for one in subscribers]
    wanted = size.events * size.subscribers
    seconds = max(one["last"] for one in found) - min(one["first"] for one in found)
    used = sum(one["cpu"] for one in found) - sum(cpus)
    report.exactly(f"{name}: links, subscribers", f"{after['links']}, {after['subscribers']}",
                   f"{LINKS}, {size.subscribers}")
    report.exactly("  connections, the publisher's among them", after["connections"], LINKS + 1)
    report.exactly("  deliveries", sum(sum(one["got"]) for one in found), wanted)
    report.exactly("  out of order", sum(one["wrong"] for one in found), 0)
    report.exactly("  told to be lost", sum(sum(one["told"]) for one in found), 0)
    report.at_least("  deliveries in a second", float(int(wanted / seconds)), DELIVERIES_A_SECOND)
    report.tell("  CPU for each: server", f"{1e6 * (after['cpu'] - before['cpu']) / wanted:.2f} us")
    report.tell("  subscribers", f"{1e6 * used / wanted:.2f} us")
    report.tell("  publisher", f"{1e6 * burst['cpu'] / wanted:.2f} us")


def wait_for_links(stage: Stage, count: int) -> None:
    """Wait until so many links fetch."""
    until = time.monotonic() + RECOVERY_SECONDS
    while stage.status()["links"] < count and time.monotonic() < until:
        time.sleep(0.05)


def publish(
    publisher: WorkerProcess, subscribers: list[WorkerProcess], count: int, subjects: Any, filler: int
) -> dict[str, Any]:
    """Publish, and wait until everybody has it."""
    found = ask(publisher, "burst", count=count, subjects=subjects, size=filler)
    for wait in [begin(one, "wait", count=count, seconds=PATIENCE_SECONDS) for one in subscribers]:
        wait()
    return found


RUNS: dict[str, Callable[[Size, int], Report]] = {
    "fan-out": run_fan_out,
}


if __name__ == "__main__":
    sys.exit(main())
