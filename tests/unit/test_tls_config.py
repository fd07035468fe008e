"""A TLSConfig: what it takes, what it refuses and how it says so."""

from __future__ import annotations

import copy
import hashlib
import pickle
import ssl
from pathlib import Path
from typing import Any

import pytest

import gpyro
from gpyro import hub
from gpyro.configuration import Settings
from gpyro.errors import ConfigurationError
from tests.support.certificates import authority
from tests.support.tls_pair import End, client_config, connect_gpyro, far_and_near, server_config


def test_config_does_not_change_and_does_not_travel() -> None:
    config = client_config()
    with pytest.raises(AttributeError, match="does not change"):
        config.ca = None
    with pytest.raises(AttributeError, match="does not change"):
        del config.ca
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(config)
    with pytest.raises(TypeError):
        copy.copy(config)


def test_repr_of_a_config_tells_its_state_without_the_password() -> None:
    made = authority().make("locked", "localhost")
    config = hub.TLSConfig(
        certificate=made.pem, key=made.locked, password="sesame", ca=authority().pem,
        client_certificates="optional", server_hostname="plant", pins=["0" * 64],
    )  # fmt: skip
    assert repr(config) == (
        f"<TLSConfig certificate {str(made.pem)!r}, key {str(made.locked)!r}, ca {str(authority().pem)!r}, "
        "client certificates optional, server is 'plant', 1 pins>"
    )
    assert "sesame" not in repr(config)
    assert repr(hub.TLSConfig()) == "<TLSConfig no certificate, the system's CAs>"
    assert repr(hub.TLSConfig(check_hostname=False)).endswith("host names not checked>")


def test_gpyro_exports_it() -> None:
    assert gpyro.TLSConfig is hub.TLSConfig


def test_contexts_are_made_once_and_take_tls_1_3_only() -> None:
    config = server_config(ca=authority().pem)
    assert config.server_context() is config.server_context()
    assert config.client_context() is config.client_context()
    for context in (config.server_context(), config.client_context()):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert config.client_context().verify_mode == ssl.CERT_REQUIRED


def test_key_with_a_password() -> None:
    made = authority().make("locked", "localhost")
    hub.TLSConfig(certificate=made.pem, key=made.locked, password="sesame").server_context()
    with pytest.raises(ConfigurationError, match=r"the password of the private key in .* is not right") as caught:
        hub.TLSConfig(certificate=made.pem, key=made.locked, password="wrong secret").server_context()
    assert "wrong secret" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="is encrypted; give its password="):
        hub.TLSConfig(certificate=made.pem, key=made.locked).server_context()
    with pytest.raises(ConfigurationError, match="is not right"):
        hub.TLSConfig(certificate=made.pem, key=made.locked, password="x" * 5000).server_context()


def test_directory_of_cas(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="openssl rehash"):
        hub.TLSConfig(ca=tmp_path)
    digest = ssl_hash(authority().pem)
    (tmp_path / f"{digest}.0").symlink_to(authority().pem)
    with far_and_near() as call:
        call(connect_gpyro(hub.TLSConfig(ca=tmp_path)))


