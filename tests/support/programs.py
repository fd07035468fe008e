"""Programs run as processes of their own: started, read until a line comes, and always ended."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import gpyro_cli

import gpyro

#: A busy machine may be slow; what takes longer than this hangs.
SECONDS = 30.0

#: What `tests/conftest.py` sets.
BROADCASTS = (
    "GPYRO_NS_BC_ADDR", "GPYRO_NS2_BC_ADDR", "GPYRO_NS_BC_PORT", "GPYRO_NS2_BC_PORT", "GPYRO_BC_TIMEOUT",
)  # fmt: skip

PROGRAMS = Path(__file__).resolve().parents[1] / "programs"


class Ended(NamedTuple):
    """What is known of a program that has ended."""

    status: int
    stdout: str
    stderr: str


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_environment(storage: Path, **settings: object) -> dict[str, str]:
    """Return an environment with these settings: `ns_port=9191` gives GPYRO_NS_PORT.

    Of the others only those are passed on that keep broadcasts on this machine.
    """
    environment = {
        key: value for key, value in os.environ.items()
        if key in BROADCASTS or not key.startswith(("GPYRO_", "PYRO"))
    }  # fmt: skip
    homes = {str(Path(module.__file__ or "").resolve().parents[1]) for module in (gpyro, gpyro_cli)}
    environment["PYTHONPATH"] = os.pathsep.join(sorted(homes))
    environment["GPYRO_STORAGE"] = str(storage)
    environment["PYTHONFAULTHANDLER"] = "1"
    environment.update({f"GPYRO_{name.upper()}": str(value) for name, value in settings.items()})
    return environment


class Program:
    """A Python program; leaving the `with` block ends it, whatever happened.

    Args:
        words: what follows `python`.
        environment: see `make_environment`.
        prefix: a command that runs `python` with what follows and ends with it, such as strace.
        has_input: whether it gets what is typed (`type_line`, `end_input`); else its input is empty.
        terminal: a descriptor that is its input, such as a pseudo-terminal; whoever opened it closes it.
    """

    def __init__(
        self, words: list[str], environment: dict[str, str], prefix: Sequence[str] = (), has_input: bool = False,
        terminal: int | None = None,
    ) -> None:  # fmt: skip
        self._unread = b""
        self._stdout = b""
        self._stderr = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-W", "error", *words],
            stdin=subprocess.PIPE if has_input else subprocess.DEVNULL if terminal is None else terminal,
            stdout=subprocess.PIPE, stderr=self._stderr, env=environment, cwd=environment["GPYRO_STORAGE"],
        )  # fmt: skip
        self._has_prefix = bool(prefix)

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._stderr.close()
        if self.process.stdin is not None:
            self.end_input()

    def kill(self) -> None:
        """End it at once; with a prefix, what that runs, upon which it ends itself."""
        pid = self.process.pid
        pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split() if self._has_prefix else []
        for each in pids or [str(pid)]:
            os.kill(int(each), signal.SIGKILL)
        self.process.wait(SECONDS)

    def type_line(self, line: str) -> None:
        """Let it read a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def end_input(self) -> None:
        """Let it find the end of its input."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def read_until(self, beginning: str) -> str:
        """Return the rest of the first line that begins so."""
        deadline = time.monotonic() + SECONDS
        while True:
            while b"\n" not in self._unread:
                if not self._read_more(deadline):
                    raise AssertionError(f"{beginning!r} did not come: {self._stdout!r}, {self._errors()}")
            line, _, self._unread = self._unread.partition(b"\n")
            text = line.decode()
            if text.startswith(beginning):
                return text[len(beginning) :].strip()

    def _read_more(self, deadline: float) -> bool:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        ready, _, _ = select.select([descriptor], [], [], max(deadline - time.monotonic(), 0))
        data = os.read(descriptor, 65536) if ready else b""
        self._unread += data
        self._stdout += data
        return bool(data)

    def _errors(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read().decode()

    def finish(self) -> Ended:
        """Wait until it ends by itself; one that hangs fails with where its threads are."""
        deadline = time.monotonic() + SECONDS
        while self._read_more(deadline):
            pass
        try:
            # What is left to do after its output has been closed may take a busy machine a while, too.
            status = self.process.wait(max(deadline - time.monotonic(), SECONDS / 3))
        except subprocess.TimeoutExpired:
            self._dump_threads()
            raise AssertionError(
                f"{self.process.args!r} did not end in {SECONDS:g} s: {self._stdout!r}, {self._errors()}"
            ) from None
        return Ended(status, self._stdout.decode(), self._errors())

    def _dump_threads(self) -> None:
        """End it so that it writes to stderr what each of its threads does; see PYTHONFAULTHANDLER."""
        if self._has_prefix:
            self.kill()
        else:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait(SECONDS)

    def stop(self, number: int = signal.SIGTERM) -> Ended:
        """Send it a signal and wait until it ends."""
        self.process.send_signal(number)
        return self.finish()


def run(words: list[str], environment: dict[str, str]) -> Ended:
    """Run a program to its end."""
    with Program(words, environment) as program:
        return program.finish()


def complete(environment: dict[str, str], line: str) -> list[str]:
    """Return what bash's completion offers, without the script around it."""
    environment = {
        **environment, "_GPYRO_COMPLETE": "bash_complete", "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - (not line.endswith(" "))),
    }  # fmt: skip
    ended = run(["-m", "gpyro"], environment)
    assert (ended.status, ended.stderr) == (0, "")
    return [item.partition(",")[2] for item in ended.stdout.splitlines() if item]


def run_in_shell(text: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `gpyro` is the command."""
    command = f'gpyro() {{ "{sys.executable}" -W error -m gpyro "$@"; }}; set -o pipefail; {text}'
    return subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=SECONDS,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
