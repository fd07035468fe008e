"""Standard input that waits in the hub, so that a program that sits in `input()` goes on serving.

gevent has one, too (`patch_sys`), which reads in a thread: `input()` at a terminal still holds everybody up there,
and a read that nobody waits for any more cannot be taken back and keeps the process from ending. Here the
descriptor is waited for, and read once there is something.
"""

from __future__ import annotations

import builtins
import io
import os
import select
import stat
import sys
from typing import Any

from gevent import monkey

from gpyro._hub.tickets import Turns
from gpyro._hub.waiting import Signal, wait_for

__all__ = ["wait_through_hub"]

_poll: Any = monkey.get_original("select", "poll")
_plain_input = builtins.input


class WaitingInput(io.RawIOBase):
    """The bytes of a descriptor that somebody else opened, and closes."""

    mode = "rb"

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self.name = name

    def __repr__(self) -> str:
        return f"<WaitingInput of {self.name}>"

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Tell whether somebody sits there."""
        return os.isatty(self._descriptor)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what there is, at least a byte; 0 is the end."""
        if not self._is_ready():
            wait_for(Signal(), [self._descriptor], None)
        return os.readv(self._descriptor, [buffer])

    def _is_ready(self) -> bool:
        # Files and /dev/null always are; the loop could not wait for them.
        poll = _poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(0))


class WaitingText(io.TextIOWrapper):
    """Its text; several greenlets may read lines, one after the other."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Not the buffer's own, which is a native thread's, and all of them are in one.
        self._readers = Turns()

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        """Return the next line; iterating comes here too."""
        with self._readers:
            return super().readline(size)

    def read(self, size: int | None = -1, /) -> str:
        """Return the next characters, or all."""
        with self._readers:
            return super().read(size)


def wait_through_hub() -> None:
    """Let `sys.stdin` and `input` wait in the hub of the thread that reads; a second time does nothing.

    Where `sys.stdin` is nothing that Python has opened, it is left as it is, and so is a file, which never waits.
    What was read ahead before is lost.
    """
    stdin = sys.stdin
    if type(stdin) is not io.TextIOWrapper or isinstance(getattr(stdin.buffer, "raw", None), WaitingInput):
        return
    try:
        raw = WaitingInput(stdin.fileno(), stdin.name)
        if stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
            return
    except (OSError, ValueError):
        return
    # Line ends as Python opens it on Unix.
    sys.stdin = WaitingText(
        io.BufferedReader(raw), stdin.encoding, stdin.errors, newline="\n", line_buffering=stdin.line_buffering
    )
    setattr(sys.stdin, "mode", "r")  # noqa: B010 (its type says that it cannot be set)
    builtins.input = _input


def _input(prompt: object = "", /) -> str:
    """Read a line from standard input, as the `input` of Python does, while others run."""
    if sys.stdin is None or not isinstance(getattr(getattr(sys.stdin, "buffer", None), "raw", None), WaitingInput):
        return _plain_input(prompt)
    if sys.stdout is None:
        raise RuntimeError("input(): lost sys.stdout")
    sys.audit("builtins.input", prompt)
    if sys.stderr is not None:
        sys.stderr.flush()
    sys.stdout.write(str(prompt))
    sys.stdout.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError("EOF when reading a line")
    sys.audit("builtins.input/result", line.removesuffix("\n"))
    return line.removesuffix("\n")
