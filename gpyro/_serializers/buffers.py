"""Bytes that travel beside the body, and numpy arrays.

A part beside the body is a view of the sender's own object: it is copied by nobody before the socket. At the
receiver it is the object that the user gets, or a view of a receive buffer that is used again, which is copied
exactly once. One part can be named once in a body; naming it more often would make copies of it for free.
"""

from __future__ import annotations

import math
import re
import sys
from typing import Any, Protocol, Union

import ormsgpack

from ..errors import NoModuleError
from .limits import INLINE_BYTES, MAX_BUFFERS, Extension, Packer, Refused, Unpacker
from .standard import broken, decodes

__all__ = [
    "BUFFER_TYPES",
    "Part",
    "encode_array",
    "encode_buffer",
    "flat_view",
    "holds_large_bytes",
    "is_array",
]

Ext = ormsgpack.Ext
Part = Union[bytes, memoryview]

BUFFER_TYPES = frozenset((bytes, bytearray, memoryview))
_IN_BODY = {bytearray: Extension.BYTEARRAY, memoryview: Extension.MEMORYVIEW}
_OUTSIDE = {
    bytes: Extension.OUT_BYTES,
    bytearray: Extension.OUT_BYTEARRAY,
    memoryview: Extension.OUT_MEMORYVIEW,
}


def flat_view(value: bytes | bytearray | memoryview) -> Part:
    """Return the value as flat bytes, without a copy where its memory is in one piece."""
    if type(value) is bytes:
        return value
    view = memoryview(value)
    if not view.c_contiguous or view.nbytes == 0:
        return view.tobytes()
    return view if view.ndim == 1 and view.format == "B" else view.cast("B")


def encode_buffer(value: bytes | bytearray | memoryview, parts: list[Part]) -> bytes | Ext:
    """Return what stands in the body for an argument or result; large ones are added to `parts`."""
    size = value.nbytes if type(value) is memoryview else len(value)
    if size > INLINE_BYTES and len(parts) < MAX_BUFFERS:
        flat = flat_view(value)
        # A view that may not be written tells the receiver to make bytes of it.
        parts.append(flat.toreadonly() if type(value) is memoryview and type(flat) is memoryview else flat)
        return Ext(_OUTSIDE[type(value)], bytes((len(parts) - 1,)))
    if type(value) is bytes:
        return value
    return Ext(_IN_BODY[type(value)], bytes(flat_view(value)))


def encode_nested(value: bytes | bytearray | memoryview, parts: list[Part]) -> bytes | Ext:
    """Return what stands in the body for bytes deeper in a value, where all three types arrive as bytes."""
    flat = flat_view(value)
    if len(flat) > INLINE_BYTES and len(parts) < MAX_BUFFERS:
        parts.append(flat if type(flat) is bytes else memoryview(flat).toreadonly())
        return Ext(Extension.OUT_BYTES, bytes((len(parts) - 1,)))
    return bytes(flat)


@decodes(Extension.BYTEARRAY)
def _decode_bytearray(payload: bytes, level: Unpacker) -> bytearray:
    return bytearray(payload)


@decodes(Extension.MEMORYVIEW)
def _decode_memoryview(payload: bytes, level: Unpacker) -> memoryview:
    return memoryview(payload)


@decodes(Extension.OUT_BYTES)
def _decode_out_bytes(payload: bytes, level: Unpacker) -> bytes:
    return bytes(level.part(payload))  # which is itself where it is bytes


@decodes(Extension.OUT_BYTEARRAY)
def _decode_out_bytearray(payload: bytes, level: Unpacker) -> bytearray:
    return _own_bytearray(level.part(payload))


def _own_bytearray(part: bytes | bytearray | memoryview) -> bytearray:
    """Return what nobody else has as it is, a copy of all else."""
    return part if type(part) is bytearray else bytearray(part)


@decodes(Extension.OUT_MEMORYVIEW)
def _decode_out_memoryview(payload: bytes, level: Unpacker) -> memoryview:
    return memoryview(bytes(level.part(payload)))


#: A payload up to this size is searched one container deep for large bytes; above it, completely: copying
#: that much at each level around it costs more than the search.
_SEARCH_ALL = 65536


def holds_large_bytes(value: Any, payload: bytes) -> bool:
    """Say whether something in `value` had better travel beside the body. Asked for large payloads only."""
    return _search(value, 200 if len(payload) > _SEARCH_ALL else 1)


