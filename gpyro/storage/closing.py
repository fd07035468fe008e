"""Storages are context managers: who makes one closes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

S = TypeVar("S", bound="Closing")

__all__ = ["Closing"]


class Closing(ABC):
    """Something that is closed at the end of its `with` block."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what the storage holds; closing again does nothing."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
