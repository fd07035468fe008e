"""A client that makes many small calls through one proxy, and tells what its process holds."""

from __future__ import annotations

import gc
from typing import Any

import gevent

import gpyro
from benchmarks.peer import split_calls
from benchmarks.reliability.server import collect_garbage, count_descriptors, resident_kib

__all__ = ["Many"]


class Many:
    """Calls of the daemon without a login; `uris` as `Server` tells them."""

    def __init__(self, uris: list[str]) -> None:
        self._proxy = gpyro.Proxy(uris[1])

    def call(self, count: int, greenlets: int) -> dict[str, Any]:
        """Call so often in all, from so many greenlets at once."""
        jobs = [gevent.spawn(self._call, each) for each in split_calls(count, greenlets)]
        gevent.joinall(jobs, raise_error=True)
        return {}

    def _call(self, count: int) -> None:
        for number in range(count):
            if self._proxy.echo(number) != number:
                raise AssertionError("another answer than that of this call")

    def status(self) -> dict[str, Any]:
        """Return counts and sizes, as `Server.status` does."""
        collect_garbage()
        return {
            "descriptors": count_descriptors(),
            "objects": len(gc.get_objects()),
            "resident_kib": resident_kib(),
        }
