"""R23: somebody tries one key after another, from many addresses."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import gevent

from gpyro.uri import PyroURI
from tests.support.attackers import WRONG, Caller

__all__ = ["Guessing"]


class Guessing:
    """All guessers of one process."""

    def __init__(self, uris: list[str]) -> None:
        self._port = PyroURI(uris[0]).port
        self._counts: Counter[str] = Counter()

    def run(self, count: int, sources: int, rate: float) -> dict[str, Any]:
        """Try so often, from so many addresses, in all `rate` times a second, 0 for as fast as it goes."""
        self._counts.clear()
        begun = time.monotonic()
        jobs = [
            gevent.spawn(self._guess, f"127.0.{2 + number // 100}.{1 + number % 100}", count // sources,
                         sources / rate if rate else 0.0, begun + (number / rate if rate else 0.0))
            for number in range(sources)
        ]  # fmt: skip
        gevent.joinall(jobs, raise_error=True)
        return {**self._counts, "seconds": time.monotonic() - begun}

    def _guess(self, source: str, count: int, pause: float, due: float) -> None:
        for _ in range(count):
            wait = due - time.monotonic()
            if wait > 0:
                gevent.sleep(wait)
            due += pause
            try:
                caller = Caller(self._port, source)
            except OSError:
                self._counts["refused"] += 1
                continue
            try:
                self._counts["let in" if caller.log_in(WRONG) else "denied"] += 1
            except (OSError, EOFError):
                self._counts["shut out"] += 1
            finally:
                caller.close(reset=True)
