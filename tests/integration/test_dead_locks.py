"""Calls on synchronized objects that wait for each other are told so, with the calls, and none waits for ever."""

from __future__ import annotations

import contextvars
import random
import threading
from typing import Any

import gevent
import pytest

import gpyro
from gpyro._connection import synchronizing
from tests.support.servers import SECONDS, child, eventually, running_daemon
from tests.support.synchronized import FOR_EVER, OTHER_PROCESS, Account, Relay, error_of, is_free, spawn, value_of


class Passing(gpyro.ObjBase):
    def __init__(self, to: str) -> None:
        super().__init__()
        self.to = to

    def deposit(self, amount: int) -> int:
        return int(gpyro.Proxy(self.to).deposit(amount))


def crosswise(running: Any, accounts: list[Account], through: Any = str) -> list[Any]:
    """Let each account transfer to the next one, all at once."""
    homes = [running.connect(account) for account in accounts]
    greenlets = [
        spawn(running.proxy(home).transfer, through(other), 1)
        for home, other in zip(homes, [*homes[1:], homes[0]], strict=True)
    ]
    eventually(lambda: all(account.started == ["transfer"] for account in accounts))
    for account in accounts:
        account.go.set()
    return greenlets


@pytest.mark.parametrize("count", [2, 3, 10])
def test_objects_that_call_each_other_in_a_ring_are_told_so_with_the_calls(count: int) -> None:
    with running_daemon(synchronized_wait_seconds=FOR_EVER) as running:
        accounts = [Account() for _ in range(count)]
        ended = [greenlet.get(timeout=SECONDS) for greenlet in crosswise(running, accounts)]
        errors = [error for value, error in ended if error is not None]
        assert len(errors) == 1, "one gives way, and the others go on"
        assert isinstance(errors[0], gpyro.errors.DeadLockError)
        titles = [f"Account {account.GUID()[:6]}" for account in accounts]
        assert sorted(errors[0].chain) == sorted(
            f"{title}.{method}" for title in titles for method in ("deposit", "transfer")
        )
        assert str(errors[0]).startswith(f"dead-lock: {errors[0].chain[0]} waits for {errors[0].chain[1]}, which ")
        assert "has called the first; the first was not started" in str(errors[0])
        assert all(account.GUID() not in str(errors[0]) for account in accounts)
        assert sum(account.sum for account in accounts) == -1
        assert all(is_free(account) for account in accounts)


def test_dead_lock_through_objects_that_are_not_synchronized_is_found_at_once() -> None:
    with running_daemon(synchronized_wait_seconds=FOR_EVER) as running:
        accounts = [Account(), Account()]
        greenlets = crosswise(running, accounts, lambda uri: running.connect(Passing(uri)))
        errors = [error for value, error in (greenlet.get(timeout=SECONDS) for greenlet in greenlets) if error]
        assert [type(error) for error in errors] == [gpyro.errors.DeadLockError]
        assert len(errors[0].chain) == 4
        assert all(is_free(account) for account in accounts)


@pytest.mark.parametrize("seed", range(5))
def test_chains_through_objects_in_any_order_all_end_and_leave_every_object_free(seed: int) -> None:
    chance = random.Random(seed)
    with running_daemon(synchronized_wait_seconds=FOR_EVER) as running:
        accounts = [Account() for _ in range(5)]
        homes = [running.connect(account) for account in accounts]
        rings = [[chance.choice(homes) for _ in range(chance.randint(2, 6))] for _ in range(60)]
        chains = [spawn(running.proxy(ring[0]).hop, [*ring[1:], ring[0]], len(ring) - 1) for ring in rings]
        ended = [chain.get(timeout=SECONDS) for chain in chains]
        errors = [error for value, error in ended if error is not None]
        assert {type(error) for error in errors} <= {gpyro.errors.DeadLockError}
        assert all(value == len(ring) - 1 for (value, error), ring in zip(ended, rings, strict=True) if not error)
        assert 0 < len(errors) < len(rings)
        assert all(is_free(account) for account in accounts)
        assert not synchronizing._legs


