"""Files of keys: one line each, readable by their owner alone.

    gpyro-key-1 ID SECRET                          what a caller has, made by `gpyro keygen`
    gpyro-verifier-1 ID STORED SERVER [ROLE,...]   what a server has of it; several lines make a file of accounts

The binary parts are base64. Empty lines and those that begin with # are passed over.
"""

from __future__ import annotations

import base64
import binascii
import os

from gpyro._auth.files import read_private
from gpyro._auth.proofs import KEY_BYTES, MAX_ID_BYTES, Key, Verifier, check_id
from gpyro.errors import ConfigurationError

__all__ = [
    "KEY_WORD", "VERIFIER_WORD", "format_key", "format_verifier", "load_identification", "load_key",
    "load_verifiers",
]  # fmt: skip

KEY_WORD = "gpyro-key-1"
VERIFIER_WORD = "gpyro-verifier-1"


def format_key(key: Key) -> str:
    """Return the line of a key; `load_key` reads it."""
    return f"{KEY_WORD} {key.id} {_encode(key.secret)}\n"


def format_verifier(verifier: Verifier) -> str:
    """Return the line of a verifier; `load_verifiers` reads it."""
    roles = "".join(f" {role}" for role in (",".join(sorted(verifier.roles)),) if role)
    return f"{VERIFIER_WORD} {verifier.id} {_encode(verifier.stored_key)} {_encode(verifier.server_key)}{roles}\n"


def load_key(path: str | os.PathLike[str]) -> Key:
    """Read the one key in a file.

    Raises:
        ConfigurationError: it cannot be read, others may read it, or it holds something else.
    """
    found = [_parse_key(path, number, words) for number, words in _lines(path)]
    if len(found) != 1:
        raise ConfigurationError(f"{os.fspath(path)!r} holds {len(found)} keys; one of `gpyro keygen` is wanted")
    return found[0]


def load_verifiers(path: str | os.PathLike[str]) -> list[Verifier]:
    """Read a file of accounts; a line may also be a key, of which only the verifier is kept.

    Raises:
        ConfigurationError: it cannot be read, others may read it, or a line is none of a verifier.
    """
    verifiers = []
    for number, words in _lines(path):
        if words[0] == KEY_WORD:
            verifiers.append(_parse_key(path, number, words).verifier())
        else:
            verifiers.append(_parse_verifier(path, number, words))
    if not verifiers:
        raise ConfigurationError(f"{os.fspath(path)!r} holds no account; `gpyro keygen` prints lines for it")
    return verifiers


def load_identification(path: str | os.PathLike[str]) -> str | Key | list[Verifier]:
    """Read what is in a file: a key, accounts, or else a passphrase on the only line that is no comment.

    Raises:
        ConfigurationError: it cannot be read, others may read it, or it has several lines of something else.
    """
    text = read_private(path)
    lines = _lines(path, text)
    if (lines and lines[0][1][0] == VERIFIER_WORD) or len(lines) > 1:
        return load_verifiers(path)
    if lines and lines[0][1][0] == KEY_WORD:
        return load_key(path)
    if lines:
        return _rows(text)[lines[0][0] - 1]
    rows = [row for row in _rows(text) if row.strip()]
    if len(rows) == 1:  # a passphrase may begin with # where there is nothing that it could be a comment on
        return rows[0]
    what = "holds only comments" if rows else "is empty"
    raise ConfigurationError(f"{os.fspath(path)!r} {what}; it should hold a passphrase or a key")


def _rows(text: str) -> list[str]:
    """Return the lines of a text as an editor numbers them; other separators may be part of a passphrase."""
    return [line.strip("\r") for line in text.split("\n")]


def _lines(path: str | os.PathLike[str], text: str | None = None) -> list[tuple[int, list[str]]]:
    rows = enumerate(_rows(read_private(path) if text is None else text), 1)
    return [(number, line.split()) for number, line in rows if line.strip() and not line.lstrip().startswith("#")]


def _parse_key(path: str | os.PathLike[str], number: int, words: list[str]) -> Key:
    if len(words) != 3 or words[0] != KEY_WORD:
        raise _fault(path, number, f"does not read {KEY_WORD} ID SECRET")
    return Key(_id(path, number, words[1]), _decode(path, number, words[2]))


def _parse_verifier(path: str | os.PathLike[str], number: int, words: list[str]) -> Verifier:
    if len(words) not in (4, 5) or words[0] != VERIFIER_WORD:
        raise _fault(path, number, f"does not read {VERIFIER_WORD} ID STORED SERVER [ROLE,...]")
    roles = words[4].split(",") if len(words) == 5 else []
    checked = frozenset(_id(path, number, role) for role in roles)
    return Verifier(
        _id(path, number, words[1]), _decode(path, number, words[2]), _decode(path, number, words[3]), checked
    )


def _id(path: str | os.PathLike[str], number: int, text: str) -> str:
    try:
        return check_id(text)
    except ValueError:
        # It may be a secret in the wrong place, so neither the text nor the error that shows it.
        rule = f"an id is 1 to {MAX_ID_BYTES} bytes of letters, digits and ._@+/-"
        raise _fault(path, number, f"has a part that cannot name anybody; {rule}") from None


def _decode(path: str | os.PathLike[str], number: int, text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != KEY_BYTES:
        raise _fault(path, number, f"has a part that is not {KEY_BYTES} bytes in base64")
    return data


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _fault(path: str | os.PathLike[str], number: int, what: str) -> ConfigurationError:
    # Never the line itself: it may be a secret.
    return ConfigurationError(f"line {number} of {os.fspath(path)!r} {what}")
