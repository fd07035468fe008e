"""Telling a write-ahead log that was cut short from one that is damaged.

SQLite takes the frames of the log up to the first whose checksum is wrong, and drops the rest in silence. That is
right where the machine went down while the last transaction was being written: it was acknowledged to nobody. It
is wrong where the wrong frame had been on the disk already and has changed since: acknowledged transactions
would be lost. A transaction is written only when the one before it is on the disk, so:

    wrong frames in the last transaction that was begun     cut short; SQLite may drop them
    the first of them would be right but for one bit        damaged: what was cut short lacks whole sectors
    wrong frames, and another transaction behind them       damaged
    a header that is wrong, with frames behind it           damaged: it is on the disk before the first frame is

Where a transaction ends is told by its last frame, or, if that one is the wrong one, by a page that comes a second
time: every transaction here writes each page once, and one of them always. The log must begin anew after a
transaction that was given up, or its frames could be taken for those of another one.

Source: "The SQLite Database File Format", chapter 4, https://www.sqlite.org/fileformat2.html#walformat
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["DamagedLog", "count_frames"]

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
#: The last bit tells the order of bytes in which checksums are made.
MAGIC = 0x377F0682
FORMAT = 3007000
#: Source: the same document, 1.3.2.
PAGE_SIZES = frozenset(1 << bits for bits in range(9, 17))
WORD = 0xFFFFFFFF


class DamagedLog(Exception):
    """Something that was on the disk is not what it was."""


class _Frame(NamedTuple):
    """One frame as it stands in the log; others than current ones were left there by an earlier use of it."""

    page: int
    is_current: bool
    is_commit: bool
    is_right: bool
    #: For the first that is not right.
    is_one_bit_off: bool = False


def count_frames(data: bytes) -> int:
    """Return how many frames at the front of a log belong to whole transactions.

    Raises:
        DamagedLog: transactions that were on the disk would be lost.
    """
    if len(data) <= _HEADER.size:
        return 0
    magic, version, page_size, _, *_ = _HEADER.unpack_from(data)
    order = "<" if magic == MAGIC else ">"
    right = _add(order, data[:24], (0, 0)) == _HEADER.unpack_from(data)[6:]
    if magic & ~1 != MAGIC or version != FORMAT or page_size not in PAGE_SIZES or not right:
        raise DamagedLog("its header is wrong")
    return _count_whole(list(_frames(data, order, page_size)))


def _count_whole(frames: list[_Frame]) -> int:
    wrong = next((index for index, frame in enumerate(frames) if not frame.is_right), len(frames))
    whole = max((index + 1 for index, frame in enumerate(frames[:wrong]) if frame.is_commit), default=0)
    rest = [frame for frame in frames[whole:] if frame.is_current]
    if _hold_several(rest):
        raise DamagedLog(f"frame {wrong + 1} of {len(frames)} is wrong, with later transactions behind it")
    if wrong < len(frames) and frames[wrong].is_one_bit_off:
        raise DamagedLog(f"a bit of frame {wrong + 1} of {len(frames)} is wrong")
    return whole


def _hold_several(frames: list[_Frame]) -> bool:
    """Tell whether these are of more than one transaction, of which the first was complete."""
    if not any(frame.is_commit for frame in frames):
        return False
    pages = [frame.page for frame in frames]
    return any(frame.is_commit for frame in frames[:-1]) or len(set(pages)) < len(pages)


def _frames(data: bytes, order: str, page_size: int) -> Iterator[_Frame]:
    salts, sums = _HEADER.unpack_from(data)[4:6], _HEADER.unpack_from(data)[6:8]
    right = True
    step = _FRAME.size + page_size
    for start in range(_HEADER.size, len(data) - step + 1, step):
        number, size, *rest = _FRAME.unpack_from(data, start)
        # Both salts of an earlier use are others; one that still fits tells of a frame that has changed.
        is_current = rest[0] == salts[0] or rest[1] == salts[1]
        is_off = False
        if right:
            page = start + _FRAME.size
            sums = _add(order, data[page : page + page_size], _add(order, data[start : start + 8], sums))
            right = tuple(rest[:2]) == salts and number > 0 and sums == tuple(rest[2:])
            is_off = not right and _is_one_bit_off((*salts, *sums), rest, page_size // 8 + 1)
        yield _Frame(number, is_current, size > 0, right, is_off)


def _add(order: str, data: bytes, sums: tuple[int, ...]) -> tuple[int, int]:
    """Return the checksum with these bytes added, whose number is a multiple of eight."""
    first, second = sums
    for left, right in struct.iter_unpack(f"{order}II", data):
        first = (first + left + second) & WORD
        second = (second + right + first) & WORD
    return first, second


def _is_one_bit_off(wanted: tuple[int, ...], found: list[int], steps: int) -> bool:
    """Tell whether salts and sums would be those that are wanted if one bit of the frame were another.

    A bit of a word that was added n steps before the end changes the sums by a multiple of numbers that depend
    on n alone.
    """
    differing = [a ^ b for a, b in zip(wanted, found, strict=True)]
    if sum(map(int.bit_count, differing)) == 1:
        return True
    if any(differing[:2]):
        return False
    first, second = ((b - a) & WORD for a, b in zip(wanted[2:], found[2:], strict=True))
    sought = {(first, second), (-first & WORD, -second & WORD)}
    of_left, of_right = (1, 1), (0, 1)
    for _ in range(steps):
        for one, other in (of_left, of_right):
            if any((one << bit & WORD, other << bit & WORD) in sought for bit in range(32)):
                return True
        of_left, of_right = _step(*of_left), _step(*of_right)
    return False


def _step(first: int, second: int) -> tuple[int, int]:
    first = (first + second) & WORD
    return first, (second + first) & WORD
