"""Types of the standard library: for each, how it becomes an extension and how it is built again.

A module that costs time to import (decimal, fractions, uuid, pathlib, zoneinfo) is imported when the first value
of it arrives; to send one, the sender must have imported it already.
"""

from __future__ import annotations

import datetime
import struct
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

import ormsgpack

from ..errors import NoModuleError, RemoteProtocolError
from .limits import CodecLimits, Extension, Packer, Refused, Style, Unpacker, describe

__all__ = ["DECODERS", "ENCODERS", "find_encoder", "most_bits"]

Ext = ormsgpack.Ext
Encoder = Callable[[Any, Packer], ormsgpack.Ext]
Decoder = Callable[[bytes, Unpacker], Any]

ENCODERS: dict[type, Encoder] = {}
DECODERS: dict[int, Decoder] = {}

#: Types of modules that are not imported here: module, name, encoder.
_LAZY: list[tuple[str, str, Encoder]] = []


def encodes(*types: type) -> Callable[[Encoder], Encoder]:
    """Enter an encoder for exactly these types."""

    def enter(encoder: Encoder) -> Encoder:
        for known in types:
            ENCODERS[known] = encoder
        return encoder

    return enter


def encodes_lazily(module: str, *names: str) -> Callable[[Encoder], Encoder]:
    """Enter an encoder for types of a module that need not be imported yet."""

    def enter(encoder: Encoder) -> Encoder:
        _LAZY.extend((module, name, encoder) for name in names)
        return encoder

    return enter


def decodes(kind: int) -> Callable[[Decoder], Decoder]:
    """Enter the decoder of one extension."""

    def enter(decoder: Decoder) -> Decoder:
        DECODERS[kind] = decoder
        return decoder

    return enter


def decodes_lazily(kind: int) -> Callable[[Callable[[], Decoder]], None]:
    """Enter a function that imports a module and makes the decoder; it runs when the first such value arrives."""

    def enter(make: Callable[[], Decoder]) -> None:
        def first(payload: bytes, level: Unpacker) -> Any:
            DECODERS[kind] = make()
            return DECODERS[kind](payload, level)

        DECODERS[kind] = first

    return enter


def find_encoder(cls: type) -> Encoder | None:
    """Return the encoder of a type of the standard library; remembers those of modules imported since."""
    known = ENCODERS.get(cls)
    if known is not None:
        return known
    for module, name, encoder in _LAZY:
        if getattr(sys.modules.get(module), name, None) is cls:
            ENCODERS[cls] = encoder
            return encoder
    return None


def broken(what: str, value: object) -> RemoteProtocolError:
    """Return the error for a payload that no encoder writes."""
    return RemoteProtocolError(f"bad {what} in a message: {describe(value)}")


def unpack_list(payload: bytes, level: Unpacker, what: str, least: int = 0) -> list[Any]:
    """Decode a payload that must be an array of at least so many elements."""
    items = level.unpack(payload)
    if type(items) is not list or len(items) < least:
        raise broken(what, items)
    return items


# Containers


@encodes(tuple)
def _encode_tuple(value: tuple[Any, ...], level: Packer) -> Ext:
    return Ext(Extension.TUPLE, level.pack([*value]))


@decodes(Extension.TUPLE)
def _decode_tuple(payload: bytes, level: Unpacker) -> tuple[Any, ...]:
    return tuple(unpack_list(payload, level, "tuple"))


#: From here on the rows are taken apart one by one; `zip` would hold an iterator for each.
_MANY_ROWS = 10_000


def encode_rows(value: list[Any], level: Packer) -> Ext | None:
    """Return a list of tuples of one length as the list of its columns; None for any other list.

    Three times as fast as one extension for each tuple, and what a database gives is such a list.
    """
    if {*map(type, value)} != {tuple} or not value[0]:
        return None
    try:
        if len(value) < _MANY_ROWS:
            columns = [*map(list, zip(*value, strict=True))]
        elif len({*map(len, value)}) == 1:
            columns = [[row[index] for row in value] for index in range(len(value[0]))]
        else:
            return None
    except ValueError:  # lengths differ
        return None
    return Ext(Extension.ROWS, level.pack(columns, Style.INNER))


@decodes(Extension.ROWS)
def _decode_rows(payload: bytes, level: Unpacker) -> list[tuple[Any, ...]]:
    columns = unpack_list(payload, level, "rows", 1)
    if {*map(type, columns)} != {list}:
        raise broken("rows", columns)
    return [*zip(*columns, strict=True)]


@encodes(set)
def _encode_set(value: set[Any], level: Packer) -> Ext:
    return Ext(Extension.SET, level.pack([*value], Style.MEMBERS))


