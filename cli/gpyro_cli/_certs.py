"""Makes a CA for development, and certificates signed by it; written so that nobody else can read the keys.

Needs the library `cryptography`. One file holds a certificate and its private key, so that one name is enough to
use it; the CA's key has a file of its own, because its certificate is handed out.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import secrets
import stat
from collections.abc import Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gpyro.auth import check_directory
from gpyro.errors import ConfigurationError

__all__ = ["CA_CERTIFICATE", "CA_KEY", "Authority", "Folder", "file_name_of"]

CA_CERTIFICATE, CA_KEY = "ca.pem", "ca.key"
#: The CA outlives what it signs; those who trust it need not be visited each year.
CA_DAYS = 3650
#: Clocks of machines differ.
BACKDATED = datetime.timedelta(hours=1)
#: A host, an address or a user: what is safe as the name of a file too.
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._:@-]*[A-Za-z0-9])?|::[0-9a-f:]+")
#: More than the longest chain; a file that is larger is something else.
MAX_FILE_BYTES = 64 * 1024


class Signed(NamedTuple):
    """A certificate and its private key, as PEM."""

    certificate: bytes
    key: bytes


class Folder:
    """The directory that the files are in; links in it are never followed.

    Resources: holds a descriptor; leave the `with` block to close it.

    Raises:
        ConfigurationError: others may change it, or a file is there already or missing.
    """

    def __init__(self, path: str, create: bool = False) -> None:
        self.path = path
        if create:
            os.makedirs(path, mode=stat.S_IRWXU, exist_ok=True)
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise ConfigurationError(f"there is no directory {path!r}; `gpyro certs init` makes it") from None
        try:
            check_directory(path, os.fstat(self._descriptor))
        except ConfigurationError:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._descriptor)

    def check_free(self, names: Sequence[str]) -> None:
        """See that none of these files is there."""
        there = [name for name in names if self._is_there(name)]
        if there:
            raise ConfigurationError(
                f"{', '.join(there)} in {self.path!r} would be overwritten, and who trusts the old would not "
                "accept the new; --force does it"
            )

    def _is_there(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def write(self, name: str, data: bytes, *, private: bool, replace: bool) -> None:
        """Write a file; a private one is never readable for others, not even for a moment."""
        mode = stat.S_IRUSR | stat.S_IWUSR | (0 if private else stat.S_IRGRP | stat.S_IROTH)
        target = f".{name}.{secrets.token_hex(4)}" if replace else name
        try:
            descriptor = os.open(
                target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode, dir_fd=self._descriptor
            )
        except FileExistsError:
            self.check_free([name])
            raise
        with open(descriptor, "wb") as file:
            file.write(data)
        if replace:
            os.replace(target, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def read(self, name: str) -> bytes:
        """Return what is in a file."""
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._descriptor)
        except FileNotFoundError:
            raise ConfigurationError(
                f"there is no {name} in {self.path!r}; `gpyro certs init` makes a CA there"
            ) from None
        with open(descriptor, "rb") as file:
            return file.read(MAX_FILE_BYTES)


class Authority:
    """A CA: its certificate and its key."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self._key = key

    @classmethod
    def create(cls, days: int) -> Authority:
        """Make a new one, with a name that no other has."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(f"gpyro development CA {secrets.token_hex(4)}")
        builder = (
            _builder(subject, subject, key, _days_from_now(max(days, CA_DAYS)))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, folder: Folder) -> Authority:
        """Read the one in a folder.

        Raises:
            ConfigurationError: there is none, or its files are not what they should be.
        """
        certificate_pem, key_pem = folder.read(CA_CERTIFICATE), folder.read(CA_KEY)
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            key = serialization.load_pem_private_key(key_pem, None)
        except (ValueError, TypeError) as exc:
            raise ConfigurationError(
                f"{CA_CERTIFICATE} and {CA_KEY} in {folder.path!r} are not those of `gpyro certs init`: {exc}"
            ) from exc
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise ConfigurationError(
                f"{CA_KEY} in {folder.path!r} does not belong to {CA_CERTIFICATE}; `gpyro certs init --force` "
                "makes a new CA, and what it signs anew"
            )
        return cls(certificate, key)

    def files(self) -> Signed:
        """Return it as PEM."""
        return Signed(self.certificate.public_bytes(serialization.Encoding.PEM), _key_pem(self._key))

    def sign(
        self, common_name: str, names: Sequence[str], days: int, *, server: bool = False, client: bool = False
    ) -> Signed:
        """Make a certificate; it ends with the CA at the latest.

        Args:
            names: host names and addresses that it is for.
            server: a daemon shows it. client: a caller does.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        uses = [ExtendedKeyUsageOID.SERVER_AUTH] * server + [ExtendedKeyUsageOID.CLIENT_AUTH] * client
        end = min(_days_from_now(days), self.certificate.not_valid_after_utc)
        ours = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = (
            _builder(_name(common_name), self.certificate.subject, key, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ours), critical=False)
        )
        if names:
            alternatives = x509.SubjectAlternativeName(list(map(_general, names)))
            builder = builder.add_extension(alternatives, critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        return Signed(signed.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def file_name_of(name: str) -> str:
    """Return the name of the file for a host, an address or a user.

    Raises:
        ConfigurationError: that is no such name.
    """
    if not NAME.fullmatch(name) or len(name) > 64:
        raise ConfigurationError(
            f"{name!r} is no name for a certificate; hosts, addresses and users have at most 64 letters, digits "
            "and . _ - : @"
        )
    file_name = f"{name.replace(':', '-').strip('-')}.pem"
    if file_name == CA_CERTIFICATE:
        raise ConfigurationError(f"{name!r} cannot be used: {CA_CERTIFICATE} is the CA's; take another name")
    return file_name


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _days_from_now(days: int) -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, end: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_days_from_now(0) - BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
