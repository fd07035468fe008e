"""Small helpers that need nothing of gpyro: object ids, tracebacks of two sides, private directories.

A traceback has two sides. `traceback_lines` is used where a remote method failed and gives the lines that
travel; where the exception arrives they are in its `remote_stacktrace`, and `remote_note` makes the note of them
that a plain traceback print shows; `getPyroTraceback` and `excepthook` show both sides, the local one first.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from reprlib import Repr
from types import FrameType, TracebackType

__all__ = [
    "bounded_lines",
    "escape_controls",
    "excepthook",
    "getPyroTraceback",
    "is_remote_note",
    "make_guid",
    "make_private_directory",
    "remote_note",
    "run_command",
    "traceback_lines",
]

#: Size of an object id before it is written in hexadecimal: too many to guess or to meet twice.
GUID_BYTES = 16

#: Around a remote traceback, in the shape in which Pyro 3 prints it; a note that begins so is one.
REMOTE_BEGIN = " +--- This exception occurred remotely - Remote traceback:\n"
REMOTE_LINE = " | "
REMOTE_END = " +--- End of remote traceback\n"

#: Bounds of what one failed call may send: the last frames are those that matter, and a recursion has 1,000.
MAX_FRAMES = 100
MAX_LINES = 1000
MAX_LINE_LENGTH = 2000
#: Bounds of a detailed traceback. Source: what fits on a screen for one frame.
MAX_LOCALS = 20
MAX_VALUE_LENGTH = 200

#: Packages whose frames lead to the user's method and say nothing about it.
DISPATCH_PACKAGES = ("gpyro", "gevent")

#: Control characters but tab and the ends of lines.
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f]")


def make_guid() -> str:
    """Return a new object id: 32 hexadecimal digits from the system's random source.

    Pyro's ids carry IP address, process id and time; these tell nothing about the host.
    """
    return os.urandom(GUID_BYTES).hex()


def make_private_directory(path: str) -> None:
    """Make a directory, and those above it that are missing, for this user alone (mode 0700).

    One that is there already is left as it is.

    Raises:
        OSError: it cannot be made, or something else stands there.
    """
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if parent and parent != path:
        make_private_directory(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        # Another process may have made it at the same time; a file in its place is an error.
        if not os.path.isdir(path):
            raise


def escape_controls(text: str) -> str:
    """Write control characters as escapes, so that a peer's text cannot steer a terminal; line ends stay."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def run_command(*words: str, arguments: Sequence[str] | None = None) -> None:
    """Run the `gpyro` command with these words and then the arguments; it ends the process.

    For modules that are run with `python -m`. The command is named, not imported: imports never point up.

    Args:
        arguments: by default the process's own.

    Raises:
        SystemExit: always.
    """
    import_module("gpyro_cli.main").main([*words, *(sys.argv[1:] if arguments is None else arguments)])


# -- where the exception arrives --------------------------------------------------------------------------


def remote_note(lines: Iterable[str]) -> str:
    """Return the note that makes a plain traceback print show the other side's, on Pythons that have notes (3.11).

    Each line has a mark in front, so that none can look like one of this side.
    """
    return "".join(_framed(lines)).rstrip("\n")


def is_remote_note(note: object) -> bool:
    """Tell whether a note of an exception is one of `remote_note`."""
    return str(note).startswith(REMOTE_BEGIN)


def getPyroTraceback(
    exc_obj: BaseException | None,
    exc_type: type[BaseException] | None = None,
    exc_trb: TracebackType | None = None,
) -> list[str]:
    """Return the lines of the local traceback, and under it those of the remote one if there is one.

    Args:
        exc_obj: the exception; None returns no lines.
        exc_type: its type, where it is not that of `exc_obj`.
        exc_trb: its traceback, where it is not the one that `exc_obj` carries.

    Source: Pyro 3 manual, chapter 7, "Exceptions"; the signature is Pyro's. As there, join them with "".
    """
    if exc_obj is None:
        return []
    lines = traceback.format_exception(exc_type or type(exc_obj), exc_obj, exc_trb or exc_obj.__traceback__)
    lines.extend(_not_in("".join(lines), exc_obj))
    return lines


def excepthook(
    exc_type: type[BaseException], exc_obj: BaseException, exc_trb: TracebackType | None
) -> None:
    """Print an exception that nobody caught with both tracebacks; for `sys.excepthook`."""
    if sys.stderr is not None:
        sys.stderr.write("".join(getPyroTraceback(exc_obj, exc_type, exc_trb)))
        sys.stderr.flush()


