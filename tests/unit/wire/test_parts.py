"""What stands inside a frame: targets, annotations, buffers, and frames cut into chunks."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpyro.errors import LocalProtocolError, RemoteProtocolError
from gpyro.wire.native import (
    HEADER,
    HEADER_BYTES,
    LARGE_FRAME_BYTES,
    MAX_BUFFERS,
    Annotation,
    Buffer,
    Flag,
    FrameType,
    Side,
    State,
    build_chunks,
    build_extras,
    build_frame,
    build_target,
    may_change,
    parse_annotations,
    parse_extras,
    parse_target,
)
from tests.support.wire_pair import feed, machine_in

short_names = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
notes = st.dictionaries(st.integers(0, 255), st.binary(max_size=40), max_size=6)
buffers = st.lists(st.binary(max_size=80), max_size=6)


# -- targets


@given(short_names, short_names, st.integers(0, 15), st.integers(0, 15))
def test_target_comes_back_as_it_was_built(object_id: str, name: str, scope: int, access: int) -> None:
    assert parse_target(build_target(object_id, name, scope, access)) == (scope, access, object_id, name)


@given(st.binary(max_size=520))
def test_any_bytes_are_a_target_or_a_remote_protocol_error(target: bytes) -> None:
    try:
        scope, access, object_id, name = parse_target(target)
    except RemoteProtocolError:
        return
    assert build_target(object_id, name, scope, access) == target


def test_target_with_the_longest_id_and_name_fits_a_frame() -> None:
    target = build_target("i" * 255, "n" * 255)
    machine = machine_in(Side.SERVER, State.READY)
    machine.receive_data(b"".join(build_frame(FrameType.REQUEST, target=target)))
    [frame] = machine.next_frames()
    assert parse_target(frame[3]) == (0, 0, "i" * 255, "n" * 255)


@pytest.mark.parametrize(("object_id", "name"), [("i" * 256, ""), ("", "n" * 256), ("ü" * 128, "x")])
def test_target_with_a_part_over_255_bytes_is_not_built(object_id: str, name: str) -> None:
    with pytest.raises(LocalProtocolError, match="each may have 255"):
        build_target(object_id, name)


@pytest.mark.parametrize(("object_id", "name"), [("\ud800", "x"), ("x", "\ud800")])
def test_target_without_a_utf8_form_is_not_built(object_id: str, name: str) -> None:
    with pytest.raises(LocalProtocolError, match="has no UTF-8 form"):
        build_target(object_id, name)


def test_target_cut_short_anywhere_before_its_name_is_refused() -> None:
    target = build_target("object", "name")
    for cut in range(2 + len("object")):
        with pytest.raises(RemoteProtocolError, match=f"request target of {cut} bytes is cut short"):
            parse_target(target[:cut])


# -- extras


@given(notes, buffers)
def test_extras_come_back_as_they_were_built(annotations: dict[int, bytes], parts: list[bytes]) -> None:
    extras = b"".join(build_extras(annotations, parts))
    if not annotations and not parts:
        assert extras == b""
        return
    found, views = parse_extras(extras)
    assert (found, [bytes(view) for view in views]) == (annotations, parts)
    assert parse_annotations(extras) == annotations


@given(notes, buffers, st.data())
def test_extras_with_a_changed_or_missing_part_are_parsed_or_refused(
    annotations: dict[int, bytes], parts: list[bytes], data: st.DataObject
) -> None:
    extras = bytearray(b"".join(build_extras(annotations, parts)) or bytes(4))
    at = data.draw(st.integers(0, len(extras) - 1))
    extras[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(extras)))
    for broken in (bytes(extras), bytes(extras[:cut]), memoryview(extras)):
        try:
            _, views = parse_extras(broken)
        except RemoteProtocolError:
            continue
        assert sum(len(view) for view in views) <= len(broken)


@given(st.binary(max_size=60))
def test_any_bytes_are_extras_or_a_remote_protocol_error(extras: bytes) -> None:
    for parse in (parse_annotations, parse_extras):
        try:
            parse(extras)
        except RemoteProtocolError:
            pass


def test_annotations_that_point_outside_short_extras_are_refused_by_name() -> None:
    # Found by these tests: the message itself raised IndexError.
    with pytest.raises(RemoteProtocolError, match="annotations of 5 bytes do not fit extras of 4 bytes"):
        parse_annotations(b"\x00\x05\x00\x00")


def test_buffers_that_cannot_change_stand_in_the_extras_uncopied_and_come_out_as_views() -> None:
    big = b"x" * 1000
    segments = build_extras({}, [big])
    assert segments[1] is big
    view = build_extras({}, [memoryview(big)[10:]])[1]
    assert isinstance(view, memoryview) and view.obj is big
    extras = bytearray(b"".join(segments))
    _, [view] = parse_extras(extras)
    extras[-1] = ord("!")
    assert view[-1] == ord("!")


def test_buffers_that_may_change_are_told_from_those_that_cannot_and_neither_is_copied() -> None:
    mine = bytearray(b"x" * 1000)
    for part in (mine, memoryview(mine), memoryview(mine).toreadonly()):
        sent = build_extras({}, [part])[1]
        mine[0] = ord("!")
        assert bytes(sent) == b"!" + b"x" * 999
        mine[0] = ord("x")
        assert may_change(sent)
    assert not may_change(b"x" * 1000)
    assert not may_change(memoryview(b"x" * 1000)[10:])


def test_extras_tell_which_large_buffers_become_objects_that_may_be_changed() -> None:
    large = bytearray(LARGE_FRAME_BYTES)
    view = memoryview(large)
    parts: list[Buffer] = [bytes(large), large, view.toreadonly(), bytearray(9), *[b""] * 5, view]
    annotations, buffers = parse_extras(b"".join(build_extras({Annotation.TRACE: b"t"}, parts)))
    assert annotations == {Annotation.TRACE: b"t", Annotation.WRITABLE: b"\x02\x02"}
    assert [bytes(buffer) for buffer in buffers] == [bytes(part) for part in parts]
    assert parse_annotations(b"".join(build_extras({}, [bytes(large), bytearray(9)]))) == {}


def test_chunks_that_are_settled_leave_as_they_were_then() -> None:
    mine = bytearray(b"x" * 100)
    chunks = build_chunks([b"head" * 5, memoryview(mine), b"tail"], 1, 40)
    first = b"".join(next(chunks))
    chunks.settle()
    mine[:] = b"!" * 100
    mine.append(1)  # nobody looks into it any more
    rest = b"".join(b"".join(chunk)[HEADER_BYTES:] for chunk in chunks)
    assert first[HEADER_BYTES:] + rest == b"head" * 5 + b"x" * 100 + b"tail"


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (memoryview(array("d", [1.0, 2.0])), array("d", [1.0, 2.0]).tobytes()),
        (memoryview(bytes(range(12))).cast("B", (3, 4)), bytes(range(12))),
        (memoryview(b"x").cast("B", ()), b"x"),
        (memoryview(b""), b""),
        (memoryview(array("d")), b""),
    ],
)
def test_buffer_of_any_shape_is_counted_in_bytes(part: memoryview, expected: bytes) -> None:
    extras = b"".join(build_extras({}, [part]))
    assert [bytes(view) for view in parse_extras(extras)[1]] == [expected]


@pytest.mark.parametrize("part", [memoryview(b"abcdef")[::2], memoryview(array("d", [1, 2, 3]))[::-1]])
def test_buffer_with_gaps_is_refused_with_the_way_out(part: memoryview) -> None:
    with pytest.raises(LocalProtocolError, match="is not one run of memory; copy it"):
        build_extras({}, [part])


def test_extras_hold_so_many_buffers_and_not_one_more() -> None:
    most: list[Buffer] = [b""] * MAX_BUFFERS
    assert len(parse_extras(b"".join(build_extras({}, most)))[1]) == MAX_BUFFERS
    with pytest.raises(LocalProtocolError, match="4097 out-of-band parts in one message, limit is 4096"):
        build_extras({}, [*most, b""])
    table = b"\x00\x00\x10\x01" + bytes(4 * 4097)
    with pytest.raises(RemoteProtocolError, match="table of 4097 out-of-band parts does not fit"):
        parse_extras(table)


def test_annotations_that_do_not_fit_their_length_field_are_not_built() -> None:
    assert parse_annotations(b"".join(build_extras({7: bytes(65532)}, []))) == {7: bytes(65532)}
    for too_much in ({7: bytes(65533)}, {7: bytes(70000)}, {1: bytes(40000), 2: bytes(40000)}):
        with pytest.raises(LocalProtocolError, match="do not fit 65535 bytes"):
            build_extras(too_much, [])


# -- frames and chunks


def test_frame_without_extras_is_one_segment_and_extras_follow_uncopied() -> None:
    assert len(build_frame(FrameType.REPLY, 0, 1, b"", b"body")) == 1
    big = bytes(100_000)
    segments = build_frame(FrameType.REPLY, 0, 1, b"", b"body", build_extras({}, [big]))
    assert segments[-1] is big
    assert HEADER.unpack_from(segments[0])[5] == sum(map(len, segments)) - HEADER_BYTES - 4


@given(
    body=st.binary(max_size=300), parts=buffers, annotations=notes, chunk_bytes=st.integers(HEADER_BYTES, 400),
    request_id=st.integers(0, 2**32 - 1), flags=st.integers(0, 255),
)
def test_frame_comes_back_from_chunks_of_any_size(
    body: bytes, parts: list[bytes], annotations: dict[int, bytes], chunk_bytes: int, request_id: int, flags: int
) -> None:
    target = build_target("object", "method")
    segments = build_frame(
        FrameType.REQUEST, flags, request_id, target, body, build_extras(annotations, parts)
    )
    chunks = [b"".join(chunk) for chunk in build_chunks(segments, request_id, chunk_bytes)]
    whole = b"".join(segments)
    assert b"".join(chunk[HEADER_BYTES:] for chunk in chunks) == whole
    assert all(HEADER_BYTES < len(chunk) <= HEADER_BYTES + chunk_bytes for chunk in chunks)
    assert [chunk[1] for chunk in chunks] == [Flag.MORE] * (len(chunks) - 1) + [0]
    machine = machine_in(Side.SERVER, State.READY)
    extras = whole[HEADER_BYTES + len(target) + len(body) :]
    expected = (FrameType.REQUEST, flags, request_id, target, body, extras)
    assert list(feed(machine, chunks)) == [expected]
    assert not machine.is_mid_frame()


def test_chunks_are_made_one_at_a_time_and_do_not_copy_buffers() -> None:
    big = memoryview(bytearray(b"x" * 1000))
    chunks = iter(build_chunks(build_frame(FrameType.REPLY, 0, 1, b"", b"", [big]), 1, 400))
    first = next(chunks)
    assert [len(part) for part in first] == [HEADER_BYTES, HEADER_BYTES, 400 - HEADER_BYTES]
    big[:] = b"y" * 1000
    assert bytes(first[-1]) == b"y" * (400 - HEADER_BYTES)
    assert sum(len(part) for chunk in chunks for part in chunk[1:]) == 1000 - 384


def test_chunks_accept_buffers_of_wider_items_through_build_extras() -> None:
    extras = build_extras({}, [memoryview(array("d", range(20)))])
    chunks = build_chunks(build_frame(FrameType.REPLY, 0, 1, b"", b"", extras), 1, 50)
    machine = machine_in(Side.CLIENT, State.READY)
    [frame] = feed(machine, (b"".join(chunk) for chunk in chunks))
    assert [bytes(view) for view in parse_extras(frame[5])[1]] == [array("d", range(20)).tobytes()]


@pytest.mark.parametrize("chunk_bytes", [-1, 0, 1, HEADER_BYTES - 1])
def test_chunks_too_small_for_a_header_are_not_built(chunk_bytes: int) -> None:
    with pytest.raises(LocalProtocolError, match=f"chunks of {chunk_bytes} bytes, at least 16 are needed"):
        list(build_chunks([bytes(100)], 1, chunk_bytes))
