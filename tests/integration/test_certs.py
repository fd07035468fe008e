"""`gpyro certs` as a person runs it; what it makes stands up to the strictest check that Python has."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

import pytest

from tests.support.programs import Ended, make_environment, run

#: Python 3.13's default; the number is OpenSSL's own for Pythons that do not name it.
STRICT = ssl.VerifyFlags.VERIFY_X509_STRICT


def certs(tmp_path: Path, *words: str) -> Ended:
    return run(["-m", "gpyro", "certs", *words], make_environment(tmp_path))


def made(tmp_path: Path, *words: str) -> Path:
    """Run `gpyro certs init` and return the directory."""
    ended = certs(tmp_path, "init", *words)
    assert (ended.status, ended.stderr) == (0, "")
    return tmp_path / "certs"


def greet(server: Path, client: Path, ca: Path, name: str) -> str:
    """Do a handshake in memory in which both sides show certificates; returns who the server saw."""
    outer, inner = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context, own in ((outer, server), (inner, client)):
        context.load_cert_chain(own)
        context.load_verify_locations(ca)
        context.verify_flags |= STRICT
        context.verify_mode = ssl.CERT_REQUIRED
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    far, near = outer.wrap_bio(up, down, server_side=True), inner.wrap_bio(down, up, server_hostname=name)
    for end in (near, far, near, far):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            pass
    seen = far.getpeercert()
    assert seen is not None
    return str(dict(part[0] for part in seen["subject"])["commonName"])  # type: ignore[misc]


def test_init_makes_what_pyros_settings_name_and_says_what_next(tmp_path: Path) -> None:
    ended = certs(tmp_path, "init")
    assert (ended.status, ended.stderr) == (0, "")
    folder = tmp_path / "certs"
    assert sorted(os.listdir(folder)) == ["ca.key", "ca.pem", "client.pem", "host.pem"]
    assert ended.stdout.splitlines()[0] == f"Made in {folder}, valid for 365 days:"
    assert 'gpyro.Daemon(protocol="PYROSSL")' in ended.stdout
    for name in ("localhost", "127.0.0.1", "::1"):
        assert greet(folder / "host.pem", folder / "client.pem", folder / "ca.pem", name) == "client"
    # One process's settings serve for both roles.
    assert greet(folder / "host.pem", folder / "host.pem", folder / "ca.pem", "localhost") == "localhost"


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = made(tmp_path)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]}
    assert modes.pop("ca.pem") & ~0o644 == 0
    assert modes == {"certs": 0o700, "ca.key": 0o600, "client.pem": 0o600, "host.pem": 0o600}


def test_another_directory_is_told_with_the_setting_that_names_it(tmp_path: Path) -> None:
    ended = certs(tmp_path, "init", "elsewhere", "--days", "7")
    assert ended.status == 0
    assert f"Set GPYRO_SSL_CERTDIR={tmp_path}/elsewhere" in ended.stdout
    assert "valid for 7 days" in ended.stdout


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    folder = made(tmp_path)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    ended = certs(tmp_path, "init")
    assert ended.status == 1
    assert "ca.pem, ca.key, host.pem, client.pem" in ended.stderr and "--force" in ended.stderr
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    made(tmp_path, "--force")
    after = {path: path.read_bytes() for path in folder.iterdir()}
    assert set(after) == set(before) and not any(after[path] == before[path] for path in before)


def test_more_certificates_of_the_same_ca(tmp_path: Path) -> None:
    folder = made(tmp_path)
    ended = certs(tmp_path, "server", "plant.example.com", "10.0.0.7", "fe80::7")
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"{folder}/plant.example.com.pem is for plant.example.com, 10.0.0.7, fe80::7.")
    assert certs(tmp_path, "client", "alice@plant", "--dir", str(folder)).status == 0
    for name in ("plant.example.com", "10.0.0.7", "fe80::7"):
        server, client = folder / "plant.example.com.pem", folder / "alice@plant.pem"
        assert greet(server, client, folder / "ca.pem", name) == "alice@plant"
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        greet(folder / "plant.example.com.pem", folder / "alice@plant.pem", folder / "ca.pem", "localhost")
    assert certs(tmp_path, "client", "alice@plant").status == 1
    assert certs(tmp_path, "client", "alice@plant", "--force").status == 0


def test_callers_certificate_is_no_daemons(tmp_path: Path) -> None:
    folder = made(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        greet(folder / "client.pem", folder / "client.pem", folder / "ca.pem", "client")


@pytest.mark.parametrize("name", ["../x", "a/b", "", "ca", ".hidden", "a b", "x" * 65, "::"])
def test_name_that_is_no_name_makes_no_file(tmp_path: Path, name: str) -> None:
    folder = made(tmp_path)
    ended = certs(tmp_path, "client", name)
    assert ended.status == 1
    assert repr(name) in ended.stderr
    assert len(os.listdir(folder)) == 4


def test_without_a_ca_the_way_out_is_told(tmp_path: Path) -> None:
    ended = certs(tmp_path, "server", "plant")
    assert ended.status == 1
    assert "`gpyro certs init` makes it" in ended.stderr
    folder = made(tmp_path)
    (folder / "ca.key").write_text("no key")
    ended = certs(tmp_path, "server", "plant")
    assert ended.status == 1 and "are not those of `gpyro certs init`" in ended.stderr
    (folder / "ca.key").unlink()
    ended = certs(tmp_path, "server", "plant")
    assert ended.status == 1 and "there is no ca.key" in ended.stderr


def test_directory_that_others_may_change_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    ended = certs(tmp_path, "init", "open")
    assert ended.status == 1
    assert "has mode 0777" in ended.stderr and "chmod 700" in ended.stderr
    assert os.listdir(tmp_path / "open") == []


def test_links_are_not_followed(tmp_path: Path) -> None:
    folder, target = made(tmp_path), tmp_path / "target"
    (folder / "mallory.pem").symlink_to(target)
    ended = certs(tmp_path, "client", "mallory")
    assert ended.status == 1 and "--force" in ended.stderr
    assert certs(tmp_path, "client", "mallory", "--force").status == 0
    assert not target.exists() and not (folder / "mallory.pem").is_symlink()
    (tmp_path / "link").symlink_to(folder)
    assert certs(tmp_path, "init", "link", "--force").status == 1


def test_missing_library_is_named_in_one_line(tmp_path: Path) -> None:
    program = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'cryptography' else find(name, *rest)\n"
        "from gpyro_cli.main import main; main(['certs', 'init'])\n"
    )
    ended = run(["-c", program], make_environment(tmp_path))
    assert ended.status == 1
    assert ended.stderr.splitlines() == [
        "Error: certificates are made with cryptography, which is not installed; pip install 'gpyro[certs]'"
    ]