def ssl_hash(pem: Path) -> str:
    """Return the number under which OpenSSL looks for a CA: SHA-1 of its canonical subject."""
    from cryptography import x509

    subject = x509.load_pem_x509_certificate(pem.read_bytes()).subject
    (attribute,) = list(subject)
    text = str(attribute.value).lower().encode()
    oid = bytes.fromhex("0603550403")
    inner = oid + b"\x0c" + bytes([len(text)]) + text
    sequence = b"\x30" + bytes([len(inner)]) + inner
    whole = b"\x31" + bytes([len(sequence)]) + sequence
    return hashlib.sha1(whole).digest()[:4][::-1].hex()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"client_certificates": "maybe"}, "it must be one of 'no', 'optional', 'required'"),
        ({"client_certificates": "required"}, "name the file of your own CA with ca="),
        ({"pins": "ab" * 32}, "it must be a list of fingerprints"),
        ({"pins": ["abc"]}, "pins has 'abc', but a pin is the SHA-256"),
        ({"pins": [b"x"]}, "64 hexadecimal digits"),
        ({"certificate": "/nowhere/x.pem"}, "'/nowhere/x.pem', which cannot be read: No such file"),
        ({"certificate": ""}, "it must be the path of a PEM file"),
        ({"certificate": 5}, "it must be the path of a PEM file"),
        ({"ca": "/nowhere/ca.pem"}, "'/nowhere/ca.pem', which cannot be read: No such file"),
        ({"key": "x.key"}, "but certificate is None"),
        ({"password": b"secret"}, "password is a bytes, but it must be text"),
        ({"server_hostname": ".x"}, "must be a host name"),
        ({"server_hostname": ""}, "must be a host name"),
    ],
)
def test_value_that_is_not_allowed_is_refused_at_once(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        hub.TLSConfig(**values)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_file_that_is_not_what_it_should_be_is_named(tmp_path: Path) -> None:
    made, other = authority().make("one", "localhost"), authority().make("two", "localhost")
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"certificate": made.pem, "key": other.key}, f"in {str(other.key)!r} does not belong to the certificate"),
        ({"certificate": made.pem}, f"certificate is {str(made.pem)!r}, in which there is no private key"),
        ({"certificate": made.pem, "key": empty}, f"key is {str(empty)!r}, in which there is no private key"),
        ({"certificate": empty}, f"certificate is {str(empty)!r}, in which there is no PEM certificate"),
        ({"certificate": made.key}, f"certificate is {str(made.key)!r}, in which there is no PEM certificate"),
        ({}, "a daemon needs a certificate for TLS, but certificate is None"),
    ]
    for values, message in cases:
        with pytest.raises(ConfigurationError) as caught:
            hub.TLSConfig(**values).server_context()
        assert message in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"empty.pem', in which there is no usable PEM certificate"):
        hub.TLSConfig(ca=empty).client_context()


def test_config_of_pyros_settings_asks_for_certificates_on_both_sides(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    settings = Settings(storage=tmp_path, ssl_postconncheck=False)
    with pytest.raises(ConfigurationError, match=r"host.pem' \(ssl_cert\); `gpyro certs init` makes"):
        hub.TLSConfig.from_settings(settings)
    folder.mkdir()
    made = authority().make("pyro", "localhost", client=True)
    (folder / "host.pem").touch(0o600)
    (folder / "host.pem").write_bytes(made.both.read_bytes())
    (folder / "ca.pem").write_bytes(authority().pem.read_bytes())
    config = hub.TLSConfig.from_settings(settings)
    assert (config.client_certificates, config.check_hostname) == ("required", False)
    with far_and_near(config) as call:
        server, sock = call(connect_gpyro(config, "127.0.0.1"))
        End(sock).stream.write(b"x")
        server.take(1)
        assert server.sock.peer_name() == sock.peer_name() == "pyro"


@pytest.mark.parametrize(("mode", "taken"), [(0o600, True), (0o640, True), (0o644, False), (0o604, False)])
def test_private_key_that_everybody_can_read_is_not_used(tmp_path: Path, mode: int, taken: bool) -> None:
    made = authority().make("a daemon", "localhost")
    for name, data in (("both", made.both), ("key", made.key)):
        path = tmp_path / name
        path.touch(0o600)
        path.write_bytes(data.read_bytes())
        path.chmod(mode)
        files = {"certificate": path} if name == "both" else {"certificate": made.pem, "key": path}
        config: dict[str, Any] = {**files}
        if taken:
            hub.TLSConfig(**config)
        else:
            with pytest.raises(ConfigurationError, match=rf"has mode {mode:04o}, so that others can read it"):
                hub.TLSConfig(**config)
