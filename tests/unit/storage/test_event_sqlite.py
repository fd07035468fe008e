"""EventSqlite passes the cases of every storage of events, and keeps events across its end and failing disks."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpyro import hub
from gpyro.errors import PyroError, ServerBusyError, StorageError
from gpyro.eventrecords import EventRecord
from gpyro.storage import eventdatabase, eventsqlite, journal
from gpyro.storage.eventdatabase import RESERVED, EventWriter
from gpyro.storage.events import EventStorage
from gpyro.storage.eventsqlite import EventSqlite
from gpyro.storage.journal import NotKept
from gpyro.storage.sqlite import SqliteStorage
from tests.support.files import SECONDS, Gate, left_untouched
from tests.support.programs import make_environment, run
from tests.unit.storage.event_conformance import (
    MODEL_BYTES,
    MODEL_EVENTS,
    EventStorageConformance,
    append,
    event,
    event_state_machine,
    fields_of,
    queue,
    sequences,
)


class TestEventSqlite(EventStorageConformance):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.path = tmp_path_factory.mktemp("events") / "events.sqlite"

    def make_storage(self, **bounds: int) -> EventStorage:
        return EventSqlite(str(self.path), **bounds)


def open_small(path: str) -> EventSqlite:
    return EventSqlite(path, max_events=MODEL_EVENTS, max_bytes=MODEL_BYTES)


def make_storage() -> EventSqlite:
    return open_small(f"{tempfile.mkdtemp()}/events.sqlite")


def reopen(storage: EventStorage) -> EventStorage:
    assert isinstance(storage, EventSqlite)
    storage.close()
    return open_small(storage.path)


def copy_of(storage: EventSqlite) -> str:
    """Return the path of a copy of its file and log, as a process that is killed now leaves them."""
    storage.acknowledge("", []).settle()
    copy = tempfile.mkdtemp()
    for ending in ("", "-wal"):
        shutil.copy2(storage.path + ending, copy)
    return f"{copy}/{os.path.basename(storage.path)}"


def crash(storage: EventStorage) -> EventStorage:
    assert isinstance(storage, EventSqlite)
    path = copy_of(storage)
    storage.close()
    return open_small(path)


TestEventSqliteAgainstModel = event_state_machine(make_storage, reopen).TestCase
TestKilledEventSqliteAgainstModel = event_state_machine(make_storage, crash).TestCase


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "kept" / "events.sqlite")


def content_of(storage: EventStorage) -> object:
    waiting = {q.name: [fields_of(record) for record in storage.waiting(q.name)] for q in storage.queues()}
    history = [fields_of(record) for record in storage.history()]
    return storage.log, storage.newest, storage.oldest, history, storage.queues(), waiting


def rows_in(path: str) -> list[int]:
    """Return the sequences of the events that have rows in a closed file."""
    connection = sqlite3.connect(path)
    try:
        return [sequence for (sequence,) in connection.execute("SELECT sequence FROM events ORDER BY sequence")]
    finally:
        connection.close()


# -- what is kept --------------------------------------------------------------------------------------------


def test_all_that_is_in_it_is_there_again_after_a_close(path: str) -> None:
    with EventSqlite(path, max_events=3) as storage:
        storage.put_queue(queue("b"))
        storage.put_queue(queue("a", 3))
        storage.put_queue(queue("gone"))
        storage.append([event("é", b"\0"), event("Stock"), event("Stock")], [("a", "gone"), ("a", "b"), ()])
        storage.append([event(payload=bytes(100_000)) for _ in range(3)], [("b",), ("b",), ()]).settle()
        storage.remove_queue("gone")
        storage.put_queue(queue("b", 9))
        storage.acknowledge("b", [4]).settle()
        content = content_of(storage)
    with EventSqlite(path, max_events=3) as storage:
        assert content_of(storage) == content
        assert sequences(storage.waiting("a")) == [1, 2]
        assert sequences(storage.waiting("b")) == [2, 5]
        assert storage.queues() == [queue("b", 9), queue("a", 3)]
        # One that has no place in a smaller history goes.
        assert append(storage)[0].sequence == 7
    with EventSqlite(path, max_events=1) as storage:
        assert sequences(storage.history()) == [7]
    assert rows_in(path) == [1, 2, 5, 7]


def test_sequences_and_log_go_on_with_an_empty_history(path: str) -> None:
    with EventSqlite(path, max_events=0) as storage:
        log = storage.log
        append(storage, 3)
    assert rows_in(path) == []
    with EventSqlite(path) as storage:
        assert (storage.newest, storage.oldest, storage.history(), storage.log) == (3, 4, [], log)
        assert append(storage)[0].sequence == 4
    with EventSqlite(f"{path}2") as other:
        assert other.log != log


def test_history_has_no_gap_after_a_restart_with_larger_bounds(path: str) -> None:
    with EventSqlite(path, max_events=2) as storage:
        storage.put_queue(queue("q"))
        append(storage, 2, ("q",))
        append(storage, 4)
    with EventSqlite(path) as storage:
        assert sequences(storage.history()) == [5, 6]
        assert sequences(storage.waiting("q")) == [1, 2]


def test_sequence_that_was_given_before_a_kill_is_not_given_again(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EventSqlite(path) as storage:
        append(storage, 2)
        gate = Gate(monkeypatch, EventWriter)
        unkept = event()
        gate.hold(lambda: storage.append([unkept], [()]).settle())
        copy = tempfile.mkdtemp()
        shutil.copytree(os.path.dirname(path), copy, dirs_exist_ok=True)
        monkeypatch.undo()
        gate.go.ring()
    with EventSqlite(f"{copy}/events.sqlite") as storage:
        assert unkept.sequence == 3
        assert sequences(storage.history()) == [1, 2]
        assert (storage.newest, storage.oldest) == (2, 1)
        assert append(storage)[0].sequence == RESERVED + 3


def test_rows_of_events_that_nobody_needs_are_removed_when_nothing_is_to_be_done(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventdatabase, "PRUNED_AT_ONCE", 7)
    monkeypatch.setattr(journal, "IDLE_SECONDS", 0.001)
    with EventSqlite(path, max_events=2) as storage:
        storage.put_queue(queue("q"))
        append(storage, 30, ("q",))
        storage.acknowledge("q", range(1, 15)).settle()
        storage.remove_queue("q").settle()
        with_timeout(lambda: not storage._file.garbage)
        copy = copy_of(storage)
        assert rows_in(copy) == [29, 30]


def with_timeout(is_so: Callable[[], bool]) -> None:
    """Wait until something is so that another thread brings about."""
    with hub.Timeout(SECONDS):
        while not is_so():
            hub.sleep(0.005)


def test_file_and_directory_are_this_users_alone_and_the_end_leaves_only_the_file(path: str) -> None:
    with EventSqlite(path) as storage:
        append(storage)
        names = os.listdir(os.path.dirname(path))
        assert {os.stat(os.path.join(os.path.dirname(path), name)).st_mode & 0o777 for name in names} == {0o600}
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
    assert os.listdir(os.path.dirname(path)) == ["events.sqlite"]


def test_repr_tells_path_content_and_state(path: str) -> None:
    storage = EventSqlite(path)
    assert repr(storage) == (
        f"<EventSqlite {path}, <EventTable 0 events to 0, 0 bytes, 0 wait in 0 queues>, "
        "<Journal open, 0 changes wait>>"
    )
    storage.close()
    assert repr(storage) == f"<EventSqlite {path}, closed>"


# -- what does not last yet ----------------------------------------------------------------------------------


def test_event_is_seen_and_told_once_it_lasts(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with EventSqlite(path) as storage:
        storage.put_queue(queue("q")).settle()
        told: list[int] = []
        storage.listener = lambda records: told.extend(sequences(records))
        gate = Gate(monkeypatch, EventWriter)
        first, second = gate.hold(
            lambda: storage.append([event(), event()], [("q",), ()]).settle(),
            lambda: storage.append([event()], [("q",)]).settle(),
        )
        storage.put_queue(queue("later"))
        # It is not known to wait yet.
        storage.acknowledge("q", [1, 3])
        assert (storage.newest, storage.oldest) == (0, 1)
        assert (storage.history(), storage.waiting("q"), told) == ([], [], [])
        assert storage.queues() == [queue("q")]
        gate.go.ring()
        first.get(timeout=SECONDS)
        assert (storage.newest, sequences(storage.history()), told) == (2, [1, 2], [1, 2])
        assert sequences(storage.waiting("q")) == [1]
        gate.go.ring()
        second.get(timeout=SECONDS)
        assert sequences(storage.waiting("q")) == told[::2] == [1, 3]
        assert storage.queues() == [queue("q"), queue("later")]
        monkeypatch.undo()


def test_changes_that_do_not_come_to_last_are_undone_and_nobody_has_seen_them(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EventSqlite(path, max_events=2) as storage:
        storage.put_queue(queue("q"))
        storage.put_queue(queue("p"))
        append(storage, 4, ("q", "p"))
        content = content_of(storage)
        told: list[EventRecord] = []
        storage.listener = told.extend
        gate = Gate(monkeypatch, EventWriter)
        gate.failure = NotKept("events.sqlite: the disk is full; make room")
        unkept = event()
        failing = gate.hold(
            lambda: storage.append([event(), event()], [("q",), ()]).settle(),
            lambda: storage.acknowledge("q", [3, 1]).settle(),
            lambda: storage.acknowledge("q", [1]).settle(),
            lambda: storage.put_queue(queue("p", 7)).settle(),
            lambda: storage.remove_queue("q").settle(),
            lambda: storage.remove_queue("q").settle(),
            lambda: storage.put_queue(queue("q", 8)).settle(),
            lambda: storage.put_queue(queue("new")).settle(),
            lambda: storage.append([unkept], [("new", "q")]).settle(),
        )
        assert sequences(storage.waiting("q")) == [2, 4]
        gate.go.ring()
        for greenlet in failing:
            with pytest.raises(StorageError, match="the disk is full; make room"):
                greenlet.get(timeout=SECONDS)
        assert content_of(storage) == content
        assert told == []
        monkeypatch.undo()
        assert append(storage, 1, ("q", "new"))[0].sequence == unkept.sequence + 1 == 8
        assert sequences(told) == [8]
        storage.acknowledge("q", [1, 3]).settle()
        content = content_of(storage)
    with EventSqlite(path, max_events=2) as storage:
        assert content_of(storage) == content
        assert sequences(storage.waiting("q")) == [2, 4, 8]
    assert rows_in(path) == [1, 2, 3, 4, 8]


def test_sequence_of_an_event_that_was_undone_is_not_given_after_a_restart(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(writer: EventWriter, entries: list[Any]) -> None:
        raise NotKept("the disk is full")

    with EventSqlite(path) as storage:
        append(storage, 2)
        monkeypatch.setattr(EventWriter, "write", fail)
        with pytest.raises(StorageError, match="the disk is full"):
            append(storage, 3)
    monkeypatch.undo()
    with EventSqlite(path) as storage:
        assert storage.newest == 2
        assert append(storage)[0].sequence > 5


def test_what_waits_for_the_disk_is_bounded(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventsqlite, "MAX_ON_THE_WAY", 4)
    monkeypatch.setattr(eventsqlite, "MAX_BYTES_ON_THE_WAY", 3000)
    with EventSqlite(path) as storage:
        large = storage.append([event(payload=bytes(5000))], [()])
        large.settle()
        gate = Gate(monkeypatch, EventWriter)
        gate.hold(lambda: storage.append([event()], [()]).settle())
        with pytest.raises(ServerBusyError, match="1 events of 268 bytes wait for the disk, and 4 more of 1072"):
            storage.append([event()] * 4, [()] * 4)
        with pytest.raises(ServerBusyError, match="over the limit of 4 events or 3000 bytes; try again later"):
            storage.append([event(payload=bytes(3000))], [()])
        last = storage.append([event(), event()], [(), ()])
        monkeypatch.undo()
        gate.go.ring()
        gate.go.ring()
        last.settle()
        assert (storage._on_the_way, storage._bytes_on_the_way) == (0, 0)
        storage.append([event(payload=bytes(3000))], [()]).settle()


def test_defect_of_the_listener_is_told_and_stops_changes(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    with EventSqlite(path) as storage:
        storage.listener = lambda records: records[5]
        append(storage)
        assert "IndexError" in capsys.readouterr().err
        with pytest.raises(StorageError, match="no changes are taken since a write failed"):
            append(storage)
        assert isinstance(storage.failure, IndexError)
        assert sequences(storage.history()) == [1]


# -- disks that fail -----------------------------------------------------------------------------------------


def limit_pages(monkeypatch: pytest.MonkeyPatch, more: list[int]) -> None:
    """Let files grow by so many pages at most, before each transaction."""
    write = EventWriter.write

    def limited(writer: EventWriter, entries: list[Any]) -> None:
        pages = writer.connection.execute("PRAGMA page_count").fetchone()[0]
        writer.connection.execute(f"PRAGMA max_page_count = {pages + more[0]}")
        write(writer, entries)

    monkeypatch.setattr(EventWriter, "write", limited)


def test_full_file_keeps_nothing_of_the_round_and_takes_later_ones(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = [1000]
    limit_pages(monkeypatch, more)
    with EventSqlite(path) as storage:
        storage.put_queue(queue("q"))
        append(storage, 3, ("q",))
        more[0] = 1
        for _ in range(2):
            with pytest.raises(StorageError, match=r"events.sqlite: the disk is full .*make room and try again"):
                storage.append([event(), event(payload=bytes(100_000))], [("q",), ("q",)]).settle()
        storage.acknowledge("q", [2]).settle()
        append(storage, 1, ("q",))
        more[0] = 1000
        storage.append([event(payload=bytes(100_000))], [("q",)]).settle()
        assert sequences(storage.waiting("q")) == [1, 3, 8, 9]
        content = content_of(storage)
    with EventSqlite(path) as storage:
        assert content_of(storage) == content


def test_disk_that_was_full_for_long_takes_events_again_once_there_is_room(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventdatabase, "RESERVED", 5)
    more = [1000]
    limit_pages(monkeypatch, more)
    with EventSqlite(path) as storage:
        append(storage, 2)
        more[0] = 0
        large = [event(payload=bytes(100_000))]
        for _ in range(5):
            with pytest.raises(StorageError, match="the disk is full"):
                storage.append(large, [()]).settle()
        with pytest.raises(StorageError, match="full for so long that no event can be numbered; make room"):
            storage.append(large, [()])
        # What was refused has had sequences reserved, as there was room for that.
        storage.acknowledge("", []).settle()
        more[0] = 1000
        assert append(storage)[0].sequence == 8


def test_start_on_a_full_disk_answers_and_takes_events_once_there_is_room(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EventSqlite(path) as storage:
        append(storage, 2)
    is_full = [True]
    write = EventWriter.write

    def full(writer: EventWriter, entries: list[Any]) -> None:
        if is_full[0]:
            raise NotKept("the disk is full")
        write(writer, entries)

    monkeypatch.setattr(EventWriter, "write", full)
    with EventSqlite(path) as storage:
        assert sequences(storage.history()) == [1, 2]
        with pytest.raises(StorageError, match="make room and try again"):
            storage.append([event()], [()])
        is_full[0] = False
        storage.acknowledge("", [])
        with pytest.raises(StorageError, match="make room and try again"):
            storage.append([event()], [()])
        storage.acknowledge("", []).settle()
        assert append(storage)[0].sequence == 3


LIMITED = """
import resource, sys
from gpyro.errors import StorageError
from gpyro.eventrecords import EventRecord, QueueRecord
from gpyro.storage.eventsqlite import EventSqlite
storage = EventSqlite(sys.argv[1])
storage.put_queue(QueueRecord("q", None, 1.0, 9, 1.0)).settle()
storage.append([EventRecord("s", "s", 1.0, "p", b"m")], [("q",)]).settle()
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
for size in (200_000, 10):
    try:
        storage.append([EventRecord("s", "s", 1.0, "p", bytes(size))], [("q",)]).settle()
    except StorageError as exc:
        print(exc)
