"""MessagePack for the peers that carry bytes only; bytes themselves travel as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import ormsgpack

from benchmarks.model import Work


class Packing(NamedTuple):
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]


def choose_packing(work: Work) -> Packing:
    if work.payload == "megabyte" or work.payload.startswith("bytes-"):
        return Packing(bytes, bytes)
    return Packing(ormsgpack.packb, ormsgpack.unpackb)
