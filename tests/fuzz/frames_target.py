"""The wire machine under fire: both sides, every state that bytes can reach, any cuts, with and without codes.

    byte 0    the case: bit 0 the side, bits 1 to 3 the state, bit 4 codes behind frames, bit 5 frames above 50
              bytes count as large, bit 6 the side wants a login
    byte 1    how the second run is cut, evenly or not
    byte 2    frames for each turn
    byte 3    which code is spoilt in the last run
    rest      what the peer sends
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from gpyro.auth import Seal
from gpyro.errors import RemoteProtocolError
from gpyro.wire import native
from gpyro.wire.frames import SEAL_BYTES
from gpyro.wire.hello import Greeting, parse_denial
from gpyro.wire.native import (
    CALLS,
    HEADER,
    HEADER_BYTES,
    PREFACE,
    FrameType,
    Side,
    State,
    WireLimits,
    build_extras,
    build_target,
    parse_annotations,
    parse_extras,
    parse_target,
)
from tests.fuzz.source import Source, irregular_cuts
from tests.support.wire_pair import (
    NO_LOGIN,
    WITH_LOGIN,
    Lender,
    PlainFrame,
    cut_evenly,
    machine_in,
    needs_preface,
    plain,
)

__all__ = ["STATES", "frames"]

LIMITS: Final = WireLimits(max_message_bytes=2_000, max_value_bytes=5_000)
#: What a case byte can name; states that nothing leaves are in it too.
STATES: Final[Mapping[Side, tuple[State, ...]]] = {
    Side.SERVER: (
        State.NEW, State.DECIDING, State.CHALLENGED, State.READY, State.LEAVING, State.CLOSED, State.FAILED,
        State.NEW,
    ),
    Side.CLIENT: (
        State.GREETED, State.NEW, State.CHALLENGED, State.PROVED, State.READY, State.LEAVING, State.CLOSED,
        State.FAILED,
    ),
}
SEALED, SMALL_IS_LARGE, LOGIN = 0x10, 0x20, 0x40
_KEY: Final = bytes(32)
_READY: Final = (State.READY, State.LEAVING)
#: What only a side that is through its handshake may give out.
AFTER_LOGIN: Final = CALLS | {FrameType.CANCEL, FrameType.CHUNK, FrameType.PING, FrameType.PONG, FrameType.GOAWAY}

Outcome = tuple[list[PlainFrame], bool, State, bool]


class Run:
    """One machine that is fed, and what came of it."""

    def __init__(self, case: int, limit: int) -> None:
        self.side = Side.CLIENT if case & 1 else Side.SERVER
        self.lender = Lender()
        self.machine = machine_in(self.side, STATES[self.side][case >> 1 & 7], LIMITS, self.lender)
        self.limit = limit
        self.sealed = bool(case & SEALED)
        self.answers = WITH_LOGIN if case & LOGIN else NO_LOGIN
        self.got: list[PlainFrame] = []
        if self.sealed and self.machine.state in _READY:
            self.machine.expect_seals(Seal(_KEY))

    def feed(self, pieces: Iterable[bytes]) -> Outcome:
        """Feed as a shell does, and check on the way what the machine promises."""
        for piece in pieces:
            left = piece
            while left:
                left = self._put(left)
                if not self._take():
                    return self.got, True, self.machine.state, False
        return self.got, False, self.machine.state, self.machine.is_mid_frame()

    def _put(self, left: bytes) -> bytes:
        view = self.machine.wants_into()
        if view is None:
            self.machine.receive_data(left)
            return b""
        count = min(len(view), len(left))
        view[:count] = left[:count]
        view.release()
        self.machine.received_into(count)
        return left[count:]

    def _take(self) -> bool:
        """Take all frames there are; False when the machine has failed."""
        while True:
            promised = self.machine.has_frames()
            before = self.machine.state
            try:
                frames = self.machine.next_frames(self.limit)
            except RemoteProtocolError:
                self._check_failed()
                return False
            assert frames or not promised, "has_frames promised what next_frames did not give"
            assert len(frames) <= self.limit
            if not frames:
                self._check_held()
                return True
            for frame in frames:
                assert before in _READY or frame[0] not in AFTER_LOGIN, f"{frame[0]} came out while {before}"
                self._keep(frame)

    def _keep(self, frame: native.Frame) -> None:
        self.got.append(plain(frame))
        if frame[6] is not None:
            for view in frame[4:6]:
                assert isinstance(view, memoryview)
                view.release()
            self.machine.recycle(frame[6])
        answer = self.answers.get(frame[0])
        if answer is not None and self.machine.state in (State.DECIDING, State.CHALLENGED):
            self.machine.sending(answer)
        if self.sealed and frame[0] == _last_of_login(self.side):
            self.machine.expect_seals(Seal(_KEY))

    def _check_held(self) -> None:
        """What is kept stays within the limits, however little of a message is there."""
        machine = self.machine
        assert all(asked <= LIMITS.max_message_bytes + SEAL_BYTES for asked in self.lender.asked)
        messages = machine._messages
        assert len(messages) <= native.MAX_OPEN_MESSAGES
        assert messages.held_bytes() <= messages.announced_bytes() <= LIMITS.max_value_bytes
        if machine._accepts:
            waiting = len(machine._data) - machine._at
            assert waiting <= native.LARGE_FRAME_BYTES + SEAL_BYTES, f"{waiting} bytes wait for a frame"

    def _check_failed(self) -> None:
        """Whatever follows a failure, nothing comes out and nothing is held."""
        machine = self.machine
        assert machine.state is State.FAILED
        assert self.lender.out == []
        machine.receive_data(PREFACE + HEADER.pack(FrameType.REQUEST, 0, 0, 1, 0, 0) + bytes(3_000))
        assert machine.wants_into() is None
        try:
            raise AssertionError(f"a failed machine gave {machine.next_frames()}")
        except RemoteProtocolError:
            pass
        assert not machine.is_mid_frame()


def _last_of_login(side: Side) -> FrameType:
    return FrameType.WELCOME if side is Side.CLIENT else FrameType.PROOF


def frames(data: bytes) -> None:
    """Feed what a peer may send into a machine, several times; all runs have to agree.

    Raises:
        AssertionError: a promise of the machine is broken. Anything else is a finding as well.
    """
    source = Source(data)
    case, cut, limit, spoilt = source.byte(), source.byte() + 2, source.byte() % 32 + 1, source.byte()
    stream = source.rest()
    large_bytes, native.LARGE_FRAME_BYTES = native.LARGE_FRAME_BYTES, (  # type: ignore[misc]
        50 if case & SMALL_IS_LARGE else native.LARGE_FRAME_BYTES
    )
    try:
        bare = case & ~SEALED
        whole = Run(bare, limit).feed([stream])
        pieces = irregular_cuts(stream, cut) if cut & 1 else cut_evenly(stream, cut >> 1)
        assert Run(bare, 33 - limit).feed(pieces) == whole, "other pieces give another outcome"
        if case & SEALED:
            check_sealed(case, limit, stream, cut, spoilt, whole)
        check_parts(whole[0])
    finally:
        native.LARGE_FRAME_BYTES = large_bytes  # type: ignore[misc]


def check_sealed(case: int, limit: int, stream: bytes, cut: int, spoilt: int, whole: Outcome) -> None:
    """With right codes the same comes out as without any; from a wrong one on, nothing."""
    run = Run(case, limit)
    pieces = seal_stream(run, stream)
    sealed = b"".join(pieces)
    assert run.feed(irregular_cuts(sealed, cut)) == whole, "frames with codes give another outcome"
    if len(pieces) > 2:
        # Pieces are: what comes before, then a frame and its code in turn, and what is left over.
        number = 2 + spoilt % ((len(pieces) - 1) // 2) * 2
        changed = bytes((pieces[number][0] ^ 1,)) + pieces[number][1:]
        got, failed, _, _ = Run(case, limit).feed([b"".join((*pieces[:number], changed, *pieces[number + 1 :]))])
        assert got == whole[0][: len(got)], "a wrong code changed what came before it"
        assert failed or whole[2] not in _READY, "a wrong code was taken"


def seal_stream(run: Run, stream: bytes) -> list[bytes]:
    """Put the right code behind each whole frame that the machine will take one of."""
    at = 0
    if needs_preface(run.machine):
        if not stream.startswith(PREFACE):
            return [stream]
        at = len(PREFACE)
    begin, seal, pieces = at, Seal(_KEY), list[bytes]()
    sealing = run.machine.state in _READY
    while len(stream) - at >= HEADER_BYTES:
        kind, _, target_bytes, _, body_bytes, extras_bytes = HEADER.unpack_from(stream, at)
        end = at + HEADER_BYTES + target_bytes + body_bytes + extras_bytes
        if end > len(stream):
            break
        if sealing:
            pieces += (stream[at:end], seal.sign(stream[at:end]))
        else:
            begin = end
            sealing = kind == _last_of_login(run.side)
        at = end
    return [stream[:begin], *pieces, stream[at:]]


def check_parts(frames: list[PlainFrame]) -> None:
    """Parse what stands inside of frames; what can be parsed can be built again."""
    for kind, _, _, target, body, extras in frames:
        try:
            scope, access, object_id, name = parse_target(target)
            assert build_target(object_id, name, scope, access) == target
        except RemoteProtocolError:
            pass
        try:
            found = parse_extras(extras)
            assert parse_annotations(extras) == found[0]
            again = b"".join(build_extras(*found))
            if again:
                assert parse_extras(again) == found
        except RemoteProtocolError:
            pass
        if kind < 16:
            for parse in (Greeting.parse, parse_denial):
                try:
                    parse(body)
                except RemoteProtocolError:
                    pass
