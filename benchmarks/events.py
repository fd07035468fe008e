"""`python -m benchmarks.events`: an event server, its figures beside their goals."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from benchmarks.goals import DELIVERIES_A_SECOND
from benchmarks.machine import describe_machine
from benchmarks.processes import WorkerProcess
from benchmarks.progress import clear, show
from benchmarks.reliability.eventing import tell_latency
from benchmarks.reliability.report import Report, render
from benchmarks.reliability.stage import RECOVERY_SECONDS, Stage, ask, begin
from benchmarks.stats import median
from benchmarks.table import render_machine
from gpyro._events.distributor import Distributor
from gpyro._events.mailbox import DROP_NEW, Mailbox
from gpyro._events.subjects import SubjectIndex
from gpyro.storage.eventmemory import EventMemory

#: Subscribers, and the links to the server that they share.
SUBSCRIBERS, LINKS = 1000, 10
#: Goals, beside DELIVERIES_A_SECOND.
LATENCY_MS, GROWTH = 20.0, 2.0
#: What takes longer hangs.
PATIENCE_SECONDS = 120.0
#: Share of the events that are published before the measurement, so that all is warm.
LEAD_IN = 10
#: Processes of the subscribers whose latency is measured, publishers at a time, rounds of which the best counts.
PARTS, CALLERS, ROUNDS = 5, 50, 5
KIB = 1024


class Size(NamedTuple):
    """How much is measured."""

    events: int
    seconds: float
    subscribers: int
    counts: tuple[int, ...]
    publishes: int


FULL = Size(1500, 10.0, SUBSCRIBERS, (100, 1000, 10_000), 2000)
SHORT = Size(20, 0.5, 50, (20, 200), 50)


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
        clear()
        print(render(report), end="\n\n", flush=True)
        missed += report.missed()
    print(render_machine(machine).strip())
    print(f"{missed} figures missed")
    return int(missed > 0)


# -- fan-out -------------------------------------------------------------------------------------------------


class Fan(NamedTuple):
    """What a case of the fan-out came to: counts of all its rounds, and deliveries in a second for each."""

    links: int
    subscribers: int
    connections: int
    wanted: int
    got: int
    wrong: int
    told: int
    rates: tuple[float, ...]
    server_us: float
    subscribers_us: float
    publisher_us: float


class Case(NamedTuple):
    """What is published: the subject, with the subscriber's number where each has its own, and bytes beside it."""

    name: str
    subject: str
    filler: int


ONE_SUBJECT = Case("one subject", "Bench.all", 0)
SUBJECT_EACH = Case("a subject each, published in one call", "Bench.{number}", 0)
ONE_KIB = Case("one subject, 1 KiB", "Bench.all", KIB)


def run_fan_out(size: Size, processes: int) -> Report:
    """One publisher, and many subscribers who all get everything."""
    report = Report("fan-out", f"{size.subscribers:,} subscribers on {LINKS} links, {size.events:,} events")
    for case in (ONE_SUBJECT, SUBJECT_EACH, ONE_KIB):
        tell_fan(report, case.name, size, measure_fan(case, size.subscribers, size.events, processes))
    return report


