"""What both sides say before the first call, under fire: greetings, denials, logins, strangers.

    byte 0    what is done, of PARTS
    rest      for `words` the body itself; for the others blobs, each a byte with its length and so many bytes

Nobody gets in without the key: `server` and `client` each give a stranger's words to one side, `between` lets
somebody on the way change what two honest sides say to each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from gpyro.auth import Accounts, Kdf, Key
from gpyro.errors import ConnectionDeniedError, LocalProtocolError, ProtocolError, RemoteProtocolError
from gpyro.wire.hello import MAX_BODY_BYTES, Greeting, Mechanism, build_denial, parse_denial, parse_fields
from gpyro.wire.login import (
    ClientLogin,
    ServerLogin,
    parse_challenge,
    parse_proof,
    parse_token,
    raw_opening,
)
from gpyro.wire.native import HEADER, MAX_HANDSHAKE_BYTES, PREFACE, Frame, FrameType, Machine, Side, State
from gpyro.wire.sniff import SNIFF_BYTES, Dialect, build_farewell, describe, sniff
from tests.fuzz.source import Source

__all__ = ["ACCOUNTS", "KEY", "NONCE", "PARTS", "SALTED", "challenge_for", "handshake", "hello_of"]

KEY: Final = Key("press-4", bytes(range(32)))
#: What a passphrase has become; scrypt takes 35 ms and is not what is looked at here.
SALTED: Final = hashlib.sha256(b"salted").digest()
NONCE: Final = bytes(range(100, 132))
ACCOUNTS: Final = Accounts([("passphrase:1", SALTED)], [KEY.verifier(["operator"])], Kdf(), bytes(16))


def handshake(data: bytes) -> None:
    """Give hostile words to one part of the handshake.

    Raises:
        AssertionError: a promise is broken. Anything else is a finding as well.
    """
    source = Source(data)
    PARTS[source.byte() % len(PARTS)](source)


def words(source: Source) -> None:
    """Parse bodies, and name strangers by their first bytes."""
    body = source.rest()
    for parse in (parse_fields, parse_denial, parse_proof, parse_token, _parse_greeting):
        try:
            parse(body)
        except RemoteProtocolError:
            pass
    decided = sniff(body)
    assert describe(decided) and isinstance(build_farewell(decided), bytes)
    for count in range(SNIFF_BYTES + 1):
        early = sniff(body[:count])
        assert early in (decided, Dialect.UNDECIDED), f"{early} after {count} bytes, {decided} after all"
    assert len(body) < SNIFF_BYTES or decided is not Dialect.UNDECIDED
    assert (decided is Dialect.NATIVE) == body.startswith(PREFACE)
    code, reason = parse_denial(build_denial(body[0] if body else 0, body[1:].decode(errors="replace")))
    assert code == (body[0] if body else 0) and len(reason.encode()) <= 300


def _parse_greeting(body: bytes) -> None:
    greeting = Greeting.parse(body)
    try:
        assert Greeting.parse(greeting.build()) == greeting
    except LocalProtocolError:
        assert len(body) > MAX_BODY_BYTES
    try:
        parse_challenge(greeting)
    except RemoteProtocolError:
        pass


def server(source: Source) -> None:
    """A stranger says HELLO and sends a PROOF; it may be the right one, changed by what follows."""
    flags = source.byte()
    hello, proof, change = source.blob(), source.blob(), source.blob()
    try:
        greeting = Greeting.parse(hello)
        login = ServerLogin(ACCOUNTS, greeting, b"certificate" if flags & 1 else b"", NONCE)
    except RemoteProtocolError:
        return
    challenge = challenge_for(login)
    transcript = login.transcript(_opening(FrameType.HELLO, hello), challenge)
    if flags & 2:
        client = ClientLogin(KEY if login.key_id else "passphrase", b"certificate" if flags & 1 else b"", NONCE)
        secret = KEY.secret if login.key_id else SALTED
        right = client.build_proof(_opening(FrameType.HELLO, hello), challenge, secret)
        proof = _xor(right, change)
        genuine = login.key_id in ("", KEY.id) and parse_proof_or_none(proof) == parse_proof(right)
    else:
        genuine = False
    try:
        found = login.check(transcript, parse_proof(proof))
    except RemoteProtocolError:
        assert not genuine
        return
    assert (found is not None) == genuine, "a proof was judged wrongly"
    if found is not None:
        client.check_welcome(found[1])
        assert found[0].id in (KEY.id, "passphrase:1")


def parse_proof_or_none(body: bytes) -> bytes | None:
    """Return the token of a PROOF's body, None where it has none that can be read."""
    try:
        return parse_proof(body)
    except RemoteProtocolError:
        return None


