"""SynchronizedObjBase: one call at a time, who comes back in, who waits, and that nobody waits for ever."""

from __future__ import annotations

import contextvars
import gc
import random
import threading
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

import gpyro
from gpyro._connection import synchronizing
from gpyro._connection.synchronizing import _lock_of
from gpyro.connection import Connection
from gpyro.wire.native import FrameType, build_extras, build_target
from tests.support.servers import SECONDS, child, connection_of, eventually, nothing_left, running_daemon

#: Longer than any test may last: what is told of is told of because it was found, and not when time was up.
FOR_EVER = 3600.0


class Account(gpyro.SynchronizedObjBase):
    """Notes how many are inside at once, and waits inside where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = 0
        self.inside = 0
        self.most = 0
        self.started: list[Any] = []
        self.go = Event()
        self.gate = Event()
        self.gate.set()
        self.hops = 0

    def deposit(self, amount: int) -> int:
        self.started.append(amount)
        self.inside += 1
        self.most = max(self.most, self.inside)
        before = self.sum
        self.gate.wait()
        for _ in range(3):
            gevent.sleep(0)
        self.sum = before + amount
        self.inside -= 1
        return self.sum

    def note(self, value: Any) -> None:
        self.started.append(value)

    def wait(self, value: Any = None) -> Any:
        self.started.append(value)
        self.go.wait()
        return value

    @gpyro.cancellable
    def wait_cancellably(self) -> None:
        self.wait("cancellably")

    def fail(self) -> None:
        raise LookupError("as told")

    def transfer(self, other: str, amount: int) -> int:
        """Take it from here, wait for `go`, and put it there."""
        self.sum -= amount
        self.started.append("transfer")
        self.go.wait()
        return int(gpyro.Proxy(other).deposit(amount))

    def fan_out(self, relay: str, home: str, count: int) -> int:
        """Have so many deposits made here at once, each by way of another object."""

        def one() -> None:
            gpyro.Proxy(relay).relay(home, "deposit", 1)

        greenlets = [gevent.spawn(contextvars.copy_context().run, one) for _ in range(count)]
        gevent.joinall(greenlets, raise_error=True)
        return self.sum

    def through(self, relay: str, home: str, method: str, *args: Any) -> Any:
        return gpyro.Proxy(relay).relay(home, method, *args)

    def hop(self, ring: list[str], left: int) -> int:
        """Call the next one in the ring, until nothing is left."""
        self.hops += 1
        if left == 0:
            return 0
        return 1 + int(gpyro.Proxy(ring[0]).hop([*ring[1:], ring[0]], left - 1))


class Relay(gpyro.ObjBase):
    """Passes calls on."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: list[tuple[bytes, ...]] = []
        self.go = Event()
        self.greenlets: list[Any] = []

    def relay(self, uri: str, method: str, *args: Any) -> Any:
        return getattr(gpyro.Proxy(uri), method)(*args)

    def relay_without_context(self, uri: str, method: str, *args: Any) -> Any:
        return gevent.spawn(self.relay, uri, method, *args).get()

    def relay_oneway(self, uri: str, method: str, *args: Any) -> None:
        proxy = gpyro.Proxy(uri)
        proxy._setOneway(method)
        getattr(proxy, method)(*args)
        proxy._release()

    def relay_and_return(self, uri: str, method: str, *args: Any) -> None:
        """Return while the call goes on in a greenlet that descends from this one."""
        run = contextvars.copy_context().run
        self.greenlets.append(gevent.spawn(run, self.relay, uri, method, *args))
        self.go.wait()

    def remember(self, *ignored: Any) -> None:
        call = gpyro.current_call._call()
        assert call is not None
        self.paths.append(call.path)
        self.go.wait()


class Hop(gpyro.ObjBase):
    def hop(self, ring: list[str], left: int) -> int:
        return 0 if left == 0 else 1 + int(gpyro.Proxy(ring[0]).hop([*ring[1:], ring[0]], left - 1))


def waiting(account: object) -> int:
    return len(_lock_of(account).queue)


def is_free(account: object) -> bool:
    lock = _lock_of(account)
    return not lock.inside and not lock.queue


def spawn(function: Callable[..., Any], *args: Any) -> Any:
    """Call it in a greenlet whose error is for whoever asks, and not for stderr."""

    def run() -> Any:
        try:
            return function(*args), None
        except Exception as exc:
            return None, exc

    return gevent.spawn(run)


def value_of(greenlet: Any) -> Any:
    value, error = greenlet.get(timeout=SECONDS)
    assert error is None, repr(error)
    return value


