"""Events: a server, subscribers and publishers, each as a process of its own (see `role`).

A message is a list: a number that tells the events of a publisher and subject apart, or the time at which it was
published, and what else it is to weigh. Times are `time.monotonic`'s, which all processes of a machine share.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable
from typing import Any

import gevent

import gpyro
from benchmarks.reliability.lanes import Lane
from benchmarks.reliability.report import Report
from benchmarks.reliability.server import resident_kib
from benchmarks.stats import percentile_of_counts
from gpyro.errors import EventError, EventQueueFullError, PyroError
from gpyro.eventserver import EVENTSERVER_NAME, Event, EventService, Publisher, Subscriber
from gpyro.storage.eventsqlite import EventSqlite

__all__ = ["EventServer", "Publishers", "Subscribers", "tell_latency"]

#: What takes longer hangs.
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.02
#: Numbers of a lane of R20's go by this, as its publishers go round so many subjects.
GROUPS = 10
#: A publisher whose server is away waits so long before it goes on with the next event.
RETRY_SECONDS = 0.05
#: Of the histogram of latencies.
STEPS_A_MS = 10


class EventServer:
    """An event server with a daemon of its own.

    Args:
        settings: other than as shipped.
        port: 0 for one that the system chooses.
        path: of the file in which it keeps its events; in memory without it.
    """

    def __init__(self, settings: dict[str, Any], port: int = 0, path: str = "") -> None:
        logging.disable(logging.CRITICAL)
        config = gpyro.config.snapshot(**settings)
        bounds = {"max_events": config.es_history, "max_bytes": config.es_history_bytes}
        storage = EventSqlite(path, **bounds) if path else None
        self._service = EventService(storage, config)
        self._daemon = gpyro.Daemon("PYRO", host="127.0.0.1", port=port, norange=True, config=config)
        self._daemon.connect(self._service, EVENTSERVER_NAME)
        # Its name at its place, and not its number, which is another one after a new start.
        self.uris = [f"PYROLOC://127.0.0.1:{self._daemon.port}/{EVENTSERVER_NAME}"]
        gevent.spawn(self._daemon.requestLoop)

    def status(self) -> dict[str, Any]:
        """Return what it tells of itself, and of its process."""
        return {
            **self._service.status(),
            "connections": len(self._daemon._service._connections),
            "resident_kib": resident_kib(),
            "cpu": time.process_time(),
        }

    def subscribers(self) -> dict[str, Any]:
        """Return what is known of each subscriber."""
        return {"subscribers": self._service.subscribers()}

    def queues(self) -> dict[str, Any]:
        """Return what is known of each reliable queue."""
        return {"queues": self._service.queues()}


# -- subscribers ---------------------------------------------------------------------------------------------


class _Base(Subscriber):
    """Counts what it gets, and is told to be lost."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.got = self.told = self.unknown = 0
        self.first = self.last = 0.0
        self.ended: str | None = None

    def events_lost(self, count: int | None) -> None:
        self.told += count or 0
        self.unknown += count is None

    def note(self) -> None:
        self.last = time.monotonic()
        if not self.got:
            self.first = self.last
        self.got += 1

    def reset(self) -> None:
        self.got = 0


class Counting(_Base):
    """Sees that the numbers of the one publisher come one after the other."""

    next = 0
    wrong = 0

    def event(self, event: Event) -> None:
        number = event.msg[0]
        if number != self.next:
            self.wrong += 1
        self.next = number + 1
        self.note()


