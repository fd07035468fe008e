"""A name server with a database on a disk that is full, or fails."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest

import gpyro
from gpyro.errors import StorageError
from gpyro.storage.sqlite import SqliteStorage
from tests.support.campaigns import needs_strace
from tests.support.programs import Program, free_port, make_environment

URI = "PYRO://127.0.0.1:7766/1"
CLIENTS = 10
SECONDS = 30.0


@contextmanager
def server(directory: Path, inject: str = "") -> Iterator[Any]:
    """Run a name server whose system calls strace lets fail; yields a proxy. It is killed at the end."""
    port = free_port()
    prefix: list[str] = []
    if inject:
        calls = inject.partition(":")[0]
        prefix = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={inject}"]
    environment = make_environment(directory, ns_port=port)
    with Program(["-m", "gpyro", "ns", "-r", "-d"], environment, prefix) as program:
        program.read_until("Name Server started.")
        ns = gpyro.naming.NameServerLocator().getNS("127.0.0.1", port)
        try:
            yield ns
        finally:
            ns._release()
            program.kill()


class Clients:
    """Register names of their own until the disk fails, all at a time."""

    def __init__(self, ns: Any) -> None:
        self.ns = ns
        self.acknowledged: set[str] = set()
        self.refused: set[str] = set()
        self.errors: set[str] = set()

    def work(self, client: int, count: int) -> None:
        for number in range(count):
            name = f":Default.c{client}-{number}"
            try:
                self.ns.register(name, URI)
            except StorageError as exc:
                self.refused.add(name)
                self.errors.add(str(exc))
                return
            self.acknowledged.add(name)

    def run(self, first: int = 0, count: int = 1000) -> None:
        jobs = [gevent.spawn(self.work, first + client, count) for client in range(CLIENTS)]
        gevent.joinall(jobs, timeout=SECONDS, raise_error=True)
        assert all(job.ready() for job in jobs)

    def check_lookups(self) -> None:
        """See that exactly what was acknowledged is there."""
        found = {f":Default.{part}" for part, _ in self.ns.list(":Default")}
        assert found == self.acknowledged
        for name in self.refused:
            with pytest.raises(gpyro.errors.NamingError, match="name not found"):
                self.ns.resolve(name)


def names_on_disk(directory: Path) -> set[str]:
    with SqliteStorage(str(directory / "Pyro_NS_database" / "names.sqlite")) as storage:
        return {f":Default.{part}" for part, _ in storage.list(":Default")}


@needs_strace
@pytest.mark.parametrize("calls", ["fdatasync,fsync", "pwrite64"])
def test_failed_write_or_fsync_stops_registrations_until_a_restart_and_lookups_go_on(
    tmp_path: Path, calls: str
) -> None:
    with server(tmp_path, f"{calls}:error=EIO:when=60") as ns:
        clients = Clients(ns)
        clients.run()
        assert clients.acknowledged
        assert len(clients.refused) == CLIENTS
        assert all("names.sqlite: it cannot be written" in error for error in clients.errors)
        # Only that one call failed; later ones would succeed, but what is on the disk is not known any more.
        again = Clients(ns)
        again.run(first=100, count=2)
        assert again.acknowledged == set()
        assert all(error.startswith("no changes are taken since a write failed") for error in again.errors)
        clients.check_lookups()
    # What was refused may be there, as after any call whose answer did not come.
    on_disk = names_on_disk(tmp_path)
    assert clients.acknowledged <= on_disk <= clients.acknowledged | clients.refused
    with server(tmp_path) as ns:
        ns.register("later", URI)


@needs_strace
def test_full_disk_refuses_registrations_until_there_is_room_again_and_lookups_go_on(tmp_path: Path) -> None:
    with server(tmp_path, "pwrite64:error=ENOSPC:when=200..204") as ns:
        clients = Clients(ns)
        clients.run()
        assert clients.acknowledged and clients.refused
        assert all("the disk is full" in error and "make room" in error for error in clients.errors)
        clients.check_lookups()
        for attempt in range(100, 200, CLIENTS):
            clients.run(first=attempt, count=3)
        clients.check_lookups()
        last = {name for name in clients.acknowledged if name.startswith(":Default.c19")}
        assert len(last) == 3 * CLIENTS
    assert names_on_disk(tmp_path) == clients.acknowledged


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with room for little more than an empty database."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(place)]
    try:
        is_mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        is_mounted = False
    if not is_mounted:
        pytest.skip("this user may not mount a small disk here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_small_disk_that_really_is_full_takes_names_again_once_there_is_room(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(400_000))
    with server(small_disk) as ns:
        clients = Clients(ns)
        clients.run()
        assert clients.acknowledged
        assert all("the disk is full" in error for error in clients.errors)
        clients.check_lookups()
        with pytest.raises(StorageError, match="the disk is full"):
            for _ in range(100):
                ns.setMeta(":Default", "x" * 16_000)
        clients.check_lookups()
        os.unlink(filler)
        clients.run(first=100, count=5)
    assert names_on_disk(small_disk) == clients.acknowledged
    assert {f":Default.c{client}-4" for client in range(100, 100 + CLIENTS)} <= clients.acknowledged
