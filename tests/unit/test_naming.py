"""The name server's object, its proxy, the locator, the starter and the file, without other processes."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gpyro
from gpyro import naming, seams
from gpyro._naming import client, resolving, server
from gpyro._naming.urifile import UriFile, read_uri_file
from gpyro.configuration import Settings
from gpyro.errors import (
    ConnectionDeniedError,
    DaemonError,
    NamingError,
    ProtocolError,
    UnknownObjectError,
)
from gpyro.names import GROUP, OBJECT
from tests.support.programs import free_port
from tests.support.settings import use_in_naming

URI = gpyro.PyroURI("PYRO://localhost:7766/abc")


def reason_of(error: pytest.ExceptionInfo[NamingError]) -> Any:
    return vars(error.value)["reason"]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of this test alone, for all rooms of the name server."""
    settings = Settings(storage=str(tmp_path / "storage"), ns_port=free_port(), ns_broadcast=False)
    return use_in_naming(settings, monkeypatch)


@pytest.fixture
def ns(settings: Settings) -> naming.NameServer:
    return naming.NameServer()


@pytest.fixture
def running(settings: Settings) -> Iterator[naming.NameServerStarter]:
    """A name server in a thread of its own, at the configured port."""
    with running_starter() as one:
        yield one


class running_starter:
    """Runs a starter in a thread; leaving the block ends both."""

    def __init__(self, **options: Any) -> None:
        self.starter = naming.NameServerStarter()
        self.thread = threading.Thread(target=self.starter.start, kwargs=options)

    def __enter__(self) -> naming.NameServerStarter:
        self.thread.start()
        assert self.starter.waitUntilStarted(20)
        return self.starter

    def __exit__(self, *exc_info: object) -> None:
        self.starter.shutdown()
        self.thread.join(20)
        assert not self.thread.is_alive()


def locate(**arguments: Any) -> naming.NameServerProxy:
    return naming.NameServerLocator().getNS(**arguments)


# -- the object ------------------------------------------------------------------------------------------------


def test_new_name_server_has_its_own_and_the_default_group(ns: naming.NameServer) -> None:
    assert ns.list(":") == [("Default", GROUP), ("Pyro", GROUP)]
    assert ns.list() == []


def test_default_group_of_several_parts_is_made_whole(settings: Settings) -> None:
    settings.ns_defaultgroup = ":Plant.hall1.line2"
    ns = naming.NameServer()
    ns.register("pump", URI)
    assert ns.fullName("pump") == ":Plant.hall1.line2.pump"
    assert ns.flatlist() == [(":Plant.hall1.line2.pump", URI)]


@pytest.mark.smoke
def test_registered_name_resolves_until_it_is_unregistered(ns: naming.NameServer) -> None:
    ns.register("pump", str(URI))
    assert ns.resolve(":Default.pump") == URI
    assert ns.list(":Default") == [("pump", OBJECT)]
    ns.unregister("pump")
    with pytest.raises(NamingError, match=r"name not found: ':Default\.pump'") as error:
        ns.resolve("pump")
    assert reason_of(error) == "name not found"


def test_taken_name_is_refused_and_keeps_its_address(ns: naming.NameServer) -> None:
    ns.register("pump", URI)
    with pytest.raises(NamingError, match="name already exists"):
        ns.register("pump", "PYRO://elsewhere:1/x")
    assert ns.resolve("pump") == URI


@pytest.mark.parametrize("address", ["nouri", "", 7, None, "PYRONAME://:Default.other"])
def test_what_is_no_address_of_an_object_is_refused(ns: naming.NameServer, address: Any) -> None:
    with pytest.raises(NamingError, match="invalid URI") as error:
        ns.register("pump", address)
    assert reason_of(error) == "invalid URI"


def test_pyroloc_address_may_be_registered(ns: naming.NameServer) -> None:
    ns.register("pump", "PYROLOC://localhost:7766/pump")
    assert str(ns.resolve("pump")) == "PYROLOC://localhost:7766/pump"


def test_groups_are_made_listed_and_deleted_with_their_content(ns: naming.NameServer) -> None:
    ns.createGroup(":Plant")
    ns.createGroup(":Plant.hall")
    ns.register(":Plant.hall.pump", URI)
    assert ns.list(":Plant") == [("hall", GROUP)]
    ns.deleteGroup(":Plant")
    with pytest.raises(NamingError, match="group not found"):
        ns.list(":Plant")
    assert ns.flatlist() == []


