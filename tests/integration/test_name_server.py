"""The name server under use by many: concurrent callers, restarts, programs in threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

import gpyro
from gpyro.errors import NamingError
from tests.support.programs import PROGRAMS, Program, free_port, make_environment, run

NAMES = 2000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Program, int]]:
    port = free_port()
    with Program(["-m", "gpyro", "ns", "-r"], make_environment(tmp_path, ns_port=port)) as program:
        program.read_until("Name Server started.")
        yield program, port


def test_many_names_are_registered_by_many_greenlets_and_all_are_there(server: tuple[Program, int]) -> None:
    ns = gpyro.naming.NameServerLocator().getNS("127.0.0.1", server[1])

    def register(first: int) -> None:
        for number in range(first, NAMES, 50):
            ns.register(f"object{number:04}", f"PYRO://localhost:7766/{number}")

    gevent.joinall([gevent.spawn(register, first) for first in range(50)], timeout=60, raise_error=True)
    assert [name for name, _ in ns.list()] == [f"object{number:04}" for number in range(NAMES)]
    assert len(ns.flatlist()) == NAMES + 1
    ns.deleteGroup(":Default")
    assert len(ns.flatlist()) == 1
    ns._release()


def test_of_many_who_want_one_name_exactly_one_gets_it(server: tuple[Program, int]) -> None:
    ns = gpyro.naming.NameServerLocator().getNS("127.0.0.1", server[1])

    def register(number: int) -> bool:
        try:
            ns.register("wanted", f"PYRO://localhost:7766/{number}")
        except NamingError:
            return False
        return True

    jobs = [gevent.spawn(register, number) for number in range(100)]
    gevent.joinall(jobs, timeout=60, raise_error=True)
    winners = [number for number, job in enumerate(jobs) if job.value]
    assert len(winners) == 1
    assert ns.resolve("wanted").objectID == str(winners[0])
    ns._release()


def test_proxy_is_shared_by_threads(server: tuple[Program, int]) -> None:
    ns = gpyro.naming.NameServerLocator().getNS("127.0.0.1", server[1])
    failures: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for number in range(50):
                name = f"thread{thread}-{number}"
                ns.register(name, f"PYRO://localhost:7766/{name}")
                assert ns.resolve(name).objectID == name
                ns.unregister(name)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert ns.list() == []
    ns._release()


def test_daemon_registers_and_unregisters_with_a_name_server_that_was_restarted(tmp_path: Path) -> None:
    port = free_port()
    environment = make_environment(tmp_path, ns_port=port)
    daemon = gpyro.Daemon(port=0, norange=True)
    with Program(["-m", "gpyro", "ns", "-r"], environment) as program:
        program.read_until("Name Server started.")
        ns = gpyro.naming.NameServerLocator().getNS("127.0.0.1", port)
        daemon.useNameServer(ns)
        daemon.connect(gpyro.ObjBase(), "first")
        assert program.stop().status == 0
    with Program(["-m", "gpyro", "ns", "-r"], environment) as program:
        program.read_until("Name Server started.")
        uri = daemon.connect(gpyro.ObjBase(), "second")
        assert ns.resolve("second") == uri
        with pytest.raises(NamingError):
            ns.resolve("first")
        daemon.shutdown(True)
        assert [name for name, _ in ns.flatlist()] == [":Pyro.NameServer"]
        ns._release()


def test_name_server_that_is_killed_leaves_its_file_and_the_next_one_replaces_it(tmp_path: Path) -> None:
    environment = make_environment(tmp_path, ns_port=free_port())
    with Program(["-m", "gpyro", "ns"], environment) as program:
        program.read_until("Name Server started.")
        program.process.kill()
    assert os.listdir(tmp_path) == ["Pyro_NS_URI"]
    with Program(["-m", "gpyro", "ns"], environment) as program:
        program.read_until("Name Server started.")
        assert run(["-m", "gpyro", "nsc", "ping"], environment).status == 0
        assert program.stop().status == 0
    assert os.listdir(tmp_path) == []


def test_name_that_is_registered_anew_elsewhere_is_found_again_by_rebinding(server: tuple[Program, int]) -> None:
    class Here(gpyro.ObjBase):
        def __init__(self, where: str) -> None:
            super().__init__()
            self._where = where

        def where(self) -> str:
            return self._where

    ns = gpyro.naming.NameServerLocator().getNS("127.0.0.1", server[1])
    proxy = gpyro.Proxy(f"PYRONAME://127.0.0.1:{server[1]}/moving")
    for where in ("first", "second"):
        daemon = gpyro.Daemon(port=0, norange=True)
        daemon.useNameServer(ns)
        daemon.connect(Here(where), "moving")
        loop = gevent.spawn(daemon.requestLoop)
        proxy.adapter.rebindURI(tries=5, wait=0.1)
        assert proxy.where() == where
        daemon.shutdown(True)
        loop.join(20)
    proxy._release()
    ns._release()


def test_server_in_a_background_thread_takes_its_name_out_when_its_program_just_ends(
    server: tuple[Program, int], tmp_path: Path
) -> None:
    program = str(PROGRAMS / "background_exit.py")
    for _ in range(2):
        ended = run([program, str(server[1])], make_environment(tmp_path))
        assert (ended.status, ended.stdout) == (0, "1\n"), ended.stderr


def test_name_that_a_crashed_server_left_behind_is_refused_with_its_holder_and_the_way_out(
    server: tuple[Program, int],
) -> None:
    ns = gpyro.naming.NameServerLocator().getNS("127.0.0.1", server[1])
    ns.register("left", "PYRO://127.0.0.1:1/crashed")
    with gpyro.Daemon(port=0, norange=True) as daemon:
        daemon.useNameServer(ns)
        with pytest.raises(NamingError, match=r"PYRO://127.0.0.1:1/crashed.*gpyro nsc remove left") as info:
            daemon.connect(object(), "left")
        assert info.value.reason == "name already exists"
    ns._release()


def test_port_that_was_asked_for_is_not_answered_by_the_server_of_the_address_file(
    server: tuple[Program, int], tmp_path: Path
) -> None:
    environment = make_environment(tmp_path)
    ended = run(["-m", "gpyro", "nsc", "-p", str(free_port()), "ping"], environment)
    assert ended.status != 0
    assert "could not find a name server" in ended.stderr
    assert run(["-m", "gpyro", "nsc", "ping"], environment).status == 0
