"""Two wire machines joined in memory, and ways to feed one as the connection room does.

Nothing here knows a socket: what an end sends is kept as bytes until `WirePair.pump` hands it over, whole or in
pieces, so that a test decides where the network cuts.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gpyro.wire.frames import Arrived
from gpyro.wire.hello import Greeting
from gpyro.wire.native import (
    PREFACE,
    Buffer,
    Frame,
    FrameType,
    Machine,
    Side,
    State,
    WireLimits,
    build_chunks,
    build_extras,
    build_frame,
)

__all__ = [
    "NO_LOGIN",
    "WITH_LOGIN",
    "End",
    "Lender",
    "PlainFrame",
    "WirePair",
    "cut_evenly",
    "drain",
    "feed",
    "fresh",
    "machine_in",
    "needs_preface",
    "plain",
    "record_conversation",
]

_T = FrameType

#: type, flags, request id, target, body, extras: a frame that can be compared.
PlainFrame = tuple[int, int, int, bytes, bytes, bytes]

#: What a side sends when it has received the key.
NO_LOGIN: Mapping[int, int] = {_T.HELLO: _T.WELCOME}
WITH_LOGIN: Mapping[int, int] = {_T.HELLO: _T.CHALLENGE, _T.CHALLENGE: _T.PROOF, _T.PROOF: _T.WELCOME}

_FRESH = {(Side.CLIENT, State.NEW), (Side.CLIENT, State.GREETED), (Side.SERVER, State.NEW)}

#: How each state is reached: a type in upper case is sent, one in lower case is received.
_PATHS: Mapping[tuple[Side, State], str] = {
    (Side.CLIENT, State.NEW): "",
    (Side.CLIENT, State.GREETED): "HELLO",
    (Side.CLIENT, State.CHALLENGED): "HELLO challenge",
    (Side.CLIENT, State.PROVED): "HELLO challenge PROOF",
    (Side.CLIENT, State.READY): "HELLO welcome",
    (Side.CLIENT, State.LEAVING): "HELLO welcome goaway",
    (Side.CLIENT, State.CLOSED): "HELLO deny",
    (Side.CLIENT, State.FAILED): "HELLO hello",
    (Side.SERVER, State.NEW): "",
    (Side.SERVER, State.DECIDING): "hello",
    (Side.SERVER, State.CHALLENGED): "hello CHALLENGE",
    (Side.SERVER, State.READY): "hello WELCOME",
    (Side.SERVER, State.LEAVING): "hello WELCOME goaway",
    (Side.SERVER, State.CLOSED): "hello DENY",
    (Side.SERVER, State.FAILED): "welcome",
}


def plain(frame: Frame) -> PlainFrame:
    """Copy a frame out of whatever buffer it points into."""
    kind, flags, request_id, target, body, extras, _ = frame
    if isinstance(extras, Arrived):
        extras = b"".join(build_extras(extras.annotations, [bytes(part) for part in extras.parts]))
    return kind, flags, request_id, bytes(target), bytes(body), bytes(extras)


def needs_preface(machine: Machine) -> bool:
    """Tell whether a machine made by `machine_in` still expects the six bytes."""
    return (machine.side, machine.state) in _FRESH


def machine_in(
    side: Side, state: State, limits: WireLimits | None = None, lender: Lender | None = None
) -> Machine:
    """Return a machine that came to this state the ordinary way.

    Raises:
        KeyError: this side has no such state.
    """
    machine = lender.machine(side, limits) if lender else Machine(side, limits)
    for step in _PATHS[side, state].split():
        kind = FrameType[step.upper()]
        if step.isupper():
            machine.sending(kind)
            continue
        opening = PREFACE if needs_preface(machine) else b""
        machine.receive_data(opening + b"".join(build_frame(kind)))
        try:
            machine.next_frames()
        except Exception:
            assert state is State.FAILED
    assert machine.state is state
    return machine


#: How often a buffer that comes back is tried.
TRIES = 100


@dataclass
class Lender:
    """Counts the buffers that a machine borrows; each one that comes back must be free to resize."""

    asked: list[int] = field(default_factory=list)
    out: list[bytearray] = field(default_factory=list)

    def take(self, size: int) -> bytearray:
        self.asked.append(size)
        # Larger than asked, as a pool's buffers are.
        self.out.append(bytearray(size + 100))
        return self.out[-1]

    def give(self, buffer: bytearray) -> None:
        self.out = [lent for lent in self.out if lent is not buffer]
        for left in reversed(range(TRIES)):
            try:
                buffer.clear()
            except BufferError:
                # Somebody still looks into it. A thread of another test that asks the garbage collector for all
                # objects has them for a moment; who holds one for good holds it after all tries.
                if not left:
                    raise
                time.sleep(0.001)
            else:
                return

    def machine(self, side: Side, limits: WireLimits | None = None) -> Machine:
        return Machine(side, limits, self.take, self.give)


def drain(machine: Machine, answers: Mapping[int, int] = NO_LOGIN, limit: int = 32) -> Iterator[PlainFrame]:
    """Yield all frames that a machine holds, answering the handshake on the way."""
    while frames := machine.next_frames(limit):
        assert len(frames) <= limit
        for frame in frames:
            copy, owner = plain(frame), frame[6]
            if copy[0] in answers:
                machine.sending(answers[copy[0]])
            if owner is not None:
                frame[4].release()  # type: ignore[union-attr]
                frame[5].release()  # type: ignore[union-attr]
                machine.recycle(owner)
            yield copy


def cut_evenly(data: bytes, size: int) -> Iterator[bytes]:
    """Cut into pieces of one size; the last may be shorter."""
    for at in range(0, len(data), size):
        yield data[at : at + size]


def feed(
    machine: Machine, pieces: Iterable[bytes], answers: Mapping[int, int] = NO_LOGIN, *, into: bool = True,
    limit: int = 32,
) -> Iterator[PlainFrame]:
    """Feed pieces as a reader does and yield what comes out; `into` uses the view for large frames."""
    for piece in pieces:
        left = piece
        while left:
            view = machine.wants_into() if into else None
            if view is None:
                machine.receive_data(left)
                left = b""
            else:
                count = min(len(view), len(left))
                view[:count] = left[:count]
                view.release()
                machine.received_into(count)
                left = left[count:]
            yield from drain(machine, answers, limit)


@dataclass
class End:
    """One side of a pair: its machine, what it sent and what it received."""

    machine: Machine
    sent: bytearray = field(default_factory=bytearray)
    received: list[PlainFrame] = field(default_factory=list)
    _delivered: int = 0

    def send(
        self, kind: int, flags: int = 0, request_id: int = 0, target: bytes = b"", body: bytes = b"",
        extras: Sequence[Buffer] = (),
    ) -> None:
        """Send a frame, after the preface if it is the first."""
        self.machine.sending(kind)
        self.put(build_frame(kind, flags, request_id, target, body, extras))

    def send_chunks(self, segments: Sequence[Buffer], request_id: int, chunk_bytes: int) -> None:
        """Send a packed frame in pieces."""
        for chunk in build_chunks(segments, request_id, chunk_bytes):
            self.machine.sending(_T.CHUNK)
            self.put(chunk)

    def put(self, segments: Iterable[Buffer]) -> None:
        """Send bytes without asking the machine."""
        if not self.sent:
            self.sent += PREFACE
        for segment in segments:
            self.sent += segment

    def take_undelivered(self) -> bytes:
        """Return what was sent since the last time."""
        fresh = bytes(self.sent[self._delivered :])
        self._delivered = len(self.sent)
        return fresh


class WirePair:
    """A client and a server machine; nothing crosses until `pump` is called."""

    def __init__(self, limits: WireLimits | None = None) -> None:
        self.client = End(Machine(Side.CLIENT, limits))
        self.server = End(Machine(Side.SERVER, limits))

    @classmethod
    def ready(cls, limits: WireLimits | None = None) -> WirePair:
        """Return a pair that has greeted, with nothing in `received`."""
        pair = cls(limits)
        pair.client.send(_T.HELLO)
        pair.pump()
        pair.server.send(_T.WELCOME)
        pair.pump()
        pair.client.received.clear()
        pair.server.received.clear()
        return pair

    def pump(self, piece_bytes: int = 1 << 30) -> None:
        """Hand over what both ends sent, in pieces of this size."""
        for giver, taker in ((self.client, self.server), (self.server, self.client)):
            pieces = cut_evenly(giver.take_undelivered(), piece_bytes)
            taker.received += feed(taker.machine, pieces, answers={})
            taker.received += drain(taker.machine, answers={})


def record_conversation(login: bool = False, limits: WireLimits | None = None) -> WirePair:
    """Return a pair after a conversation with every type of frame; `sent` of both ends is the record."""
    pair = WirePair(limits)
    client, server = pair.client, pair.server
    greeting = Greeting(mechanism=1 if login else 0, fields={5: b"test"}).build()
    client.send(_T.HELLO, body=greeting)
    if not login:
        client.send(_T.REQUEST, 0, 1, b"\x00\x01oadd", b"early")
        client.send(_T.ONEWAY, 0, 3, b"\x00\x01olog", b"early")
    pair.pump()
    if login:
        server.send(_T.CHALLENGE, body=b"nonce")
        pair.pump()
        client.send(_T.PROOF, body=b"proof")
        pair.pump()
    server.send(_T.WELCOME, body=greeting)
    pair.pump()
    client.send(_T.REQUEST, 0, 5, b"\x10\x01omul", b"x" * 90, build_extras({1: b"\0\0\0\x09"}, [b"part", b""]))
    client.send_chunks(build_frame(_T.REQUEST, 0, 7, b"\x00\x01oput", b"y" * 70), 7, 40)
    client.send(_T.PING, 0, 99)
    pair.pump()
    server.send(_T.PONG, 0, 99)
    server.send(_T.REQUEST, 0, 2, b"\x10\x01ccall", b"callback")
    server.send(_T.ERROR, 0, 5, b"", b"boom")
    server.send_chunks(build_frame(_T.REPLY, 0, 7, b"", b"z" * 70, build_extras({}, [b"w" * 30])), 7, 50)
    server.send(_T.REPLY, 1, 1)
    pair.pump()
    client.send(_T.REPLY, 0, 2, b"", b"done")
    client.send(_T.CANCEL, 0, 7)
    client.send(_T.GOAWAY, 0, 2)
    server.send(_T.GOAWAY, 0, 7)
    pair.pump()
    client.send(_T.PONG, 0, 1)
    server.send(_T.REPLY, 0, 7, b"", b"late")
    pair.pump()
    return pair


def fresh(side: Side, limits: WireLimits | None = None, lender: Lender | None = None) -> Machine:
    """Return a machine that is about to receive its first byte: a client has said HELLO."""
    return machine_in(side, State.GREETED if side is Side.CLIENT else State.NEW, limits, lender)
