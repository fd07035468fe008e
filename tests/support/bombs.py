"""Messages that are meant to cost the receiver much more than the sender: deep, colliding, lying, endless.

`build_bombs` is for the tests, which look at what becomes of each, and for the benchmarks, which time them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import ormsgpack

from gpyro._serializers.limits import Extension
from gpyro.wire.native import HEADER, Flag, FrameType

__all__ = ["BOMBS", "CLOSED", "ERROR", "SERVED", "Bomb", "build_bomb", "build_bombs"]

Ext = ormsgpack.Ext
packb = ormsgpack.packb

#: What becomes of a bomb: an ERROR for this one call, the end of the connection, or an ordinary answer.
ERROR, CLOSED, SERVED = "error", "closed", "served"

#: Python's hash of an int is its remainder by this.
MODULUS = 2**61 - 1
MANY = 1_000_000
#: 20,000 ints that collide held a dict for 1.6 s.
SOME = 20_000


class Bomb(NamedTuple):
    """A bomb: the bytes that follow the greeting, as request 1 where it is one, and what becomes of it."""

    name: str
    data: bytes
    outcome: str


def build_bombs(target: bytes) -> Iterator[Bomb]:
    """Make each bomb, one after another: together they are 150 MB.

    Args:
        target: a method that takes one argument and returns it, see `build_target`.
    """
    return (build_bomb(name, target) for name in BOMBS)


def build_bomb(name: str, target: bytes) -> Bomb:
    """Make the bomb of that name; names are the keys of `BOMBS`."""
    make, outcome = BOMBS[name]
    return Bomb(name, make(target), outcome)


def _head(
    kind: int, body_bytes: int, request_id: int = 1, flags: int = 0, target: int = 0, extras: int = 0
) -> bytes:
    return HEADER.pack(kind, flags, target, request_id, body_bytes, extras)


def _request(target: bytes, body: bytes) -> bytes:
    whole = _head(FrameType.REQUEST, len(body), target=len(target)) + target + body
    return whole if len(whole) < 4_000_000 else b"".join(_cut(whole, 1_000_000))


def _cut(whole: bytes, size: int) -> Iterator[bytes]:
    """Cut a frame into chunks; the first has the frame's own header at least."""
    at = 0
    while at < len(whole):
        piece = whole[at : at + (size if at else max(size, HEADER.size))]
        at += len(piece)
        yield _head(FrameType.CHUNK, len(piece), flags=Flag.MORE if at < len(whole) else 0) + piece


# Bodies


def _nested_extensions() -> bytes:
    # As many as fit a frame, 6 bytes each; each payload is all that follows.
    deep = 600_000
    return b"\x91" + b"".join(struct.pack("!BIb", 0xC9, 6 * (deep - n - 1) + 1, 1) for n in range(deep)) + b"\xc0"


def _int_key(number: int) -> bytes:
    data = number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)
    return b"\xc7" + bytes([len(data), Extension.INT]) + data


def _colliding(count: int) -> Iterator[bytes]:
    return (_int_key(MODULUS * n) for n in range(10, 10 + count))


def _array(items: list[bytes]) -> bytes:
    return struct.pack("!BI", 0xDD, len(items)) + b"".join(items)


def _ext(kind: int, payload: bytes) -> bytes:
    return struct.pack("!BIb", 0xC9, len(payload), kind) + payload


def _in_pairs(keys: list[bytes], kind: int = Extension.PAIRS, tail: tuple[bytes, ...] = ()) -> bytes:
    return b"\x91" + _ext(kind, _array([part for key in keys for part in (key, b"\xc0")] + [*tail]))


def _fraction_keys() -> list[bytes]:
    # hash(a/b) is a times the inverse of b; a = b * 5 modulo the modulus.
    return [
        _ext(Extension.FRACTION, packb([(b * 5) % MODULUS + MODULUS, b])) for b in range(7, 7 + SOME)
    ]  # fmt: skip


def _tuple_keys() -> list[bytes]:
    return [_ext(Extension.TUPLE, b"\x92" + key + b"\x01") for key in _colliding(SOME)]


def _few_full_extensions() -> bytes:
    # 20 MB of text, copied at each of 60 levels.
    body = packb("x" * (20 * 1024 * 1024))
    for _ in range(60):
        body = _ext(Extension.TUPLE, b"\x91" + body)
    return b"\x91" + body


def _uuid_keys() -> list[bytes]:
    return [_ext(Extension.UUID, (MODULUS * (n + 1)).to_bytes(16, "big")) for n in range(SOME)]


def _decimal_keys() -> list[bytes]:
    return [_ext(Extension.DECIMAL, str(MODULUS * (n + 1)).encode()) for n in range(SOME)]


