"""The session of the seed's manual, whole, each program a process: `tests/programs` has them as typed there."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import gpyro
from tests.support.programs import PROGRAMS, Program, free_port, make_environment, run


class Site:
    """A running name server, and the environment in which programs find it."""

    def __init__(self, storage: Path) -> None:
        self.ns_port = free_port()
        self.daemon_port = free_port()
        self.environment = make_environment(storage, ns_port=self.ns_port, port=self.daemon_port)

    def start(self, *words: str) -> Program:
        return Program([str(PROGRAMS / words[0]), *words[1:]], self.environment)

    def ns(self) -> gpyro.naming.NameServerProxy:
        return gpyro.naming.NameServerLocator().getNS("127.0.0.1", self.ns_port)

    def names(self) -> list[str]:
        ns = self.ns()
        try:
            return [name for name, _ in ns.flatlist() if name != ":Pyro.NameServer"]
        finally:
            ns._release()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("storage"))
    with Program(["-m", "gpyro", "ns", "-r"], site.environment) as program:
        program.read_until("Name Server started.")
        yield site
        ended = program.stop()
        assert (ended.status, ended.stderr) == (0, "")


def test_whole_session_of_server_and_client_ends_with_the_names_gone(site: Site) -> None:
    with site.start("quotes_server.py") as server:
        assert server.read_until("gpyro Server initialized. Using gpyro V") == gpyro.__version__
        transient = server.read_until("transient")
        address = gpyro.PyroURI(server.read_until("serving"))
        client = run([str(PROGRAMS / "quotes_client.py"), str(address.port), transient], site.environment)
        assert (client.status, client.stderr) == (0, "")
        assert client.stdout.splitlines() == [
            "quotes 42", "quotes 42", "quotes 42",
            "quotes quotes",
            "sum 2",
            "hello world",
            "hello transient",
            "names [':Default.our_object', ':Pyro.NameServer', ':Test.simple.object1']",
        ]  # fmt: skip
        ended = server.stop(signal.SIGINT)
        assert (ended.status, ended.stderr) == (0, "")
    assert site.names() == []
    assert ended.stdout.splitlines()[-1] == "registered at the end: ['__PYRO_Internal_Daemon']"


@pytest.mark.parametrize("kind", ["condition", "handle"])
def test_loop_ends_when_its_condition_is_false(site: Site, kind: str) -> None:
    with site.start("loop_server.py", kind) as server:
        switch = gpyro.Proxy(server.read_until("serving"))
        assert switch.off() == "off"
        ended = server.finish()
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-1] == "ended []"
    switch._release()


@pytest.mark.parametrize("kind", ["others", "handle others"])
def test_loop_calls_back_for_a_socket_of_the_programs_own(site: Site, kind: str) -> None:
    with site.start("loop_server.py", kind) as server:
        ended = server.finish()
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-1] == "ended [b'from the socket']"


def test_foreign_loop_serves_many_calls(site: Site) -> None:
    with site.start("foreign_loop_server.py") as server:
        switch = gpyro.Proxy(server.read_until("serving"))
        for number in range(20):
            assert switch.echo((number, "x")) == (number, "x")
        assert switch.off() == "off"
        ended = server.finish()
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-1] == "ended True"
    switch._release()


def test_objects_are_disconnected_by_object_by_id_and_by_address(site: Site) -> None:
    with site.start("disconnecting_server.py") as server:
        server.read_until("serving")
        where = f"PYRONAME://127.0.0.1:{site.ns_port}"
        remover = gpyro.Proxy(f"{where}/remover")
        things = [gpyro.Proxy(f"{where}/thing{number}") for number in range(3)]
        assert [thing.here() for thing in things] == [True] * 3
        for number, remove in enumerate((remover.remove_by_object, remover.remove_by_uid, remover.remove_by_uri)):
            remove()
            with pytest.raises(gpyro.errors.UnknownObjectError):
                things[number].here()
            assert f":Default.thing{number}" not in site.names()
        for proxy in (remover, *things):
            proxy._release()
        ended = server.stop()
    assert (ended.status, ended.stderr) == (0, "")
    assert site.names() == []


def test_server_that_is_killed_leaves_names_that_can_be_registered_anew(site: Site) -> None:
    with site.start("disconnecting_server.py") as server:
        server.read_until("serving")
        server.stop(signal.SIGKILL)
    assert ":Default.remover" in site.names()
    ns = site.ns()
    for name in site.names():
        ns.unregister(name)
    ns._release()
    with site.start("disconnecting_server.py") as server:
        server.read_until("serving")
        remover = gpyro.Proxy(f"PYRONAME://127.0.0.1:{site.ns_port}/remover")
        remover.remove_by_object()
        remover._release()
        assert server.stop().status == 0
    assert site.names() == []


def test_server_without_a_name_server_says_where_it_looked(tmp_path: Path) -> None:
    environment = make_environment(tmp_path, ns_port=free_port(), port=free_port())
    ended = run([str(PROGRAMS / "quotes_server.py")], environment)
    assert ended.status == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("gpyro.errors.NamingError: could not find a name server; tried localhost port")
    assert "`gpyro ns`" in last


@pytest.mark.smoke
def test_echo_server_with_its_own_name_server_and_a_python_session(tmp_path: Path) -> None:
    environment = make_environment(tmp_path, ns_port=free_port(), port=free_port())
    session = """
import gpyro
e = gpyro.getProxyForURI("PYRONAME://:Pyro.test.echoserver")
print(repr(e.echo("hello world")))
e.error()
"""
    with Program(["-m", "gpyro", "echoserver", "-N"], environment) as server:
        server.read_until("echoserver running.")
        client = run(["-c", session], environment)
        assert (client.status, client.stdout) == (1, "'hello world'\n")
        assert "ZeroDivisionError: integer division or modulo by zero" in client.stderr
        ended = server.stop()
    assert (ended.status, ended.stderr) == (0, "")
