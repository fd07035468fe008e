"""`gpyro-auth-1` on the wire: what HELLO, CHALLENGE, PROOF and WELCOME carry of a login. Pure.

    HELLO      a greeting with IDENTITY (empty for a passphrase), NONCE, and inside TLS BINDING
    CHALLENGE  a greeting with NONCE, and for a passphrase KDF and SALT
    PROOF      the field PROOF
    WELCOME    the field PROOF, the server's own; or DENY, always with the same words

Both sides are mutual strangers until the end: the client sends no call before it has checked the server's proof,
and the server parses none before it has checked the client's. What either says before that is in the transcript.

With a validator's own challenge and token (mechanism CUSTOM) the fields are CHALLENGE and PROOF, the WELCOME is
empty, and nothing is sealed.
"""

from __future__ import annotations

import os
from hmac import compare_digest
from typing import Final

from gpyro.auth import (
    NONCE_BYTES,
    PROOF_BYTES,
    SALT_BYTES,
    Accounts,
    Kdf,
    Key,
    Seal,
    Verifier,
    build_transcript,
    check_id,
    passphrase_bytes,
    prove,
)
from gpyro.errors import ConnectionDeniedError, RemoteProtocolError
from gpyro.wire.frames import HEADER, PREFACE, Arrived, Frame
from gpyro.wire.hello import Field, Greeting, Mechanism, build_fields, parse_fields

__all__ = [
    "ClientLogin", "ServerLogin", "build_challenge_fields", "build_token", "parse_challenge", "parse_proof",
    "parse_token", "raw_opening",
]  # fmt: skip

#: The one binding there is: SHA-256 of the server's certificate. Source: RFC 5929, section 4.
BINDING: Final = b"tls-server-end-point"
#: A validator's challenge and token; they fit a handshake frame.
MAX_TOKEN_BYTES: Final = 256

UNPROVEN: Final = (
    "security reasons: the server could not prove that it knows this identification; no call was sent to it"
)


def raw_opening(frame: Frame) -> bytes:
    """Return a side's first frame as it travelled, preface and header included."""
    kind, flags, request_id, target, body, extras, _ = frame
    assert not isinstance(extras, Arrived)  # it is too short for that
    header = HEADER.pack(kind, flags, len(target), request_id, len(body), len(extras))
    return b"".join((PREFACE, header, target, body, extras))


def _binding_field(binding: bytes) -> dict[int, bytes]:
    return {Field.BINDING: BINDING} if binding else {}


class ClientLogin:
    """A client's login with a key or a passphrase.

    Args:
        secret: the key or the passphrase.
        binding: SHA-256 of the certificate that the server showed, empty without TLS.
        nonce: 32 random bytes; made here by default.
    """

    __slots__ = ("_binding", "_key", "_nonce", "_passphrase", "_proof", "kdf", "salt")

    def __init__(self, secret: Key | str | bytes, binding: bytes = b"", nonce: bytes | None = None) -> None:
        self._key = secret if isinstance(secret, Key) else None
        self._passphrase = b"" if isinstance(secret, Key) else passphrase_bytes(secret)
        self._binding = binding
        self._nonce = os.urandom(NONCE_BYTES) if nonce is None else nonce
        self._proof: tuple[bytes, bytes, bytes] | None = None
        #: How a passphrase is to be salted, once the server has said so.
        self.kdf: Kdf | None = None
        self.salt = b""

    def __repr__(self) -> str:
        who = "a passphrase" if self._key is None else self._key.id
        return f"<ClientLogin with {who}, {'proved' if self._proof else 'not proved'}>"

    def hello_fields(self) -> dict[int, bytes]:
        """Return what the HELLO has to carry."""
        key_id = b"" if self._key is None else self._key.id.encode()
        return {Field.IDENTITY: key_id, Field.NONCE: self._nonce, **_binding_field(self._binding)}

    def read_challenge(self, greeting: Greeting) -> None:
        """Look at the CHALLENGE.

        Raises:
            RemoteProtocolError: it is none of this mechanism, or asks for too little or too much work.
        """
        fields = greeting.fields
        if greeting.mechanism != Mechanism.GPYRO_AUTH_1:
            raise RemoteProtocolError(
                f"the server asks for login mechanism {greeting.mechanism} in place of {Mechanism.GPYRO_AUTH_1:d}"
            )
        if len(fields.get(Field.NONCE, b"")) != NONCE_BYTES:
            raise RemoteProtocolError(f"the server's nonce is not {NONCE_BYTES} bytes")
        if self._key is not None:
            if Field.KDF in fields:
                raise RemoteProtocolError("the server asks to derive what is a key already")
            return
        try:
            self.kdf = Kdf.parse(fields.get(Field.KDF, b""))
        except ValueError as exc:
            raise RemoteProtocolError(str(exc)) from exc
        self.salt = fields.get(Field.SALT, b"")
        if len(self.salt) != SALT_BYTES:
            raise RemoteProtocolError(f"the server's salt is {len(self.salt)} bytes, not {SALT_BYTES}")

    def salted_key(self) -> bytes:
        """Return what the proof is made with; for a passphrase that takes 35 ms."""
        if self._key is not None:
            return self._key.secret
        assert self.kdf is not None
        return self.kdf.derive(self._passphrase, self.salt)

    def build_proof(self, hello: bytes, challenge: bytes, salted_key: bytes) -> bytes:
        """Return the body of the PROOF; both openings are given as they travelled."""
        proof = prove(salted_key, build_transcript(hello, challenge, self._binding))
        self._proof = proof.server, proof.to_server, proof.to_client
        return build_fields({Field.PROOF: proof.client})

    def check_welcome(self, body: bytes) -> tuple[Seal, Seal]:
        """Return the codes for sending and for receiving.

        Raises:
            ConnectionDeniedError: the server has not proved that it knows the key or passphrase.
        """
        answer = parse_fields(body).get(Field.PROOF, b"")
        if self._proof is None or not compare_digest(answer, self._proof[0]):
            raise ConnectionDeniedError(UNPROVEN, ConnectionDeniedError.SECURITY)
        return Seal(self._proof[1]), Seal(self._proof[2])


