"""Validators: the objects that decide about new connections, with the names and manners of Pyro's.

A daemon asks `acceptHost` first, then for an identification where one is wanted. There are two ways to give it:

    LOGIN     `gpyro-auth-1`: what `setAllowedIdentifications` names. `acceptIdentification` may be overridden to
              look on; its `token` is the proof and its `challenge` the transcript, and the base lets in.
    CUSTOM    a class that overrides `createAuthToken`, `createAuthChallenge` or `mungeIdent`, on both sides:
              opaque bytes, or a text as token, go to and fro, 256 bytes at most. Nothing is sealed, and the
              server proves nothing, so gpyro refuses that beyond this machine except inside TLS.

Source: Pyro 3 manual, chapter 9.
"""

from __future__ import annotations

import enum
import hmac
import os
from hmac import compare_digest
from typing import Any, Final

from gpyro._auth.accounts import Identifications, passphrase_bytes, sort_identifications
from gpyro._auth.proofs import NONCE_BYTES
from gpyro.errors import ConnectionDeniedError

__all__ = [
    "DENIED_HOSTBLOCKED", "DENIED_SECURITY", "DENIED_SERVERTOOBUSY", "DENIED_UNSPECIFIED", "BasicSSLValidator",
    "DefaultConnValidator", "Means",
]  # fmt: skip

#: Source: Pyro.constants.
DENIED_UNSPECIFIED: Final = ConnectionDeniedError.UNSPECIFIED
DENIED_SERVERTOOBUSY: Final = ConnectionDeniedError.SERVERTOOBUSY
DENIED_HOSTBLOCKED: Final = ConnectionDeniedError.HOSTBLOCKED
DENIED_SECURITY: Final = ConnectionDeniedError.SECURITY


#: Overriding one of these makes the proof a class's own business.
OWN_WAY: Final = ("createAuthToken", "createAuthChallenge", "mungeIdent")


class Means(enum.Enum):
    """How a validator wants callers to identify themselves."""

    NONE = "not at all"
    LOGIN = "a passphrase or key"
    CUSTOM = "the validator's own token"


