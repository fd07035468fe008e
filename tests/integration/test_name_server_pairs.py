"""A pair of name servers: both have what was acknowledged, one goes on alone, and both agree again.

The long run is `RELIABILITY_SIZE=full`; by default each server is killed twice.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

import gpyro
from gpyro.errors import NamingError
from gpyro.naming import NameServerProxy
from tests.support.campaigns import points
from tests.support.pairs import PairOfServers, kill_in_turn, wait_for
from tests.support.programs import PROGRAMS, Ended, Program, free_port, make_environment, run
from tests.support.relay import Relay

KILLS = points(4, 16)
#: Of the name server's promises (R14).
LOOKUP_SECONDS, REGISTRATION_SECONDS, HEAL_SECONDS = 1.0, 3.0, 5.0


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[PairOfServers]:
    with PairOfServers(tmp_path) as pair:
        yield pair


def test_change_at_either_is_seen_at_both_at_once(pair: PairOfServers) -> None:
    first, second = pair.proxy(0), pair.proxy(1)
    for one, other, name in ((first, second, "a"), (second, first, "b")):
        one.createGroup(f":{name}")
        one.register(f":{name}.x", "PYRO://127.0.0.1:1/x")
        one.setMeta(f":{name}.x", {"note": name})
        assert str(other.resolve(f":{name}.x")) == "PYRO://127.0.0.1:1/x"
        assert other.getMeta(f":{name}.x") == {"note": name}
        with pytest.raises(NamingError, match=r"^name already exists"):
            other.register(f":{name}.x", "PYRO://127.0.0.1:1/y")
        other.unregister(f":{name}.x")
        with pytest.raises(NamingError, match=r"^name not found"):
            one.resolve(f":{name}.x")
    assert first.list(":") == second.list(":")
    assert [role for role, _ in (first.twin(), second.twin())] == [1, 2]
    for proxy in (first, second):
        proxy._release()


@pytest.mark.parametrize("persistent", [False, True], ids=["memory", "disk"])
def test_killing_one_after_the_other_loses_nothing_and_nobody_waits_long(tmp_path: Path, persistent: bool) -> None:
    with PairOfServers(tmp_path, persistent=persistent) as pair:
        found = kill_in_turn(pair, KILLS, callers=8, away_seconds=0.7)
        assert found.kills == KILLS and found.registrations > 50 * KILLS and found.lookups > 100
        assert found.failed == []
        assert found.longest_lookup <= LOOKUP_SECONDS
        assert found.longest_registration <= REGISTRATION_SECONDS
        for side in (0, 1):
            proxy = pair.proxy(side)
            assert found.lost(proxy) == []
            proxy._release()
            assert pair.status(side)["conflicts"] == 0


def test_caller_moves_to_the_twin_and_back_home(
    pair: PairOfServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpyro._naming.routing.RETURN_SECONDS", 0.1)
    proxy = pair.proxy(0)
    proxy.register("x", "PYRO://127.0.0.1:1/x")
    pair.kill(0)
    assert str(proxy.resolve("x")) == "PYRO://127.0.0.1:1/x"
    assert proxy.URI.port == pair.ports[1]
    wait_for(lambda: pair.status(1)["state"] == "degraded, single copy", "alone")
    proxy.register("y", "PYRO://127.0.0.1:1/y")
    pair.start(0)

    def is_home() -> bool:
        return str(proxy.resolve("y")) == "PYRO://127.0.0.1:1/y" and proxy.URI.port == pair.ports[0]

    wait_for(is_home, "home")
    proxy._release()


def test_parted_servers_go_on_alone_and_agree_again(tmp_path: Path) -> None:
    to_first, to_second = Relay(0), Relay(0)
    with PairOfServers(tmp_path, places=(to_second.port, to_first.port), started=False) as pair:
        to_first.target, to_second.target = pair.ports
        for side in (0, 1):
            pair.start(side)
        pair.wait_paired()
        first, second = pair.proxy(0), pair.proxy(1)
        first.register("before", "PYRO://127.0.0.1:1/before")
        for relay in (to_first, to_second):
            relay.cut()
        # Each is asked at its own port, and decides alone after a moment.
        for side, proxy in enumerate((first, second)):
            NameServerProxy.register(proxy, f"only{side}", f"PYRO://127.0.0.1:1/only{side}")
            NameServerProxy.register(proxy, "both", f"PYRO://127.0.0.1:1/both{side}")
            wait_for(lambda side=side: pair.status(side)["state"] == "degraded, single copy", "alone")  # type: ignore[misc]
        second.unregister("before")
        for relay in (to_first, to_second):
            relay.mend()
        with gevent.Timeout(HEAL_SECONDS):
            pair.wait_paired()
        assert first.list() == second.list() == [("both", 1), ("only0", 1), ("only1", 1)]
        assert first.resolve("both") == second.resolve("both")
        for side in (0, 1):
            assert pair.status(side)["conflicts"] == 1
        for proxy in (first, second):
            proxy._release()
    to_first.close()
    to_second.close()


def test_name_that_was_removed_while_the_twin_was_away_stays_removed_after_a_crash(tmp_path: Path) -> None:
    with PairOfServers(tmp_path, persistent=True) as pair:
        proxy = pair.proxy(1)
        for name in ("kept", "removed"):
            proxy.register(name, f"PYRO://127.0.0.1:1/{name}")
        pair.kill(0)
        wait_for(lambda: pair.status(1)["state"] == "degraded, single copy", "alone")
        proxy.unregister("removed")
        pair.kill(1)
        pair.start(1)
        pair.start(0)
        pair.wait_paired()
        for side in (0, 1):
            assert pair.proxy(side).list() == [("kept", 1)]
        proxy._release()


def test_nsc_shows_the_pair_and_has_it_compare_anew(pair: PairOfServers, tmp_path: Path) -> None:
    def nsc(side: int, *words: str) -> Ended:
        return run(["-m", "gpyro", "nsc", "-h", "127.0.0.1", "-p", str(pair.ports[side]), *words], environment)

    environment = make_environment(tmp_path)
    for side, role, state in ((0, "primary", "paired, leading"), (1, "secondary", "paired, following")):
        shown = json.loads(nsc(side, "status", "--json").stdout)["pair"]
        assert (shown["role"], shown["state"]) == (role, state)
        assert shown["twin"] == f"127.0.0.1:{pair.ports[1 - side]}"
        done = nsc(side, "resync")
        assert (done.status, done.stdout) == (0, "NS has compared its names with its twin's.\n")
    pair.kill(0)
    wait_for(lambda: pair.status(1)["state"] == "degraded, single copy", "alone")
    assert "degraded, single copy" in nsc(1, "status").stdout
    failed = nsc(1, "resync")
    assert failed.status == 1 and "cannot resync: twin NS is unknown or unreachable" in failed.stderr


def test_name_server_without_a_twin_cannot_compare(tmp_path: Path) -> None:
    port = free_port()
    with Program(["-m", "gpyro", "ns", "-r", "-p", str(port)], make_environment(tmp_path)) as program:
        program.read_until("Name Server started.")
        words = ["-m", "gpyro", "nsc", "-h", "127.0.0.1", "-p", str(port), "resync"]
        failed = run(words, make_environment(tmp_path))
        assert failed.status == 1 and "this name server has no twin; start a pair with -1 and -2" in failed.stderr


def test_frozen_secondary_holds_a_registration_up_for_a_moment_only(pair: PairOfServers) -> None:
    program = pair.programs[1]
    assert program is not None
    program.process.send_signal(signal.SIGSTOP)
    try:
        proxy = pair.proxy(0)
        with gevent.Timeout(REGISTRATION_SECONDS):
            proxy.register("x", "PYRO://127.0.0.1:1/x")
        assert pair.status(0)["state"] == "degraded, single copy"
    finally:
        program.process.send_signal(signal.SIGCONT)
    pair.wait_paired()
    assert str(pair.proxy(1).resolve("x")) == "PYRO://127.0.0.1:1/x"
    proxy._release()


@pytest.mark.parametrize("limited", ["_setTimeout", "deadline"])
def test_caller_with_a_time_limit_moves_on_when_its_home_hangs(pair: PairOfServers, limited: str) -> None:
    program = pair.programs[0]
    assert program is not None
    proxy = pair.proxy(0)
    proxy.register("x", "PYRO://127.0.0.1:1/x")
    if limited == "_setTimeout":
        proxy._setTimeout(0.3)

    def ask() -> object:
        if limited == "_setTimeout":
            return proxy.resolve("x")
        with gpyro.deadline(0.3):
            return proxy.resolve("x")

    program.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(gpyro.errors.TimeoutError):
            ask()
        assert str(ask()) == "PYRO://127.0.0.1:1/x"
        assert proxy.URI.port == pair.ports[1]
    finally:
        program.process.send_signal(signal.SIGCONT)
    proxy._release()


def test_short_deadlines_of_callers_do_not_part_a_pair(pair: PairOfServers) -> None:
    proxy = pair.proxy(1)
    for number in range(40):
        try:
            with gpyro.deadline(0.0005 + number * 0.0001):
                proxy.register(f"x{number}", "PYRO://127.0.0.1:1/x")
        except gpyro.errors.PyroError:
            pass  # The time was over; whether it was made is not the question here.
    proxy.register("last", "PYRO://127.0.0.1:1/last")
    for side in (0, 1):
        assert pair.status(side)["times_degraded"] == 0
    proxy._release()


def test_name_that_is_let_go_of_at_the_twin_does_not_come_back(
    pair: PairOfServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpyro.config, "ns_lease_seconds", 1.0)
    proxy = pair.proxy(0)
    for name in ("gone", "kept"):
        proxy.hold(name, "PYRO://127.0.0.1:1/x")
    pair.kill(0)
    proxy.let_go("gone", "PYRO://127.0.0.1:1/x")
    # When this one is over, a keeper has renewed three times, and looked at what it holds.
    proxy.register("clock", "PYRO://127.0.0.1:1/x", lease=proxy.open_lease(1.0))
    wait_for(lambda: proxy.resolve_many(["clock"])["clock"] is None, "over")
    assert proxy.list() == [("kept", 1)]
    proxy.let_go("kept", "PYRO://127.0.0.1:1/x")
    proxy._release()


def test_both_stand_under_the_name_servers_name_until_they_end(pair: PairOfServers) -> None:
    def named(side: int) -> set[int]:
        proxy = pair.proxy(side)
        try:
            return {uri.port for uri in proxy.resolve(":Pyro.NameServer", "all")}
        finally:
            proxy._release()

    wait_for(lambda: named(0) == named(1) == set(pair.ports), "named")
    program = pair.programs[0]
    assert program is not None
    ended = program.stop()
    assert ended.status == 0 and "gracefully stopped" in ended.stdout
    wait_for(lambda: named(1) == {pair.ports[1]}, "named alone")


def test_both_with_one_role_are_told_so_and_go_on_alone(tmp_path: Path) -> None:
    with PairOfServers(tmp_path, started=False) as pair:
        pair.start(0)
        words = ["-m", "gpyro", "ns", "-p", str(pair.ports[1]), "-1", f"127.0.0.1:{pair.ports[0]}", "-r"]
        with Program(words, make_environment(tmp_path)) as other:
            other.read_until("Primary Name Server started.")
            wait_for(lambda: "both name servers" in str(pair.status(0)["reason"]), "told")
            pair.proxy(1).register("x", "PYRO://127.0.0.1:1/x")


def test_pair_with_a_passphrase_keeps_strangers_out(tmp_path: Path) -> None:
    with PairOfServers(tmp_path, "-i", "secret of the pair", identification="secret of the pair") as pair:
        for side in (0, 1):
            proxy = pair.proxy(side)
            proxy.register(f"x{side}", "PYRO://127.0.0.1:1/x")
            assert str(pair.proxy(1 - side).resolve(f"x{side}")) == "PYRO://127.0.0.1:1/x"
        stranger = gpyro.Proxy(f"PYRO://127.0.0.1:{pair.ports[0]}/:Pyro.NameServer.twin")
        with pytest.raises(gpyro.errors.ConnectionDeniedError):
            stranger.hello(gpyro.PyroURI("PYRO://127.0.0.1:1/x"))


def test_both_roles_at_once_are_refused(tmp_path: Path) -> None:
    ended = run(["-m", "gpyro", "ns", "-1", "-2"], make_environment(tmp_path))
    assert ended.status == 2 and "the two roles of a pair" in ended.stderr


def test_place_of_the_twin_that_is_none_is_told(tmp_path: Path) -> None:
    ended = run(["-m", "gpyro", "ns", "-r", "-p", "0", "-1", "host:port"], make_environment(tmp_path))
    assert ended.status == 1 and "'host:port' is no place of a name server" in ended.stderr


def test_lease_that_is_renewed_at_the_secondary_holds_at_both_and_over_a_death(pair: PairOfServers) -> None:
    second = pair.proxy(1)
    lease = second.open_lease(1.0)
    other = second.open_lease(1.0)
    second.register("held", "PYRO://127.0.0.1:1/held", lease=lease)
    second.register("lost", "PYRO://127.0.0.1:1/lost", lease=other)
    first = pair.proxy(0)

    def is_lost() -> bool:
        assert second.renew_lease(lease) == 1
        return first.resolve_many(["lost"])["lost"] is None

    # When the other lease is over this one would be over too, if the primary did not hear of it.
    wait_for(is_lost, "lost")
    assert first.list() == second.list() == [("held", 1)]
    pair.kill(0)
    assert second.renew_lease(lease) == 1
    assert second.list() == [("held", 1)]
    wait_for(lambda: second.resolve_many(["held"])["held"] is None, "over")
    for proxy in (first, second):
        proxy._release()


def test_primary_in_a_loop_of_the_programs_own_leads_as_well(tmp_path: Path) -> None:
    with PairOfServers(tmp_path, started=False) as pair:
        words = [str(PROGRAMS / "pair_in_foreign_loop.py"), *map(str, pair.ports)]
        with Program(words, make_environment(tmp_path)) as program:
            program.read_until("up")
            pair.start(1)
            pair.wait_paired()
            first, second = pair.proxy(0), pair.proxy(1)
            second.register("x", "PYRO://127.0.0.1:1/x")
            assert first.list() == [("x", 1)]
            pair.kill(1)
            wait_for(lambda: pair.status(0)["state"] == "degraded, single copy", "alone")
            pair.start(1)
            pair.wait_paired()
            first.shutdown()
            for proxy in (first, second):
                proxy._release()
