"""Every command as users call it: what it prints, where, and its status."""

from __future__ import annotations

import os
import pty
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from gpyro_cli.main import cli

import gpyro
from tests.support.names import emptied_afterwards
from tests.support.programs import Program, free_port, make_environment, run

NS = ["-m", "gpyro", "ns"]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a name server in a process of its own."""
    port = free_port()
    environment = make_environment(tmp_path_factory.mktemp("storage"), ns_port=port)
    with Program([*NS, "-r"], environment) as program:
        program.read_until("Name Server started.")
        yield port
        ended = program.stop()
        assert (ended.status, ended.stderr) == (0, "")


@pytest.fixture
def ns(port: int) -> Iterator[gpyro.naming.NameServerProxy]:
    """The name server, emptied afterwards."""
    with emptied_afterwards(port) as proxy:
        yield proxy


class Nsc:
    """Calls `gpyro nsc` in this process."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(self, *words: str) -> Result:
        return CliRunner().invoke(cli, ["nsc", "-h", "127.0.0.1", "-p", str(self.port), *words])

    def lines(self, *words: str) -> list[str]:
        """Return what it prints when it succeeds."""
        result = self(*words)
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout.splitlines()

    def error(self, *words: str, status: int = 1) -> str:
        """Return its one line on stderr when it fails."""
        result = self(*words)
        assert result.exit_code == status
        assert status == 2 or result.stderr.count("\n") == 1
        return result.stderr


@pytest.fixture
def nsc(port: int, ns: gpyro.naming.NameServerProxy) -> Nsc:
    return Nsc(port)


# -- nsc -------------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_ping_says_where_the_name_server_is(nsc: Nsc, port: int) -> None:
    assert nsc.lines("ping") == [f"NS is at 127.0.0.1 port {port}", "NS is up and running!"]


def test_registered_names_are_listed_resolved_and_removed(nsc: Nsc) -> None:
    assert nsc.lines("list") == []
    assert nsc.lines("register", "foo", "PYRO://127.0.0.1:1234/abc") == [":Default.foo registered."]
    assert nsc.lines("register", ":Default.loc", "PYROLOC://127.0.0.1:1234/x") == [":Default.loc registered."]
    assert nsc.lines("list") == ["foo  object", "loc  object"]
    assert nsc.lines("list", ":") == ["Default  group", "Pyro     group"]
    assert nsc.lines("resolve", "foo") == [":Default.foo  PYRO://127.0.0.1:1234/abc"]
    assert nsc.lines("listall") == [
        ":Default.foo      PYRO://127.0.0.1:1234/abc",
        ":Default.loc      PYROLOC://127.0.0.1:1234/x",
        f":Pyro.NameServer  PYRO://127.0.0.1:{nsc.port}/:Pyro.NameServer",
    ]
    assert nsc.lines("remove", "foo", "loc") == [":Default.foo removed.", ":Default.loc removed."]
    assert nsc.lines("list", ":Default") == []


def test_several_groups_are_listed_each_under_its_name(nsc: Nsc) -> None:
    nsc.lines("creategroup", ":g1", ":g1.sub", "rel")
    assert nsc.lines("list", ":g1", "rel") == [":g1 -->", "sub  group", ":Default.rel -->"]
    assert nsc.lines("deletegroup", ":g1", "rel") == [":g1 deleted.", ":Default.rel deleted."]


