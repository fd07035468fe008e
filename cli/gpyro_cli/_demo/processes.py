"""The processes of `gpyro demo`: started, read until they are ready, and always ended."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType

import gpyro
import gpyro_cli

__all__ = ["Child", "Children", "DemoError"]

START_SECONDS = 30.0
STOP_SECONDS = 15.0
#: When something has failed already, nobody wants to wait.
HURRY_SECONDS = 3.0


class DemoError(Exception):
    """Something differs from what it should be."""


class Children:
    """The processes of one demonstration; leaving its `with` block ends them all, whatever happened."""

    def __init__(self, directory: Path, tell: Callable[[str], object]) -> None:
        self._directory = directory
        self._tell = tell
        self._all: list[Child] = []

    def __repr__(self) -> str:
        return f"<Children {self._all}>"

    def start(self, what: str, words: list[str]) -> Child:
        """Start `python -m` with these words."""
        # A signal in the middle of this would leave a process that nobody knows.
        with _signals_later():
            child = Child(what, words, self._directory, self._tell)
            self._all.append(child)
        return child

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Impatient signals come when the end is complete; it takes a few seconds at most.
        with _signals_later():
            for child in reversed(self._all):
                child.end(STOP_SECONDS if kind is None else HURRY_SECONDS)


class Child:
    """One process; `end` ends it."""

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
        return f"<Child {self.what}, pid {self.pid}, status {self._process.returncode}>"

    def end(self, seconds: float) -> None:
        """End it, gently for some seconds and then not; harmless when it has ended."""
        self._process.terminate()
        try:
            self._process.wait(seconds)
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
    # All of it is on this machine, and the places are given.
    environment["GPYRO_NS_BROADCAST"] = "0"
    return environment


@contextmanager
def _signals_later() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back until the block has been left; they come then."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    # Handlers, and not a mask: a process that is started inside would inherit a mask.
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for one in came[:1]:
            signal.raise_signal(one)
