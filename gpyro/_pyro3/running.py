"""`python -m gpyro.pyro3 program.py`: runs a program for Pyro 3 as Python would, with `Pyro` installed."""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
from importlib.machinery import SourceFileLoader
from types import ModuleType, TracebackType
from typing import NoReturn

from gpyro._pyro3.installing import install
from gpyro.errors import ConfigurationError

__all__ = ["main"]

USAGE = """\
Usage: python -m gpyro.pyro3 [--no-patch] program.py [args...]

Run a program for Pyro 3, in Python 3 syntax, on gpyro: `import Pyro` works, and the process is patched with
gevent (not with --no-patch). The program gets its arguments, and its exit status is that of Python.

Pyro's tools are modules: python -m gpyro.pyro3.naming, .nsc, .xnsc, .EventService.Server, .configuration,
.test.echoserver."""


def main(argv: list[str]) -> None:
    """Run a program.

    Args:
        argv: the words behind `python -m gpyro.pyro3`.

    Raises:
        SystemExit: the program has ended so, or has failed; status 1: a setting is wrong, 2: there is no such
            program.
    """
    words = list(argv)
    patch = True
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word in ("-h", "--help"):
            print(USAGE)
            return
        if word != "--no-patch":
            _refuse(f"unknown option {word!r}\n{USAGE}")
        patch = False
    if not words:
        _refuse(USAGE)
    _run(words[0], words, patch)


def _refuse(text: str) -> NoReturn:
    print(text, file=sys.stderr)
    raise SystemExit(2)


def _run(path: str, argv: list[str], patch: bool) -> None:
    interrupted: list[bool] = []
    # The first one that is registered is the last one that runs.
    atexit.register(_end_by_signal, interrupted)
    # Before anything of the program is loaded, as one of its modules may be called like one of ours.
    try:
        install(patch)
    except ConfigurationError as exc:
        raise SystemExit(f"Error: {exc}") from None
    try:
        with io.open_code(os.path.abspath(path)) as file:
            source = file.read()
    except OSError as exc:
        # As Python says it, with its status.
        _refuse(f"{sys.executable}: can't open file {path!r}: [Errno {exc.errno}] {exc.strerror}")
    path = os.path.abspath(path)
    program = ModuleType("__main__")
    program.__dict__.update(
        __file__=path, __builtins__=sys.modules["builtins"], __loader__=SourceFileLoader("__main__", path),
        __cached__=None,
    )  # fmt: skip
    if "__annotations__" in vars(sys.modules["__main__"]):
        # Python gives one to the main module, up to 3.13.
        program.__annotations__ = {}
    sys.argv[:] = argv
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    sys.modules["__main__"] = program
    try:
        code = compile(source, path, "exec", dont_inherit=True)
        exec(code, program.__dict__)  # noqa: S102 (running the program is what this is for)
    except SystemExit:
        raise
    except BaseException as exc:
        _report(exc)
        if isinstance(exc, KeyboardInterrupt):
            interrupted.append(True)
        raise SystemExit(1) from None


def _end_by_signal(interrupted: list[bool]) -> None:
    """End as Python does where nobody caught ctrl-C: so that a shell sees what ended it."""
    if interrupted:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


def _report(exc: BaseException) -> None:
    """Have the error printed as if the program had been run by Python itself, without our frames."""
    trace: TracebackType | None = exc.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    sys.excepthook(type(exc), exc.with_traceback(trace), trace)