def _search(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind in BUFFER_TYPES:
        return memoryview(value).nbytes > INLINE_BYTES
    if depth < 0 or kind not in (list, tuple, dict):
        return False
    elements = value.values() if kind is dict else value
    kinds = {*map(type, elements)}
    if kinds.isdisjoint(_SEARCHED):
        return False
    return any(_search(element, depth - 1) for element in elements if type(element) in _SEARCHED)


_SEARCHED = BUFFER_TYPES | {list, tuple, dict}


# numpy, if the program has it: gpyro imports it only to build an array that arrived.

#: Plain numbers, bool, fixed text and bytes, dates. No objects, no records: those name Python types.
_DTYPE = re.compile(r"[<>|=]?(?P<kind>[biufcSUmM])(?P<size>[0-9]{1,6})(\[[0-9]{0,6}[a-zA-Zμ]{1,2}\])?")


class _Array(Protocol):
    dtype: Any
    shape: tuple[int, ...]
    nbytes: int
    flags: Any


def is_array(value: object) -> bool:
    """Say whether this is exactly a numpy array or one of numpy's scalars."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and (
        type(value) is getattr(numpy, "ndarray", None)
        or (isinstance(value, getattr(numpy, "generic", ())) and type(value).__module__ == "numpy")
    )


def encode_array(value: Any, packer: Packer, parts: list[Part]) -> Ext:
    """Return what stands in the body for an array or a numpy scalar.

    Raises:
        Refused: its dtype is not made of plain numbers, text, bytes or dates.
    """
    dtype = value.dtype.str
    if value.dtype.hasobject or not value.dtype.itemsize or not _DTYPE.fullmatch(dtype):
        raise Refused(f"numpy arrays of dtype {value.dtype} cannot travel; send plain numbers, text or dates")
    if type(value) is not sys.modules["numpy"].ndarray:
        return Ext(Extension.NUMPY_SCALAR, packer.pack([dtype, value.tobytes()]))
    order = "C" if value.flags.c_contiguous or not value.flags.f_contiguous else "F"
    data = _array_bytes(value, order)
    if value.nbytes > INLINE_BYTES and len(parts) < MAX_BUFFERS:
        parts.append(data)
        where: int | bytes = len(parts) - 1
    else:
        where = bytes(data)
    # Packed without the packer: `data` is where it belongs already.
    return Ext(Extension.NDARRAY, ormsgpack.packb([dtype, [*value.shape], order, where]))


def _array_bytes(value: Any, order: str) -> Part:
    if value.nbytes == 0:
        return b""
    numpy = sys.modules["numpy"]
    flat = numpy.ascontiguousarray(value if order == "C" else value.T).reshape(-1)
    return memoryview(flat.view(numpy.uint8))


def _numpy() -> Any:
    try:
        import numpy
    except ImportError as exc:
        raise NoModuleError("a numpy array arrived and numpy is not installed here") from exc
    return numpy


def _item_bytes(text: Any) -> int:
    """Return the bytes of one element; numpy is imported only for an array whose sizes are right."""
    found = _DTYPE.fullmatch(text) if type(text) is str else None
    if found is None:
        raise broken("dtype", text)
    return int(found["size"]) * (4 if found["kind"] == "U" else 1)


def _dtype(text: Any) -> Any:
    dtype = _numpy().dtype(text)
    if dtype.hasobject or not dtype.itemsize:
        raise broken("dtype", text)
    return dtype


@decodes(Extension.NDARRAY)
def _decode_array(payload: bytes, level: Unpacker) -> Any:
    parts = level.unpack(payload)
    if type(parts) is not list or len(parts) != 4:
        raise broken("array", parts)
    text, shape, order, where = parts
    item_bytes = _item_bytes(text)
    if type(shape) is not list or len(shape) > 32 or any(type(n) is not int or n < 0 for n in shape):
        raise broken("shape of an array", shape)
    if order not in ("C", "F"):
        raise broken("order of an array", order)
    if type(where) is int and 0 <= where < MAX_BUFFERS:
        data = _own_bytearray(level.part(bytes((where,))))
    elif type(where) is bytes:
        data = bytearray(where)
    else:
        raise broken("data of an array", where)
    if math.prod(shape) * item_bytes != len(data):
        raise broken("shape of an array", shape)
    numpy, dtype = _numpy(), _dtype(text)
    if not data:
        return numpy.empty(shape, dtype, order)
    return numpy.frombuffer(data, dtype).reshape(shape, order=order)


@decodes(Extension.NUMPY_SCALAR)
def _decode_scalar(payload: bytes, level: Unpacker) -> Any:
    parts = level.unpack(payload)
    if type(parts) is not list or len(parts) != 2 or type(parts[1]) is not bytes:
        raise broken("numpy scalar", parts)
    if len(parts[1]) != _item_bytes(parts[0]):
        raise broken("numpy scalar", parts)
    return _numpy().frombuffer(parts[1], _dtype(parts[0]))[0]
