"""Tells by the first bytes of a connection who is calling, and how to send strangers away.

Six bytes decide: `PYRO` and a 2-byte version for the Pyro family, a verb for HTTP, a record header for TLS. A
stranger gets an answer in its own language where it has one, then the connection closes. None of the answers
depends on what the stranger said, so that a port cannot be made to speak for somebody else.
"""

from __future__ import annotations

import enum
import struct

from gpyro.wire.native import PREFACE

__all__ = ["Dialect", "build_farewell", "describe", "sniff"]

#: What decides; fewer bytes decide where they already differ from everything known.
SNIFF_BYTES = 6

_HTTP_VERBS = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE", b"OPTION", b"PATCH ", b"CONNEC", b"TRACE ",
               b"PRI * ")


class Dialect(enum.Enum):
    """Who is calling."""

    UNDECIDED = "not enough bytes yet"
    NATIVE = "gpyro"
    OTHER_NATIVE = "another version of gpyro"
    PYRO3 = "Pyro 3"
    PYRO4 = "Pyro 4"
    PYRO5 = "Pyro 5"
    OTHER_PYRO = "an unknown version of Pyro"
    HTTP = "HTTP"
    TLS = "TLS"
    UNKNOWN = "an unknown protocol"


def sniff(head: bytes) -> Dialect:
    """Name the dialect that a connection's first bytes belong to; it needs at most SNIFF_BYTES of them."""
    head = head[:SNIFF_BYTES]
    if head == PREFACE:
        return Dialect.NATIVE
    if len(head) == SNIFF_BYTES and head.startswith(b"PYRO"):
        return _pyro_version(head[4:6])
    if head.startswith(_HTTP_VERBS):
        return Dialect.HTTP
    if any(verb.startswith(head) for verb in _HTTP_VERBS):
        return Dialect.UNDECIDED
    # TLS record: handshake (22), version 3.x
    if head[:1] == b"\x16" and head[1:2] in (b"", b"\x03"):
        return Dialect.TLS if len(head) >= 2 else Dialect.UNDECIDED
    return Dialect.UNDECIDED if b"PYRO".startswith(head[:4]) and len(head) < SNIFF_BYTES else Dialect.UNKNOWN


def _pyro_version(version: bytes) -> Dialect:
    if version[:1] == PREFACE[4:5]:
        return Dialect.OTHER_NATIVE
    number = int.from_bytes(version, "big")
    known = {5: Dialect.PYRO3, 502: Dialect.PYRO5, **dict.fromkeys(range(44, 50), Dialect.PYRO4)}
    return known.get(number, Dialect.OTHER_PYRO)


def describe(dialect: Dialect) -> str:
    """Say in one sentence why the connection is closed."""
    return f"this port speaks gpyro's own protocol; the caller speaks {dialect.value}"


def build_farewell(dialect: Dialect) -> bytes:
    """Return what a stranger gets before the close; empty where silence is the clear answer."""
    text = describe(dialect).encode()
    if dialect is Dialect.HTTP:
        return (
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s\n" % (len(text) + 1, text)
        )
    if dialect is Dialect.TLS:
        # Alert record, fatal, unexpected_message (10): what a server without TLS can truthfully say.
        return b"\x15\x03\x01\x00\x02\x02\x0a"
    if dialect is Dialect.PYRO3:
        # Seven unframed bytes with Pyro's reason 0, where the client expects the challenge.
        return b"DENIED0"
    if dialect is Dialect.PYRO5:
        return _pyro5_connect_fail(text)
    return b""


def _pyro5_connect_fail(text: bytes) -> bytes:
    """A CONNECTFAIL message (type 3) with the reason as a serpent literal. Source: Pyro 5 wire, 2.1."""
    body = b"# serpent utf-8 python3.2\n'" + text.replace(b"'", b"") + b"'"
    header = struct.pack(
        "!4sHBBHHII16sHH", b"PYRO", 502, 3, 1, 0, 0, len(body), 0, bytes(16), 0, 0x4DC5
    )
    return header + body
