"""Bits that are wrong in the file or its log: it is refused and left as it is, or the names are exactly right."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpyro.errors import StorageError
from gpyro.storage import journal
from gpyro.storage.sqlite import SqliteStorage
from gpyro.storage.walcheck import DamagedLog, count_frames

URI = "PYRO://127.0.0.1:7766/0123456789abcdef"
#: A fixed seed: the same bits in every run.
SEED = 11
BITS = 250
PAGE, FRAME, HEADER = 4096, 4120, 32


def content_of(storage: SqliteStorage) -> object:
    records = storage.inspect(lambda tree: sorted([tree.record(":"), *tree.records()]))
    return records, storage.revision, storage.digest, storage.get_note("a")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, object]:
    """A directory with all in the file, one with much of it in the log, and what is in both."""
    monkeypatch.setattr(journal, "IDLE_SECONDS", 1000.0)
    whole, logged = tmp_path / "whole", tmp_path / "logged"
    with SqliteStorage(str(whole / "names.sqlite"), created=1.0) as storage:
        storage.create_group(":g", created=1.0)
        storage.open_lease("lease", seconds=5.0, created=1.0)
        for number in range(30):
            storage.register(f":g.{number}", f"{URI}{number}", created=float(number), lease="lease")
        storage.put_note("a", "b")
        content = content_of(storage)
        shutil.copytree(whole, logged)
    return whole, logged, content


def flips(size: int, first: int, last: int) -> Iterator[int]:
    """Return numbers of bits: all of the first bytes, and many of the rest."""
    rnd = random.Random(SEED)
    yield from range(first * 8)
    for _ in range(BITS):
        yield rnd.randrange(size * 8)
    for _ in range(BITS):
        yield rnd.randrange((size - last) * 8, size * 8)


def check_flip(source: Path, name: str, bit: int, content: object) -> bool:
    """Open a copy with one bit changed; return whether it was refused, untouched."""
    work = source.parent / "work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(source, work)
    data = bytearray((work / name).read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    (work / name).write_bytes(data)
    before = {file.name: file.read_bytes() for file in work.iterdir()}
    try:
        storage = SqliteStorage(str(work / "names.sqlite"))
    except StorageError as exc:
        assert {file.name: file.read_bytes() for file in work.iterdir()} == before
        assert str(work) in str(exc)
        return True
    with storage:
        assert content_of(storage) == content, f"bit {bit} of {name}"
    return False


def test_bit_of_the_file_that_is_wrong_is_noticed_or_does_not_matter(kept: tuple[Path, Path, object]) -> None:
    whole, _, content = kept
    size = (whole / "names.sqlite").stat().st_size
    refused = [check_flip(whole, "names.sqlite", bit, content) for bit in flips(size, 100, PAGE)]
    assert 100 < sum(refused) < len(refused)


def test_bit_of_the_log_that_is_wrong_is_noticed_also_in_its_last_transaction(
    kept: tuple[Path, Path, object],
) -> None:
    _, logged, content = kept
    size = (logged / "names.sqlite-wal").stat().st_size
    assert (size - HEADER) % FRAME == 0
    refused = [check_flip(logged, "names.sqlite-wal", bit, content) for bit in flips(size, 60, 2 * FRAME)]
    # What belongs to no frame does not matter, and every byte belongs to one.
    assert all(refused)


def test_log_of_garbage_is_refused_and_left_as_it_is(kept: tuple[Path, Path, object]) -> None:
    _, logged, _ = kept
    log = logged / "names.sqlite-wal"
    for data in (b"x" * 5000, bytes(5000), log.read_bytes()[FRAME:]):
        log.write_bytes(data)
        with pytest.raises(StorageError, match=r"its log .*-wal is damaged: its header is wrong; put a copy"):
            SqliteStorage(str(logged / "names.sqlite"))
        assert log.read_bytes() == data


def test_log_that_was_cut_short_gives_the_transactions_that_were_whole(kept: tuple[Path, Path, object]) -> None:
    _, logged, content = kept
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
        assert content_of(storage) == content


def test_sectors_of_an_earlier_transaction_that_are_missing_are_damage(kept: tuple[Path, Path, object]) -> None:
    _, logged, _ = kept
    whole = (logged / "names.sqlite-wal").read_bytes()
    start = HEADER + 4 * FRAME
    for length in (512, FRAME):
        with pytest.raises(DamagedLog, match=r"^frame 5 of \d+ is wrong, with later transactions behind it$"):
            count_frames(whole[:start] + bytes(length) + whole[start + length :])
