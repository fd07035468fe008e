"""How a name server that starts is found by broadcast, looks for others, and takes plugins; the command."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest

import gpyro
from gpyro import naming
from gpyro._naming import locating
from gpyro._naming.broadcast import HEADER, Kind
from gpyro.configuration import Settings
from gpyro.errors import DaemonError, NamingError
from tests.support.discovery import BROADCAST, SECONDS, Asker, bc_port_of, name_server, own_settings
from tests.support.programs import Program, free_port, make_environment, run

NS = ["-m", "gpyro", "ns"]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return own_settings(tmp_path, monkeypatch)


# -- starter and command ---------------------------------------------------------------------------------------


def test_name_server_for_this_machine_alone_hears_broadcasts_only_if_asked(settings: Settings) -> None:
    with name_server(bcaddr=None) as one:
        assert one.bcserver is None
    with name_server(bcaddr=None, bcport=0) as one:
        assert one.bcserver is not None
        assert one.bcserver.host == BROADCAST
    with name_server(bcport=0, nobroadcast=True) as one:
        assert one.bcserver is None


def test_taken_port_is_an_error_if_it_was_asked_for_and_a_warning_otherwise(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", settings.ns_bc_port))
        one = naming.NameServerStarter()
        with pytest.raises(DaemonError, match=r"Name Server was not started: .*Address already in use.*-b"):
            one.initialize(port=0, bcport=settings.ns_bc_port, dontlookupother=True)
        assert repr(one).startswith("<NameServerStarter ended")
        with name_server(hostname="0.0.0.0", bcaddr=None, insecure_no_auth=True) as one:
            assert one.bcserver is None
    assert "WARNING: the broadcast server cannot listen on 0.0.0.0 port" in capsys.readouterr().out


def test_name_server_for_this_machine_alone_is_told_of_another_on_the_network_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locating, "FIRST_ANSWER_SECONDS", SECONDS)
    with name_server(bcport=0) as first, name_server("s3cret phrase", bcport=0) as closed:
        for other, more in ((first, ""), (closed, ", and it wants an identification")):
            settings.ns_bc_port = bc_port_of(other)
            with pytest.raises(NamingError, match=f"on this network already, {other.uri}{more}; .*-m"):
                naming.NameServerStarter().initialize(port=0)
        with name_server(bcaddr=None, dontlookupother=False, allowmultiple=True) as second:
            assert second.bcserver is None
    assert "WARNING: starting another name server; one is running on this network" in capsys.readouterr().out


class Site:
    """Where `gpyro ns` runs, heard at one UDP port of loopback."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.environment = self.make("first")

    def make(self, name: str) -> dict[str, str]:
        storage = self.directory / name
        storage.mkdir()
        # Long, as answers may take long on a busy machine; tests in which none comes have it shorter.
        return make_environment(storage, ns_port=free_port(), ns_bc_port=self.port, bc_timeout=10)

    def ns(self, *words: str, name: str = "", seconds: float = 0.1) -> Program:
        environment = self.make(name) if name else self.environment
        return Program([*NS, "-p", "0", *words], {**environment, "GPYRO_BC_TIMEOUT": str(seconds)})


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.smoke
def test_command_tells_where_it_hears_broadcasts_and_nsc_finds_it(site: Site) -> None:
    with site.ns("-c", BROADCAST) as program:
        assert program.read_until("Broadcast server listening on:") == f"{BROADCAST} port {site.port}"
        uri = gpyro.PyroURI(program.read_until("URI is:"))
        program.read_until("Name Server started.")
        elsewhere = site.make("elsewhere")
        ended = run(["-m", "gpyro", "nsc", "ping"], elsewhere)
        assert ended.stdout.splitlines()[0] == f"NS is at 127.0.0.1 port {uri.port}"
        elsewhere["GPYRO_NS_BC_ADDR"] = "127.0.0.77"
        nowhere = {**elsewhere, "GPYRO_BC_TIMEOUT": "0.1"}
        words = ["-m", "gpyro", "nsc", "-p", str(site.port)]
        assert run([*words, "-c", BROADCAST, "ping"], elsewhere).stdout == ended.stdout
        assert "(no answer)" in run([*words, "ping"], nowhere).stderr
        assert program.stop().status == 0


def test_command_takes_a_free_port_and_tells_it(site: Site) -> None:
    with site.ns("-b", "0") as program:
        where = program.read_until("Broadcast server listening on:")
        port = int(where.removeprefix(f"{BROADCAST} port "))
        program.read_until("Name Server started.")
        with closing(Asker(port)) as asker:
            text = asker.ask()
            assert text is not None
            assert text.startswith("PYRO://127.0.0.1:")
        assert program.stop().status == 0


