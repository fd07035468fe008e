"""A name server with a database whose machine loses power at any moment of a recorded run."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from gpyro.storage.sqlite import SqliteStorage
from tests.support.campaigns import needs_strace, points
from tests.support.crash_images import KINDS, Event, make_image, read_log, record, write_image
from tests.support.programs import PROGRAMS, Program, free_port, make_environment

SEED = 12
GONE = "-"


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """What a name server wrote, and its clients asked and were answered."""
    directory = tmp_path_factory.mktemp("recorded")
    log, notes = directory / "log", directory / "notes"
    words = [str(PROGRAMS / "recorded_name_server.py"), str(notes), "8", "6"]
    with Program(words, make_environment(directory, ns_port=free_port()), record(log)) as program:
        assert program.finish().status == 0
    return read_log(log.read_text(), directory / "Pyro_NS_database", notes)


def allowed_after(events: Iterable[Event]) -> dict[str, set[str]]:
    """Return which addresses each name may have: the one that was acknowledged last, or one that was asked for."""
    allowed: dict[str, set[str]] = {}
    for event in events:
        if event.kind == "note":
            what, name, address = event.data.decode().split()
            if what == "done":
                allowed[name] = {address}
            else:
                allowed.setdefault(name, {GONE}).add(address)
    return allowed


@needs_strace
def test_recorded_run_has_all_that_matters(events: list[Event]) -> None:
    kinds = Counter(event.kind for event in events)
    assert kinds["note"] > 200
    assert min(kinds[kind] for kind in ("write", "size", "sync", "made", "gone", "renamed")) > 0
    files = Counter(Path(event.name).name for event in events if event.kind == "write")
    # Written while it runs: the log, and the file itself when the log is emptied.
    assert min(files["names.sqlite-wal"], files["names.sqlite"]) > 0


@needs_strace
@pytest.mark.timeout(points(90, 900))
def test_no_state_of_the_disk_is_unreadable_or_lacks_what_was_acknowledged(
    events: list[Event], tmp_path: Path
) -> None:
    rnd = random.Random(SEED)
    count = points(600, 10_000)
    moments = [index for index, event in enumerate(events) if event.kind != "note"]
    seen = Counter[bool]()
    for number in range(count):
        # Even steps through the run, each kind of loss at each part of it.
        moment = moments[number * len(moments) // count] + 1
        image = make_image(events[:moment], KINDS[number % len(KINDS)], rnd)
        directory = tmp_path / "image"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        write_image(image, directory)
        allowed = allowed_after(events[:moment])
        with SqliteStorage(str(directory / "names.sqlite")) as storage:
            found = dict(storage.flatlist())
        found.pop(":Pyro.NameServer", None)
        for name, addresses in allowed.items():
            assert found.pop(name, GONE) in addresses, f"{name} after {moment} events, image {number}"
        assert found == {}
        seen[bool(allowed)] += 1
    assert seen[True] > count / 2