def test_call_that_comes_back_without_its_path_is_told_of_when_its_time_is_over() -> None:
    with running_daemon(synchronized_wait_seconds=0.2) as running:
        account = Account()
        home, away = running.connect(account), running.connect(Relay())
        error = error_of(spawn(running.proxy(home).through, away, away, "relay_without_context", home, "note", 1))
        assert isinstance(error, gpyro.errors.DeadLockError)
        title = f"Account {account.GUID()[:6]}"
        assert str(error).startswith("perhaps a dead-lock, waited 0.2 s (synchronized_wait_seconds): ")
        assert f"{title}.note waits for" in str(error)
        assert f"{title}.through (in its call of relay)" in str(error)
        assert error.chain == (f"{title}.note", f"{title}.through")
        assert account.started == []
        assert is_free(account)


def test_call_of_a_greenlet_that_the_method_inside_waits_for_is_told_the_way_out() -> None:
    class Spawning(Account):
        def spawn_plain(self, home: str) -> str:
            return str(error_of(spawn(gpyro.Proxy(home).deposit, 1)))

        def spawn_in_context(self, home: str) -> int:
            return int(gevent.spawn(contextvars.copy_context().run, gpyro.Proxy(home).deposit, 1).get())

        @gpyro.offload
        def start_thread(self, home: str) -> str:
            errors: list[str] = []

            def deposit() -> None:
                try:
                    gpyro.Proxy(home).deposit(1)
                except gpyro.errors.ServerBusyError as exc:
                    errors.append(str(exc))

            thread = threading.Thread(target=deposit)
            thread.start()
            thread.join(SECONDS)
            return errors[0]

    with running_daemon(synchronized_wait_seconds=0.1) as running:
        account = Spawning()
        home = running.connect(account)
        title = f"Spawning {account.GUID()[:6]}"
        text = (
            f"waited 0.1 s (synchronized_wait_seconds): {title}.deposit waits for {title}.%s; the first "
            "was not started; try again later. If one that is inside waits for a greenlet or a thread that it has "
            "started itself, and that calls back, it waits for itself, and trying again does not help: start it "
            "with contextvars.copy_context().run (docs/usage.md)"
        )
        assert running.proxy(home).spawn_plain(home) == text % "spawn_plain"
        assert running.proxy(home).start_thread(home) == text % "start_thread"
        assert running.proxy(home).spawn_in_context(home) == 1
        assert is_free(account)


def test_dead_lock_over_two_processes_is_told_of_when_its_time_is_over() -> None:
    class Gate(gpyro.ObjBase):
        def __init__(self, account: Account, home: str) -> None:
            super().__init__()
            self.account, self.home = account, home

        def is_there(self) -> None:
            """The other process is inside its object; now this one may go on too."""
            self.account.go.set()

        def deposit(self, amount: int) -> int:
            return int(gpyro.Proxy(self.home).deposit(amount))

    with child(OTHER_PROCESS) as process, running_daemon(synchronized_wait_seconds=0.3) as running:
        assert process.stdout is not None
        other = process.stdout.readline().strip()
        account = Account()
        home = running.connect(account)
        here = spawn(running.proxy(home).transfer, other, 1)
        eventually(lambda: account.started == ["transfer"])
        there = spawn(running.proxy(other).transfer, running.connect(Gate(account, home)), 1)
        errors = [greenlet.get(timeout=SECONDS)[1] for greenlet in (here, there)]
        found = [error for error in errors if error is not None]
        assert found and all(isinstance(error, gpyro.errors.DeadLockError) for error in found)
        assert all("synchronized_wait_seconds" in str(error) for error in found)
        assert running.proxy(home).deposit(0) == account.sum


def test_call_that_waits_too_long_for_one_that_only_works_is_refused_as_busy() -> None:
    with running_daemon(synchronized_wait_seconds=0.1) as running:
        account = Account()
        uri = running.connect(account)
        inside = spawn(running.proxy(uri).wait, "first")
        eventually(lambda: account.started == ["first"])
        with pytest.raises(gpyro.errors.ServerBusyError, match=r"waited 0.1 s \(synch.*again later") as info:
            running.proxy(uri).deposit(1)
        assert type(info.value) is gpyro.errors.ServerBusyError
        account.go.set()
        value_of(inside)
        assert account.started == ["first"]
        assert running.proxy(uri).deposit(1) == 1
