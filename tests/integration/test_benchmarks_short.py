"""`python -m benchmarks --short` runs: the harness, its workers, its table. No time is asserted."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 85
WORKS = (
    "small", "rows", "tuples", "megabyte", "greenlets", "naps", "connect", "logins", "idle", "fanout", "naming",
    "startup", "command",
)  # fmt: skip


def run_benchmarks(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )


def split_works(output: str) -> dict[str, str]:
    """The text under each work's heading."""
    parts = re.split(r"^## (\w+): .*$", output, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.slow
def test_short_run_prints_a_row_for_each_work(tmp_path: Path) -> None:
    samples = tmp_path / "samples.json"

    done = run_benchmarks("--short", "--peers", "raw,gpyro,gpyro-key", "--json", str(samples))

    assert done.returncode == 0, done.stdout + done.stderr
    works = split_works(done.stdout)
    goals = works.pop("goals")
    assert tuple(works) == WORKS
    for name, text in works.items():
        assert re.search(rf"^{name} .* (-|not measured)$", goals, flags=re.M), f"no goal of {name}: {goals}"
        row = re.search(r"^(import gpyro|gpyro|gpyro --help) +[\d,.]+ ", text, flags=re.MULTILINE)
        assert row, f"no figures of gpyro under {name}: {text}"
    assert "cores" in done.stdout.splitlines()[-2]
    assert len(json.loads(samples.read_text())["results"]) >= 2 * len(WORKS) - 1


@pytest.mark.slow
def test_benchmark_of_the_name_server_prints_its_figures() -> None:
    words = [sys.executable, "-m", "benchmarks.naming", "--names", "3000", "--seconds", "0.2"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)

    # Of so few names the memory of the rest is most, so figures may be missed.
    assert re.search(r"\d figures missed\n$", done.stdout), done.stdout + done.stderr
    assert len(re.findall(r"(?:pass|MISS)$", done.stdout, flags=re.MULTILINE)) == 5


@pytest.mark.slow
def test_benchmark_of_the_event_server_prints_its_figures() -> None:
    words = [sys.executable, "-m", "benchmarks.events", "--short", "--processes", "2"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)

    assert re.search(r"\d figures missed\n$", done.stdout), done.stdout + done.stderr
    titles = re.findall(r"^## ([\w-]+): ", done.stdout, flags=re.MULTILINE)
    assert titles == ["fan-out", "growth", "rate", "latency"]
    # Of so few events the times say nothing, so their figures may be missed; counts have to hold.
    missed = re.findall(r"^.* MISS$", done.stdout, flags=re.MULTILINE)
    assert [line for line in missed if "=" not in line] == [], done.stdout


def test_unknown_measurement_of_events_is_refused_with_those_that_there_are() -> None:
    words = [sys.executable, "-m", "benchmarks.events", "--only", "speed"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)

    assert done.returncode == 2
    assert "no measurement is called 'speed'; there are fan-out, growth, rate, latency" in done.stderr


def test_unknown_work_is_refused_with_the_names_that_there_are() -> None:
    done = run_benchmarks("--only", "speed")

    assert done.returncode == 2
    assert "no work is called 'speed'; there are small, rows" in done.stderr


def test_list_tells_works_and_peers() -> None:
    done = run_benchmarks("--list")

    assert done.returncode == 0
    for name in (*WORKS, "gpyro", "raw", "pyro5-marshal"):
        assert re.search(rf"^  {re.escape(name)}\b", done.stdout, flags=re.MULTILINE)
