"""SynchronizedObjBase: one call at a time, and when an object is free again."""

from __future__ import annotations

import gc
import threading
from typing import Any

import gevent
import pytest
from gevent.event import Event

import gpyro
from gpyro._connection import synchronizing
from gpyro._connection.synchronizing import _lock_of
from gpyro.connection import Connection
from tests.support.servers import SECONDS, child, connection_of, eventually, nothing_left, running_daemon
from tests.support.synchronized import Account, Relay, error_of, is_free, spawn, value_of, waiting

# -- one at a time -------------------------------------------------------------------------------------------


def test_calls_of_many_callers_run_one_at_a_time_in_the_order_in_which_they_came() -> None:
    with running_daemon() as running:
        account = Account()
        uri = running.connect(account)
        first = spawn(running.proxy(uri).wait, "first")
        eventually(lambda: account.started == ["first"])
        others = []
        for number in range(10):
            others.append(spawn(running.proxy(uri).deposit, number))
            eventually(lambda count=number + 1: waiting(account) == count)  # type: ignore[misc]
        account.go.set()
        gevent.joinall([first, *others], timeout=SECONDS)
        assert account.started == ["first", *range(10)]
        assert (account.sum, account.most) == (45, 1)
        assert is_free(account)


def test_plain_objects_are_not_synchronized() -> None:
    class Plain(gpyro.ObjBase):
        wait, note = Account.wait, Account.note

        def __init__(self) -> None:
            super().__init__()
            self.started: list[Any] = []
            self.go = Event()

    with running_daemon() as running:
        plain = Plain()
        proxy = running.proxy(plain)
        first = spawn(proxy.wait, "first")
        proxy.note("second")
        plain.go.set()
        assert value_of(first) == "first"


def test_delegate_of_a_synchronized_object_is_called_one_at_a_time() -> None:
    class Plain:
        def __init__(self) -> None:
            self.most = self.inside = 0

        def __bool__(self) -> bool:
            raise AssertionError("nobody asks the delegate for this")

        def work(self) -> None:
            self.inside += 1
            self.most = max(self.most, self.inside)
            gevent.sleep(0)
            self.inside -= 1

    with running_daemon() as running:
        plain, wrapper = Plain(), gpyro.SynchronizedObjBase()
        wrapper.delegateTo(plain)
        proxy = running.proxy(wrapper)
        gevent.joinall([gevent.spawn(proxy.work) for _ in range(5)], raise_error=True, timeout=SECONDS)
        assert plain.most == 1


def test_attributes_of_a_synchronized_object_wait_for_their_turn() -> None:
    with running_daemon() as running:
        account = Account()
        uri = running.connect(account)
        inside = spawn(running.proxy(uri).wait)
        eventually(lambda: account.started == [None])
        reading = spawn(lambda: running.attr_proxy(uri).sum)
        eventually(lambda: waiting(account) == 1)
        writing = spawn(setattr, running.attr_proxy(uri), "sum", 7)
        eventually(lambda: waiting(account) == 2)
        assert account.sum == 0
        account.go.set()
        assert value_of(reading) == 0
        value_of(writing)
        assert (value_of(inside), account.sum) == (None, 7)


def test_oneway_calls_wait_for_their_turn_too() -> None:
    with running_daemon() as running:
        account = Account()
        uri = running.connect(account)
        inside = spawn(running.proxy(uri).wait, "first")
        eventually(lambda: account.started == ["first"])
        proxy = running.proxy(uri)
        proxy._setOneway("note")
        for number in range(3):
            proxy.note(number)
        eventually(lambda: waiting(account) == 3)
        assert account.started == ["first"]
        account.go.set()
        value_of(inside)
        eventually(lambda: account.started == ["first", 0, 1, 2])


def test_callers_in_threads_take_turns_at_an_object_of_another_thread() -> None:
    with running_daemon() as running:
        account = Account()
        uri = running.connect(account)

        def work() -> None:
            proxy = gpyro.Proxy(uri)
            for _ in range(5):
                proxy.deposit(1)
            proxy._release()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        eventually(lambda: not any(thread.is_alive() for thread in threads))
        assert (account.sum, account.most) == (20, 1)


