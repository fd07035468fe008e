"""A name server with a database that is killed: at random moments, and at exact system calls around its writes."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

import gpyro
from gpyro.errors import PyroError
from gpyro.storage.sqlite import SqliteStorage
from tests.support.campaigns import needs_strace, points
from tests.support.programs import Program, free_port, make_environment

CLIENTS = 50
#: Names in a group that is deleted at one go.
IN_GROUP = 20
SECONDS = 30.0
SEED = 20
DATABASE = "Pyro_NS_database"

#: Where in the journal's thread, or at whose answer, the process is killed: before the call is made.
WRITE, SYNC, ANSWER = "pwrite64", "fdatasync,fsync", "sendto"

State = dict[str, str]


class Client:
    """Changes names of its own, one after another, and knows what it was told is there.

    `known` is that; `maybe` is what is there instead if the change that nobody answered was made.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.random = random.Random(SEED + number)
        self.known: State = {}
        self.maybe: State | None = None
        self.acknowledged = 0
        self.count = 0

    @property
    def group(self) -> str:
        return f":c{self.number}"

    def work(self, port: int, note: Callable[[], object]) -> None:
        """Go on until the server is gone."""
        ns: Any = None
        try:
            ns = gpyro.naming.NameServerLocator().getNS("127.0.0.1", port)
            while True:
                after, act = self.next_change()
                self.maybe = after
                act(ns)
                self.known, self.maybe = after, None
                self.acknowledged += 1
                note()
        except (PyroError, OSError):
            pass
        finally:
            if ns is not None:
                ns._release()

    def next_change(self) -> tuple[State, Callable[[Any], object]]:
        known, group = self.known, self.group
        self.count += 1
        uri = f"PYRO://127.0.0.1:7766/{self.number}-{self.count}"
        if group not in known:
            return {**known, group: "group"}, lambda ns: ns.createGroup(group)
        if len(known) > IN_GROUP:
            return {}, lambda ns: ns.deleteGroup(group)
        name = f"{group}.n{len(known)}"
        kind = self.random.randrange(5)
        if kind == 0 and len(known) > 1:
            gone = self.random.choice([other for other in known if other != group])
            left = {other: value for other, value in known.items() if other != gone}
            return left, lambda ns: ns.unregister(gone)
        if kind == 1 and len(known) > 1:
            name = self.random.choice([other for other in known if other != group])
        while kind != 1 and name in known:
            name += "x"
        return {**known, name: uri}, lambda ns: ns.register(name, uri, replace=True)

    def check(self, found: State) -> None:
        """Compare with what is there after a kill, which is what is known from now on."""
        allowed = [self.known] if self.maybe is None else [self.known, self.maybe]
        assert found in allowed, f"client {self.number}: {found} is none of {allowed}"
        self.known, self.maybe = found, None


class Campaign:
    """One database, one server after another, the same clients all the time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.environment = make_environment(directory, ns_port=self.port)
        self.clients = [Client(number) for number in range(CLIENTS)]
        self.random = random.Random(SEED)
        self.kills = 0

    def kill(self, syscalls: str | None, count: int) -> None:
        """Run a server and its clients until it is killed; by strace, or after so many acknowledged changes."""
        prefix: list[str] = []
        if syscalls is not None:
            inject = f"inject={syscalls}:signal=KILL:when={count}"
            prefix = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={syscalls}", "-e", inject]
        enough = Event()
        acknowledged = [0]

        def note() -> None:
            acknowledged[0] += 1
            if acknowledged[0] == count:
                enough.set()

        with Program(["-m", "gpyro", "ns", "-r", "-d"], self.environment, prefix) as program:
            if self.starts(program):
                working = [gevent.spawn(client.work, self.port, note) for client in self.clients]
                if syscalls is None:
                    assert enough.wait(SECONDS)
                    program.kill()
                gevent.joinall(working, timeout=SECONDS, raise_error=True)
                assert all(greenlet.ready() for greenlet in working)
        self.kills += 1
        self.check()

    def starts(self, program: Program) -> bool:
        """Wait until it serves; False if it was killed before."""
        try:
            program.read_until("Name Server started.")
        except AssertionError:
            assert program.process.wait(SECONDS) != 0
            return False
        return True

    def check(self) -> None:
        """Open a copy of what is on the disk, and compare it with what the clients know."""
        copy = self.directory / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.directory / DATABASE, copy)
        if not (copy / "names.sqlite").exists():
            assert not any(client.acknowledged for client in self.clients)
            return
        with SqliteStorage(str(copy / "names.sqlite")) as storage:
            records = storage.scan(":", None, 1_000_000)
        found: dict[str, State] = {client.group: {} for client in self.clients}
        for record in records:
            group = record.name.partition(".")[0]
            if group in found:
                found[group][record.name] = record.members[0].uri if record.members else "group"
        for client in self.clients:
            client.check(found[client.group])

    def end(self) -> None:
        """See that a server starts on what is left, and answers."""
        with Program(["-m", "gpyro", "ns", "-r", "-d"], self.environment) as program:
            program.read_until("Name Server started.")
            ns = gpyro.naming.NameServerLocator().getNS("127.0.0.1", self.port)
            for client in self.clients:
                if client.known:
                    found = [(f"{client.group}.{part}", 1) for part, _ in ns.list(client.group)]
                    assert sorted(name for name, _ in found) == sorted(set(client.known) - {client.group})
            ns.register("after", "PYRO://127.0.0.1:7766/1")
            ns._release()
            assert program.stop().status == 0
        assert sum(client.acknowledged for client in self.clients) > self.kills


@pytest.mark.timeout(points(90, 900))
def test_server_killed_at_random_moments_keeps_all_that_was_acknowledged(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path)
    for _ in range(points(16, 80)):
        campaign.kill(None, campaign.random.randrange(1, 1500))
    campaign.end()


@needs_strace
@pytest.mark.timeout(points(90, 900))
# Up to which call: some 50 of the answers are those of the clients' first calls.
@pytest.mark.parametrize(("syscalls", "last"), [(WRITE, 100), (SYNC, 60), (ANSWER, 1500)])
def test_server_killed_around_its_writes_keeps_all_that_was_acknowledged(
    tmp_path: Path, syscalls: str, last: int
) -> None:
    campaign = Campaign(tmp_path)
    for point in range(points(5, 40)):
        # The first ones one by one, from the making of the file on, then further apart.
        step = point + 1 if point < 3 else campaign.random.randrange(4, last)
        campaign.kill(syscalls, step)
    campaign.end()
