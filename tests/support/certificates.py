"""Certificates for tests: a CA, and whatever it is asked to sign, right or wrong.

Made here by hand and not by `gpyro certs`, so that a mistake there does not hide itself.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Authority", "Certificate", "authority", "standard_client"]

DAY = datetime.timedelta(days=1)


class Certificate:
    """A certificate and its private key: in files of their own, and both in one."""

    def __init__(
        self, folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> None:
        self.certificate = certificate
        self.private_key = key
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        self.fingerprint = hashlib.sha256(self.der).hexdigest()
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.pem = folder / f"{name}.pem"
        self.key = folder / f"{name}.key"
        self.both = folder / f"{name}-both.pem"
        self.locked = folder / f"{name}-locked.key"
        plain = self.private_key_pem()
        self.pem.write_bytes(pem)
        _write_private(self.key, plain)
        _write_private(self.both, pem + plain)
        _write_private(self.locked, self._key_pem(serialization.BestAvailableEncryption(b"sesame")))

    def private_key_pem(self) -> bytes:
        """Return the key without a password."""
        return self._key_pem(serialization.NoEncryption())

    def _key_pem(self, encryption: serialization.KeySerializationEncryption) -> bytes:
        return self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )


def _write_private(path: Path, data: bytes) -> None:
    path.touch(0o600)
    path.write_bytes(data)


class Authority:
    """A CA with a folder for what it makes."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self._made = 0
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(f"test {name}")
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        certificate = (
            _builder(subject, subject, key, -1, 30)
            .add_extension(x509.BasicConstraints(True, 0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        self.own = Certificate(folder, name, certificate, key)
        self.pem = self.own.pem

    def make(
        self, common_name: str = "", *names: str, server: bool = True, client: bool = False, first_day: int = -1,
        last_day: int = 30, uri: str = "",
    ) -> Certificate:  # fmt: skip
        """Sign a certificate for these DNS names and IP addresses; days are counted from today."""
        self._made += 1
        key = ec.generate_private_key(ec.SECP256R1())
        uses = [ExtendedKeyUsageOID.SERVER_AUTH] * server + [ExtendedKeyUsageOID.CLIENT_AUTH] * client
        alternatives: list[x509.GeneralName] = [_general(name) for name in names]
        if uri:
            alternatives.append(x509.UniformResourceIdentifier(uri))
        issuer = self.own.certificate
        builder = (
            _builder(_name(common_name), issuer.subject, key, first_day, last_day)
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.own.certificate.public_key()),  # type: ignore
                critical=False,
            )
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=not common_name)
        return Certificate(
            self.folder, f"made-{self._made}", builder.sign(self.own.private_key, hashes.SHA256()), key
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, first_day: int, last_day: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + first_day * DAY)
        .not_valid_after(now + last_day * DAY)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@cache
def authority(name: str = "ca") -> Authority:
    """Return the CA of that name; each is made once for all tests."""
    return Authority(Path(mkdtemp(prefix="gpyro-test-certs-")), name)


def standard_client(ca: Path, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """Return a context of the standard library, as somebody else's client has one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = version
    context.load_verify_locations(ca)
    return context
