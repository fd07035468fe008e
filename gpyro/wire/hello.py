"""What the two sides tell each other first: the bodies of HELLO, CHALLENGE, PROOF, WELCOME and DENY.

A greeting is a fixed part of 28 bytes

    features u32 | runs u8 | mechanism u8 | heartbeat u16 | max message u32 | instance id 16 bytes

followed by fields, each a tag u8, a length u16 and data. Unknown tags are skipped, so that later versions can
say more. Nothing here is deserialised beyond that.

HELLO is a greeting, and so is the server's first frame: WELCOME, or CHALLENGE where it wants a login (`login.py`).
PROOF, and the WELCOME behind it, are fields alone.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from gpyro.errors import LocalProtocolError, RemoteProtocolError
from gpyro.wire.native import HEADER_BYTES, MAX_HANDSHAKE_BYTES

__all__ = [
    "Feature", "Field", "Greeting", "Mechanism", "build_denial", "build_fields", "parse_denial", "parse_fields",
]  # fmt: skip

_FIXED = struct.Struct("!IBBHI16s")

#: What a handshake frame leaves for its body.
MAX_BODY_BYTES: Final = MAX_HANDSHAKE_BYTES - HEADER_BYTES


class Feature(enum.IntFlag):
    """What a side understands; a feature is used where both have it."""

    CHUNKS = 0x01  # messages larger than max_message_bytes
    BUFFERS = 0x02  # out-of-band parts
    CALLBACKS = 0x04  # requests from the server to the client, objects of this connection
    CANCEL = 0x08
    DEADLINES = 0x10
    STREAMS = 0x20  # set aside
    PICKLE = 0x40  # this side speaks pickle, and nothing else; never negotiated, both have it or none


#: What this version has.
FEATURES = (
    Feature.CHUNKS | Feature.BUFFERS | Feature.CALLBACKS | Feature.CANCEL | Feature.DEADLINES
)


class Mechanism(enum.IntEnum):
    """How a side wants to prove who it is."""

    NONE = 0
    GPYRO_AUTH_1 = 1  # mutual proof of a key or passphrase
    CUSTOM = 255  # a validator's own challenge and token


class Field(enum.IntEnum):
    """Tags of the fields behind the fixed part."""

    IDENTITY = 1
    NONCE = 2
    CHALLENGE = 3
    PROOF = 4
    AGENT = 5
    REASON = 6
    KDF = 7
    SALT = 8
    BINDING = 9
    TEXT = 10  # empty; the PROOF beside it is UTF-8


class Greeting(NamedTuple):
    """One side's HELLO or WELCOME.

    `runs` says that this side's hub runs by itself, so that it answers pings without being called into.
    `heartbeat_seconds` 0 means that it sends none. `instance` names the process for its life.
    """

    features: int = int(FEATURES)
    runs: bool = False
    mechanism: int = Mechanism.NONE
    heartbeat_seconds: int = 0
    max_message_bytes: int = 0
    instance: bytes = bytes(16)
    fields: Mapping[int, bytes] = MappingProxyType({})

    def build(self) -> bytes:
        """Pack it; the counterpart of `parse`.

        Raises:
            LocalProtocolError: the fields make it longer than a handshake frame may be.
        """
        size = _FIXED.size + sum(3 + len(data) for data in self.fields.values())
        if size > MAX_BODY_BYTES:
            raise LocalProtocolError(
                f"greeting with fields {sorted(map(int, self.fields))} is {size} bytes, limit is {MAX_BODY_BYTES}"
            )
        fixed = _FIXED.pack(
            self.features, self.runs, self.mechanism, self.heartbeat_seconds, self.max_message_bytes,
            self.instance,
        )
        return fixed + build_fields(self.fields)

    @classmethod
    def parse(cls, body: bytes) -> Greeting:
        """Unpack the body of a HELLO or WELCOME.

        Raises:
            RemoteProtocolError: it is cut short.
        """
        if len(body) < _FIXED.size:
            raise RemoteProtocolError(f"greeting of {len(body)} bytes is cut short, {_FIXED.size} are needed")
        features, runs, mechanism, heartbeat, max_message, instance = _FIXED.unpack_from(body)
        return cls(
            features, bool(runs & 1), mechanism, heartbeat, max_message, instance,
            parse_fields(body[_FIXED.size :]),
        )


def build_denial(code: int, reason: str) -> bytes:
    """Pack the body of a DENY: Pyro's reason code and a text for people, cut to 300 bytes."""
    cut = reason.encode(errors="replace")[:300].decode(errors="ignore")
    return bytes((code,)) + build_fields({Field.REASON: cut.encode()})


def parse_denial(body: bytes) -> tuple[int, str]:
    """Return reason code and text of a DENY.

    Raises:
        RemoteProtocolError: a field is cut short.
    """
    if not body:
        return 0, ""
    return body[0], parse_fields(body[1:]).get(Field.REASON, b"").decode(errors="replace")


def build_fields(fields: Mapping[int, bytes]) -> bytes:
    """Pack fields; the counterpart of `parse_fields`."""
    return b"".join(struct.pack("!BH", tag, len(data)) + data for tag, data in fields.items())


def parse_fields(data: bytes) -> dict[int, bytes]:
    """Unpack fields.

    Raises:
        RemoteProtocolError: one is cut short.
    """
    fields: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at + 1 : at + 3], "big")
        if at + 3 + size > len(data):
            raise RemoteProtocolError(f"greeting field {data[at]} is cut short at byte {at}")
        fields[data[at]] = data[at + 3 : at + 3 + size]
        at += 3 + size
    return fields
