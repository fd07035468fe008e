"""The scaling curves, and their points, each of which is a work."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.model import Kind, Unit, Work

#: Callers, and connections.
WIDTHS = (1, 3, 10, 30, 100, 300, 1000)
#: Bytes, from 64 to 64 MiB.
SIZES = tuple(64 * 4**step for step in range(11))
#: Callers that are there to begin a call when its time comes.
WAITING = 100
#: Values from here on make few calls in a round.
LARGE = 1_048_576


@dataclass(frozen=True)
class Curve:
    """One plot.

    Attributes:
        peers: those that did well in such works, and are measured where no others are asked for.
        points: places on the axis, each with its work.
        few: places of a short run.
    """

    name: str
    title: str
    axis: str
    unit: str
    peers: tuple[str, ...]
    points: tuple[tuple[int, Work], ...]
    few: tuple[int, ...]

    def chosen(self, short: bool) -> list[tuple[int, Work]]:
        """The points to measure."""
        return [(place, work) for place, work in self.points if not short or place in self.few]


def callers_work(width: int) -> Work:
    return Work(
        f"callers-{width}", f"small calls, callers at once on one proxy: {width:,}", Kind.TOGETHER,
        Unit.CALLS_PER_SECOND, "text", "gpyro", calls=200_000, width=width, like="greenlets",
    )  # fmt: skip


def connections_work(width: int) -> Work:
    return Work(
        f"connections-{width}", f"small calls, connections with one caller each: {width:,}", Kind.APART,
        Unit.CALLS_PER_SECOND, "text", "gpyro", calls=200_000, width=width, like="connections",
    )  # fmt: skip


def size_work(size: int) -> Work:
    return Work(
        f"bytes-{size}", f"bytes, echoed one call after another: {size:,}", Kind.IN_TURN, Unit.MICROSECONDS,
        f"bytes-{size}", "raw", calls=20_000, least_calls=1 if size > LARGE else 10, like="sizes",
    )  # fmt: skip


HALF_LOAD = Work(
    "half-load", "small calls at half of the most that a peer does", Kind.TOGETHER, Unit.CALLS_PER_SECOND, "text",
    "gpyro", calls=200_000, width=WAITING, round_seconds=1.0, like="greenlets",
)  # fmt: skip

BEST = ("gpyro", "raw", "pyro5-marshal", "pycapnp", "multiprocessing", "grpcio-aio", "zerorpc", "rpyc")
BEST_WITH_BYTES = ("gpyro", "raw", "pyro5-msgpack", "pycapnp", "multiprocessing", "grpcio-aio", "zerorpc", "rpyc")

CURVES: tuple[Curve, ...] = (
    Curve(
        "callers", "Small calls in a second, by the number of callers on one proxy", "callers at once",
        "calls in a second", BEST, tuple((width, callers_work(width)) for width in WIDTHS), (1, 30),
    ),
    Curve(
        "connections", "Small calls in a second, by the number of connections", "connections, one caller each",
        "calls in a second", BEST, tuple((width, connections_work(width)) for width in WIDTHS), (1, 30),
    ),
    Curve(
        "latency", "Latency of small calls at half load, from the moment at which each was to begin", "percentile",
        "microseconds", BEST, ((WAITING, HALF_LOAD),), (WAITING,),
    ),
    Curve(
        "sizes", "Bytes sent and returned, by their number", "bytes", "microseconds for each echo",
        BEST_WITH_BYTES, tuple((size, size_work(size)) for size in SIZES), (SIZES[0], SIZES[9]),
    ),
)  # fmt: skip

POINTS: tuple[Work, ...] = tuple(work for curve in CURVES for _, work in curve.points)


def find_curve(name: str) -> Curve:
    """The curve called `name`."""
    for curve in CURVES:
        if curve.name == name:
            return curve
    raise ValueError(f"no curve is called {name!r}; there are {', '.join(curve.name for curve in CURVES)}")
