"""Starts worker processes and talks to them; whatever happens, they are ended."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
END_SECONDS = 2.0


class WorkerFailed(Exception):
    """A worker said that it cannot, took too long, or died; the text says which."""


class WorkerProcess:
    """One `python -m benchmarks.worker`, or another module that talks like it; a context manager.

    Who closes it: the `with` block, by ending its input and then by SIGKILL.
    A reply that does not come within its time raises WorkerFailed here.
    """

    def __init__(self, *arguments: str, module: str = "benchmarks.worker") -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=build_environment(),
        )
        self._received = b""

    def __repr__(self) -> str:
        return f"<WorkerProcess {self._process.pid} exit={self._process.poll()}>"

    @property
    def pid(self) -> int:
        return self._process.pid

    def request(self, line: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
        """Send one line and return the reply."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(line).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as exc:
            raise WorkerFailed(self._last_words()) from exc
        return self.read(timeout_seconds)

    def read(self, timeout_seconds: float) -> dict[str, Any]:
        """Wait for the next line of the worker."""
        line: dict[str, Any] = json.loads(self._read_line(timeout_seconds))
        if "error" in line:
            raise WorkerFailed(line["error"])
        return line

    def _read_line(self, timeout_seconds: float) -> bytes:
        deadline = monotonic() + timeout_seconds
        while b"\n" not in self._received:
            self._received += self._read_some(deadline, timeout_seconds)
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _read_some(self, deadline: float, timeout_seconds: float) -> bytes:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - monotonic()))
        if not ready:
            raise WorkerFailed(f"no answer within {timeout_seconds:g} s")
        data = os.read(pipe, 65536)
        if not data:
            raise WorkerFailed(self._last_words())
        return data

    def _last_words(self) -> str:
        code = self._process.wait(END_SECONDS)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"ended with code {code}: {lines[-1] if lines else 'no message'}"[:200]

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it died before; reaped below
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()


def build_environment() -> dict[str, str]:
    """The harness's own environment, in which `benchmarks`, and a checkout's gpyro, can be imported.

    Nothing in it broadcasts: all places are given. Byte code is kept, as it is of what pip has installed.
    """
    paths = [str(ROOT), str(ROOT / "cli"), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(path for path in paths if path)
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": path, "GPYRO_NS_BROADCAST": "0"}


def read_resident_kib(pid: int) -> float:
    """Resident memory of a process, from /proc."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1024