def client(source: Source) -> None:
    """A stranger answers a HELLO with a CHALLENGE and a WELCOME of its own."""
    flags = source.byte()
    challenge, welcome = source.blob(), source.blob()
    one = ClientLogin("passphrase" if flags & 1 else KEY, b"", NONCE)
    try:
        one.check_welcome(welcome)
        raise AssertionError("a server was believed before it was asked")
    except ConnectionDeniedError as exc:
        assert exc.code == ConnectionDeniedError.SECURITY
    except RemoteProtocolError:
        pass
    try:
        greeting = Greeting.parse(challenge)
        one.read_challenge(greeting)
    except RemoteProtocolError:
        return
    if flags & 1:
        assert one.kdf is not None and 14 <= one.kdf.log_n <= 17, f"{one.kdf} was taken"
    secret = SALTED if flags & 1 else one.salted_key()
    one.build_proof(hello_of(one), _opening(FrameType.CHALLENGE, challenge), secret)
    try:
        one.check_welcome(welcome)
        raise AssertionError("a server was believed that does not know the key")
    except ProtocolError:
        pass


def between(source: Source) -> None:
    """Two honest sides, and somebody on the way who changes one byte of one message, or of none.

    If both go on, they have the same codes, and the same opening was seen by both.
    """
    flags, message, place, change = source.byte(), source.byte() % 4, source.byte() << 1, source.byte()
    place += flags >> 7

    def travel(number: int, data: bytes) -> bytes:
        if number != message or place >= len(data):
            return data
        return data[:place] + bytes((data[place] ^ change,)) + data[place + 1 :]

    one = ClientLogin("passphrase" if flags & 1 else KEY, b"", NONCE)
    sides = Machine(Side.SERVER), Machine(Side.CLIENT)
    try:
        sent_hello = hello_of(one)
        sides[1].sending(FrameType.HELLO)
        hello = _arrive(sides[0], travel(0, sent_hello), State.DECIDING)
        greeting = Greeting.parse(bytes(hello[4]))
        login = ServerLogin(ACCOUNTS, greeting, b"", bytes(32))
        sides[0].sending(FrameType.CHALLENGE)
        sent_challenge = challenge_for(login)
        challenge = _arrive(sides[1], travel(1, sent_challenge), State.CHALLENGED)
        one.read_challenge(Greeting.parse(bytes(challenge[4])))
        proof = one.build_proof(sent_hello, raw_opening(challenge), SALTED if flags & 1 else KEY.secret)
        sides[1].sending(FrameType.PROOF)
        taken = _arrive(sides[0], travel(2, _frame(FrameType.PROOF, proof)), State.DECIDING)
        found = login.check(login.transcript(raw_opening(hello), sent_challenge), parse_proof(bytes(taken[4])))
        if found is None:
            assert message < 3 and change, "an honest caller was turned away"
            return
        sides[0].sending(FrameType.WELCOME)
        welcome = _arrive(sides[1], travel(3, _frame(FrameType.WELCOME, found[1])), State.READY)
        seals = one.check_welcome(bytes(welcome[4]))
    except ProtocolError:
        assert change, "two honest sides did not get on"
        return
    assert raw_opening(hello) == sent_hello and raw_opening(challenge) == sent_challenge, "an opening was changed"
    assert seals[1].fits(b"frame", found[2].sign(b"frame")) and found[3].fits(b"frame", seals[0].sign(b"frame"))


def hello_of(one: ClientLogin) -> bytes:
    """Return a client's first words."""
    body = Greeting(mechanism=Mechanism.GPYRO_AUTH_1, fields=one.hello_fields()).build()
    return _opening(FrameType.HELLO, body)


def challenge_for(login: ServerLogin) -> bytes:
    """Return a server's first words."""
    body = Greeting(mechanism=Mechanism.GPYRO_AUTH_1, fields=login.challenge_fields()).build()
    assert len(body) <= MAX_HANDSHAKE_BYTES
    return _opening(FrameType.CHALLENGE, body)


def _frame(kind: int, body: bytes) -> bytes:
    return HEADER.pack(kind, 0, 0, 0, len(body), 0) + body


def _opening(kind: int, body: bytes) -> bytes:
    return PREFACE + _frame(kind, body)


def _arrive(machine: Machine, data: bytes, state: State) -> Frame:
    """Return the frame that arrives; an end of the connection in place of it is an error of the protocol."""
    machine.receive_data(data)
    found = machine.next_frames()
    if not found or machine.state is not state:
        raise RemoteProtocolError(f"{found} came, {machine.state}")
    return found[0]


def _xor(data: bytes, change: bytes) -> bytes:
    return bytes(left ^ right for left, right in zip(data, change.ljust(len(data), b"\0"), strict=False))


#: What is done, by the first byte.
PARTS: Final[tuple[Callable[[Source], None], ...]] = (words, server, client, between)