def error_of(greenlet: Any) -> Exception:
    value, error = greenlet.get(timeout=SECONDS)
    assert isinstance(error, Exception), f"it returned {value!r}"
    return error


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


# -- coming back in ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Account, Hop])
def test_circle_of_50_hops_over_three_daemons_does_not_dead_lock(kind: Any) -> None:
    with running_daemon() as one, running_daemon() as two, running_daemon() as three:
        ring = [running.connect(kind()) for running in (one, two, three)]
        assert three.proxy(ring[0]).hop([*ring[1:], ring[0]], 50) == 50


def test_circle_through_another_process_comes_back_in() -> None:
    with child(CHILD) as process, running_daemon() as running:
        assert process.stdout is not None
        other = process.stdout.readline().strip()
        account = Account()
        home = running.connect(account)
        assert running.proxy(home).hop([other, home], 9) == 9
        assert account.hops == 5
        assert is_free(account)


def test_callback_during_a_call_may_call_the_object_again() -> None:
    class Teller(gpyro.SynchronizedObjBase):
        def __init__(self) -> None:
            super().__init__()
            self.depth = 0

        def tell(self, listener: Any, left: int) -> int:
            return 0 if left == 0 else 1 + int(listener.hear(left))

    class Listener(gpyro.SynchronizedObjBase):
        def __init__(self, proxy: Any) -> None:
            super().__init__()
            self.proxy = proxy

        def hear(self, left: int) -> int:
            return int(self.proxy.tell(self, left - 1))

    with running_daemon() as running:
        proxy = running.proxy(Teller())
        assert proxy.tell(Listener(proxy), 20) == 20


def test_two_clients_call_each_other_back_and_forth_through_a_synchronized_server() -> None:
    class Board(gpyro.SynchronizedObjBase):
        def __init__(self) -> None:
            super().__init__()
            self.players: dict[str, Any] = {}

        def join(self, name: str, player: Any) -> None:
            self.players[name] = player

        def play(self, name: str, left: int) -> int:
            return 0 if left == 0 else 1 + int(self.players[name].turn(left - 1))

    class Player(gpyro.ObjBase):
        def __init__(self, board: Any, other: str) -> None:
            super().__init__()
            self.board, self.other = board, other

        def turn(self, left: int) -> int:
            return int(self.board.play(self.other, left))

    with running_daemon() as running:
        uri = running.connect(Board())
        proxies = {name: running.proxy(uri) for name in ("left", "right")}
        proxies["left"].join("left", Player(proxies["left"], "right"))
        proxies["right"].join("right", Player(proxies["right"], "left"))
        games = [spawn(proxies[name].play, name, 30) for name in ("left", "right", "left", "right")]
        assert [value_of(game) for game in games] == [30, 30, 30, 30]


def test_ten_deposits_that_one_call_has_made_at_once_all_count() -> None:
    with running_daemon() as running:
        account = Account()
        home = running.connect(account)
        assert running.proxy(home).fan_out(running.connect(Relay()), home, 10) == 10
        assert is_free(account)


def test_siblings_of_one_chain_queue_and_do_not_run_side_by_side() -> None:
    with running_daemon() as running:
        account = Account()
        account.gate.clear()
        home = running.connect(account)
        spread = spawn(running.proxy(home).fan_out, running.connect(Relay()), home, 10)
        eventually(lambda: waiting(account) == 9)
        stranger = spawn(running.proxy(home).note, "stranger")
        eventually(lambda: waiting(account) == 10)
        account.gate.set()
        value_of(spread)
        value_of(stranger)
        assert account.most == 1
        assert account.started == [1] * 10 + ["stranger"], "those of the chain go before one that only came later"


def test_call_that_a_oneway_call_has_led_to_waits_until_the_method_has_ended() -> None:
    with running_daemon() as running:
        account, relay = Account(), Relay()
        home, away = running.connect(account), running.connect(relay)
        inside = spawn(running.proxy(home).through, away, away, "relay_oneway", home, "note", "late")
        value_of(inside)
        eventually(lambda: account.started == ["late"])

        class Sender(Account):
            def send(self, uri: str) -> list[Any]:
                relay.relay_oneway(uri, "note", "own")
                eventually(lambda: waiting(self) == 1)
                return list(self.started)

        sender = Sender()
        home = running.connect(sender)
        assert running.proxy(home).send(home) == []
        eventually(lambda: sender.started == ["own"])


