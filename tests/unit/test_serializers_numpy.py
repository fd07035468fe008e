"""numpy arrays, for programs that have numpy; gpyro itself never imports it before one arrives."""

from __future__ import annotations

import sys
from typing import Any

import ormsgpack
import pytest

from gpyro.errors import NoModuleError, PyroError, RemoteProtocolError, SerializationError
from gpyro.serializers import Codec

numpy: Any = pytest.importorskip("numpy")
CODEC = Codec()


def there(value: Any) -> Any:
    return CODEC.decode_value(*CODEC.encode_value(value))


def forged(*fields: Any, kind: int = 13) -> bytes:
    return ormsgpack.packb(ormsgpack.Ext(kind, ormsgpack.packb(list(fields))))


ARRAYS = {
    "floats": numpy.arange(12, dtype="f8").reshape(3, 4),
    "fortran": numpy.asfortranarray(numpy.arange(12, dtype="i4").reshape(3, 4)),
    "strided": numpy.arange(100)[::7],
    "transposed": numpy.arange(24).reshape(2, 3, 4).transpose(1, 2, 0),
    "big endian": numpy.arange(5, dtype=">u2"),
    "bool": numpy.array([[True], [False]]),
    "complex": numpy.array([1 + 2j]),
    "text": numpy.array(["a", "longer é"]),
    "bytes": numpy.array([b"a", b"bc"]),
    "dates": numpy.array(["2026-01-01", "NaT"], dtype="M8[D]"),
    "spans": numpy.array([5], dtype="m8[25us]"),
    "empty": numpy.empty((0, 3)),
    "no dimension": numpy.array(5.5),
    "large": numpy.arange(10_000).reshape(100, 100),
    "large fortran": numpy.asfortranarray(numpy.arange(10_000).reshape(100, 100)),
    "large dates": numpy.zeros(5000, dtype="M8[s]"),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_array_arrives_with_dtype_shape_and_order(array: Any) -> None:
    for arrived in (there(array), there([array])[0], there((1, {"k": array}))[1]["k"]):
        assert type(arrived) is numpy.ndarray
        assert arrived.dtype == array.dtype
        assert arrived.shape == array.shape
        numpy.testing.assert_array_equal(arrived, array)
        assert arrived.flags.writeable
        if array.flags.f_contiguous and array.ndim > 1 and array.size:
            assert arrived.flags.f_contiguous


@pytest.mark.parametrize("value", ["f8", "f4", "i1", "u8", "?", "c16", "M8[ns]", "m8[s]"])
def test_scalar_arrives_as_itself(value: str) -> None:
    scalar = numpy.ones(1, dtype=value)[0]
    arrived = there([scalar])[0]
    assert type(arrived) is type(scalar)
    assert arrived == scalar
    assert arrived.dtype == scalar.dtype


def test_large_array_travels_beside_the_body_without_a_copy() -> None:
    array = numpy.zeros(10_000)
    body, parts = CODEC.encode_arguments((array,), None)
    assert len(body) < 50
    array[0] = 1
    assert bytes(parts[0][:8]) == array[:1].tobytes()
    buffer = bytearray(parts[0])
    arrived = CODEC.decode_arguments(body, [memoryview(buffer)])[0][0]
    buffer[:] = bytes(len(buffer))
    assert arrived[0] == 1


@pytest.mark.parametrize(
    "value",
    [
        numpy.array([object()]), numpy.array([None, "a"], dtype=object), numpy.zeros(2, dtype=[("a", "i4")]),
        numpy.zeros(1, dtype="V4"), numpy.ma.array([1], mask=[True]), numpy.float64,
        numpy.rec.array([(1, 2)]),
    ],
    ids=lambda value: str(getattr(value, "dtype", value)),
)  # fmt: skip
def test_what_is_not_plain_numbers_text_or_dates_is_refused(value: Any) -> None:
    with pytest.raises(SerializationError):
        CODEC.encode_value([value])


@pytest.mark.parametrize(
    "fields",
    [
        ("|O", [1], "C", b"x" * 8), ("O", [1], "C", b"x" * 8), ("i4,i4", [1], "C", b"x" * 8),
        ("f8", [2], "C", b"x" * 8),
        ("f8", [1], "X", b"x" * 8), ("f8", [1], None, b"x" * 8), ("f8", 1, "C", b"x" * 8),
        ("f8", [-1], "C", b"x" * 8),
        ("f8", [True], "C", b"x" * 8), ("f8", [1.0], "C", b"x" * 8), ("f8", [1] * 40, "C", b"x" * 8),
        ("f9", [1], "C", b"x" * 9), ("f8", [10**12], "C", b""), ("S0", [10**12], "C", b""), ("U0", [1], "C", b""),
        ("f8", [0, 2**63], "C", b""), (b"f8", [1], "C", b"x" * 8), ("f8", [1], "C", "x" * 8), ("f8", [1], "C", 0),
        ("f8", [1], "C", 256), ("f8", [1], "C", -1), ("f8", [1], "C"), ("M8[xx]", [1], "C", b"x" * 8),
        ("V8", [1], "C", b"x" * 8), ("float64", [1], "C", b"x" * 8), ("f8\n", [1], "C", b"x" * 8), (),
    ],
    ids=str,
)  # fmt: skip
def test_array_that_no_encoder_writes_is_refused(fields: tuple[Any, ...]) -> None:
    with pytest.raises(RemoteProtocolError):
        CODEC.decode_value(forged(*fields), ())


def test_scalar_that_no_encoder_writes_is_refused() -> None:
    for fields in (("f8", b"x"), ("O", b"x" * 8), ("f8", "x" * 8), ("f8",), ("S0", b"")):
        with pytest.raises(PyroError):
            CODEC.decode_value(forged(*fields, kind=14), ())


def test_array_that_arrives_where_numpy_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    body, parts = CODEC.encode_value(numpy.arange(3))
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(NoModuleError, match="numpy is not installed here"):
        CODEC.decode_value(body, parts)
    with pytest.raises(SerializationError):
        CODEC.encode_value(object())
