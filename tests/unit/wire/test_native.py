"""The machine: whole conversations however they are cut, and its states.

Large frames, chunks and garbage have files of their own beside this one.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpyro.errors import LocalProtocolError, RemoteProtocolError
from gpyro.wire.native import (
    CALLS,
    HEADER,
    HEADER_BYTES,
    MAX_HANDSHAKE_BYTES,
    MAX_TARGET_BYTES,
    MAX_UNDECIDED_BYTES,
    PREFACE,
    RECEIVE,
    SEND,
    FrameType,
    Machine,
    Side,
    State,
    WireLimits,
    build_chunks,
    build_frame,
)
from tests.support.wire_pair import (
    NO_LOGIN,
    WITH_LOGIN,
    Lender,
    PlainFrame,
    WirePair,
    cut_evenly,
    drain,
    feed,
    fresh,
    machine_in,
    needs_preface,
    record_conversation,
)

T = FrameType
STATES = [
    (side, state)
    for side in Side
    for state in State
    if not (side is Side.CLIENT and state is State.DECIDING)
    and not (side is Side.SERVER and state in (State.GREETED, State.PROVED))
]

#: (receiving side, the whole of what the other side sent, what comes out, answers to give on the way)
Record = tuple[Side, bytes, list[PlainFrame], Mapping[int, int]]


def make_records() -> list[Record]:
    records: list[Record] = []
    for login in (False, True):
        pair = record_conversation(login)
        answers = WITH_LOGIN if login else NO_LOGIN
        records.append((Side.SERVER, bytes(pair.client.sent), pair.server.received, answers))
        records.append((Side.CLIENT, bytes(pair.server.sent), pair.client.received, answers))
    return records


RECORDS = make_records()
NAMES = ["to the server", "to the client", "to the server with login", "to the client with login"]


def frame_of(kind: int, request_id: int = 1, body: bytes = b"") -> bytes:
    """Return a frame of this type that breaks no rule but perhaps the table's."""
    if kind == T.CHUNK:
        [chunk] = build_chunks(build_frame(T.REPLY, 0, request_id, b"", body), request_id, 1000)
        return b"".join(chunk)
    return b"".join(build_frame(kind, 0, request_id, b"", body))


def boundaries(data: bytes) -> list[int]:
    """Return where frames of a record end, the preface's end included."""
    ends = [len(PREFACE)]
    while ends[-1] < len(data):
        _, _, target, _, body, extras = HEADER.unpack_from(data, ends[-1])
        ends.append(ends[-1] + HEADER_BYTES + int(target) + int(body) + int(extras))
    return ends


# -- conversations


@pytest.mark.parametrize("record", RECORDS, ids=NAMES)
def test_conversation_holds_what_was_sent_and_ends_leaving(record: Record) -> None:
    side, data, expected, answers = record
    machine = fresh(side)
    assert list(feed(machine, [data], answers)) == expected
    assert machine.state is State.LEAVING
    assert {frame[0] for frame in expected} >= {T.REQUEST, T.REPLY, T.GOAWAY, T.PONG}
    assert boundaries(data)[-1] == len(data)


