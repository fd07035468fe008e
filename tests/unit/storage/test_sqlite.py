"""SqliteStorage passes the cases that every storage passes, and keeps names across its end and failing disks."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import gevent
import pytest

from gpyro.errors import NamingError, StorageError
from gpyro.namerecords import Change, Member, Record
from gpyro.names import GROUP, MAX_NAMES, OBJECT
from gpyro.storage import database, sqlitefile
from gpyro.storage.base import KNOWN_TO_TWIN, NameStorage
from gpyro.storage.database import Entry, Writer, stand_of
from gpyro.storage.journal import NotKept
from gpyro.storage.memory import MemoryStorage
from gpyro.storage.sqlite import SqliteStorage
from tests.support.files import Gate, left_untouched
from tests.support.programs import make_environment, run
from tests.unit.storage.conformance import OTHER, URI, StorageConformance, state_machine

SECONDS = 20.0


class TestSqliteStorage(StorageConformance):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.path = tmp_path_factory.mktemp("names") / "names.sqlite"

    def make_storage(self, max_names: int | None = None) -> NameStorage:
        return SqliteStorage(str(self.path), max_names=MAX_NAMES if max_names is None else max_names)


def make_storage() -> SqliteStorage:
    return SqliteStorage(f"{tempfile.mkdtemp()}/names.sqlite")


def reopen(storage: NameStorage) -> NameStorage:
    assert isinstance(storage, SqliteStorage)
    storage.close()
    return SqliteStorage(storage.path)


TestSqliteStorageAgainstModel = state_machine(make_storage, reopen).TestCase


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "kept" / "names.sqlite")


def content_of(storage: SqliteStorage) -> object:
    records = storage.inspect(lambda tree: sorted([tree.record(":"), *tree.records()]))
    return records, storage.revision, storage.digest, storage.get_note("note")


# -- what is kept --------------------------------------------------------------------------------------------


def test_all_that_is_in_it_is_there_again_after_a_close(path: str) -> None:
    with SqliteStorage(path, created=5.0) as storage:
        storage.open_lease("lease", seconds=5.0, created=1.0, owner="me")
        storage.create_group(":g", created=2)
        storage.register(":g.x", URI, created=3.5, owner="you", lease="lease")
        storage.register(":g.x", OTHER, created=4.5, member=True)
        storage.unregister(":g.x", URI)
        storage.register(":g.x", URI, created=6.5, owner="them", member=True, lease="lease")
        storage.set_meta(":g", b"\x00meta")
        storage.set_meta(":", b"")
        storage.put_note("note", "first")
        storage.put_note("note", "é\x00\n")
        content = content_of(storage)
    with SqliteStorage(path, created=99.0) as storage:
        assert content_of(storage) == content
        assert storage.members(":g.x") == (Member(OTHER, 4.5), Member(URI, 6.5, "them", "lease"))
        assert storage.get_system_meta(":").created == 5.0
        assert storage.held_by("lease") == [":g.x"]
        # The highest revision was that of a name that is gone.
        storage.create_group(":gone", created=1.0)
        storage.delete_group(":gone")
        revision = storage.revision
    with SqliteStorage(path) as storage:
        assert storage.revision == revision


def test_record_of_another_origin_keeps_an_owner_that_is_not_its_first_members(path: str) -> None:
    record = Record(":x", OBJECT, 0, 1.0, "owner", (Member(URI, 2.0, "else"), Member(OTHER, 1.0)), b"m")
    with SqliteStorage(path) as storage:
        storage.amend(lambda tree: tree.plan_replace(":x", record))
        record = storage.record(":x")
    with SqliteStorage(path) as storage:
        assert storage.record(":x") == record


def test_file_and_directory_are_this_users_alone_and_the_end_leaves_only_the_file(path: str) -> None:
    with SqliteStorage(path) as storage:
        storage.create_group(":g", created=1.0)
        for name in os.listdir(os.path.dirname(path)):
            assert os.stat(os.path.join(os.path.dirname(path), name)).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
    assert os.listdir(os.path.dirname(path)) == ["names.sqlite"]


def test_what_a_killed_first_start_left_behind_is_no_hindrance(path: str) -> None:
    os.makedirs(os.path.dirname(path))
    for ending in ("", "-wal", "-journal"):
        Path(f"{path}.new{ending}").write_bytes(b"half of it")
    with SqliteStorage(path) as storage:
        assert len(storage) == 0


def test_log_is_emptied_while_changes_go_on(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlitefile, "MAX_LOG_BYTES", 100_000)
    with SqliteStorage(path) as storage:
        for number in range(200):
            storage.put_note("note", "x" * 1000 + str(number))
            # One transaction more than the limit; its pages are few.
            assert os.stat(f"{path}-wal").st_size < 150_000


def test_log_is_emptied_when_nothing_is_to_be_done(path: str) -> None:
    with SqliteStorage(path) as storage:
        storage.create_group(":g", created=1.0)
        with gevent.Timeout(SECONDS):
            while os.stat(f"{path}-wal").st_size:
                gevent.sleep(0.005)


def test_repr_tells_path_content_and_state(path: str) -> None:
    storage = SqliteStorage(path)
    assert repr(storage) == (
        f"<SqliteStorage {path}, <NameTree 0 objects in 1 groups>, <Journal open, 0 changes wait>>"
    )
    storage.close()
    assert repr(storage) == f"<SqliteStorage {path}, closed>"


@pytest.mark.parametrize("make", [MemoryStorage, make_storage])
def test_notes_are_kept_and_bounded(make: Any) -> None:
    with make() as storage:
        assert storage.get_note("a") is None
        storage.put_note("a", "1")
        storage.put_note("a", "2")
        assert storage.get_note("a") == "2"
        with pytest.raises(ValueError, match="65537 characters, the limit is 65536"):
            storage.put_note("a", "x" * 65537)
        for number in range(63):
            storage.put_note(f"note{number}", "")
        with pytest.raises(ValueError, match="one more than 64"):
            storage.put_note("b", "1")
        assert storage.get_note("a") == "2"


# -- what does not last yet ----------------------------------------------------------------------------------


def test_change_is_seen_and_told_once_it_lasts_and_others_do_not_wait(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SqliteStorage(path) as storage:
        storage.register(":old", URI, created=1.0)
        told: list[Change] = []
        storage.listen(told.extend)
        def register_again() -> None:
            with pytest.raises(NamingError, match="name already exists"):
                storage.register(":new", OTHER, created=1.0)

        gate = Gate(monkeypatch, Writer)
        greenlets = gate.hold(
            lambda: storage.register(":new", URI, created=1.0),
            lambda: storage.unregister(":old"),
            lambda: storage.resolve(":new"),
            lambda: storage.kind(":old"),
            lambda: storage.list(":"),
            register_again,
            lambda: len(storage),
        )
        assert storage.kind(":other") is None
        assert told == []
        # The second round holds what was put while the first was at the disk.
        gate.go.ring()
        greenlets[0].get(timeout=SECONDS)
        assert [change.name for change in told] == [":new"]
        assert greenlets[2].get(timeout=SECONDS) == URI
        assert not any(greenlets[index].ready() for index in (1, 3, 4, 6))
        assert gate.begun.wait(SECONDS)
        gate.go.ring()
        gevent.joinall(greenlets, timeout=SECONDS, raise_error=True)
        assert [greenlet.value for greenlet in greenlets[3:5]] == [None, [("new", OBJECT)]]
        assert greenlets[6].value == 1
        assert [change.name for change in told] == [":new", ":old"]
        monkeypatch.undo()


def test_changes_that_do_not_come_to_last_are_undone_and_nobody_has_seen_them(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SqliteStorage(path) as storage:
        storage.create_group(":g", created=1.0)
        storage.register(":g.x", URI, created=1.0)
        storage.put_note("note", "old")
        content = storage.flatlist(), storage.list(":"), storage.digest
        told: list[Change] = []
        storage.listen(told.extend)
        gate = Gate(monkeypatch, Writer)
        gate.failure = NotKept("names.sqlite: the disk is full; make room")
        failing = gate.hold(
            lambda: storage.delete_group(":g"),
            lambda: storage.register(":g", OTHER, created=2.0),
            lambda: storage.put_note("note", "new"),
            lambda: storage.put_note("more", "new"),
            lambda: storage.create_group(":h", created=2.0),
        )
        asking = [
            gevent.spawn(ask)
            for ask in (
                lambda: storage.resolve(":g.x"), lambda: storage.kind(":g"), lambda: storage.flatlist(),
                lambda: storage.get_note("note"),
            )
        ]  # fmt: skip
        gevent.sleep(0)
        gate.go.ring()
        for greenlet in failing:
            with pytest.raises(StorageError, match="the disk is full; make room"):
                greenlet.get(timeout=SECONDS)
        answers = [greenlet.get(timeout=SECONDS) for greenlet in asking]
        assert answers == [URI, GROUP, [(":g.x", URI)], "old"]
        assert (storage.flatlist(), storage.list(":"), storage.digest) == content
        assert storage.get_note("more") is None
        assert told == []
        monkeypatch.undo()
        storage.register(":g.y", URI, created=2.0)
        last = content_of(storage)
    with SqliteStorage(path) as storage:
        assert content_of(storage) == last


def test_plan_that_failed_because_of_a_change_that_is_undone_is_made_again(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SqliteStorage(path) as storage:
        gate = Gate(monkeypatch, Writer)
        gate.failure = NotKept("the disk is full")
        first, second = gate.hold(
            lambda: storage.create_group(":g", created=1.0), lambda: storage.create_group(":g", created=2.0)
        )
        monkeypatch.undo()
        gate.go.ring()
        with pytest.raises(StorageError):
            first.get(timeout=SECONDS)
        second.get(timeout=SECONDS)
        assert storage.get_system_meta(":g").created == 2.0


# -- disks that fail -----------------------------------------------------------------------------------------


def writer_for(path: str) -> tuple[Writer, MemoryStorage]:
    """Return what writes to a new file, used without the journal, and a storage to get changes from."""
    with SqliteStorage(path, created=1.0) as storage:
        storage.put_note("a", "b")
    notes, seal = {"a": "b"}, database.Stand(0, 0, 1.0).seal({"a": "b"})
    return Writer(path, notes, seal, lambda: None), MemoryStorage(created=1.0)


def test_full_file_keeps_nothing_of_the_round_and_takes_later_ones(path: str) -> None:
    writer, memory = writer_for(path)
    pages = writer.connection.execute("PRAGMA page_count").fetchone()[0]
    writer.connection.execute(f"PRAGMA max_page_count = {pages + 1}")

    def entry(name: str, size: int) -> Entry:
        changes = memory.amend(lambda tree: tree.plan_create_group(name, created=1.0))
        changes += memory.amend(lambda tree: tree.plan_set_meta(name, bytes(size)))
        return Entry(changes, memory.inspect(stand_of))

    small, large = entry(":small", 10), entry(":large", 100_000)
    for _ in range(2):
        with pytest.raises(NotKept, match=r"names.sqlite: the disk is full .*make room and try again"):
            writer.write([large])
    writer.connection.execute("PRAGMA max_page_count = 1000")
    writer.write([small, large])
    digest = memory.digest
    writer.close()
    with SqliteStorage(path) as storage:
        assert storage.digest == digest
        assert storage.get_note("a") == "b"


def test_file_that_another_program_changed_since_it_was_read_is_refused(path: str) -> None:
    writer_for(path)[0].close()
    with pytest.raises(StorageError, match="another program has changed it just now"):
        Writer(path, {}, b"another seal", lambda: None)


LIMITED = """
import resource, sys
from gpyro.errors import StorageError
from gpyro.storage.sqlite import SqliteStorage
storage = SqliteStorage(sys.argv[1])
storage.create_group(":g", created=1.0)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
for what in ("large", "small"):
    try:
        storage.set_meta(":g", bytes(200_000 if what == "large" else 10))
    except StorageError as exc:
        print(exc)
