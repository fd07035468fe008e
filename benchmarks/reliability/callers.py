"""Honest clients, while others attack: one keeps its connection, one connects anew for each call."""

from __future__ import annotations

import gc
import time
from typing import Any

import gevent

import gpyro
from benchmarks.stats import percentile
from tests.support.attackers import KEY

__all__ = ["Callers"]

#: Seconds between the end of a call and the next one.
PAUSE_SECONDS = 0.005


class Callers:
    """Calls until it is told to stop; `uris` of the daemon with a login, and the one without."""

    def __init__(self, uris: list[str]) -> None:
        self._uris = uris
        self._times: dict[str, list[float]] = {"held": [], "anew": []}
        self._failures: dict[str, list[str]] = {"held": [], "anew": []}
        self._greenlets: list[Any] = []

    def start(self, kinds: list[str], pause: float = PAUSE_SECONDS) -> dict[str, Any]:
        """Begin, one greenlet for each kind and each daemon."""
        for kind in kinds:
            for uri in self._uris:
                self._greenlets.append(gevent.spawn(self._call_on, kind, uri, pause))
        return {}

    def stop(self) -> dict[str, Any]:
        """End; returns the figures of each kind."""
        gevent.killall(self._greenlets)
        self._greenlets.clear()
        gc.collect()
        return {kind: self._figures(kind) for kind in self._times}

    def _figures(self, kind: str) -> dict[str, Any]:
        times, failures = self._times[kind], self._failures[kind]
        self._times[kind], self._failures[kind] = [], []
        if not times:
            return {"calls": 0, "failures": failures}
        return {
            "calls": len(times), "failures": failures, "max": max(times) * 1e3,
            **{f"p{part}": percentile(times, part / 100) * 1e3 for part in (50, 99)},
        }  # fmt: skip

    def _proxy(self, uri: str) -> Any:
        proxy = gpyro.Proxy(uri)
        if uri == self._uris[0]:
            proxy._setIdentification(KEY)
        return proxy

    def _call_on(self, kind: str, uri: str, pause: float) -> None:
        proxy = self._proxy(uri)
        try:
            self._call_for_ever(kind, uri, pause, proxy)
        finally:
            proxy._release()

    def _call_for_ever(self, kind: str, uri: str, pause: float, proxy: Any) -> None:
        value = 0
        while True:
            if kind == "anew":
                proxy = self._proxy(uri)
            value += 1
            begun = time.perf_counter()
            try:
                answer = proxy.echo(value)
            except Exception as exc:
                self._failures[kind].append(f"{type(exc).__name__}: {exc}"[:200])
            else:
                self._times[kind].append(time.perf_counter() - begun)
                if answer != value:
                    self._failures[kind].append(f"{answer!r} in place of {value}")
            finally:
                if kind == "anew":
                    proxy._release()
            gevent.sleep(pause)