@pytest.mark.parametrize("record", RECORDS, ids=NAMES)
@pytest.mark.parametrize("large_bytes", [64, 32 * 1024])
@pytest.mark.parametrize("into", [True, False])
def test_conversation_is_the_same_in_every_split_of_two(
    record: Record, large_bytes: int, into: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpyro.wire.native.LARGE_FRAME_BYTES", large_bytes)
    side, data, expected, answers = record
    for cut in range(len(data) + 1):
        lender = Lender()
        machine = fresh(side, None, lender)
        assert list(feed(machine, (data[:cut], data[cut:]), answers, into=into)) == expected, cut
        assert lender.out == []


@pytest.mark.parametrize("record", RECORDS, ids=NAMES)
@pytest.mark.parametrize("large_bytes", [64, 32 * 1024])
@pytest.mark.parametrize("limit", [1, 2, 32])
def test_conversation_is_the_same_in_pieces_of_any_even_size(
    record: Record, large_bytes: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpyro.wire.native.LARGE_FRAME_BYTES", large_bytes)
    side, data, expected, answers = record
    for size in range(1, 70):
        lender = Lender()
        machine = fresh(side, None, lender)
        assert list(feed(machine, cut_evenly(data, size), answers, limit=limit)) == expected, size
        assert lender.out == []
        assert not machine.is_mid_frame()


@pytest.mark.parametrize("record", RECORDS, ids=NAMES)
def test_truncated_conversation_yields_whole_frames_only_and_knows_that_it_is_cut(record: Record) -> None:
    side, data, expected, answers = record
    ends = boundaries(data)
    for cut in range(len(data)):
        machine = fresh(side)
        got = list(feed(machine, [data[:cut]], answers))
        assert got == expected[: len(got)]
        assert not machine.has_frames()
        if cut not in (0, *ends):
            assert machine.is_mid_frame()
        if cut in ends:
            assert machine.is_mid_frame() is bool(len(machine._messages))


def test_pair_of_machines_talks_in_pieces_of_one_byte() -> None:
    pair = WirePair()
    pair.client.send(T.HELLO)
    pair.pump(1)
    pair.server.send(T.WELCOME)
    pair.pump(1)
    pair.client.send(T.REQUEST, 0, 1, b"\0\1oadd", b"ab")
    pair.server.send(T.REQUEST, 0, 2, b"\x10\1ocall", b"cd")
    pair.pump(1)
    assert pair.server.received[-1] == (T.REQUEST, 0, 1, b"\0\1oadd", b"ab", b"")
    assert pair.client.received[-1] == (T.REQUEST, 0, 2, b"\x10\1ocall", b"cd", b"")


def test_handshake_frame_comes_out_alone_even_if_more_is_there() -> None:
    machine = fresh(Side.CLIENT)
    machine.receive_data(PREFACE + frame_of(T.WELCOME) + frame_of(T.PING) * 3)
    assert [frame[0] for frame in machine.next_frames()] == [T.WELCOME]
    assert machine.has_frames()
    assert [frame[0] for frame in machine.next_frames()] == [T.PING] * 3


def test_requests_behind_a_hello_wait_until_the_server_has_decided() -> None:
    machine = Machine(Side.SERVER)
    machine.receive_data(PREFACE + frame_of(T.HELLO) + frame_of(T.REQUEST))
    assert [frame[0] for frame in machine.next_frames()] == [T.HELLO]
    assert machine.next_frames() == []
    assert not machine.has_frames()
    assert machine.is_mid_frame()
    machine.sending(T.WELCOME)
    assert machine.has_frames()
    assert [frame[0] for frame in machine.next_frames()] == [T.REQUEST]


def test_requests_behind_a_hello_are_dropped_when_the_server_denies() -> None:
    machine = Machine(Side.SERVER)
    machine.receive_data(PREFACE + frame_of(T.HELLO) + frame_of(T.REQUEST))
    machine.next_frames()
    machine.sending(T.DENY)
    assert not machine.has_frames()
    assert machine.next_frames() == []
    assert not machine.is_mid_frame()


def test_requests_behind_a_hello_break_the_rules_if_the_server_asks_for_a_login() -> None:
    machine = Machine(Side.SERVER)
    machine.receive_data(PREFACE + frame_of(T.HELLO) + frame_of(T.REQUEST))
    machine.next_frames()
    machine.sending(T.CHALLENGE)
    assert machine.has_frames()
    with pytest.raises(RemoteProtocolError, match="peer sent REQUEST while server is challenged"):
        machine.next_frames()


def test_limit_bounds_a_batch_and_the_rest_is_kept() -> None:
    machine = machine_in(Side.SERVER, State.READY)
    machine.receive_data(frame_of(T.PING) * 70)
    assert [len(machine.next_frames()) for _ in range(4)] == [32, 32, 6, 0]


def test_frames_before_a_fault_come_out_before_it_is_raised() -> None:
    # Found by these tests: a batch with a fault in it lost the good frames before it, but only if they came in
    # one read.
    chunk = frame_of(T.CHUNK)
    bad_chunk = b"".join(build_frame(T.CHUNK, 2, 1))
    for fault in (frame_of(T.HELLO), frame_of(200), bad_chunk):
        machine = machine_in(Side.CLIENT, State.READY)
        machine.receive_data(frame_of(T.PING) + frame_of(T.PONG) + chunk + fault + frame_of(T.PING))
        got = []
        with pytest.raises(RemoteProtocolError):
            for _ in range(10):
                assert machine.has_frames()
                got += [frame[0] for frame in machine.next_frames()]
        assert got == [T.PING, T.PONG, T.REPLY]
        assert machine.state is State.FAILED


# -- states


@pytest.mark.parametrize(("side", "state"), STATES)
def test_every_type_is_received_exactly_where_the_table_has_it(side: Side, state: State) -> None:
    allowed = RECEIVE.get((side, state), {})
    for kind in range(256):
        machine = machine_in(side, state)
        if state in (State.CLOSED, State.FAILED):
            opening = b""
        else:
            opening = PREFACE if needs_preface(machine) else b""
        machine.receive_data(opening + frame_of(kind))
        if kind in allowed:
            [frame] = machine.next_frames()
            # What was in the chunk comes out, in the state that the chunk was allowed in.
            assert frame[0] == (T.REPLY if kind == T.CHUNK else kind)
            assert machine.state is allowed[kind]
            assert machine.next_frames() == []
        elif allowed or state is State.FAILED:
            with pytest.raises(RemoteProtocolError):
                machine.next_frames()
            assert machine.state is State.FAILED
        else:
            assert machine.next_frames() == []
            assert machine.state is state
        assert not machine.has_frames() or machine.state is State.FAILED


@pytest.mark.parametrize(("side", "state"), STATES)
def test_every_type_is_sent_exactly_where_the_table_has_it(side: Side, state: State) -> None:
    allowed = SEND.get((side, state), {})
    for kind in FrameType:
        machine = machine_in(side, state)
        if kind in allowed:
            machine.sending(kind)
            assert machine.state is allowed[kind]
        else:
            words = f"{side.value} may not send {kind.name} while {state.value}"
            with pytest.raises(LocalProtocolError, match=words):
                machine.sending(kind)
            assert machine.state is state


def test_nothing_is_allowed_before_its_time_by_the_table_itself() -> None:
    served = CALLS | {T.CANCEL, T.PING, T.PONG, T.GOAWAY, T.CHUNK}
    for (_, state), moves in RECEIVE.items():
        if state not in (State.READY, State.LEAVING):
            assert not served & set(moves)
    for (side, state), moves in SEND.items():
        if state not in (State.READY, State.LEAVING) and (side, state) != (Side.CLIENT, State.GREETED):
            assert not served & set(moves)
    for moves in [*RECEIVE.values(), *SEND.values()]:
        assert not {T.STREAM_ITEM, T.STREAM_END, T.STREAM_CREDIT} & set(moves)


@pytest.mark.parametrize("state", [State.NEW, State.CHALLENGED, State.DECIDING])
@settings(max_examples=150, deadline=None)
@given(kinds=st.lists(st.sampled_from([*FrameType, 0, 99]), max_size=12), seed=st.integers(0, 1000))
def test_no_sequence_of_frames_before_login_yields_a_request(state: State, kinds: list[int], seed: int) -> None:
    machine = machine_in(Side.SERVER, state)
    data = (PREFACE if needs_preface(machine) else b"") + b"".join(frame_of(kind) for kind in kinds)
    cut = random.Random(seed).randrange(len(data) + 1)
    got: list[PlainFrame] = []
    try:
        # The server answers nothing, so it never comes further than to a decision.
        got.extend(feed(machine, (data[:cut], data[cut:]), answers={}))
    except RemoteProtocolError:
        assert machine.state is State.FAILED
    assert all(frame[0] in (T.HELLO, T.PROOF) for frame in got)
    assert len(got) <= 1
    assert machine.state in (state, State.DECIDING, State.FAILED)


@settings(max_examples=150, deadline=None)
@given(order=st.permutations([T.HELLO, T.PROOF, T.REQUEST, T.PING, T.GOAWAY, T.REPLY]), login=st.booleans())
def test_reordered_frames_follow_the_table_or_fail(order: list[FrameType], login: bool) -> None:
    state, expected, failed = State.NEW, [], False
    answers = WITH_LOGIN if login else NO_LOGIN
    for kind in order:
        allowed = RECEIVE.get((Side.SERVER, state), {})
        if kind not in allowed:
            failed = True
            break
        state = allowed[kind]
        expected.append(kind)
        if kind in answers:
            state = SEND[Side.SERVER, state][answers[kind]]
    machine = Machine(Side.SERVER)
    got = []
    try:
        for frame in feed(machine, [PREFACE + b"".join(map(frame_of, order))], answers):
            got.append(frame[0])
    except RemoteProtocolError:
        assert failed
    assert got == expected
    assert machine.state is (State.FAILED if failed else state)


def test_failed_machine_raises_the_same_again_and_holds_nothing() -> None:
    machine = machine_in(Side.SERVER, State.READY)
    machine.receive_data(frame_of(T.HELLO) + bytes(1000))
    for _ in range(3):
        with pytest.raises(RemoteProtocolError, match="peer sent HELLO while server is ready"):
            machine.next_frames()
        assert not machine.is_mid_frame()
        assert machine.has_frames()
        assert machine.wants_into() is None
        machine.receive_data(frame_of(T.REQUEST))
    with pytest.raises(LocalProtocolError, match="server may not send REPLY while failed"):
        machine.sending(T.REPLY)
    assert "failed" in repr(machine)


@pytest.mark.parametrize(("side", "state"), STATES)
def test_closed_machine_drops_what_comes_without_an_error(side: Side, state: State) -> None:
    machine = machine_in(side, state)
    machine.receive_data(b"PYRO")
    machine.close()
    for _ in range(3):
        assert machine.state is State.CLOSED
        assert machine.next_frames() == []
        assert not machine.has_frames()
        assert not machine.is_mid_frame()
        machine.receive_data(PREFACE + frame_of(T.HELLO) + b"garbage")
    assert repr(machine).startswith(f"<Machine {side.value} closed,")


# -- limits


@pytest.mark.parametrize(
    ("target", "body", "extras", "words"),
    [
        (MAX_TARGET_BYTES + 1, 0, 0, "frame target is 513 bytes, limit is 512"),
        (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, "frame target is 65535 bytes, limit is 512"),
        (0, 100_000 - 15, 0, "frame is 100001 bytes, limit is 100000"),
        (0, 0, 100_000 - 15, "frame is 100001 bytes, limit is 100000"),
        (5, 50_000, 50_000 - 20, "frame is 100001 bytes, limit is 100000"),
        (0, 2**31, 0, r"frame is 2147483664 bytes, limit is 100000 \(max_message_bytes\)"),
        (0, 0xFFFFFFFF, 0xFFFFFFFF, "frame is 8589934606 bytes, limit is 100000"),
    ],
)
@pytest.mark.parametrize("kind", [T.REQUEST, T.PING, T.GOAWAY, T.CHUNK])
def test_frame_above_a_limit_is_refused_at_its_header_and_no_buffer_is_asked_for(
    kind: FrameType, target: int, body: int, extras: int, words: str
) -> None:
    for ahead in (b"", bytes(500)):
        lender = Lender()
        machine = machine_in(Side.SERVER, State.READY, WireLimits(max_message_bytes=100_000), lender)
        machine.receive_data(HEADER.pack(kind, 0, target, 1, body, extras) + ahead)
        assert machine.has_frames()
        with pytest.raises(RemoteProtocolError, match=words):
            machine.next_frames()
        assert lender.asked == []


@pytest.mark.parametrize("request_id", [0, 1, 0xFFFFFFFF])
def test_frame_of_exactly_the_limit_is_taken(request_id: int) -> None:
    limits = WireLimits(max_message_bytes=100_000)
    data = b"".join(build_frame(T.REQUEST, 0, request_id, b"\0\1o", bytes(100_000 - 16 - 3)))
    assert len(data) == 100_000
    for size in (100_000, 70_001, 999):
        lender = Lender()
        machine = machine_in(Side.SERVER, State.READY, limits, lender)
        [frame] = feed(machine, cut_evenly(data, size))
        assert frame[2] == request_id
        assert len(frame[4]) == 100_000 - 19


@pytest.mark.parametrize(
    ("side", "state", "kind"),
    [(side, state, kind) for (side, state), moves in RECEIVE.items() for kind in moves if kind < 16],
)
def test_handshake_frame_has_its_own_limit_whatever_messages_may_have(
    side: Side, state: State, kind: FrameType
) -> None:
    for limits in (None, WireLimits(max_message_bytes=64)):
        for size, is_taken in ((MAX_HANDSHAKE_BYTES, True), (MAX_HANDSHAKE_BYTES + 1, False)):
            machine = machine_in(side, state, limits)
            opening = PREFACE if needs_preface(machine) else b""
            machine.receive_data(opening + frame_of(kind, 0, bytes(size - HEADER_BYTES)))
            if is_taken:
                assert len(machine.next_frames()) == 1
            else:
                with pytest.raises(RemoteProtocolError, match="handshake frame is 513 bytes, limit is 512"):
                    machine.next_frames()


@pytest.mark.parametrize(
    ("side", "state"),
    [(Side.CLIENT, State.NEW), (Side.CLIENT, State.CHALLENGED), (Side.SERVER, State.DECIDING)],
)
def test_bytes_that_wait_for_a_decision_are_bounded(side: Side, state: State) -> None:
    machine = machine_in(side, state)
    piece = frame_of(T.REQUEST, 1, bytes(65536 - HEADER_BYTES))
    if needs_preface(machine):
        machine.receive_data(PREFACE)
    with pytest.raises(RemoteProtocolError, match=f"wait for {side.value} {state.value}, limit is 4194304"):
        for _ in range(65):
            machine.receive_data(piece)
            assert machine.next_frames() == []
    assert not machine.is_mid_frame()
    assert MAX_UNDECIDED_BYTES < 4194304


def test_small_limits_still_let_one_read_wait_for_a_decision() -> None:
    machine = machine_in(Side.SERVER, State.DECIDING, WireLimits(max_message_bytes=64))
    machine.receive_data(frame_of(T.PING) * 16384)
    assert machine.next_frames() == []
    machine.sending(T.WELCOME)
    assert sum(1 for _ in drain(machine)) == 16384


# -- the preface


def test_wrong_preface_is_refused_at_its_first_wrong_byte() -> None:
    for at in range(len(PREFACE)):
        for side in Side:
            machine = fresh(side)
            machine.receive_data(PREFACE[:at])
            assert machine.next_frames() == []
            assert not machine.has_frames()
            machine.receive_data(b"\xff")
            assert machine.has_frames()
            with pytest.raises(RemoteProtocolError, match="the connection opens with "):
                machine.next_frames()


def test_silence_and_a_lone_preface_are_not_mid_frame() -> None:
    machine = fresh(Side.SERVER)
    assert not machine.is_mid_frame()
    machine.receive_data(b"")
    assert machine.next_frames() == []
    machine.receive_data(PREFACE)
    assert machine.next_frames() == []
    assert not machine.is_mid_frame()
    machine.receive_data(b"\x01")
    assert machine.is_mid_frame()


def test_repr_tells_side_state_and_what_is_held() -> None:
    machine = machine_in(Side.SERVER, State.READY)
    assert repr(machine) == "<Machine server ready, 0 bytes held>"
    machine.receive_data(frame_of(T.PING)[:7])
    assert repr(machine) == "<Machine server ready, 7 bytes held>"
    machine = machine_in(Side.CLIENT, State.READY)
    machine.receive_data(b"".join(build_frame(T.REPLY, 0, 1, b"", bytes(70_000)))[:50_000])
    machine.next_frames()
    assert repr(machine) == "<Machine client ready, 50000 bytes held>"


def test_machine_that_has_nothing_left_to_parse_does_not_hold_on_to_what_was_read() -> None:
    # An idle connection would otherwise keep its last read, 64 KiB of it perhaps.
    machine = machine_in(Side.SERVER, State.READY)
    data = frame_of(T.PING) * 4_000
    before = sys.getrefcount(data)
    machine.receive_data(data)
    while machine.next_frames():
        pass
    assert sys.getrefcount(data) == before
