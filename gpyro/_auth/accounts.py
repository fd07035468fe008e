"""Whom a server knows: verifiers of keys by id, and of passphrases, which have none. Pure but for random salts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Union

from gpyro._auth.proofs import SALT_BYTES, Kdf, Key, Proof, Verifier, check_id, check_proof, make_verifier
from gpyro.errors import ConfigurationError

__all__ = [
    "MAX_PASSPHRASES", "Accounts", "Identification", "Identifications", "Passphrase", "passphrase_bytes",
    "sort_identifications",
]  # fmt: skip

#: All of them are tried at each login, 8 us each, so that time does not tell which one it was.
MAX_PASSPHRASES = 100


def passphrase_bytes(passphrase: object) -> bytes:
    """Return a passphrase as bytes.

    Raises:
        TypeError: it is neither text nor bytes. ValueError: it is empty.
    """
    if isinstance(passphrase, str):
        passphrase = passphrase.encode()
    if isinstance(passphrase, (list, tuple)):
        raise TypeError(
            "an identification is a list; a caller has one passphrase or key, and where a server accepts several, "
            "what gpyro.auth.load_verifiers returns is the list itself"
        )
    if not isinstance(passphrase, bytes):
        raise TypeError(
            f"an identification of type {type(passphrase).__name__!r}; it is a passphrase (text or bytes) or a "
            "key of gpyro.auth.load_key; anything else needs a validator of your own"
        )
    if not passphrase:
        raise ValueError("an identification is empty; None stands for no identification")
    return passphrase


@dataclass(frozen=True, slots=True)
class Passphrase:
    """A passphrase that a server accepts, and the identity that it gives to whoever knows it.

    Without a name a daemon numbers it: `passphrase:1`, `passphrase:2`. No number is given twice in a daemon's
    life, but the next daemon begins anew; so rules, roles and rights should go by names.

    Raises:
        ValueError: it is empty, or the name is none.
    """

    id: str
    secret: str | bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.id:
            check_id(self.id)
        object.__setattr__(self, "secret", passphrase_bytes(self.secret))


#: What `setAllowedIdentifications` takes.
Identification = Union[str, bytes, Passphrase, Key, Verifier]
#: What becomes of it.
Identifications = tuple[list[Passphrase], list[Verifier]]


def sort_identifications(ids: Iterable[object]) -> Identifications:
    """Split what a server is to accept into passphrases and verifiers.

    Raises:
        TypeError: `ids` is no list or tuple, or one of them is nothing to log in with.
        ValueError: one is empty, two have one id, or there are too many passphrases.
    """
    if not isinstance(ids, (list, tuple, set, frozenset)):
        raise TypeError(
            f"ids must be a list, not {type(ids).__name__!r}: ['open sesame'], [gpyro.auth.load_key(file)], or "
            "what gpyro.auth.load_verifiers(file) returns"
        )
    passphrases: list[Passphrase] = []
    verifiers: list[Verifier] = []
    known = set()
    secrets: dict[object, str] = {}
    for item in ids:
        if isinstance(item, Key):
            item = item.verifier()
        if not isinstance(item, (Verifier, Passphrase)):
            item = Passphrase("", passphrase_bytes(item))
        if item.id and item.id in known:
            raise ConfigurationError(
                f"two of the identifications have the id {item.id!r}; take the one out that is not used any more"
            )
        known.add(item.id)
        if isinstance(item, Verifier):
            verifiers.append(item)
            continue
        if secrets.setdefault(item.secret, item.id) != item.id:
            raise ConfigurationError(
                f"one passphrase stands for {item.id!r} and for {secrets[item.secret]!r}; give each its own"
            )
        passphrases.append(item)
    if len(passphrases) > MAX_PASSPHRASES:
        raise ConfigurationError(
            f"{len(passphrases)} passphrases; the limit is {MAX_PASSPHRASES}, as all are tried at each login. "
            "Give each caller a key (`gpyro keygen`): of those there may be any number"
        )
    return passphrases, verifiers


class Accounts:
    """Checks logins. An unknown id costs the same work and gives the same answers as a known one.

    Args:
        passphrases: identities with the salted keys of their passphrases, made with `kdf` and `salt`.
        verifiers: of the keys.
    """

    __slots__ = ("_nobody", "_passphrases", "_verifiers", "kdf", "salt")

    def __init__(
        self, passphrases: Iterable[tuple[str, bytes]], verifiers: Iterable[Verifier], kdf: Kdf, salt: bytes
    ) -> None:
        self.kdf = kdf
        self.salt = salt
        self._passphrases = [make_verifier(identity, key) for identity, key in passphrases]
        self._verifiers = {verifier.id: verifier for verifier in verifiers}
        # Of a key that was never given to anybody.
        self._nobody = make_verifier("nobody", os.urandom(32))

    def __repr__(self) -> str:
        return f"<Accounts of {len(self._passphrases)} passphrases and {len(self._verifiers)} keys>"

    @staticmethod
    def new_salt() -> bytes:
        """Return the salt of a new daemon."""
        return os.urandom(SALT_BYTES)

    def check(self, key_id: str, transcript: bytes, proof: bytes) -> tuple[Verifier, Proof] | None:
        """Return whose proof it is, with the server's side of the login; None if it is nobody's."""
        if key_id:
            candidates: Sequence[Verifier] = (self._verifiers.get(key_id, self._nobody),)
        else:
            candidates = self._passphrases or (self._nobody,)
        found = None
        for verifier in candidates:
            result = check_proof(verifier, transcript, proof)
            if result is not None and verifier is not self._nobody:
                found = verifier, result
        return found
