"""gpyro's own wire: frames and the state machine of one connection, bytes in and frames out.

Rules. Each side opens with six bytes, `PYRO` and VERSION, followed by frames. A frame is a header of 16 bytes

    type u8 | flags u8 | target length u16 | request id u32 | body length u32 | extras length u32

and then target, body and extras. All numbers are big-endian. Every length is checked before anything is
allocated. `docs/design/wire.md` describes each byte; the golden frames beside the tests are the proof.

States. A frame that the table does not name for a state is an error of the side that sent it:

    client  NEW --HELLO--> GREETED ==WELCOME==> READY ==GOAWAY==> LEAVING
                           GREETED ==CHALLENGE==> CHALLENGED --PROOF--> PROVED ==WELCOME==> READY
                           GREETED, PROVED ==DENY==> CLOSED
    server  NEW ==HELLO==> DECIDING --WELCOME--> READY ==GOAWAY==> LEAVING
                           DECIDING --CHALLENGE--> CHALLENGED ==PROOF==> DECIDING
                           NEW, DECIDING --DENY--> CLOSED
    (-- sent by us, == received)

A client that needs no login may send requests right behind its HELLO; a server leaves them unparsed until it
has decided. This module does no I/O and knows no clock.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, Union

from gpyro.errors import LocalProtocolError, RemoteProtocolError

__all__ = [
    "CALLS",
    "HEADER",
    "HEADER_BYTES",
    "PREFACE",
    "Annotation",
    "Buffer",
    "Flag",
    "Frame",
    "FrameType",
    "Machine",
    "Side",
    "State",
    "WireLimits",
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


class Annotation(enum.IntEnum):
    """Keys of what may travel beside a request."""

    DEADLINE = 1  # u32, milliseconds that remain
    TRACE = 2  # opaque trace context, at most 64 bytes
    CALL_PATH = 3  # call ids of 8 bytes each, outermost first


class Side(enum.Enum):
    """Which end opened the connection; requests go both ways all the same."""

    CLIENT = "client"
    SERVER = "server"


class State(enum.Enum):
    """Where a connection stands."""

    NEW = "new"
    GREETED = "greeted"
    CHALLENGED = "challenged"
    PROVED = "proved"
    DECIDING = "deciding"
    READY = "ready"
    LEAVING = "leaving"
    CLOSED = "closed"
    FAILED = "failed"


_T = FrameType
_S = State
#: What carries a call or its answer; only these may travel in chunks.
CALLS: Final = frozenset({_T.REQUEST, _T.REPLY, _T.ERROR, _T.ONEWAY})
_CHUNK: Final = int(_T.CHUNK)
_MORE: Final = int(Flag.MORE)
_SERVICE: Final = CALLS | {_T.CANCEL, _T.PING, _T.PONG, _T.GOAWAY, _T.CHUNK}

#: (side, state) -> {frame type that is received: state after it}
RECEIVE: Final[dict[tuple[Side, State], dict[int, State]]] = {
    (Side.CLIENT, _S.GREETED): {
        _T.WELCOME: _S.READY,
        _T.CHALLENGE: _S.CHALLENGED,
        _T.DENY: _S.CLOSED,
    },
    (Side.CLIENT, _S.PROVED): {_T.WELCOME: _S.READY, _T.DENY: _S.CLOSED},
    (Side.SERVER, _S.NEW): {_T.HELLO: _S.DECIDING},
    (Side.SERVER, _S.CHALLENGED): {_T.PROOF: _S.DECIDING},
    **{
        (side, state): {kind: _S.LEAVING if kind == _T.GOAWAY else state for kind in _SERVICE}
        for side in Side
        for state in (_S.READY, _S.LEAVING)
    },
}

#: (side, state) -> {frame type that is sent: state after it}
SEND: Final[dict[tuple[Side, State], dict[int, State]]] = {
    (Side.CLIENT, _S.NEW): {_T.HELLO: _S.GREETED},
    (Side.CLIENT, _S.GREETED): {_T.REQUEST: _S.GREETED, _T.ONEWAY: _S.GREETED, _T.CANCEL: _S.GREETED,
                                _T.CHUNK: _S.GREETED},
    (Side.CLIENT, _S.CHALLENGED): {_T.PROOF: _S.PROVED},
    (Side.SERVER, _S.NEW): {_T.DENY: _S.CLOSED},
    (Side.SERVER, _S.DECIDING): {_T.WELCOME: _S.READY, _T.CHALLENGE: _S.CHALLENGED, _T.DENY: _S.CLOSED},
    **{(side, _S.READY): {kind: _S.READY for kind in _SERVICE} for side in Side},
    # The peer takes no new requests; what is running is still answered.
    **{
        (side, _S.LEAVING): {kind: _S.LEAVING for kind in _SERVICE - {_T.REQUEST, _T.ONEWAY}}
        for side in Side
    },
}

#: type, flags, request id, target, body, extras, owner. A plain tuple: it is made for each call. `owner` is
#: the buffer that body and extras point into, for `Machine.recycle` once they are decoded, or None.
Frame = tuple[int, int, int, bytes, Buffer, Buffer, Union[bytearray, None]]


@dataclass(frozen=True, slots=True)
class WireLimits:
    """What a machine accepts; the settings of the same names hold the reasons."""

    max_message_bytes: int = 4 * 1024 * 1024
    max_value_bytes: int = 256 * 1024 * 1024
    chunk_bytes: int = 1024 * 1024


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
    if sum(map(len, annotations.values())) + 3 * len(annotations) > 0xFFFF:
        raise LocalProtocolError(f"annotations {sorted(map(int, annotations))} do not fit 65535 bytes")
    notes = b"".join(struct.pack("!BH", key, len(data)) + data for key, data in annotations.items())
    parts = [_flatten(part) if isinstance(part, memoryview) else part for part in buffers]
    sizes = struct.pack(f"!{len(parts)}I", *map(len, parts))
    return [struct.pack("!HH", len(notes), len(parts)) + notes + sizes, *parts]


def _flatten(part: memoryview) -> Buffer:
    """Return the same memory as single bytes, so that len() is what goes out."""
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


class Machine:
    """One connection seen from one side: what was read goes in, frames come out.

    The shell around it asks `wants_into()`; where that gives a view it reads into the view and calls
    `received_into(n)`, else it reads bytes and calls `receive_data(data)`. After each it takes
    `next_frames(limit)` until that returns nothing, and reads no more while `has_frames()`.

    It does not read on either while a decision is due (NEW and CHALLENGED client, DECIDING server).

    `take_buffer(size)` lends a bytearray for a large frame, `give_buffer(buffer)` takes it back, once: from
    here or through `recycle`. The one exception is `close` while a view of `wants_into` is out: that buffer
    is left to the garbage collector, because a reader may still write into it.
    """

    __slots__ = (
        "_accepts", "_at", "_data", "_failure", "_filled", "_give_buffer", "_large", "_large_size",
        "_messages", "_open_bytes", "_reading_into", "_started", "_take_buffer", "limits", "side", "state",
    )

    def __init__(
        self,
        side: Side,
        limits: WireLimits | None = None,
        take_buffer: Callable[[int], bytearray] = bytearray,
        give_buffer: Callable[[bytearray], None] | None = None,
    ) -> None:
        self.side = side
        self.limits = limits or WireLimits()
        self._take_buffer = take_buffer
        self._give_buffer = give_buffer
        self._data: bytes = b""
        self._at = 0
        self._large: bytearray | None = None
        self._large_size = 0
        self._filled = 0
        self._messages: dict[int, tuple[int, bytearray]] | None = None
        self._open_bytes = 0
        self._reading_into = False
        # The peer's preface was seen, and the end was not.
        self._started = False
        self._failure = ""
        self._enter(State.NEW)

    def __repr__(self) -> str:
        held = len(self._data) - self._at + self._filled
        return f"<Machine {self.side.value} {self.state.value}, {held} bytes held>"

    # -- sending ---------------------------------------------------------------------------------------------

    def sending(self, kind: int) -> None:
        """Note that a frame of this type is about to be sent.

        Raises:
            LocalProtocolError: the table does not allow it now.
        """
        allowed = SEND.get((self.side, self.state), {})
        if kind not in allowed:
            raise LocalProtocolError(
                f"{self.side.value} may not send {FrameType(kind).name} while {self.state.value}"
            )
        if allowed[kind] is not self.state:
            self._enter(allowed[kind])

    def close(self) -> None:
        """Accept nothing any more; what was half received is dropped."""
        self._enter(State.CLOSED)
        self._drop_all()

    # -- receiving -------------------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Take what was read from the peer."""
        if self._large is not None:
            used = min(len(data), self._large_size - self._filled)
            self._large[self._filled : self._filled + used] = data[:used]
            self._filled += used
            data = data[used:]
            self._reading_into = False
        if self._at < len(self._data):
            data = self._data[self._at :] + data
        self._data = data
        self._at = 0

    def wants_into(self) -> memoryview | None:
        """Return where the next bytes belong while a large frame is under way, else None."""
        if self._large is None or self._filled == self._large_size:
            return None
        self._reading_into = True
        return memoryview(self._large)[self._filled : self._large_size]

    def received_into(self, count: int) -> None:
        """Note that `count` bytes, possibly none, were read into the view of `wants_into`."""
        self._reading_into = False
        if self._large is not None:
            self._filled += count

    def is_mid_frame(self) -> bool:
        """Tell whether part of a frame or of a message in chunks is held."""
        return self._at < len(self._data) or self._large is not None or bool(self._messages)

    def has_frames(self) -> bool:
        """Tell whether `next_frames` would return at least one frame (or raise).

        Pieces of a message that is not whole yet do not count, though `next_frames` may find fault with them.
        """
        if self._large is not None:
            if self._filled < self._large_size:
                return False
            if self._large[0] != _CHUNK or not self._large[1] & _MORE:
                return True
        data, at, accepts = self._data, self._at, self._accepts
        if not self._started:
            opening = data[at : at + len(PREFACE)]
            if self.state is State.FAILED or self.state is State.CLOSED or not PREFACE.startswith(opening):
                return self.state is not State.CLOSED
            at += len(PREFACE)
        while accepts and len(data) - at >= HEADER_BYTES:
            kind, flags, target_bytes, _, body_bytes, extras_bytes = HEADER.unpack_from(data, at)
            size = HEADER_BYTES + target_bytes + body_bytes + extras_bytes
            if self._find_fault(kind, size, target_bytes):
                return True
            at += size
            if at > len(data):
                return False
            if kind != _CHUNK or not flags & _MORE:
                return True
        return False

    def next_frames(self, limit: int = 32) -> list[Frame]:
        """Cut at most `limit` frames out of what was received.

        Frames that came before a fault are returned first; the next call raises.

        Raises:
            RemoteProtocolError: the peer broke a rule; the machine is FAILED and takes nothing more.
        """
        frames: list[Frame] = []
        if not self._started and not self._check_start():
            return frames
        if self._large is not None:
            if self._filled < self._large_size:
                return frames
            self._finish_large(frames)
        data, at, accepts = self._data, self._at, self._accepts
        end = len(data)
        unpack, max_bytes = HEADER.unpack_from, self.limits.max_message_bytes
        while len(frames) < limit and end - at >= HEADER_BYTES:
            kind, flags, target_bytes, request_id, body_bytes, extras_bytes = unpack(data, at)
            size = HEADER_BYTES + target_bytes + body_bytes + extras_bytes
            after = accepts.get(kind)
            if after is None or size > max_bytes or target_bytes > MAX_TARGET_BYTES or (
                kind < 16 and size > MAX_HANDSHAKE_BYTES
            ):
                if frames:
                    break
                if not accepts:  # a decision is due first
                    self._check_undecided(end - at)
                    break
                if fault := self._find_fault(kind, size, target_bytes):
                    self._fail(fault)
            stop = at + size
            if stop > end:
                if size > LARGE_FRAME_BYTES:
                    self._start_large(data, at, size)
                    at = end
                break
            target_at = at + HEADER_BYTES
            body_at = target_at + target_bytes
            extras_at = body_at + body_bytes
            at = stop
            frame = (
                kind, flags, request_id, data[target_at:body_at], data[body_at:extras_at],
                data[extras_at:stop] if extras_bytes else b"", None,
            )
            if kind < 16 or after is not self.state:
                frames.append(frame)
                assert after is not None
                self._enter(after)
                accepts = self._accepts
                if kind < 16:
                    break
            elif kind == 24:  # CHUNK
                if frames:  # it may be at fault, which must not cost the frames before it
                    at -= size
                    break
                self._data, self._at = data, at
                self._collect(frame, frames)
            else:
                frames.append(frame)
        self._data, self._at = (b"", 0) if at == end else (data, at)
        return frames

    def recycle(self, owner: bytearray) -> None:
        """Take back the buffer of a large frame whose parts are decoded and no longer looked at."""
        if self._give_buffer is not None:
            self._give_buffer(owner)

    # -- parts -----------------------------------------------------------------------------------------------

    def _enter(self, state: State) -> None:
        self.state = state
        self._accepts = RECEIVE.get((self.side, state), {})
        if state is State.CLOSED or state is State.FAILED:
            self._started = False

    def _check_start(self) -> bool:
        """Look for the preface; before it and after the end there are no frames."""
        if self.state is State.CLOSED or self.state is State.FAILED:
            self._data, self._at = b"", 0
            if self.state is State.FAILED:
                raise RemoteProtocolError(self._failure)
            return False
        held = self._data[self._at : self._at + len(PREFACE)]
        if not PREFACE.startswith(held):
            self._fail(f"the connection opens with {bytes(held)!r} instead of {PREFACE!r}")
        if len(held) < len(PREFACE):
            return False
        self._at += len(PREFACE)
        self._started = True
        return True

    def _find_fault(self, kind: int, size: int, target_bytes: int) -> str:
        """Say what is wrong with a header; empty if nothing is."""
        if kind not in self._accepts:
            known = FrameType(kind).name if kind in FrameType._value2member_map_ else f"type {kind}"
            return f"peer sent {known} while {self.side.value} is {self.state.value}"
        if kind < 16 and size <= MAX_HANDSHAKE_BYTES:
            return ""  # max_message_bytes, which may be less, is about messages
        if kind < 16:
            return f"handshake frame is {size} bytes, limit is {MAX_HANDSHAKE_BYTES}"
        if target_bytes > MAX_TARGET_BYTES:
            return f"frame target is {target_bytes} bytes, limit is {MAX_TARGET_BYTES}"
        if size > self.limits.max_message_bytes:
            return f"frame is {size} bytes, limit is {self.limits.max_message_bytes} (max_message_bytes)"
        return ""

    def _check_undecided(self, waiting: int) -> None:
        limit = max(self.limits.max_message_bytes, MAX_UNDECIDED_BYTES)
        if waiting > limit:
            self._fail(f"{waiting} bytes wait for {self.side.value} {self.state.value}, limit is {limit}")

    def _fail(self, message: str) -> NoReturn:
        self._failure = message
        self._enter(State.FAILED)
        self._drop_all()
        raise RemoteProtocolError(message)

    def _drop_all(self) -> None:
        """Free what is held; a buffer that a reader may still write into is not lent on."""
        owner = self._large
        self._data, self._at, self._large, self._filled = b"", 0, None, 0
        self._messages, self._open_bytes = None, 0
        if owner is not None and not self._reading_into:
            self.recycle(owner)

    def _start_large(self, data: bytes, at: int, size: int) -> None:
        self._large = self._take_buffer(size)
        self._large_size = size
        self._filled = len(data) - at
        memoryview(self._large)[: self._filled] = memoryview(data)[at:]

    def _finish_large(self, frames: list[Frame]) -> None:
        owner = self._large
        assert owner is not None
        kind, flags, target_bytes, request_id, body_bytes, _ = HEADER.unpack_from(owner)
        body_at = HEADER_BYTES + target_bytes
        extras_at = body_at + body_bytes
        view = memoryview(owner)[: self._large_size].toreadonly()
        body, extras = view[body_at:extras_at], view[extras_at:]
        frame = (kind, flags, request_id, bytes(view[HEADER_BYTES:body_at]), body, extras, owner)
        self._large, self._filled = None, 0
        if kind == _CHUNK:
            try:
                self._collect(frame, frames)
            finally:
                for part in (body, extras, view):
                    part.release()
                self.recycle(owner)
            return
        frames.append(frame)
        after = self._accepts[kind]
        if after is not self.state:
            self._enter(after)

    def _collect(self, frame: Frame, frames: list[Frame]) -> None:
        """Add a CHUNK to its message, and cut the message out when it is whole."""
        _, flags, request_id, target, piece, extras, _ = frame
        if self._messages is None:
            self._messages = {}
        if target or extras or not piece:
            self._fail(
                f"chunk of message {request_id} has {len(target)} bytes of target, {len(piece)} of body and "
                f"{len(extras)} of extras; it needs a body and nothing else"
            )
        if request_id not in self._messages:
            self._open_message(request_id, piece)
        size, held = self._messages[request_id]
        held += piece
        more = flags & _MORE
        if len(held) < size and more:
            return
        del self._messages[request_id]
        self._open_bytes -= size
        if len(held) != size or more:
            self._fail(f"message {request_id} in chunks has {len(held)} bytes, announced were {size}")
        frames.append(_cut_message(held))

    def _open_message(self, request_id: int, piece: Buffer) -> None:
        assert self._messages is not None
        if len(piece) < HEADER_BYTES:
            self._fail(f"first chunk of message {request_id} has {len(piece)} bytes, needs {HEADER_BYTES}")
        kind, _, target_bytes, inner_id, body_bytes, extras_bytes = HEADER.unpack_from(piece)
        size = HEADER_BYTES + target_bytes + body_bytes + extras_bytes
        if kind not in CALLS or kind not in self._accepts or inner_id != request_id:
            self._fail(f"message {request_id} in chunks starts with type {kind} and id {inner_id}")
        if target_bytes > MAX_TARGET_BYTES:
            self._fail(f"frame target is {target_bytes} bytes, limit is {MAX_TARGET_BYTES}")
        if len(self._messages) >= MAX_OPEN_MESSAGES:
            self._fail(f"{len(self._messages)} messages in chunks are open, limit is {MAX_OPEN_MESSAGES}")
        if self._open_bytes + size > self.limits.max_value_bytes:
            self._fail(
                f"message is {size} bytes beside {self._open_bytes} under way, "
                f"limit is {self.limits.max_value_bytes} (max_value_bytes)"
            )
        self._open_bytes += size
        self._messages[request_id] = (size, bytearray())


def _cut_message(held: bytearray) -> Frame:
    kind, flags, target_bytes, request_id, body_bytes, _ = HEADER.unpack_from(held)
    body_at = HEADER_BYTES + target_bytes
    extras_at = body_at + body_bytes
    view = memoryview(held).toreadonly()
    return (
        kind, flags, request_id, bytes(view[HEADER_BYTES:body_at]), view[body_at:extras_at],
        view[extras_at:], None,
    )
