"""`python -m benchmarks.reliability`: attacks on a server, one table for each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.machine import describe_machine
from benchmarks.progress import clear, show
from benchmarks.reliability.report import render
from benchmarks.reliability.runs import RUNS
from benchmarks.table import render_machine


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description=__doc__)
    parser.add_argument("--only", metavar="R2,...", default=",".join(RUNS), help="these; all without it")
    parser.add_argument("--size", choices=("ci", "full"), default="ci", help="how large the attacks are")
    arguments = parser.parse_args(argv)
    names = arguments.only.split(",")
    for name in names:
        if name not in RUNS:
            parser.error(f"no attack is called {name!r}; there are {', '.join(RUNS)}")
    missed = 0
    machine = describe_machine({})
    for name in names:
        show(f"{name} ...")
        report = RUNS[name](arguments.size == "full")
        clear()
        print(render(report), end="\n\n", flush=True)
        missed += report.missed()
    print(render_machine(machine).strip())
    print(f"{missed} figures missed")
    return int(missed > 0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        clear()
        sys.exit("interrupted; all processes that were started have been ended")
