"""The journal: rounds, their order, failures of the disk, who is woken and how often; on a hand-written disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest

from gpyro import hub
from gpyro._hub import tickets
from gpyro.errors import ServerBusyError, StorageError
from gpyro.storage import journal
from gpyro.storage.journal import Journal, NotKept, Round

SECONDS = 20.0


class Disk:
    """A store that waits to be let on before each write, and fails as it is told to."""

    def __init__(self) -> None:
        #: Rung when a write begins.
        self.begun = hub.Bell()
        self.go = hub.Bell()
        self.tidied = hub.Bell()
        self.rounds: list[list[str]] = []
        self.failures: list[Exception | None] = []
        self.untidy = False
        self.much = False
        self.tidyings = 0
        self.tidy_failure: Exception | None = None
        self.is_closed = False
        #: Nothing waits any more.
        self.is_free = False

    def write(self, entries: list[str]) -> None:
        self.begun.ring()
        assert self.is_free or self.go.wait(SECONDS)
        self.rounds.append(list(entries))
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure

    def is_untidy(self) -> bool:
        return self.untidy

    def needs_tidying(self) -> bool:
        return self.much

    def tidy(self) -> None:
        self.tidyings += 1
        self.untidy = self.much = False
        self.tidied.ring()
        if self.tidy_failure is not None:
            raise self.tidy_failure

    def close(self) -> None:
        self.is_closed = True


class Owner:
    """What a storage does around its journal."""

    def __init__(self, disk: Disk) -> None:
        self.lock = hub.NativeLock()
        self.disk = disk
        self.done: list[str] = []
        self.undone: list[str] = []
        self.journal: Journal[str] = Journal(self.lock, lambda: disk, self.note, self.undone.extend)
        self.journal.start()

    def note(self, batch: Round[str]) -> None:
        self.done += batch.entries

    def put(self, entry: str) -> Round[str]:
        with self.lock:
            self.journal.check()
            return self.journal.put(entry)

    def begin(self, entry: str) -> Round[str]:
        """Put an entry, and return when the disk has it in its hands."""
        pending = self.put(entry)
        assert self.disk.begun.wait(SECONDS)
        return pending


@contextmanager
def owning(disk: Disk | None = None) -> Iterator[Owner]:
    threads = count_threads()
    owner = Owner(disk or Disk())
    try:
        yield owner
    finally:
        owner.disk.is_free = True
        owner.disk.go.ring()
        assert owner.journal.close(SECONDS)
        assert owner.disk.is_closed
        with gevent.Timeout(SECONDS):
            while count_threads() > threads:
                gevent.sleep(0.001)


def count_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def test_what_is_put_while_the_disk_works_is_one_round_in_order() -> None:
    with owning() as owner:
        first = owner.begin("a")
        second = [owner.put(entry) for entry in "bcd"]
        assert len(set(map(id, [first, *second]))) == 2
        owner.disk.go.ring()
        first.settle()
        assert owner.disk.begun.wait(SECONDS)
        owner.disk.go.ring()
        for pending in second:
            pending.settle()
        assert owner.disk.rounds == [["a"], ["b", "c", "d"]]
        assert owner.done == ["a", "b", "c", "d"]
        with owner.lock:
            assert owner.journal.newest() is None


def test_hub_runs_on_while_the_disk_works_and_is_woken_once_for_all_who_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[hub.HubState] = []

    def counted(state: hub.HubState, function: Callable[[], object]) -> None:
        calls.append(state)
        hub.run_in_hub_of(state, function)

    monkeypatch.setattr(tickets, "run_in_hub_of", counted)
    with owning() as owner:
        first = owner.begin("first")
        pending = owner.put("x")
        waiting = [gevent.spawn(pending.settle) for _ in range(50)]
        gevent.sleep(0)
        assert "50 wait" in repr(pending)
        owner.disk.go.ring()
        first.settle()
        calls.clear()
        assert owner.disk.begun.wait(SECONDS)
        owner.disk.go.ring()
        gevent.joinall(waiting, timeout=SECONDS, raise_error=True)
        assert all(waiter.ready() for waiter in waiting)
        assert len(calls) == 1


def test_plain_threads_and_greenlets_of_other_threads_wait_too() -> None:
    with owning() as owner:
        pending = owner.begin("x")
        woken: list[str] = []
        entered = threading.Barrier(3)

        def plain() -> None:
            entered.wait(SECONDS)
            pending.settle()
            woken.append("plain")

        def with_greenlets() -> None:
            waiting = [gevent.spawn(pending.settle) for _ in range(5)]
            gevent.sleep(0)
            entered.wait(SECONDS)
            gevent.joinall(waiting, raise_error=True)
            woken.append("greenlets")

        threads = [threading.Thread(target=target) for target in (plain, with_greenlets)]
        for thread in threads:
            thread.start()
        entered.wait(SECONDS)
        owner.disk.go.ring()
        for thread in threads:
            thread.join(SECONDS)
        assert sorted(woken) == ["greenlets", "plain"]


def test_full_disk_undoes_the_round_and_all_behind_it_and_takes_later_ones() -> None:
    with owning() as owner:
        owner.disk.failures = [NotKept("names.sqlite: the disk is full; make room")]
        first = owner.begin("a")
        behind = [owner.put("b"), owner.put("c")]
        owner.disk.go.ring()
        for pending in (first, *behind):
            assert not pending.lasts()
            with pytest.raises(StorageError, match=r"^names.sqlite: the disk is full; make room$"):
                pending.settle()
        assert owner.undone == ["a", "b", "c"]
        assert owner.done == []
        assert owner.disk.rounds == [["a"]]
        later = owner.begin("d")
        owner.disk.go.ring()
        later.settle()
        assert owner.done == ["d"]


def test_any_other_failure_undoes_all_and_nothing_is_taken_any_more() -> None:
    with owning() as owner:
        owner.disk.failures = [StorageError("names.sqlite: disk I/O error; start again")]
        first = owner.begin("a")
        behind = owner.put("b")
        owner.disk.go.ring()
        assert not first.lasts()
        assert not behind.lasts()
        assert owner.undone == ["a", "b"]
        with pytest.raises(StorageError, match=r"no changes are taken since a write failed.*start again"):
            owner.put("c")
        assert owner.disk.rounds == [["a"]]
        assert "stopped: names.sqlite" in repr(owner.journal)


def test_failure_while_tidying_stops_it_and_fails_what_waits() -> None:
    with owning() as owner:
        owner.disk.tidy_failure = StorageError("the file cannot be written")
        owner.disk.much = True
        first = owner.begin("a")
        owner.disk.go.ring()
        first.settle()
        assert owner.disk.tidied.wait(SECONDS)
        with pytest.raises(StorageError, match="the file cannot be written"):
            # It may be put before the failure is known; it does not last then.
            owner.put("b").settle()
        assert owner.done == ["a"]


def test_store_is_tidied_when_nothing_is_to_be_done() -> None:
    with owning() as owner:
        owner.disk.untidy = True
        owner.disk.go.ring()
        owner.put("a").settle()
        assert owner.disk.tidied.wait(SECONDS)
        assert owner.disk.tidyings == 1


def test_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MAX_QUEUED", 3)
    with owning() as owner:
        owner.begin("a")
        pending = [owner.put(entry) for entry in "bcd"][-1]
        with pytest.raises(ServerBusyError, match=r"^3 changes wait for the disk, which is the limit"):
            owner.put("e")
        assert repr(owner.journal) == "<Journal open, 4 changes wait>"
        owner.disk.go.ring()
        assert owner.disk.begun.wait(SECONDS)
        owner.disk.go.ring()
        pending.settle()
        assert owner.done == ["a", "b", "c", "d"]


def test_close_waits_for_what_is_queued_and_ends_the_thread() -> None:
    with owning() as owner:
        owner.begin("a")
        owner.put("b")
        closing = gevent.spawn(owner.journal.close)
        gevent.sleep(0)
        owner.disk.go.ring()
        assert owner.disk.begun.wait(SECONDS)
        owner.disk.go.ring()
        assert closing.get(timeout=SECONDS)
        assert owner.done == ["a", "b"]
        assert repr(owner.journal) == "<Journal closed, 0 changes wait>"


def test_close_of_a_disk_that_hangs_returns_in_time() -> None:
    with owning() as owner:
        owner.begin("a")
        assert owner.journal.close(0.01) is False


def test_wait_for_a_disk_that_hangs_is_bounded_and_the_change_may_still_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with owning() as owner:
        pending = owner.begin("a")
        with monkeypatch.context() as patch:
            patch.setattr(journal, "WAIT_SECONDS", 0.01)
            with pytest.raises(StorageError, match=r"has not taken a change within 0\.01 s; it may still do so"):
                pending.settle()
        owner.disk.go.ring()
        pending.settle()
        assert owner.done == ["a"]


def test_greenlet_that_is_killed_while_it_waits_leaves_nothing() -> None:
    with owning() as owner:
        pending = owner.begin("a")
        waiting = gevent.spawn(pending.settle)
        gevent.sleep(0)
        waiting.kill()
        assert repr(pending) == "<Round 0 wait>"
        owner.disk.go.ring()
        pending.settle()
        assert repr(pending) == "<Round over>"


def test_store_that_cannot_be_opened_raises_at_the_start() -> None:
    def fail() -> Disk:
        raise StorageError("no such disk")

    journal: Journal[str] = Journal(hub.NativeLock(), fail, print, print)
    with pytest.raises(StorageError, match=r"^no such disk$"):
        journal.start()
    assert journal.close(SECONDS)


def test_tell_is_called_without_the_lock_before_those_who_wait_are_woken() -> None:
    disk, lock = Disk(), hub.NativeLock()
    seen: list[tuple[list[str], bool, bool]] = []
    journal: Journal[str] = Journal(
        lock, lambda: disk, lambda batch: None, lambda entries: None,
        lambda batch: seen.append((batch.entries, lock.locked(), batch.is_over)),
    )  # fmt: skip
    disk.is_free = True
    journal.start()
    disk.failures = [NotKept("full"), None]
    for entry in "ab":
        with lock:
            pending = journal.put(entry)
        assert pending.lasts() == (entry == "b")
    assert journal.close(SECONDS)
    assert seen == [(["b"], False, False)]


@pytest.mark.parametrize("callback", ["_lasts", "_tell"])
def test_defect_of_a_listener_is_told_and_stops_it(
    callback: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with owning() as owner:

        def fail(batch: Any) -> None:
            raise KeyError("a defect")

        monkeypatch.setattr(owner.journal, callback, fail)
        pending = owner.begin("a")
        owner.disk.go.ring()
        pending.settle()
        with pytest.raises(StorageError, match="a defect"):
            owner.put("b")
    assert "a defect" in capsys.readouterr().err
