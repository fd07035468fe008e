"""Looking over MessagePack without building anything: how deep it nests, and whether its counts can be true.

ormsgpack before 1.13, the last for Python 3.10, makes room for as many elements as a header claims: six bytes end
the process. There, each payload is looked over before it is given to ormsgpack.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import ormsgpack

__all__ = ["NATIVE_NESTING", "guarded_unpackb", "items_of", "nesting_of", "unpackb"]

#: ormsgpack's own bound for arrays and maps inside each other in one payload.
NATIVE_NESTING = 1024

#: First byte of an item: how many bytes of payload follow, for the items of fixed size.
_FIXED = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_FIXED |= {0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
#: For those with a length: bytes of the length, and bytes between it and the payload (the type of an extension).
_SIZED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)}
_SIZED |= {0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}
#: Arrays and maps: bytes of the count, items for each.
_COUNTED = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
#: Items of one byte: small ints, nil, false, true, and what is empty.
_RUN = re.compile(rb"[\x00-\x80\x90\xa0\xc0\xc2\xc3\xe0-\xff]+")
_SHORT = frozenset(byte for byte in range(256) if _RUN.match(bytes((byte,))))
#: Of those, the arrays and maps.
_EMPTY = re.compile(rb"[\x80\x90]")
#: The headers of _COUNTED with their counts; it also finds them inside text and numbers. It looks ahead, so that
#: such a one does not hide a real one right after it.
_HEADERS = re.compile(rb"[\xdc\xde](?=(?P<short>..))|[\xdd\xdf](?=(?P<long>....))", re.DOTALL)


def scan(data: bytes, deepest_of_interest: int = 1 << 31, most_items: int = 1 << 62) -> tuple[int, int]:
    """Return how many arrays and maps are inside each other, and how many items their headers claim in all.

    Extensions are stepped over, so that all calls for one message together look at each byte once. Slower than
    decoding. Stops where more items are claimed than there are bytes, which cannot be true, or than `most_items`.
    """
    size, position, deepest, claimed = len(data), 0, 0, 0
    left = [1]  # items that are still to come, for each open container
    most = min(size, most_items)
    while left and position < size and deepest <= deepest_of_interest and claimed <= most:
        if left[-1] == 0:
            left.pop()
            continue
        first = data[position]
        if first in _SHORT:
            # Whatever is one byte long, as far as it goes: a million of them took 0.4 s one by one.
            run = _RUN.match(data, position, min(position + left[-1], size))
            assert run is not None
            left[-1] -= run.end() - position
            position = run.end()
            if deepest < len(left) and _EMPTY.search(run[0]):
                deepest = len(left)
            continue
        left[-1] -= 1
        position += 1
        items = -1
        if first < 0x90:
            items = 2 * (first & 0x0F)
        elif first < 0xA0:
            items = first & 0x0F
        elif first < 0xC0:
            position += first & 0x1F
        elif first in _FIXED:
            position += _FIXED[first]
        elif first in _SIZED:
            width, between = _SIZED[first]
            position += width + between + int.from_bytes(data[position : position + width], "big")
        elif first in _COUNTED:
            width, each = _COUNTED[first]
            items = each * int.from_bytes(data[position : position + width], "big")
            position += width
        if items >= 0:
            left.append(items)
            claimed += items
            deepest = max(deepest, len(left) - 1)
    return deepest, claimed


def nesting_of(data: bytes, deepest_of_interest: int = 1 << 31) -> int:
    """Return how many arrays and maps are inside each other."""
    return scan(data, deepest_of_interest)[0]


def items_of(data: bytes, most_items: int) -> int:
    """Return how many items headers claim, or a number above `most_items` once that is clear.

    It stops at a depth that ormsgpack does not take; a million arrays inside each other took 0.4 s to count.
    """
    return scan(data, NATIVE_NESTING, most_items)[1]


def claims_too_much(data: bytes | bytearray | memoryview) -> bool:
    """Say whether headers of arrays and maps claim more items than there are bytes."""
    possible = 0
    for header in _HEADERS.finditer(data):
        possible += 2 * int.from_bytes(header["short"] or header["long"], "big")
        if possible > len(data):
            # Perhaps one of them is no header but text.
            # As deep as ormsgpack goes: it refuses what is deeper before it comes to anything behind.
            return scan(bytes(data), NATIVE_NESTING)[1] > len(data)
    return False


def guarded_unpackb(
    data: bytes | bytearray | memoryview, /, *, ext_hook: Callable[[int, bytes], Any] | None = None
) -> Any:
    """As ormsgpack's, for its versions that believe a header."""
    if claims_too_much(data):
        raise ValueError("more elements are claimed than there are bytes")
    return ormsgpack.unpackb(data, ext_hook=ext_hook)


_VERSION = tuple(int(part) for part in ormsgpack.__version__.split(".")[:2])
unpackb = ormsgpack.unpackb if _VERSION >= (1, 13) else guarded_unpackb
