"""Large frames: received into a borrowed buffer, which comes back."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpyro.errors import RemoteProtocolError
from gpyro.wire.frames import FIRST_LARGE_BYTES, GROWTH
from gpyro.wire.native import (
    HEADER,
    HEADER_BYTES,
    LARGE_FRAME_BYTES,
    Flag,
    FrameType,
    Machine,
    Side,
    State,
    WireLimits,
    build_chunks,
    build_extras,
    build_frame,
    parse_extras,
)
from tests.support.wire_pair import Lender, PlainFrame, cut_evenly, feed, machine_in, plain

T = FrameType

#: Sizes of bodies around what decides whether a frame is large.
EDGE = LARGE_FRAME_BYTES - HEADER_BYTES
body_sizes = st.sampled_from([0, 1, 40, 5_000, EDGE - 1, EDGE, EDGE + 1, 40_000, 100_000])


def make_frame(request_id: int, size: int, with_parts: bool) -> tuple[bytes, PlainFrame]:
    extras = build_extras({1: b"\0\0\0\1"}, [b"x" * (size // 2), b"y"]) if with_parts else []
    target, body = b"\0\1oname", bytes([request_id % 251]) * size
    data = b"".join(build_frame(T.REQUEST, 0, request_id, target, body, extras))
    return data, (T.REQUEST, 0, request_id, target, body, b"".join(extras))


def as_chunks(data: bytes, request_id: int, chunk_bytes: int) -> bytes:
    return b"".join(b"".join(chunk) for chunk in build_chunks([data], request_id, chunk_bytes))


@settings(max_examples=150, deadline=None)
@given(
    frames=st.lists(st.tuples(body_sizes, st.booleans(), st.sampled_from([0, 0, 20_000, 50_000])), max_size=6),
    cuts=st.lists(st.floats(0, 1), max_size=8),
    into=st.booleans(),
    limit=st.sampled_from([1, 3, 32]),
)
def test_large_and_small_frames_come_out_in_order_in_any_split(
    frames: list[tuple[int, bool, int]], cuts: list[float], into: bool, limit: int
) -> None:
    data, expected = b"", []
    for number, (size, with_parts, chunk_bytes) in enumerate(frames):
        one, values = make_frame(2 * number + 1, size, with_parts)
        data += as_chunks(one, values[2], chunk_bytes) if chunk_bytes else one
        expected.append(values)
    ends = [0, *sorted(int(cut * len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(ends)]
    lender = Lender()
    machine = machine_in(Side.SERVER, State.READY, None, lender)
    assert list(feed(machine, pieces, into=into, limit=limit)) == expected
    assert lender.out == []
    assert not machine.is_mid_frame()
    assert not machine.has_frames()


@pytest.mark.parametrize(("size", "is_large"), [(EDGE, False), (EDGE + 1, True)])
def test_buffer_is_borrowed_only_above_the_size_and_only_for_an_incomplete_frame(
    size: int, is_large: bool
) -> None:
    data, values = make_frame(1, size - 7, False)
    assert len(data) == size + HEADER_BYTES
    for first, borrows in ((len(data) - 1, is_large), (HEADER_BYTES, is_large), (len(data), False)):
        lender = Lender()
        machine = machine_in(Side.SERVER, State.READY, None, lender)
        assert list(feed(machine, (data[:first], data[first:]))) == [values]
        assert lender.asked == ([len(data)] if borrows else [])


def test_view_is_wanted_exactly_while_a_large_frame_is_under_way() -> None:
    data, values = make_frame(1, 100_000, True)
    machine = machine_in(Side.SERVER, State.READY)
    assert machine.wants_into() is None
    machine.receive_data(data[: HEADER_BYTES - 1])
    assert machine.next_frames() == []
    assert machine.wants_into() is None
    machine.receive_data(data[HEADER_BYTES - 1 : HEADER_BYTES])
    assert machine.next_frames() == []
    at = HEADER_BYTES
    while (view := machine.wants_into()) is not None:
        assert not machine.has_frames()
        assert machine.is_mid_frame()
        assert machine.next_frames() == []
        assert 0 < len(view) <= len(data) - at
        count = min(len(view), 30_000)
        view[:count] = data[at : at + count]
        machine.received_into(count)
        at += count
    assert machine.has_frames()
    [frame] = machine.next_frames()
    assert plain(frame) == values
    assert frame[6] is not None
    assert machine.wants_into() is None


def test_parts_of_a_large_frame_are_views_that_cannot_be_written_and_know_their_owner() -> None:
    data, _ = make_frame(1, 100_000, True)
    machine = machine_in(Side.SERVER, State.READY)
    machine.receive_data(data[:50_000])
    assert machine.next_frames() == []
    machine.receive_data(data[50_000:])
    [frame] = machine.next_frames()
    body, extras, owner = frame[4], frame[5], frame[6]
    assert isinstance(body, memoryview) and body.readonly and body.obj is owner
    assert isinstance(extras, memoryview) and extras.readonly
    assert type(frame[3]) is bytes
    _, [first, second] = parse_extras(extras)
    assert isinstance(first, memoryview) and first.readonly and bytes(first) == b"x" * 50_000
    assert bytes(second) == b"y"


def test_what_follows_a_large_frame_in_the_same_read_is_kept() -> None:
    data, values = make_frame(1, 100_000, False)
    ping = b"".join(build_frame(T.PING, 0, 7))
    machine = machine_in(Side.SERVER, State.READY)
    machine.receive_data(data[:60_000])
    assert machine.next_frames() == []
    machine.receive_data(data[60_000:] + ping + ping[:5])
    first, second = machine.next_frames()
    assert plain(first) == values
    assert second[0] == T.PING
    assert machine.is_mid_frame()
    machine.receive_data(ping[5:])
    assert [frame[0] for frame in machine.next_frames()] == [T.PING]


def test_empty_reads_change_nothing() -> None:
    data, values = make_frame(1, 100_000, False)
    machine = machine_in(Side.SERVER, State.READY)
    machine.receive_data(data[:60_000])
    assert machine.next_frames() == []
    machine.received_into(0)
    machine.receive_data(b"")
    assert machine.next_frames() == []
    machine.receive_data(data[60_000:])
    machine.receive_data(b"")
    assert plain(machine.next_frames()[0]) == values


def test_goaway_may_be_large_and_still_changes_the_state() -> None:
    data = b"".join(build_frame(T.GOAWAY, 0, 5, b"", bytes(50_000)))
    machine = machine_in(Side.CLIENT, State.READY)
    assert [frame[0] for frame in feed(machine, cut_evenly(data, 9_999))] == [T.GOAWAY]
    assert machine.state is State.LEAVING


def start_large(lender: Lender, kind: FrameType = T.REQUEST, body: bytes = bytes(100_000)) -> Machine:
    """Return a machine in the middle of a large frame."""
    machine = machine_in(Side.SERVER, State.READY, None, lender)
    machine.receive_data(b"".join(build_frame(kind, 0, 1, b"", body))[:50_000])
    assert machine.next_frames() == []
    assert len(lender.out) == 1
    return machine


def test_close_in_the_middle_of_a_large_frame_gives_the_buffer_back() -> None:
    for lets_go in (lambda machine: None, lambda machine: machine.received_into(0)):
        lender = Lender()
        machine = start_large(lender)
        if machine.wants_into() is not None:
            machine.received_into(10)
        lets_go(machine)
        machine.close()
        assert lender.out == []
        assert machine.wants_into() is None


def test_close_while_a_reader_has_the_view_leaves_the_buffer_to_the_reader() -> None:
    # Lent on to another connection, it would be written into by the reader of this one.
    lender = Lender()
    machine = start_large(lender)
    view = machine.wants_into()
    assert view is not None
    machine.close()
    assert len(lender.out) == 1
    view[:3] = b"abc"
    machine.received_into(3)
    assert machine.next_frames() == []
    assert not machine.is_mid_frame()
    assert repr(machine) == "<Machine server closed, 0 bytes held>"


def test_large_chunk_at_fault_gives_its_buffer_back() -> None:
    ping = b"".join(build_frame(T.PING)) + bytes(99_984)
    lender = Lender()
    machine = start_large(lender, T.CHUNK, ping)
    machine.receive_data(ping[50_000 - HEADER_BYTES :])
    with pytest.raises(RemoteProtocolError, match="in chunks starts with type 21"):
        machine.next_frames()
    assert lender.out == []
    assert machine.wants_into() is None


def test_large_chunks_give_their_buffers_back_as_soon_as_they_are_collected() -> None:
    data, values = make_frame(1, 200_000, False)
    lender = Lender()
    machine = machine_in(Side.SERVER, State.READY, None, lender)
    got = list(feed(machine, cut_evenly(as_chunks(data, 1, 60_000), 10_000)))
    assert got == [values]
    assert len(lender.asked) >= 3
    assert lender.out == []


def test_large_open_chunk_that_is_whole_is_no_frame() -> None:
    data, _ = make_frame(1, 200_000, False)
    chunk = next(iter(cut_evenly(as_chunks(data, 1, 60_000), 60_016)))
    assert chunk[1] == Flag.MORE
    machine = machine_in(Side.SERVER, State.READY)
    machine.receive_data(chunk[:40_000])
    assert machine.next_frames() == []
    machine.receive_data(chunk[40_000:])
    assert not machine.has_frames()
    assert machine.next_frames() == []
    assert machine.is_mid_frame()
    assert machine.wants_into() is None


def test_frame_that_only_announces_its_bytes_costs_what_has_come_and_a_little() -> None:
    lender = Lender()
    limits = WireLimits(max_message_bytes=1_000_000)
    machine = machine_in(Side.SERVER, State.READY, limits, lender)
    machine.receive_data(HEADER.pack(T.REQUEST, 0, 0, 1, 1_000_000 - HEADER_BYTES, 0))
    for _ in range(10):
        assert machine.next_frames() == []
    assert lender.asked == [FIRST_LARGE_BYTES]


@pytest.mark.parametrize("into", [True, False])
def test_buffer_of_a_large_frame_grows_with_what_comes_and_the_outgrown_go_back(into: bool) -> None:
    data, values = make_frame(1, 990_000, True)
    lender = Lender()
    machine = machine_in(Side.SERVER, State.READY, None, lender)
    found: list[object] = []
    for at in range(0, len(data), 20_000):
        found += feed(machine, [data[at : at + 20_000]], into=into)
        held = sum(map(len, lender.out))
        assert held <= max(FIRST_LARGE_BYTES, GROWTH * (at + 20_000)) + 200
    assert found == [values]
    assert len(lender.asked) == 4 and lender.asked[-1] == len(data)
    assert lender.out == []


def test_machine_without_a_pool_makes_and_forgets_its_buffers() -> None:
    data, values = make_frame(1, 100_000, False)
    machine = machine_in(Side.SERVER, State.READY)
    assert list(feed(machine, cut_evenly(data, 30_000))) == [values]


def test_view_that_was_asked_for_and_not_used_does_not_keep_the_buffer() -> None:
    lender = Lender()
    machine = start_large(lender)
    assert machine.wants_into() is not None
    machine.receive_data(bytes(10))
    machine.close()
    assert lender.out == []
