"""Who is calling, told by a few bytes, and what strangers get."""

from __future__ import annotations

import ast
import ssl
import struct
from http.client import HTTPResponse
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpyro.wire.native import PREFACE
from gpyro.wire.sniff import SNIFF_BYTES, Dialect, build_farewell, describe, sniff

PYRO3_HEADER = struct.pack("!4sHHlHl", b"PYRO", 5, 18, 10, 0, 0)
PYRO5_HEADER = struct.pack("!4sHBBHHII16sHH", b"PYRO", 502, 1, 1, 0, 0, 60, 0, bytes(16), 0, 0x4DC5)
#: A Pyro 4 header begins alike; 48 is the version of its last releases.
PYRO4_HEADER = struct.pack("!4sH", b"PYRO", 48) + bytes(18)

CALLERS = [
    (PREFACE + bytes(16), Dialect.NATIVE),
    (b"PYROG\x02" + bytes(16), Dialect.OTHER_NATIVE),
    (b"PYROG\x00", Dialect.OTHER_NATIVE),
    (PYRO3_HEADER, Dialect.PYRO3),
    (PYRO4_HEADER, Dialect.PYRO4),
    (PYRO5_HEADER, Dialect.PYRO5),
    (b"PYRO\xff\xff", Dialect.OTHER_PYRO),
    (b"PYRO\x00\x00", Dialect.OTHER_PYRO),
    (b"GET / HTTP/1.1\r\n", Dialect.HTTP),
    (b"POST /x HTTP/1.1\r\n", Dialect.HTTP),
    (b"PUT /x HTTP/1.1\r\n", Dialect.HTTP),
    (b"HEAD / HTTP/1.0\r\n", Dialect.HTTP),
    (b"DELETE / HTTP/1.1\r\n", Dialect.HTTP),
    (b"OPTIONS * HTTP/1.1\r\n", Dialect.HTTP),
    (b"PATCH / HTTP/1.1\r\n", Dialect.HTTP),
    (b"CONNECT a:1 HTTP/1.1\r\n", Dialect.HTTP),
    (b"TRACE / HTTP/1.1\r\n", Dialect.HTTP),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Dialect.HTTP),
    (b"\x16\x03\x01\x02\x00\x01", Dialect.TLS),
    (b"\x16\x04\x01\x02\x00\x01", Dialect.UNKNOWN),
    (b"\x00\x00\x00\x00\x00\x00", Dialect.UNKNOWN),
    (b"SSH-2.0-OpenSSH_9.6\r\n", Dialect.UNKNOWN),
    (b"POSTED", Dialect.UNKNOWN),
    (b"DELEGATE", Dialect.UNKNOWN),
    (b"get / http", Dialect.UNKNOWN),
    (b"PYRAMID", Dialect.UNKNOWN),
    (b"pyro\x00\x05", Dialect.UNKNOWN),
    (b"", Dialect.UNDECIDED),
    (b"P", Dialect.UNDECIDED),
    (b"PYRO", Dialect.UNDECIDED),
    (b"PYROG", Dialect.UNDECIDED),
    (b"POST", Dialect.UNDECIDED),
    (b"\x16", Dialect.UNDECIDED),
    (b"X", Dialect.UNKNOWN),
]

#: Random bytes alone would hardly ever begin like anybody.
heads = st.one_of(
    st.binary(max_size=12),
    st.tuples(
        st.sampled_from([head for head, _ in CALLERS]), st.integers(0, 8), st.binary(max_size=6)
    ).map(lambda parts: parts[0][: parts[1]] + parts[2]),
)


@pytest.mark.parametrize(("head", "dialect"), CALLERS)
def test_caller_is_told_by_its_first_bytes(head: bytes, dialect: Dialect) -> None:
    assert sniff(head) is dialect


@given(heads, st.binary(max_size=8))
def test_decision_never_changes_with_the_bytes_that_follow(head: bytes, more: bytes) -> None:
    first = sniff(head)
    if first is not Dialect.UNDECIDED:
        assert sniff(head + more) is first


@given(st.binary(min_size=SNIFF_BYTES, max_size=40))
def test_six_bytes_always_decide_and_more_are_not_looked_at(head: bytes) -> None:
    assert sniff(head) is sniff(head[:SNIFF_BYTES])
    assert sniff(head) is not Dialect.UNDECIDED


@given(heads)
def test_undecided_heads_may_still_become_a_known_caller(head: bytes) -> None:
    if sniff(head) is Dialect.UNDECIDED:
        assert len(head) < SNIFF_BYTES
        assert any(
            caller.startswith(head) or head.startswith(b"PYRO") for caller, dialect in CALLERS
            if dialect not in (Dialect.UNKNOWN, Dialect.UNDECIDED)
        )


def test_browser_can_read_its_farewell() -> None:
    class FakeSocket:
        def makefile(self, *_: Any) -> BytesIO:
            return BytesIO(build_farewell(Dialect.HTTP))

    response = HTTPResponse(FakeSocket())  # type: ignore[arg-type]
    response.begin()
    body = response.read()
    assert response.status == 400
    assert body.decode() == describe(Dialect.HTTP) + "\n"
    assert response.length == 0
    assert response.getheader("Connection") == "close"


def test_tls_client_understands_the_alert() -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    assert sniff(outgoing.read()) is Dialect.TLS
    incoming.write(build_farewell(Dialect.TLS))
    with pytest.raises(ssl.SSLError, match=r"(?i)unexpected.message"):
        client.do_handshake()


def test_pyro5_client_gets_a_connect_failure_whose_text_is_a_literal() -> None:
    message = build_farewell(Dialect.PYRO5)
    tag, version, kind, serializer, flags, sequence, body_bytes, annotation_bytes, _, _, magic = struct.unpack(
        "!4sHBBHHII16sHH", message[:40]
    )
    assert (tag, version, kind, serializer) == (b"PYRO", 502, 3, 1)
    assert (flags, sequence, annotation_bytes, magic) == (0, 0, 0, 0x4DC5)
    assert len(message) == 40 + body_bytes
    comment, literal = message[40:].decode().split("\n")
    assert comment == "# serpent utf-8 python3.2"
    assert "the caller speaks Pyro 5" in ast.literal_eval(literal)


def test_pyro3_client_gets_seven_bytes_with_the_unspecified_reason() -> None:
    assert build_farewell(Dialect.PYRO3) == b"DENIED0"


@pytest.mark.parametrize("dialect", Dialect)
def test_farewell_is_short_and_never_looks_like_our_own_preface(dialect: Dialect) -> None:
    farewell = build_farewell(dialect)
    assert len(farewell) < 512
    assert sniff(farewell) is not Dialect.NATIVE


@pytest.mark.parametrize("dialect", Dialect)
def test_description_names_the_caller(dialect: Dialect) -> None:
    assert describe(dialect).endswith(f"the caller speaks {dialect.value}")
