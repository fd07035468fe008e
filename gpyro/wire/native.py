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
has decided. After a login on a connection without TLS each frame has a code of 16 bytes behind it (`seal`), which
no length counts. This module does no I/O and knows no clock.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn

from gpyro.errors import LocalProtocolError, RemoteProtocolError
from gpyro.wire.arrival import Arrival, MakePart, Messages, WireLimits, make_bytearray
from gpyro.wire.frames import (
    CALLS,
    FIRST_LARGE_BYTES,
    GROWTH,
    HEADER,
    HEADER_BYTES,
    LARGE_FRAME_BYTES,
    MAX_BUFFERS,
    MAX_HANDSHAKE_BYTES,
    MAX_OPEN_MESSAGES,
    MAX_TARGET_BYTES,
    MAX_UNDECIDED_BYTES,
    PREFACE,
    SEAL_BYTES,
    VERSION,
    Annotation,
    Buffer,
    Flag,
    Frame,
    FrameType,
    build_chunks,
    build_extras,
    build_frame,
    build_target,
    may_change,
    parse_annotations,
    parse_extras,
    parse_target,
)

if TYPE_CHECKING:
    from gpyro.auth import Seal

__all__ = [
    "CALLS",
    "HEADER",
    "HEADER_BYTES",
    "LARGE_FRAME_BYTES",
    "MAX_BUFFERS",
    "MAX_HANDSHAKE_BYTES",
    "MAX_OPEN_MESSAGES",
    "MAX_TARGET_BYTES",
    "MAX_UNDECIDED_BYTES",
    "PREFACE",
    "VERSION",
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
    "may_change",
    "parse_annotations",
    "parse_extras",
    "parse_target",
]

class Side(enum.Enum):
    """Which end opened the connection; requests go both ways all the same."""

    CLIENT = "client"
    SERVER = "server"

    # That of Enum is written in Python, and the tables below are asked at each step of each greeting.
    __hash__ = object.__hash__


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

    __hash__ = object.__hash__  # as above


_T = FrameType
_S = State
_CHUNK: Final = int(_T.CHUNK)
_MORE: Final = int(Flag.MORE)
#: What a frame with a wrong code means; nothing of it has been looked at.
WRONG_SEAL: Final = "a frame's code does not fit: it was changed, repeated or left out on the way"
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


