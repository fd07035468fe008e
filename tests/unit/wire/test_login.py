"""gpyro-auth-1 on the wire, without one: whole logins as bytes, and what an attacker on the way can do to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpyro.auth import Accounts, Kdf, Key
from gpyro.errors import ConnectionDeniedError, RemoteProtocolError
from gpyro.wire import login as room
from gpyro.wire.frames import HEADER, PREFACE, FrameType
from gpyro.wire.hello import Field, Greeting, Mechanism, build_fields, parse_fields
from gpyro.wire.login import ClientLogin, ServerLogin

KEY = Key("press-4", bytes(range(32)))
SALT = b"salt" * 4


def opening(kind: FrameType, greeting: Greeting) -> bytes:
    body = greeting.build()
    return PREFACE + HEADER.pack(kind, 0, 0, 0, len(body), 0) + body


def accounts(*salted: bytes) -> Accounts:
    named = [(f"passphrase:{number}", key) for number, key in enumerate(salted, 1)]
    return Accounts(named, [KEY.verifier(["operator"])], Kdf(), SALT)


@dataclass
class Talk:
    """One login as it goes over the wire; each part may be changed before it arrives."""

    hello: bytes = b""
    challenge: bytes = b""
    proof: bytes = b""
    welcome: bytes = b""


class Refused(Exception):
    """The server let nobody in."""


def log_in(
    secret: Any = KEY, known: Accounts | None = None, salted: bytes | None = None, *, change: Any = None,
    client_binding: bytes = b"", server_binding: bytes = b"",
) -> tuple[Talk, Any, Any]:  # fmt: skip
    """Do a login; `change(name, bytes)` may alter what arrives. Returns it, and both sides' seals."""
    change = change or (lambda name, data: data)
    client = ClientLogin(secret, client_binding)
    talk = Talk()
    talk.hello = opening(FrameType.HELLO, Greeting(mechanism=Mechanism.GPYRO_AUTH_1, fields=client.hello_fields()))
    heard = change("hello", talk.hello)
    server = ServerLogin(known or accounts(), Greeting.parse(heard[len(PREFACE) + 16 :]), server_binding)
    fields = server.challenge_fields()
    talk.challenge = opening(FrameType.CHALLENGE, Greeting(mechanism=Mechanism.GPYRO_AUTH_1, fields=fields))
    told = change("challenge", talk.challenge)
    client.read_challenge(Greeting.parse(told[len(PREFACE) + 16 :]))
    talk.proof = client.build_proof(talk.hello, told, salted or client.salted_key())
    transcript = server.transcript(heard, talk.challenge)
    found = server.check(transcript, room.parse_proof(change("proof", talk.proof)))
    if found is None:
        raise Refused
    _, talk.welcome, to_client, to_server = found
    sending, receiving = client.check_welcome(change("welcome", talk.welcome))
    return talk, (sending, receiving), (to_client, to_server)


def test_both_sides_can_read_each_others_seals_after_a_login() -> None:
    _, (sending, receiving), (to_client, to_server) = log_in()
    assert to_server.fits(b"question", sending.sign(b"question"))
    assert receiving.fits(b"answer", to_client.sign(b"answer"))
    assert not receiving.fits(b"question", sending.sign(b"question")), "what comes back is not the other side's"


def test_passphrase_is_salted_as_the_server_says() -> None:
    salted = Kdf().derive(b"s3cr3t", SALT)
    log_in("s3cr3t", accounts(salted))
    with pytest.raises(Refused):
        log_in("wrong", accounts(salted))


@pytest.mark.parametrize(
    ("secret", "salted"), [(Key("press-4", b"x" * 32), None), (Key("press-5", KEY.secret), None), ("x", b"x" * 32)]
)
def test_wrong_key_unknown_id_and_wrong_passphrase_are_refused(secret: Any, salted: bytes | None) -> None:
    with pytest.raises(Refused):
        log_in(secret, accounts(b"1" * 32), salted)


def test_unknown_ids_are_challenged_like_known_ones() -> None:
    tags = []
    for key_id in ("press-4", "unknown"):
        greeting = Greeting(fields=ClientLogin(Key(key_id, b"x" * 32)).hello_fields())
        fields = ServerLogin(accounts(b"1" * 32), greeting).challenge_fields()
        tags.append([(tag, len(data)) for tag, data in fields.items()])
    assert tags[0] == tags[1]


# -- somebody on the way -------------------------------------------------------------------------------------


