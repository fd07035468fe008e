"""R24: messages that mean to cost the receiver more than the sender."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from gpyro._serializers.limits import Extension
from gpyro.uri import PyroURI
from gpyro.wire.frames import HEADER, FrameType, build_chunks, build_frame, build_target
from tests.support.attackers import Caller

__all__ = ["Bombs"]

MANY = 1_000_000
#: Python's hash of an int is its remainder by this.
MODULUS = 2**61 - 1
LIMIT = 4 * 1024 * 1024


class Bomb(NamedTuple):
    """What is sent behind the greeting, as request 1 where it is one."""

    name: str
    data: bytes


def build(target: bytes) -> Iterator[Bomb]:
    """Make one bomb after another."""
    squeezed = zlib.compress(bytes(100 * 1024 * 1024), 9)
    yield Bomb("zlib 1000:1 as the body", _request(target, squeezed))
    yield Bomb("1,000,000 nested arrays", _request(target, b"\x91" * MANY + b"\xc0"))
    yield Bomb("1,000,000 nested maps", _request(target, b"\x91" + b"\x81\xa1a" * MANY + b"\xc0"))
    yield Bomb("a map of 1,000,000 colliding ints", _request(target, b"\x91" + _pairs(MANY)))
    yield Bomb("a map of 20,000 colliding ints", _request(target, b"\x91" + _pairs(20_000)))
    yield Bomb("a body that says it is 2 GiB", HEADER.pack(FrameType.REQUEST, 0, 0, 1, 2**31 - 1, 0) + bytes(100))
    yield Bomb("bytes that say they are 2 GiB", _request(target, b"\x91\xc6\x7f\xff\xff\xffabc"))
    yield Bomb("1,000,000 pings", HEADER.pack(FrameType.PING, 0, 0, 0, 0, 0) * MANY)


def _request(target: bytes, body: bytes) -> bytes:
    frame = build_frame(FrameType.REQUEST, 0, 1, target, body)
    if len(frame[0]) <= LIMIT:
        return b"".join(frame)
    return b"".join(part for chunk in build_chunks(frame, 1, 1_000_000) for part in chunk)


def _pairs(count: int) -> bytes:
    keys = (MODULUS * (n + 10) for n in range(count))
    packed = [number.to_bytes(number.bit_length() // 8 + 1, "big") for number in keys]
    array = struct.pack("!BI", 0xDD, 2 * count) + b"".join(
        b"\xc7" + bytes([len(data), Extension.INT]) + data + b"\xc0" for data in packed
    )
    return struct.pack("!BIb", 0xC9, len(array), Extension.PAIRS) + array


def find_bombs(target: bytes) -> Iterator[Any]:
    """Use the tests' set where it is there, and these besides."""
    yield from build(target)
    try:
        from tests.support.bombs import build_bombs
    except ImportError:
        return
    known = {"zlib 1000:1 as the body", "1,000,000 nested arrays", "1,000,000 nested maps",
             "a map of 1,000,000 colliding ints", "a map of 20,000 colliding ints", "a body that says it is 2 GiB",
             "bytes that say they are 2 GiB"}  # fmt: skip
    yield from (bomb for bomb in build_bombs(target) if bomb.name not in known)


class Bombs:
    """Throws them one by one."""

    def __init__(self, uris: list[str]) -> None:
        uri = PyroURI(uris[1])
        self._port = uri.port
        self._bombs = find_bombs(build_target(uri.objectID, "echo"))
        self._caller: Caller | None = None
        self._next: Any = None

    def prepare(self) -> dict[str, Any]:
        """Make the next one and connect; an empty answer when there are no more."""
        self._next = next(self._bombs, None)
        if self._next is None:
            return {}
        self._caller = Caller(self._port)
        self._caller.greet()
        return {"name": self._next.name, "bytes": len(self._next.data)}

    def throw(self) -> dict[str, Any]:
        """Send it; returns what came of it."""
        caller, self._caller = self._caller, None
        assert caller is not None
        try:
            caller.sock.sendall(self._next.data)
            kind, _, _ = caller.frame()
            while kind not in (FrameType.REPLY, FrameType.ERROR):
                kind, _, _ = caller.frame()
            outcome = FrameType(kind).name
        except (OSError, EOFError):
            outcome = "closed"
        caller.close()
        return {"outcome": outcome}


