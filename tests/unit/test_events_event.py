"""Events and how their messages are packed."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ormsgpack import packb

from gpyro._events.event import Event, pack_message, unpack_message
from gpyro.errors import PyroError, SerializationError
from gpyro.eventserver import Event as Exported
from gpyro.serializers import Codec


def test_event_has_what_pyros_has() -> None:
    before = time.time()
    event = Exported("a", {"k": [1]})
    assert (event.subject, event.msg, event.sequence, event.deliveries) == ("a", {"k": [1]}, 0, 1)
    assert before <= event.time <= time.time()
    assert Event("a", 1, creationTime=86400.0).time == 86400.0


def test_event_as_text_tells_subject_time_and_message() -> None:
    text = str(Event("a", {"k": [1]}, 0.0))
    assert text == f"<EVENT SUBJ a ({time.ctime(0.0)}): {{'k': [1]}}>"
    assert repr(Event("a", 1)) == "<Event 0 'a'>"


def test_message_is_unpacked_when_it_is_first_looked_at_and_once() -> None:
    event = Event.received("a", pack_message([1]), 1.0, 7)
    assert event.msg is event.msg
    event.msg.append(2)
    assert event.msg == [1, 2]
    broken = Event.received("a", b"\0\xc1", 1.0, 7)
    with pytest.raises(PyroError):
        _ = broken.msg


def test_event_travels_by_value_with_its_message_packed_as_it_came() -> None:
    codec = Codec()
    event = Event.received("a", pack_message((1, b"x" * 10_000)), 1.5, 7, 3)
    body, parts = codec.encode_value(event)
    again = codec.decode_value(body, parts)
    assert isinstance(again, Event)
    assert (again.subject, again.msg, again.time, again.sequence, again.deliveries) == (
        "a", (1, b"x" * 10_000), 1.5, 7, 3,
    )  # fmt: skip
    event.msg = "another one"
    assert codec.decode_value(codec.encode_value(event)[0]).msg == "another one"


@pytest.mark.parametrize("state", [(), (1, b"", 1.0, 1, 1), ("a", "text", 1.0, 1, 1), ("a", b"", 1, 1, 1)])
def test_event_with_another_state_is_refused(state: tuple[object, ...]) -> None:
    from gpyro._events.event import _from_state

    with pytest.raises((SerializationError, ValueError)):
        _from_state(state)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\2", b"\1", b"\1" + packb([b"x"]), b"\1" + packb([b"x", 1]), b"\1" + packb({}), b"\0", b"\1\xc1"],
)
def test_bytes_that_are_no_packed_message_are_refused(payload: bytes) -> None:
    with pytest.raises((PyroError, ValueError)):
        unpack_message(payload)


@given(st.binary(max_size=60))
def test_no_bytes_do_anything_but_give_a_value_or_an_error(payload: bytes) -> None:
    try:
        unpack_message(payload)
    except (PyroError, ValueError):
        pass


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=6000),
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=10,
)  # fmt: skip


@given(VALUES)
def test_what_is_packed_comes_back_the_same(value: object) -> None:
    assert unpack_message(pack_message(value)) == value


class Order:
    """Never registered."""


def test_message_of_an_own_class_is_refused_with_the_way_out_that_holds_for_events() -> None:
    with pytest.raises(SerializationError) as info:
        pack_message({"order": [Order()]})
    text = str(info.value)
    assert text.startswith("message -> 'order' -> [0]: ")
    assert text.endswith(
        "gpyro.register(Order) on both sides, publisher and subscribers; "
        "by_value never applies to messages of events"
    )
    with pytest.raises(SerializationError) as info:
        pack_message(lambda: 0)
    assert "by_value" not in str(info.value)