def test_a_login_that_was_heard_cannot_be_said_again() -> None:
    """Replay: the whole of the client's words, to the same server."""
    heard, _, _ = log_in()

    def replay(name: str, data: bytes) -> bytes:
        return getattr(heard, name) if name in ("hello", "proof") else data

    with pytest.raises(Refused):
        log_in(change=replay)


def test_a_server_that_was_heard_cannot_be_played() -> None:
    """Replay the other way: the whole of the server's words, to a new client."""
    heard, _, _ = log_in()
    client = ClientLogin(KEY)
    hello = opening(FrameType.HELLO, Greeting(mechanism=Mechanism.GPYRO_AUTH_1, fields=client.hello_fields()))
    client.read_challenge(Greeting.parse(heard.challenge[len(PREFACE) + 16 :]))
    client.build_proof(hello, heard.challenge, KEY.secret)
    with pytest.raises(ConnectionDeniedError, match="could not prove"):
        client.check_welcome(heard.welcome)


def test_a_clients_proof_sent_back_is_no_servers() -> None:
    """Reflection."""
    client = ClientLogin(KEY)
    hello = opening(FrameType.HELLO, Greeting(mechanism=Mechanism.GPYRO_AUTH_1, fields=client.hello_fields()))
    fields = ServerLogin(accounts(), Greeting(fields=client.hello_fields())).challenge_fields()
    challenge = Greeting(mechanism=Mechanism.GPYRO_AUTH_1, fields=fields)
    client.read_challenge(challenge)
    proof = client.build_proof(hello, opening(FrameType.CHALLENGE, challenge), KEY.secret)
    with pytest.raises(ConnectionDeniedError, match="could not prove"):
        client.check_welcome(proof)


def test_two_clients_cannot_be_played_against_each_other() -> None:
    """A nonce of one login does not serve another, even where the attacker sends it on as the server's own."""
    first, second = ClientLogin(KEY), ClientLogin(KEY)
    mine = Greeting(mechanism=Mechanism.GPYRO_AUTH_1, fields=first.hello_fields())
    theirs = Greeting(mechanism=Mechanism.GPYRO_AUTH_1, fields={Field.NONCE: second.hello_fields()[Field.NONCE]})
    first.read_challenge(theirs)
    proof = first.build_proof(
        opening(FrameType.HELLO, mine), opening(FrameType.CHALLENGE, theirs), KEY.secret
    )
    second.read_challenge(theirs._replace(fields={Field.NONCE: mine.fields[Field.NONCE]}))
    second.build_proof(b"hello", b"challenge", KEY.secret)
    with pytest.raises(ConnectionDeniedError):
        second.check_welcome(proof)


def test_a_login_is_good_for_one_certificate_only() -> None:
    """Relay: the client is inside TLS with the attacker, who is inside TLS with the server."""
    log_in(client_binding=b"c" * 32, server_binding=b"c" * 32)
    with pytest.raises(Refused):
        log_in(client_binding=b"attacker" * 4, server_binding=b"c" * 32)


@pytest.mark.parametrize(("client", "server"), [(b"c" * 32, b""), (b"", b"c" * 32)])
def test_a_login_inside_tls_is_none_outside(client: bytes, server: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="inside TLS"):
        log_in(client_binding=client, server_binding=server)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["hello", "challenge", "proof", "welcome"]), st.data())
def test_no_bit_of_a_login_can_be_changed_on_the_way(part: str, data: Any) -> None:
    """Downgrade, and whatever else: features, limits, instance, ids, nonces, lengths."""
    changed = []

    def change(name: str, said: bytes) -> bytes:
        if name != part:
            return said
        at = data.draw(st.integers(0, len(said) - 1))
        altered = bytearray(said)
        altered[at] ^= data.draw(st.integers(1, 255))
        changed.append(at)
        return bytes(altered)

    with pytest.raises((Refused, RemoteProtocolError, ConnectionDeniedError)):
        log_in(change=change)
    assert changed


@pytest.mark.parametrize("field", [Field.KDF, Field.SALT, Field.NONCE])
def test_a_client_with_a_passphrase_does_not_take_an_incomplete_challenge(field: Field) -> None:
    fields: dict[int, bytes] = {Field.NONCE: b"n" * 32, Field.KDF: Kdf().pack(), Field.SALT: SALT}
    client = ClientLogin("s3cr3t")
    client.read_challenge(Greeting(mechanism=Mechanism.GPYRO_AUTH_1, fields={**fields}))
    for broken in (b"", fields[field][:-1], fields[field] + b"x"):
        with pytest.raises(RemoteProtocolError):
            client.read_challenge(Greeting(mechanism=Mechanism.GPYRO_AUTH_1, fields={**fields, field: broken}))


