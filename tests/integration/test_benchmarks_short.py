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


@pytest.mark.slow
def test_short_run_of_the_curves_prints_tables_and_keeps_samples(tmp_path: Path) -> None:
    samples = tmp_path / "curves.json"
    words = [sys.executable, "-m", "benchmarks.curves", "--short", "--peers", "raw,gpyro", "--json", str(samples)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)

    assert done.returncode == 0, done.stdout + done.stderr
    curves = split_works(done.stdout)
    assert tuple(curves) == ("callers", "connections", "latency", "sizes")
    for name in ("callers", "connections", "sizes"):
        rows = re.findall(r"^ *[\d,]+ +[\d,.]+ +[\d,.]+$", curves[name], flags=re.MULTILINE)
        assert len(rows) >= 2, curves[name]
    assert re.search(r"^gpyro( +[\d,.]+){7} +[\d,.]+ \.\. [\d,.]+$", curves["latency"], flags=re.MULTILINE)
    kept = json.loads(samples.read_text())["curves"]
    assert {one["peer"] for one in kept["latency"]["latency"]["own"]} == {"raw", "gpyro"}
    assert list(kept["sizes"]["points"]) == ["64", "16777216"]


@pytest.mark.slow
def test_curve_and_ratios_are_drawn_where_matplotlib_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need gpyro[bench]")
    module = [sys.executable, "-m", "benchmarks"]
    for words in (
        [f"{module[2]}.curves", "--short", "--only", "callers", "--peers", "raw,gpyro", "--plot", str(tmp_path)],
        [module[2], "--short", "--only", "small", "--peers", "raw,gpyro", "--plot", str(tmp_path / "ratios.svg")],
    ):
        done = subprocess.run(
            [*module[:2], *words], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
        assert done.returncode == 0, done.stdout + done.stderr

    assert (tmp_path / "callers.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (tmp_path / "callers.svg").read_text()
    assert "</svg>" in (tmp_path / "ratios.svg").read_text()


@pytest.mark.slow
def test_calls_leave_nothing_behind_on_either_side() -> None:
    words = [sys.executable, "-m", "benchmarks.growth", "--short"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)

    # Memory and counts hold on any machine, so the exit status is part of it.
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r" pass$", done.stdout, flags=re.MULTILINE)) == 7
    assert len(re.findall(r"^(?:server|client) after \d+%", done.stdout, flags=re.MULTILINE)) == 6


@pytest.mark.slow
@pytest.mark.parametrize(("module", "titles"), [
    ("steps", ["small", "rows", "tuples", "megabyte"]), ("codecs", ["text", "rows", "tuples"]),
])  # fmt: skip
def test_where_the_time_goes_is_told_for_each_payload(module: str, titles: list[str]) -> None:
    short = ["--calls", "50"] if module == "steps" else ["--short"]
    words = [sys.executable, "-m", f"benchmarks.{module}", *short]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^## (\w+)$", done.stdout, flags=re.MULTILINE) == titles
    rows = re.findall(r"^ *(?:client|server|both|gpyro) +(\d+\.\d\d) ", done.stdout, flags=re.MULTILINE)
    assert len(rows) == (4 * 15 if module == "steps" else 3)


def test_unknown_curve_is_refused_with_those_that_there_are() -> None:
    words = [sys.executable, "-m", "benchmarks.curves", "--only", "speed"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)

    assert done.returncode == 2
    assert "no curve is called 'speed'; there are callers, connections, latency, sizes" in done.stderr


def test_plot_without_matplotlib_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from benchmarks.curves import main\n"
        f"main(['--plot', {str(tmp_path)!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
    )

    assert done.returncode == 2
    assert '--plot needs matplotlib, which is not installed: pip install "gpyro[bench]"' in done.stderr


def test_plot_with_another_ending_is_refused_with_those_that_can_be_written() -> None:
    done = run_benchmarks("--plot", "ratios.jpg")

    assert done.returncode == 2
    assert "cannot write a plot to ratios.jpg: its name has to end with .svg or .png" in done.stderr


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
