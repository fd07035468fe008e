"""SqliteStorage passes the cases that every storage passes."""

from __future__ import annotations

import tempfile

import pytest

from gpyro.names import MAX_NAMES
from gpyro.storage.base import NameStorage
from gpyro.storage.sqlite import SqliteStorage
from tests.unit.storage.conformance import StorageConformance, state_machine


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
