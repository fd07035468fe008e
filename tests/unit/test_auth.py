"""Who calls: the arithmetic of the proofs, accounts, key files and validators, without a network."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpyro import auth
from gpyro._auth.proofs import check_proof
from gpyro.auth import Accounts, BasicSSLValidator, Credentials, DefaultConnValidator, Kdf, Key, Means, Seal, prove
from gpyro.errors import ConfigurationError

SECRET = bytes(range(32))
T = hashlib.sha256(b"a transcript").digest()


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


# -- proofs --------------------------------------------------------------------------------------------------


def test_proofs_are_those_of_the_description_computed_another_way() -> None:
    """The formulas of docs/design/wire.md, written down once more with the standard library's long form."""
    client_key = mac(SECRET, b"gpyro client key")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = mac(SECRET, b"gpyro server key")
    mask = mac(stored_key, b"client" + T)
    secret = mac(stored_key, b"session" + T + client_key)
    proof = prove(SECRET, T)
    assert proof.client == bytes(left ^ right for left, right in zip(client_key, mask, strict=True))
    assert proof.server == mac(server_key, b"server" + T)
    assert (proof.to_server, proof.to_client) == (mac(secret, b"c2s\x01"), mac(secret, b"s2c\x01"))
    verifier = Key("press-4", SECRET).verifier()
    assert (verifier.stored_key, verifier.server_key) == (stored_key, server_key)


def test_both_sides_come_to_the_same_session() -> None:
    proof = prove(SECRET, T)
    assert check_proof(Key("press-4", SECRET).verifier(), T, proof.client) == proof


@pytest.mark.parametrize("wrong", [b"", b"\0" * 32, b"\xff" * 31, b"\xff" * 33, prove(b"x" * 32, T).client])
def test_wrong_proofs_are_nobodys(wrong: bytes) -> None:
    assert check_proof(Key("press-4", SECRET).verifier(), T, wrong) is None


def test_a_proof_is_good_for_its_own_transcript_only() -> None:
    other = hashlib.sha256(b"another transcript").digest()
    assert check_proof(Key("press-4", SECRET).verifier(), other, prove(SECRET, T).client) is None


def test_the_servers_proof_is_not_the_clients() -> None:
    """What one side says cannot be said back to it."""
    proof = prove(SECRET, T)
    assert len({proof.client, proof.server, proof.to_server, proof.to_client}) == 4
    assert check_proof(Key("press-4", SECRET).verifier(), T, proof.server) is None


@given(st.integers(0, 255), st.integers(0, 31))
def test_a_proof_with_any_bit_changed_is_refused(bits: int, at: int) -> None:
    proof = bytearray(prove(SECRET, T).client)
    proof[at] ^= bits
    assert (check_proof(Key("press-4", SECRET).verifier(), T, bytes(proof)) is not None) == (bits == 0)


def test_transcripts_differ_wherever_a_byte_moves_from_one_part_to_the_next() -> None:
    parts = [(b"ab", b"c", b""), (b"a", b"bc", b""), (b"ab", b"", b"c"), (b"", b"abc", b""), (b"abc", b"", b"")]
    assert len({auth.build_transcript(*row) for row in parts}) == len(parts)


# -- seals ---------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.binary(max_size=200), min_size=1, max_size=4), max_size=6))
def test_seals_are_hmacs_over_number_and_frame(frames: list[list[bytes]]) -> None:
    sign, check = Seal(SECRET), Seal(SECRET)
    for number, parts in enumerate(frames):
        code = sign.sign(*parts)
        whole = b"".join(parts)
        assert code == mac(SECRET, number.to_bytes(8, "big") + whole)[:16]
        assert check.fits(memoryview(whole), memoryview(code))


def test_frames_repeated_moved_or_left_out_do_not_fit() -> None:
    sign = Seal(SECRET)
    first, second = sign.sign(b"first"), sign.sign(b"second")
    check = Seal(SECRET)
    assert not check.fits(b"second", second)
    assert check.fits(b"first", first)
    assert not check.fits(b"first", first)
    assert check.fits(b"second", second)
    assert not Seal(b"x" * 32).fits(b"first", first)


