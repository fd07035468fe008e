"""Chains of calls come back into a SynchronizedObjBase, in turns, and nobody else with an id that he invented."""

from __future__ import annotations

from typing import Any

import pytest

import gpyro
from gpyro._connection.synchronizing import _lock_of
from gpyro.wire.native import FrameType, build_extras, build_target
from tests.support.servers import SECONDS, child, eventually, running_daemon
from tests.support.synchronized import (
    OTHER_PROCESS,
    Account,
    Hop,
    Relay,
    error_of,
    is_free,
    spawn,
    value_of,
    waiting,
)


@pytest.mark.parametrize("kind", [Account, Hop])
def test_circle_of_50_hops_over_three_daemons_does_not_dead_lock(kind: Any) -> None:
    with running_daemon() as one, running_daemon() as two, running_daemon() as three:
        ring = [running.connect(kind()) for running in (one, two, three)]
        assert three.proxy(ring[0]).hop([*ring[1:], ring[0]], 50) == 50


def test_circle_through_another_process_comes_back_in() -> None:
    with child(OTHER_PROCESS) as process, running_daemon() as running:
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
