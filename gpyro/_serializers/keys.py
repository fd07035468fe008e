"""How many keys of one hash a container may hold, counted before it is built.

Python's hashes of numbers, tuples, UUIDs and their like have no secret in them, so a peer can choose keys that
all fall on one place of a dict or set, and each then is compared with all before it. A count of the keys would
refuse honest dicts of coordinates or UUIDs; counting equal hashes refuses only the attack.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

__all__ = ["FEW_KEYS", "KEYED", "comparisons"]

#: Their hashes are keyed, or there are only a few values.
KEYED = frozenset((str, bytes, bool, type(None), datetime.date))
_NESTED = frozenset((tuple, frozenset))

#: A container of up to this many keys is never counted: even if all collide, comparing them is
#: cheaper than it was to decode them.
FEW_KEYS = 8


def comparisons(keys: Sequence[Any]) -> int:
    """Return about how many comparisons of elements it will take to put `keys` into one dict.

    Raises:
        TypeError: a key is not hashable.
    """
    if len(keys) <= FEW_KEYS or KEYED.issuperset(map(type, keys)):
        return 0
    hashes = [*map(hash, keys)]
    if len(set(hashes)) == len(hashes):
        return 0
    clusters = Counter(hashes)
    pairs = sum(n * (n - 1) // 2 for n in clusters.values())
    weight = max(_size(key) for key, value in zip(keys, hashes, strict=True) if clusters[value] > 1)
    return pairs * weight


def _size(key: Any) -> int:
    """Return how many plain values a key is made of: two tuples are compared element by element."""
    size, level = 1, [key]
    while level := [element for element in level if type(element) in _NESTED]:
        level = [*chain.from_iterable(level)]
        size += len(level)
    return size