def test_group_is_listed_in_pages(ns: naming.NameServer) -> None:
    for number in range(10):
        ns.register(f"object{number}", URI)
    pages = [ns.list("", offset, 4) for offset in (0, 4, 8)]
    assert [len(page) for page in pages] == [4, 4, 2]
    assert [entry for page in pages for entry in page] == ns.list()


def test_meta_is_kept_beside_what_the_server_notes(ns: naming.NameServer) -> None:
    ns.register("pump", URI)
    assert ns.getMeta("pump") is None
    ns.setMeta("pump", {"owner": ("Ann", 7)})
    assert ns.getMeta("pump") == {"owner": ("Ann", 7)}
    meta = ns._getSystemMeta("pump")
    assert (meta.kind, meta.owner) == (OBJECT, None)
    assert ns.get_system_meta("pump") == (OBJECT, meta.created, None)


def test_private_names_of_the_name_server_are_not_callable(ns: naming.NameServer) -> None:
    from gpyro.objects import build_table

    assert sorted(build_table(ns).methods) == [
        "changes", "close_lease", "createGroup", "deleteGroup", "details", "flatlist", "fullName", "getMeta",
        "get_system_meta", "hold", "let_go", "list", "open_lease", "pair_status", "ping", "register",
        "renew_lease", "resolve", "resolve_many", "resync", "search", "setMeta", "shutdown", "status", "twin",
        "unregister",
    ]  # fmt: skip
    with pytest.raises(AttributeError):
        build_table(ns).read("_storage")


def test_shutdown_is_refused_by_a_name_server_that_keeps_running(settings: Settings) -> None:
    with pytest.raises(NamingError, match=r"Shutdown request denied: .*-k"):
        naming.NameServer(keep_running=True).shutdown()


