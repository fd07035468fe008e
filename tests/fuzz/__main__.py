"""Fuzz gpyro for a while: `python -m tests.fuzz --target frames --seconds 60`, or without a target each in turn.

The fuzzer is atheris, which sees the lines of gpyro that an input reaches. It ends a process as it likes, so it
runs in a child; what that prints and the inputs it leaves are read here. Ends with 1 where there is a finding.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["CORPUS", "Campaign", "is_installed", "main", "run"]

CORPUS = Path(__file__).parent / "corpus"
NAMES = ("codec", "frames", "handshake", "keyfile", "pickled", "uri")
MISSING = "atheris is not installed here; pip install 'gpyro[fuzz]' (Linux, Python 3.10 to 3.14)"

#: One input may take this long, and the process this much memory; libFuzzer knows whole seconds only.
SLOW_SECONDS, TIMEOUT_SECONDS, RSS_MIB = 0.1, 1, 512
#: Inputs above this find nothing that shorter ones do not, and are slow.
MAX_BYTES = 1024

#: The child's program. It is given the parent's path, so that what is fuzzed is what is tested.
CHILD = """
import sys, types
sys.path[:] = {path!r}
tests = types.ModuleType("tests")
tests.__path__ = [{tests!r}]
sys.modules["tests"] = tests
from tests.fuzz.__main__ import fuzz
fuzz({name!r}, {arguments!r})
"""


@dataclass(frozen=True)
class Campaign:
    """What came of one campaign; `findings` are the inputs, `log` is all that the fuzzer said."""

    target: str
    executions: int
    seconds: float
    slowest_seconds: float
    rss_mib: int
    findings: list[bytes]
    log: str

    def __str__(self) -> str:
        return (
            f"{self.target}: {self.executions} executions in {self.seconds:.0f} s, slowest "
            f"{self.slowest_seconds * 1000:.0f} ms, {self.rss_mib} MiB, {len(self.findings)} findings"
        )


def is_installed() -> bool:
    """Tell whether atheris can be had."""
    try:
        import atheris  # noqa: F401
    except ImportError:
        return False
    return True


def fuzz(name: str, arguments: list[str]) -> None:
    """Fuzz in this process until libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["gpyro"]):
        from tests.fuzz.targets import TARGETS

    slowest = Slowest(TARGETS[name])
    atheris.Setup(["fuzz", *arguments], slowest)
    atheris.Fuzz()


class Slowest:
    """A target that counts what takes too long as a finding.

    The machine may have been busy, or something was done for the first time; so a slow input is tried again.
    """

    def __init__(self, target: Callable[[bytes], None]) -> None:
        self._target = target
        self._slowest = 0.0

    def __call__(self, data: bytes) -> None:
        """Run the target on one input."""
        seconds = self._measure(data)
        if seconds > self._slowest:
            seconds = min(seconds, *(self._measure(data) for _ in range(3)))
        if seconds > self._slowest:
            self._slowest = seconds
            print(f"slowest {seconds:.6f}", file=sys.stderr, flush=True)
        assert seconds <= SLOW_SECONDS, f"an input takes {seconds:.3f} s, limit is {SLOW_SECONDS}"

    def _measure(self, data: bytes) -> float:
        begin = time.perf_counter()
        self._target(data)
        return time.perf_counter() - begin


def run(name: str, seconds: int, keep: Path | None = None) -> Campaign:
    """Run a campaign over one target, beginning with the committed corpus.

    Args:
        keep: a folder for what it finds interesting; thrown away by default.
    """
    with tempfile.TemporaryDirectory(prefix="gpyro-fuzz-") as scratch:
        artifacts, found = Path(scratch, "artifacts"), keep or Path(scratch, "found")
        for folder in (artifacts, found):
            folder.mkdir(parents=True, exist_ok=True)
        arguments = [
            str(found), str(CORPUS / name), f"-max_total_time={seconds}", f"-rss_limit_mb={RSS_MIB}",
            f"-timeout={TIMEOUT_SECONDS}", f"-max_len={MAX_BYTES}", f"-artifact_prefix={artifacts}/",
            "-print_final_stats=1",
        ]  # fmt: skip
        begin = time.monotonic()
        status, log = _run_child(name, arguments)
        findings = [path.read_bytes() for path in sorted(artifacts.iterdir())]
    if status and not findings:
        findings.append(b"")  # it died without leaving the input: the log has to tell
    return Campaign(
        name, _number(log, r"number_of_executed_units:\s*(\d+)"), time.monotonic() - begin,
        max(map(float, re.findall(r"^slowest ([\d.]+)", log, re.MULTILINE)), default=0.0),
        _number(log, r"peak_rss_mb:\s*(\d+)"), findings, log,
    )  # fmt: skip


def _run_child(name: str, arguments: list[str]) -> tuple[int, str]:
    here = str(Path(__file__).parents[1])
    program = CHILD.format(path=sys.path, tests=here, name=name, arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def _number(log: str, pattern: str) -> int:
    found = re.findall(pattern, log)
    return int(found[-1]) if found else 0


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; returns the status to exit with."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz gpyro with atheris.")
    parser.add_argument("--target", choices=NAMES, help="one of them; all in turn by default")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep what reaches something new in DIR/TARGET")
    options: Any = parser.parse_args(arguments)
    if not is_installed():
        print(MISSING, file=sys.stderr)
        return 2
    bad = 0
    for name in (options.target,) if options.target else NAMES:
        campaign = run(name, options.seconds, options.keep and options.keep / name)
        print(campaign, flush=True)
        for data in campaign.findings:
            bad += 1
            print(f"finding, {len(data)} bytes: {data.hex()}\n{campaign.log[-4000:]}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