# -- the kdf -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"", b"\x01\x0e\x08", bytes((2, 14, 8, 1)), bytes((1, 13, 8, 1)), bytes((1, 18, 8, 1)),
             bytes((1, 30, 8, 1)), bytes((1, 14, 9, 1)), bytes((1, 14, 8, 2)), bytes((1, 0, 0, 0))],
)  # fmt: skip
def test_a_server_may_ask_for_neither_too_little_nor_too_much(data: bytes) -> None:
    with pytest.raises(ValueError, match="the server asks for"):
        Kdf.parse(data)


@pytest.mark.parametrize("log_n", [14, 15, 17])
def test_kdf_reads_back_what_it_packs(log_n: int) -> None:
    assert Kdf.parse(Kdf(log_n).pack()) == Kdf(log_n)


def test_kdf_is_scrypt() -> None:
    expected = hashlib.scrypt(b"s3cr3t", salt=b"s" * 16, n=2**14, r=8, p=1, dklen=32, maxmem=2**26)
    assert Kdf().derive(b"s3cr3t", b"s" * 16) == expected


# -- accounts ------------------------------------------------------------------------------------------------


def accounts_of(*salted: bytes, keys: tuple[Key, ...] = ()) -> Accounts:
    named = [(f"passphrase:{number}", key) for number, key in enumerate(salted, 1)]
    return Accounts(named, [key.verifier(("operator",)) for key in keys], Kdf(), b"s" * 16)


def test_each_passphrase_is_an_identity_of_its_own() -> None:
    accounts = accounts_of(b"1" * 32, b"2" * 32)
    for number, key in ((1, b"1" * 32), (2, b"2" * 32)):
        found = accounts.check("", T, prove(key, T).client)
        assert found is not None
        assert found[0].id == f"passphrase:{number}"
    assert accounts.check("", T, prove(b"3" * 32, T).client) is None


def test_a_key_is_known_by_its_id_only() -> None:
    accounts = accounts_of(b"1" * 32, keys=(Key("press-4", SECRET), Key("press-5", b"5" * 32)))
    found = accounts.check("press-4", T, prove(SECRET, T).client)
    assert found is not None
    assert (found[0].id, found[0].roles) == ("press-4", frozenset({"operator"}))
    assert accounts.check("press-5", T, prove(SECRET, T).client) is None
    assert accounts.check("nobody", T, prove(SECRET, T).client) is None
    assert accounts.check("", T, prove(SECRET, T).client) is None
    assert accounts.check("press-4", T, prove(b"1" * 32, T).client) is None


def test_a_server_that_knows_nobody_lets_nobody_in() -> None:
    assert accounts_of().check("", T, prove(b"", T).client) is None


def test_every_login_tries_as_many_verifiers_whether_one_fits_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpyro._auth import accounts as room

    tried: list[str] = []

    def counting(verifier: Any, *rest: Any) -> Any:
        tried.append(verifier.id)
        return check_proof(verifier, *rest)

    monkeypatch.setattr(room, "check_proof", counting)
    accounts = accounts_of(*(bytes([number]) * 32 for number in range(5)), keys=(Key("press-4", SECRET),))
    counts = []
    for key_id, proof in (("", prove(b"\0" * 32, T)), ("", prove(b"x" * 32, T)), ("press-4", prove(SECRET, T)),
                          ("press-4", prove(b"x" * 32, T)), ("unknown", prove(SECRET, T))):  # fmt: skip
        tried.clear()
        accounts.check(key_id, T, proof.client)
        counts.append(len(tried))
    assert counts == [5, 5, 1, 1, 1]


def test_identifications_are_sorted_into_passphrases_and_keys() -> None:
    key = Key("press-4", SECRET)
    passphrases, verifiers = auth.sort_identifications(["one", b"two", auth.Passphrase("readers", "three"), key])
    assert [(item.id, item.secret) for item in passphrases] == [("", b"one"), ("", b"two"), ("readers", b"three")]
    assert verifiers == [key.verifier()]