class Timing(_Base):
    """Keeps how long each event was under way, and sees that their sequences rise."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.times = array("d")
        self.wrong = 0
        self._sequence = 0

    def event(self, event: Event) -> None:
        self.times.append(time.monotonic() - event.msg[0])
        if event.sequence <= self._sequence:
            self.wrong += 1
        self._sequence = event.sequence
        self.got += 1

    def reset(self) -> None:
        self.got = 0
        del self.times[:]


class Checking(_Base):
    """Keeps account of each publisher and subject; takes a nap now and then, so that its queue fills."""

    #: After how many events, and for how long.
    nap_every, nap_seconds = 0, 0.0

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.lanes: dict[tuple[int, str], Lane] = {}

    def event(self, event: Event) -> None:
        publisher, number = event.msg
        lane = self.lanes.get((publisher, event.subject))
        if lane is None:
            lane = self.lanes[publisher, event.subject] = Lane(number % GROUPS, GROUPS)
        lane.note(number)
        self.note()
        if self.nap_every and self.got % self.nap_every == 0:
            gevent.sleep(self.nap_seconds)


class Working(_Base):
    """Writes down what it got before it is acknowledged, so that it is known when its process is killed."""

    descriptor = -1

    def event(self, event: Event) -> None:
        publisher, number = event.msg
        os.write(self.descriptor, f"{publisher} {number}\n".encode())
        self.note()


KINDS: dict[str, type[_Base]] = {
    "counting": Counting, "timing": Timing, "checking": Checking, "working": Working,
}  # fmt: skip


class Subscribers:
    """Subscribers in threads, of which each has one link to the server.

    Args:
        uris: of the event server.
        kind: one of KINDS.
        threads: how many. each: subscribers of one of them.
        start: number of the first one; `{number}` and `{group}` in the texts stand for a subscriber's.
        subject, pattern: what they subscribe to.
        options: as for `Subscriber`.
        serial: handle one after another.
        nap_every, nap_seconds: see `Checking`. path: see `Working`.
    """

    def __init__(
        self, uris: list[str], kind: str, threads: int, each: int, start: int = 0, subject: str = "",
        pattern: str = "", options: dict[str, Any] | None = None, serial: bool = False, nap_every: int = 0,
        nap_seconds: float = 0.0, path: str = "",
    ) -> None:  # fmt: skip
        logging.disable(logging.CRITICAL)
        self._uri = uris[0]
        self._make = KINDS[kind]
        self._subject, self._pattern = subject, pattern
        self._options, self._serial = options or {}, serial
        Checking.nap_every, Checking.nap_seconds = nap_every, nap_seconds
        if path:
            Working.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.all: list[Any] = []
        self._listening: list[Any] = []
        self._failed: list[Exception] = []
        self._threads = [
            threading.Thread(target=self._run, args=(start + each * number, each), daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()
        _wait(lambda: bool(self._failed) or len(self._listening) == threads * each, "all listen")
        if self._failed:
            raise self._failed[0]

    def _run(self, start: int, each: int) -> None:
        try:
            some = [self._subscribe(number) for number in range(start, start + each)]
        except Exception as exc:
            self._failed.append(exc)
            return
        self.all += some
        jobs = [gevent.spawn(self._listen, one) for one in some]
        gevent.joinall(jobs)

    def _subscribe(self, number: int) -> Any:
        one = self._make(esURI=self._uri, **self._options)
        names = {"number": number, "group": number % GROUPS}
        if self._serial:
            one.setThreading(0)
        if self._subject:
            one.subscribe(self._subject.format(**names))
        if self._pattern:
            one.subscribeMatch(self._pattern.format(**names))
        return one

    def _listen(self, one: Any) -> None:
        self._listening.append(one)
        try:
            one.listen()
        except EventQueueFullError as exc:
            one.ended = str(exc)

    def wait(self, count: int, seconds: float) -> dict[str, Any]:
        """Wait until each has got, or has been told to be lost, so many in all, or has ended."""
        until = time.monotonic() + seconds
        while not all(one.got + one.told >= count or one.ended for one in self.all):
            if time.monotonic() > until:
                break
            gevent.sleep(LOOK_SECONDS)
        return {"got": sum(one.got for one in self.all), "least": min(one.got for one in self.all)}

    def reset(self) -> dict[str, Any]:
        """Begin to count and to keep times anew."""
        for one in self.all:
            one.reset()
        return {"cpu": time.process_time()}

    def figures(self) -> dict[str, Any]:
        """Return what they counted."""
        return {
            "got": [one.got for one in self.all],
            "told": [one.told for one in self.all],
            "unknown": sum(one.unknown for one in self.all),
            "wrong": sum(getattr(one, "wrong", 0) for one in self.all),
            "ended": [one.ended for one in self.all if one.ended],
            "first": min(one.first for one in self.all),
            "last": max(one.last for one in self.all),
            "cpu": time.process_time(),
        }

    def times(self) -> dict[str, Any]:
        """Return how long events were under way, in ms: as many in each step of a histogram, and the most."""
        steps: Counter[int] = Counter()
        most = 0.0
        for one in self.all:
            steps.update([int(seconds * 1e3 * STEPS_A_MS) for seconds in one.times])
            most = max([most, *one.times])
        return {"steps": sorted(steps.items()), "max": most * 1e3}

    def account(self, publishers: int, each: int) -> dict[str, Any]:
        """Return what is wrong, where every publisher has published `each` events, one subject after another."""
        lanes = [lane for one in self.all for lane in one.lanes.values()]
        wanted = 0
        for one in self.all:
            kinds = {subject for _, subject in one.lanes}
            wanted += publishers * len(kinds) - len(one.lanes)
        return {
            "got": sum(lane.got for lane in lanes),
            "lost": sum(lane.lost(each) for lane in lanes) + wanted * (each // GROUPS),
            "doubled": sum(lane.doubled for lane in lanes),
            "late": sum(lane.late for lane in lanes),
            "told": sum(one.told for one in self.all),
        }

    def stop(self) -> dict[str, Any]:
        """End them."""
        for one in self.all:
            one.abort()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        return {}


# -- publishers ----------------------------------------------------------------------------------------------


class Publishers:
    """Publishers of one process, which share its connection."""

    def __init__(self, uris: list[str]) -> None:
        logging.disable(logging.CRITICAL)
        self._uri = uris[0]
        self._number = 0
        self._publisher = Publisher(esURI=self._uri)

    def burst(self, count: int, subjects: Any, size: int = 0) -> dict[str, Any]:
        """Publish so many messages, one call after another."""
        filler = "x" * size
        begun, cpu = time.monotonic(), time.process_time()
        for number in range(self._number, self._number + count):
            self._publisher.publish(subjects, [number, filler])
        self._number += count
        return {"seconds": time.monotonic() - begun, "begun": begun, "cpu": time.process_time() - cpu}

    def rate(self, greenlets: int, seconds: float) -> dict[str, Any]:
        """Publish with so many at a time; returns how often in a second."""
        done = [0] * greenlets
        until = time.monotonic() + seconds

        def work(at: int) -> None:
            publisher = Publisher(esURI=self._uri)
            publisher.ES = self._publisher.ES
            while time.monotonic() < until:
                publisher.publish("Bench.rate", [done[at], ""])
                done[at] += 1

        begun = time.monotonic()
        gevent.joinall([gevent.spawn(work, at) for at in range(greenlets)], raise_error=True)
        return {"rate": sum(done) / (time.monotonic() - begun)}

    def pace(self, rate: float, seconds: float, subject: str) -> dict[str, Any]:
        """Publish so many a second, whatever becomes of those before; a message is the time of its call.

        Returns:
            How many; those that failed because a queue stayed full; the longest call; how far it fell behind.
        """
        publish = self._publisher.publish
        jobs: set[Any] = set()
        found = {"published": 0, "full": 0, "longest": 0.0, "behind": 0.0}

        def call() -> None:
            begun = time.monotonic()
            try:
                publish(subject, [begun])
            except EventQueueFullError:
                found["full"] += 1
            found["longest"] = max(found["longest"], time.monotonic() - begun)

        count, begun = int(rate * seconds), time.monotonic()
        while found["published"] < count:
            due = begun + found["published"] / rate
            now = time.monotonic()
            if due > now:
                gevent.sleep(due - now)
            else:
                found["behind"] = max(found["behind"], now - due)
            job = gevent.spawn(call)
            jobs.add(job)
            job.link(jobs.discard)
            found["published"] += 1
        gevent.joinall(list(jobs), raise_error=True, timeout=PATIENCE_SECONDS)
        return {**found, "seconds": time.monotonic() - begun}

    def run(self, first: int, publishers: int, each: int, subject: str) -> dict[str, Any]:
        """Let each of these publish `each` events, with a number of its own, in GROUPS subjects in turn."""

        def work(own: int) -> None:
            publisher = Publisher(esURI=self._uri)
            publisher.ES = self._publisher.ES
            for number in range(each):
                publisher.publish(subject.format(group=number % GROUPS), [own, number])

        begun = time.monotonic()
        numbers = range(first, first + publishers)
        gevent.joinall([gevent.spawn(work, own) for own in numbers], raise_error=True)
        return {"seconds": time.monotonic() - begun}

    def keep_on(self, first: int, publishers: int, seconds: float, subject: str, path: str) -> dict[str, Any]:
        """As `run` until the time is over, also while the server is away; writes down what was accepted."""
        found: Counter[str] = Counter()
        until = time.monotonic() + seconds

        def work(own: int) -> None:
            publisher = Publisher(esURI=self._uri)
            publisher.ES = self._publisher.ES
            number = 0
            while time.monotonic() < until:
                try:
                    publisher.publish(subject.format(group=number % GROUPS), [own, number])
                except EventError:
                    found["refused"] += 1
                except PyroError:
                    found["failed"] += 1
                    gevent.sleep(RETRY_SECONDS)
                else:
                    found["accepted"] += 1
                    accepted.append(f"{own} {number}\n")
                number += 1

        accepted: list[str] = []
        gevent.joinall([gevent.spawn(work, first + at) for at in range(publishers)], raise_error=True)
        with open(path, "a") as file:
            file.writelines(accepted)
        return {"accepted": found["accepted"], "failed": found["failed"], "refused": found["refused"]}


def tell_latency(report: Report, name: str, found: list[dict[str, Any]], p99: float) -> None:
    """Add what `Subscribers.times` of several processes have found."""
    steps = [(float(step), count) for one in found for step, count in one["steps"]]
    report.at_most(f"{name}p99", percentile_of_counts(steps, 0.99) / STEPS_A_MS, p99, " ms")
    median = percentile_of_counts(steps, 0.5) / STEPS_A_MS
    report.tell(f"{name}p50, max", f"{median:.1f}, {max(one['max'] for one in found):.1f} ms")


def _wait(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until, f"not so within {PATIENCE_SECONDS:g} s: {what}"
        gevent.sleep(LOOK_SECONDS)
