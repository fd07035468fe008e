"""Events, and how their messages travel: packed once by the publisher, unpacked by each subscriber.

The server between them passes bytes on. It needs none of the classes that a message is made of, and what it has to
do for an event does not depend on what is in it.

    byte 0   0: the body of a value follows
             1: a MessagePack array follows, of the body and the parts beside it
    rest     see `gpyro.serializers`
"""

from __future__ import annotations

import time
from typing import Any

from ormsgpack import packb, unpackb

from gpyro._connection.references import AddressesOnly
from gpyro.errors import SerializationError
from gpyro.serializers import NOT_REGISTERED, Codec, register

__all__ = ["Event", "pack_message", "unpack_message"]

#: Objects travel by their addresses: an event outlives the connection that it came over.
_codec = Codec(references=AddressesOnly())
_PLAIN, _PARTS = b"\0", b"\1"


def pack_message(message: Any) -> bytes:
    """Return a message as bytes.

    Raises:
        SerializationError: it cannot travel; the error names what of it.
    """
    try:
        body, parts = _codec.encode_value(message, "message")
    except SerializationError as exc:
        if NOT_REGISTERED not in str(exc):
            raise
        raise SerializationError(
            f"{exc}, publisher and subscribers; by_value never applies to messages of events"
        ) from None
    if not parts:
        return _PLAIN + body
    return _PARTS + packb([bytes(body), *(bytes(part) for part in parts)])


def unpack_message(payload: bytes) -> Any:
    """Return the message that `pack_message` has packed, made anew.

    Raises:
        RemoteProtocolError, NoModuleError, SerializationError: as `gpyro.serializers.Codec.decode_value`.
    """
    view = memoryview(payload)
    if payload[:1] == _PLAIN:
        return _codec.decode_value(view[1:])
    if payload[:1] == _PARTS:
        pieces = unpackb(view[1:])
        if type(pieces) is list and len(pieces) > 1 and all(type(piece) is bytes for piece in pieces):
            return _codec.decode_value(pieces[0], pieces[1:])
    raise SerializationError(f"this is no packed message: {payload[:20]!r}")


class Event:
    """Something that was published: what a subscriber's `event` method gets.

    Attributes:
        subject: as the publisher spelled it.
        msg: the message; unpacked when it is first asked for, which fails as decoding does.
        time: when the event server got it, in seconds since 1970; all events of one `publish` have the same.
        sequence: its number among all events of the server, 0 where it has not been at one.
        deliveries: how often it has been sent out for a reliable queue, this time included; 1 otherwise.

    Source: Pyro 3 manual, chapter 6; Pyro.EventService.Event.
    """

    __slots__ = ("_message", "_payload", "deliveries", "sequence", "subject", "time")

    def __init__(self, subject: str, msg: Any, creationTime: float | None = None) -> None:
        self.subject = subject
        self.time = time.time() if creationTime is None else creationTime
        self.sequence = 0
        self.deliveries = 1
        self._message = msg
        self._payload: bytes | None = None

    @classmethod
    def received(cls, subject: str, payload: bytes, time: float, sequence: int, deliveries: int = 1) -> Event:
        """Make the event of what came from a server; its message stays packed until somebody looks."""
        self = cls.__new__(cls)
        self.subject, self.time, self.sequence, self.deliveries = subject, time, sequence, deliveries
        self._payload = payload
        return self

    @property
    def msg(self) -> Any:
        """The message."""
        try:
            return self._message
        except AttributeError:
            pass
        assert self._payload is not None
        self._message = unpack_message(self._payload)
        return self._message

    @msg.setter
    def msg(self, message: Any) -> None:
        self._message = message
        self._payload = None

    def packed(self) -> bytes:
        """Return the message as it travels; one that came packed goes on as it came."""
        return pack_message(self._message) if self._payload is None else self._payload

    def __str__(self) -> str:
        return f"<EVENT SUBJ {self.subject} ({time.ctime(self.time)}): {self.msg}>"

    def __repr__(self) -> str:
        return f"<Event {self.sequence} {self.subject!r}>"


def _state_of(event: Event) -> tuple[Any, ...]:
    return event.subject, event.packed(), event.time, event.sequence, event.deliveries


def _from_state(state: Any) -> Event:
    subject, payload, created, sequence, deliveries = state
    kinds = (type(subject), type(payload), type(created), type(sequence), type(deliveries))
    if kinds != (str, bytes, float, int, int):
        raise SerializationError(f"an event of {', '.join(kind.__name__ for kind in kinds)}")
    return Event.received(subject, payload, created, sequence, deliveries)


register(Event, name="gpyro.Event", to_state=_state_of, from_state=_from_state)
