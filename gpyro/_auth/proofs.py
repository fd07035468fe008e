"""The arithmetic of `gpyro-auth-1`: keys, transcripts, proofs, session keys and the codes on frames. Pure.

    SaltedKey   scrypt(passphrase, salt), or the machine key itself
    ClientKey   HMAC(SaltedKey, "gpyro client key")         only the client can make it
    StoredKey   SHA256(ClientKey)                           what the server keeps, with
    ServerKey   HMAC(SaltedKey, "gpyro server key")
    T           SHA256("gpyro-auth-1" | HELLO | CHALLENGE | channel binding), each behind its length
    proof       ClientKey xor HMAC(StoredKey, "client" | T)
    answer      HMAC(ServerKey, "server" | T)
    session     HMAC(StoredKey, "session" | T | ClientKey), from which HKDF-SHA256 makes a key per direction

All HMACs are HMAC-SHA256. The shape is that of SCRAM (RFC 5802): what a server keeps does not let anybody log in
as the client. HELLO and CHALLENGE hold both nonces and all that was negotiated, byte by byte as they travelled.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, Final, Union

from gpyro._auth.sizes import SEAL_BYTES

__all__ = [
    "KEY_BYTES", "MAX_ID_BYTES", "NONCE_BYTES", "PROOF_BYTES", "SALT_BYTES", "SEAL_BYTES", "Kdf", "Key", "Proof",
    "Seal", "Verifier", "build_transcript", "check_id", "check_proof", "make_verifier", "prove",
]  # fmt: skip

NONCE_BYTES: Final = 32
SALT_BYTES: Final = 16
PROOF_BYTES: Final = 32
#: Of a machine key; 128 bits would do without a KDF, these are 256.
KEY_BYTES: Final = 32
MAX_ID_BYTES: Final = 64

#: Ids stand in files, logs and rules. A colon marks those that gpyro itself gives: `passphrase:1`.
ID: Final = re.compile(r"[\w.@+/-]+")
LABEL: Final = b"gpyro-auth-1"

#: log2 of scrypt's n: 16 MiB and 35 ms; a client does not let a server ask for less, or for more than 128 MiB.
SCRYPT_LOG_N: Final = 14
SCRYPT_LOG_N_CEILING: Final = 17
SCRYPT_R, SCRYPT_P = 8, 1
_BLOCK: Final = 64  # bytes of SHA-256's block

Bytes = Union[bytes, bytearray, memoryview]


def check_id(key_id: str) -> str:
    """Return an id that may stand for somebody.

    Raises:
        ValueError: it has none of the characters of an id, others too, or more than 64 bytes.
    """
    if not isinstance(key_id, str) or not ID.fullmatch(key_id) or len(key_id.encode()) > MAX_ID_BYTES:
        raise ValueError(
            f"{key_id!r} cannot name anybody; an id is 1 to {MAX_ID_BYTES} bytes of letters, digits and ._@+/-"
        )
    return key_id


@dataclass(frozen=True, slots=True)
class Kdf:
    """How a passphrase becomes a key: scrypt with n = 2**log_n."""

    log_n: int = SCRYPT_LOG_N
    r: int = SCRYPT_R
    p: int = SCRYPT_P

    def pack(self) -> bytes:
        """Return the four bytes on the wire; the first names scrypt."""
        return bytes((1, self.log_n, self.r, self.p))

    @classmethod
    def parse(cls, data: bytes) -> Kdf:
        """Unpack what a server asks for.

        Raises:
            ValueError: it is not scrypt, too little to protect a passphrase, or too much to be honest.
        """
        if len(data) != 4 or data[0] != 1:
            raise ValueError(f"the server asks for the unknown key derivation {data[:8].hex()}; 1 is scrypt")
        kdf = cls(*data[1:])
        if not SCRYPT_LOG_N <= kdf.log_n <= SCRYPT_LOG_N_CEILING or kdf.r != SCRYPT_R or kdf.p != SCRYPT_P:
            raise ValueError(
                f"the server asks for {kdf}; log_n from {SCRYPT_LOG_N} to {SCRYPT_LOG_N_CEILING}, r={SCRYPT_R} "
                f"and p={SCRYPT_P} are taken"
            )
        return kdf

    def derive(self, passphrase: bytes, salt: bytes) -> bytes:
        """Return the salted key; takes 35 ms and 16 MiB, so not in the hub."""
        size = 128 * self.r * (1 << self.log_n)
        return hashlib.scrypt(
            passphrase, salt=salt, n=1 << self.log_n, r=self.r, p=self.p, maxmem=2 * size, dklen=KEY_BYTES
        )


@dataclass(frozen=True, slots=True)
class Key:
    """A machine key: who it stands for, and 32 secret bytes. `gpyro keygen` makes them."""

    id: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        check_id(self.id)
        if not isinstance(self.secret, bytes) or len(self.secret) != KEY_BYTES:
            raise ValueError(f"the key of {self.id!r} has to be {KEY_BYTES} bytes; `gpyro keygen` makes one")

    def verifier(self, roles: Iterable[str] = ()) -> Verifier:
        """Return what a server needs to recognise this key."""
        return make_verifier(self.id, self.secret, roles)


@dataclass(frozen=True, slots=True)
class Verifier:
    """What a server keeps of a key or a passphrase; nobody can log in with it."""

    id: str
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Proof:
    """What one side has computed of a login: what it sends or expects, and the session's two keys."""

    client: bytes = field(repr=False)
    server: bytes = field(repr=False)
    to_server: bytes = field(repr=False)
    to_client: bytes = field(repr=False)


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def make_verifier(key_id: str, salted_key: bytes, roles: Iterable[str] = ()) -> Verifier:
    """Return the server's side of a salted key."""
    client_key = _mac(salted_key, b"gpyro client key")
    return Verifier(
        key_id, hashlib.sha256(client_key).digest(), _mac(salted_key, b"gpyro server key"), frozenset(roles)
    )