@encodes(frozenset)
def _encode_frozenset(value: frozenset[Any], level: Packer) -> Ext:
    return Ext(Extension.FROZENSET, level.pack([*value], Style.MEMBERS))


def _members(payload: bytes, level: Unpacker) -> list[Any]:
    members = unpack_list(payload, level, "set")
    level.check_keys(members)
    return members


@decodes(Extension.SET)
def _decode_set(payload: bytes, level: Unpacker) -> set[Any]:
    return set(_members(payload, level))


@decodes(Extension.FROZENSET)
def _decode_frozenset(payload: bytes, level: Unpacker) -> frozenset[Any]:
    return frozenset(_members(payload, level))


def flatten(value: dict[Any, Any]) -> list[Any]:
    """Return key, value, key, value of any mapping that is a dict."""
    return [part for pair in value.items() for part in pair]


def _pairs(flat: list[Any], level: Unpacker) -> Any:
    if len(flat) % 2:
        raise broken("pairs", len(flat))
    keys = flat[::2]
    level.check_keys(keys)
    return zip(keys, flat[1::2])  # noqa: B905 (even, see above)


@decodes(Extension.PAIRS)
def _decode_pairs(payload: bytes, level: Unpacker) -> dict[Any, Any]:
    return dict(_pairs(unpack_list(payload, level, "dict"), level))


@encodes(OrderedDict)
def _encode_ordered_dict(value: OrderedDict[Any, Any], level: Packer) -> Ext:
    return Ext(Extension.ORDERED_DICT, level.pack(flatten(value), Style.PAIRS))


@decodes(Extension.ORDERED_DICT)
def _decode_ordered_dict(payload: bytes, level: Unpacker) -> OrderedDict[Any, Any]:
    return OrderedDict(_pairs(unpack_list(payload, level, "OrderedDict"), level))


@encodes(Counter)
def _encode_counter(value: Counter[Any], level: Packer) -> Ext:
    return Ext(Extension.COUNTER, level.pack(flatten(value), Style.PAIRS))


@decodes(Extension.COUNTER)
def _decode_counter(payload: bytes, level: Unpacker) -> Counter[Any]:
    counter: Counter[Any] = Counter()
    # dict.update, since Counter's own would count the pairs.
    dict.update(counter, _pairs(unpack_list(payload, level, "Counter"), level))
    return counter


_FACTORIES: dict[str, Any] = {
    factory.__name__: factory
    for factory in (bool, bytearray, bytes, complex, dict, float, frozenset, int, list, set, str, tuple)
}
_FACTORY_NAMES: dict[Any, str] = {factory: name for name, factory in _FACTORIES.items()}


@encodes(defaultdict)
def _encode_defaultdict(value: defaultdict[Any, Any], level: Packer) -> Ext:
    factory = value.default_factory
    name = _FACTORY_NAMES.get(factory) if isinstance(factory, type) else None
    return Ext(Extension.DEFAULT_DICT, level.pack([*flatten(value), None, name], Style.PAIRS))


@decodes(Extension.DEFAULT_DICT)
def _decode_defaultdict(payload: bytes, level: Unpacker) -> defaultdict[Any, Any]:
    flat = unpack_list(payload, level, "defaultdict", 2)
    name = flat.pop()
    if name is not None and (type(name) is not str or name not in _FACTORIES):
        raise broken("factory of a defaultdict", name)
    flat.pop()
    return defaultdict(_FACTORIES[name] if name else None, _pairs(flat, level))


@encodes(deque)
def _encode_deque(value: deque[Any], level: Packer) -> Ext:
    return Ext(Extension.DEQUE, level.pack([*value, value.maxlen]))


@decodes(Extension.DEQUE)
def _decode_deque(payload: bytes, level: Unpacker) -> deque[Any]:
    items = unpack_list(payload, level, "deque", 1)
    length = items.pop()
    if length is not None and (type(length) is not int or length < len(items)):
        raise broken("maxlen of a deque", length)
    return deque(items, length)


# Text and numbers


@decodes(Extension.TEXT)
def _decode_text(payload: bytes, level: Unpacker) -> str:
    return payload.decode("utf-8", "surrogatepass")


def most_bits(limits: CodecLimits) -> int:
    """Return the bits that a number of that many digits may need, a little generously (log2 of 10 is 3.3219)."""
    return limits.max_bigint_digits * 33220 // 10000 + 1