def test_shutdown_is_refused_to_a_caller_elsewhere(ns: naming.NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    class Caller:
        addr = ("192.0.2.1", 4711)

        def is_local(self) -> bool:
            return False

    class Call:
        caller = Caller()

    monkeypatch.setattr(server, "current_call", Call())
    with pytest.raises(NamingError, match=r"Shutdown request denied: it comes from .*192\.0\.2\.1"):
        ns.shutdown()


def test_name_server_tells_its_state(ns: naming.NameServer) -> None:
    assert repr(ns) == "<NameServer <MemoryStorage <NameTree 0 objects in 3 groups>>>"


# -- the proxy -------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_proxy_offers_every_method_over_the_network(running: naming.NameServerStarter) -> None:
    ns = locate()
    ns.register("pump", URI)
    assert isinstance(ns.resolve("pump"), gpyro.PyroURI)
    assert ns.resolve("pump") == URI
    assert (":Default.pump", URI) in ns.flatlist()
    ns.createGroup(":Plant")
    assert ns.list(":") == [("Default", GROUP), ("Plant", GROUP), ("Pyro", GROUP)]
    ns.setMeta(":Plant", (1, "two"))
    assert ns.getMeta(":Plant") == (1, "two")
    meta = ns._getSystemMeta("pump")
    assert meta.kind == OBJECT
    assert str(meta.owner).startswith("127.0.0.1:")
    ns.deleteGroup(":Plant")
    ns.unregister("pump")
    ns.ping()
    assert ns.list() == []
    ns._release()


def test_error_of_the_name_server_keeps_text_and_type(running: naming.NameServerStarter) -> None:
    ns = locate()
    with pytest.raises(NamingError) as error:
        ns.resolve("nothing")
    assert str(error.value) == "name not found: ':Default.nothing'"
    assert reason_of(error) == "name not found"
    with pytest.raises(NamingError, match="group not found"):
        ns.list(":Nothing")
    ns._release()


def test_relative_names_belong_to_the_default_group_of_the_client(
    running: naming.NameServerStarter, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    ns = locate()
    ns.createGroup(":Mine")
    monkeypatch.setattr(client, "config", Settings(ns_defaultgroup=":Mine"))
    assert ns.fullName("pump") == ":Mine.pump"
    ns.register("pump", URI)
    assert ns.resolve(":Mine.pump") == URI
    assert ns.list() == [("pump", OBJECT)]
    ns._release()


def test_proxy_finds_a_name_server_that_was_restarted(settings: Settings) -> None:
    with running_starter():
        ns = locate()
        ns.register("pump", URI)
    with running_starter():
        ns.ping()
        assert ns.list() == []
        ns.register("pump", URI)
        assert ns.resolve("pump") == URI
        ns._release()


def test_copy_of_a_proxy_is_a_proxy_of_the_same_name_server(running: naming.NameServerStarter) -> None:
    import copy

    ns = locate()
    twin = copy.copy(ns)
    assert (type(twin), twin.URI) == (naming.NameServerProxy, ns.URI)
    twin.ping()
    twin._release()
    ns._release()


def test_proxy_made_by_hand_asks_for_a_sign_of_life(settings: Settings) -> None:
    address = f"PYROLOC://localhost:{settings.ns_port}/:Pyro.NameServer"
    with pytest.raises(ProtocolError, match="connection failed"):
        naming.NameServerProxy(address)
    with running_starter():
        ns = naming.NameServerProxy(address)
        assert ns.list(":Pyro") == [("NameServer", OBJECT)]
        ns._release()


def test_resolve_from_many_greenlets_at_once_uses_one_connection(running: naming.NameServerStarter) -> None:
    import gevent

    ns = locate()
    for number in range(100):
        ns.register(f"object{number}", f"PYRO://localhost:7766/{number}")
    jobs = [gevent.spawn(ns.resolve, f"object{number}") for number in range(100)]
    gevent.joinall(jobs, timeout=20, raise_error=True)
    assert [job.value.objectID for job in jobs] == [str(number) for number in range(100)]
    owners = {str(ns._getSystemMeta(f"object{number}").owner) for number in range(100)}
    assert len(owners) == 1
    ns._release()


# -- the locator -----------------------------------------------------------------------------------------------


def test_name_server_is_found_at_the_configured_place(
    running: naming.NameServerStarter, settings: Settings
) -> None:
    settings.ns_hostname = "127.0.0.1"
    ns = locate()
    assert ns.URI == f"PYRO://127.0.0.1:{settings.ns_port}/:Pyro.NameServer"
    ns._release()


def test_name_server_is_found_on_this_machine_without_any_setting(
    running: naming.NameServerStarter, settings: Settings
) -> None:
    os.unlink(settings.ns_urifile)
    ns = locate()
    assert ns.URI.address == "localhost"
    ns._release()


def test_name_server_at_another_port_is_found_by_its_file(settings: Settings) -> None:
    with running_starter(port=0) as starter:
        ns = locate()
        assert ns.URI == starter.uri
        ns._release()


@pytest.mark.smoke
def test_no_name_server_is_told_with_each_place_and_the_way_out(settings: Settings) -> None:
    settings.ns_hostname = "127.0.0.1"
    with pytest.raises(NamingError) as error:
        locate()
    text = str(error.value)
    assert f"127.0.0.1 port {settings.ns_port} (Connection refused)" in text
    assert settings.ns_urifile in text
    assert "gpyro ns" in text
    assert text.count("Connection refused") == 1  # localhost is the same place


def test_given_host_is_the_only_place_that_is_asked(running: naming.NameServerStarter) -> None:
    with pytest.raises(NamingError, match=r"on host 127\.0\.0\.1; tried 127\.0\.0\.1 port \d+ \(Conn"):
        locate(host="127.0.0.1", port=free_port())


def test_file_of_an_ended_name_server_is_tried_and_told(settings: Settings) -> None:
    os.mkdir(settings.storage)
    gone = f"PYRO://127.0.0.1:{free_port()}/:Pyro.NameServer"
    Path(settings.ns_urifile).write_text(gone + "\n")
    with pytest.raises(NamingError) as error:
        locate()
    assert f"{gone} from {settings.ns_urifile} (Connection refused)" in str(error.value)


def test_malformed_host_is_told(settings: Settings) -> None:
    with pytest.raises(NamingError, match="malformed host"):
        locate(host="no host!", port=1)


def test_daemon_that_is_no_name_server_is_told(settings: Settings) -> None:
    daemon = gpyro.Daemon(port=0, norange=True)
    thread = threading.Thread(target=daemon.requestLoop)
    thread.start()
    try:
        with pytest.raises(NamingError, match="it is no name server") as error:
            locate(host="127.0.0.1", port=daemon.port)
        assert isinstance(error.value.__cause__.__cause__, UnknownObjectError)  # type: ignore[union-attr]
    finally:
        daemon.shutdown()
        thread.join(20)


def test_trace_prints_each_place_that_is_tried(
    running: naming.NameServerStarter, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    locate(trace=1)._release()
    assert f"contacting the name server at localhost port {settings.ns_port}..." in capsys.readouterr().out


def test_name_server_that_cannot_prove_itself_is_not_used(running: naming.NameServerStarter) -> None:
    with pytest.raises(ConnectionDeniedError, match="does not authenticate"):
        naming.NameServerLocator("secret").getNS()


# -- PYRONAME --------------------------------------------------------------------------------------------------


def test_name_address_stands_for_the_address_behind_it(
    running: naming.NameServerStarter, settings: Settings
) -> None:
    ns = locate()
    ns.register("pump", URI)
    resolve = seams.resolve_name.get()
    assert resolve(gpyro.PyroURI("PYRONAME://pump"), None) == URI
    assert resolve(gpyro.PyroURI(f"PYRONAME://127.0.0.1:{settings.ns_port}/:Default.pump"), None) == URI
    assert resolve(gpyro.PyroURI("PYRONAME://127.0.0.1/pump"), None) == URI
    with pytest.raises(NamingError, match="name not found"):
        resolve(gpyro.PyroURI("PYRONAME://nothing"), None)
    ns._release()


def test_name_address_without_a_name_server_is_a_naming_error(settings: Settings) -> None:
    with pytest.raises(NamingError, match="could not find a name server"):
        gpyro.Proxy("PYRONAME://pump").start()


# -- the starter -----------------------------------------------------------------------------------------------


def test_starter_prints_what_pyros_prints(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with running_starter(verbose=True):
        pass
    assert capsys.readouterr().out.splitlines() == [
        "Will accept shutdown requests.",
        f"Name server listening on: 127.0.0.1 port {settings.ns_port}",
        f"URI is: PYRO://127.0.0.1:{settings.ns_port}/:Pyro.NameServer",
        f"URI written to: {settings.ns_urifile}",
        "Name Server started.",
        "Name Server gracefully stopped.",
    ]


def test_second_name_server_at_the_same_place_is_refused(
    running: naming.NameServerStarter, settings: Settings
) -> None:
    with pytest.raises(NamingError, match=r"one is running already, PYRO://.*gpyro nsc shutdown.*-r"):
        naming.NameServerStarter().start()
    with pytest.raises(DaemonError, match=f"port {settings.ns_port} of localhost is in use"):
        naming.NameServerStarter().start(dontlookupother=True)
    locate()._release()


def test_second_name_server_of_this_user_is_found_by_its_file(settings: Settings) -> None:
    with running_starter(port=0), pytest.raises(NamingError, match="one is running already"):
        naming.NameServerStarter().initialize(port=0)


def test_name_server_beyond_this_machine_is_refused_without_insecure(settings: Settings) -> None:
    with pytest.raises(DaemonError, match="insecure_no_auth"):
        naming.NameServerStarter().start("0.0.0.0", 0, dontlookupother=True)


def test_name_server_on_a_unix_socket_is_reached_through_its_file(settings: Settings, tmp_path: Path) -> None:
    path = str(tmp_path / "ns.sock")
    with running_starter(hostname=f"./u:{path}"):
        ns = locate()
        assert ns.URI.unix_path == path
        ns.ping()
        ns._release()
        ns = locate(host=f"./u:{path}")
        ns.ping()
        ns._release()
    assert not os.path.exists(path)


def test_remote_shutdown_ends_the_name_server(settings: Settings) -> None:
    with running_starter() as starter:
        ns = locate()
        assert ns.shutdown() == "Will shut down shortly"
        ns._release()
    assert repr(starter).startswith("<NameServerStarter ended")
    assert not os.path.exists(settings.ns_urifile)


def test_name_server_in_a_loop_of_the_programs_own(settings: Settings) -> None:
    import gevent

    starter = naming.NameServerStarter()
    starter.initialize()
    assert starter.getServerSockets()
    job = gevent.spawn(locate)
    while not job.ready():
        starter.handleRequests(0.1)
    ns = job.get()
    job = gevent.spawn(ns.shutdown)
    while not job.ready():
        starter.handleRequests(0.1)
    assert job.get() == "Will shut down shortly"
    starter.handleRequests(0)
    assert starter.getServerSockets() == []
    assert not os.path.exists(settings.ns_urifile)
    ns._release()


@pytest.mark.parametrize("words", ["by position", "by name"])
def test_a_starter_takes_its_arguments_as_pyros_does(
    words: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    starter = naming.NameServerStarter()
    if words == "by position":
        # hostname, nsport, bcport, keep, persistent, dbdir, Guards, allowmultiple, dontlookupother, verbose
        starter.initialize("localhost", 0, None, 1, 0, None, (None, None), 0, 1, 1)
    else:
        starter.initialize(hostname="localhost", nsport=0, keep=1, dontlookupother=1, verbose=1, role=(0, None))
    assert "Will ignore shutdown requests." in capsys.readouterr().out
    assert starter.paired is None
    assert starter.daemon is not None and starter.daemon.port != settings.ns_port
    starter.shutdown()


def test_waiter_learns_that_the_name_server_could_not_start(running: naming.NameServerStarter) -> None:
    second = naming.NameServerStarter()
    with pytest.raises(NamingError):
        second.start()
    with pytest.raises(NamingError, match="could not start: Name Server was not started"):
        second.waitUntilStarted(20)


def test_waiter_gives_up_after_its_time() -> None:
    assert naming.NameServerStarter().waitUntilStarted(0.05) is False


def test_starter_is_used_once(settings: Settings) -> None:
    with running_starter() as starter:
        pass
    with pytest.raises(DaemonError, match="has been used before"):
        starter.start()


def test_starter_without_a_server_refuses_to_handle_requests() -> None:
    with pytest.raises(DaemonError, match=r"call initialize\(\) first"):
        naming.NameServerStarter().handleRequests(0)
    assert naming.NameServerStarter().getServerSockets() == []
    assert repr(naming.NameServerStarter()) == "<NameServerStarter not started>"


def test_storage_that_cannot_be_written_is_told_and_passed_over(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    settings.ns_urifile = str(tmp_path / "file" / "Pyro_NS_URI")
    with running_starter():
        locate()._release()
    assert "WARNING: the URI could not be written" in capsys.readouterr().out


# -- the file --------------------------------------------------------------------------------------------------


def test_file_is_for_its_user_alone_and_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "storage" / "Pyro_NS_URI"
    file = UriFile(str(path), URI)
    file.write()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert read_uri_file(str(path)) == URI
    assert os.listdir(path.parent) == ["Pyro_NS_URI"]
    assert repr(file) == f"<UriFile {path}, written>"
    file.remove()
    assert not path.exists()
    file.remove()


def test_file_that_another_name_server_has_written_since_stays(tmp_path: Path) -> None:
    path = str(tmp_path / "Pyro_NS_URI")
    first, second = UriFile(path, URI), UriFile(path, URI)
    first.write()
    second.write()
    first.remove()
    assert read_uri_file(path) == URI
    second.remove()
    assert not os.path.exists(path)


def test_old_file_is_there_until_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "Pyro_NS_URI")
    UriFile(path, URI).write()

    def fail(*args: object) -> None:
        raise OSError("disk is full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk is full"):
        UriFile(path, gpyro.PyroURI("PYRO://localhost:1/other")).write()
    assert read_uri_file(path) == URI
    assert os.listdir(tmp_path) == ["Pyro_NS_URI"]


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"", "holds no address"), (b"PYRO://", "holds no address"), (b"\xff\xfe", "cannot be read: not text"),
     (b"x" * 5000, "holds no address")],
)  # fmt: skip
def test_file_without_an_address_is_told(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "Pyro_NS_URI"
    path.write_bytes(content)
    with pytest.raises(NamingError, match=text):
        read_uri_file(str(path))


def test_link_pipe_and_missing_file_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "real").write_text(str(URI))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "missing", "."):
        with pytest.raises(NamingError, match="cannot be read"):
            read_uri_file(str(tmp_path / name))


def test_name_server_that_had_the_last_name_is_asked_first_and_forgotten_when_it_is_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[object] = []
    find = naming.find_name_server

    def count(*args: Any) -> naming.NameServerProxy:
        searches.append(args)
        return find(*args)

    monkeypatch.setattr(resolving, "find_name_server", count)
    address = gpyro.PyroURI("PYRONAME://:Default.x")
    for _ in range(2):
        with running_starter() as one:
            assert one.ns is not None
            one.ns.register("x", URI)
            for _ in range(3):
                assert resolving.resolve_uri(address) == URI
            placed = gpyro.PyroURI(f"PYRONAME://localhost:{settings.ns_port}/:Default.x")
            assert resolving.resolve_uri(placed) == URI
            with pytest.raises(NamingError, match="name not found"):
                resolving.resolve_uri(gpyro.PyroURI("PYRONAME://:Default.nope"))
        # The first time, for the place that was given, and for the name that is not there.
        assert len(searches) == 3
        searches.clear()
