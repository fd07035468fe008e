"""Large parts that are received where they stay: which, into what, and that nothing else changes."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpyro.errors import RemoteProtocolError
from gpyro.wire.arrival import NEVER, Arrival, make_bytearray
from gpyro.wire.frames import CLAIM_FACTOR, STAYING_BYTES, Arrived
from gpyro.wire.native import (
    HEADER,
    HEADER_BYTES,
    Annotation,
    Buffer,
    Flag,
    Frame,
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
LARGE = 2 * STAYING_BYTES


class Maker:
    """Makes memory for parts and notes what was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, bool]] = []
        self.made: list[bytes | bytearray] = []

    def __call__(self, size: int, writable: bool) -> tuple[bytearray, memoryview]:
        self.asked.append((size, writable))
        part, view = make_bytearray(size, writable)
        self.made.append(part)
        return part, view


def ready(maker: Maker, lender: Lender | None = None, limits: WireLimits | None = None) -> Machine:
    lender = lender or Lender()
    machine = Machine(Side.SERVER, limits, lender.take, lender.give, maker)
    list(feed(machine, [b"PYROG\x01" + b"".join(build_frame(T.HELLO))]))
    assert machine.state is State.READY
    return machine


def pack(parts: list[Buffer], request_id: int = 1, body: bytes = b"body") -> bytes:
    notes: dict[int, bytes] = {Annotation.TRACE: b"trace"}
    return b"".join(build_frame(T.REQUEST, 0, request_id, b"\0\1oname", body, build_extras(notes, parts)))


def as_chunks(data: bytes, request_id: int, chunk_bytes: int) -> bytes:
    return b"".join(b"".join(chunk) for chunk in build_chunks([data], request_id, chunk_bytes))


def receive(machine: Machine, data: bytes, piece_bytes: int) -> Frame:
    """Feed as a reader does; returns the one frame itself."""
    frames: list[Frame] = []
    for piece in cut_evenly(data, piece_bytes):
        left = piece
        while left:
            view = machine.wants_into()
            count = len(left) if view is None else min(len(view), len(left))
            if view is None:
                machine.receive_data(left)
            else:
                view[:count] = left[:count]
                view.release()
                machine.received_into(count)
            left = left[count:]
            frames += machine.next_frames()
    (frame,) = frames
    return frame


def test_large_parts_are_received_into_the_very_objects_that_come_out() -> None:
    maker = Maker()
    lender = Lender()
    frame = receive(ready(maker, lender), pack([b"a" * LARGE, bytearray(b"b" * LARGE), b"c"]), 10_000)
    assert maker.asked == [(LARGE, False), (LARGE, True), (1, False)]
    assert lender.asked == []
    assert frame[4] == b"body" and frame[6] is None
    annotations, parts = parse_extras(frame[5])
    assert annotations[Annotation.TRACE] == b"trace"
    assert all(part is made for part, made in zip(parts, maker.made, strict=True))
    assert [bytes(part) for part in parts] == [b"a" * LARGE, b"b" * LARGE, b"c"]


def test_message_in_chunks_is_received_where_it_stays_too() -> None:
    maker = Maker()
    lender = Lender()
    machine = ready(maker, lender, WireLimits(max_message_bytes=LARGE + HEADER_BYTES))
    data = as_chunks(pack([bytes(range(256)) * 4000, bytearray(b"b" * LARGE)]), 1, LARGE)
    frame = receive(machine, data, 50_000)
    assert maker.asked == [(1_024_000, False), (LARGE, True)]
    # The first piece tells where all of it belongs, so only that one went through a buffer, which grew.
    assert lender.asked == [200_000, LARGE + HEADER_BYTES] and lender.out == []
    assert [bytes(part) for part in parse_extras(frame[5])[1]] == [bytes(range(256)) * 4000, b"b" * LARGE]
    assert not machine.is_mid_frame()


sizes = st.sampled_from([0, 1, 5000, STAYING_BYTES - 1, STAYING_BYTES, LARGE, 2 * LARGE])