@encodes(int)
def _encode_int(value: int, level: Packer) -> Ext:
    bits = value.bit_length()
    if bits > most_bits(level.limits):
        raise Refused(
            f"the int has about {bits * 30103 // 100000} digits, limit is {level.limits.max_bigint_digits} "
            "(max_bigint_digits)"
        )
    return Ext(Extension.INT, value.to_bytes(bits // 8 + 1, "big", signed=True))


@decodes(Extension.INT)
def _decode_int(payload: bytes, level: Unpacker) -> int:
    if len(payload) > most_bits(level.limits) // 8 + 1:
        raise RemoteProtocolError(
            f"an int of {len(payload)} bytes arrived, limit is {level.limits.max_bigint_digits} digits "
            "(max_bigint_digits)"
        )
    return int.from_bytes(payload, "big", signed=True)


@encodes(complex)
def _encode_complex(value: complex, level: Packer) -> Ext:
    return Ext(Extension.COMPLEX, struct.pack(">dd", value.real, value.imag))


@decodes(Extension.COMPLEX)
def _decode_complex(payload: bytes, level: Unpacker) -> complex:
    return complex(*struct.unpack(">dd", payload))


#: Sign, point, exponent of a Decimal beside its digits.
_DECIMAL_EXTRA = 32


@encodes_lazily("decimal", "Decimal")
def _encode_decimal(value: Any, level: Packer) -> Ext:
    text = str(value)
    if len(text) > level.limits.max_bigint_digits + _DECIMAL_EXTRA:
        raise Refused(
            f"the Decimal has about {len(text)} digits, limit is {level.limits.max_bigint_digits} "
            "(max_bigint_digits)"
        )
    return Ext(Extension.DECIMAL, text.encode())


@decodes_lazily(Extension.DECIMAL)
def _make_decimal_decoder() -> Decoder:
    from decimal import Decimal

    def decode(payload: bytes, level: Unpacker) -> Any:
        if len(payload) > level.limits.max_bigint_digits + _DECIMAL_EXTRA:
            raise RemoteProtocolError(
                f"a Decimal of {len(payload)} characters arrived, limit is {level.limits.max_bigint_digits} "
                "(max_bigint_digits)"
            )
        return Decimal(payload.decode("ascii"))

    return decode


@encodes_lazily("fractions", "Fraction")
def _encode_fraction(value: Any, level: Packer) -> Ext:
    return Ext(Extension.FRACTION, level.pack([value.numerator, value.denominator], Style.INNER))


@decodes_lazily(Extension.FRACTION)
def _make_fraction_decoder() -> Decoder:
    from fractions import Fraction

    def decode(payload: bytes, level: Unpacker) -> Any:
        parts = unpack_list(payload, level, "Fraction", 2)
        if [int, int] != [*map(type, parts)]:
            raise broken("Fraction", parts)
        return Fraction(*parts)

    return decode


@encodes(range)
def _encode_range(value: range, level: Packer) -> Ext:
    return Ext(Extension.RANGE, level.pack([value.start, value.stop, value.step], Style.INNER))


@decodes(Extension.RANGE)
def _decode_range(payload: bytes, level: Unpacker) -> range:
    parts = unpack_list(payload, level, "range", 3)
    if [int, int, int] != [*map(type, parts)]:
        raise broken("range", parts)
    return range(*parts)


@encodes(slice)
def _encode_slice(value: slice, level: Packer) -> Ext:
    return Ext(Extension.SLICE, level.pack([value.start, value.stop, value.step], Style.INNER))


@decodes(Extension.SLICE)
def _decode_slice(payload: bytes, level: Unpacker) -> slice:
    parts = unpack_list(payload, level, "slice", 3)
    if len(parts) != 3:
        raise broken("slice", parts)
    return slice(*parts)


@encodes_lazily("uuid", "UUID")
def _encode_uuid(value: Any, level: Packer) -> Ext:
    return Ext(Extension.UUID, value.bytes)


@decodes_lazily(Extension.UUID)
def _make_uuid_decoder() -> Decoder:
    from uuid import UUID

    return lambda payload, level: UUID(bytes=payload)


# Dates and times

_DATE = struct.Struct(">HBB")
_TIME = struct.Struct(">BBBIB")
_DATETIME = struct.Struct(">HBBBBBIB")
_DELTA = struct.Struct(">iII")


@encodes(datetime.date)
def _encode_date(value: datetime.date, level: Packer) -> Ext:
    return Ext(Extension.DATE, _DATE.pack(value.year, value.month, value.day))


@decodes(Extension.DATE)
def _decode_date(payload: bytes, level: Unpacker) -> datetime.date:
    return datetime.date(*_DATE.unpack(payload))


def _unpack_zone(payload: bytes, level: Unpacker) -> datetime.tzinfo | None:
    if not payload:
        return None
    zone = level.unpack(payload)
    if not isinstance(zone, datetime.tzinfo):
        raise broken("time zone", zone)
    return zone


@encodes(datetime.time)
def _encode_time(value: datetime.time, level: Packer) -> Ext:
    fields = _TIME.pack(value.hour, value.minute, value.second, value.microsecond, value.fold)
    zone = value.tzinfo
    return Ext(Extension.TIME, fields if zone is None else fields + level.pack(zone, Style.INNER))


@decodes(Extension.TIME)
def _decode_time(payload: bytes, level: Unpacker) -> datetime.time:
    hour, minute, second, microsecond, fold = _TIME.unpack(payload[: _TIME.size])
    zone = _unpack_zone(payload[_TIME.size :], level)
    return datetime.time(hour, minute, second, microsecond, zone, fold=fold)


@encodes(datetime.datetime)
def _encode_datetime(value: datetime.datetime, level: Packer) -> Ext:
    fields = _DATETIME.pack(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
        value.fold,
    )
    zone = value.tzinfo
    return Ext(Extension.DATETIME, fields if zone is None else fields + level.pack(zone, Style.INNER))


@decodes(Extension.DATETIME)
def _decode_datetime(payload: bytes, level: Unpacker) -> datetime.datetime:
    year, month, day, hour, minute, second, microsecond, fold = _DATETIME.unpack(payload[: _DATETIME.size])
    zone = _unpack_zone(payload[_DATETIME.size :], level)
    return datetime.datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


@encodes(datetime.timedelta)
def _encode_timedelta(value: datetime.timedelta, level: Packer) -> Ext:
    return Ext(Extension.TIMEDELTA, _DELTA.pack(value.days, value.seconds, value.microseconds))


@decodes(Extension.TIMEDELTA)
def _decode_timedelta(payload: bytes, level: Unpacker) -> datetime.timedelta:
    return datetime.timedelta(*_DELTA.unpack(payload))


@encodes(datetime.timezone)
def _encode_timezone(value: datetime.timezone, level: Packer) -> Ext:
    if value is datetime.timezone.utc:
        return Ext(Extension.TIMEZONE, b"")
    return Ext(Extension.TIMEZONE, level.pack([*value.__getinitargs__()], Style.INNER))  # type: ignore[attr-defined]


@decodes(Extension.TIMEZONE)
def _decode_timezone(payload: bytes, level: Unpacker) -> datetime.timezone:
    if not payload:
        return datetime.timezone.utc
    parts = unpack_list(payload, level, "timezone", 1)
    if len(parts) > 2 or type(parts[0]) is not datetime.timedelta:
        raise broken("timezone", parts)
    return datetime.timezone(*parts)


@encodes_lazily("zoneinfo", "ZoneInfo")
def _encode_zoneinfo(value: Any, level: Packer) -> Ext:
    if value.key is None:
        raise Refused("a ZoneInfo without a key cannot travel; make it with ZoneInfo(key)")
    return Ext(Extension.ZONEINFO, value.key.encode())


@decodes_lazily(Extension.ZONEINFO)
def _make_zoneinfo_decoder() -> Decoder:
    from zoneinfo import ZoneInfo

    def decode(payload: bytes, level: Unpacker) -> Any:
        key = payload.decode("ascii")
        try:
            return ZoneInfo(key)  # checks that the key stays below the directories of time zones
        except (KeyError, OSError) as exc:
            raise NoModuleError(f"time zone {describe(key)} is not known here; install tzdata") from exc

    return decode


# Paths


def _encode_path(kind: int) -> Encoder:
    return lambda value, level: Ext(kind, str(value).encode("utf-8", "surrogatepass"))


encodes_lazily("pathlib", "PosixPath", "WindowsPath")(_encode_path(Extension.PATH))
encodes_lazily("pathlib", "PurePosixPath")(_encode_path(Extension.PURE_POSIX_PATH))
encodes_lazily("pathlib", "PureWindowsPath")(_encode_path(Extension.PURE_WINDOWS_PATH))


def _decode_path(name: str) -> Callable[[], Decoder]:
    def make() -> Decoder:
        import pathlib

        cls = getattr(pathlib, name)
        return lambda payload, level: cls(payload.decode("utf-8", "surrogatepass"))

    return make


decodes_lazily(Extension.PATH)(_decode_path("Path"))
decodes_lazily(Extension.PURE_POSIX_PATH)(_decode_path("PurePosixPath"))
decodes_lazily(Extension.PURE_WINDOWS_PATH)(_decode_path("PureWindowsPath"))