def test_meta_is_set_and_shown(nsc: Nsc) -> None:
    nsc.lines("register", "foo", "PYRO://127.0.0.1:1234/abc")
    assert nsc.lines("setmeta", "foo", "hello meta") == ["Metadata of :Default.foo set."]
    system, user = nsc.lines("showmeta", "foo")
    assert system.startswith("system  [type=1 timestamp=")
    assert "owner=127.0.0.1:" in system
    assert user == "user    hello meta"
    assert nsc.lines("showmeta", "foo", ":Pyro")[3] == ":Pyro -->"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["register", "taken", "PYRO://h:1/a"], "name already exists: ':Default.taken'"),
        (["register", "a..b", "PYRO://h:1/a"], "invalid name: 'a..b' has an empty part at position 2"),
        (["register", "sp ace", "PYRO://h:1/a"], "invalid character(s) in name: 'sp ace' has ' ' at position 2"),
        (["register", "bad", "notauri"], "invalid URI: 'bad': address 'notauri' has no protocol"),
        (["register", "bad", "PYRONAME://x"], "invalid URI: 'bad'"),
        (["register", "nogroup.x", "PYRO://h:1/a"], "(parent)group not found: ':Default.nogroup.x'"),
        (["register", "taken.x", "PYRO://h:1/a"], "parent is no group: ':Default.taken.x'"),
        (["resolve", "nope"], "name not found: ':Default.nope'"),
        (["resolve", ":Default"], "attempt to resolve groupname: ':Default'"),
        (["list", "nope"], "group not found: ':Default.nope'"),
        (["list", "taken"], "is no group: ':Default.taken'"),
        (["remove", "nope"], "name not found: ':Default.nope'"),
        (["remove", ":Default"], "is a group, not an object: ':Default'"),
        (["creategroup", ":Default"], "group already exists: ':Default'"),
        (["creategroup", ":"], "invalid groupname: ':'"),
        (["creategroup", ":no.sub"], "(parent)group not found: ':no.sub'"),
        (["creategroup", "taken"], "name already exists: ':Default.taken'"),
        (["deletegroup", "nope"], "group not found: ':Default.nope'"),
        (["deletegroup", "taken"], "is no group: ':Default.taken'"),
        (["deletegroup", ":"], "not allowed to delete root group: ':'"),
        (["showmeta", "nope"], "name not found: ':Default.nope'"),
        (["setmeta", "nope", "x"], "name not found: ':Default.nope'"),
    ],
)
def test_bad_input_is_told_in_one_line_with_status_1(nsc: Nsc, words: list[str], text: str) -> None:
    nsc.lines("register", "taken", "PYRO://127.0.0.1:1/taken")
    assert nsc.error(*words).startswith(f"Error: {text}")


@pytest.mark.parametrize(
    "words",
    [[], ["nosuch"], ["register"], ["register", "x"], ["resolve"], ["remove"], ["creategroup"], ["deletegroup"],
     ["showmeta"], ["setmeta", "x"], ["ping", "extra"], ["listall", "extra"]],
)  # fmt: skip
def test_wrong_words_end_with_status_2_and_usage(nsc: Nsc, words: list[str]) -> None:
    assert "Usage: " in nsc.error(*words, status=2)


def test_what_can_be_done_is_done_and_what_cannot_is_told(nsc: Nsc) -> None:
    result = nsc("creategroup", ":g1", ":no.sub", ":g2")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [":g1 created.", ":g2 created."]
    assert result.stderr.startswith("Error: (parent)group not found: ':no.sub'")
    result = nsc("resolve", "nope", ":Pyro.NameServer")
    assert result.exit_code == 1
    assert result.stdout.startswith(":Pyro.NameServer  PYRO://")
    assert result.stderr == "Error: name not found: ':Default.nope'\n"


@pytest.mark.parametrize("words", [["ping"], ["list"], ["register", "a", "PYRO://h:1/a"], ["shutdown"]])
def test_absent_name_server_is_told_with_status_1(words: list[str]) -> None:
    nowhere = Nsc(free_port())
    text = nowhere.error(*words)
    assert f"could not find a name server on host 127.0.0.1; tried 127.0.0.1 port {nowhere.port}" in text
    assert "Connection refused" in text
    assert "gpyro ns" in text


def test_unknown_host_is_told() -> None:
    result = CliRunner().invoke(cli, ["nsc", "-h", "no.such.host.invalid", "ping"])
    assert result.exit_code == 1
    assert "no.such.host.invalid" in result.stderr
    assert result.stderr.count("\n") == 1


def test_nsc_as_a_process_finds_the_name_server_by_the_settings(port: int, tmp_path: Path) -> None:
    ended = run(["-m", "gpyro", "nsc", "listall"], make_environment(tmp_path, ns_port=port))
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout == f":Pyro.NameServer  PYRO://127.0.0.1:{port}/:Pyro.NameServer\n"


def test_nsc_as_a_process_tells_all_places_without_a_traceback(tmp_path: Path) -> None:
    environment = make_environment(tmp_path, ns_port=free_port())
    ended = run(["-m", "gpyro", "nsc", "ping"], environment)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr.count("\n") == 1
    assert "Pyro_NS_URI (No such file or directory)" in ended.stderr
    ended = run(["-m", "gpyro", "--debug", "nsc", "ping"], environment)
    assert ended.status == 1
    assert "Traceback (most recent call last)" in ended.stderr


