"""Runs a program that gets a ctrl-C just before a line of it is run: `interrupted.py TEXT PROGRAM [WORD ...]`.

The line is the first that begins with TEXT. Where it is not reached the status is 1.
"""

import os
import runpy
import signal
import sys
from pathlib import Path

text, program, *words = sys.argv[1:]
lines = Path(program).read_text().splitlines()
number = next(at for at, line in enumerate(lines, 1) if line.strip().startswith(text))
is_sent = False


def trace(frame, event, argument):
    global is_sent
    if event == "line" and frame.f_lineno == number and frame.f_code.co_filename == program and not is_sent:
        is_sent = True
        os.kill(os.getpid(), signal.SIGINT)
    return trace


sys.argv = [program, *words]
sys.settrace(trace)
runpy.run_path(program, run_name="__main__")
if not is_sent:
    raise SystemExit(f"the line {text!r} was not reached")