_BODIES: dict[str, Callable[[], bytes]] = {
    "1,000,000 nested arrays": lambda: b"\x91" * MANY + b"\xc0",
    "1,000,000 nested maps": lambda: b"\x91" + b"\x81\xa1a" * MANY + b"\xc0",
    "600,000 nested extensions": _nested_extensions,
    "60 extensions around 20 MB": _few_full_extensions,
    "20,000,000 empty maps": lambda: struct.pack("!BI", 0xDD, 20_000_000) + b"\x80" * 20_000_000,
    "20,000 arrays of 1,000 empty maps": lambda: struct.pack("!BI", 0xDD, 20_000)
    + (b"\xdc\x03\xe8" + b"\x80" * 1000) * 20_000,
    "a map of 1,000,000 colliding ints": lambda: _in_pairs([*_colliding(MANY)]),
    "a map of 20,000 colliding ints": lambda: _in_pairs([*_colliding(SOME)]),
    "a Counter of 20,000 colliding ints": lambda: _in_pairs([*_colliding(SOME)], Extension.COUNTER),
    "an OrderedDict of 20,000 colliding ints": lambda: _in_pairs([*_colliding(SOME)], Extension.ORDERED_DICT),
    "a defaultdict of 20,000 colliding ints": lambda: _in_pairs(
        [*_colliding(SOME)], Extension.DEFAULT_DICT, (b"\xc0", b"\xc0")
    ),
    "a set of 20,000 colliding ints": lambda: b"\x91" + _ext(Extension.SET, _array([*_colliding(SOME)])),
    "a frozenset of 20,000 colliding ints": lambda: b"\x91" + _ext(
        Extension.FROZENSET, _array([*_colliding(SOME)])),
    "a map of 20,000 colliding fractions": lambda: _in_pairs(_fraction_keys()),
    "a map of 20,000 colliding tuples": lambda: _in_pairs(_tuple_keys()),
    "a map of 20,000 colliding UUIDs": lambda: _in_pairs(_uuid_keys()),
    "a map of 20,000 colliding Decimals": lambda: _in_pairs(_decimal_keys()),
    "a map that says it has 4,294,967,295 pairs": lambda: b"\x91\xdf\xff\xff\xff\xff",
    "an array that says it has 2,147,483,647 elements": lambda: b"\xdd\x7f\xff\xff\xff\xc0",
    "an array in one that says it has 4,294,967,295 elements": lambda: b"\x91\xdd\xff\xff\xff\xff\xc0",
    "bytes that say they are 2 GiB": lambda: b"\x91\xc6\x7f\xff\xff\xffabc",
    "text that says it is 2 GiB": lambda: b"\x91\xdb\x7f\xff\xff\xffabc",
    "an extension that says it is 2 GiB": lambda: b"\x91\xc9\x7f\xff\xff\xff\x01abc",
    "a tuple of an array that says it has 4,294,967,295": lambda: b"\x91" + _ext(1, b"\xdd\xff\xff\xff\xff"),
    "4,000,000 empty maps": lambda: struct.pack("!BI", 0xDD, 3_900_000) + b"\x80" * 3_900_000,
    "an int of 3 MB": lambda: b"\x91" + _ext(Extension.INT, b"\x7f" * 3_000_000),
    "a Decimal of 3 MB": lambda: b"\x91" + _ext(Extension.DECIMAL, b"9" * 3_000_000),
    "a numpy array that says it has 2^62 elements": lambda: packb(
        [Ext(Extension.NDARRAY, packb(["<i8", [2**31, 2**31], "C", b""]))]
    ),
}

# Headers and chunks

_HEADERS = {
    "a body that says it is 2 GiB": _head(FrameType.REQUEST, 2**31 - 1),
    "a body that says it is 4 GiB": _head(FrameType.REQUEST, 2**32 - 1),
    "extras that say they are 2 GiB": _head(FrameType.REQUEST, 0, extras=2**31 - 1),
    "a target that says it is 64 KiB": _head(FrameType.REQUEST, 0, target=2**16 - 1),
    "all three at their most": _head(FrameType.REQUEST, 2**32 - 1, target=2**16 - 1, extras=2**32 - 1),
    "a ping that says it is 2 GiB": _head(FrameType.PING, 2**31 - 1),
    "a chunk that says it is 2 GiB": _head(FrameType.CHUNK, 2**31 - 1, flags=Flag.MORE),
}


def _announce(body_bytes: int, request_id: int = 1) -> bytes:
    """The first chunk of a message, which announces the size of all of it."""
    inner = _head(FrameType.REQUEST, body_bytes, request_id)
    return _head(FrameType.CHUNK, len(inner), request_id, Flag.MORE) + inner


_PIECE = _head(FrameType.CHUNK, 1000, flags=Flag.MORE) + bytes(1000)

_CHUNKS: dict[str, Callable[[bytes], bytes]] = {
    "chunks without end": lambda target: _announce(100_000) + _PIECE * 5000,
    "chunks of a message of 4 GiB": lambda target: _announce(2**32 - 1) + _PIECE * 100,
    "chunks of 1,000 messages": lambda target: b"".join(_announce(1000, 2 * n + 1) for n in range(1000)),
    "1,000,000 empty chunks": lambda target: _announce(1000) + _head(FrameType.CHUNK, 0, flags=Flag.MORE) * MANY,
}


def _squeezed() -> bytes:
    return zlib.compress(bytes(100 * 1024 * 1024), 9)


def _as_request(make: Callable[[], bytes]) -> Callable[[bytes], bytes]:
    return lambda target: _request(target, make())


def _as_frames(head: bytes) -> Callable[[bytes], bytes]:
    return lambda target: head + b"x" * 100


#: Name: what makes it for a target, and what becomes of it.
BOMBS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    **{name: (_as_request(make), ERROR) for name, make in _BODIES.items()},
    **{name: (_as_frames(head), CLOSED) for name, head in _HEADERS.items()},
    **{name: (make, CLOSED) for name, make in _CHUNKS.items()},
    "zlib 1000:1 as the body": (_as_request(_squeezed), ERROR),
    "zlib 1000:1 as an argument": (_as_request(lambda: packb([_squeezed()])), SERVED),
    "1,000,000 tiny frames": (
        lambda target: _head(FrameType.CANCEL, 0) * MANY + _request(target, b"\x91\x01"), CLOSED
    ),
    "200,000 chunks of one byte": (
        lambda target: b"".join(_cut(_request(target, packb([bytes(200_000)])), 1)), SERVED
    ),
}  # fmt: skip
