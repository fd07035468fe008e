"""The corpus of the fuzzer, replayed; and with GPYRO_TEST_FUZZ_SECONDS a campaign over each target."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.fuzz import __main__ as fuzzer
from tests.fuzz.make_corpus import CORPUS, seeds
from tests.fuzz.targets import TARGETS

SECONDS = int(os.environ.get("GPYRO_TEST_FUZZ_SECONDS", "0"))


def corpus(target: str) -> list[Path]:
    return sorted((CORPUS / target).iterdir())


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_of_the_corpus_breaks_a_promise(target: str) -> None:
    broken = {}
    for path in corpus(target):
        try:
            TARGETS[target](path.read_bytes())
        except Exception as exc:
            broken[path.name] = f"{type(exc).__name__}: {exc}"
    assert broken == {}


@pytest.mark.parametrize("target", TARGETS)
def test_no_beginning_of_an_input_of_the_corpus_breaks_a_promise(target: str) -> None:
    for path in corpus(target):
        data = path.read_bytes()
        for end in {0, 1, 2, 3, 4, len(data) // 2, max(len(data) - 1, 0)}:
            TARGETS[target](data[:end])


def test_corpus_is_small_and_has_each_target() -> None:
    assert sorted(TARGETS) == sorted(fuzzer.NAMES) == sorted(path.name for path in CORPUS.iterdir())
    files = [path for target in TARGETS for path in corpus(target)]
    assert len(files) <= 300
    assert max(path.stat().st_size for path in files) <= fuzzer.MAX_BYTES


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_that_the_script_makes_today_break_no_promise(target: str) -> None:
    made = seeds()[target]
    assert made
    for data in made.values():
        TARGETS[target](data)


def test_command_says_what_to_install_where_atheris_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "atheris", None)
    assert fuzzer.main(["--target", "uri", "--seconds", "1"]) == 2
    error = capsys.readouterr().err
    assert "gpyro[fuzz]" in error and error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("target", TARGETS)
def test_campaign_finds_nothing(target: str) -> None:
    if not SECONDS:
        pytest.skip("GPYRO_TEST_FUZZ_SECONDS is not set; it says how long each target is fuzzed")
    if not fuzzer.is_installed():
        pytest.skip(fuzzer.MISSING)
    campaign = fuzzer.run(target, SECONDS)
    print(campaign)
    assert campaign.findings == [], f"{[data.hex() for data in campaign.findings]}\n{campaign.log[-4000:]}"
    assert campaign.executions > 0
