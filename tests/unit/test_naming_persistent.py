"""Name servers with a database: the starter's `persistent`, and PersistentNameServer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import gpyro
from gpyro import naming
from gpyro.configuration import Settings
from gpyro.errors import DaemonError, NamingError, StorageError
from tests.support.programs import free_port
from tests.support.settings import use_in_naming
from tests.unit.test_naming import locate, running_starter

URI = "PYRO://127.0.0.1:7766/1"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of this test alone, for all rooms of the name server."""
    settings = Settings(storage=str(tmp_path / "storage"), ns_port=free_port(), ns_broadcast=False)
    return use_in_naming(settings, monkeypatch)


def test_names_are_there_again_also_on_another_port(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_starter(persistent=1):
        ns = locate()
        ns.createGroup(":g")
        ns.register(":g.x", URI)
        ns.setMeta(":g", {"a": (1, 2)})
        ns._release()
    place = os.path.join(settings.storage, "Pyro_NS_database")
    assert f"Persistent mode, database is in {place}" in capsys.readouterr().out.splitlines()
    assert os.listdir(place) == ["names.sqlite"]
    with running_starter(persistent=1, port=0) as again:
        assert again.uri is not None
        ns = locate()
        assert ns.resolve(":g.x") == gpyro.PyroURI(URI)
        assert ns.getMeta(":g") == {"a": (1, 2)}
        assert ns.resolve(":Pyro.NameServer") == again.uri
        assert again.uri.port != settings.ns_port
        ns._release()


@pytest.mark.parametrize("dbdir", ["otherdb", None])
def test_directory_is_relative_to_the_storage_or_absolute(
    settings: Settings, tmp_path: Path, dbdir: str | None
) -> None:
    place = dbdir or str(tmp_path / "absolute")
    with running_starter(dbdir=place):
        pass
    assert os.listdir(os.path.join(settings.storage, place)) == ["names.sqlite"]


def test_without_persistent_nothing_is_kept(settings: Settings) -> None:
    with running_starter():
        ns = locate()
        ns.register("x", URI)
        ns._release()
    assert os.listdir(settings.storage) == []


def test_starter_that_fails_lets_go_of_the_database(settings: Settings) -> None:
    with running_starter():
        with pytest.raises(DaemonError, match="is in use"):
            naming.NameServerStarter().initialize(persistent=1, dontlookupother=1)
    with running_starter(persistent=1):
        with pytest.raises(StorageError, match="this process itself uses this database"):
            naming.NameServerStarter().initialize(port=0, persistent=1, dontlookupother=1)


def test_damaged_database_is_told_before_anything_listens(settings: Settings) -> None:
    place = Path(settings.storage, "Pyro_NS_database")
    place.mkdir(parents=True)
    (place / "names.sqlite").write_bytes(b"what is this?")
    one = naming.NameServerStarter()
    with pytest.raises(StorageError, match="this is no SQLite database, or it is damaged"):
        one.initialize(persistent=1)
    assert one.daemon is None


def test_database_is_closed_after_the_last_caller_was_answered(settings: Settings) -> None:
    with running_starter(persistent=1):
        ns = locate()
        ns.register("x", URI)
        ns.shutdown()
        ns._release()
    with running_starter(persistent=1):
        ns = locate()
        assert [name for name, _ in ns.list()] == ["x"]
        ns._release()


def test_persistent_name_server_is_pyros(settings: Settings) -> None:
    ns: Any = naming.PersistentNameServer(dbdir="own", role=0, identification=None)
    ns.register("x", URI)
    assert "SqliteStorage" in repr(ns)
    ns.close()
    ns.close()
    with pytest.raises(NamingError, match="is closed"):
        ns.resolve("x")
    ns = naming.PersistentNameServer("own")
    assert ns.resolve("x") == gpyro.PyroURI(URI)
    with pytest.raises(StorageError, match="uses this database"):
        naming.PersistentNameServer("own")
    ns.close()
