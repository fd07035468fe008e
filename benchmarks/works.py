"""The rows of the benchmark and the values they send."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.model import Kind, Unit, Work
from benchmarks.points import POINTS

ROWS = 100
MEGABYTE = 1_000_000

WORKS: tuple[Work, ...] = (
    Work("small", "small call, one after another", Kind.IN_TURN, Unit.MICROSECONDS, "text", "raw", 20_000),
    Work("rows", "100 rows of dicts, echoed", Kind.IN_TURN, Unit.MICROSECONDS, "rows", "raw", 20_000),
    Work("tuples", "100 tuples, echoed", Kind.IN_TURN, Unit.MICROSECONDS, "tuples", "raw", 20_000),
    Work("megabyte", "1 MB of bytes, echoed", Kind.IN_TURN, Unit.MICROSECONDS, "megabyte", "raw", 2000),
    Work(
        "greenlets",
        "small calls, 100 callers at once, one proxy",
        Kind.TOGETHER,
        Unit.CALLS_PER_SECOND,
        "text",
        "gpyro",
        calls=200_000,
        width=100,
        round_seconds=1.0,
    ),
    Work(
        "naps",
        "10,000 calls that sleep 1 s each, one connection",
        Kind.NAPS,
        Unit.SECONDS,
        "text",
        "gpyro",
        calls=10_000,
        nap_seconds=1.0,
        most_rounds=3,
    ),
    Work("connect", "connect + first call", Kind.CONNECT, Unit.MICROSECONDS, "text", "raw", 2000),
    Work(
        "logins",
        "connect + first call, 20 callers at once",
        Kind.CONNECT_TOGETHER,
        Unit.CALLS_PER_SECOND,
        "text",
        "gpyro",
        calls=20_000,
        width=20,
        round_seconds=1.0,
    ),
    Work(
        "idle",
        "15,000 idle connections, with one active caller",
        Kind.IDLE,
        Unit.KIBIBYTES,
        "text",
        "raw",
        calls=0,
        count=15_000,
        round_seconds=3.0,
        most_rounds=3,
    ),
    Work(
        "fanout",
        "1 publisher, 1,000 subscribers on 10 connections",
        Kind.FANOUT,
        Unit.DELIVERIES_PER_SECOND,
        "",
        "gpyro",
        calls=500,
        count=1000,
        most_rounds=5,
    ),
    Work(
        "naming",
        "a name server with 100,000 names in a database, 100 callers in one process",
        Kind.NAMING,
        Unit.NAMES_PER_SECOND,
        "",
        "gpyro",
        calls=0,
        count=100_000,
        round_seconds=1.5,
        most_rounds=5,
    ),
    Work("startup", "import, first call", Kind.STARTUP, Unit.MILLISECONDS, "text", "import gevent", 1),
    Work("command", "command line, whole process", Kind.COMMAND, Unit.MILLISECONDS, "text", "python -c pass", 1),
)


def find_work(name: str, short: bool = False) -> Work:
    """The work or the point of a curve called `name`; short: only large enough to see that it runs."""
    for work in (*WORKS, *POINTS):
        if work.name == name:
            return shortened(work) if short else work
    known = ", ".join(work.name for work in WORKS)
    raise ValueError(f"no work is called {name!r}; there are {known}")


def shortened(work: Work) -> Work:
    """A version of a work that takes a fraction of a second."""
    return replace(
        work,
        title=f"{work.title} (short run, far less than that)",
        calls=min(work.calls, 200),
        count=min(work.count, 100),
        nap_seconds=min(work.nap_seconds, 0.1),
        round_seconds=0.2,
        most_rounds=1,
    )


def build_payload(name: str) -> Any:
    """The value that a work echoes; `bytes-64` is 64 bytes."""
    if name.startswith("bytes-"):
        return build_bytes(int(name.removeprefix("bytes-")))
    builders = {"text": build_text, "rows": build_rows, "tuples": build_tuples, "megabyte": build_megabyte}
    return builders[name]()


def build_text() -> str:
    return "hello, world"


def build_rows() -> list[dict[str, Any]]:
    return [
        {"id": i, "name": f"customer {i:04d}", "city": "Eindhoven", "balance": i * 1.25, "active": i % 3 == 0}
        for i in range(ROWS)
    ]


def build_tuples() -> list[tuple[int, str, float]]:
    return [(i, f"point {i:04d}", i * 0.5) for i in range(ROWS)]


def build_megabyte() -> bytes:
    return build_bytes(MEGABYTE)


def build_bytes(size: int) -> bytes:
    return (bytes(range(250)) * (size // 250 + 1))[:size]


def describe_kept(sent: Any, received: Any) -> str:
    """Say in a word or two whether a value came back as it was sent."""
    if type(received) is not type(sent):
        return f"{type(sent).__name__} -> {type(received).__name__}"
    if isinstance(sent, (list, tuple)) and sent and received:
        inner = describe_kept(sent[0], received[0])
        if inner != "yes":
            return inner
    return "yes" if sent == received else "changed"