def test_command_starts_none_when_it_is_told_not_to(site: Site) -> None:
    with site.ns("-x") as program:
        program.read_until("Not starting broadcast server.")
        program.read_until("Name Server started.")
        ended = program.stop()
    assert "Broadcast server" not in ended.stdout
    ended = run([*NS, "-x", "-b", "0"], site.environment)
    assert ended.status == 2
    assert "give one or the other" in ended.stderr


def test_second_on_the_network_is_refused_unless_multiple_or_not_looked_for(site: Site) -> None:
    with site.ns("-c", BROADCAST, "-m") as first:
        uri = first.read_until("URI is:")
        first.read_until("Name Server started.")
        with site.ns("-b", str(site.port), name="refused", seconds=10) as program:
            ended = program.finish()
        assert ended.status == 1
        assert f"one is running on this network already, {uri}; " in ended.stderr
        assert "-m" in ended.stderr
        assert ended.stderr.count("\n") == 1
        with site.ns("-b", str(site.port), "-m", name="multiple", seconds=10) as second:
            assert second.read_until("WARNING: starting another name server; one is running").endswith(uri)
            assert second.read_until("Broadcast server listening on:") == f"{BROADCAST} port {site.port}"
            other = second.read_until("URI is:")
            second.read_until("Name Server started.")
            with closing(Asker(site.port)) as asker:
                texts = {asker.ask()}
                data = asker.hear()
                assert data is not None
                texts.add(data[HEADER.size :].decode())
                assert texts == {uri, other}
            assert second.stop().status == 0
        with site.ns("-r", "-x", name="not-looked") as third:
            third.read_until("Name Server started.")
            assert third.stop().status == 0
        assert first.stop().status == 0


PLUGIN = """
import gpyro.auth, gpyro.naming
def BCGuard():
    return Questions()
def NSGuard():
    validator = Connections()
    validator.setAllowedIdentifications(["p4ssphr4se"])
    return validator
class Questions(gpyro.naming.BCReqValidator):
    def acceptLocationCmd(self):
        print(self.addr[0], "WANTS TO KNOW OUR LOCATION. Ok...", flush=True)
        return 1
    def acceptShutdownCmd(self):
        print(self.addr[0], "WANTS US TO SHUT DOWN, Pfff!", flush=True)
        self.reply("denied!")
        return 0
class Connections(gpyro.auth.DefaultConnValidator):
    def acceptHost(self, daemon, connection):
        print(connection.addr[0], "WANTS CONNECTION...", flush=True)
        return gpyro.auth.DefaultConnValidator.acceptHost(self, daemon, connection)
"""


def test_command_uses_security_plugins_of_the_current_directory(site: Site) -> None:
    file = site.directory / "first" / "NSSecEx.py"
    file.write_text(PLUGIN)
    with site.ns("-c", BROADCAST, "-s", "NSSecEx") as program:
        program.read_until("Using security plugins:")
        assert program.read_until("  NS new conn validator =") == f"Connections from NSSecEx  [{file}]"
        assert program.read_until("  BC request validator  =") == f"Questions from NSSecEx  [{file}]"
        program.read_until("Name Server started.")
        client_side = site.make("client")
        ended = run(["-m", "gpyro", "nsc", "ping"], client_side)
        assert ended.status == 1
        program.read_until("127.0.0.1 WANTS TO KNOW OUR LOCATION. Ok...")
        program.read_until("127.0.0.1 WANTS CONNECTION...")
        assert run(["-m", "gpyro", "nsc", "-i", "p4ssphr4se", "ping"], client_side).status == 0
        with closing(Asker(site.port)) as asker:
            assert asker.ask(Kind.SHUTDOWN) == "denied!"
        program.read_until("127.0.0.1 WANTS US TO SHUT DOWN, Pfff!")
        assert program.stop().status == 0


def test_command_tells_a_missing_or_wrong_plugin_in_one_line(site: Site) -> None:
    (site.directory / "first" / "empty_plugin.py").write_text("")
    told = {"nosuchplugin": "No module named 'nosuchplugin'", "empty_plugin": "has neither NSGuard()"}
    for name, text in told.items():
        ended = run([*NS, "-s", name], site.environment)
        assert (ended.status, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
        assert ended.stderr.startswith(f"Error: security plugin {name!r}")
        assert text in ended.stderr
