"""`python -m benchmarks.steps`: where the time of one call goes, step by step, through both processes.

The codec's functions, the socket's and the method that is served note when they begin and end, which costs about
0.2 us for each. The clock is the machine's, so the times of both processes can be compared. What lies between two
marks is counted to the step that ends with the second.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from time import perf_counter_ns as now
from typing import Any

import gpyro
from benchmarks.machine import describe_machine
from benchmarks.processes import build_environment
from benchmarks.stats import median
from benchmarks.table import render_columns, render_machine
from benchmarks.works import build_payload
from gpyro.hub import Stream
from gpyro.serializers import Codec

PAYLOADS = {"small": "text", "rows": "rows", "tuples": "tuples", "megabyte": "megabyte"}
CALLS, WARM_CALLS = 3000, 300

TRANSFER = "system call: send; the kernel; waking the other process; gevent's loop; system call: receive"
#: Side, mark, what has been done when it comes.
STEPS = (
    ("client", "encode", "proxy, connection, checks before sending"),
    ("client", "encoded", "arguments to bytes"),
    ("client", "send", "header, table of calls"),
    ("server", "received", TRANSFER),
    ("server", "decode", "frame, limits, method found, access checked"),
    ("server", "decoded", "bytes to arguments"),
    ("server", "method", "record of the call, its context"),
    ("server", "encode", "the method itself, end of the record"),
    ("server", "encoded", "result to bytes"),
    ("server", "send", "header"),
    ("client", "received", TRANSFER),
    ("client", "decode", "frame, table of calls, switch to the caller"),
    ("client", "decoded", "bytes to result"),
    ("client", "returned", "back to the caller"),
)

marks: list[tuple[str, int]] = []


class Echo(gpyro.ObjBase):
    """What is called, and what tells the server's marks."""

    def echo(self, value: Any) -> Any:
        marks.append(("method", now()))
        return value

    def take_marks(self) -> list[tuple[str, int]]:
        taken = marks[:]
        marks.clear()
        return taken


class MarkingSocket:
    """A connection's socket that notes when something was sent and received."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, size: int) -> bytes:
        data: bytes = self._sock.recv(size)
        marks.append(("received", now()))
        return data

    def recv_into(self, view: memoryview) -> int:
        count: int = self._sock.recv_into(view)
        marks.append(("received", now()))
        return count

    def send(self, data: Any) -> int:
        return self._send(self._sock.send, data)

    def sendmsg(self, pieces: Any) -> int:
        return self._send(self._sock.sendmsg, pieces)

    def _send(self, send: Callable[[Any], int], data: Any) -> int:
        marks.append(("send", now()))
        return send(data)


def mark_all() -> None:
    """Let the library's own functions note when they begin and end."""
    for name in ("encode_arguments", "encode_value", "decode_arguments", "decode_value"):
        setattr(Codec, name, marking(getattr(Codec, name), name.partition("_")[0]))
    made = Stream.__init__

    def make(self: Stream, sock: Any, *rest: Any, **named: Any) -> None:
        made(self, MarkingSocket(sock), *rest, **named)

    Stream.__init__ = make  # type: ignore[method-assign]


def marking(function: Callable[..., Any], verb: str) -> Callable[..., Any]:
    done = f"{verb}d"

    def marked(*args: Any, **kwargs: Any) -> Any:
        marks.append((verb, now()))
        result = function(*args, **kwargs)
        marks.append((done, now()))
        return result

    return marked


def serve() -> None:
    mark_all()
    daemon = gpyro.Daemon(host="127.0.0.1", port=0, norange=True)
    print(daemon.connect(Echo()), flush=True)
    daemon.requestLoop()


def measure(payload: str, calls: int) -> list[tuple[str, str, float]]:
    """Make calls; returns side, step and the median of its time in us."""
    value = build_payload(PAYLOADS[payload])
    command = [sys.executable, "-m", "benchmarks.steps", "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=build_environment()) as server:
        try:
            assert server.stdout is not None
            proxy = gpyro.Proxy(server.stdout.readline().strip())
            for _ in range(WARM_CALLS):
                proxy.echo(value)
            proxy.take_marks()
            marks.clear()
            spans = []
            for _ in range(calls):
                begin = now()
                proxy.echo(value)
                spans.append((begin, now()))
            ours, theirs = marks[:], proxy.take_marks()
        finally:
            server.kill()
    return tell_steps(spans, ours, [(str(name), at) for name, at in theirs])


def tell_steps(
    spans: Sequence[tuple[int, int]], ours: Sequence[tuple[str, int]], theirs: Sequence[tuple[str, int]]
) -> list[tuple[str, str, float]]:
    """Cut the marks of both sides into calls; returns the median of each step, in us."""
    times: list[list[float]] = [[] for _ in STEPS]
    for (begin, end), mine, others in zip(spans, cut(spans, ours), cut(spans, theirs), strict=True):
        before = begin
        for index, (side, mark, _) in enumerate(STEPS):
            at = end if mark == "returned" else pick(mine if side == "client" else others, mark, before)
            times[index].append((at - before) / 1000)
            before = at
    return [(side, text, median(times[index])) for index, (side, _, text) in enumerate(STEPS)]


def pick(found: Sequence[tuple[str, int]], mark: str, before: int) -> int:
    """Return when a mark came after a time: the first, or of what is received in pieces the last."""
    at = [time for name, time in found if name == mark and time >= before]
    return at[-1] if mark == "received" else at[0]


def cut(spans: Sequence[tuple[int, int]], found: Sequence[tuple[str, int]]) -> list[list[tuple[str, int]]]:
    """Share marks among the calls in whose time they lie."""
    shares: list[list[tuple[str, int]]] = []
    at = 0
    for begin, end in spans:
        share = []
        while at < len(found) and found[at][1] <= end:
            if found[at][1] >= begin:
                share.append(found[at])
            at += 1
        shares.append(share)
    return shares


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description=__doc__)
    parser.add_argument("--only", metavar="WORK,...", default=",".join(PAYLOADS), help=f"of {', '.join(PAYLOADS)}")
    parser.add_argument("--calls", type=int, default=CALLS, help=f"calls of each; else {CALLS}")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.serve:
        serve()
        return 0
    names = arguments.only.split(",")
    for name in names:
        if name not in PAYLOADS:
            parser.error(f"no work is called {name!r}; there are {', '.join(PAYLOADS)}")
    machine = describe_machine({})
    mark_all()
    for name in names:
        steps = measure(name, arguments.calls)
        total = sum(time for _, _, time in steps)
        rows = [[side, f"{time:.2f}", f"{time / total:.0%}", text] for side, text, time in steps]
        rows.append(["both", f"{total:.2f}", "100%", "all of it"])
        print(f"## {name}\n\n{render_columns(['side', 'us', 'share', 'note'], rows)}\n", flush=True)
    print(render_machine(machine).strip())
    return 0


if __name__ == "__main__":
    # The one module of this name, which the library's patched functions note in; not the one that Python runs.
    from benchmarks.steps import main as run

    sys.exit(run())
