"""R19: some subscribers are frozen, and the others must not notice; one run for each policy."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.reliability.eventing import tell_latency
from benchmarks.reliability.report import Report
from benchmarks.reliability.stage import Stage, ask, begin

__all__ = ["FROZEN", "POLICIES", "Found", "Size", "freeze", "run_frozen"]

#: Subscribers, processes of those that are not frozen, and how many are frozen in a process of their own.
SUBSCRIBERS, PARTS, FROZEN = 100, 4, 4
RATE = 1000.0
#: Seconds of one run, by size; it begins with CALM_SECONDS, and after the thaw there are as many.
RUN_SECONDS = {False: 10.0, True: 60.0}
CALM_SECONDS = 1.0
#: What waits for one subscriber is full within less than a second, and a publisher waits this long then.
QUEUE, BLOCK_SECONDS = 500, 1.0
P99_MS, GROWN_MIB = 20.0, 20.0
PATIENCE_SECONDS, LOOK_SECONDS = 60.0, 0.1
POLICIES = ("block", "drop_new", "drop_old", "disconnect")


class Found(NamedTuple):
    """What became of one run: the publisher's figures, those of both kinds of subscribers, the server's."""

    paced: dict[str, Any]
    others: list[dict[str, Any]]
    times: list[dict[str, Any]]
    frozen: dict[str, Any]
    described: list[dict[str, Any]]
    before: dict[str, Any]
    after: dict[str, Any]


class Size(NamedTuple):
    """Of one run.

    `others` subscribers in each of `parts` processes and FROZEN ones in another; `rate` events a second for
    `seconds`, of which the first and the last `calm` are without frost; `queue` and `block_seconds` are the frozen
    ones' options.
    """

    parts: int
    others: int
    rate: float
    seconds: float
    calm: float
    queue: int
    block_seconds: float


def run_frozen(full: bool) -> Report:
    """Freeze subscribers of each policy."""
    report = Report("R19", f"{FROZEN} of {SUBSCRIBERS} subscribers are frozen, {RATE:,.0f} events a second")
    others = (SUBSCRIBERS - FROZEN) // PARTS
    size = Size(PARTS, others, RATE, RUN_SECONDS[full], CALM_SECONDS, QUEUE, BLOCK_SECONDS)
    for policy in POLICIES:
        _tell(report, policy, freeze(policy, size))
    return report


def freeze(policy: str, size: Size) -> Found:
    """Publish, with some subscribers of this policy frozen but for the beginning and the end."""
    with Stage("event server") as stage:
        others = [
            stage.actor("subscribers", kind="timing", threads=1, each=size.others, subject="Bench.all")
            for _ in range(size.parts)
        ]
        options = {"policy": policy, "queuesize": size.queue, "block_seconds": size.block_seconds}
        frozen = stage.actor(
            "subscribers", kind="timing", threads=1, each=FROZEN, subject="Bench.all", options=options
        )
        publisher = stage.actor("publishers")
        before = stage.status()
        paced = begin(publisher, "pace", rate=size.rate, seconds=size.seconds, subject="Bench.all")
        _wait_for(lambda: stage.status()["events"] >= size.rate * size.calm)
        os.kill(frozen.pid, signal.SIGSTOP)
        try:
            _wait_for(lambda: stage.status()["events"] >= size.rate * (size.seconds - size.calm))
            if policy == "block":
                _wait_for(lambda: all(one["state"] == "stalled" for one in _described(stage, size.queue)))
            after = stage.status()
        finally:
            os.kill(frozen.pid, signal.SIGCONT)
        published = paced()
        for one in (*others, frozen):
            ask(one, "wait", count=published["published"], seconds=PATIENCE_SECONDS)
        return Found(
            published, [ask(one, "figures") for one in others], [ask(one, "times") for one in others],
            ask(frozen, "figures"), _described(stage, size.queue), before, after,
        )  # fmt: skip


def _wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until, f"not so within {PATIENCE_SECONDS:g} s"
        time.sleep(LOOK_SECONDS)


def _described(stage: Stage, queue: int) -> list[dict[str, Any]]:
    """Return what the server knows of the frozen ones, whose bound nobody else has."""
    found: list[dict[str, Any]] = ask(stage.server, "subscribers")["subscribers"]
    return [one for one in found if one["limit"] == queue]


def _tell(report: Report, policy: str, found: Found) -> None:
    published, each = found.paced["published"], [count for one in found.others for count in one["got"]]
    report.exactly(f"{policy}: others: events not got", sum(published - count for count in each), 0)
    report.exactly("  out of order", sum(one["wrong"] for one in (*found.others, found.frozen)), 0)
    tell_latency(report, "  others: ", found.times, P99_MS)
    if policy == "disconnect":
        report.exactly("  frozen ones that were told that it is over", len(found.frozen["ended"]), FROZEN)
    else:
        told, dropped = found.frozen["told"], [one["dropped"] for one in found.described]
        sums = [got + lost for got, lost in zip(found.frozen["got"], told, strict=True)]
        report.exactly("  frozen ones: got, and told to be lost, together", sums, [published] * FROZEN)
        report.exactly("  dropped at the server", sorted(dropped), sorted(told))
        report.tell("  of which each lost", sum(told) / FROZEN)
    if policy == "block":
        most = 1e3 * BLOCK_SECONDS + 500
        report.tell("  publishes that failed after waiting", found.paced["full"])
        report.at_most("  longest that one waited", 1e3 * found.paced["longest"], most, " ms")
    else:
        report.exactly("  publishes that failed", found.paced["full"], 0)
        report.tell("  longest publish", f"{1e3 * found.paced['longest']:.1f} ms")
    report.tell("  the publisher fell behind by, at most", f"{1e3 * found.paced['behind']:.1f} ms")
    grown = (found.after["resident_kib"] - found.before["resident_kib"]) / 1024
    report.at_most("  server's memory grew by", grown, GROWN_MIB, " MiB")