class Machine:
    """One connection seen from one side: what was read goes in, frames come out.

    The shell around it asks `wants_into()`; where that gives a view it reads into the view and calls
    `received_into(n)`, else it reads bytes and calls `receive_data(data)`. After each it takes
    `next_frames(limit)` until that returns nothing, and reads no more while `has_frames()`.

    It does not read on either while a decision is due (NEW and CHALLENGED client, DECIDING server).

    `take_buffer(size)` lends a bytearray for a large frame, `give_buffer(buffer)` takes it back, once: from
    here or through `recycle`. The one exception is `close` while a view of `wants_into` is out: that buffer
    is left to the garbage collector, because a reader may still write into it. `make_part` makes the memory for
    parts that are received where they stay.
    """

    __slots__ = (
        "_accepts", "_arrival", "_at", "_data", "_failure", "_filled", "_give_buffer", "_large", "_large_size",
        "_make_part", "_messages", "_piece", "_reading_into", "_seal", "_started",
        "_take_buffer", "limits", "side", "state",
    )

    def __init__(
        self,
        side: Side,
        limits: WireLimits | None = None,
        take_buffer: Callable[[int], bytearray] = bytearray,
        give_buffer: Callable[[bytearray], None] | None = None,
        make_part: MakePart = make_bytearray,
    ) -> None:
        self.side = side
        self.limits = limits or WireLimits()
        self._take_buffer = take_buffer
        self._give_buffer = give_buffer
        self._make_part = make_part
        self._data: bytes = b""
        self._at = 0
        self._large: bytearray | None = None
        self._large_size = 0
        self._filled = 0
        # Where the frame that is being read belongs, and how many bytes of it are to come.
        self._arrival: Arrival | None = None
        self._piece = 0
        self._messages = Messages(self.limits, make_part)
        self._reading_into = False
        # The peer's preface was seen, and the end was not.
        self._started = False
        self._failure = ""
        self._seal: Seal | None = None
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

    def may_send(self, kind: int) -> bool:
        """Tell whether the table allows a frame of this type now."""
        return kind in SEND.get((self.side, self.state), {})

    def close(self) -> None:
        """Accept nothing any more; what was half received is dropped."""
        self._enter(State.CLOSED)
        self._drop_all()

    # -- receiving -------------------------------------------------------------------------------------------

    def expect_seals(self, seal: Seal) -> None:
        """From the next frame on, take none whose code does not fit."""
        self._seal = seal

    def receive_data(self, data: bytes) -> None:
        """Take what was read from the peer."""
        if self._arrival is not None:
            used = min(len(data), self._piece)
            self._arrival.feed(data[:used])
            self._piece -= used
            data = data[used:]
            self._reading_into = False
        elif self._large is not None:
            used = min(len(data), self._large_size - self._filled)
            self._make_room(self._filled + used)
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
        if self._arrival is not None:
            if not self._piece:
                return None
            self._reading_into = True
            return self._arrival.view(self._piece)
        if self._large is None or self._filled == self._large_size:
            return None
        self._make_room(self._filled + 1)
        self._reading_into = True
        return memoryview(self._large)[self._filled : self._large_size]

    def received_into(self, count: int) -> None:
        """Note that `count` bytes, possibly none, were read into the view of `wants_into`."""
        self._reading_into = False
        if self._arrival is not None:
            self._arrival.advance(count)
            self._piece -= count
            if self.state is State.CLOSED or self.state is State.FAILED:
                self._arrival = None
        elif self._large is not None:
            self._filled += count

    def is_mid_frame(self) -> bool:
        """Tell whether part of a frame or of a message in chunks is held."""
        if self._large is not None or self._arrival is not None:
            return True
        return self._at < len(self._data) or bool(self._messages.open)

    def oldest_message(self) -> int | None:
        """Return the id of the message in chunks that has been under way longest, None where none is."""
        return self._messages.oldest()

    def has_frames(self) -> bool:
        """Tell whether `next_frames` would return at least one frame (or raise).

        Pieces of a message that is not whole yet do not count, though `next_frames` may find fault with them.
        """
        if self._arrival is not None:
            if self._piece:
                return False
            # Of a message in chunks that goes on, the piece alone is no frame.
            if not self._arrival.left:
                return True
        elif self._large is not None:
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
        sealed = 0 if self._seal is None else SEAL_BYTES
        while accepts and len(data) - at >= HEADER_BYTES:
            kind, flags, target_bytes, _, body_bytes, extras_bytes = HEADER.unpack_from(data, at)
            size = HEADER_BYTES + target_bytes + body_bytes + extras_bytes
            if self._find_fault(kind, size, target_bytes):
                return True
            at += size + sealed
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
        if self._arrival is not None:
            if self._piece:
                return frames
            self._finish_arrival(self._arrival, frames)
        elif self._large is not None:
            if self._filled < self._large_size:
                return frames
            self._finish_large(frames)
        data, at, accepts = self._data, self._at, self._accepts
        end = len(data)
        unpack, max_bytes = HEADER.unpack_from, self.limits.max_message_bytes
        seal = self._seal
        sealed = 0 if seal is None else SEAL_BYTES
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
            if stop + sealed > end:
                if size > LARGE_FRAME_BYTES:
                    self._start_large(data, at, size + sealed)
                    at = end
                break
            if kind == _CHUNK and frames:  # it may be at fault, which must not cost the frames before it
                break
            if seal is not None and not seal.fits(data[at:stop], data[stop : stop + SEAL_BYTES]):
                if frames:
                    break
                self._fail(WRONG_SEAL)
            target_at = at + HEADER_BYTES
            body_at = target_at + target_bytes
            extras_at = body_at + body_bytes
            at = stop + sealed
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
            elif kind == _CHUNK:
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
        self._messages.drop()
        self._piece = 0
        if not self._reading_into:
            self._arrival = None
        if owner is not None and not self._reading_into:
            self.recycle(owner)

    def _start_large(self, data: bytes, at: int, size: int) -> None:
        # A frame with a code is looked at only when it is whole.
        if self._seal is None and self._start_arrival(data[at:]):
            return
        filled = len(data) - at
        self._large = self._take_buffer(min(size, max(FIRST_LARGE_BYTES, GROWTH * filled)))
        self._large_size = size
        self._filled = filled
        memoryview(self._large)[:filled] = memoryview(data)[at:]

    def _start_arrival(self, data: bytes) -> bool:
        """Receive a large frame where its parts stay, if its beginning tells where that is."""
        kind, flags, target_bytes, request_id, body_bytes, extras_bytes = HEADER.unpack_from(data)
        if kind == _CHUNK:
            held = self._messages.arrival(request_id)
            # The last piece ends the message; what does not fit is told when it is whole.
            if held is None or target_bytes or extras_bytes or body_bytes > held.left:
                return False
            if (body_bytes < held.left) != bool(flags & _MORE):
                return False
            self._arrival, self._piece = held, body_bytes
            held.feed(data, HEADER_BYTES)
            self._piece -= len(data) - HEADER_BYTES
            return True
        if kind not in CALLS:
            return False
        begun = Arrival.begin(data, self._make_part)
        if isinstance(begun, int):
            return False
        self._arrival, self._piece = begun, begun.left
        return True

    def _finish_arrival(self, arrival: Arrival, frames: list[Frame]) -> None:
        """A frame is whole that was received where it stays; of a message in chunks there may be more."""
        self._arrival = None
        if arrival.left:
            return
        frame = arrival.frame()
        self._messages.forget(frame[2], arrival)
        frames.append(frame)

    def _make_room(self, size: int) -> None:
        """Let the buffer of the large frame hold `size` bytes, growing with what has come."""
        small = self._large
        assert small is not None
        if size <= len(small):
            return
        large = self._take_buffer(min(self._large_size, max(size, GROWTH * len(small))))
        memoryview(large)[: self._filled] = memoryview(small)[: self._filled]
        self._large = large
        self.recycle(small)

    def _finish_large(self, frames: list[Frame]) -> None:
        owner = self._large
        assert owner is not None
        kind, flags, target_bytes, request_id, body_bytes, _ = HEADER.unpack_from(owner)
        body_at = HEADER_BYTES + target_bytes
        extras_at = body_at + body_bytes
        view = memoryview(owner)[: self._large_size].toreadonly()
        if self._seal is not None:
            view, code = view[:-SEAL_BYTES], bytes(view[-SEAL_BYTES:])
            if not self._seal.fits(view, code):
                self._fail(WRONG_SEAL)
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
        """Add a CHUNK to its message, and take the message when it is whole."""
        try:
            whole = self._messages.collect(frame, self._accepts)
        except RemoteProtocolError as exc:
            self._fail(str(exc))
        if whole is not None:
            frames.append(whole)