class ServerLogin:
    """One caller's login at a server.

    Args:
        accounts: whom the server knows.
        greeting: the caller's HELLO.
        binding: SHA-256 of this server's certificate, empty without TLS.

    Raises:
        RemoteProtocolError: the HELLO is not one of this mechanism.
    """

    __slots__ = ("_binding", "_nonce", "accounts", "key_id")

    def __init__(
        self, accounts: Accounts, greeting: Greeting, binding: bytes = b"", nonce: bytes | None = None
    ) -> None:
        fields = greeting.fields
        #: Whom the server knows; they may be changed for newer ones until the proof is checked.
        self.accounts = accounts
        self._binding = binding
        self._nonce = os.urandom(NONCE_BYTES) if nonce is None else nonce
        if len(fields.get(Field.NONCE, b"")) != NONCE_BYTES:
            raise RemoteProtocolError(f"the caller's nonce is not {NONCE_BYTES} bytes")
        if fields.get(Field.BINDING, b"") != (BINDING if binding else b""):
            raise RemoteProtocolError(
                "the caller's channel is not this server's: one of them is inside TLS and the other is not"
            )
        self.key_id = _read_id(fields.get(Field.IDENTITY, b""))

    def __repr__(self) -> str:
        return f"<ServerLogin of {self.key_id or 'a passphrase'}>"

    def challenge_fields(self) -> dict[int, bytes]:
        """Return what the CHALLENGE has to carry; the same kind for ids that are known and that are not."""
        fields: dict[int, bytes] = {Field.NONCE: self._nonce}
        if not self.key_id:
            fields[Field.KDF] = self.accounts.kdf.pack()
            fields[Field.SALT] = self.accounts.salt
        return fields

    def transcript(self, hello: bytes, challenge: bytes) -> bytes:
        """Return T of this login; both openings are given as they travelled."""
        return build_transcript(hello, challenge, self._binding)

    def check(self, transcript: bytes, proof: bytes) -> tuple[Verifier, bytes, Seal, Seal] | None:
        """Return who it is, the WELCOME's body, and the codes for sending and receiving; None for a stranger."""
        found = self.accounts.check(self.key_id, transcript, proof)
        if found is None:
            return None
        verifier, result = found
        return verifier, build_fields({Field.PROOF: result.server}), Seal(result.to_client), Seal(result.to_server)


def _read_id(raw: bytes) -> str:
    if not raw:
        return ""
    try:
        return check_id(raw.decode())
    except ValueError as exc:
        raise RemoteProtocolError(f"the caller's id is none: {exc}") from exc


# -- a validator's own challenge and token -----------------------------------------------------------------


def build_challenge_fields(challenge: bytes) -> dict[int, bytes]:
    """Return the fields of a CHALLENGE with a validator's own bytes.

    Raises:
        ValueError: they are none, or too many.
    """
    return {Field.CHALLENGE: _checked(challenge, "challenge")}


def parse_challenge(greeting: Greeting) -> bytes:
    """Return a validator's own challenge.

    Raises:
        RemoteProtocolError: there is none.
    """
    if greeting.mechanism != Mechanism.CUSTOM or Field.CHALLENGE not in greeting.fields:
        raise RemoteProtocolError("the server does not ask for a validator's token")
    challenge = greeting.fields[Field.CHALLENGE]
    if len(challenge) > MAX_TOKEN_BYTES:
        raise RemoteProtocolError(f"the server's challenge is {len(challenge)} bytes, limit is {MAX_TOKEN_BYTES}")
    return challenge


def build_token(token: str | bytes) -> bytes:
    """Return the body of a PROOF with a validator's own token.

    Raises:
        ValueError: it is neither text nor bytes, or too long.
    """
    mark: dict[int, bytes] = {Field.TEXT: b""} if isinstance(token, str) else {}
    return build_fields({Field.PROOF: _checked(token, "token"), **mark})


def parse_proof(body: bytes) -> bytes:
    """Return what a PROOF carries, of 32 bytes for `gpyro-auth-1`; empty where it carries nothing.

    Raises:
        RemoteProtocolError: it is more than a token may be.
    """
    proof = parse_fields(body).get(Field.PROOF, b"")
    if len(proof) > MAX_TOKEN_BYTES:
        raise RemoteProtocolError(f"the caller's token is {len(proof)} bytes, limit is {MAX_TOKEN_BYTES}")
    return proof


def parse_token(body: bytes) -> str | bytes:
    """Return a validator's own token, as text where it was that.

    Raises:
        RemoteProtocolError: it is more than a token may be, or said to be text and is not.
    """
    token = parse_proof(body)
    if Field.TEXT not in parse_fields(body):
        return token
    try:
        return token.decode()
    except UnicodeDecodeError as exc:
        raise RemoteProtocolError(f"the caller's token is no text: {exc}") from None


def _checked(data: object, what: str) -> bytes:
    if isinstance(data, str):
        data = data.encode()
    if not isinstance(data, (bytes, bytearray)) or len(data) > MAX_TOKEN_BYTES:
        size = f"{len(data)} bytes" if isinstance(data, (bytes, bytearray)) else f"a {type(data).__name__}"
        raise ValueError(f"the validator's {what} is {size}; it has to be text or at most {MAX_TOKEN_BYTES} bytes")
    return bytes(data)


assert PROOF_BYTES <= MAX_TOKEN_BYTES
