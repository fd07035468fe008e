"""Garbage in: only RemoteProtocolError comes out, and after it nothing ever again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpyro.errors import RemoteProtocolError
from gpyro.wire.hello import Greeting, parse_denial
from gpyro.wire.native import (
    HEADER,
    PREFACE,
    FrameType,
    Machine,
    Side,
    State,
    WireLimits,
    build_frame,
    parse_annotations,
    parse_extras,
    parse_target,
)
from tests.support.wire_pair import (
    NO_LOGIN,
    WITH_LOGIN,
    Lender,
    PlainFrame,
    cut_evenly,
    fresh,
    machine_in,
    plain,
    record_conversation,
)

T = FrameType
LIMITS = WireLimits(max_message_bytes=2_000, max_value_bytes=5_000)

RECORDS: dict[tuple[Side, bool], bytes] = {}
for with_login in (False, True):
    pair = record_conversation(with_login)
    RECORDS[Side.SERVER, with_login] = bytes(pair.client.sent)
    RECORDS[Side.CLIENT, with_login] = bytes(pair.server.sent)

ready_states = [(side, state) for side in Side for state in (State.READY, State.LEAVING)]
all_states = [
    *ready_states, (Side.CLIENT, State.GREETED), (Side.CLIENT, State.PROVED), (Side.CLIENT, State.CHALLENGED),
    (Side.SERVER, State.NEW), (Side.SERVER, State.DECIDING), (Side.SERVER, State.CHALLENGED),
]


def check_run(
    machine: Machine, pieces: list[bytes], lender: Lender, answers: Mapping[int, int], limit: int
) -> tuple[list[PlainFrame], bool]:
    """Feed a machine as a shell does and check all promises on the way; return frames and whether it failed."""
    got: list[PlainFrame] = []
    for piece in pieces:
        left = piece
        while left:
            view = machine.wants_into()
            if view is None:
                machine.receive_data(left)
                left = b""
            else:
                count = min(len(view), len(left))
                view[:count] = left[:count]
                view.release()
                machine.received_into(count)
                left = left[count:]
            while True:
                promised = machine.has_frames()
                try:
                    frames = machine.next_frames(limit)
                except RemoteProtocolError:
                    check_failed(machine)
                    assert lender.out == []
                    return got, True
                assert frames or not promised
                assert len(frames) <= limit
                if not frames:
                    break
                for frame in frames:
                    got.append(take(machine, frame[6], plain(frame), frame[4], frame[5]))
                    if frame[0] in answers:
                        machine.sending(answers[frame[0]])
    return got, False


def take(machine: Machine, owner: bytearray | None, copy: PlainFrame, *views: object) -> PlainFrame:
    if owner is not None:
        for view in views:
            assert isinstance(view, memoryview)
            view.release()
        machine.recycle(owner)
    return copy


def check_failed(machine: Machine) -> None:
    """Whatever follows a failure, nothing comes out and nothing is held."""
    assert machine.state is State.FAILED
    for more in (b"", PREFACE, b"".join(build_frame(T.REQUEST, 0, 1)), bytes(100_000)):
        machine.receive_data(more)
        assert machine.wants_into() is None
        with pytest.raises(RemoteProtocolError):
            machine.next_frames()
        assert not machine.is_mid_frame()
        assert repr(machine).endswith("failed, 0 bytes held>")


def check_parts(frames: list[PlainFrame]) -> None:
    """Parse what stands inside of frames; nothing but RemoteProtocolError may come of it."""
    for kind, _, _, target, body, extras in frames:
        parsers: list[tuple[Callable[[bytes], object], bytes]] = [
            (parse_target, target), (parse_extras, extras), (parse_annotations, extras),
        ]
        if kind < 16:
            parsers += [(Greeting.parse, body), (parse_denial, body)]
        for parse, part in parsers:
            try:
                parse(part)
            except RemoteProtocolError:
                pass


@settings(max_examples=300, deadline=None)
@given(
    where=st.sampled_from(all_states), data=st.binary(max_size=400), with_preface=st.booleans(),
    size=st.integers(1, 50), limit=st.sampled_from([1, 32]),
)
def test_random_bytes_yield_frames_of_the_table_or_a_remote_protocol_error(
    where: tuple[Side, State], data: bytes, with_preface: bool, size: int, limit: int
) -> None:
    lender = Lender()
    machine = machine_in(*where, LIMITS, lender)
    if with_preface:
        data = PREFACE + data
    got, _ = check_run(machine, list(cut_evenly(data, size)), lender, {}, limit)
    check_parts(got)
    assert all(asked <= LIMITS.max_message_bytes for asked in lender.asked)


#: Headers whose types exist and whose lengths are plausible come further than random bytes do.
likely_frames = st.builds(
    lambda kind, flags, lengths, request_id, rest: HEADER.pack(
        kind, flags, lengths[0], request_id, lengths[1], lengths[2]
    ) + rest,
    st.sampled_from([*range(14, 27), 0, 1, 2, 3, 4, 5, 24, 24, 24, 33]),
    st.sampled_from([0, 1, 2, 2, 255]),
    st.tuples(*[st.sampled_from([0, 0, 1, 16, 17, 40, 500, 2**16 - 1])] * 2, st.sampled_from([0, 0, 3, 2**31])),
    st.integers(0, 4),
    st.one_of(st.binary(max_size=60), st.just(HEADER.pack(17, 0, 0, 1, 20, 0) + bytes(24))),
)


@settings(max_examples=300, deadline=None)
@given(
    where=st.sampled_from(ready_states), frames=st.lists(likely_frames, max_size=20),
    sizes=st.tuples(st.integers(1, 80), st.integers(1, 2_000)), limit=st.sampled_from([1, 5, 32]),
)
def test_likely_headers_with_any_lengths_give_the_same_outcome_however_they_are_cut(
    where: tuple[Side, State], frames: list[bytes], sizes: tuple[int, int], limit: int
) -> None:
    data, outcomes = b"".join(frames), []
    for size in sizes:
        lender = Lender()
        machine = machine_in(*where, LIMITS, lender)
        outcomes.append(check_run(machine, list(cut_evenly(data, size)), lender, {}, limit))
        assert all(asked <= LIMITS.max_message_bytes for asked in lender.asked)
    assert outcomes[0] == outcomes[1]
    check_parts(outcomes[0][0])


mutations = st.lists(
    st.tuples(
        st.sampled_from(["set", "flip", "cut", "insert", "repeat", "swap"]),
        st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True), st.integers(0, 255),
        st.integers(1, 30),
    ),
    min_size=1, max_size=5,
)


def mutate(data: bytes, steps: list[tuple[str, float, float, int, int]]) -> bytes:
    for what, there, elsewhere, value, length in steps:
        if not data:
            break
        at, other = int(there * len(data)), int(elsewhere * len(data))
        before, middle, after = data[:at], data[at : at + length], data[at + length :]
        if what == "set":
            data = before + bytes([value]) + data[at + 1 :]
        elif what == "flip":
            data = before + bytes([data[at] ^ (1 << value % 8)]) + data[at + 1 :]
        elif what == "cut":
            data = before + after
        elif what == "insert":
            data = before + bytes([value]) * length + data[at:]
        elif what == "repeat":
            data = before + middle * 2 + after
        else:
            low, high = sorted((at, other))
            data = data[:low] + data[high:] + data[low:high]
    return data


@pytest.mark.parametrize("large_bytes", [50, 32 * 1024])
@pytest.mark.parametrize("login", [False, True])
@pytest.mark.parametrize("side", Side)
def test_mutated_conversation_gives_the_same_outcome_however_it_is_cut(
    side: Side, login: bool, large_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpyro.wire.native.LARGE_FRAME_BYTES", large_bytes)
    answers = WITH_LOGIN if login else NO_LOGIN

    @settings(max_examples=150, deadline=None)
    @given(steps=mutations, sizes=st.tuples(st.integers(1, 40), st.integers(1, 1_000)))
    def run(steps: list[tuple[str, float, float, int, int]], sizes: tuple[int, int]) -> None:
        data, outcomes = mutate(RECORDS[side, login], steps), []
        for size in sizes:
            lender = Lender()
            machine = fresh(side, LIMITS, lender)
            outcomes.append(check_run(machine, list(cut_evenly(data, size)), lender, answers, 32))
        assert outcomes[0] == outcomes[1]
        check_parts(outcomes[0][0])

    run()


def test_no_single_byte_of_a_conversation_can_be_changed_into_anything_but_frames_or_the_error() -> None:
    for (side, login), record in RECORDS.items():
        answers = WITH_LOGIN if login else NO_LOGIN
        for at in range(len(record)):
            for value in (0, 0xFF, record[at] ^ 0x01, record[at] ^ 0x80):
                lender = Lender()
                machine = fresh(side, LIMITS, lender)
                data = record[:at] + bytes([value]) + record[at + 1 :]
                got, _ = check_run(machine, [data], lender, answers, 32)
                check_parts(got)


def test_flood_of_tiny_frames_hold_nothing_and_end_at_their_first_fault() -> None:
    # reliability.md R24, in small: 200,000 pings, then one byte that is none.
    machine = machine_in(Side.SERVER, State.READY)
    block = b"".join(build_frame(T.PING)) * 1_000
    served = 0
    for _ in range(200):
        machine.receive_data(block)
        while frames := machine.next_frames():
            served += len(frames)
        assert not machine.is_mid_frame()
    assert served == 200_000
    machine.receive_data(bytes(16))
    with pytest.raises(RemoteProtocolError, match="peer sent type 0 while server is ready"):
        machine.next_frames()
