"""What one daemon or proxy wants of TLS: files, who is let in, which names and fingerprints are right.

A TLSConfig only holds values. The ssl module is loaded when a context is first built, and it is gevent's class
that is used: that one works in patched and unpatched processes, and loading it patches nothing. The socket is in
`tlssocket.py`, the contexts are made in `tlscontext.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from gpyro.errors import ConfigurationError

if TYPE_CHECKING:
    from gpyro._hub.tlssocket import TlsSocket
    from gpyro.configuration import Settings

__all__ = ["TLSConfig", "TlsError", "accept_tls"]

#: What a daemon may ask of its callers.
CLIENT_CERTIFICATES = ("no", "optional", "required")
#: SHA-256 in hexadecimal; the colons that other tools print are left out.
PIN = re.compile(r"[0-9a-f]{64}")
#: The entries by which OpenSSL finds a certificate in a directory, as `openssl rehash` makes them.
HASHED_NAME = re.compile(r"[0-9a-f]{8}\.[0-9]+")
CERTIFICATE = re.compile(
    r"-----BEGIN (?:X509 )?CERTIFICATE-----(.+?)-----END (?:X509 )?CERTIFICATE-----", re.DOTALL
)

_FIELDS = (
    "certificate", "key", "password", "ca", "client_certificates", "check_hostname", "server_hostname", "pins",
)  # fmt: skip


class TlsError(OSError):
    """TLS failed with this peer: what, with whom, and what to do about it."""


class TLSConfig:
    """How a daemon or a proxy does TLS 1.3; one for each, nothing is kept for the whole process.

    It cannot be changed. Files are read when it is first used, by a daemon before it listens; whether they are
    there and readable is looked at now.

    Args:
        certificate: PEM file with our certificate, and behind it those that lead to the CA. A daemon needs one.
        key: PEM file with its private key; None when that is in the certificate file.
        password: of the private key.
        ca: PEM file, or directory made by `openssl rehash`, with the CAs whose certificates are right;
            None for those of the system.
        client_certificates: what a daemon asks of its callers: "no", "optional" or "required".
        check_hostname: whether a proxy wants the daemon's certificate to be for the host in its address.
        server_hostname: the name that a proxy looks for instead.
        pins: SHA-256 fingerprints (hexadecimal) of the certificates that a peer may show, each vouched for by
            the CA all the same; empty for any.

    Raises:
        ConfigurationError: a value is not allowed, or a file cannot be used.
    """

    __slots__ = (*_FIELDS, "_client_context", "_der", "_server_context")

    certificate: str | None
    key: str | None
    password: str | None
    ca: str | None
    client_certificates: str
    check_hostname: bool
    server_hostname: str | None
    pins: frozenset[str]
    _client_context: Any
    _server_context: Any
    _der: bytes

    def __init__(
        self, *,
        certificate: str | os.PathLike[str] | None = None,
        key: str | os.PathLike[str] | None = None,
        password: str | None = None,
        ca: str | os.PathLike[str] | None = None,
        client_certificates: str = "no",
        check_hostname: bool = True,
        server_hostname: str | None = None,
        pins: Iterable[str] = (),
    ) -> None:  # fmt: skip
        self._set(
            certificate=_path("certificate", certificate), key=_path("key", key), password=password,
            ca=_path("ca", ca), client_certificates=client_certificates, check_hostname=bool(check_hostname),
            server_hostname=server_hostname, pins=_check_pins(pins),
            _client_context=None, _server_context=None, _der=b"",
        )  # fmt: skip
        self._check()

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name} cannot be set to {value!r}: a TLSConfig does not change; make another one")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name} cannot be deleted: a TLSConfig does not change; make another one")

    def __repr__(self) -> str:
        parts = [f"certificate {self.certificate!r}" if self.certificate else "no certificate"]
        if self.key:
            parts.append(f"key {self.key!r}")
        parts.append(f"ca {self.ca!r}" if self.ca else "the system's CAs")
        if self.client_certificates != "no":
            parts.append(f"client certificates {self.client_certificates}")
        if not self.check_hostname:
            parts.append("host names not checked")
        elif self.server_hostname:
            parts.append(f"server is {self.server_hostname!r}")
        if self.pins:
            parts.append(f"{len(self.pins)} pins")
        return f"<TLSConfig {', '.join(parts)}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a TLSConfig holds what belongs to this machine and cannot be pickled; send file names")

    @classmethod
    def from_settings(cls, settings: Settings) -> TLSConfig:
        """Make one of Pyro's settings ssl_certdir, ssl_cert, ssl_key, ssl_ca_cert and ssl_postconncheck.

        Both sides show certificates then, as in Pyro.

        Raises:
            ConfigurationError: a file is not there.

        Source: Pyro 3 manual, chapter 9, "SSL".
        """
        for name in ("ssl_cert", "ssl_ca_cert"):
            path = getattr(settings, name)
            if not os.path.exists(path):
                raise ConfigurationError(
                    f"there is no file {path!r} ({name}); `gpyro certs init` makes certificates for a first try, "
                    "tls=gpyro.TLSConfig(...) names others"
                )
        return cls(
            certificate=settings.ssl_cert, key=settings.ssl_key, ca=settings.ssl_ca_cert,
            client_certificates="required", check_hostname=settings.ssl_postconncheck,
        )  # fmt: skip

    # -- checks ----------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self.client_certificates not in CLIENT_CERTIFICATES:
            raise ConfigurationError(
                f"client_certificates is {self.client_certificates!r}, "
                f"but it must be one of {', '.join(map(repr, CLIENT_CERTIFICATES))}"
            )
        if self.client_certificates != "no" and self.ca is None:
            raise ConfigurationError(
                f"client_certificates is {self.client_certificates!r}, but ca is None: every certificate that any "
                "CA of the system has ever signed would let its owner in; name the file of your own CA with ca="
            )
        if self.password is not None and not isinstance(self.password, str):
            raise ConfigurationError(f"password is a {type(self.password).__name__}, but it must be text or None")
        self._check_server_hostname()
        if self.key and not self.certificate:
            raise ConfigurationError(f"key is {self.key!r}, but certificate is None; name it with certificate=")
        for name in ("certificate", "key"):
            path = getattr(self, name)
            if path is not None:
                _check_readable(name, path)
        if self.certificate is not None:
            _check_private(self.key or self.certificate)
        if self.ca is not None:
            _check_ca(self.ca)

    def _check_server_hostname(self) -> None:
        name = self.server_hostname
        if name is not None and (not isinstance(name, str) or not name or name.startswith(".")):
            raise ConfigurationError(
                f"server_hostname is {name!r}, but it must be a host name or address, like 'plant.example.com'"
            )

    # -- contexts --------------------------------------------------------------------------------------------

    def server_context(self) -> Any:
        """Return the SSLContext of a daemon; made once.

        Raises:
            ConfigurationError: there is no certificate, or a file cannot be used.
        """
        if self._server_context is None:
            from gpyro._hub.tlscontext import build_server_context

            if self.certificate is None:
                raise ConfigurationError(
                    "a daemon needs a certificate for TLS, but certificate is None; "
                    "`gpyro certs init` makes some for a first try"
                )
            self._set(_server_context=build_server_context(self), _der=_first_certificate(self.certificate))
        return self._server_context

    def client_context(self) -> Any:
        """Return the SSLContext of a proxy; made once.

        Raises:
            ConfigurationError: a file cannot be used.
        """
        if self._client_context is None:
            from gpyro._hub.tlscontext import build_client_context

            self._set(_client_context=build_client_context(self))
        return self._client_context

    def certificate_der(self) -> bytes:
        """Return the daemon's own certificate as it shows it."""
        self.server_context()
        return self._der


