"""What a caller brings along to identify itself."""

from __future__ import annotations

from typing import Any

from gpyro._auth.accounts import passphrase_bytes
from gpyro._auth.proofs import Key, Verifier
from gpyro._auth.validators import BasicSSLValidator, DefaultConnValidator, Means

__all__ = ["Credentials"]


class Credentials:
    """A proxy's identification and validator; it may have neither.

    Raises:
        TypeError: the identification is neither passphrase nor key, and no validator knows better.
        ValueError: it is empty.
    """

    __slots__ = ("ident", "validator")

    def __init__(self, ident: Any = None, validator: DefaultConnValidator | None = None) -> None:
        self.validator = validator
        self.ident = ident
        if ident is not None and self.means() is Means.LOGIN and not isinstance(ident, Key):
            given = ident if isinstance(ident, list) else [ident]
            if any(isinstance(item, Verifier) for item in given):
                raise TypeError("accounts are for servers; a caller has a passphrase or a key")
            passphrase_bytes(ident)

    def __repr__(self) -> str:
        return f"<Credentials, {self.means().value}>"

    def means(self) -> Means:
        """Tell how the caller will identify itself."""
        if self.validator is not None and self.validator.means() is Means.CUSTOM:
            return Means.CUSTOM
        return Means.NONE if self.ident is None else Means.LOGIN

    def wants_login(self) -> bool:
        """Tell whether nothing may be sent before the server has proved itself, or had the validator's token."""
        return self.means() is not Means.NONE

    def token(self, challenge: bytes, peer: Any, uri: Any) -> Any:
        """Ask the validator for the token of a challenge."""
        assert self.validator is not None
        # An unset identification is empty text. Source: Pyro 3.16, observed.
        ident = "" if self.ident is None else self.validator.mungeIdent(self.ident)
        return self.validator.createAuthToken(ident, challenge, peer, uri, None)

    def refuses(self, certificate: Any) -> bool:
        """Tell whether a validator for certificates does not like the server's."""
        validator = self.validator
        return isinstance(validator, BasicSSLValidator) and not validator.checkCertificate(certificate)[0]
