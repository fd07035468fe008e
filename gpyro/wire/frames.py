"""How a frame of gpyro's own wire is laid out: header, target, body, extras, chunks. Pure functions.

`docs/design/wire.md` describes each byte; `native.py` holds the states of a connection.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Sequence
from typing import Final, Union

from gpyro._auth.sizes import SEAL_BYTES
from gpyro.errors import LocalProtocolError, RemoteProtocolError

__all__ = [
    "FIRST_LARGE_BYTES",
    "GROWTH",
    "HEADER",
    "HEADER_BYTES",
    "LARGE_FRAME_BYTES",
    "MAX_BUFFERS",
    "MAX_HANDSHAKE_BYTES",
    "MAX_OPEN_MESSAGES",
    "MAX_TARGET_BYTES",
    "MAX_UNDECIDED_BYTES",
    "PREFACE",
    "SEAL_BYTES",
    "VERSION",
    "Annotation",
    "Buffer",
    "Flag",
    "Frame",
    "FrameType",
    "build_chunks",
    "build_extras",
    "build_frame",
    "build_target",
    "parse_annotations",
    "parse_extras",
    "parse_target",
]

Buffer = Union[bytes, bytearray, memoryview]

#: Ours alone: Pyro 3 is 5, Pyro 4 is 46 to 48, Pyro 5 is 502. "G" and a counter.
VERSION: Final = b"G\x01"
PREFACE: Final = b"PYRO" + VERSION

HEADER: Final = struct.Struct("!BBHIII")
HEADER_BYTES: Final = HEADER.size  # 16

#: A handshake frame carries names, nonces and limits only; reliability.md 1.3 asks for 512 bytes.
MAX_HANDSHAKE_BYTES: Final = 512
#: Object id and method name are at most 255 bytes each, and two bytes before them.
MAX_TARGET_BYTES: Final = 2 + 255 + 255
#: A frame above this is received into a buffer of its own instead of being cut out of what was read.
LARGE_FRAME_BYTES: Final = 32 * 1024
#: A buffer has this much when a large frame begins, and GROWTH times as much whenever that is full: who only says
#: that its frame is large makes nobody hold the memory for it. A buffer that was used before comes as it is.
FIRST_LARGE_BYTES: Final = 64 * 1024
GROWTH: Final = 4
#: Messages in chunks that one side may have open at once on a connection.
MAX_OPEN_MESSAGES: Final = 16
#: Out-of-band parts of one message; each costs 4 bytes of table, and the limit keeps that table small.
MAX_BUFFERS: Final = 4096
#: What may wait unparsed while a login is decided, if max_message_bytes is not more: several reads. The shell
#: stops reading long before; this is the end of its memory where it does not.
MAX_UNDECIDED_BYTES: Final = 1024 * 1024


class FrameType(enum.IntEnum):
    """The types of frames; the numbers are on the wire and never change."""

    HELLO = 1
    WELCOME = 2
    DENY = 3
    CHALLENGE = 4
    PROOF = 5
    REQUEST = 16
    REPLY = 17
    ERROR = 18
    ONEWAY = 19
    CANCEL = 20
    PING = 21
    PONG = 22
    GOAWAY = 23
    CHUNK = 24
    # Set aside for streams with credits; a peer that sends them today breaks the rules.
    STREAM_ITEM = 32
    STREAM_END = 33
    STREAM_CREDIT = 34


class Flag(enum.IntFlag):
    """Bits of the header's flags."""

    METHOD = 0x01  # in a REPLY to an attribute read: the name is a method, there is no value
    MORE = 0x02  # in a CHUNK: another one follows
    IDEMPOTENT = 0x04  # in a REPLY: the method may be called again where nobody knows whether it ran


class Annotation(enum.IntEnum):
    """Keys of what may travel beside a request."""

    DEADLINE = 1  # u32, milliseconds that remain
    TRACE = 2  # opaque trace context, at most 64 bytes
    CALL_PATH = 3  # call ids of 8 bytes each, outermost first


_CHUNK: Final = int(FrameType.CHUNK)
_MORE: Final = int(Flag.MORE)

#: type, flags, request id, target, body, extras, owner. A plain tuple: it is made for each call. `owner` is
#: the buffer that body and extras point into, for `Machine.recycle` once they are decoded, or None.
Frame = tuple[int, int, int, bytes, Buffer, Buffer, Union[bytearray, None]]


def build_target(object_id: str, name: str, scope: int = 0, access: int = 0) -> bytes:
    """Pack what a request is for: scope 0 is an object of the daemon, 1 one of this connection; access 0
    calls, 1 reads and 2 writes the attribute of that name.

    Raises:
        LocalProtocolError: the id or the name is over 255 bytes or has no UTF-8 form.
    """
    try:
        packed_id, packed_name = object_id.encode(), name.encode()
    except UnicodeEncodeError as exc:
        raise LocalProtocolError(f"{exc.object[:40]!r} has no UTF-8 form") from exc
    if len(packed_id) > 255 or len(packed_name) > 255:
        raise LocalProtocolError(
            f"object id of {len(packed_id)} bytes and name of {len(packed_name)} bytes; each may have 255"
        )
    return bytes((scope << 4 | access, len(packed_id))) + packed_id + packed_name


def parse_target(target: bytes) -> tuple[int, int, str, str]:
    """Return scope, access, object id and name; the counterpart of `build_target`.

    Raises:
        RemoteProtocolError: it is not a target.
    """
    if len(target) < 2 or len(target) < 2 + target[1]:
        raise RemoteProtocolError(f"request target of {len(target)} bytes is cut short")
    cut = 2 + target[1]
    if len(target) > cut + 255:
        raise RemoteProtocolError(f"name in request target is {len(target) - cut} bytes, limit is 255")
    try:
        return target[0] >> 4, target[0] & 15, target[2:cut].decode(), target[cut:].decode()
    except UnicodeDecodeError as exc:
        raise RemoteProtocolError(f"request target is not UTF-8: {bytes(target[:40])!r}") from exc