print(storage.get_meta(":g"), "stopped" in repr(storage))
storage.close()
print(repr(storage))
"""


def test_failed_write_stops_changes_until_it_is_opened_again_and_lookups_go_on(tmp_path: Path, path: str) -> None:
    lines = run(["-c", LIMITED, path], make_environment(tmp_path)).stdout.splitlines()
    assert lines[0].startswith(f"{path}: it cannot be written (disk I/O error); see to the disk, then start")
    assert lines[1].startswith("no changes are taken since a write failed")
    assert lines[2:] == ["None True", f"<SqliteStorage {path}, closed>"]
    with SqliteStorage(path) as storage:
        assert storage.list(":") == [("g", GROUP)]
        storage.set_meta(":g", bytes(200_000))


# -- one user at a time --------------------------------------------------------------------------------------


def test_second_use_is_refused_and_the_first_goes_on(path: str, tmp_path: Path) -> None:
    with SqliteStorage(path) as storage:
        with pytest.raises(StorageError, match="this process itself uses this database; end that one first"):
            SqliteStorage(path)
        program = "import sys; from gpyro.storage.sqlite import SqliteStorage; SqliteStorage(sys.argv[1])"
        ended = run(["-c", program, path], make_environment(tmp_path))
        assert f"StorageError: {path}: another name server uses this database; end that one first" in ended.stderr
        with pytest.raises(sqlite3.OperationalError, match="locked"), sqlite3.connect(path, timeout=0) as other:
            other.execute("SELECT * FROM names")
        other.close()
        storage.create_group(":g", created=1.0)
    with SqliteStorage(path) as storage:
        assert storage.list(":") == [("g", GROUP)]


def test_file_that_another_program_looks_at_is_refused(path: str) -> None:
    SqliteStorage(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN")
        other.execute("SELECT * FROM names").fetchone()
        with pytest.raises(StorageError, match=r"another program uses it .*end that one first"):
            SqliteStorage(path)
    finally:
        other.close()
    SqliteStorage(path).close()


def test_forked_child_cannot_use_it_and_does_no_harm(path: str) -> None:
    with SqliteStorage(path) as storage:
        storage.create_group(":g", created=1.0)
        read, write = os.pipe()
        child = os.fork()
        if not child:
            try:
                said = repr(storage)
                with pytest.raises(StorageError, match="was opened by the parent of this process"):
                    storage.kind(":g")
                with pytest.raises(StorageError, match="was opened by the parent of this process"):
                    storage.create_group(":h", created=1.0)
                with pytest.raises(StorageError, match="another name server uses this database"):
                    SqliteStorage(path)
                storage.close()
                os.write(write, said.encode())
            finally:
                os._exit(0)
        os.close(write)
        with open(read) as pipe:
            assert pipe.read() == f"<SqliteStorage {path}, of the parent process>"
        os.waitpid(child, 0)
        storage.create_group(":h", created=1.0)
    with SqliteStorage(path) as storage:
        assert storage.list(":") == [("g", GROUP), ("h", GROUP)]


FORKING = """
import os, sys
from gpyro.storage.sqlite import SqliteStorage
storage = SqliteStorage(sys.argv[1])
storage.create_group(":g", created=1.0)
child = os.fork()
if not child:
    sys.exit(0)  # In order: all that there is of the parent's is taken down here.
