"""Takes the bytes that a fuzzer gives apart: numbers from the front, the rest for what is tested."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Source", "irregular_cuts"]


class Source:
    """Reads from the front; what is not there is zero, so that no input is too short."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        """Return the next byte."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def take(self, count: int) -> bytes:
        """Return so many bytes, fewer at the end."""
        self._at += count
        return self._data[self._at - count : self._at]

    def blob(self) -> bytes:
        """Return bytes behind a byte with their number."""
        return self.take(self.byte())

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(max(len(self._data) - self._at, 0))


def irregular_cuts(data: bytes, seed: int) -> Iterator[bytes]:
    """Cut into pieces of 1 to 64 bytes, as a linear congruence of the seed has it."""
    at, state = 0, seed * 2 + 1
    while at < len(data):
        state = state * 1103515245 + 12345 & 0x7FFFFFFF
        size = (state >> 16) % 64 + 1
        yield data[at : at + size]
        at += size