def accept_tls(sock: Any, config: TLSConfig) -> TlsSocket:
    """Put TLS on an accepted, non-blocking socket; the handshake is done by what is read from it.

    Raises:
        ConfigurationError: the config is not fit for a server.
    """
    from gpyro._hub.tlssocket import TlsSocket

    return TlsSocket(sock, config, server_side=True)


# -- values and files ----------------------------------------------------------------------------------------


def _path(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise ConfigurationError(f"{name} is {value!r}, but it must be the path of a PEM file")
    return os.fsdecode(value)


def _check_pins(pins: Iterable[str]) -> frozenset[str]:
    if isinstance(pins, str):
        raise ConfigurationError(f"pins is the text {pins!r}, but it must be a list of fingerprints")
    found = []
    for pin in pins:
        plain = pin.replace(":", "").lower() if isinstance(pin, str) else ""
        if not PIN.fullmatch(plain):
            raise ConfigurationError(
                f"pins has {pin!r}, but a pin is the SHA-256 of a certificate, 64 hexadecimal digits; "
                "`openssl x509 -noout -fingerprint -sha256 -in FILE` prints it"
            )
        found.append(plain)
    return frozenset(found)


def _check_readable(name: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as exc:
        raise ConfigurationError(f"{name} is {path!r}, which cannot be read: {exc.strerror or exc}") from exc


def _check_private(path: str) -> None:
    """See that not everybody on this machine can read a private key; a group of servers may share one."""
    from gpyro._auth.files import NO_OTHERS, check_file  # only where there is TLS

    with open(path, "rb") as file:
        if b"PRIVATE KEY-----" in file.read():
            check_file(path, os.fstat(file.fileno()), NO_OTHERS)


def _check_ca(path: str) -> None:
    if not os.path.isdir(path):
        _check_readable("ca", path)
        return
    try:
        names = os.listdir(path)
    except OSError as exc:
        raise ConfigurationError(f"ca is {path!r}, which cannot be read: {exc.strerror or exc}") from exc
    if not any(map(HASHED_NAME.fullmatch, names)):
        raise ConfigurationError(
            f"ca is the directory {path!r}, in which OpenSSL finds no certificate; "
            "run `openssl rehash` on it, or name a PEM file"
        )


def _first_certificate(path: str) -> bytes:
    import binascii

    with open(path, encoding="latin-1") as file:
        found = CERTIFICATE.search(file.read())
    if found is None:
        raise ConfigurationError(f"certificate is {path!r}, in which there is no PEM certificate")
    return binascii.a2b_base64(found[1])