def _framed(lines: Iterable[object]) -> Iterator[str]:
    yield REMOTE_BEGIN
    for line in "".join(str(line) for line in lines).splitlines():
        yield f"{REMOTE_LINE}{escape_controls(line)}\n"
    yield REMOTE_END


def _not_in(text: str, exc_obj: BaseException, itself: bool = True) -> Iterator[str]:
    """Write the remote tracebacks that a traceback does not show; without `itself` those of its causes."""
    for exc in _chain(exc_obj):
        remote = getattr(exc, "remote_stacktrace", None)
        if isinstance(remote, (list, tuple)) and remote and (itself or exc is not exc_obj):
            # Not asked of the Python's version: with the package exceptiongroup older ones show notes as well.
            framed = "".join(_framed(remote))
            if framed not in text:
                yield from framed.splitlines(keepends=True)


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """Walk from an exception to those that it came from, as a traceback prints them; each once."""
    seen: set[int] = set()
    step: BaseException | None = exc
    while step is not None and id(step) not in seen:
        seen.add(id(step))
        yield step
        step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)


# -- where the exception happened -------------------------------------------------------------------------


def traceback_lines(exc: BaseException, detailed: bool = False) -> list[str]:
    """Return the lines of an exception's traceback, from the first frame that is the user's.

    The frames of gpyro and gevent before it are cut off; if all frames are theirs, all stay. What the exception
    has in `remote_stacktrace` itself, from an onward call, is not among them: it travels beside them. Whatever the
    exception, its values and its source files do, there are lines.

    Args:
        exc: the exception, caught.
        detailed: add the local variables of each frame; see `MAX_LOCALS` and `MAX_VALUE_LENGTH`.
    """
    try:
        text = _format(exc, detailed)
    except Exception as failure:
        # A broken __str__ or __repr__ somewhere; the caller must still learn what it was.
        text = f"{type(exc).__name__} (its traceback cannot be shown: {type(failure).__name__})\n"
    return bounded_lines([f"{_cut(line, MAX_LINE_LENGTH)}\n" for line in text.splitlines()])


def bounded_lines(lines: list[str]) -> list[str]:
    """Leave out the middle of a traceback that is too long: the end names the exception."""
    if len(lines) <= MAX_LINES:
        return lines
    half = MAX_LINES // 2
    return [*lines[:half], f"  ... {len(lines) - 2 * half} lines left out\n", *lines[-half:]]


def _format(exc: BaseException, detailed: bool) -> str:
    frames = _user_traceback(exc.__traceback__)
    # A negative limit keeps the last frames.
    shown = traceback.TracebackException(type(exc), exc, frames, limit=-MAX_FRAMES)
    notes = getattr(shown, "__notes__", None)
    if isinstance(notes, (list, tuple)):
        shown.__notes__ = [note for note in notes if not is_remote_note(note)]  # type: ignore[attr-defined]
    text = "".join(shown.format())
    text += "".join(_not_in(text, exc, itself=False))
    return text + "".join(_locals_of(frames)) if detailed else text


def _user_traceback(trace: TracebackType | None) -> TracebackType | None:
    step = trace
    while step is not None and _is_dispatch(step.tb_frame):
        step = step.tb_next
    return step or trace


def _is_dispatch(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__", "")
    return isinstance(module, str) and module.partition(".")[0] in DISPATCH_PACKAGES


class _ShortRepr(Repr):
    """Writes values within bounds; a value whose own repr fails is named by its class."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxlong = self.maxother = MAX_VALUE_LENGTH

    def repr_instance(self, x: object, level: int) -> str:
        try:
            return _cut(repr(x), MAX_VALUE_LENGTH)
        except Exception as failure:
            return f"<{type(x).__name__} whose repr raised {type(failure).__name__}>"


def _locals_of(trace: TracebackType | None) -> Iterator[str]:
    """Write the local variables frame by frame, in the order of the traceback."""
    frames = []
    while trace is not None:
        frames.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    short = _ShortRepr()
    for frame, line in frames[-MAX_FRAMES:]:
        code = frame.f_code
        yield f"Local variables of {code.co_name} at {code.co_filename}, line {line}:\n"
        values = list(dict(frame.f_locals).items())
        for name, value in values[:MAX_LOCALS]:
            yield f"    {name} = {_one_line(short, value)}\n"
        if len(values) > MAX_LOCALS:
            yield f"    ... and {len(values) - MAX_LOCALS} more\n"


def _one_line(short: Repr, value: object) -> str:
    try:
        text = short.repr(value)
    except Exception as failure:
        return f"<{type(value).__name__} whose repr raised {type(failure).__name__}>"
    return _cut(" ".join(text.splitlines()), MAX_VALUE_LENGTH)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
