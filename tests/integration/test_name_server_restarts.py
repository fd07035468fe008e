"""Name servers with a database as processes: they end, are killed and begin anew, and programs go on."""

from __future__ import annotations

import os
from pathlib import Path

import gpyro
from tests.support.programs import PROGRAMS, Program, free_port, make_environment, run

NS = ["-m", "gpyro", "ns", "-r", "-d"]


def test_ns_with_a_database_tells_where_it_is_and_keeps_names(tmp_path: Path) -> None:
    environment = make_environment(tmp_path, ns_port=free_port())
    default = "Pyro_NS_database"
    for words, place in ((NS, default), ([*NS, "otherdb"], "otherdb"), ([*NS, "-v"], default)):
        with Program(words, environment) as program:
            assert program.read_until("Persistent mode, database is in") == str(tmp_path / place)
            program.read_until("Name Server started.")
            ended = run(["-m", "gpyro", "nsc", "register", "x", "PYRO://127.0.0.1:7766/1"], environment)
            # The third is a restart of the first.
            assert (ended.status == 0) == ("-v" not in words), ended
            ended = program.stop()
            assert (ended.status, ended.stderr) == (0, "")
        assert os.listdir(tmp_path / place) == ["names.sqlite"]


def test_second_ns_of_the_same_database_is_refused_in_one_line(tmp_path: Path) -> None:
    with Program(NS, make_environment(tmp_path, ns_port=free_port())) as program:
        program.read_until("Name Server started.")
        ended = run(NS, make_environment(tmp_path, ns_port=free_port()))
        assert ended.status == 1
        path = tmp_path / "Pyro_NS_database" / "names.sqlite"
        assert ended.stderr == (
            f"Error: {path}: another name server uses this database; end that one first, or give this one another "
            "directory\n"
        )
        assert program.stop().status == 0


def test_persistent_object_keeps_its_id_when_all_was_killed_and_old_proxies_work_on(tmp_path: Path) -> None:
    port = free_port()
    environment = make_environment(tmp_path, ns_port=port)
    serve = [str(PROGRAMS / "persistent_object.py"), str(free_port())]
    with Program(NS, environment) as names:
        names.read_until("Name Server started.")
        with Program(serve, environment) as server:
            first = gpyro.PyroURI(server.read_until("URI "))
            by_name = gpyro.Proxy(f"PYRONAME://127.0.0.1:{port}/kept")
            by_address = gpyro.Proxy(str(first))
            assert (by_name.count(), by_address.count()) == (1, 2)
            server.kill()
        names.kill()
    with Program(NS, environment) as names, Program(serve, environment) as server:
        # In either order: the server waits for the name server.
        second = gpyro.PyroURI(server.read_until("URI "))
        assert second == first
        by_name.adapter.rebindURI(tries=20, wait=0.1)
        by_address.adapter.rebindURI(tries=20, wait=0.1)
        assert (by_name.count(), by_address.count()) == (1, 2)
        ns = gpyro.naming.NameServerLocator().getNS("127.0.0.1", port)
        assert ns.resolve("kept") == second
        # In order it ends without taking its name away.
        assert server.stop().status == 0
        assert ns.resolve("kept") == second
        ns._release()
        by_name._release()
        by_address._release()
