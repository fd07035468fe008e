"""The server and the other processes of one attack: started, asked, and always ended."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic, sleep
from typing import Any

from benchmarks.processes import WorkerProcess
from gpyro.uri import PyroURI

__all__ = ["RECOVERY_SECONDS", "SECONDS", "START_SECONDS", "Stage", "ask", "begin"]

#: A full run of the largest attack.
SECONDS = 1800.0
START_SECONDS = 30.0
#: Seconds in which counts have to be back where they were.
RECOVERY_SECONDS = 15.0


class Stage:
    """The processes of one attack; leaving the block ends them.

    Args:
        role: of the server.
        settings: its settings that are other than as shipped.
    """

    def __init__(self, role: str = "server", **settings: Any) -> None:
        self._stack = ExitStack()
        self._role = role
        self._settings = settings
        #: What the server is started with beside them.
        self.options: dict[str, Any] = {}
        self.uris: list[str] = []
        self.server: Any = None

    def __enter__(self) -> Stage:
        self.server, hello = self._start(self._role, settings=self._settings, **self.options)
        self.uris = hello["uris"]
        return self

    def kill(self) -> None:
        """Kill the server without a word."""
        os.kill(self.server.pid, signal.SIGKILL)

    def start_again(self) -> None:
        """Start the server again, at the port that it had."""
        self.options["port"] = PyroURI(self.uris[0]).port
        self.__enter__()

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def actor(self, role: str, **options: Any) -> WorkerProcess:
        """Start another process."""
        return self._start(role, uris=self.uris, **options)[0]

    def _start(self, role: str, **options: Any) -> tuple[WorkerProcess, dict[str, Any]]:
        process = self._stack.enter_context(
            WorkerProcess(role, json.dumps(options), module="benchmarks.reliability.role")
        )
        return process, process.read(START_SECONDS)

    def status(self, **options: Any) -> dict[str, Any]:
        """Ask the server how it is."""
        return self.server.request({"do": "status", **options}, START_SECONDS)  # type: ignore[no-any-return]

    def settled(self, before: dict[str, Any], names: tuple[str, ...]) -> tuple[dict[str, Any], float]:
        """Wait until the counts are back; returns the last status and how long that took."""
        begun = monotonic()
        while True:
            now = self.status()
            took = monotonic() - begun
            if all(now[name] <= before[name] for name in names) or took > RECOVERY_SECONDS:
                return now, took
            sleep(0.25)


def ask(process: WorkerProcess, method: str, **arguments: Any) -> dict[str, Any]:
    """Let a process do something and wait for what comes of it."""
    return process.request({"do": method, **arguments}, SECONDS)


def begin(process: WorkerProcess, method: str, **arguments: Any) -> Callable[[], dict[str, Any]]:
    """Let a process do something meanwhile; call the result to wait for what comes of it."""
    assert process._process.stdin is not None
    process._process.stdin.write(json.dumps({"do": method, **arguments}).encode() + b"\n")
    process._process.stdin.flush()
    return lambda: process.read(SECONDS)