@pytest.mark.parametrize(
    ("ids", "kind", "text"),
    [
        ("s3cr3t", TypeError, "ids must be a list"),
        (b"s3cr3t", TypeError, "ids must be a list"),
        ([("user", "password")], TypeError, "passphrase"),
        ([None], TypeError, "passphrase"),
        ([""], ValueError, "empty"),
        ([Key("a", SECRET), Key("a", b"x" * 32)], ValueError, "two of the identifications have the id 'a'"),
        ([Key("a", SECRET), auth.Passphrase("a", "x")], ValueError, "two of the identifications have the id 'a'"),
        ([str(number) for number in range(101)], ValueError, "101 passphrases; the limit is 100"),
        ([auth.Passphrase("a", "x"), auth.Passphrase("b", "x")], ValueError, "one passphrase stands for 'b' and"),
    ],
)
def test_what_is_no_identification_is_refused(ids: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        auth.sort_identifications(ids)


@pytest.mark.parametrize("key_id", ["", "*", "a b", "a:b", "passphrase:1", "x" * 65, "a\n", "ä" * 33, "a,b"])
def test_ids_that_could_be_mistaken_are_refused(key_id: str) -> None:
    with pytest.raises(ValueError, match="cannot name anybody"):
        Key(key_id, SECRET)


def test_secrets_show_in_no_repr() -> None:
    key = Key("press-4", SECRET)
    shown = repr((key, key.verifier(), prove(SECRET, T), Seal(SECRET), accounts_of(SECRET), Credentials("s3cr3t")))
    shown += repr(auth.Passphrase("readers", "s3cr3t"))
    assert "s3cr3t" not in shown
    for secret in (SECRET, key.verifier().stored_key, key.verifier().server_key):
        assert repr(secret)[2:-1] not in shown


# -- key files -----------------------------------------------------------------------------------------------


def test_keys_and_accounts_are_read_as_they_were_written(tmp_path: Path) -> None:
    key = Key("press-4", SECRET)
    auth.write_private(tmp_path / "key", auth.format_key(key))
    assert stat.S_IMODE(os.stat(tmp_path / "key").st_mode) == 0o600
    assert auth.load_key(tmp_path / "key") == key
    lines = "# who may call\n\n" + auth.format_verifier(key.verifier(["operator", "reader"]))
    lines += auth.format_verifier(Key("press-5", b"5" * 32).verifier())
    auth.write_private(tmp_path / "accounts", lines)
    known = auth.load_verifiers(tmp_path / "accounts")
    assert known == [key.verifier(["operator", "reader"]), Key("press-5", b"5" * 32).verifier()]
    assert auth.load_verifiers(tmp_path / "key") == [key.verifier()]


def test_a_file_of_identifications_may_hold_any_kind(tmp_path: Path) -> None:
    key = Key("press-4", SECRET)
    for name, text, expected in (
        ("key", auth.format_key(key), key),
        ("accounts", auth.format_verifier(key.verifier()), [key.verifier()]),
        ("passphrase", "a pass phrase\n", "a pass phrase"),
        ("hash", "#hash\n", "#hash"),
    ):
        auth.write_private(tmp_path / name, text)
        assert auth.load_identification(tmp_path / name) == expected


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    auth.write_private(tmp_path / "key", auth.format_key(Key("press-4", SECRET)))
    os.chmod(tmp_path / "key", mode)
    with pytest.raises(ConfigurationError, match=f"has mode {mode:04o}.*chmod 600"):
        auth.load_key(tmp_path / "key")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        ("gpyro-key-1 a\n", "line 1 .* does not read gpyro-key-1 ID SECRET"),
        ("gpyro-key-1 a:b AAAA\n", "line 1 .* cannot name anybody"),
        ("gpyro-key-1 a AAAA\n", "line 1 .* not 32 bytes in base64"),
        ("gpyro-key-1 a $$$$\n", "line 1 .* not 32 bytes in base64"),
        ("# accounts\ngpyro-verifier-1 a b\n", "line 2 .* does not read gpyro-verifier-1"),
        ("one\ntwo\n", "line 1 .* does not read gpyro-verifier-1"),
        ("\xff\n", None),
    ],
)
def test_bad_files_are_refused_with_the_line_and_without_the_secret(
    tmp_path: Path, text: str, what: str | None
) -> None:
    auth.write_private(tmp_path / "file", text)
    if what is None:
        assert auth.load_identification(tmp_path / "file") == "\xff"
        return
    with pytest.raises(ConfigurationError, match=what) as info:
        auth.load_identification(tmp_path / "file")
    assert "$$$$" not in str(info.value)