def test_object_without_a_daemon_has_one_turn_for_all_connections_and_threads_that_it_was_passed_over() -> None:
    class Caller(gpyro.ObjBase):
        def call(self, passed: Any, amount: int) -> int:
            return int(passed.deposit(amount))

        def hold(self, passed: Any) -> None:
            passed.wait("here")

    with running_daemon() as running:
        account = Account()
        uri = running.connect(Caller())
        here = spawn(running.proxy(uri).hold, account)
        eventually(lambda: account.started == ["here"])
        sums: list[int] = []

        def work() -> None:
            proxy = gpyro.Proxy(uri)
            sums.append(proxy.call(account, 5))
            proxy._release()

        thread = threading.Thread(target=work)
        thread.start()
        eventually(lambda: waiting(account) == 1)
        assert account.started == ["here"]
        account.go.set()
        value_of(here)
        eventually(lambda: not thread.is_alive())
        assert sums == [5]


# -- free again ----------------------------------------------------------------------------------------------


def test_object_is_free_after_its_method_has_failed() -> None:
    with running_daemon() as running:
        account = Account()
        proxy = running.proxy(account)
        with pytest.raises(LookupError):
            proxy.fail()
        with pytest.raises(TypeError):
            proxy.deposit()
        assert is_free(account)
        assert proxy.deposit(1) == 1


def test_object_is_free_after_the_call_inside_was_cancelled_and_the_next_one_goes_in() -> None:
    with running_daemon() as running:
        account = Account()
        uri = running.connect(account)
        hurried = running.proxy(uri)
        hurried._setTimeout(0.2)
        inside = spawn(hurried.wait, "first")
        eventually(lambda: account.started == ["first"])
        after = spawn(running.proxy(uri).deposit, 1)
        eventually(lambda: waiting(account) == 1)
        assert isinstance(error_of(inside), gpyro.errors.TimeoutError)
        assert value_of(after) == 1
        assert is_free(account)


def test_call_whose_deadline_passes_while_it_waits_is_never_started() -> None:
    with running_daemon() as running:
        account = Account()
        uri = running.connect(account)
        inside = spawn(running.proxy(uri).wait, "first")
        eventually(lambda: account.started == ["first"])
        hurried = running.proxy(uri)
        hurried._setTimeout(0.1)
        with pytest.raises(gpyro.errors.TimeoutError):
            hurried.deposit(1)
        eventually(lambda: waiting(account) == 0)
        account.go.set()
        value_of(inside)
        assert account.started == ["first"]


def test_call_whose_caller_vanishes_while_it_waits_is_never_started() -> None:
    with running_daemon() as running:
        account = Account()
        uri = running.connect(account)
        inside = spawn(running.proxy(uri).wait, "first")
        eventually(lambda: account.started == ["first"])
        leaver = running.proxy(uri)
        gone = spawn(leaver.deposit, 1)
        eventually(lambda: waiting(account) == 1)
        connection_of(leaver).close()
        assert isinstance(error_of(gone), gpyro.errors.ConnectionClosedError)
        eventually(lambda: waiting(account) == 0)
        account.go.set()
        value_of(inside)
        assert account.started == ["first"]


def test_call_inside_whose_caller_vanishes_ends_as_on_any_object_and_then_the_object_is_free() -> None:
    with running_daemon() as running:
        account = Account()
        uri = running.connect(account)
        for method in ("wait", "wait_cancellably"):
            leaver = running.proxy(uri)
            gone = spawn(getattr(leaver, method))
            eventually(lambda: len(_lock_of(account).inside) == 1)
            connection_of(leaver).close()
            assert isinstance(error_of(gone), gpyro.errors.ConnectionClosedError)
            if method == "wait":
                after = spawn(running.proxy(uri).note, "after")
                eventually(lambda: waiting(account) == 1)
                account.go.set()
                value_of(after)
                account.go.clear()
        eventually(lambda: is_free(account))


def test_shutdown_lets_those_that_wait_have_their_turn() -> None:
    with running_daemon() as running:
        account = Account()
        uri = running.connect(account)
        inside = spawn(running.proxy(uri).wait, "first")
        eventually(lambda: account.started == ["first"])
        after = spawn(running.proxy(uri).deposit, 3)
        eventually(lambda: waiting(account) == 1)
        running.daemon.shutdown()
        account.go.set()
        assert (value_of(inside), value_of(after)) == ("first", 3)


