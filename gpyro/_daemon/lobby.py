"""Where callers wait whose address has its share of those who are on the way in: accepted, not listened to yet.

A program that opens a hundred connections at once, or an office behind one address, loses none of them; they come
in as slots of that address get free. Pure but for the sockets, which are only kept and handed on.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

__all__ = ["Lobby"]


#: One address may have this part of all places.
SHARES = 4


class Lobby:
    """Sockets by the address that they come from, at most `limit` in all, each for at most `seconds`."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._queues: OrderedDict[str, deque[tuple[Any, float]]] = OrderedDict()
        self._count = 0

    def __repr__(self) -> str:
        return f"<Lobby, {self._count} wait>"

    def __len__(self) -> int:
        return self._count

    def take(self, source: str, sock: Any, now: float) -> bool:
        """Let a caller wait; False where there is no room for him."""
        share = max(self._limit // SHARES, 1)
        if self._count >= self._limit or len(self._queues.get(source, ())) >= share:
            return False
        self._queues.setdefault(source, deque()).append((sock, now))
        self._count += 1
        return True

    def has(self, source: str) -> bool:
        """Tell whether somebody from there waits."""
        return source in self._queues

    def call_in(self, may_enter: Callable[[str], bool], enter: Callable[[Any], object]) -> None:
        """Hand on those who may enter, one of each address after another."""
        for source in list(self._queues):
            while source in self._queues and may_enter(source):
                enter(self._pop(source))

    def counts(self) -> dict[str, int]:
        """Return how many wait, by address."""
        return {source: len(queue) for source, queue in self._queues.items()}

    def end_late(self, now: float) -> dict[str, int]:
        """Close those who have waited too long; returns how many, by address."""
        ended: dict[str, int] = {}
        for source, queue in list(self._queues.items()):
            while queue and now - queue[0][1] >= self._seconds:
                self._pop(source).close()
                ended[source] = ended.get(source, 0) + 1
        return ended

    def close_source(self, source: str) -> None:
        """Close all from there."""
        while source in self._queues:
            self._pop(source).close()

    def close(self) -> None:
        """Close all."""
        for source in list(self._queues):
            self.close_source(source)

    def _pop(self, source: str) -> Any:
        queue = self._queues[source]
        sock, _ = queue.popleft()
        self._count -= 1
        if not queue:
            del self._queues[source]
        return sock