def test_nothing_is_overwritten_and_no_link_followed(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("there", "link"):
        with pytest.raises(ConfigurationError, match="cannot be made"):
            auth.write_private(tmp_path / name, "x")
    assert (tmp_path / "there").read_text() == "precious"
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, what in (("pipe", "no plain file"), ("missing", "No such file"), (".", "directory|no plain file")):
        with pytest.raises(ConfigurationError, match=what):
            auth.load_key(tmp_path / name)


# -- validators ----------------------------------------------------------------------------------------------


class TokenMaker(DefaultConnValidator):
    def createAuthToken(self, authid: Any, challenge: bytes, peeraddr: Any, URI: Any, daemon: Any) -> bytes:
        return b"token"


class Onlooker(DefaultConnValidator):
    def acceptIdentification(
        self, daemon: Any, connection: Any, token: bytes, challenge: bytes
    ) -> tuple[int, int]:
        return super().acceptIdentification(daemon, connection, token, challenge)


class Munger(DefaultConnValidator):
    def mungeIdent(self, ident: Any) -> bytes:
        return hashlib.sha256(str(ident).encode()).digest()


class Forgetful(DefaultConnValidator):
    def __init__(self) -> None:
        pass


def test_means_follow_from_what_a_class_overrides_and_from_what_is_allowed() -> None:
    plain = DefaultConnValidator()
    assert plain.means() is Means.NONE
    plain.setAllowedIdentifications(["one"])
    assert plain.means() is Means.LOGIN
    plain.setAllowedIdentifications([])
    assert plain.means() is Means.LOGIN, "an empty list lets nobody in"
    plain.setAllowedIdentifications(None)
    assert plain.means() is Means.NONE
    assert TokenMaker().means() is Means.CUSTOM
    assert Munger().means() is Means.CUSTOM
    onlooker = Onlooker()
    assert onlooker.means() is Means.CUSTOM
    onlooker.setAllowedIdentifications(["one"])
    assert onlooker.means() is Means.LOGIN
    assert Forgetful().means() is Means.NONE


def test_a_refused_list_changes_nothing_that_lets_somebody_in() -> None:
    validator = DefaultConnValidator()
    validator.setAllowedIdentifications(["one"])
    before = validator.identifications
    for bad in ("one", ["two", ""], ["two", None]):
        with pytest.raises((TypeError, ValueError)):
            validator.setAllowedIdentifications(bad)
    assert validator.identifications is before
    assert validator.means() is Means.LOGIN


def test_base_token_of_a_custom_validator_fits_what_it_allows() -> None:
    validator = Munger()
    validator.setAllowedIdentifications(["one", "two"])
    challenge = validator.createAuthChallenge(None, None)
    token = Credentials("two", validator).token(challenge, ("127.0.0.1", 1), None)
    connection = SimpleNamespace(login=None, identity=None)
    assert validator.acceptIdentification(None, connection, token, challenge) == (1, 0)
    assert connection.identity is None, "a token of one's own names nobody by itself"
    assert validator.acceptIdentification(None, connection, "text", challenge) == (0, auth.DENIED_SECURITY)
    other = validator.createAuthChallenge(None, None)
    assert other != challenge
    assert validator.acceptIdentification(None, connection, token, other) == (0, auth.DENIED_SECURITY)


def test_certificate_validator_denies_who_shows_none() -> None:
    validator = BasicSSLValidator()
    assert validator.acceptHost(None, SimpleNamespace(certificate=None)) == (0, auth.DENIED_SECURITY)
    assert validator.acceptHost(None, SimpleNamespace(certificate={"subject": ()})) == (1, 0)


def test_credentials_tell_what_they_want() -> None:
    assert not Credentials().wants_login()
    assert not Credentials(None, DefaultConnValidator()).wants_login()
    assert Credentials("one").wants_login()
    assert Credentials(None, TokenMaker()).means() is Means.CUSTOM
    assert Credentials(("user", "password"), TokenMaker()).wants_login()
    with pytest.raises(TypeError, match="passphrase"):
        Credentials(("user", "password"))


def test_long_lived_objects_tell_their_state() -> None:
    assert repr(accounts_of(SECRET, keys=(Key("a", SECRET),))) == "<Accounts of 1 passphrases and 1 keys>"
    assert repr(DefaultConnValidator()) == "<DefaultConnValidator, wants not at all>"
    assert repr(TokenMaker()) == "<TokenMaker, wants the validator's own token>"
    assert repr(Seal(SECRET)) == "<Seal, 0 frames>"
    assert repr(Credentials("one")) == "<Credentials, a passphrase or key>"