def test_method_goes_on_only_when_what_it_has_led_to_and_no_longer_waits_for_is_out() -> None:
    with running_daemon() as running:
        account, relay = Account(), Relay()
        home, away = running.connect(account), running.connect(relay)
        outer = spawn(running.proxy(home).through, away, away, "relay_and_return", home, "wait", "inner")
        eventually(lambda: account.started == ["inner"])
        relay.go.set()
        eventually(lambda: _lock_of(account).inside[0].back is not None)
        assert not outer.ready()
        account.go.set()
        value_of(outer)
        assert relay.greenlets[0].get(timeout=SECONDS) == "inner"
        assert is_free(account)


def test_method_that_cannot_go_on_is_told_so() -> None:
    with running_daemon(synchronized_wait_seconds=0.2) as running:
        account, relay = Account(), Relay()
        home, away = running.connect(account), running.connect(relay)
        outer = spawn(running.proxy(home).through, away, away, "relay_and_return", home, "wait", "inner")
        eventually(lambda: account.started == ["inner"])
        relay.go.set()
        error = error_of(outer)
        assert isinstance(error, gpyro.errors.DeadLockError)
        assert "an outgoing call has ended, and what it led to was inside for another 0.2 s" in str(error)
        account.go.set()
        relay.greenlets[0].get(timeout=SECONDS)
        eventually(lambda: is_free(account))


# -- forged paths --------------------------------------------------------------------------------------------


def call_with_path(peer: Any, request_id: int, object_id: str, path: tuple[bytes, ...]) -> None:
    target = build_target(object_id, "note")
    extras = build_extras({3: b"".join(path)}, [])
    peer.send_frame(FrameType.REQUEST, request_id, target=target, body=b"\x91\xa6forged", extras=extras)


def test_invented_call_ids_let_nobody_in() -> None:
    with running_daemon() as running:
        account, relay = Account(), Relay()
        home, away = running.connect(account), running.connect(relay)
        inside = spawn(running.proxy(home).through, away, away, "remember")
        eventually(lambda: relay.paths)
        with running.peer() as peer:
            invented = tuple(bytes([number]) * 8 for number in range(60))
            call_with_path(peer, 1, account.GUID(), invented)
            eventually(lambda: waiting(account) == 1)
            assert account.started == []
            relay.go.set()
            value_of(inside)
            assert peer.frame()[0] == FrameType.REPLY
        assert account.started == ["forged"]


def test_ids_of_calls_are_worth_nothing_once_these_have_ended() -> None:
    with running_daemon() as running:
        account, relay = Account(), Relay()
        home, away = running.connect(account), running.connect(relay)
        first = spawn(running.proxy(home).through, away, away, "remember")
        eventually(lambda: relay.paths)
        relay.go.set()
        value_of(first)
        second = spawn(running.proxy(home).wait, "second")
        eventually(lambda: account.started == ["second"])
        with running.peer() as peer:
            call_with_path(peer, 1, account.GUID(), relay.paths[0])
            eventually(lambda: waiting(account) == 1)
            assert account.started == ["second"]
            account.go.set()
            value_of(second)
            assert peer.frame()[0] == FrameType.REPLY


def test_only_who_was_called_by_the_one_inside_can_come_in() -> None:
    with running_daemon() as running:
        account, relay = Account(), Relay()
        home, away = running.connect(account), running.connect(relay)
        inside = spawn(running.proxy(home).through, away, away, "remember")
        eventually(lambda: relay.paths)
        with running.peer() as peer:
            call_with_path(peer, 1, account.GUID(), relay.paths[0])
            assert peer.frame()[0] == FrameType.REPLY
            assert account.started == ["forged"]
        relay.go.set()
        value_of(inside)


# -- dead-locks ----------------------------------------------------------------------------------------------


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


CHILD = """
import gevent, gpyro
from gevent.event import Event
class Other(gpyro.SynchronizedObjBase):
    def hop(self, ring, left):
        return 0 if left == 0 else 1 + gpyro.Proxy(ring[1]).hop(ring[::-1], left - 1)
    def deposit(self, amount):
        return amount
    def transfer(self, uri, amount):
        proxy = gpyro.Proxy(uri)
        proxy.is_there()
        return proxy.deposit(amount)
daemon = gpyro.Daemon(port=0, norange=True, config=gpyro.config.snapshot(synchronized_wait_seconds=0.3))
print(daemon.connect(Other()), flush=True)
daemon.requestLoop()
"""


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

    with child(CHILD) as process, running_daemon(synchronized_wait_seconds=0.3) as running:
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
        eventually(lambda: running.service._pool is not None and running.service._pool._unfinished == 2)
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