@settings(max_examples=150, deadline=None)
@given(
    messages=st.lists(
        st.tuples(
            st.lists(st.tuples(sizes, st.booleans()), max_size=4), st.sampled_from([0, 0, 5000, 40_000, 300_000])
        ),
        min_size=1, max_size=4,
    ),
    cuts=st.lists(st.floats(0, 1), max_size=8),
    into=st.booleans(),
    limit=st.sampled_from([1, 32]),
)
def test_messages_with_any_parts_in_any_split_come_out_as_they_were_sent(
    messages: list[tuple[list[tuple[int, bool]], int]], cuts: list[float], into: bool, limit: int
) -> None:
    data = b""
    expected: list[PlainFrame] = []
    for number, (kinds, chunk_bytes) in enumerate(messages):
        request_id = 2 * number + 1
        parts: list[Buffer] = [
            bytearray([65 + index]) * size if writable else bytes([97 + index]) * size
            for index, (size, writable) in enumerate(kinds)
        ]
        extras = b"".join(build_extras({Annotation.TRACE: b"trace"}, parts))
        one = pack(parts, request_id)
        data += as_chunks(one, request_id, chunk_bytes) if chunk_bytes else one
        expected.append((T.REQUEST, 0, request_id, b"\0\1oname", b"body", extras))
    ends = [0, *sorted(int(cut * len(data)) for cut in cuts), len(data)]
    lender = Lender()
    machine = ready(Maker(), lender)
    pieces = [data[start:end] for start, end in pairwise(ends)]
    assert list(feed(machine, pieces, into=into, limit=limit)) == expected
    assert lender.out == []
    assert not machine.is_mid_frame() and not machine.has_frames()


@pytest.mark.parametrize(
    "parts", [[b"x" * STAYING_BYTES], [bytes(20_000)] * 40], ids=["barely large enough", "many small parts"]
)
def test_parts_that_are_not_worth_it_are_cut_out_of_a_buffer(parts: list[Buffer]) -> None:
    maker = Maker()
    frame = receive(ready(maker), pack(parts, body=b""), 30_000)
    many = len(parts) > 1
    assert bool(maker.asked) is not many
    assert isinstance(frame[5], Arrived) is not many
    assert [bytes(part) for part in parse_extras(frame[5])[1]] == parts


def test_body_without_parts_is_received_into_a_buffer_however_large() -> None:
    maker = Maker()
    lender = Lender()
    frame = receive(ready(maker, lender), b"".join(build_frame(T.REPLY, 0, 1, b"", bytes(LARGE))), 9000)
    assert maker.asked == [] and len(lender.asked) >= 1
    assert frame[6] is not None