def test_broken_setting_is_told_in_one_line(tmp_path: Path) -> None:
    ended = run(["-m", "gpyro", "nsc", "ping"], make_environment(tmp_path, ns_port="many"))
    assert ended.status == 1
    assert ended.stderr.startswith("Error: environment variable GPYRO_NS_PORT is 'many'")
    assert ended.stderr.count("\n") == 1


# -- ns --------------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_ns_prints_its_address_writes_it_and_stops_on_sigterm(tmp_path: Path) -> None:
    port = free_port()
    environment = make_environment(tmp_path / "storage", ns_port=port)
    (tmp_path / "storage").mkdir()
    file = tmp_path / "storage" / "Pyro_NS_URI"
    with Program([*NS, "-v"], environment) as program:
        program.read_until("Name Server started.")
        assert file.read_text() == f"PYRO://127.0.0.1:{port}/:Pyro.NameServer\n"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        ended = program.stop()
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "*** gpyro Name Server ***",
        "Will accept shutdown requests.",
        f"Name server listening on: 127.0.0.1 port {port}",
        f"URI is: PYRO://127.0.0.1:{port}/:Pyro.NameServer",
        f"URI written to: {file}",
        "Name Server started.",
        "Shutting down on a signal.",
        "Name Server gracefully stopped.",
    ]
    assert os.listdir(tmp_path / "storage") == []


def test_python_m_gpyro_naming_is_the_same_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    with Program(["-m", "gpyro.naming", "-p", "0"], make_environment(tmp_path)) as program:
        uri = gpyro.PyroURI(program.read_until("URI is:"))
        program.read_until("Name Server started.")
        ns = gpyro.naming.NameServerLocator().getNS(uri.address, uri.port)
        # The classes are those of gpyro.naming, not of __main__.
        ns.createGroup(":Plant")
        assert ns._getSystemMeta(":Plant").kind == 0
        ns._release()
        ended = program.stop(signal.SIGINT)
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.endswith("Name Server gracefully stopped.\n")


def test_second_ns_is_refused_with_status_1_and_the_first_lives_on(port: int, tmp_path: Path) -> None:
    environment = make_environment(tmp_path, ns_port=port)
    ended = run(NS, environment)
    assert ended.status == 1
    assert f"one is running already, PYRO://localhost:{port}/:Pyro.NameServer" in ended.stderr
    assert ended.stderr.count("\n") == 1
    ended = run([*NS, "-r"], environment)
    assert ended.status == 1
    assert f"port {port} of localhost is in use" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert Nsc(port).lines("ping")
    assert os.listdir(tmp_path) == []


def test_ns_beyond_this_machine_needs_insecure(tmp_path: Path) -> None:
    environment = make_environment(tmp_path)
    ended = run([*NS, "-r", "-p", "0", "-n", "0.0.0.0"], environment)
    assert ended.status == 1
    assert "--insecure" in ended.stderr
    assert ended.stderr.count("\n") == 1
    with Program([*NS, "-r", "-x", "-p", "0", "-n", "0.0.0.0", "--insecure"], environment) as program:
        program.read_until("Name Server started.")
        assert program.stop().status == 0


def test_ns_on_an_unknown_host_is_told(tmp_path: Path) -> None:
    ended = run([*NS, "-r", "-n", "nohost.invalid"], make_environment(tmp_path))
    assert ended.status == 1
    assert "nohost.invalid" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_ns_refuses_a_port_that_is_none(tmp_path: Path) -> None:
    for word in ("abc", "65536", "-1"):
        assert run([*NS, "-p", word], make_environment(tmp_path)).status == 2


def test_nsc_shutdown_ends_the_name_server_and_its_file_goes(tmp_path: Path) -> None:
    environment = make_environment(tmp_path)
    with Program([*NS, "-p", "0"], environment) as program:
        uri = gpyro.PyroURI(program.read_until("URI is:"))
        program.read_until("Name Server started.")
        assert uri.port is not None
        assert Nsc(uri.port).lines("shutdown") == ["Will shut down shortly."]
        ended = program.finish()
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.endswith("Name Server gracefully stopped.\n")
    assert os.listdir(tmp_path) == []


