"""Names kept in memory: they end with the process."""

from __future__ import annotations

from gpyro.names import MAX_NAMES
from gpyro.nametree import NameTree
from gpyro.storage.tree import TreeStorage

__all__ = ["MemoryStorage"]


class MemoryStorage(TreeStorage):
    """A `NameTree` as a storage; `close` lets the tree go."""

    def __init__(self, *, created: float = 0.0, max_names: int = MAX_NAMES) -> None:
        super().__init__(NameTree(created=created, max_names=max_names))
