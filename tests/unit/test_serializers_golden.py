"""The wire format does not change: bytes written today are read by every later version."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import pathlib
import re
import uuid
import zoneinfo
from collections.abc import Iterator
from typing import Any

import ormsgpack
import pytest

from gpyro._serializers import registry
from gpyro._serializers.limits import CodecLimits, Extension
from gpyro._serializers.standard import DECODERS
from gpyro.serializers import Codec, register

CODEC = Codec()
DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "design" / "codec.md"
UTC = datetime.timezone.utc
HOUR = datetime.timezone(datetime.timedelta(hours=1))

GOLDEN: list[tuple[int, Any, str]] = [
    (1, (1, "a"), "d6 01 92 01 a1 61"),
    (2, [(1, "a"), (2, "b")], "c7 09 02 92 92 01 02 92 a1 61 a1 62"),
    (3, {5}, "d5 03 91 05"),
    (4, frozenset({5}), "d5 04 91 05"),
    (5, {1: 2}, "c7 03 05 92 01 02"),
    (6, "\ud800", "c7 03 06 ed a0 80"),
    (7, 2**64, "c7 09 07 01 00 00 00 00 00 00 00 00"),
    (7, -(2**64), "c7 09 07 ff 00 00 00 00 00 00 00 00"),
    (8, bytearray(b"ab"), "d5 08 61 62"),
    (9, memoryview(b"ab"), "d5 09 61 62"),
    (10, bytes(64_513), "d4 0a 00"),
    (11, bytearray(64_513), "d4 0b 00"),
    (12, memoryview(bytes(64_513)), "d4 0c 00"),
    (15, 1 - 2j, "d8 0f 3f f0 00 00 00 00 00 00 c0 00 00 00 00 00 00 00"),
    (16, decimal.Decimal("1.50"), "d6 10 31 2e 35 30"),
    (17, fractions.Fraction(1, 3), "c7 03 11 92 01 03"),
    (18, datetime.date(2026, 7, 1), "d6 12 07 ea 07 01"),
    (19, datetime.time(1, 2, 3, 4), "d7 13 01 02 03 00 00 00 04 00"),
    (20, datetime.datetime(2026, 7, 1, 12, fold=1), "c7 0c 14 07 ea 07 01 0c 00 00 00 00 00 00 01"),
    (20, datetime.datetime(2026, 7, 1, tzinfo=UTC), "c7 0f 14 07 ea 07 01 00 00 00 00 00 00 00 00 c7 00 16"),
    (21, datetime.timedelta(-1, 5, 7), "c7 0c 15 ff ff ff ff 00 00 00 05 00 00 00 07"),
    (22, UTC, "c7 00 16"),
    (22, HOUR, "d8 16 91 c7 0c 15 00 00 00 00 00 00 0e 10 00 00 00 00"),
    (23, zoneinfo.ZoneInfo("UTC"), "c7 03 17 55 54 43"),
    (24, uuid.UUID(int=1), "d8 18 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01"),
    (25, pathlib.Path("a"), "d4 19 61"),
    (26, pathlib.PurePosixPath("a"), "d4 1a 61"),
    (27, pathlib.PureWindowsPath("a"), "d4 1b 61"),
    (28, range(1, 3), "d6 1c 93 01 03 01"),
    (29, slice(None, 3), "d6 1d 93 c0 03 c0"),
    (30, collections.OrderedDict([(1, 2)]), "c7 03 1e 92 01 02"),
    (31, collections.defaultdict(list, {1: 2}), "c7 09 1f 94 01 02 c0 a4 6c 69 73 74"),
    (32, collections.deque([1], 5), "c7 03 20 92 01 05"),
    (33, collections.Counter({"a": 2}), "d6 21 92 a1 61 02"),
]


@pytest.mark.parametrize(("kind", "value", "hexadecimal"), GOLDEN, ids=lambda value: f"{value!r}"[:30])
def test_bytes_of_each_extension_stay_as_they_are(kind: int, value: Any, hexadecimal: str) -> None:
    golden = bytes.fromhex(hexadecimal)
    body, parts = CODEC.encode_value(value)
    assert body.hex(" ") == golden.hex(" ")
    assert CODEC.decode_value(golden, parts) == value
    assert re.search(rb"[\xc7\xd4-\xd8](?:.)?" + bytes([kind]), golden[:3], re.DOTALL)


@pytest.fixture
def registered() -> Iterator[None]:
    tables: tuple[dict[Any, Any], ...] = (registry.BY_CLASS, registry.BY_NAME)
    saved = [dict(table) for table in tables]
    yield
    for table, before in zip(tables, saved, strict=True):
        table.clear()
        table.update(before)


@pytest.mark.usefixtures("registered")
def test_bytes_of_registered_objects_stay_as_they_are() -> None:
    Color: Any = enum.Enum("Color", "RED")
    register(Color, name="c")
    text: Any = register(type("Text", (str,), {}), name="t")
    plain: Any = register(type("Plain", (), {}), name="p")
    thing = plain()
    thing.a = 1
    golden = {
        "c7 07 28 92 a1 63 a3 52 45 44": Color.RED,
        "c7 07 28 92 a1 74 92 a1 78 80": text("x"),
        "c7 07 28 92 a1 70 81 a1 61 01": thing,
    }
    assert [CODEC.encode_value(value)[0].hex(" ") for value in golden.values()] == [*golden]
    for body, value in golden.items():
        assert type(CODEC.decode_value(bytes.fromhex(body), ())) is type(value)


def test_bytes_of_an_exception_stay_as_they_are() -> None:
    parts: list[Any] = ["builtins.KeyError", "'k'", [b"\xa1k"], {}, ["line"], None, None, None, False, None, None]
    golden = ormsgpack.packb(ormsgpack.Ext(41, ormsgpack.packb(parts)))
    assert CODEC.encode_error(KeyError("k"), ["line"]) == (golden, [])
    assert repr(CODEC.decode_error(golden, ())) == "KeyError('k')"


def test_bytes_of_a_reference_stay_as_they_are() -> None:
    class Room:
        def encode_reference(self, value: object) -> tuple[int, bytes]:
            return 7, b"uri"

        def decode_reference(self, kind: int, data: bytes) -> object:
            return kind, data

    thing = type("Thing", (), {"_gpyro_by_reference_": True})()
    codec = Codec(references=Room())
    assert codec.encode_value(thing) == (bytes.fromhex("d6 2a 07 75 72 69"), [])
    assert codec.decode_value(bytes.fromhex("d6 2a 07 75 72 69"), ()) == (7, b"uri")


def constants() -> dict[str, int]:
    return {name: number for name, number in vars(Extension).items() if name.isupper()}


def test_each_extension_is_in_the_document_and_has_a_decoder() -> None:
    table = DOCUMENT.read_text().split("## 2. Extensions")[1].split("###")[0]
    documented = [int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]
    assert documented == sorted(constants().values()) == sorted(DECODERS)
    assert len(set(constants().values())) == len(constants())


def test_limits_in_the_document_are_those_of_the_code() -> None:
    found = dict(re.findall(r"^\| `(max_\w+)` \| ([\d,]+) \|", DOCUMENT.read_text(), re.MULTILINE))
    limits = CodecLimits()
    assert {name: int(text.replace(",", "")) for name, text in found.items()} == {
        name: getattr(limits, name) for name in limits._fields
    }
