"""A log of events whose process is killed, at random moments and around its writes, or whose disk fails."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from gpyro.storage.eventsqlite import EventSqlite
from tests.support.campaigns import needs_strace, points
from tests.support.programs import PROGRAMS, Program, make_environment

HISTORY = 40
WORKERS = 10
SEED = 23

#: Where in the journal's thread the process is killed: before the call is made.
WRITE, SYNC = "pwrite64", "fdatasync,fsync"


class Log:
    """One log in a file, and what all programs that used it said of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "events" / "events.sqlite"
        self.id: str | None = None
        self.given: dict[int, str] = {}
        self.kept: set[int] = set()
        self.refused: dict[int, str] = {}
        self.told: list[int] = []
        self.begun: set[int] = set()
        self.done: set[int] = set()
        self.waiting: list[int] = []
        self.history: list[int] = []

    def run(self, events: int, inject: str = "", kill_after: int = 0) -> None:
        """Run the workers to their end, or until they are killed; by strace, or after so many events."""
        prefix: list[str] = []
        if inject:
            calls = inject.partition(":")[0]
            prefix = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={inject}"]
        words = [str(PROGRAMS / "event_log.py"), str(self.path), str(HISTORY), str(WORKERS), str(events)]
        with Program(words, make_environment(self.directory), prefix) as program:
            for _ in range(kill_after):
                program.read_until("kept")
            if kill_after:
                program.kill()
            ended = program.finish()
        is_killed = bool(kill_after) or "signal=KILL" in inject
        assert (ended.status != 0) == is_killed, ended.stderr
        self.told = []
        for line in ended.stdout.splitlines():
            self.note(*line.split(" ", 2))
        assert self.told == sorted(set(self.told))

    def note(self, what: str, first: str = "", rest: str = "") -> None:
        if what == "log":
            assert self.id in (None, first)
            self.id = first
            return
        if what in ("waiting", "history"):
            setattr(self, what, [int(number) for number in f"{first} {rest}".split()])
            return
        sequence = int(first)
        if what == "given":
            assert sequence not in self.given and sequence > max(self.kept, default=0)
            self.given[sequence] = rest
        elif what == "kept":
            assert self.told.count(sequence) == 1
            self.kept.add(sequence)
        elif what == "refused":
            self.refused[sequence] = rest
        elif what == "told":
            self.told.append(sequence)
        elif what == "begin":
            self.begun.add(sequence)
        elif what == "done":
            self.done.add(sequence)

    def check(self) -> None:
        """Open a copy of what is on the disk; it is what is known from now on."""
        copy = self.directory / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.path.parent, copy)
        if not (copy / self.path.name).exists():
            assert self.id is None
            return
        with EventSqlite(str(copy / self.path.name), max_events=HISTORY) as storage:
            assert self.id in (None, storage.log)
            waiting = {record.sequence: record.payload.decode() for record in storage.waiting("queue")}
            history = {record.sequence: record.payload.decode() for record in storage.history()}
            newest, oldest = storage.newest, storage.oldest
        assert self.kept - self.begun <= waiting.keys()
        assert not self.done & waiting.keys()
        unknown = waiting.keys() - self.kept
        # What was asked for when it died may be there, and the answer to it was not given.
        assert unknown <= self.given.keys()
        assert {sequence: self.given[sequence] for sequence in waiting | history} == waiting | history
        assert newest >= max(self.kept | set(self.told), default=0)
        assert {sequence for sequence in self.kept if sequence >= oldest} <= history.keys()
        assert len(history) == HISTORY or len(self.kept) < HISTORY
        self.kept |= unknown
        self.done |= {sequence for sequence in self.begun if sequence not in waiting}
        self.begun &= self.done


@pytest.mark.timeout(points(90, 900))
def test_process_killed_at_random_moments_keeps_all_that_was_kept_and_acknowledged(tmp_path: Path) -> None:
    log, rnd = Log(tmp_path), random.Random(SEED)
    kills = points(12, 80)
    for _ in range(kills):
        log.run(1_000_000, kill_after=rnd.randrange(1, 300))
        log.check()
    log.run(10)
    log.check()
    assert len(log.kept) > 10 * kills and len(log.done) > kills


@needs_strace
@pytest.mark.timeout(points(90, 900))
@pytest.mark.parametrize(("calls", "last"), [(WRITE, 300), (SYNC, 100)])
def test_process_killed_around_its_writes_keeps_all_that_was_kept_and_acknowledged(
    tmp_path: Path, calls: str, last: int
) -> None:
    log, rnd = Log(tmp_path), random.Random(SEED)
    for point in range(points(10, 80)):
        # The first ones one by one, from the making of the file on, then further apart.
        step = point + 1 if point < 4 else rnd.randrange(5, last)
        log.run(1_000_000, f"{calls}:signal=KILL:when={step}")
        log.check()
    log.run(10)
    log.check()
    assert log.kept and log.done


@needs_strace
@pytest.mark.parametrize("calls", [SYNC, WRITE])
def test_failed_write_or_fsync_stops_events_until_it_is_opened_again_and_answers_go_on(
    tmp_path: Path, calls: str
) -> None:
    log = Log(tmp_path)
    log.run(40, f"{calls}:error=EIO:when=60")
    assert log.kept and log.refused
    assert any("events.sqlite: it cannot be written" in why for why in log.refused.values())
    # Only that one call failed; later ones would succeed, but what is on the disk is not known any more.
    later = [sequence for sequence in log.refused if sequence]
    assert not later or max(log.kept) < min(later)
    assert "no changes are taken since a write failed" in log.refused[0]
    assert log.kept - log.begun <= set(log.waiting) <= log.kept - log.done
    assert log.history == sorted(log.kept)[-HISTORY:]
    log.check()
    refused = len(log.refused)
    log.run(5)
    assert len(log.refused) == refused
    log.check()


@needs_strace
def test_full_disk_refuses_events_until_there_is_room_again_and_answers_go_on(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.run(40, "pwrite64:error=ENOSPC:when=150..153")
    assert log.refused
    assert all("the disk is full" in why and "make room" in why for why in log.refused.values())
    assert max(log.kept) > max(log.refused)
    assert log.kept.isdisjoint(log.refused)
    assert log.history == sorted(log.kept)[-HISTORY:]
    assert log.kept - log.begun <= set(log.waiting) <= log.kept - log.done
    # What was refused is nowhere.
    log.check()
    assert log.kept.isdisjoint(log.refused)
