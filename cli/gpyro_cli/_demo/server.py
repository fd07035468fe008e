"""The object server of `gpyro demo`: `python -m gpyro_cli._demo.server HOST PORT DIRECTORY`."""

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()

import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpyro
from gpyro_cli._demo.values import GROUP, READY, every_kind  # registers the classes that travel by value

__all__ = ["PlainCounter", "Workshop", "main"]


class BrokenToolError(Exception):
    """Not registered: callers know it by its name only."""


class Workshop(gpyro.ObjBase):
    """What the demonstration calls."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.sum = 41
        self._directory = directory
        self._notes: list[str] = []
        self._running = 0
        self._most = 0
        self._callers: set[Any] = set()

    def echo(self, value: Any) -> Any:
        """Return the value."""
        return value

    def keep(self, name: str, content: bytes) -> str:
        """Write a file and return its checksum."""
        path = self._directory / Path(name).name
        path.write_bytes(content)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def fetch(self, name: str) -> bytes:
        """Return a file's content."""
        return (self._directory / Path(name).name).read_bytes()

    def divide(self, a: int, b: int) -> float:
        """Divide, with a frame between."""
        return _divide(a, b)

    def break_tool(self) -> None:
        """Raise an exception of a class that the caller does not have."""
        raise BrokenToolError("the drill is worn out")

    def wait(self, seconds: float, number: int) -> int:
        """Block for a while, as any blocking code does, and return the number."""
        self._running += 1
        self._most = max(self._most, self._running)
        self._callers.add(gpyro.current_call.caller.addr)
        time.sleep(seconds)
        self._running -= 1
        return number

    def waited(self) -> tuple[int, int]:
        """Return how many waited at once, and over how many connections."""
        return self._most, len(self._callers)

    def count_for(self, listener: Any, up_to: int) -> int:
        """Call an object of the caller's for each number, and return the sum of what it says."""
        return sum(listener.note_number(number) for number in range(1, up_to + 1))

    def note(self, text: str) -> None:
        """Take a note, slowly."""
        time.sleep(0.2)
        self._notes.append(text)

    def notes(self) -> list[str]:
        """Return the notes."""
        return self._notes


class PlainCounter:
    """A class that knows nothing of gpyro."""

    def __init__(self) -> None:
        self._count = 0

    def count(self) -> int:
        """Return how often it was called."""
        self._count += 1
        return self._count


def _divide(a: int, b: int) -> float:
    return a / b


def main(host: str, port: str, directory: str) -> None:
    """Serve until SIGTERM."""
    ns = gpyro.naming.NameServerLocator().getNS(host, int(port))
    ns.createGroup(GROUP)
    with gpyro.Daemon(host="127.0.0.1", port=0, norange=True) as daemon:
        daemon.useNameServer(ns)
        uri = daemon.connect(Workshop(Path(directory)), f"{GROUP}.workshop")
        daemon.connect(PlainCounter(), f"{GROUP}.plain")
        daemon.requestLoop(_said_once(f"{READY}: {uri}, knows {len(every_kind())} kinds"), timeout=None)
    print("object server stopped", flush=True)


def _said_once(text: str) -> Callable[[], bool]:
    """Return a condition for the loop that says, when first asked, that the loop runs."""
    lines = [text]

    def condition() -> bool:
        if lines:
            print(lines.pop(), flush=True)
        return True

    return condition


if __name__ == "__main__":
    main(*sys.argv[1:])
