"""How a process holds its names: the keeper's thread, with a name server in another thread of this process."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

import gpyro
from gpyro import naming
from gpyro._naming import client, holding, starter
from gpyro._naming.keeping import LeaseKeeper
from gpyro.errors import NamingError, ProtocolError
from gpyro.naming import NameServerProxy, NameServerStarter
from tests.support.programs import SECONDS, free_port

URI = "PYRO://localhost:7766/abc"
OTHER = "PYRO://localhost:7767/def"


class Bench:
    """A name server in a thread, and a proxy of it."""

    def __init__(self, identification: object = None, port: int | None = None) -> None:
        self.port = port or free_port()
        self.starter = NameServerStarter(identification)
        self._thread = threading.Thread(
            target=lambda: self.starter.start("127.0.0.1", self.port, dontlookupother=True)
        )  # fmt: skip
        self._thread.start()
        assert self.starter.waitUntilStarted(SECONDS)
        self.ns: NameServerProxy = naming.NameServerProxy(str(self.starter.uri), identification)

    @property
    def server(self) -> naming.NameServer:
        assert self.starter.ns is not None
        return self.starter.ns

    def leases(self) -> list[str]:
        return [record.name for record in self.server._storage.leases()]

    def keeper(self) -> LeaseKeeper:
        return holding._keepers[holding._key_of(self.ns)]

    def end(self) -> None:
        self.ns._release()
        self.starter.shutdown()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()


@pytest.fixture(autouse=True)
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name servers of these tests leave their address nowhere else."""
    monkeypatch.setattr(starter, "config", gpyro.config.snapshot(storage=str(tmp_path)))


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.end()


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases of one second."""
    monkeypatch.setattr(client, "config", gpyro.config.snapshot(ns_lease_seconds=1))


def eventually(condition: Callable[[], object], what: str = "it did not come to pass") -> None:
    with gevent.Timeout(SECONDS, AssertionError(what)):
        while not condition():
            gevent.sleep(0.005)


def test_held_names_hang_on_one_lease_that_ends_with_the_last_of_them(bench: Bench) -> None:
    for name in ("a", "b"):
        bench.ns.hold(name, URI)
    (lease,) = bench.leases()
    assert bench.server._storage.held_by(lease) == [":Default.a", ":Default.b"]
    keeper = bench.keeper()
    eventually(lambda: repr(keeper) == f"<LeaseKeeper at {bench.ns.URI}: 2 names, lease held>")
    bench.ns.let_go("a", URI)
    assert bench.leases() == [lease]
    bench.ns.let_go("b", URI)
    bench.ns.let_go("b", URI)
    eventually(lambda: not bench.leases() and keeper.has_ended())
    assert repr(keeper) == f"<LeaseKeeper at {bench.ns.URI}: 0 names, no lease>"
    assert bench.ns.list() == []


def test_names_can_be_held_again_after_the_lease_has_ended(bench: Bench) -> None:
    for _ in range(20):
        bench.ns.hold("a", URI)
        assert str(bench.ns.resolve("a")) == URI
        bench.ns.let_go("a", URI)
    bench.ns.hold("a", URI)
    assert bench.server._storage.held_by(bench.leases()[-1]) == [":Default.a"]
    bench.ns.let_go("a", URI)


def test_many_greenlets_and_threads_share_the_lease(bench: Bench) -> None:
    def hold(first: int) -> None:
        for number in range(first, 100, 10):
            bench.ns.hold(f"object{number}", URI)

    threads = [threading.Thread(target=hold, args=(first,)) for first in range(5)]
    for thread in threads:
        thread.start()
    gevent.joinall([gevent.spawn(hold, first) for first in range(5, 10)], timeout=SECONDS, raise_error=True)
    for thread in threads:
        thread.join(SECONDS)
    assert len(bench.server._storage.held_by(*bench.leases())) == 100
    for number in range(100):
        bench.ns.let_go(f"object{number}", URI)
    eventually(lambda: not bench.leases())


def test_name_that_is_refused_leaves_no_lease_behind(bench: Bench) -> None:
    bench.ns.register("a", URI)
    for name, reason in (("a", "name already exists"), (":none.a", "(parent)group not found")):
        with pytest.raises(NamingError) as error:
            bench.ns.hold(name, OTHER)
        assert error.value.reason == reason
    eventually(lambda: not bench.leases())


def test_each_identification_has_a_lease_of_its_own() -> None:
    bench = Bench("secret one")
    bench.starter.daemon.setAllowedIdentifications(["secret one", "secret two"])  # type: ignore[union-attr]
    second = naming.NameServerProxy(str(bench.starter.uri), "secret two")
    bench.ns.hold("a", URI)
    second.hold("b", URI)
    owners = [record.owner for record in bench.server._storage.leases()]
    assert owners == ["passphrase:1", "passphrase:2"]
    second.let_go("b", URI)
    bench.ns.let_go("a", URI)
    eventually(lambda: not bench.leases())
    second._release()
    bench.end()


def test_settings_may_do_without_leases(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "config", gpyro.config.snapshot(ns_lease_seconds=0))
    bench.ns.hold("a", URI)
    assert bench.leases() == []
    assert bench.server._storage.members(":Default.a")[0].lease is None
    bench.ns.let_go("a", URI)
    assert bench.ns.list() == []


@pytest.mark.usefixtures("brief")
def test_names_come_back_when_the_lease_is_lost_and_groups_with_them(bench: Bench) -> None:
    bench.ns.createGroup(":Plant")
    bench.ns.createGroup(":Plant.hall")
    bench.ns.hold(":Plant.hall.a", URI)
    bench.ns.hold("b", URI)
    bench.server._storage.delete_group(":Plant")
    eventually(lambda: bench.server._storage.kind(":Plant.hall.a"))
    before = bench.leases()
    bench.server.close_lease(*before)
    eventually(lambda: len(bench.ns.flatlist()) == 3)
    assert len(bench.leases()) == 1
    assert bench.leases() != before
    for name in (":Plant.hall.a", "b"):
        bench.ns.let_go(name, URI)


@pytest.mark.usefixtures("brief")
def test_only_the_name_that_was_removed_elsewhere_is_registered_again(bench: Bench) -> None:
    for name in ("a", "b"):
        bench.ns.hold(name, URI)
    before = bench.server._storage.record(":Default.b").revision
    bench.server.unregister("a")
    eventually(lambda: bench.server._storage.kind(":Default.a"))
    assert bench.server._storage.record(":Default.b").revision == before
    for name in ("a", "b"):
        bench.ns.let_go(name, URI)


@pytest.mark.usefixtures("brief")
def test_name_that_another_has_taken_is_told_once_and_comes_back(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.ns.hold("a", URI)
    bench.server.register("a", OTHER, replace=True)
    eventually(lambda: f"':Default.a' is lost for {URI}: it stands for {OTHER} now" in caplog.text)
    book = bench.server._leases.book
    before = book.renewals
    eventually(lambda: book.renewals > before + 2)
    assert caplog.text.count("is lost for") == 1
    assert ", 1 missing, lease held>" in repr(bench.keeper())
    bench.server.unregister("a")
    eventually(lambda: bench.server._storage.kind(":Default.a"))
    assert str(bench.ns.resolve("a")) == URI
    bench.ns.let_go("a", URI)


@pytest.mark.usefixtures("brief")
def test_what_this_process_removes_or_registers_for_good_is_held_no_longer(bench: Bench) -> None:
    bench.ns.createGroup(":Plant")
    for name in ("removed", "kept", ":Plant.a", "held"):
        bench.ns.hold(name, URI)
    bench.ns.unregister("removed")
    bench.ns.register("kept", URI, replace=True)
    bench.ns.deleteGroup(":Plant")
    assert list(bench.keeper()._held) == [(":Default.held", URI)]
    book = bench.server._leases.book
    before = book.renewals
    eventually(lambda: book.renewals > before + 1)
    assert [name for name, _ in bench.ns.flatlist()] == [":Default.held", ":Default.kept", ":Pyro.NameServer"]
    bench.ns.let_go("held", URI)
    eventually(lambda: not bench.leases())
    assert bench.ns.list() == [("kept", 1)]


@pytest.mark.parametrize("names", [0, 1])
def test_name_server_that_ends_is_no_warning_for_a_keeper_that_has_no_names_left(
    bench: Bench, caplog: pytest.LogCaptureFixture, names: int
) -> None:
    bench.ns.hold("a", URI)
    keeper = bench.keeper()
    if not names:
        bench.ns.let_go("a", URI)
        eventually(keeper.has_ended)
    keeper._note_failure(bench.ns, ProtocolError("the server is shutting down"))
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [f"lease of {names} names" in text for text in warnings] == [True] * names


@pytest.mark.usefixtures("brief")
def test_keeper_goes_on_when_the_name_server_is_away_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.ns.hold("a", URI)
    keeper = bench.keeper()
    bench.end()
    eventually(lambda: f"{bench.starter.uri} does not renew the lease of 1 names" in caplog.text)
    eventually(lambda: "no answer" in repr(keeper))
    second = Bench(port=bench.port)
    eventually(lambda: second.server._storage.kind(":Default.a"))
    eventually(lambda: "lease held" in repr(keeper))
    second.ns.let_go("a", URI)
    second.end()


@pytest.mark.usefixtures("brief")
def test_name_that_could_not_be_removed_goes_later_though_others_are_held() -> None:
    bench = Bench()
    for name in ("a", "b"):
        bench.ns.hold(name, URI)
    bench.end()
    with pytest.raises(ProtocolError):
        bench.ns.let_go("a", URI)
    second = Bench(port=bench.port)
    eventually(lambda: second.server._storage.kind(":Default.b"))
    assert second.server._storage.kind(":Default.a") is None
    second.ns.let_go("b", URI)
    second.end()


def test_daemon_holds_its_names_and_stands_beside_others(bench: Bench) -> None:
    with gpyro.Daemon(port=0, norange=True) as first, gpyro.Daemon(port=0, norange=True) as second:
        for daemon in (first, second):
            daemon.useNameServer(bench.ns)
        uris = [daemon.connect(gpyro.ObjBase(), "team", member=True) for daemon in (first, second)]
        assert bench.ns.resolve("team", "all") == uris
        with gpyro.Daemon(port=0, norange=True) as third:
            third.useNameServer(bench.ns)
            with pytest.raises(NamingError, match=r"name already exists.*it stands for PYRO"):
                third.connect(gpyro.ObjBase(), "team")
        first.shutdown(True)
        assert bench.ns.resolve("team", "all") == uris[1:]
    eventually(lambda: not bench.leases())
    assert bench.ns.list() == []


def test_persistent_object_takes_its_name_off_the_lease(bench: Bench) -> None:
    thing = gpyro.ObjBase()
    with gpyro.Daemon(port=0, norange=True) as daemon:
        daemon.useNameServer(bench.ns)
        uri = daemon.connect(thing, "kept")
        assert bench.server._storage.members(":Default.kept")[0].lease is not None
        assert daemon.connectPersistent(thing, "kept") == uri
        assert bench.server._storage.members(":Default.kept")[0].lease is None
        eventually(lambda: not bench.leases())
    assert bench.ns.resolve("kept") == uri


def test_name_server_of_this_very_process_needs_no_lease(bench: Bench) -> None:
    with gpyro.Daemon(port=0, norange=True) as daemon:
        daemon.useNameServer(bench.server)
        daemon.connect(gpyro.ObjBase(), "local")
        assert bench.server._storage.members(":Default.local")[0].lease is None
    assert bench.ns.list() == []


def test_plain_proxy_of_a_name_server_registers_plainly(bench: Bench) -> None:
    plain = gpyro.Proxy(str(bench.starter.uri))
    with gpyro.Daemon(port=0, norange=True) as daemon:
        daemon.useNameServer(plain)
        daemon.connect(gpyro.ObjBase(), ":Default.plain")
        assert bench.leases() == []
    assert bench.ns.list() == []
    plain._release()


def test_ended_keepers_are_forgotten(bench: Bench) -> None:
    bench.ns.hold("a", URI)
    keeper = bench.keeper()
    bench.ns.let_go("a", URI)
    eventually(keeper.has_ended)
    other = Bench()
    other.ns.hold("b", URI)
    assert keeper not in holding._keepers.values()
    other.ns.let_go("b", URI)
    eventually(other.keeper().has_ended)
    other.end()
    gc.collect()
