"""Who calls: passphrases, keys, the proofs of `gpyro-auth-1`, and validators in Pyro's manner. Pure.

    daemon.setAllowedIdentifications(["s3cr3t"])                  # a passphrase that all share
    daemon.setAllowedIdentifications([gpyro.auth.Passphrase("readers", "s3cr3t")])       # one with a name
    daemon.setAllowedIdentifications(gpyro.auth.load_verifiers("accounts"))   # a key for each caller
    proxy._setIdentification(gpyro.auth.load_key("press-4.key"))

`_auth/proofs` is the arithmetic, `_auth/accounts` whom a server knows, `_auth/keyfiles` the files of
`gpyro keygen`, `_auth/validators` the classes that decide about connections, `_auth/credentials` what a caller
brings along. The messages on the wire are `wire/login.py`.

Source: Pyro 3 manual, chapter 9, for validators; RFC 5802 for the shape of the proofs.
"""

from __future__ import annotations

from gpyro._auth.accounts import (
    MAX_PASSPHRASES,
    Accounts,
    Identification,
    Identifications,
    Passphrase,
    passphrase_bytes,
    sort_identifications,
)
from gpyro._auth.credentials import Credentials
from gpyro._auth.files import check_directory, read_private, read_trusted, write_private
from gpyro._auth.keyfiles import (
    format_key,
    format_verifier,
    load_identification,
    load_key,
    load_verifiers,
)
from gpyro._auth.proofs import (
    KEY_BYTES,
    NONCE_BYTES,
    PROOF_BYTES,
    SALT_BYTES,
    SEAL_BYTES,
    Kdf,
    Key,
    Seal,
    Verifier,
    build_transcript,
    check_id,
    make_verifier,
    prove,
)
from gpyro._auth.validators import (
    DENIED_HOSTBLOCKED,
    DENIED_SECURITY,
    DENIED_SERVERTOOBUSY,
    DENIED_UNSPECIFIED,
    BasicSSLValidator,
    DefaultConnValidator,
    Means,
)

__all__ = [
    "DENIED_HOSTBLOCKED",
    "DENIED_SECURITY",
    "DENIED_SERVERTOOBUSY",
    "DENIED_UNSPECIFIED",
    "KEY_BYTES",
    "MAX_PASSPHRASES",
    "NONCE_BYTES",
    "PROOF_BYTES",
    "SALT_BYTES",
    "SEAL_BYTES",
    "Accounts",
    "BasicSSLValidator",
    "Credentials",
    "DefaultConnValidator",
    "Identification",
    "Identifications",
    "Kdf",
    "Key",
    "Means",
    "Passphrase",
    "Seal",
    "Verifier",
    "build_transcript",
    "check_directory",
    "check_id",
    "format_key",
    "format_verifier",
    "load_identification",
    "load_key",
    "load_verifiers",
    "make_verifier",
    "passphrase_bytes",
    "prove",
    "read_private",
    "read_trusted",
    "sort_identifications",
    "write_private",
]
