"""How long programs take to start: imports, the first call, the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from benchmarks.model import Kind, Result, Work
from benchmarks.peers import PEERS
from benchmarks.processes import WorkerFailed, WorkerProcess, build_environment
from benchmarks.rounds import START_SECONDS, Progress

PROGRAM_SECONDS = 30.0
# Times a program from its first statement: the interpreter's own start is not a library's doing.
TIMED_PROGRAM = "from time import perf_counter as _now; _start = _now(); {program}; print(_now() - _start)"


@dataclass
class Program:
    """Something to start again and again, and its times in milliseconds."""

    label: str
    command: list[str]
    prints_seconds: bool
    samples: list[float] = field(default_factory=list)
    failed: str = ""

    def run(self) -> float:
        """Run it once; the seconds it took."""
        start = perf_counter()
        done = subprocess.run(
            self.command, capture_output=True, text=True, timeout=PROGRAM_SECONDS, env=build_environment()
        )
        seconds = perf_counter() - start
        if done.returncode:
            raise WorkerFailed(f"ended with code {done.returncode}: {last_line(done.stderr)}")
        return float(done.stdout) if self.prints_seconds else seconds

    def measure(self) -> None:
        """Add a sample, or keep the reason why there is none; after a failure do nothing."""
        if self.failed:
            return
        try:
            self.samples.append(self.run() * 1000)
        except (WorkerFailed, subprocess.TimeoutExpired, OSError) as exc:
            self.failed = str(exc)

    def build_result(self, work: Work) -> Result:
        samples = () if self.failed else tuple(self.samples)
        return Result(work.name, self.label, samples, failed=self.failed)


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:160] if lines else "no message"


def run_startup(work: Work, peers: Sequence[str], rounds: int, progress: Progress) -> list[Result]:
    """Run all programs of a work, interleaved; one run before them fills the byte-code caches."""
    with ExitStack() as stack:
        programs = build_commands() if work.kind is Kind.COMMAND else build_programs(work, peers, stack)
        for program in programs:
            progress(f"{work.name}: {program.label}")
            program.measure()
            program.samples.clear()  # this one filled the byte-code caches
        for number in range(min(rounds, work.most_rounds)):
            progress(f"{work.name}: round {number + 1}")
            for program in programs:
                program.measure()
    return [program.build_result(work) for program in programs]


def build_commands() -> list[Program]:
    return [
        Program("python -c pass", [sys.executable, "-c", "pass"], prints_seconds=False),
        Program("gpyro --help", [*find_gpyro_command(), "--help"], prints_seconds=False),
    ]


def find_gpyro_command() -> list[str]:
    """The installed command, or the module when gpyro runs from its checkout."""
    script = Path(sys.executable).with_name("gpyro")
    return [str(script)] if script.exists() else [sys.executable, "-m", "gpyro"]


def build_programs(work: Work, peers: Sequence[str], stack: ExitStack) -> list[Program]:
    """The import of each peer, and its import with a first call where that takes one line."""
    programs = [timed_program("import gevent", "import gevent")]
    for name in peers:
        entry = PEERS[name]
        if not entry.import_program or name == "raw":
            continue
        label = entry.import_program
        programs.append(timed_program(label, entry.import_program))
        if entry.call_program:
            programs.append(build_first_call(name, f"{label} + first call", work, stack))
    return programs


def build_first_call(name: str, label: str, work: Work, stack: ExitStack) -> Program:
    server = stack.enter_context(WorkerProcess("server", name, work.name))
    entry = PEERS[name]
    try:
        address = server.read(START_SECONDS)["address"]
    except WorkerFailed as exc:
        return Program(label, [sys.executable, "-c", "raise SystemExit(1)"], True, failed=str(exc))
    return timed_program(label, f"{entry.import_program}; {entry.call_program.format(address=address)}")


def timed_program(label: str, program: str) -> Program:
    return Program(label, [sys.executable, "-c", TIMED_PROGRAM.format(program=program)], prints_seconds=True)
