"""Messages in chunks: several at once, among other frames, and all that can be wrong with them."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpyro.errors import RemoteProtocolError
from gpyro.wire.native import (
    CALLS,
    HEADER,
    HEADER_BYTES,
    MAX_OPEN_MESSAGES,
    Flag,
    FrameType,
    Side,
    State,
    WireLimits,
    build_chunks,
    build_frame,
)
from tests.support.wire_pair import Lender, PlainFrame, cut_evenly, drain, feed, machine_in, plain

T = FrameType


def pieces_of(kind: int, request_id: int, body: bytes, chunk_bytes: int) -> list[bytes]:
    segments = build_frame(kind, 0, request_id, b"", body)
    return [b"".join(chunk) for chunk in build_chunks(segments, request_id, chunk_bytes)]


def first_piece(request_id: int, announced: int, more: bool = True, kind: int = T.REPLY) -> bytes:
    """Return a CHUNK with the header of a message of so many bytes, and nothing of its body."""
    inner = HEADER.pack(kind, 0, 0, request_id, announced - HEADER_BYTES, 0)
    return b"".join(build_frame(T.CHUNK, Flag.MORE if more else 0, request_id, b"", inner))


def next_piece(request_id: int, body: bytes, more: bool = True) -> bytes:
    return b"".join(build_frame(T.CHUNK, Flag.MORE if more else 0, request_id, b"", body))


@settings(max_examples=150, deadline=None)
@given(
    messages=st.lists(
        st.tuples(st.sampled_from(sorted(CALLS)), st.binary(max_size=200), st.integers(16, 90)), max_size=16
    ),
    between=st.lists(st.sampled_from([T.PING, T.PONG, T.CANCEL, T.REPLY]), max_size=10),
    seed=st.integers(0, 10_000),
    read_bytes=st.integers(1, 300),
)
def test_interleaved_messages_and_frames_all_come_out_each_when_it_is_whole(
    messages: list[tuple[int, bytes, int]], between: list[FrameType], seed: int, read_bytes: int
) -> None:
    lines = [
        pieces_of(kind, 2 * number + 1, body, chunk_bytes)
        for number, (kind, body, chunk_bytes) in enumerate(messages)
    ]
    ends: dict[bytes, PlainFrame] = {
        line[-1]: (kind, 0, 2 * number + 1, b"", body, b"")
        for number, ((kind, body, _), line) in enumerate(zip(messages, lines, strict=True))
    }
    lines += [[b"".join(build_frame(kind, 0, 1000))] for kind in between]
    ends |= {b"".join(build_frame(kind, 0, 1000)): (kind, 0, 1000, b"", b"", b"") for kind in between}
    stream, expected, dice = b"", [], random.Random(seed)
    while lines := [line for line in lines if line]:
        piece = dice.choice(lines).pop(0)
        stream += piece
        if piece in ends:
            expected.append(ends[piece])
    machine = machine_in(Side.SERVER, State.READY)
    assert list(feed(machine, cut_evenly(stream, read_bytes))) == expected
    assert not machine.is_mid_frame()


def test_small_frame_overtakes_a_message_that_is_under_way() -> None:
    first, *rest = pieces_of(T.REPLY, 1, bytes(100), 50)
    machine = machine_in(Side.CLIENT, State.READY)
    machine.receive_data(first + b"".join(build_frame(T.REPLY, 0, 3, b"", b"small")))
    assert [frame[2] for frame in machine.next_frames()] == [3]
    assert machine.is_mid_frame()
    machine.receive_data(b"".join(rest))
    [frame] = machine.next_frames()
    assert plain(frame) == (T.REPLY, 0, 1, b"", bytes(100), b"")
    assert frame[6] is None
    assert isinstance(frame[4], memoryview) and frame[4].readonly


def test_id_may_be_used_again_when_its_message_is_whole() -> None:
    machine = machine_in(Side.CLIENT, State.READY)
    stream = b"".join(pieces_of(T.REPLY, 1, b"first", 16) + pieces_of(T.ERROR, 1, b"second", 16))
    assert [frame[4] for frame in feed(machine, [stream])] == [b"first", b"second"]


def test_so_many_messages_may_be_open_and_not_one_more() -> None:
    machine = machine_in(Side.CLIENT, State.READY)
    for number in range(MAX_OPEN_MESSAGES):
        machine.receive_data(first_piece(number, 17))
        assert machine.next_frames() == []
    machine.receive_data(next_piece(3, b"!", more=False))
    assert [frame[2] for frame in machine.next_frames()] == [3]
    machine.receive_data(first_piece(100, 17))
    assert machine.next_frames() == []
    machine.receive_data(first_piece(101, 17))
    with pytest.raises(RemoteProtocolError, match="16 messages in chunks are open, limit is 16"):
        machine.next_frames()


def test_message_above_the_limit_is_refused_at_its_first_chunk() -> None:
    limits = WireLimits(max_value_bytes=1_000_000)
    machine = machine_in(Side.CLIENT, State.READY, limits)
    machine.receive_data(first_piece(1, 1_000_001))
    words = r"message is 1000001 bytes beside 0 under way, limit is 1000000 \(max_value_bytes\)"
    with pytest.raises(RemoteProtocolError, match=words):
        machine.next_frames()
    assert not machine.is_mid_frame()


def test_messages_share_the_limit_and_give_their_part_back_when_they_are_whole() -> None:
    limits = WireLimits(max_value_bytes=1_000)
    machine = machine_in(Side.CLIENT, State.READY, limits)
    for _ in range(5):
        stream = b"".join(pieces_of(T.REPLY, 1, bytes(1_000 - HEADER_BYTES), 300))
        assert len(list(feed(machine, [stream]))) == 1
    machine.receive_data(first_piece(1, 600))
    assert machine.next_frames() == []
    machine.receive_data(first_piece(3, 401))
    with pytest.raises(RemoteProtocolError, match="message is 401 bytes beside 600 under way, limit is 1000"):
        machine.next_frames()


def test_announced_bytes_are_not_allocated_before_they_arrive() -> None:
    machine = machine_in(Side.CLIENT, State.READY)
    tracemalloc.start()
    try:
        for number in range(4):
            machine.receive_data(first_piece(number, 60_000_000))
            assert machine.next_frames() == []
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_failure_frees_what_was_collected() -> None:
    machine = machine_in(Side.CLIENT, State.READY)
    tracemalloc.start()
    try:
        machine.receive_data(first_piece(1, 5_000_000))
        machine.receive_data(next_piece(1, bytes(2_000_000)))
        assert machine.next_frames() == []
        assert tracemalloc.get_traced_memory()[0] > 2_000_000
        machine.receive_data(next_piece(1, b""))
        with pytest.raises(RemoteProtocolError):
            machine.next_frames()
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("more", [True, False])
def test_empty_chunk_is_refused_wherever_it_stands(more: bool) -> None:
    for before in (b"", first_piece(1, 100), first_piece(1, 100) + next_piece(1, b"x")):
        machine = machine_in(Side.CLIENT, State.READY)
        machine.receive_data(before + next_piece(1, b"", more))
        with pytest.raises(RemoteProtocolError, match="it needs a body and nothing else"):
            machine.next_frames()


def test_number_of_chunks_of_a_message_is_bounded_by_its_bytes() -> None:
    machine = machine_in(Side.CLIENT, State.READY)
    machine.receive_data(first_piece(1, 1_016) + next_piece(1, b"x") * 999)
    assert machine.next_frames() == []
    assert not machine.has_frames()
    machine.receive_data(next_piece(1, b"x"))
    with pytest.raises(RemoteProtocolError, match="message 1 in chunks has 1016 bytes, announced were 1016"):
        machine.next_frames()


@pytest.mark.parametrize("kind", [*sorted(set(FrameType) - CALLS), 0, 255])
def test_only_calls_and_answers_travel_in_chunks(kind: int) -> None:
    machine = machine_in(Side.CLIENT, State.READY)
    machine.receive_data(first_piece(1, HEADER_BYTES, False, kind))
    with pytest.raises(RemoteProtocolError, match=f"message 1 in chunks starts with type {kind} and id 1"):
        machine.next_frames()


@pytest.mark.parametrize("kind", sorted(CALLS))
@pytest.mark.parametrize("state", [State.READY, State.LEAVING])
@pytest.mark.parametrize("side", Side)
def test_every_call_and_answer_travels_in_chunks_both_ways(kind: int, state: State, side: Side) -> None:
    machine = machine_in(side, state)
    machine.receive_data(b"".join(pieces_of(kind, 9, b"body", 16)))
    assert [plain(frame) for frame in machine.next_frames()] == [(kind, 0, 9, b"", b"body", b"")]


@pytest.mark.parametrize("length", [1, 15])
def test_first_chunk_must_hold_the_inner_header(length: int) -> None:
    machine = machine_in(Side.CLIENT, State.READY)
    machine.receive_data(next_piece(1, bytes(length)))
    words = f"first chunk of message 1 has {length} bytes, needs 16"
    with pytest.raises(RemoteProtocolError, match=words):
        machine.next_frames()


@pytest.mark.parametrize(("target", "extras"), [(b"x", b""), (b"", b"x"), (b"x", b"x" * 50_000)])
def test_chunk_with_more_than_a_body_is_refused(target: bytes, extras: bytes) -> None:
    inner = b"".join(build_frame(T.REPLY, 0, 1))
    data = b"".join(build_frame(T.CHUNK, 0, 1, target, inner, [extras] if extras else []))
    for size in (len(data), 1_000):
        lender = Lender()
        machine = machine_in(Side.CLIENT, State.READY, None, lender)
        with pytest.raises(RemoteProtocolError, match="it needs a body and nothing else"):
            list(feed(machine, cut_evenly(data, size)))
        assert lender.out == []


@pytest.mark.parametrize(
    ("pieces", "has"),
    [
        ([first_piece(1, 20), next_piece(1, b"abc", more=False)], 19),
        ([first_piece(1, 20), next_piece(1, b"abcde", more=False)], 21),
        ([first_piece(1, 20), next_piece(1, b"abcde")], 21),
        ([first_piece(1, 20), next_piece(1, b"abcd")], 20),
        ([first_piece(1, 20, more=False)], 16),
    ],
)
def test_message_must_end_where_its_header_says(pieces: list[bytes], has: int) -> None:
    machine = machine_in(Side.CLIENT, State.READY)
    words = f"message 1 in chunks has {has} bytes, announced were 20"
    machine.receive_data(b"".join(pieces))
    with pytest.raises(RemoteProtocolError, match=words):
        machine.next_frames()


def test_close_forgets_open_messages() -> None:
    machine = machine_in(Side.CLIENT, State.READY)
    machine.receive_data(first_piece(1, 100))
    assert machine.next_frames() == []
    assert machine.is_mid_frame()
    machine.close()
    assert not machine.is_mid_frame()
    assert list(drain(machine)) == []
