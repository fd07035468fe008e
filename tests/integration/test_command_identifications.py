"""Commands with identifications: from the command line, a file, a prompt; and keys of `gpyro keygen`."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from gpyro_cli.main import cli

import gpyro
from gpyro import auth
from gpyro.errors import ConnectionDeniedError
from tests.support.programs import SECONDS, Program, free_port, make_environment, run

PASSPHRASE = "s3cr3t"


def invoke(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, list(words), input=stdin)


def line_of(result: Result) -> str:
    """Return the one line on stderr of a command that failed."""
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    return result.stderr


def assert_only_failed_logins(stderr: str) -> None:
    """An operator sees those, and no secret."""
    assert all(line.startswith("Daemon: a login from (") for line in stderr.splitlines()), stderr
    assert PASSPHRASE not in stderr


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two keys, the accounts for both, and a passphrase."""
    folder = tmp_path_factory.mktemp("keys")
    accounts = ""
    for key_id, roles in (("press-4", ["-r", "operator", "-r", "reader"]), ("press-5", [])):
        result = invoke("keygen", key_id, "-o", str(folder / f"{key_id}.key"), *roles)
        assert result.exit_code == 0, result.output
        accounts += result.stdout
    auth.write_private(folder / "accounts", accounts)
    auth.write_private(folder / "passphrase", PASSPHRASE + "\n")
    return folder


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a name server that wants a passphrase."""
    number = free_port()
    environment = make_environment(tmp_path_factory.mktemp("storage"), ns_port=number)
    with Program(["-m", "gpyro", "ns", "-r", "-i", PASSPHRASE], environment) as program:
        program.read_until("Requiring connection authentication.")
        program.read_until("Name Server started.")
        yield number
        ended = program.stop()
        assert ended.status == 0
        assert_only_failed_logins(ended.stderr)


def nsc(port: int, *words: str, stdin: str | None = None) -> Result:
    return invoke("nsc", "-h", "127.0.0.1", "-p", str(port), *words, stdin=stdin)


# -- keygen ----------------------------------------------------------------------------------------------------


def test_keygen_makes_a_key_for_the_caller_and_a_line_for_the_server(files: Path) -> None:
    path = files / "press-4.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = auth.load_key(path)
    assert key.id == "press-4"
    known = auth.load_verifiers(files / "accounts")
    assert known[0] == key.verifier(["operator", "reader"])
    assert known[1].id == "press-5"
    assert key.secret not in known[0].stored_key + known[0].server_key


def test_keygen_overwrites_nothing(files: Path) -> None:
    before = (files / "press-4.key").read_text()
    assert "nothing is overwritten" in line_of(invoke("keygen", "press-4", "-o", str(files / "press-4.key")))
    assert (files / "press-4.key").read_text() == before


def test_two_keys_are_never_the_same(tmp_path: Path) -> None:
    secrets = set()
    for number in range(3):
        invoke("keygen", "press-4", "-o", str(tmp_path / str(number)))
        secrets.add(auth.load_key(tmp_path / str(number)).secret)
    assert len(secrets) == 3


def test_keygen_makes_no_key_where_somebody_else_could_put_another(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert "has mode 0777" in line_of(invoke("keygen", "press-4", "-o", str(tmp_path / "open" / "key")))
    assert list((tmp_path / "open").iterdir()) == []


def test_accounts_are_for_servers(port: int, files: Path) -> None:
    result = nsc(port, "--identification-file", str(files / "accounts"), "ping")
    assert result.exit_code == 2
    assert "accounts, which are for servers" in result.stderr


def test_rights_for_callers_whom_nobody_asks_are_noticed_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "rights").write_text(":  press-4  admin\n")
    (tmp_path / "rights").chmod(0o600)
    environment = make_environment(tmp_path, ns_port=free_port())
    with Program(["-m", "gpyro", "ns", "-r", "--rights", str(tmp_path / "rights")], environment) as program:
        assert program.read_until("WARNING: the rights name callers").endswith("so nobody has them")
        program.read_until("Name Server started.")
        assert program.stop().status == 0


def test_rights_that_others_could_change_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rights").write_text(":  *  lookup\n")
    (tmp_path / "rights").chmod(0o666)
    ended = run(["-m", "gpyro", "ns", "--rights", str(tmp_path / "rights")], make_environment(tmp_path))
    assert ended.status == 1
    assert "has mode 0666, so that others can change it" in ended.stderr


@pytest.mark.parametrize("words", [["a b"], ["*"], ["passphrase:1"], [""], ["press-4", "-r", "*"]])
def test_keygen_takes_no_id_that_could_be_mistaken(words: list[str], tmp_path: Path) -> None:
    result = invoke("keygen", *words, "-o", str(tmp_path / "key"))
    assert result.exit_code == 2
    assert "cannot name anybody" in result.stderr
    assert not (tmp_path / "key").exists()


# -- nsc -------------------------------------------------------------------------------------------------------


def test_nsc_identifies_itself_in_every_way(port: int, files: Path) -> None:
    for words, stdin in (
        (["-i", PASSPHRASE], None), (["--identification-file", str(files / "passphrase")], None),
        (["-i", "-"], PASSPHRASE + "\n"),
    ):  # fmt: skip
        result = nsc(port, *words, "ping", stdin=stdin)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.endswith("NS is up and running!\n")


@pytest.mark.parametrize("words", [[], ["-i", "wrong"]])
def test_nsc_without_the_right_identification_is_told_so_in_one_line(port: int, words: list[str]) -> None:
    error = line_of(nsc(port, *words, "ping"))
    assert error.startswith("Error: security reasons: ")
    assert f"127.0.0.1 port {port}" in error
    assert "wrong" not in error


def test_identification_file_that_others_can_read_is_refused(port: int, tmp_path: Path) -> None:
    (tmp_path / "open").write_text(PASSPHRASE)
    os.chmod(tmp_path / "open", 0o644)
    assert "has mode 0644" in line_of(nsc(port, "--identification-file", str(tmp_path / "open"), "ping"))


def test_prompt_shows_nothing_of_what_is_typed(port: int, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    words = ["-m", "gpyro", "nsc", "-h", "127.0.0.1", "-p", str(port), "-i", "-", "ping"]
    with subprocess.Popen(
        [sys.executable, *words], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs,
        env=make_environment(tmp_path), start_new_session=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = b""
        while b"Identification: " not in shown:
            shown += os.read(ours, 1000)
        os.write(ours, PASSPHRASE.encode() + b"\n")
        stdout, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0
        assert stdout.endswith(b"NS is up and running!\n")
        try:
            while data := os.read(ours, 1000):
                shown += data
        except OSError:
            pass  # the other side of the terminal has closed
        os.close(ours)
    assert PASSPHRASE.encode() not in shown


# -- ns, echoserver ----------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_servers_and_clients_of_a_name_server_with_accounts(tmp_path: Path, files: Path) -> None:
    port = free_port()
    environment = make_environment(tmp_path, ns_port=port)
    accounts = str(files / "accounts")
    words = ["-m", "gpyro", "echoserver", "-N", "-H", "127.0.0.1", "-p", "0", "--identification-file", accounts]
    with Program(words, environment) as program:
        program.read_until("requiring connection authentication.")
        uri = program.read_until("echo uri = PYRO")
        program.read_until("echoserver running.")
        key = auth.load_key(files / "press-4.key")
        proxy = gpyro.Proxy(f"PYRONAME://127.0.0.1:{port}/:Pyro.test.echoserver")
        with pytest.raises(ConnectionDeniedError):
            proxy.echo("hello")
        proxy._setIdentification(key)
        assert proxy.echo("hello") == "hello", "the name server is asked with the same key"
        proxy._release()
        direct = gpyro.Proxy(f"PYRO{uri}")
        direct._setIdentification(auth.Key("press-4", bytes(32)))
        with pytest.raises(ConnectionDeniedError):
            direct.echo("hello")
        ended = program.stop()
        assert ended.status == 0
        assert "as 'press-4' failed" in ended.stderr
        assert_only_failed_logins(ended.stderr)


def test_a_second_name_server_sees_that_one_runs_that_it_may_not_ask(port: int, tmp_path: Path) -> None:
    ended = run(["-m", "gpyro", "ns"], make_environment(tmp_path, ns_port=port))
    assert ended.status == 1
    assert "one is running already" in ended.stderr
    assert "wants an identification" in ended.stderr


def test_servers_open_to_others_need_an_identification(tmp_path: Path) -> None:
    environment = make_environment(tmp_path, ns_port=free_port())
    ended = run(["-m", "gpyro", "ns", "-r", "-n", "0.0.0.0"], environment)
    assert ended.status == 1
    assert "(-i)" in ended.stderr
    assert "--insecure" in ended.stderr
    with Program(["-m", "gpyro", "ns", "-r", "-x", "-n", "0.0.0.0", "-i", PASSPHRASE], environment) as program:
        program.read_until("Name Server started.")
        assert program.stop().status == 0


def test_daemon_registers_and_is_found_with_identifications_throughout(port: int) -> None:
    ns = gpyro.naming.NameServerLocator(PASSPHRASE).getNS("127.0.0.1", port)
    with gpyro.Daemon(port=0, norange=True, identifications=[PASSPHRASE]) as daemon:
        daemon.useNameServer(ns)
        daemon.connect(gpyro.ObjBase(), "guarded")
        assert ns.list("") == [("guarded", 1)]
        with pytest.raises(ConnectionDeniedError):
            gpyro.naming.NameServerLocator().getNS("127.0.0.1", port)
        with pytest.raises(ConnectionDeniedError):
            gpyro.naming.NameServerLocator("wrong").getNS("127.0.0.1", port)
    assert ns.list("") == []
    assert ns.__copy__().list("") == []
    ns._release()