def measure_fan(case: Case, count: int, events: int, processes: int, rounds: int = 1) -> Fan:
    """Publish so many events in each round to so many subscribers, in as many processes."""
    each, threads = count // LINKS, LINKS // processes
    published: Any = case.subject
    if "{number}" in case.subject:
        published = [case.subject.format(number=number) for number in range(count)]
    with Stage("event server") as stage:
        subscribers = [
            stage.actor(
                "subscribers", kind="counting", threads=threads, each=each, start=number * threads * each,
                subject=case.subject,
            )
            for number in range(processes)
        ]  # fmt: skip
        publisher = stage.actor("publishers")
        wait_for_links(stage, LINKS)
        publish(publisher, subscribers, max(events // LEAD_IN, 1), published, case.filler)
        bursts = [
            measure_burst(stage, publisher, subscribers, events, published, case.filler) for _ in range(rounds)
        ]
        state = stage.status()
        found = [ask(one, "figures") for one in subscribers]
    wanted = events * count
    server, used, cpu = (sum(burst[name] for burst in bursts) for name in ("server", "subscribers", "publisher"))
    return Fan(
        state["links"], state["subscribers"], state["connections"], wanted * rounds,
        got=sum(burst["got"] for burst in bursts),
        # These two are never reset, so that they are of the lead-in as well.
        wrong=sum(one["wrong"] for one in found), told=sum(sum(one["told"]) for one in found),
        rates=tuple(wanted / burst["seconds"] for burst in bursts),
        server_us=1e6 * server / wanted / rounds, subscribers_us=1e6 * used / wanted / rounds,
        publisher_us=1e6 * cpu / wanted / rounds,
    )  # fmt: skip


def measure_burst(
    stage: Stage, publisher: WorkerProcess, subscribers: list[WorkerProcess], events: int, published: Any,
    filler: int,
) -> dict[str, Any]:  # fmt: skip
    """One round: deliveries, seconds from the first to the last, and the seconds of CPU that each side took."""
    cpus = [ask(one, "reset")["cpu"] for one in subscribers]
    before = stage.status()
    burst = publish(publisher, subscribers, events, published, filler)
    after = stage.status()
    found = [ask(one, "figures") for one in subscribers]
    return {
        "got": sum(sum(one["got"]) for one in found),
        "seconds": max(one["last"] for one in found) - min(one["first"] for one in found),
        "server": after["cpu"] - before["cpu"],
        "subscribers": sum(one["cpu"] for one in found) - sum(cpus),
        "publisher": burst["cpu"],
    }


def tell_fan(report: Report, name: str, size: Size, fan: Fan) -> None:
    wanted = f"{LINKS}, {size.subscribers}"
    report.exactly(f"{name}: links, subscribers", f"{fan.links}, {fan.subscribers}", wanted)
    report.exactly("  connections, the publisher's among them", fan.connections, LINKS + 1)
    report.exactly("  deliveries", fan.got, fan.wanted)
    report.exactly("  out of order", fan.wrong, 0)
    report.exactly("  told to be lost", fan.told, 0)
    report.at_least("  deliveries in a second", float(int(median(fan.rates))), DELIVERIES_A_SECOND)
    report.tell("  CPU for each: server", f"{fan.server_us:.2f} us")
    report.tell("  subscribers", f"{fan.subscribers_us:.2f} us")
    report.tell("  publisher", f"{fan.publisher_us:.2f} us")


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


# -- the cost of one event among many subscribers ------------------------------------------------------------


def run_growth(size: Size, processes: int) -> Report:
    """One event for one of many subscribers: what it costs, and how many boxes and patterns are touched."""
    counts = ", ".join(f"{count:,}" for count in size.counts)
    report = Report("growth", f"one event for one of {counts} subscribers")
    growth(report, "a subject each", size, "Kind-{:05}", "", lambda at, number: f"Kind-{at:05}")
    # Each subject comes once, so nothing is remembered of it.
    growth(report, "a pattern each", size, "", r"Kind-{:05}\.", lambda at, number: f"Kind-{at:05}.item-{number}")
    return report


def growth(
    report: Report, name: str, size: Size, subject: str, pattern: str, subject_of: Callable[[int, int], str]
) -> None:
    costs = []
    for count in size.counts:
        distributor, boxes = distributor_with(count, subject, pattern)
        numbers = iter(range(1_000_000))
        rounds = []
        for _ in range(ROUNDS):
            subjects = [subject_of(number * 7919 % count, number) for number in take(numbers, size.publishes)]
            begun = time.perf_counter()
            for text in subjects:
                distributor.publish([text], b"\0", "publisher")
            rounds.append((time.perf_counter() - begun) / len(subjects))
        costs.append(min(rounds))
        with counting(Mailbox, "put") as puts, counting(SubjectIndex, "_ask") as asks:
            some = take(numbers, size.publishes)
            for number in some:
                distributor.publish([subject_of(number * 7919 % count, number)], b"\0", "publisher")
        report.exactly(f"{name}, {count:,} subscribers: boxes touched for each", len(puts) / len(some), 1)
        report.exactly("  patterns asked for each", len(asks) / len(some), int(bool(pattern)))
        report.tell("  time of each", f"{1e6 * costs[-1]:.1f} us")
        assert sum(box.count + box.dropped for box in boxes) == size.publishes * (ROUNDS + 1)
    report.at_most(f"{name}: time with the most, of that with the fewest", costs[-1] / costs[0], GROWTH, " times")


def distributor_with(count: int, subject: str, pattern: str) -> tuple[Distributor, list[Mailbox]]:
    """Return a distributor with so many subscribers, each with a subject or pattern of its own."""
    distributor = Distributor(EventMemory(), 5.0, 2**24)
    boxes = [
        Mailbox(number, "box", None, limit=1000, limit_bytes=2**24, policy=DROP_NEW, block_seconds=5.0)
        for number in range(count)
    ]
    for number, box in enumerate(boxes):
        if subject:
            distributor.index.add_subject(subject.format(number), box)
        else:
            distributor.index.add_pattern(pattern.format(number), box)
    return distributor, boxes


def take(numbers: Iterator[int], count: int) -> list[int]:
    return [next(numbers) for _ in range(count)]


@contextmanager
def counting(kind: type, name: str) -> Iterator[list[None]]:
    """Count the calls of a method; what it yields has an item for each."""
    calls: list[None] = []
    method = getattr(kind, name)

    def counted(*arguments: Any) -> Any:
        calls.append(None)
        return method(*arguments)

    setattr(kind, name, counted)
    try:
        yield calls
    finally:
        setattr(kind, name, method)


# -- publish calls -------------------------------------------------------------------------------------------


def run_rate(size: Size, processes: int) -> Report:
    """How many calls of `publish` in a second."""
    report = Report("rate", "publish calls in a second, one publisher's process")
    rates(report, "history in memory", size, "", queue=False)
    rates(report, "history on disk", size, "events.sqlite", queue=False)
    rates(report, "a reliable queue on disk, one subscriber", size, "events.sqlite", queue=True)
    return report


def rates(report: Report, name: str, size: Size, file: str, queue: bool) -> None:
    stage = Stage("event server")
    with tempfile.TemporaryDirectory() as folder:
        if file:
            stage.options = {"path": os.path.join(folder, file)}
        with stage:
            measure_rates(report, name, size, stage, queue)


def measure_rates(report: Report, name: str, size: Size, stage: Stage, queue: bool) -> None:
    kept_in = "memory" if stage.status()["storage"] == "memory" else "a file"
    report.exactly(f"{name}: kept in", kept_in, "a file" if stage.options else "memory")
    if queue:
        options = {"queue": "bench"}
        stage.actor("subscribers", kind="counting", threads=1, each=1, subject="Bench.rate", options=options)
    publisher = stage.actor("publishers")
    for greenlets in (1, CALLERS):
        ask(publisher, "rate", greenlets=greenlets, seconds=size.seconds / LEAD_IN)
        cpu = stage.status()["cpu"]
        found = ask(publisher, "rate", greenlets=greenlets, seconds=size.seconds)
        cpu = stage.status()["cpu"] - cpu
        report.tell(f"{name}: {greenlets} at a time", f"{found['rate']:,.0f}/s")
        report.tell("  server's CPU for each", f"{1e6 * cpu / found['rate'] / size.seconds:.0f} us")


# -- latency -------------------------------------------------------------------------------------------------


def run_latency(size: Size, processes: int) -> Report:
    """From the call of `publish` to the call of `event`."""
    count, rate = size.subscribers // LINKS, 1000.0
    report = Report("latency", f"publish to event(), {rate:,.0f} events a second to {count} subscribers")
    with Stage("event server") as stage:
        subscribers = [
            stage.actor("subscribers", kind="timing", threads=1, each=count // PARTS, subject="Bench.all")
            for _ in range(PARTS)
        ]
        publisher = stage.actor("publishers")
        wait_for_links(stage, PARTS)
        ask(publisher, "pace", rate=rate, seconds=size.seconds / LEAD_IN, subject="Bench.all")
        for one in subscribers:
            ask(one, "wait", count=int(rate * size.seconds / LEAD_IN), seconds=PATIENCE_SECONDS)
            ask(one, "reset")
        paced = ask(publisher, "pace", rate=rate, seconds=size.seconds, subject="Bench.all")
        for one in subscribers:
            ask(one, "wait", count=paced["published"], seconds=PATIENCE_SECONDS)
        found = [ask(one, "times") for one in subscribers]
        figures = [ask(one, "figures") for one in subscribers]
    wanted = paced["published"] * (count // PARTS) * PARTS
    report.exactly("deliveries", sum(sum(one["got"]) for one in figures), wanted)
    report.exactly("out of order", sum(one["wrong"] for one in figures), 0)
    report.tell("events a second", paced["published"] / paced["seconds"])
    tell_latency(report, "", found, LATENCY_MS)
    report.tell("the publisher fell behind by, at most", f"{1e3 * paced['behind']:.1f} ms")
    return report


RUNS: dict[str, Callable[[Size, int], Report]] = {
    "fan-out": run_fan_out,
    "growth": run_growth,
    "rate": run_rate,
    "latency": run_latency,
}


if __name__ == "__main__":
    sys.exit(main())