def build_extras(annotations: dict[int, bytes], buffers: Sequence[Buffer]) -> list[Buffer]:
    """Pack annotations and out-of-band buffers; what cannot change stands in the result as it is, uncopied.

    A buffer that its owner may change before it has left is copied: half of it might be sent by then, and its code
    computed.

    Raises:
        LocalProtocolError: too many parts, too long annotations, or a part that is not one run of bytes.
    """
    if not annotations and not buffers:
        return []
    if len(buffers) > MAX_BUFFERS:
        raise LocalProtocolError(f"{len(buffers)} out-of-band parts in one message, limit is {MAX_BUFFERS}")
    if sum(map(len, annotations.values())) + 3 * len(annotations) > 0xFFFF:
        raise LocalProtocolError(f"annotations {sorted(map(int, annotations))} do not fit 65535 bytes")
    notes = b"".join(struct.pack("!BH", key, len(data)) + data for key, data in annotations.items())
    parts = [part if type(part) is bytes else _settle(part) for part in buffers]
    sizes = struct.pack(f"!{len(parts)}I", *map(len, parts))
    return [struct.pack("!HH", len(notes), len(parts)) + notes + sizes, *parts]


def _settle(part: Buffer) -> Buffer:
    """Return single bytes, so that len() is what goes out, in memory that nobody changes."""
    flat = _flatten(part) if isinstance(part, memoryview) else part
    if isinstance(flat, memoryview) and type(flat.obj) is bytes:
        return flat
    return bytes(flat)


def _flatten(part: memoryview) -> Buffer:
    """Return the same memory as single bytes."""
    if part.ndim == 1 and part.itemsize == 1 and part.contiguous:
        return part
    if not part.c_contiguous:
        raise LocalProtocolError(f"out-of-band part of {part.nbytes} bytes is not one run of memory; copy it")
    return part.cast("B") if part.nbytes else b""


def parse_annotations(extras: Buffer) -> dict[int, bytes]:
    """Return the annotations; unknown keys are kept, so that newer peers can be passed through.

    Raises:
        RemoteProtocolError: the block is cut short.
    """
    found: dict[int, bytes] = {}
    if len(extras) < 4:
        raise RemoteProtocolError(f"extras of {len(extras)} bytes are cut short")
    at, end = 4, 4 + int.from_bytes(extras[:2], "big")
    if end > len(extras):
        raise RemoteProtocolError(f"annotations of {end - 4} bytes do not fit extras of {len(extras)} bytes")
    while at < end:
        size = int.from_bytes(extras[at + 1 : at + 3], "big")
        if at + 3 + size > end:
            raise RemoteProtocolError(f"annotation {extras[at]} of {size} bytes is cut short")
        found[extras[at]] = bytes(extras[at + 3 : at + 3 + size])
        at += 3 + size
    return found


def parse_extras(extras: Buffer) -> tuple[dict[int, bytes], list[memoryview]]:
    """Return annotations and buffers; the buffers are views of `extras`.

    Raises:
        RemoteProtocolError: a length points outside, or something is left over.
    """
    annotations = parse_annotations(extras)
    at = 4 + int.from_bytes(extras[:2], "big")
    count = int.from_bytes(extras[2:4], "big")
    if count > MAX_BUFFERS or at + 4 * count > len(extras):
        raise RemoteProtocolError(f"table of {count} out-of-band parts does not fit {len(extras)} bytes")
    sizes = struct.unpack_from(f"!{count}I", extras, at)
    at += 4 * count
    if at + sum(sizes) != len(extras):
        raise RemoteProtocolError(
            f"out-of-band parts of {sum(sizes)} bytes announced, {len(extras) - at} bytes there"
        )
    view, buffers = memoryview(extras), []
    for size in sizes:
        buffers.append(view[at : at + size])
        at += size
    return annotations, buffers


def build_frame(
    kind: int, flags: int = 0, request_id: int = 0, target: bytes = b"", body: bytes = b"",
    extras: Sequence[Buffer] = (),
) -> list[Buffer]:
    """Pack a frame into segments for one gathered write; large buffers are not copied."""
    if not extras:
        return [HEADER.pack(kind, flags, len(target), request_id, len(body), 0) + target + body]
    size = sum(map(len, extras))
    head = HEADER.pack(kind, flags, len(target), request_id, len(body), size) + target + body
    return [head, *extras]


def build_chunks(segments: Sequence[Buffer], request_id: int, chunk_bytes: int) -> Iterable[list[Buffer]]:
    """Cut a packed frame into CHUNK frames, lazily, so that other frames can go between them.

    Raises:
        LocalProtocolError: pieces of that size cannot hold the header that the first one begins with.
    """
    if chunk_bytes < HEADER_BYTES:
        raise LocalProtocolError(f"chunks of {chunk_bytes} bytes, at least {HEADER_BYTES} are needed")
    left = sum(map(len, segments))
    pieces = iter(segments)
    current = memoryview(b"")
    while left:
        part: list[Buffer] = []
        room = min(chunk_bytes, left)
        size = room
        while room:
            if not current:
                current = memoryview(next(pieces)).cast("B")
            part.append(current[:room])
            room -= len(part[-1])
            current = current[len(part[-1]) :]
        left -= size
        yield [HEADER.pack(_CHUNK, _MORE if left else 0, 0, request_id, size, 0), *part]