print(storage.waiting("q"), storage.history(), storage.failure is not None)
storage.close()
print(repr(storage))
"""


def test_failed_write_stops_changes_until_it_is_opened_again_and_answers_go_on(tmp_path: Path, path: str) -> None:
    lines = run(["-c", LIMITED, path], make_environment(tmp_path)).stdout.splitlines()
    assert lines[0].startswith(f"{path}: it cannot be written (disk I/O error); see to the disk, then start")
    assert lines[1].startswith("no changes are taken since a write failed")
    one = "[<EventRecord 1 's', 1 bytes>]"
    assert lines[2:] == [f"{one} {one} True", f"<EventSqlite {path}, closed>"]
    with EventSqlite(path) as storage:
        assert sequences(storage.waiting("q")) == [1]
        assert append(storage)[0].sequence > 2


# -- one user at a time --------------------------------------------------------------------------------------


def test_second_use_is_refused_and_the_first_goes_on(path: str, tmp_path: Path) -> None:
    with EventSqlite(path) as storage:
        with pytest.raises(StorageError, match="this process itself uses this database; end that one first"):
            EventSqlite(path)
        program = "import sys; from gpyro.storage.eventsqlite import EventSqlite; EventSqlite(sys.argv[1])"
        ended = run(["-c", program, path], make_environment(tmp_path))
        assert f"StorageError: {path}: another event server uses this database; end that one first" in ended.stderr
        append(storage)
    with EventSqlite(path) as storage:
        assert storage.newest == 1


def test_forked_child_cannot_use_it_and_does_no_harm(path: str) -> None:
    with EventSqlite(path) as storage:
        append(storage)
        read, write = os.pipe()
        child = os.fork()
        if not child:
            try:
                said = [repr(storage)]
                for use in (storage.history, lambda: append(storage), lambda: EventSqlite(path)):
                    try:
                        use()
                    except PyroError as exc:
                        said.append(str(exc))
                storage.close()
                os.write(write, "\n".join(said).encode())
            finally:
                os._exit(0)
        os.close(write)
        with open(read) as pipe:
            said = pipe.read().split("\n")
        os.waitpid(child, 0)
        assert said[0] == f"<EventSqlite {path}, of the parent process>"
        assert ["was opened by the parent of this process" in line for line in said[1:]] == [True, True, False]
        assert "another event server uses this database" in said[3]
        append(storage)
    with EventSqlite(path) as storage:
        assert sequences(storage.history()) == [1, 2]


# -- files that are refused ----------------------------------------------------------------------------------


def test_files_of_names_and_of_events_are_not_taken_for_each_other(path: str) -> None:
    EventSqlite(path).close()
    message = "it is a database of events, and this name server keeps names; choose another directory"
    with left_untouched(path), pytest.raises(StorageError, match=message):
        SqliteStorage(path)
    names = f"{path}.names"
    SqliteStorage(names).close()
    message = "it is a database of names, and this event server keeps events; choose another directory"
    with left_untouched(names), pytest.raises(StorageError, match=message):
        EventSqlite(names)


def test_foreign_and_newer_files_are_refused_and_left_as_they_are(path: str) -> None:
    EventSqlite(path).close()
    good = Path(path).read_bytes()

    def patched(offset: int, data: bytes) -> bytes:
        return good[:offset] + data + good[offset + len(data) :]

    for content, message in (
        (b"", "it is empty; move it away to begin without events"),
        (good[:8192], "it is damaged"),
        (patched(68, b"\0\0\0\0"), r"it is a database of another program \(application id 0x0\)"),
        (patched(60, b"\0\0\0\2"), "it has format 2, and this gpyro knows 1 at most; use the newer gpyro"),
    ):
        Path(path).write_bytes(content)
        with left_untouched(path), pytest.raises(StorageError, match=f"^{path}: {message}"):
            EventSqlite(path)


def test_rows_that_cannot_be_are_refused(path: str) -> None:
    with EventSqlite(path, max_events=2) as storage:
        storage.put_queue(queue("q"))
        append(storage, 4, ("q",))
    good = Path(path).read_bytes()
    for statement in (
        "DELETE FROM events WHERE sequence = 1",
        "DELETE FROM events WHERE sequence = 4",
        "UPDATE events SET sequence = 9 WHERE sequence = 4",
        "UPDATE events SET payload = x'00' WHERE sequence = 4",
        "UPDATE events SET payload = NULL WHERE sequence = 4",
        "UPDATE events SET subject = 3 WHERE sequence = 2",
        "UPDATE events SET time = 3 WHERE sequence = 2",
        "UPDATE events SET publisher = 'else' WHERE sequence = 2",
        "DELETE FROM queues",
        "UPDATE queues SET id = 7",
        "UPDATE queues SET record = x'93010203'",
        "UPDATE queues SET record = x'ff'",
        "DELETE FROM pending WHERE sequence = 1",
        "INSERT INTO pending VALUES (1, 99)",
        "UPDATE pending SET queue = 7",
        "UPDATE state SET log = 'else'",
        "UPDATE state SET newest = 3",
        "UPDATE state SET newest = 5",
        "UPDATE state SET reserved = 99",
        "UPDATE state SET oldest = 1",
        "UPDATE state SET seal = NULL",
        "DELETE FROM state",
        "DROP TABLE pending",
    ):
        Path(path).write_bytes(good)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute(statement)
        other.close()
        with left_untouched(path), pytest.raises(StorageError, match=f"^{path}: it is damaged: .*put a copy"):
            EventSqlite(path)
