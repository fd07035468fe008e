"""Bits that are wrong in a file or its log: it is refused and left as it is, or what is in it is exactly right."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gpyro.errors import StorageError
from gpyro.eventrecords import EventRecord, QueueRecord
from gpyro.storage import journal
from gpyro.storage.eventsqlite import EventSqlite
from gpyro.storage.sqlite import SqliteStorage
from gpyro.storage.walcheck import DamagedLog, count_frames

URI = "PYRO://127.0.0.1:7766/0123456789abcdef"
#: A fixed seed: the same bits in every run.
SEED = 11
BITS = 250
PAGE, FRAME, HEADER = 4096, 4120, 32


class Kept(NamedTuple):
    """A directory with all in the file, one with much of it in the log, and what is in both."""

    whole: Path
    logged: Path
    content: object
    #: Opens a file, and returns what is in it.
    look: Callable[[str], object]


def content_of_names(storage: SqliteStorage) -> object:
    records = storage.inspect(lambda tree: sorted([tree.record(":"), *tree.records()]))
    return records, storage.revision, storage.digest, storage.get_note("a")


def look_at_names(path: str) -> object:
    with SqliteStorage(path) as storage:
        return content_of_names(storage)


def content_of_events(storage: EventSqlite) -> object:
    records = [storage.waiting(queue.name) for queue in storage.queues()] + [storage.history()]
    events = [[(r.sequence, r.subject, r.time, r.publisher, r.payload) for r in each] for each in records]
    return events, storage.queues(), storage.newest, storage.log


def look_at_events(path: str) -> object:
    with EventSqlite(path, max_events=10) as storage:
        return content_of_events(storage)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """Names that are kept."""
    monkeypatch.setattr(journal, "IDLE_SECONDS", 1000.0)
    whole, logged = tmp_path / "whole", tmp_path / "logged"
    with SqliteStorage(str(whole / "names.sqlite"), created=1.0) as storage:
        storage.create_group(":g", created=1.0)
        storage.open_lease("lease", seconds=5.0, created=1.0)
        for number in range(30):
            storage.register(f":g.{number}", f"{URI}{number}", created=float(number), lease="lease")
        storage.put_note("a", "b")
        content = content_of_names(storage)
        shutil.copytree(whole, logged)
    return Kept(whole, logged, content, look_at_names)


@pytest.fixture
def kept_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """Events that are kept."""
    monkeypatch.setattr(journal, "IDLE_SECONDS", 1000.0)
    whole, logged = tmp_path / "whole", tmp_path / "logged"
    with EventSqlite(str(whole / "events.sqlite"), max_events=10) as storage:
        for name in ("a", "b"):
            storage.put_queue(QueueRecord(name, None, 1.0, 9, 30.0, ("Stock",))).settle()
        for number in range(20):
            record = EventRecord("Stock", "stock", float(number), "publisher", b"%d" % number)
            storage.append([record], [("a", "b")[: number % 3]]).settle()
        storage.acknowledge("a", range(3, 9)).settle()
        content = content_of_events(storage)
        shutil.copytree(whole, logged)
    return Kept(whole, logged, content, look_at_events)


def flips(size: int, first: int, last: int) -> Iterator[int]:
    """Return numbers of bits: all of the first bytes, and many of the rest."""
    rnd = random.Random(SEED)
    yield from range(first * 8)
    for _ in range(BITS):
        yield rnd.randrange(size * 8)
    for _ in range(BITS):
        yield rnd.randrange((size - last) * 8, size * 8)


def check_flip(kept: Kept, source: Path, name: str, bit: int) -> bool:
    """Open a copy with one bit changed; return whether it was refused, untouched."""
    work = source.parent / "work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(source, work)
    data = bytearray((work / name).read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    (work / name).write_bytes(data)
    before = {file.name: file.read_bytes() for file in work.iterdir()}
    try:
        found = kept.look(str(work / name.removesuffix("-wal")))
    except StorageError as exc:
        assert {file.name: file.read_bytes() for file in work.iterdir()} == before
        assert str(work) in str(exc)
        return True
    assert found == kept.content, f"bit {bit} of {name}"
    return False


@pytest.mark.parametrize(("what", "name"), [("kept", "names.sqlite"), ("kept_events", "events.sqlite")])
def test_bit_of_the_file_that_is_wrong_is_noticed_or_does_not_matter(
    request: pytest.FixtureRequest, what: str, name: str
) -> None:
    kept: Kept = request.getfixturevalue(what)
    size = (kept.whole / name).stat().st_size
    refused = [check_flip(kept, kept.whole, name, bit) for bit in flips(size, 100, PAGE)]
    assert 100 < sum(refused) < len(refused)


@pytest.mark.parametrize(("what", "name"), [("kept", "names.sqlite-wal"), ("kept_events", "events.sqlite-wal")])
def test_bit_of_the_log_that_is_wrong_is_noticed_also_in_its_last_transaction(
    request: pytest.FixtureRequest, what: str, name: str
) -> None:
    kept: Kept = request.getfixturevalue(what)
    size = (kept.logged / name).stat().st_size
    assert (size - HEADER) % FRAME == 0
    refused = [check_flip(kept, kept.logged, name, bit) for bit in flips(size, 60, 2 * FRAME)]
    # What belongs to no frame does not matter, and every byte belongs to one.
    assert all(refused)


def test_log_of_garbage_is_refused_and_left_as_it_is(kept: Kept) -> None:
    logged = kept.logged
    log = logged / "names.sqlite-wal"
    for data in (b"x" * 5000, bytes(5000), log.read_bytes()[FRAME:]):
        log.write_bytes(data)
        with pytest.raises(StorageError, match=r"its log .*-wal is damaged: its header is wrong; put a copy"):
            SqliteStorage(str(logged / "names.sqlite"))
        assert log.read_bytes() == data


def test_log_that_was_cut_short_gives_the_transactions_that_were_whole(kept: Kept) -> None:
    logged, content = kept.logged, kept.content
    log = logged / "names.sqlite-wal"
    whole = log.read_bytes()
    count = (len(whole) - HEADER) // FRAME
    assert count_frames(whole) == count
    before = count_frames(whole[:-1])
    assert 0 < before < count
    for length in range(0, FRAME, 512):
        assert count_frames(whole[: HEADER + before * FRAME + length]) == before
        # A sector that was not written has what was there before: nothing.
        assert count_frames(whole[: -FRAME + length] + bytes(FRAME - length)) == before
    assert count_frames(whole[:HEADER]) == count_frames(whole[:20]) == count_frames(b"") == 0
    log.write_bytes(whole[: HEADER + before * FRAME + 512])
    with SqliteStorage(str(logged / "names.sqlite")) as storage:
        # The note came last.
        assert storage.get_note("a") is None
        storage.put_note("a", "b")
        assert content_of_names(storage) == content


def test_sectors_of_an_earlier_transaction_that_are_missing_are_damage(kept: Kept) -> None:
    logged = kept.logged
    whole = (logged / "names.sqlite-wal").read_bytes()
    start = HEADER + 4 * FRAME
    for length in (512, FRAME):
        with pytest.raises(DamagedLog, match=r"^frame 5 of \d+ is wrong, with later transactions behind it$"):
            count_frames(whole[:start] + bytes(length) + whole[start + length :])
