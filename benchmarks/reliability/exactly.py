"""R20: each event comes once and in order; from reliable queues at least once, whoever is killed meanwhile."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.processes import WorkerProcess
from benchmarks.reliability.report import Report
from benchmarks.reliability.stage import Stage, ask, begin

__all__ = ["Kept", "kill", "publish_all", "run_exactly"]

PUBLISHERS, PARTS = 50, 2
#: Subscribers with one subject of ten each, and those with all.
SINGLE, ALL = 90, 10
EVENTS = {False: 100_000, True: 1_000_000}
#: So few that publishers wait for them now and then, as some of them nap.
QUEUE = 100
OPTIONS = {"policy": "block", "queuesize": QUEUE}
#: Publishers wait as long as it takes.
BLOCK_SECONDS = 60.0
NAP_EVERY, NAP_SECONDS = 500, 0.05
#: Of the run with reliable queues: seconds of load, and between two kills.
LOAD_SECONDS = {False: 30.0, True: 300.0}
PAUSE_SECONDS, AWAY_SECONDS = 2.0, 0.5
#: Processes of workers, and workers in each.
WORKERS, EACH = 4, 5
REDELIVER_SECONDS = 2.0
PATIENCE_SECONDS = 120.0


def run_exactly(full: bool) -> Report:
    """Count what comes of all events, and what of those in a reliable queue."""
    count = EVENTS[full]
    report = Report("R20", f"{count:,} events of {PUBLISHERS} publishers; then reliable queues, and kills")
    found = publish_all(count, SINGLE, ALL)
    subscribed = count // 10 * SINGLE + count * ALL
    report.exactly("deliveries", found["got"], subscribed)
    for name, text in (("lost", "lost"), ("doubled", "doubled"), ("late", "out of order"), ("told", "told lost")):
        report.exactly(text, found[name], 0)
    report.tell("events published in a second", count / found["seconds"])
    with tempfile.TemporaryDirectory() as folder:
        kept = kill(Path(folder), LOAD_SECONDS[full], PAUSE_SECONDS, PUBLISHERS, WORKERS)
    report.tell("reliable: the server was killed, times", kept.servers)
    report.tell("reliable: a process of workers was killed, times", kept.workers)
    report.tell("reliable: accepted", kept.accepted)
    report.exactly("reliable: of these never handled", kept.missing, 0)
    report.exactly("reliable: left in the queue", kept.left, 0)
    report.tell("reliable: publishes that failed", kept.failed)
    report.tell("reliable: of these handled all the same", kept.unaccepted)
    report.tell("reliable: handled more than once", kept.doubled)
    return report


# -- each once and in order ----------------------------------------------------------------------------------


def publish_all(count: int, single: int, everything: int) -> dict[str, Any]:
    """Publish so many events, to subscribers of one subject in ten each, and of all; returns what is wrong."""
    each = count // PUBLISHERS
    with Stage("event server", es_block_seconds=BLOCK_SECONDS) as stage:
        kinds = {"kind": "checking", "options": OPTIONS, "nap_every": NAP_EVERY, "nap_seconds": NAP_SECONDS}
        subscribers = [
            stage.actor("subscribers", threads=3, each=single // 3, subject="Bench.{group}", serial=True, **kinds),
            stage.actor("subscribers", threads=1, each=everything, pattern=r"Bench\.", **kinds),
        ]
        publishers = [stage.actor("publishers") for _ in range(PARTS)]
        share = PUBLISHERS // PARTS
        begun = time.monotonic()
        waits = [
            begin(one, "run", first=number * share, publishers=share, each=each, subject="Bench.{group}")
            for number, one in enumerate(publishers)
        ]
        for wait in waits:
            wait()
        seconds = time.monotonic() - begun
        ask(subscribers[0], "wait", count=count // 10, seconds=PATIENCE_SECONDS)
        ask(subscribers[1], "wait", count=count, seconds=PATIENCE_SECONDS)
        total: Counter[str] = Counter()
        for one in subscribers:
            total.update(ask(one, "account", publishers=PUBLISHERS, each=each))
    return {**total, "seconds": seconds}


# -- at least once, whoever is killed ------------------------------------------------------------------------


class Kept(NamedTuple):
    """What became of the events of a reliable queue."""

    servers: int
    workers: int
    accepted: int
    failed: int
    missing: int
    unaccepted: int
    doubled: int
    left: int


class _Load:
    """Publishers and workers at a server with a file; each process of workers writes down what it handles."""

    def __init__(self, stage: Stage, folder: Path, workers: int) -> None:
        self._stage = stage
        self._folder = folder
        self._files = 0
        self.kills = 0
        self.workers = [self._start() for _ in range(workers)]

    def _start(self) -> WorkerProcess:
        self._files += 1
        options = {"queue": "work", "queuesize": 1_000_000, "redeliver_seconds": REDELIVER_SECONDS}
        return self._stage.actor(
            "subscribers", kind="working", threads=1, each=EACH, subject="Work.{group}", options=options,
            pattern=r"Work\.", path=str(self._folder / f"handled-{self._files}"),
        )  # fmt: skip

    def replace_one(self) -> None:
        """Kill a process of workers, and start another one."""
        victim = self.workers.pop(0)
        os.kill(victim.pid, signal.SIGKILL)
        self.kills += 1
        self.workers.append(self._start())

    def handled(self) -> Counter[str]:
        """Return how often each event was handled."""
        return Counter(_lines(self._folder.glob("handled-*")))


def kill(folder: Path, seconds: float, pause: float, publishers: int, workers: int) -> Kept:
    """Publish to a reliable queue for so long.

    Every `pause` seconds a process of workers is killed and another one started, or the server is killed and
    started again, in turn.
    """
    stage = Stage("event server")
    stage.options = {"path": str(folder / "events.sqlite")}
    with stage:
        load = _Load(stage, folder, workers)
        sources = [stage.actor("publishers") for _ in range(PARTS)]
        share = publishers // PARTS
        waits = [
            begin(
                one, "keep_on", first=number * share, publishers=share, seconds=seconds, subject="Work.{group}",
                path=str(folder / f"accepted-{number}"),
            )
            for number, one in enumerate(sources)
        ]  # fmt: skip
        servers, until = 0, time.monotonic() + seconds - AWAY_SECONDS
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            if left < pause:
                break
            if load.kills <= servers:
                load.replace_one()
            else:
                stage.kill()
                servers += 1
                time.sleep(AWAY_SECONDS)
                stage.start_again()
        found = [wait() for wait in waits]
        waiting = _wait_until_empty(stage.server)
        handled = load.handled()
    accepted = set(_lines(folder.glob("accepted-*")))
    return Kept(
        servers, load.kills, len(accepted), sum(one["failed"] for one in found), len(accepted - set(handled)),
        len(set(handled) - accepted), sum(count > 1 for count in handled.values()), waiting,
    )  # fmt: skip


def _lines(files: Iterable[Path]) -> Iterable[str]:
    return (line for file in files for line in file.read_text().splitlines())


def _wait_until_empty(server: WorkerProcess) -> int:
    """Wait until nothing is left in the queue; return how much is."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        left: int = sum(one["waiting"] + one["unacknowledged"] for one in ask(server, "queues")["queues"])
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.2)
