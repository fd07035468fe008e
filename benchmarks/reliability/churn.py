"""R5: callers that come, log in, call once and go, some of them with a reset."""

from __future__ import annotations

import random
import time
from typing import Any

import gevent

import gpyro
from tests.support.attackers import KEY, RST

__all__ = ["Churn"]

SOL_SOCKET, SO_LINGER = 1, 13


class Churn:
    """Callers of one process, each in a greenlet."""

    def __init__(self, uris: list[str], ca: str = "") -> None:
        self._uris = uris
        self._tls = gpyro.TLSConfig(ca=ca) if ca else None
        self._dice = random.Random(5)
        self._left = self._done = 0
        self._failures: list[str] = []

    def run(self, count: int, callers: int, resets: float, tls: bool = False) -> dict[str, Any]:
        """Make so many connections, a share `resets` of which ends with a reset; returns how fast that went."""
        self._left, self._done, self._failures = count, 0, []
        begun = time.perf_counter()
        jobs = [gevent.spawn(self._call_on, self._uris[2 if tls else 0], resets) for _ in range(callers)]
        gevent.joinall(jobs, raise_error=True)
        seconds = time.perf_counter() - begun
        failures = self._failures
        return {"done": self._done, "seconds": seconds, "failures": len(failures), "first": failures[:3]}

    def _call_on(self, uri: str, resets: float) -> None:
        while self._left > 0:
            self._left -= 1
            number = self._left
            proxy = gpyro.Proxy(uri, tls=self._tls) if uri.startswith("PYROSSL") else gpyro.Proxy(uri)
            proxy._setIdentification(KEY)
            try:
                if proxy.echo(number) != number:
                    raise ValueError("another answer")
                if self._dice.random() < resets:
                    core = proxy.__dict__["_core"]
                    core.calls._connection.sock.setsockopt(SOL_SOCKET, SO_LINGER, RST)
                self._done += 1
            except Exception as exc:
                self._failures.append(f"{type(exc).__name__}: {exc}"[:200])
            proxy._release()