def test_object_of_a_thread_that_ended_in_the_middle_of_a_call_is_free_for_the_next_daemon() -> None:
    with nothing_left():
        account = Account()
        addresses: list[str] = []

        def serve() -> None:
            daemon = gpyro.Daemon(port=0, norange=True)
            addresses.append(str(daemon.connect(account)))
            daemon.requestLoop(lambda: not account.started, 0.01)

        thread = threading.Thread(target=serve)
        thread.start()
        eventually(lambda: addresses)
        lost = gpyro.Proxy(addresses[0])
        with pytest.raises(gpyro.errors.ConnectionClosedError):
            lost.wait("lost")
        eventually(lambda: not thread.is_alive())
        lost._release()
        with running_daemon() as running:
            assert running.proxy(account).deposit(1) == 1
        assert is_free(account)


FORKING = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import gevent, gpyro
from gevent.event import Event
class Held(gpyro.SynchronizedObjBase):
    def __init__(self):
        super().__init__()
        self.entered, self.go = Event(), Event()
    def hold(self):
        self.entered.set()
        self.go.wait()
    def echo(self, value):
        return value
held = Held()
daemon = gpyro.Daemon(port=0, norange=True)
proxy = gpyro.Proxy(daemon.connect(held))
gevent.spawn(daemon.requestLoop)
inside = gevent.spawn(proxy.hold)
held.entered.wait()
pid = os.fork()
if pid == 0:
    own = gpyro.Daemon(port=0, norange=True)
    uri = own.connect(held)
    gevent.spawn(own.requestLoop)
    print("child", gpyro.Proxy(uri).echo("in"), flush=True)
    os._exit(0)
