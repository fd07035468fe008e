"""The codec under fire: values, arguments and errors, with parts beside the body and references.

    byte 0    the case: bits 0 and 1 what is decoded (value, arguments, error), bit 2 narrow limits, bit 3 the body
              is a view, bit 4 no references, bits 5 to 7 the number of parts
    parts     each a byte with its length, and so many bytes
    rest      the body

What can be decoded can be encoded, and then decoded to the same.
"""

from __future__ import annotations

import enum
import struct
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from gpyro._serializers.decoder import Reading
from gpyro.errors import NoModuleError, ProtocolError, SerializationError
from gpyro.serializers import Codec, CodecLimits, register
from tests.fuzz.source import Source

__all__ = ["ALLOWED", "codec", "normal"]

#: What decoding may raise.
ALLOWED: Final = (ProtocolError, NoModuleError, SerializationError)
WIDE: Final = CodecLimits()
NARROW: Final = CodecLimits(max_depth=5, max_items=40, max_bigint_digits=30, max_colliding_keys=9)


@register
@dataclass
class Point:
    """A class with fields."""

    x: Any
    y: Any = None


class Place(NamedTuple):
    """A tuple with names."""

    row: Any
    column: Any


class Colour(enum.Enum):
    """Three members."""

    RED = 1
    GREEN = "g"
    BLUE = None


class Plain:
    """A class without anything."""


class Words(list[Any]):
    """A built-in with attributes."""


class Slip(Exception):
    """An exception of a user's."""


class Picky:
    """Refuses what does not suit it."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _make_picky(state: Any) -> Picky:
    if not isinstance(state, int):
        raise KeyError(state)
    return Picky(state)


for _cls, _name in ((Place, "place"), (Colour, "colour"), (Plain, "plain"), (Words, "words"), (Slip, "slip")):
    register(_cls, name=f"fuzz.{_name}")
register(Picky, name="fuzz.picky", to_state=lambda picky: picky.value, from_state=_make_picky)


class Remote:
    """Travels by reference."""

    _gpyro_by_reference_ = True

    def __init__(self, kind: int, data: bytes) -> None:
        self.kind, self.data = kind, data


class Room:
    """References of kinds below 8; it does not know the others."""

    def encode_reference(self, value: object) -> tuple[int, bytes] | None:
        assert isinstance(value, Remote)
        return value.kind, value.data

    def decode_reference(self, kind: int, data: bytes) -> object:
        if kind >= 8:
            raise ProtocolError(f"unknown reference {kind}")
        return Remote(kind, bytes(data))


CODECS: Final = [
    Codec(limits, references) for references in (Room(), None) for limits in (WIDE, NARROW)
]


def codec(data: bytes) -> None:
    """Decode in each way; the quick pass and the careful one agree, and so does what was encoded again.

    Raises:
        AssertionError: a promise is broken. Anything else that is not in ALLOWED is a finding as well.
    """
    source = Source(data)
    case = source.byte()
    parts = [source.blob() for _ in range(case >> 5)]
    body: bytes | memoryview = source.rest()
    if case & 8:
        body = memoryview(body)
    one = CODECS[case >> 2 & 1 | case >> 3 & 2]
    decode = (one.decode_value, one.decode_arguments, one.decode_error, one.decode_value)[case & 3]
    failed, value = attempt(lambda: decode(body, parts))
    slow_failed, slow = attempt(lambda: Reading(one.limits, parts, one.references).read(body))
    if case & 3 in (0, 3):
        assert failed is slow_failed, f"the quick pass gives {failed}, the careful one {slow_failed}"
    if failed is None:
        assert slow_failed is None
        if case & 3 != 1:
            assert normal(value) == normal(slow), "the two passes differ"
        check_round_trip(one, case & 3, value)


def attempt(decode: Callable[[], Any]) -> tuple[type[BaseException] | None, Any]:
    """Return the class of what was raised, or the value."""
    try:
        return None, decode()
    except ALLOWED as exc:
        assert len(str(exc)) < 1000, f"a message of {len(str(exc))} characters"
        return type(exc), None


def check_round_trip(one: Codec, what: int, value: Any) -> None:
    """Encode what was decoded and decode it again."""
    try:
        if what == 1:
            args, kwargs = value
            again: Any = one.decode_arguments(*one.encode_arguments(tuple(args), kwargs))
        elif what == 2:
            again = one.decode_error(*one.encode_error(value, None))
            assert isinstance(again, BaseException)
            return
        else:
            again = one.decode_value(*one.encode_value(value))
    except SerializationError:
        # Taken, but above what would be sent: some limits are of the written form. Never the other way round.
        return
    assert normal(value) == normal(again), f"{value!r} became {again!r}"


def normal(value: Any) -> Any:
    """Return something that can be compared: equal types and contents, whatever == says of them."""
    kind = type(value)
    name = kind.__name__
    if kind is float:
        return name, struct.pack(">d", value)
    if kind is complex:
        return name, struct.pack(">dd", value.real, value.imag)
    if kind in (list, tuple, Place):
        return name, [normal(item) for item in value]
    if kind is deque:
        return name, value.maxlen, [normal(item) for item in value]
    if kind in (set, frozenset):
        return name, sorted((normal(item) for item in value), key=repr)
    if kind in (dict, OrderedDict, Counter, defaultdict):
        pairs = [(normal(key), normal(item)) for key, item in value.items()]
        return name, repr(getattr(value, "default_factory", None)), pairs
    if kind in (bytes, bytearray, memoryview):
        return "bytes", bytes(value)  # deeper in a value all three arrive as bytes
    if kind is slice:
        return name, [normal(item) for item in (value.start, value.stop, value.step)]
    if kind is Remote:
        return name, value.kind, value.data
    if isinstance(value, BaseException):
        return name, [normal(arg) for arg in value.args], normal(value.__cause__), normal(value.__context__)
    if kind.__module__ == "numpy":
        return name, str(value.dtype), getattr(value, "shape", ()), value.tobytes()
    if kind in (Point, Plain, Words, Picky):
        items = [normal(item) for item in value] if kind is Words else []
        return name, items, sorted((key, normal(item)) for key, item in vars(value).items())
    try:
        return name, repr(value)
    except ValueError:  # an int of more digits than Python writes
        return name, hex(value)
