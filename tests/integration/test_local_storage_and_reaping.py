"""What a daemon keeps for each connection, and which objects it lets go of when nobody uses them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event

import gpyro


class Storing(gpyro.ObjBase):
    def count(self) -> int:
        storage = self.getLocalStorage()
        storage.number += 1
        return int(storage.number)

    def caller_is_the_connection(self) -> bool:
        return self.getLocalStorage().caller is gpyro.current_call.caller


class Reapable(gpyro.ObjBase):
    def __init__(self) -> None:
        super().__init__()
        self.reaped = Event()

    def use(self) -> None:
        return None

    def _gotReaped(self) -> None:
        self.reaped.set()


@pytest.fixture
def daemon() -> Iterator[gpyro.Daemon]:
    daemon = gpyro.Daemon(port=0, norange=True)
    serving = gevent.spawn(daemon.requestLoop)
    yield daemon
    daemon.shutdown(True)
    serving.join(timeout=10)


def test_each_connection_has_a_storage_of_its_own_that_setInitTLS_prepares_once(daemon: gpyro.Daemon) -> None:
    made: list[Any] = []

    def prepare(storage: Any) -> None:
        made.append(storage)
        storage.number = 10

    daemon.setInitTLS(prepare)
    uri = daemon.connect(Storing())
    first, second = gpyro.Proxy(uri), gpyro.Proxy(uri)
    assert [first.count(), first.count(), second.count()] == [11, 12, 11]
    assert first.caller_is_the_connection()
    assert len(made) == 2


def test_local_storage_outside_of_a_call_is_an_error(daemon: gpyro.Daemon) -> None:
    obj = Storing()
    daemon.connect(obj)
    with pytest.raises(gpyro.errors.DaemonError, match="no call is running"):
        obj.getLocalStorage()


def test_an_unused_object_without_a_name_is_reaped_and_told(daemon: gpyro.Daemon) -> None:
    unused = Reapable()
    uri = daemon.connect(unused)
    daemon.setTransientsCleanupAge(0.2)
    assert unused.reaped.wait(timeout=10)
    assert unused.getDaemon() is None
    with pytest.raises(gpyro.errors.UnknownObjectError):
        gpyro.Proxy(uri).use()


def test_an_object_in_use_outlives_one_that_is_not(daemon: gpyro.Daemon) -> None:
    used, unused = Reapable(), Reapable()
    proxy = gpyro.Proxy(daemon.connect(used))
    daemon.connect(unused)
    daemon.setTransientsCleanupAge(0.4)
    while not unused.reaped.is_set():
        proxy.use()
    assert not used.reaped.is_set()
    assert used.GUID() in daemon.getRegistered()


def test_a_negative_cleanup_age_is_an_error(daemon: gpyro.Daemon) -> None:
    with pytest.raises(ValueError, match="-1"):
        daemon.setTransientsCleanupAge(-1)


def test_who_insists_on_a_login_is_not_let_in_without_one(daemon: gpyro.Daemon) -> None:
    proxy = gpyro.Proxy(daemon.connect(Storing()))
    proxy._setIdentification("secret")
    with pytest.raises(gpyro.errors.ConnectionDeniedError, match="does not authenticate") as info:
        proxy.count()
    assert info.value.code == gpyro.errors.ConnectionDeniedError.SECURITY