def test_memory_is_made_only_when_enough_of_the_message_has_come() -> None:
    maker = Maker()
    machine = ready(maker)
    data = pack([bytes(3_000_000)])
    enough = -(-len(data) // CLAIM_FACTOR)
    machine.receive_data(data[: enough - 1])
    assert machine.next_frames() == [] and maker.asked == []
    machine = ready(maker)
    machine.receive_data(data[:enough])
    assert machine.next_frames() == [] and maker.asked == [(3_000_000, False)]


def test_message_in_chunks_claims_no_more_than_its_share_of_what_has_come() -> None:
    machine = machine_in(Side.SERVER, State.READY, WireLimits(chunk_bytes=1000))
    data = pack([bytes(200_000_000)])[:5000]
    tracemalloc.start()
    try:
        for piece in cut_evenly(data, 1000):
            head = HEADER.pack(T.CHUNK, Flag.MORE, 0, 1, len(piece), 0)
            assert list(feed(machine, [head + piece])) == []
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("change", [-1, 1])
def test_table_that_does_not_add_up_is_found_as_ever(change: int) -> None:
    maker = Maker()
    data = bytearray(pack([b"x" * LARGE], body=b""))
    at = len(data) - LARGE - 4
    data[at : at + 4] = (LARGE + change).to_bytes(4, "big")
    frame = receive(ready(maker), bytes(data), 30_000)
    assert maker.asked == []
    with pytest.raises(RemoteProtocolError, match="out-of-band parts"):
        parse_extras(frame[5])


def test_annotations_that_are_cut_short_are_found_as_ever() -> None:
    maker = Maker()
    data = bytearray(pack([b"x" * LARGE], body=b""))
    at = HEADER_BYTES + len(b"\0\1oname") + 4
    data[at + 1 : at + 3] = (5000).to_bytes(2, "big")
    frame = receive(ready(maker), bytes(data), 30_000)
    assert maker.asked == []
    with pytest.raises(RemoteProtocolError, match="cut short"):
        parse_extras(frame[5])


def test_chunk_that_is_too_long_for_its_message_is_refused_and_forgets_it() -> None:
    machine = ready(Maker())
    data = pack([bytes(3 * LARGE)])
    first, rest = data[:LARGE], data[LARGE:]
    head = HEADER.pack(T.CHUNK, Flag.MORE, 0, 1, len(first), 0)
    assert list(feed(machine, [head + first])) == []
    # As large as a frame may be that is received where it stays, and one byte more than belongs there.
    head = HEADER.pack(T.CHUNK, 0, 0, 1, len(rest) + 1, 0)
    with pytest.raises(RemoteProtocolError, match=f"has {len(data) + 1} bytes, announced were {len(data)}"):
        list(feed(machine, [head, rest + b"!"]))
    assert machine.state is State.FAILED and not machine.is_mid_frame()


@pytest.mark.parametrize("more", [True, False])
def test_message_has_to_end_with_its_last_chunk_and_no_earlier(more: bool) -> None:
    machine = ready(Maker())
    data = pack([bytes(3 * LARGE)])
    middle = data[LARGE : 2 * LARGE] if not more else data[LARGE:]
    assert list(feed(machine, [HEADER.pack(T.CHUNK, Flag.MORE, 0, 1, LARGE, 0) + data[:LARGE]])) == []
    head = HEADER.pack(T.CHUNK, Flag.MORE if more else 0, 0, 1, len(middle), 0)
    with pytest.raises(RemoteProtocolError, match="in chunks has"):
        list(feed(machine, [head, middle]))


def test_close_in_the_middle_of_a_part_lets_it_go_unless_a_reader_has_the_view() -> None:
    for has_view in (False, True):
        machine = ready(Maker())
        machine.receive_data(pack([bytes(3 * LARGE)])[:LARGE])
        assert machine.next_frames() == []
        if has_view:
            assert machine.wants_into() is not None
        machine.close()
        assert (machine._arrival is None) is not has_view
        machine.received_into(0)
        assert machine._arrival is None
        assert not machine.is_mid_frame() and machine.wants_into() is None and machine.next_frames() == []


def test_beginning_tells_how_much_it_needs_to_see() -> None:
    data = pack([bytes(LARGE), bytes(LARGE)])
    table_end = len(data) - 2 * LARGE
    asked = []
    for cut in range(table_end):
        needs = Arrival.begin(data[:cut], Maker())
        assert isinstance(needs, int) and cut < needs <= max(table_end, -(-len(data) // CLAIM_FACTOR))
        asked.append(needs)
    assert asked == sorted(asked)
    arrival = Arrival.begin(data[: table_end + 9000], Maker())
    assert isinstance(arrival, Arrival) and arrival.left == 2 * LARGE - 9000 and arrival.size == len(data)
    arrival.feed(data, table_end + 9000)
    assert arrival.left == 0 and plain(arrival.frame())[4] == b"body"
    assert Arrival.begin(pack([b"x" * 100]), Maker()) == NEVER


def test_message_that_comes_in_small_pieces_is_looked_at_a_few_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    begin = Arrival.begin.__func__  # type: ignore[attr-defined]

    def counting(cls: type[Arrival], data: Buffer, make_part: Maker) -> Arrival | int:
        looks.append(len(data))
        return begin(cls, data, make_part)  # type: ignore[no-any-return]

    monkeypatch.setattr(Arrival, "begin", classmethod(counting))
    for notes in (b"\xc8\0\0" * 20_000, b"\xc8\0\0" * 20_000 + b"\xc8\xff\xff"):  # the last one is cut short
        extras = len(notes).to_bytes(2, "big") + b"\0\1" + notes
        extras += (2_000_000).to_bytes(4, "big")
        data = HEADER.pack(T.REQUEST, 0, 0, 1, 0, len(extras) + 2_000_000) + extras + bytes(2000)
        machine = ready(Maker())
        pieces = [HEADER.pack(T.CHUNK, Flag.MORE, 0, 1, 50, 0) + piece for piece in cut_evenly(data[:62_000], 50)]
        assert list(feed(machine, pieces)) == []
        assert len(looks) <= 5
        looks.clear()


def test_no_view_is_left_of_what_its_user_gets() -> None:
    """A profiler that looks at frames keeps the views that it finds there; they have to be released."""
    kept: list[object] = []

    class Keeping(Maker):
        def __call__(self, size: int, writable: bool) -> tuple[bytearray, memoryview]:
            part, view = super().__call__(size, writable)
            kept.append(view)
            return part, view

    frame = receive(ready(Keeping()), pack([bytearray(LARGE), bytearray(LARGE)]), 50_000)
    for part in parse_extras(frame[5])[1]:
        assert isinstance(part, bytearray)
        part.append(1)
    assert len(kept) == 2
