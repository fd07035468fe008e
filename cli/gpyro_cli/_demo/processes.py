"""The processes of `gpyro demo`: started, read until they are ready, and always ended."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import gpyro
import gpyro_cli

__all__ = ["Child", "DemoError"]

START_SECONDS = 30.0
STOP_SECONDS = 15.0


class DemoError(Exception):
    """Something differs from what it should be."""


class Child:
    """One process; leaving its `with` block ends it, whatever happened."""

    def __init__(self, what: str, words: list[str], directory: Path, tell: Callable[[str], object]) -> None:
        self.what = what
        self._tell = tell
        self._stderr = directory / f"{what.replace(' ', '-')}.stderr"
        self._unread = b""
        with open(self._stderr, "wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
                cwd=directory, env=_environment(directory),
            )  # fmt: skip
        self.pid = self._process.pid

    def __repr__(self) -> str:
        return f"<Child {self.what}, pid {self.pid}, {self._process.returncode}>"

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS if kind is None else 3.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def read_until(self, beginning: str) -> str:
        """Return the rest of the first line that begins so.

        Raises:
            DemoError: it does not come.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            line = self._read_line(deadline)
            if line is None:
                raise DemoError(f"the {self.what} did not say {beginning!r}: {self._last_words()}")
            self._tell(f"    {self.what}: {line}")
            if line.startswith(beginning):
                return line[len(beginning) :].strip()

    def _read_line(self, deadline: float) -> str | None:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._unread:
            ready, _, _ = select.select([descriptor], [], [], max(deadline - time.monotonic(), 0))
            data = os.read(descriptor, 65536) if ready else b""
            if not data:
                return None
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode(errors="replace")

    def stop(self) -> float:
        """Send SIGTERM, wait, and return the seconds that it took.

        Raises:
            DemoError: it does not end, or not with status 0.
        """
        start = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise DemoError(f"the {self.what} did not end within {STOP_SECONDS:g} s of SIGTERM") from None
        if status:
            raise DemoError(f"the {self.what} ended with status {status}: {self._last_words()}")
        return time.monotonic() - start

    def _last_words(self) -> str:
        text = self._stderr.read_text(errors="replace").strip()
        return text.splitlines()[-1] if text else "it said nothing on stderr"


def _environment(directory: Path) -> dict[str, str]:
    """Return this process's environment without its settings: a demonstration has its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("GPYRO_", "PYRO_"))}
    homes = {str(Path(module.__file__ or "").resolve().parents[1]) for module in (gpyro, gpyro_cli)}
    known = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([*sorted(homes), *([known] if known else [])])
    environment["GPYRO_STORAGE"] = str(directory / "storage")
    return environment
