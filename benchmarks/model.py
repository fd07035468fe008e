"""Works, results and the machine they were measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    """How a work is measured."""

    IN_TURN = "one call after another"
    TOGETHER = "many callers at once"
    APART = "many callers at once, a connection for each"
    NAPS = "sleeping calls, all at once"
    CONNECT = "connect and first call"
    CONNECT_TOGETHER = "connect and first call, many callers at once"
    IDLE = "idle connections"
    FANOUT = "events to many subscribers"
    NAMING = "a name server with many names"
    STARTUP = "programs, from their first statement"
    COMMAND = "whole processes"


class Unit(Enum):
    """What a sample counts; the value is the table's heading."""

    MICROSECONDS = "us/call"
    CALLS_PER_SECOND = "calls/s"
    SECONDS = "s"
    MILLISECONDS = "ms"
    KIBIBYTES = "KiB/conn"
    DELIVERIES_PER_SECOND = "deliveries/s"
    NAMES_PER_SECOND = "names/s"


@dataclass(frozen=True)
class Work:
    """One row of the benchmark: a job that every peer does.

    Attributes:
        calls: in one round at most; each peer makes as many as it can in
            `round_seconds`, because rounds of different lengths meet a
            different state of the scheduler.
        width: callers at once.
        count: connections to hold (IDLE), subscribers (FANOUT), names (NAMING).
        nap_seconds: how long each call sleeps (NAPS only).
        least_calls: in one round at least.
        like: the work whose notes and refusals of the peers are this one's, too.
    """

    name: str
    title: str
    kind: Kind
    unit: Unit
    payload: str
    baseline: str
    calls: int
    width: int = 1
    count: int = 0
    nap_seconds: float = 0.0
    round_seconds: float = 0.6
    most_rounds: int = 1000
    least_calls: int = 10
    like: str = ""

    @property
    def family(self) -> str:
        """The name under which a peer tells how it does this."""
        return self.like or self.name


@dataclass(frozen=True)
class Timed:
    """What a client measured in one round."""

    seconds: float
    calls: int


@dataclass(frozen=True)
class Result:
    """What one peer did at one work.

    Attributes:
        samples: one for each round, in the work's unit.
        kept: whether the payload came back as it was sent.
        note: how this peer does the work, where that is not obvious.
        refused: why it was not measured.
        failed: what went wrong when it was.
        figures: further columns, for works that have them; one value for each round.
    """

    work: str
    peer: str
    samples: tuple[float, ...] = ()
    kept: str = ""
    note: str = ""
    refused: str = ""
    failed: str = ""
    figures: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Paced:
    """What one peer did at one load: calls that begin at times of their own, whether others have ended or not.

    Attributes:
        rate: calls in a second that were to begin.
        done: calls in a second until the last one ended, one for each round.
        percentiles: for a name such as "p99", microseconds in each round.
        distribution: of all rounds together, pairs of a fraction and microseconds.
        reason: why it was not measured.
    """

    peer: str
    rate: float
    done: tuple[float, ...] = ()
    percentiles: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    distribution: tuple[tuple[float, float], ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Machine:
    """Where and with what the run was made."""

    cores: int
    memory_gib: float
    python: str
    system: str
    load: float
    versions: Mapping[str, str]


def in_unit(timed: Timed, unit: Unit) -> float:
    """Convert what a client measured into the unit of its work."""
    if unit is Unit.MICROSECONDS:
        return timed.seconds / timed.calls * 1e6
    if unit is Unit.MILLISECONDS:
        return timed.seconds / timed.calls * 1e3
    if unit is Unit.CALLS_PER_SECOND:
        return timed.calls / timed.seconds
    return timed.seconds
