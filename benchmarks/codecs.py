"""`python -m benchmarks.codecs`: what turning values into bytes and back takes, without any connection.

An echo does each twice. Beside gpyro's codec stand those that it is made of and that others use; not all of them
keep tuples, and none but msgpack's and gpyro's may be given what a stranger sends.
"""

from __future__ import annotations

import argparse
import importlib
import marshal
import pickle
import sys
import timeit
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.stats import median
from benchmarks.table import render_columns, render_machine
from benchmarks.works import build_payload, describe_kept
from gpyro.serializers import Codec

PAYLOADS = ("text", "rows", "tuples")
ROUNDS, ROUND_SECONDS = 9, 0.05

Both = tuple[Callable[[Any], Any], Callable[[Any], Any]]


def gpyro_codec() -> Both:
    codec = Codec()
    return codec.encode_value, lambda encoded: codec.decode_value(*encoded)


def packing(module: str, pack: str, unpack: str) -> Callable[[], Both]:
    def load() -> Both:
        found = importlib.import_module(module)
        return getattr(found, pack), getattr(found, unpack)

    return load


CODECS: dict[str, Callable[[], Both]] = {
    "gpyro": gpyro_codec,
    "ormsgpack alone": packing("ormsgpack", "packb", "unpackb"),
    "msgpack": packing("msgpack", "packb", "unpackb"),
    "pickle": lambda: (lambda value: pickle.dumps(value, 5), pickle.loads),
    "marshal": lambda: (marshal.dumps, marshal.loads),
}


def time_of(function: Callable[[], object], seconds: float) -> float:
    """Return microseconds for each call, in one round of about so many seconds."""
    timer = timeit.Timer(function)
    calls, took = timer.autorange()
    calls = max(1, round(calls * seconds / took))
    return timer.timeit(calls) / calls * 1e6


def measure(payload: str, rounds: int, seconds: float) -> list[list[str]]:
    """Return a row for each codec: name, us to bytes, us back, both twice, whether the value came back so."""
    value = build_payload(payload)
    loaded: dict[str, Both] = {}
    rows: list[list[str]] = []
    for name, load in CODECS.items():
        try:
            loaded[name] = load()
        except ImportError as exc:
            rows.append([name, "-", "-", "-", f"not installed: {exc}"])
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in loaded}
    for _ in range(rounds):
        for name, (pack, unpack) in loaded.items():
            packed = pack(value)
            times[name][0].append(time_of(lambda pack=pack: pack(value), seconds))  # type: ignore[misc]
            times[name][1].append(time_of(lambda unpack=unpack, packed=packed: unpack(packed), seconds))  # type: ignore[misc]
    for name, (to_bytes, back) in times.items():
        pack, unpack = loaded[name]
        one, other = median(to_bytes), median(back)
        kept = describe_kept(value, unpack(pack(value)))
        rows.append([name, f"{one:.2f}", f"{other:.2f}", f"{2 * (one + other):.1f}", kept])
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codecs", description=__doc__)
    parser.add_argument("--short", action="store_true", help="in a second, to see that it runs")
    short = parser.parse_args(argv).short
    machine = describe_machine({})
    for payload in PAYLOADS:
        rows = measure(payload, 1 if short else ROUNDS, 0.001 if short else ROUND_SECONDS)
        headings = ["peer", "us to bytes", "us back", "us for an echo", "kept"]
        print(f"## {payload}\n\n{render_columns(headings, rows)}\n", flush=True)
    print(render_machine(machine).strip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