def test_ns_that_keeps_running_denies_shutdown(tmp_path: Path) -> None:
    with Program([*NS, "-p", "0", "-k"], make_environment(tmp_path)) as program:
        uri = gpyro.PyroURI(program.read_until("URI is:"))
        program.read_until("Name Server started.")
        assert uri.port is not None
        assert "Shutdown request denied" in Nsc(uri.port).error("shutdown")
        assert Nsc(uri.port).lines("ping")
        ended = program.stop()
    assert ended.status == 0
    assert "Will ignore shutdown requests." in ended.stdout


def test_a_name_server_with_rights_denies_what_its_file_does_not_grant(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "plant.rights").write_text(": * lookup  # and nothing else\n")
    environment = make_environment(tmp_path, ns_port=port)
    with Program([*NS, "-r", "--rights", str(tmp_path / "plant.rights")], environment) as program:
        program.read_until("Name Server started.")
        nsc = Nsc(port)
        assert nsc.lines("ping")
        assert nsc.lines("resolve", ":Pyro.NameServer")
        assert "a caller without an identity lacks the right 'register' to ':Default.x'" in nsc.error(
            "register", ":Default.x", "PYRO://localhost:1/x"
        )
        assert "lacks the right 'admin' to ':'" in nsc.error("shutdown")
        assert program.stop().status == 0

# -- the others --------------------------------------------------------------------------------------------------


def test_echoserver_registers_with_a_running_name_server_and_takes_its_name_along(
    port: int, nsc: Nsc, tmp_path: Path
) -> None:
    environment = make_environment(tmp_path, ns_port=port)
    with Program(["-m", "gpyro.echoserver", "-n", "-v", "-p", str(free_port())], environment) as server:
        server.read_until("object name = :Pyro.test.echoserver")
        addresses = [server.read_until("echo uri ="), server.read_until("echo uri =")]
        server.read_until("echoserver running.")
        addresses.append(f"PYRONAME://127.0.0.1:{port}/:Pyro.test.echoserver")
        for address in addresses:
            proxy = gpyro.Proxy(address)
            assert proxy.echo(address) == address
            proxy._release()
        second = run(["-m", "gpyro", "echoserver", "-n"], environment)
        assert second.status == 1
        assert "name already exists" in second.stderr
        ended = server.stop()
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.count(" - echo: ") == 3
    assert "name not found" in nsc.error("resolve", ":Pyro.test.echoserver")


def test_echoserver_without_a_name_server_says_so(tmp_path: Path) -> None:
    environment = make_environment(tmp_path, ns_port=free_port(), port=free_port())
    with Program(["-m", "gpyro", "echoserver"], environment) as server:
        server.read_until("not using a name server.")
        server.read_until("echoserver running.")
        assert server.stop().status == 0
    ended = run(["-m", "gpyro", "echoserver", "-n"], environment)
    assert ended.status == 1
    assert "could not find a name server" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_python_m_gpyro_configuration_shows_where_settings_come_from(tmp_path: Path) -> None:
    (tmp_path / "my.conf").write_text("PYRO_NS_PORT = 9191\n")
    environment = make_environment(tmp_path, port=7800, nosuch=1)
    environment["GPYRO_CONFIG_FILE"] = str(tmp_path / "my.conf")
    ended = run(["-m", "gpyro.configuration"], environment)
    assert ended.status == 0
    rows = [line.split(None, 2) for line in ended.stdout.splitlines()]
    assert ["port", "7800", "environment GPYRO_PORT"] in rows
    assert ["ns_port", "9191", f"file {tmp_path / 'my.conf'}"] in rows
    assert "Note: environment variable GPYRO_NOSUCH is no setting" in ended.stderr


def test_help_loads_no_gevent(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom gpyro_cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    print(end.code, 'gevent' in sys.modules)"
    )
    ended = run(["-c", program], make_environment(tmp_path))
    assert ended.stdout.splitlines()[-1] == "0 False"


def test_table_on_a_terminal_has_colours(port: int, tmp_path: Path) -> None:
    import subprocess
    import sys

    ours, theirs = pty.openpty()
    environment = {**make_environment(tmp_path, ns_port=port), "TERM": "xterm"}
    subprocess.run(
        [sys.executable, "-m", "gpyro", "nsc", "list", ":"], stdout=theirs, env=environment, timeout=30, check=True
    )
    os.close(theirs)
    printed = os.read(ours, 65536).decode()
    os.close(ours)
    assert "\x1b[" in printed
    assert click.unstyle(printed).split()[:2] == ["NAME", "KIND"]