def build_transcript(hello: bytes, challenge: bytes, binding: bytes) -> bytes:
    """Return T: both openings as they were sent, prefaces and headers included, and the channel binding."""
    digest = hashlib.sha256(LABEL)
    for part in (hello, challenge, binding):
        digest.update(struct.pack("!I", len(part)))
        digest.update(part)
    return digest.digest()


def _session(stored_key: bytes, client_key: bytes, transcript: bytes) -> tuple[bytes, bytes]:
    """Return the keys of both directions: HKDF-Expand (RFC 5869) of one block each."""
    secret = _mac(stored_key, b"session" + transcript + client_key)
    return _mac(secret, b"c2s\x01"), _mac(secret, b"s2c\x01")


def _finish(client_key: bytes, stored_key: bytes, server_key: bytes, transcript: bytes) -> Proof:
    mask = _mac(stored_key, b"client" + transcript)
    to_server, to_client = _session(stored_key, client_key, transcript)
    return Proof(_xor(client_key, mask), _mac(server_key, b"server" + transcript), to_server, to_client)


def prove(salted_key: bytes, transcript: bytes) -> Proof:
    """Return the client's proof, and the answer that only a server with its verifier can give."""
    client_key = _mac(salted_key, b"gpyro client key")
    stored_key = hashlib.sha256(client_key).digest()
    return _finish(client_key, stored_key, _mac(salted_key, b"gpyro server key"), transcript)


def check_proof(verifier: Verifier, transcript: bytes, proof: bytes) -> Proof | None:
    """Return the server's side of a login, None where the proof is not of this verifier.

    The same work is done in both cases.
    """
    mask = _mac(verifier.stored_key, b"client" + transcript)
    client_key = _xor(proof.ljust(PROOF_BYTES, b"\0")[:PROOF_BYTES], mask)
    genuine = compare_digest(hashlib.sha256(client_key).digest(), verifier.stored_key)
    result = _finish(client_key, verifier.stored_key, verifier.server_key, transcript)
    return result if genuine and len(proof) == PROOF_BYTES else None


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(PROOF_BYTES, "big")


class Seal:
    """The codes of one direction: HMAC-SHA256(key, number of the frame | frame), cut to 16 bytes.

    The number is never sent, so a frame that is left out, repeated or moved does not fit. HMAC's two inner states
    are made once and copied for each frame, which costs a third of a new HMAC.
    """

    __slots__ = ("_count", "_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        padded = key.ljust(_BLOCK, b"\0")
        self._inner: Any = hashlib.sha256(padded.translate(_IPAD))
        self._outer: Any = hashlib.sha256(padded.translate(_OPAD))
        self._count = 0

    def __repr__(self) -> str:
        return f"<Seal, {self._count} frames>"

    def sign(self, *parts: Bytes) -> bytes:
        """Return the code for the next frame, given in pieces."""
        inner = self._inner.copy()
        inner.update(self._count.to_bytes(8, "big"))
        for part in parts:
            inner.update(part)
        self._count += 1
        outer = self._outer.copy()
        outer.update(inner.digest())
        code: bytes = outer.digest()[:SEAL_BYTES]
        return code

    def fits(self, frame: Bytes, code: Bytes) -> bool:
        """Tell whether this is the next frame; only then it counts as received."""
        inner = self._inner.copy()
        inner.update(self._count.to_bytes(8, "big"))
        inner.update(frame)
        outer = self._outer.copy()
        outer.update(inner.digest())
        if compare_digest(outer.digest()[:SEAL_BYTES], code):
            self._count += 1
            return True
        return False


_IPAD: Final = bytes(number ^ 0x36 for number in range(256))
_OPAD: Final = bytes(number ^ 0x5C for number in range(256))
