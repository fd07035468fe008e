"""Greetings and denials: bodies of HELLO, WELCOME and DENY."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpyro.errors import LocalProtocolError, RemoteProtocolError
from gpyro.wire.hello import (
    FEATURES,
    MAX_BODY_BYTES,
    Feature,
    Field,
    Greeting,
    Mechanism,
    build_denial,
    parse_denial,
)
from gpyro.wire.native import MAX_HANDSHAKE_BYTES, PREFACE, FrameType, Machine, Side, State, build_frame

greetings = st.builds(
    Greeting,
    features=st.integers(0, 2**32 - 1),
    runs=st.booleans(),
    mechanism=st.integers(0, 255),
    heartbeat_seconds=st.integers(0, 65535),
    max_message_bytes=st.integers(0, 2**32 - 1),
    instance=st.binary(min_size=16, max_size=16),
    fields=st.dictionaries(st.integers(0, 255), st.binary(max_size=60), max_size=7),
)


@given(greetings)
def test_greeting_comes_back_as_it_was_built(greeting: Greeting) -> None:
    assert Greeting.parse(greeting.build()) == greeting


@given(st.binary(max_size=600))
def test_any_bytes_are_a_greeting_or_a_remote_protocol_error(body: bytes) -> None:
    try:
        greeting = Greeting.parse(body)
    except RemoteProtocolError:
        return
    assert len(body) >= 28
    assert sum(len(data) for data in greeting.fields.values()) <= len(body)


@given(st.binary(max_size=600))
def test_any_bytes_are_a_denial_or_a_remote_protocol_error(body: bytes) -> None:
    try:
        code, text = parse_denial(body)
    except RemoteProtocolError:
        return
    assert 0 <= code <= 255
    assert len(text) <= len(body)


def test_greeting_cut_anywhere_but_between_its_fields_is_refused() -> None:
    whole = Greeting(fields={Field.IDENTITY: b"me", Field.AGENT: b"gpyro"}).build()
    boundaries = {28: 0, 28 + 5: 1, 28 + 5 + 8: 2}
    for cut in range(len(whole) + 1):
        if cut in boundaries:
            assert len(Greeting.parse(whole[:cut]).fields) == boundaries[cut]
        else:
            with pytest.raises(RemoteProtocolError, match="cut short"):
                Greeting.parse(whole[:cut])


def test_unknown_field_is_kept_beside_the_known_ones() -> None:
    body = Greeting(fields={Field.AGENT: b"x"}).build() + b"\xee\x00\x02hi"
    assert Greeting.parse(body).fields == {Field.AGENT: b"x", 0xEE: b"hi"}


def test_field_that_comes_twice_counts_as_its_last() -> None:
    body = Greeting().build() + b"\x05\x00\x01a" + b"\x05\x00\x01b"
    assert Greeting.parse(body).fields == {Field.AGENT: b"b"}


def test_unknown_bits_beside_runs_are_ignored() -> None:
    body = bytearray(Greeting(runs=False).build())
    body[4] = 0xFE
    assert Greeting.parse(bytes(body)).runs is False
    body[4] = 0xFF
    assert Greeting.parse(bytes(body)).runs is True


def test_greeting_says_by_default_what_this_version_has() -> None:
    greeting = Greeting.parse(Greeting().build())
    assert greeting.features == FEATURES
    assert not greeting.features & Feature.STREAMS
    assert greeting.mechanism == Mechanism.NONE
    assert type(greeting.features) is int


def test_largest_greeting_that_can_be_built_is_taken_and_the_next_is_refused_before_it_is_sent() -> None:
    room = MAX_BODY_BYTES - 28 - 3
    body = Greeting(fields={Field.IDENTITY: bytes(room)}).build()
    machine = Machine(Side.SERVER)
    machine.receive_data(PREFACE + b"".join(build_frame(FrameType.HELLO, body=body)))
    [frame] = machine.next_frames()
    assert len(frame[4]) == MAX_HANDSHAKE_BYTES - 16
    assert machine.state is State.DECIDING
    with pytest.raises(LocalProtocolError, match=r"greeting with fields \[1\] is 497 bytes, limit is 496"):
        Greeting(fields={Field.IDENTITY: bytes(room + 1)}).build()
    with pytest.raises(LocalProtocolError, match="is 70031 bytes, limit is 496"):
        Greeting(fields={Field.IDENTITY: bytes(70_000)}).build()


def test_denial_keeps_its_code_and_text() -> None:
    assert parse_denial(build_denial(1, "voll für heute")) == (1, "voll für heute")
    assert parse_denial(build_denial(0, "")) == (0, "")


def test_denial_without_body_or_without_text_reads_as_nothing_said() -> None:
    assert parse_denial(b"") == (0, "")
    assert parse_denial(b"\x03") == (3, "")


def test_long_denial_is_cut_to_300_bytes_between_two_characters() -> None:
    body = build_denial(2, "x" + "ü" * 500)
    assert parse_denial(body) == (2, "x" + "ü" * 149)
    assert len(body) <= MAX_BODY_BYTES


def test_denial_with_text_that_has_no_utf8_form_is_still_a_denial() -> None:
    assert parse_denial(build_denial(3, "bad \udc80 name")) == (3, "bad ? name")


def test_denial_whose_text_is_not_utf8_is_read_with_replacement() -> None:
    assert parse_denial(b"\x03\x06\x00\x02a\xff") == (3, "a\ufffd")


def test_denial_ignores_fields_of_later_versions() -> None:
    assert parse_denial(build_denial(1, "full") + b"\xee\x00\x01!") == (1, "full")
