"""A display that nobody sees, and somebody who types and clicks there."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.programs import SECONDS

__all__ = ["Hands", "display", "needs_display", "needs_window"]

MISSING = [tool for tool in ("Xvfb", "xdotool") if shutil.which(tool) is None]
try:
    import tkinter  # noqa: F401
except ImportError:
    MISSING.append("tkinter")

needs_display = pytest.mark.skipif(
    bool({"Xvfb", "tkinter"} & set(MISSING)),
    reason=f"{', '.join(MISSING)} is not here; on Debian: apt-get install xvfb python3-tk",
)
needs_window = pytest.mark.skipif(
    bool(MISSING),
    reason=f"{', '.join(MISSING)} is not here; on Debian: apt-get install xvfb xdotool python3-tk",
)


@contextmanager
def display() -> Iterator[str]:
    """Run an X server of its own on a free display; gives what DISPLAY has to be."""
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x900x24", "-nolisten", "tcp"],
        pass_fds=[writing], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(writing)
    try:
        with open(reading) as numbers:
            number = numbers.readline().strip()
        assert number, "Xvfb did not start"
        yield f":{number}"
    finally:
        server.terminate()
        server.wait()


class Hands:
    """Types and clicks in the one window of a display, which they find by the beginning of its title."""

    def __init__(self, display: str, title: str) -> None:
        self._environment = {**os.environ, "DISPLAY": display}
        self.title = ""
        self._window = ""
        self._wanted = title

    def _do(self, *words: str) -> str:
        return subprocess.run(
            ["xdotool", *words], env=self._environment, check=True, capture_output=True, text=True, timeout=SECONDS
        ).stdout.strip()

    def wait_for_title(self, *ends: str) -> str:
        """Wait until the window is there and its title ends so; returns the end that came."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                self._window = self._do("search", "--name", f"^{self._wanted}").split()[0]
                self.title = self._do("getwindowname", self._window)
            except (subprocess.CalledProcessError, IndexError):
                continue  # not there yet
            for end in ends:
                if self.title.endswith(end):
                    return end
        raise AssertionError(f"no title ends with one of {ends}; the last one was {self.title!r}")

    def wait_for_window(self, title: str) -> None:
        """Wait until a window with this title is shown."""
        self._do("search", "--sync", "--onlyvisible", "--name", f"^{title}$")

    def wait_for_end_of(self, title: str) -> None:
        """Wait until no window has this title."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                self._do("search", "--name", f"^{title}$")
            except subprocess.CalledProcessError:
                return
        raise AssertionError(f"{title!r} is still there")

    def click(self, x: int, y: int) -> None:
        """Click at a place of the main window."""
        self._do("mousemove", "--window", self._window, str(x), str(y), "click", "1")

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        self._do("key", *keys)

    def type(self, text: str) -> None:
        """Type a text."""
        self._do("type", "--delay", "4", text)