def test_a_client_does_not_let_the_server_choose_another_mechanism() -> None:
    for mechanism in (Mechanism.NONE, Mechanism.CUSTOM, 7):
        with pytest.raises(RemoteProtocolError, match="mechanism"):
            ClientLogin(KEY).read_challenge(Greeting(mechanism=mechanism, fields={Field.NONCE: b"n" * 32}))


def test_a_key_is_never_salted_at_the_servers_wish() -> None:
    fields: dict[int, bytes] = {Field.NONCE: b"n" * 32, Field.KDF: Kdf().pack(), Field.SALT: SALT}
    with pytest.raises(RemoteProtocolError, match="is a key already"):
        ClientLogin(KEY).read_challenge(Greeting(mechanism=Mechanism.GPYRO_AUTH_1, fields=fields))


@pytest.mark.parametrize("welcome", [b"", build_fields({Field.PROOF: b""}), build_fields({Field.PROOF: bytes(32)}),
                                     Greeting().build()])  # fmt: skip
def test_a_welcome_without_the_right_proof_is_none(welcome: bytes) -> None:
    with pytest.raises((ConnectionDeniedError, RemoteProtocolError)):
        log_in(change=lambda name, data: welcome if name == "welcome" else data)


def test_a_welcome_before_the_clients_own_proof_is_none() -> None:
    with pytest.raises(ConnectionDeniedError, match="could not prove"):
        ClientLogin(KEY).check_welcome(build_fields({Field.PROOF: bytes(32)}))


@pytest.mark.parametrize("nonce", [b"", b"n" * 31, b"n" * 33])
def test_a_server_takes_no_short_nonce(nonce: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="nonce"):
        ServerLogin(accounts(), Greeting(fields={Field.NONCE: nonce}))


@pytest.mark.parametrize("key_id", [b"\xff", b"a b", b"passphrase:1", b"*", b"x" * 65])
def test_a_server_takes_no_id_that_is_none(key_id: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="id"):
        ServerLogin(accounts(), Greeting(fields={Field.NONCE: b"n" * 32, Field.IDENTITY: key_id}))


# -- a validator's own bytes ---------------------------------------------------------------------------------


def test_tokens_travel_as_they_are_up_to_256_bytes() -> None:
    for token in (b"", b"x", b"\0" * 256, bytearray(b"x"), "text"):
        assert room.parse_token(room.build_token(token)) == token  # type: ignore[arg-type]
        expected = token.encode() if isinstance(token, str) else bytes(token)
        greeting = Greeting(mechanism=Mechanism.CUSTOM, fields=room.build_challenge_fields(token))  # type: ignore[arg-type]
        assert room.parse_challenge(Greeting.parse(greeting.build())) == expected


def test_token_of_text_arrives_as_text_and_bytes_as_bytes() -> None:
    for token in ("", "irmen:s\xe9cret", "x" * 256):
        assert room.parse_token(room.build_token(token)) == token
    assert type(room.parse_token(room.build_token(b"irmen:secret"))) is bytes
    assert room.parse_token(build_fields({Field.TEXT: b""})) == ""
    with pytest.raises(RemoteProtocolError, match="token is no text"):
        room.parse_token(build_fields({Field.PROOF: b"\xff", Field.TEXT: b""}))
    with pytest.raises(RemoteProtocolError, match="257 bytes, limit is 256"):
        room.parse_token(build_fields({Field.PROOF: b"x" * 257, Field.TEXT: b""}))
    with pytest.raises(ValueError, match=r"257 bytes"):
        room.build_token("x" * 255 + "\xe9")


@pytest.mark.parametrize("token", [b"x" * 257, None, 5, ("user", "password")])
def test_other_tokens_are_refused_with_what_they_are(token: Any) -> None:
    with pytest.raises(ValueError, match=r"text or at most 256 bytes"):
        room.build_token(token)


def test_long_lived_objects_tell_their_state() -> None:
    assert repr(ClientLogin(KEY)) == "<ClientLogin with press-4, not proved>"
    assert repr(ClientLogin("s3cr3t")) == "<ClientLogin with a passphrase, not proved>"
    login = ServerLogin(accounts(), Greeting(fields=ClientLogin(KEY).hello_fields()))
    assert repr(login) == "<ServerLogin of press-4>"
    assert parse_fields(build_fields(login.challenge_fields())).keys() == {Field.NONCE}
