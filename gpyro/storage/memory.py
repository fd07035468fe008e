"""Names kept in memory: they end with the process."""

from __future__ import annotations

from typing import Any

from gpyro.errors import NamingError
from gpyro.names import MAX_NAMES, FlatListing, Listing, Names, NameTree, SystemMeta
from gpyro.storage.base import NameStorage

__all__ = ["MemoryStorage"]


class MemoryStorage(NameStorage):
    """A `NameTree` as a storage; `close` lets the tree go."""

    def __init__(self, *, created: float = 0.0, max_names: int = MAX_NAMES) -> None:
        self._tree: NameTree | None = NameTree(created=created, max_names=max_names)

    def __repr__(self) -> str:
        return f"<MemoryStorage {'closed' if self._tree is None else self._tree}>"

    @property
    def _open_tree(self) -> NameTree:
        if self._tree is None:
            raise NamingError("this MemoryStorage is closed, its names are gone")
        return self._tree

    def register(
        self, name: str, uri_text: str, *, created: float, owner: str | None = None, replace: bool = False
    ) -> None:
        self._open_tree.register(name, uri_text, created=created, owner=owner, replace=replace)

    def unregister(self, name: str) -> str:
        return self._open_tree.unregister(name)

    def resolve(self, name: str) -> str:
        return self._open_tree.resolve(name)

    def create_group(self, name: str, *, created: float, owner: str | None = None) -> None:
        self._open_tree.create_group(name, created=created, owner=owner)

    def delete_group(self, name: str) -> Names:
        return self._open_tree.delete_group(name)

    def list(self, group: str, offset: int = 0, limit: int | None = None) -> Listing:
        return self._open_tree.list(group, offset, limit)

    def flatlist(self) -> FlatListing:
        return self._open_tree.flatlist()

    def kind(self, name: str) -> int | None:
        return self._open_tree.kind(name)

    def set_meta(self, name: str, meta: Any) -> None:
        self._open_tree.set_meta(name, meta)

    def get_meta(self, name: str) -> Any:
        return self._open_tree.get_meta(name)

    def get_system_meta(self, name: str) -> SystemMeta:
        return self._open_tree.get_system_meta(name)

    def __len__(self) -> int:
        return len(self._open_tree)

    def close(self) -> None:
        self._tree = None