os.waitpid(child, 0)
for number in range(100):
    storage.create_group(f":h{number}", created=1.0)
os.kill(os.getpid(), 9)
"""


def test_child_that_ends_in_order_leaves_its_parents_file_alone(path: str, tmp_path: Path) -> None:
    assert run(["-c", FORKING, path], make_environment(tmp_path)).status == -9
    with SqliteStorage(path) as storage:
        assert len(storage) == 101


# -- files that are refused ----------------------------------------------------------------------------------


def test_foreign_and_newer_files_are_refused_and_left_as_they_are(path: str) -> None:
    SqliteStorage(path).close()
    good = Path(path).read_bytes()

    def patched(offset: int, data: bytes) -> bytes:
        return good[:offset] + data + good[offset + len(data) :]

    for content, message in (
        (b"", "it is empty; move it away"),
        (b"text\n" * 100, "this is no SQLite database, or it is damaged"),
        (good[:99], "this is no SQLite database, or it is damaged"),
        (good[:8192], "it is damaged"),
        (patched(68, b"\0\0\0\0"), r"it is a database of another program \(application id 0x0\)"),
        (patched(60, b"\0\0\0\2"), "it has format 2, and this gpyro knows 1 at most; use the newer gpyro"),
        (patched(60, b"\0\0\0\0"), "it is damaged: it has format 0"),
        (patched(18, b"\1\1"), "it is damaged: its header does not speak of a log"),
    ):
        Path(path).write_bytes(content)
        with left_untouched(path), pytest.raises(StorageError, match=f"^{path}: {message}"):
            SqliteStorage(path)
    Path(path).write_bytes(good)
    SqliteStorage(path).close()


def test_rows_that_cannot_be_are_refused(path: str) -> None:
    with SqliteStorage(path) as storage:
        storage.create_group(":g", created=1.0)
        storage.register(":g.x", URI, created=1.0)
        storage.open_lease("lease", seconds=1.0, created=1.0)
        storage.put_note("a", "b")
    good = Path(path).read_bytes()
    for statement in (
        "DELETE FROM names WHERE name = ':g'",
        "DELETE FROM names WHERE name = ':g.x'",
        "UPDATE names SET uri = 'else' WHERE name = ':g.x'",
        "UPDATE names SET uri = NULL WHERE name = ':g.x'",
        "UPDATE names SET kind = 7 WHERE name = ':g.x'",
        "UPDATE names SET name = ':g.a b' WHERE name = ':g.x'",
        "UPDATE names SET name = 3 WHERE name = ':g.x'",
        "UPDATE names SET name = ':lease' WHERE name = 'lease'",
        "UPDATE names SET revision = 99 WHERE name = ':g.x'",
        "UPDATE names SET others = x'ff' WHERE name = ':g.x'",
        "UPDATE names SET created = 9.0 WHERE name = ':'",
        "UPDATE notes SET value = 'c'",
        "UPDATE state SET revision = 99",
        "UPDATE state SET digest = x'00'",
        "UPDATE state SET seal = NULL",
        "DELETE FROM state",
        "DROP TABLE notes",
    ):
        Path(path).write_bytes(good)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute(statement)
        other.close()
        with left_untouched(path), pytest.raises(StorageError, match=f"^{path}: it is damaged: .*put a copy"):
            SqliteStorage(path)


def test_places_that_cannot_be_used_are_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    SqliteStorage(path).close()
    with monkeypatch.context() as patch:
        other = os.geteuid() + 1
        patch.setattr(os, "geteuid", lambda: other)
        with pytest.raises(StorageError, match=f"belongs to user {other - 1}, and this is user {other}"):
            SqliteStorage(path)
    os.chmod(path, 0o400)
    with left_untouched(path), pytest.raises(StorageError, match="it is read-only; allow this user"):
        SqliteStorage(path)
    os.chmod(path, 0o620)
    with left_untouched(path), pytest.raises(StorageError, match=r"others may write to it \(mode 620\)"):
        SqliteStorage(path)
    os.chmod(path, 0o600)
    os.rename(path, f"{path}.away")
    os.symlink(f"{path}.away", path)
    with left_untouched(path), pytest.raises(StorageError, match="this is no plain file"):
        SqliteStorage(path)
    os.unlink(path)
    os.mkdir(path)
    with left_untouched(path), pytest.raises(StorageError, match="this is no plain file"):
        SqliteStorage(path)
    with pytest.raises(StorageError, match=r"cannot be made: .*; see that this user may write there"):
        SqliteStorage(f"{path}.away/names.sqlite")


def test_what_was_removed_is_remembered_until_the_twin_knows_it(tmp_path: Path) -> None:
    path = str(tmp_path / "names.sqlite")
    with SqliteStorage(path) as storage:
        assert storage.bury() == {}
        storage.register(":x", "PYRO://127.0.0.1:1/x", created=1.0)
        storage.register(":y", "PYRO://127.0.0.1:1/y", created=1.0)
        storage.unregister(":x")
        covered = storage.revision
        storage.unregister(":y")
        storage.register(":y", "PYRO://127.0.0.1:1/z", created=1.0)
        storage.unregister(":y")
    with SqliteStorage(path) as storage:
        graves = storage.bury()
        assert list(graves) == [":x", ":y"]
        assert graves[":x"].uris == ("PYRO://127.0.0.1:1/x",)
        storage.put_note(KNOWN_TO_TWIN, str(covered))
    with SqliteStorage(path) as storage:
        assert list(storage.bury()) == [":y"]


def test_nothing_is_remembered_of_what_was_removed_without_a_twin(tmp_path: Path) -> None:
    path = str(tmp_path / "names.sqlite")
    with SqliteStorage(path) as storage:
        storage.register(":x", "PYRO://127.0.0.1:1/x", created=1.0)
        storage.unregister(":x")
    with SqliteStorage(path) as storage:
        assert storage.bury() == {}
