"""How a frame of gpyro's own wire is laid out: header, target, body, extras, chunks. Pure functions.

`docs/design/wire.md` describes each byte; `native.py` holds the states of a connection.
"""

from __future__ import annotations

import enum
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, Union

from gpyro._auth.sizes import SEAL_BYTES
from gpyro.errors import LocalProtocolError, RemoteProtocolError

__all__ = [
    "CALLS",
    "CLAIM_FACTOR",
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
    "STAYING_BYTES",
    "VERSION",
    "Annotation",
    "Arrived",
    "Buffer",
    "Chunks",
    "Flag",
    "Frame",
    "FrameType",
    "build_chunks",
    "build_extras",
    "build_frame",
    "build_target",
    "may_change",
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
#: Memory for the parts of a message is made once it is no more than so many times what has come. The system gives
#: out no page that nothing was written to, so who only says that parts are large makes nobody hold them. One read
#: of 64 KiB is enough for the largest frame.
CLAIM_FACTOR: Final = 64
#: Parts that are this long on the average are received where they stay; making an object for a shorter one first
#: costs more than to copy it, and pages of many objects would be touched before they are filled.
STAYING_BYTES: Final = 128 * 1024
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


#: What carries a call or its answer; only these may travel in chunks.
CALLS: Final = frozenset({FrameType.REQUEST, FrameType.REPLY, FrameType.ERROR, FrameType.ONEWAY})


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
    WRITABLE = 4  # a bit for each buffer, lowest first: 1 for one that becomes an object that may be changed


_CHUNK: Final = int(FrameType.CHUNK)
_MORE: Final = int(Flag.MORE)

class Arrived:
    """The extras of a message whose buffers were received into objects of their own."""

    __slots__ = ("_size", "annotations", "parts")

    def __init__(self, annotations: dict[int, bytes], parts: list[bytes | bytearray], size: int) -> None:
        self.annotations = annotations
        self.parts = parts
        self._size = size

    def __repr__(self) -> str:
        return f"<Arrived, {len(self.parts)} parts of {len(self)} bytes>"

    def __len__(self) -> int:
        return self._size


#: type, flags, request id, target, body, extras, owner. A plain tuple: it is made for each call. `owner` is
#: the buffer that body and extras point into, for `Machine.recycle` once they are decoded, or None.
Frame = tuple[int, int, int, bytes, Buffer, Union[Buffer, Arrived], Union[bytearray, None]]


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
    """Pack annotations and out-of-band buffers; the buffers stand in the result as they are, uncopied.

    Raises:
        LocalProtocolError: too many parts, too long annotations, or a part that is not one run of bytes.
    """
    if not annotations and not buffers:
        return []
    if len(buffers) > MAX_BUFFERS:
        raise LocalProtocolError(f"{len(buffers)} out-of-band parts in one message, limit is {MAX_BUFFERS}")
    parts = [_flatten(part) if isinstance(part, memoryview) else part for part in buffers]
    writable = _writable(parts)
    if writable:
        annotations = {**annotations, Annotation.WRITABLE: writable}
    if sum(map(len, annotations.values())) + 3 * len(annotations) > 0xFFFF:
        raise LocalProtocolError(f"annotations {sorted(map(int, annotations))} do not fit 65535 bytes")
    notes = b"".join(struct.pack("!BH", key, len(data)) + data for key, data in annotations.items())
    sizes = struct.pack(f"!{len(parts)}I", *map(len, parts))
    return [struct.pack("!HH", len(notes), len(parts)) + notes + sizes, *parts]


def _writable(parts: Sequence[Buffer]) -> bytes:
    """Return a bit for each part that becomes an object that may be changed; nothing where none is large."""
    bits = 0
    for index, part in enumerate(parts):
        if type(part) is not bytes and len(part) >= LARGE_FRAME_BYTES and not memoryview(part).readonly:
            bits |= 1 << index
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _flatten(part: memoryview) -> Buffer:
    """Return the same memory as single bytes, so that len() is what goes out."""
    if part.ndim == 1 and part.itemsize == 1 and part.contiguous:
        return part
    if not part.c_contiguous:
        raise LocalProtocolError(f"out-of-band part of {part.nbytes} bytes is not one run of memory; copy it")
    return part.cast("B") if part.nbytes else b""


def may_change(piece: Buffer) -> bool:
    """Tell whether somebody may change these bytes before they have left."""
    return type(piece) is not bytes and not (isinstance(piece, memoryview) and type(piece.obj) is bytes)


def parse_annotations(extras: Buffer | Arrived) -> dict[int, bytes]:
    """Return the annotations; unknown keys are kept, so that newer peers can be passed through.

    Raises:
        RemoteProtocolError: the block is cut short.
    """
    if isinstance(extras, Arrived):
        return extras.annotations
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


def parse_extras(extras: Buffer | Arrived) -> tuple[dict[int, bytes], Sequence[Buffer]]:
    """Return annotations and buffers; the buffers are views of `extras`, or objects that nobody else has.

    Raises:
        RemoteProtocolError: a length points outside, or something is left over.
    """
    if isinstance(extras, Arrived):
        return extras.annotations, extras.parts
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


def build_chunks(segments: Sequence[Buffer], request_id: int, chunk_bytes: int) -> Chunks:
    """Cut a packed frame into CHUNK frames, lazily, so that other frames can go between them.

    Raises:
        LocalProtocolError: pieces of that size cannot hold the header that the first one begins with.
    """
    if chunk_bytes < HEADER_BYTES:
        raise LocalProtocolError(f"chunks of {chunk_bytes} bytes, at least {HEADER_BYTES} are needed")
    return Chunks(segments, request_id, chunk_bytes)


class Chunks(Iterator[list[Buffer]]):
    """The CHUNK frames of one message, each a list of segments."""

    def __init__(self, segments: Sequence[Buffer], request_id: int, chunk_bytes: int) -> None:
        self._segments = deque(segments)
        self._request_id = request_id
        self._chunk_bytes = chunk_bytes
        self._left = sum(map(len, segments))

    def __repr__(self) -> str:
        return f"<Chunks of message {self._request_id}, {self._left} bytes to send>"

    def __next__(self) -> list[Buffer]:
        if not self._left:
            raise StopIteration
        size = room = min(self._chunk_bytes, self._left)
        part: list[Buffer] = []
        while room:
            current = self._segments.popleft()
            if len(current) > room:
                view = memoryview(current)
                self._segments.appendleft(view[room:])
                current = view[:room]
            if current:
                part.append(current)
            room -= len(current)
        self._left -= size
        return [HEADER.pack(_CHUNK, _MORE if self._left else 0, 0, self._request_id, size, 0), *part]

    def settle(self) -> None:
        """Copy what somebody may change before it has left."""
        self._segments = deque(bytes(piece) if may_change(piece) else piece for piece in self._segments)