print("ended", os.waitpid(pid, 0)[1], flush=True)
held.go.set()
inside.get(timeout=20)
print("parent", proxy.echo("in"), flush=True)
daemon.shutdown(True)
"""


def test_forked_child_has_none_of_the_calls_that_are_inside() -> None:
    with child(FORKING) as process:
        stdout, stderr = process.communicate(timeout=SECONDS)
    assert stdout.splitlines() == ["child in", "ended 0", "parent in"], stderr


# -- native threads ------------------------------------------------------------------------------------------


class Offloaded(gpyro.SynchronizedObjBase):
    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.go = threading.Event()
        self.started: list[Any] = []

    @gpyro.offload
    def block(self, value: Any = None) -> Any:
        self.started.append(value)
        self.entered.set()
        assert self.go.wait(SECONDS)
        return value

    @gpyro.offload
    def through(self, relay: str, home: str, method: str) -> Any:
        return gpyro.Proxy(relay).relay(home, method, "inner")

    @gpyro.offload
    def note(self, value: Any) -> None:
        self.started.append(value)


def test_offloaded_methods_of_a_synchronized_object_run_one_at_a_time() -> None:
    with running_daemon() as running:
        offloaded = Offloaded()
        uri = running.connect(offloaded)
        inside = spawn(running.proxy(uri).block, "first")
        eventually(offloaded.entered.is_set)
        after = spawn(running.proxy(uri).note, "second")
        eventually(lambda: waiting(offloaded) == 1)
        assert offloaded.started == ["first"]
        offloaded.go.set()
        assert value_of(inside) == "first"
        value_of(after)
        assert offloaded.started == ["first", "second"]


def test_cancelled_offloaded_method_keeps_the_object_until_its_thread_is_through() -> None:
    with running_daemon() as running:
        offloaded = Offloaded()
        uri = running.connect(offloaded)
        hurried = running.proxy(uri)
        hurried._setTimeout(0.2)
        with pytest.raises(gpyro.errors.TimeoutError):
            hurried.block("first")
        assert offloaded.entered.is_set()
        after = spawn(running.proxy(uri).note, "second")
        eventually(lambda: waiting(offloaded) == 1)
        assert offloaded.started == ["first"]
        offloaded.go.set()
        value_of(after)
        eventually(lambda: is_free(offloaded))


def test_offloaded_call_that_is_cancelled_before_it_has_a_thread_is_never_run_and_frees_the_object() -> None:
    with running_daemon(offload_threads=1) as running:
        holder, offloaded = Offloaded(), Offloaded()
        busy = spawn(running.proxy(holder).block)
        eventually(holder.entered.is_set)
        hurried = running.proxy(offloaded)
        hurried._setTimeout(0.1)
        with pytest.raises(gpyro.errors.TimeoutError):
            hurried.note("never")
        eventually(lambda: is_free(offloaded))
        holder.go.set()
        value_of(busy)
        running.proxy(holder).note("flushed")
        assert offloaded.started == []


def test_refused_offloaded_call_frees_the_object() -> None:
    with running_daemon(offload_threads=1, offload_queue=1) as running:
        holders = [Offloaded(), Offloaded()]
        busy = [spawn(running.proxy(holder).block) for holder in holders]
        offloaded = Offloaded()
        eventually(lambda: running.service._pool is not None and running.service._pool.unfinished == 2)
        with pytest.raises(gpyro.errors.ServerBusyError, match="offload_queue"):
            running.proxy(offloaded).note("never")
        assert is_free(offloaded)
        for holder in holders:
            holder.go.set()
        for greenlet in busy:
            value_of(greenlet)


def test_chain_through_an_offloaded_method_comes_back_in() -> None:
    with running_daemon() as running:
        offloaded = Offloaded()
        home = running.connect(offloaded)
        offloaded.go.set()
        assert running.proxy(home).through(running.connect(Relay()), home, "block") == "inner"
        assert is_free(offloaded)


def test_every_method_of_a_daemon_with_offload_all_takes_its_turn() -> None:
    class Slow(gpyro.SynchronizedObjBase):
        def __init__(self) -> None:
            super().__init__()
            self.sum = 0
            self.most = self.inside = 0

        def add(self) -> int:
            self.inside += 1
            self.most = max(self.most, self.inside)
            gone = threading.Event()
            gone.wait(0.001)
            self.inside -= 1
            self.sum += 1
            return self.sum

    daemon = gpyro.Daemon(port=0, norange=True, offload_all=True)
    serving = gevent.spawn(daemon.requestLoop)
    slow = Slow()
    proxy = gpyro.Proxy(daemon.connect(slow))
    gevent.joinall([gevent.spawn(proxy.add) for _ in range(8)], raise_error=True, timeout=SECONDS)
    assert (slow.sum, slow.most) == (8, 1)
    proxy._release()
    daemon.shutdown(True)
    serving.get(timeout=SECONDS)


# -- inside --------------------------------------------------------------------------------------------------


def test_leaving_waits_for_nothing_even_in_the_middle_of_somebody_elses_entering() -> None:
    with running_daemon() as running:
        account = Account()
        proxy = running.proxy(account)
        inside = spawn(proxy.wait)
        eventually(lambda: len(_lock_of(account).inside) == 1)
        hold = _lock_of(account).inside[0]
        with synchronizing._book:
            # As where the collector ends a greenlet there.
            hold.leave()
            assert repr(hold.state) == repr(synchronizing.State.INSIDE)
        assert proxy.deposit(1) == 1, "whoever comes next does what was left"
        assert hold.state is synchronizing.State.LEFT
        account.go.set()
        value_of(inside)


def test_locks_of_objects_end_with_them() -> None:
    account = Account()
    key = id(account)
    _lock_of(account)
    assert key in synchronizing._locks
    del account
    gc.collect()
    assert key not in synchronizing._locks


def test_places_and_locks_say_what_they_are() -> None:
    with running_daemon() as running:
        account, relay = Account(), Relay()
        home, away = running.connect(account), running.connect(relay)
        inside = spawn(running.proxy(home).through, away, away, "remember")
        eventually(lambda: relay.paths)
        hold = _lock_of(account).inside[0]
        title = f"Account {account.GUID()[:6]}.through"
        assert repr(hold) == f"<Hold {title} inside, 1 legs>"
        assert [repr(leg) for leg in hold.legs.values()] == [f"<Leg {title} to relay>"]
        assert "1 inside, 0 waiting" in repr(_lock_of(account))
        assert isinstance(hold.call.caller, Connection)
        relay.go.set()
        value_of(inside)
        assert repr(hold) == f"<Hold {title} left, 0 legs>"
        assert hold.call.hold is None
