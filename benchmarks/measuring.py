"""The timed loops; they run in the client process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from time import perf_counter
from typing import Any

from benchmarks.model import Kind, Timed, Work
from benchmarks.peer import Client, Peer
from benchmarks.stats import percentile
from benchmarks.works import build_payload, describe_kept

# A holder that cannot reach its count within this time says how many it has.
HOLD_SECONDS = 100.0
# The untimed calls before a round are a round divided by this.
LEAD_IN = 4
# Works whose rounds have as many calls as fit into their time.
FITTED = frozenset({Kind.IN_TURN, Kind.TOGETHER, Kind.APART, Kind.CONNECT, Kind.CONNECT_TOGETHER})
# Shares of a round's time that the warm-up's steps aim at; the last is the round itself.
WARM_SHARES = (0.05, 0.3, 1.0)


class Session:
    """One client process at one work: prepares, then measures rounds."""

    def __init__(self, peer: Peer, address: str, work: Work) -> None:
        self.peer = peer
        self.address = address
        self.work = work
        self.value = build_payload(work.payload)
        self.client = peer.connect(address, work)
        self.calls = work.calls
        self.held: list[Client] = []

    def prepare(self) -> str:
        """Warm up, choose the calls of a round, and tell whether values are kept."""
        kept = describe_kept(self.value, self.client.echo(self.value))
        if self.work.kind in FITTED:
            self.calls = self._fitting_calls()
        elif self.work.kind is Kind.NAPS:
            self.client.nap_together(min(100, self.work.calls), self.work.nap_seconds / 10)
        return kept

    def measure(self) -> Timed:
        """One round, after untimed calls.

        Two processes that start to talk run on one core at first and are
        spread a tenth of a second later, which changes the time of a call by
        half; by the end of the untimed calls they have their places.
        """
        if self.work.kind is not Kind.NAPS:
            self._time(max(self.work.width, self.calls // LEAD_IN, 1))
        return self._time(self.calls)

    def _fitting_calls(self) -> int:
        """As many calls as fit into the round of this work, from the speed of a growing warm-up."""
        fitting = least = max(self.work.width, self.work.least_calls)
        for share in WARM_SHARES:
            timed = self._time(fitting)
            speed = timed.calls / timed.seconds
            fitting = max(least, min(self.work.calls, int(speed * self.work.round_seconds * share)))
        return fitting

    def _time(self, calls: int) -> Timed:
        run = self._loop()
        start = perf_counter()
        run(calls)
        return Timed(perf_counter() - start, calls)

    def _loop(self) -> Callable[[int], None]:
        work, client, value = self.work, self.client, self.value
        loops: dict[Kind, Callable[[int], None]] = {
            Kind.IN_TURN: lambda calls: client.echo_in_turn(value, calls),
            Kind.TOGETHER: lambda calls: client.echo_together(value, calls, work.width),
            Kind.APART: lambda calls: client.echo_apart(value, calls, work.width),
            Kind.NAPS: lambda calls: client.nap_together(calls, work.nap_seconds),
            Kind.CONNECT: self._connect_in_turn,
            Kind.CONNECT_TOGETHER: lambda calls: self.peer.connect_together(self.address, work, value, calls),
        }
        return loops[work.kind]

    def _connect_in_turn(self, calls: int) -> None:
        for _ in range(calls):
            client = self.peer.connect(self.address, self.work)
            client.echo(self.value)
            client.close()

    def hold(self, count: int) -> Timed:
        """Open connections, make one call on each, and keep them."""
        start = perf_counter()
        while len(self.held) < count and perf_counter() - start < HOLD_SECONDS:
            client = self.peer.connect(self.address, self.work)
            client.echo(self.value)
            self.held.append(client)
        return Timed(perf_counter() - start, len(self.held))

    def latencies(self, seconds: float) -> dict[str, float]:
        """Time each of the calls made one after another for some seconds."""
        times: list[float] = []
        end = perf_counter() + seconds
        while (start := perf_counter()) < end:
            self.client.echo(self.value)
            times.append((perf_counter() - start) * 1e6)
        return {"p50 us": percentile(times, 0.5), "p99 us": percentile(times, 0.99), "max us": max(times)}

    def pace(self, rate: float, seconds: float, number: int) -> dict[str, Any]:
        """Calls that begin at random times, the same for every peer in this round, after some that do not count.

        Each is timed from when it was to begin, so that what waits behind a slow one is seen as late as it is.
        """
        self.client.echo_paced(self.value, list(arrivals(rate, seconds / LEAD_IN, -number)), self.work.width)
        starts = list(arrivals(rate, seconds, number))
        begun = perf_counter()
        took = self.client.echo_paced(self.value, starts, self.work.width)
        counts = Counter(float(f"{1e6 * one:.3g}") for one in took)
        return {"seconds": perf_counter() - begun, "calls": len(took), "counts": sorted(counts.items())}


def arrivals(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Times of a Poisson process, and one at least."""
    source = Random(seed)
    now = source.expovariate(rate)
    yield now
    while (now := now + source.expovariate(rate)) < seconds:
        yield now


def answer(session: Session, request: dict[str, Any]) -> dict[str, Any]:
    """Do what one JSON line asks for."""
    if request["do"] == "prepare":
        return {"kept": session.prepare()}
    if request["do"] == "measure":
        timed = session.measure()
    elif request["do"] == "pace":
        return session.pace(request["rate"], request["seconds"], request["number"])
    elif request["do"] == "hold":
        timed = session.hold(request["count"])
    else:
        return session.latencies(request["seconds"])
    return {"seconds": timed.seconds, "calls": timed.calls}
