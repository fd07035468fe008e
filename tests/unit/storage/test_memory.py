"""MemoryStorage passes the cases that every storage passes."""

from __future__ import annotations

from gpyro.names import MAX_NAMES
from gpyro.storage.base import NameStorage
from gpyro.storage.memory import MemoryStorage
from tests.unit.storage.conformance import StorageConformance, state_machine


class TestMemoryStorage(StorageConformance):
    def make_storage(self, max_names: int | None = None) -> NameStorage:
        return MemoryStorage(max_names=MAX_NAMES if max_names is None else max_names)


TestMemoryStorageAgainstModel = state_machine(MemoryStorage).TestCase


def test_repr_tells_what_is_in_it_and_that_it_is_closed() -> None:
    storage = MemoryStorage(created=5.0)
    storage.register(":x", "uri", created=6.0)
    assert repr(storage) == "<MemoryStorage <NameTree 1 objects in 1 groups>>"
    assert storage.get_system_meta(":").created == 5.0
    storage.close()
    assert repr(storage) == "<MemoryStorage closed>"