class DefaultConnValidator:
    """Lets everybody in until `setAllowedIdentifications` says who.

    A subclass may override any method. Its methods run in a greenlet of their own for each new connection, so they
    may wait; one that raises is logged, and the caller is denied.
    """

    def __init__(self) -> None:
        self.setAllowedIdentifications(None)

    def __getattr__(self, name: str) -> Any:
        # A subclass that forgot DefaultConnValidator.__init__ gets its state here instead of a riddle later.
        if name in ("allowedIDs", "identifications"):
            DefaultConnValidator.__init__(self)
            return self.__dict__[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, wants {self.means().value}>"

    def means(self) -> Means:
        """Tell how callers are to identify themselves."""
        return self.means_with(self.identifications)

    def means_with(self, identifications: Identifications | None) -> Means:
        """Tell how they would have to if these were wanted."""
        if self._overrides(*OWN_WAY):
            return Means.CUSTOM
        if identifications is not None:
            return Means.LOGIN
        return Means.CUSTOM if self._overrides("acceptIdentification") else Means.NONE

    def sorts_itself(self) -> bool:
        """Tell whether `setAllowedIdentifications` is the program's own."""
        return self._overrides("setAllowedIdentifications")

    def looks_at_hosts(self) -> bool:
        """Tell whether `acceptHost` is the program's own."""
        return self._overrides("acceptHost")

    def _overrides(self, *names: str) -> bool:
        return any(getattr(type(self), name) is not getattr(DefaultConnValidator, name) for name in names)

    def setAllowedIdentifications(self, ids: Any) -> None:
        """Let in only who proves one of these; None lets everybody in, an empty list nobody.

        Args:
            ids: passphrases (text or bytes), keys and verifiers; for a class with a `mungeIdent` of its own
                whatever that takes.

        Raises:
            TypeError: `ids` is no list or tuple, or one of them is nothing to log in with.
            ValueError: one is empty, or there are too many passphrases.
        """
        # Sorted first, so that a list that is refused leaves the door as it was.
        allowed, identifications = self.sort_allowed(ids)
        #: What came out of `mungeIdent`, for subclasses. Source: Pyro.protocol.DefaultConnValidator.
        self.allowedIDs: list[Any] | None = allowed
        self.identifications: Identifications | None = identifications

    def sort_allowed(self, ids: Any) -> tuple[list[Any] | None, Identifications | None]:
        """Return what `setAllowedIdentifications` would keep: `allowedIDs` and `identifications`."""
        if ids is None:
            return None, None
        if self._overrides(*OWN_WAY):
            if not isinstance(ids, (list, tuple)):
                raise TypeError(f"ids must be a list, not {type(ids).__name__!r}")
            return [self.mungeIdent(ident) for ident in ids], None
        identifications = sort_identifications(ids)
        return [item.secret for item in identifications[0]], identifications

    def inherit(self, other: DefaultConnValidator) -> None:
        """Want the identifications that another validator wants, unless this one has its own or its own way."""
        if self.identifications is None and not self._overrides(*OWN_WAY):
            self.allowedIDs, self.identifications = other.allowedIDs, other.identifications

    def acceptHost(self, daemon: Any, connection: Any) -> tuple[int, int]:
        """Decide by where a connection comes from, `connection.addr`; returns (1, 0) or (0, reason code)."""
        return 1, 0

    def acceptIdentification(
        self, daemon: Any, connection: Any, token: Any, challenge: bytes
    ) -> tuple[int, int]:
        """Decide by the token; returns (1, 0) or (0, reason code).

        A token is bytes, or text where the caller's `createAuthToken` returned text, which is the caller's choice.

        An override may put attributes on the connection, `identity` and `roles` above all; methods find it as
        `getLocalStorage().caller` and `gpyro.current_call.caller`. With `gpyro-auth-1`, `connection.login.key_id`
        is whose key the caller says that it has, and once this method of the base has let it in,
        `connection.identity` is who it is.
        """
        login = connection.login
        if login is not None:
            if not login.check(challenge, token):
                return 0, DENIED_SECURITY
            connection.identity = login.identity
            return 1, 0
        if self.allowedIDs is None:
            return 1, 0
        if isinstance(token, str):
            token = token.encode()
        # All are tried, so that time does not tell which one it was.
        matches = [compare_digest(_token(ident, challenge), token) for ident in self.allowedIDs]
        return (1, 0) if any(matches) else (0, DENIED_SECURITY)

    def createAuthToken(self, authid: Any, challenge: bytes, peeraddr: Any, URI: Any, daemon: Any) -> bytes:
        """Make the token for a challenge, on the caller's side; `authid` is what `mungeIdent` returned.

        An override may return text as well; it arrives as text.
        """
        return _token(authid, challenge)

    def createAuthChallenge(self, tcpserver: Any, conn: Any) -> bytes:
        """Make the challenge for a caller."""
        return os.urandom(NONCE_BYTES)

    def mungeIdent(self, ident: Any) -> Any:
        """Turn an identification into what tokens are made of."""
        return passphrase_bytes(ident)


class BasicSSLValidator(DefaultConnValidator):
    """Lets in who shows a certificate that `checkCertificate` likes; at a proxy it looks at the server's."""

    def acceptHost(self, daemon: Any, connection: Any) -> tuple[int, int]:
        """Look at the certificate of the other side."""
        return self.checkCertificate(connection.certificate)

    def checkCertificate(self, cert: Any) -> tuple[int, int]:
        """Decide by the certificate, for subclasses: its signature, dates and host have been checked already.

        Args:
            cert: as Python's `SSLSocket.getpeercert` returns it; None where the other side showed none.
        """
        return (0, DENIED_SECURITY) if cert is None else (1, 0)


def _token(ident: Any, challenge: bytes) -> bytes:
    return hmac.digest(ident if isinstance(ident, bytes) else str(ident).encode(), bytes(challenge), "sha256")
