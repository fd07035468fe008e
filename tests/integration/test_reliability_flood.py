"""Floods at the entrance: callers that dawdle, dribble, guess, ping, and many from one address."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest

import gpyro
from gpyro._daemon import entrance as entrance_room
from gpyro.wire.frames import HEADER, FrameType, build_frame
from gpyro.wire.hello import Field, build_fields
from gpyro.wire.login import ClientLogin
from tests.support.attackers import KEY, WRONG, Caller, login_hello, request
from tests.support.programs import make_environment, run
from tests.support.servers import SECONDS, Bench, Running, eventually, nothing_left, running_daemon

T = FrameType


@contextmanager
def guarded_daemon(**items: Any) -> Iterator[tuple[Running, str, list[int]]]:
    """Serve a Bench to those who have the key; the list gets how many were not let in, at each arrival."""
    with running_daemon(**items) as server:
        server.daemon.setAllowedIdentifications([KEY.verifier()])
        entrance = server.service.entrance
        seen: list[int] = []
        arrived = entrance.arrived

        def look_on(connection: Any) -> None:
            arrived(connection)
            seen.append(len(entrance._waiting))

        entrance.arrived = look_on
        try:
            yield server, server.connect(Bench()), seen
            server.release()
            eventually(lambda: not server.connections)
            assert not entrance._waiting
            assert not entrance.sources._connections and not entrance.sources._unauthenticated
        finally:
            del entrance.arrived


def log_in_and_call(server: Running, uri: str) -> bool:
    """Connect anew, log in, call, and go."""
    proxy = server.proxy(uri)
    proxy._setIdentification(KEY)
    try:
        return bool(proxy.echo("it is me") == "it is me")
    finally:
        proxy._release()


# -- a slow-loris --------------------------------------------------------------------------------------------


def say_nothing(caller: Caller) -> bytes:
    return b""


def begin_hello(caller: Caller) -> bytes:
    return login_hello(ClientLogin(KEY))


def begin_proof(caller: Caller) -> bytes:
    caller.be_challenged()
    return b"".join(build_frame(T.PROOF, body=build_fields({Field.PROOF: bytes(32)})))


def begin_header(caller: Caller) -> bytes:
    caller.log_in()
    return request("x", "echo", bytes(1000))


def begin_body(caller: Caller) -> bytes:
    rest = begin_header(caller)
    caller.sock.sendall(rest[: HEADER.size])
    return rest[HEADER.size :]


STATES: list[Callable[[Caller], bytes]] = [say_nothing, begin_hello, begin_proof, begin_header, begin_body]


def dribble(port: int, begin: Callable[[Caller], bytes], over: Counter[str]) -> None:
    """Get into a state, send a byte every now and then, until the server has had enough."""
    caller = Caller(port)
    try:
        rest = begin(caller)
        caller.sock.settimeout(0.05)
        for at in range(10_000):
            caller.sock.sendall(rest[at : at + 1])
            try:
                if not caller.sock.recv(1000):
                    break
            except TimeoutError:
                pass
        else:
            raise AssertionError("never closed")
    except (OSError, EOFError):
        pass
    finally:
        caller.close()
        over[begin.__name__] += 1


def test_slow_loris_in_every_state_is_ended_and_honest_callers_come_in_meanwhile() -> None:
    limits = {"max_unauthenticated": 20, "handshake_timeout_seconds": 1, "frame_timeout_seconds": 0.5}
    with guarded_daemon(**limits) as (server, uri, seen):
        held = server.proxy(uri)
        held._setIdentification(KEY)
        assert held.echo(1) == 1
        over: Counter[str] = Counter()
        attack = [gevent.spawn(dribble, server.port, STATES[number % 5], over) for number in range(300)]
        eventually(lambda: len(seen) >= 20)
        for number in range(20):
            assert log_in_and_call(server, uri)
            assert held.echo(number) == number
        gevent.joinall(attack, timeout=SECONDS, raise_error=True)
        assert over == {begin.__name__: 60 for begin in STATES}
        assert max(seen) == 20
        assert held.echo("still here") == "still here"
        del attack


def test_login_that_goes_on_keeps_its_slot_while_those_who_say_nothing_lose_theirs() -> None:
    with guarded_daemon(max_unauthenticated=3) as (server, uri, seen):
        slow = Caller(server.port)
        proof = slow.be_challenged()
        silent = [Caller(server.port) for _ in range(2)]
        eventually(lambda: len(seen) == 3)
        assert log_in_and_call(server, uri)
        for caller in silent:
            with pytest.raises((EOFError, ConnectionResetError)):
                caller.frame()
        slow.sock.sendall(proof)
        assert slow.frame()[0] == T.WELCOME
        for caller in (slow, *silent):
            caller.close()


def test_logins_that_do_not_go_on_lose_their_slots_too() -> None:
    with guarded_daemon(max_unauthenticated=3, handshake_timeout_seconds=SECONDS) as (server, uri, _):
        stuck = [Caller(server.port) for _ in range(3)]
        for caller in stuck:
            caller.be_challenged()
        assert server.service.entrance._asking == 3
        ends = server.connections
        assert log_in_and_call(server, uri)
        assert all("max_unauthenticated" in str(end.closed_by) for end in ends)
        for caller in stuck:
            caller.close()


def test_frame_that_dribbles_ends_its_connection_and_no_other() -> None:
    with running_daemon(frame_timeout_seconds=0.3) as server:
        proxy = server.proxy(Bench())
        assert proxy.echo(1) == 1
        with server.peer() as peer:
            eventually(lambda: len(server.connections) == 2)
            (victim,) = [one for one in server.connections if one.addr[1] == peer.sock.getsockname()[1]]
            peer.send(b"\x10")
            eventually(lambda: victim.closed_by is not None)
            assert "frame_timeout_seconds" in str(victim.closed_by)
        assert proxy.echo(2) == 2


def test_message_in_chunks_that_never_ends_is_ended_though_small_frames_come_between() -> None:
    with running_daemon(frame_timeout_seconds=0.3) as server, server.peer() as peer:
        (victim,) = server.connections
        whole = b"".join(build_frame(T.REQUEST, request_id=1, target=b"\0\1xecho", body=bytes(1000)))
        peer.send_frame(T.CHUNK, 1, body=whole[:100], flags=2)
        try:
            while victim.closed_by is None:
                peer.send_frame(T.CANCEL, 99)
                gevent.sleep(0.01)
        except OSError:
            pass
        assert "frame_timeout_seconds" in str(victim.closed_by)


# -- pings ---------------------------------------------------------------------------------------------------


def test_flood_of_pings_is_ended_at_once_and_a_burst_is_answered() -> None:
    with running_daemon() as server:
        bench = Bench()
        uri = server.connect(bench)
        with server.peer() as peer:
            for number in range(10):
                peer.send_frame(T.PING, number)
            assert [peer.frame()[2] for _ in range(10)] == list(range(10))
            peer.request(1, bench.GUID(), "echo", b"\x91\x05")
            assert peer.frame()[0] == T.REPLY
            (victim,) = server.connections
            peer.send(HEADER.pack(T.PING, 0, 0, 0, 0, 0) * 1000)
            eventually(lambda: victim.closed_by is not None)
            assert "max_pings_per_second" in str(victim.closed_by)
        assert server.proxy(uri).echo(1) == 1


# -- many from one address -----------------------------------------------------------------------------------


def is_closed(caller: Caller) -> bool:
    """Tell whether the server has closed, without saying a word."""
    caller.sock.settimeout(0.0)
    try:
        return bool(caller.sock.recv(1) == b"")
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_address_gets_only_so_many_slots_and_waits_in_the_lobby_for_more() -> None:
    with guarded_daemon(ration_loopback=True, max_unauthenticated_per_source=3) as (server, uri, seen):
        entrance = server.service.entrance
        greedy = [Caller(server.port, "127.0.0.9") for _ in range(10)]
        eventually(lambda: len(entrance._lobby) == 7)
        other = Caller(server.port, "127.0.0.10")
        assert other.log_in()
        assert log_in_and_call(server, uri)
        assert max(seen) <= 5
        for caller in greedy[:3]:
            caller.close()
        eventually(lambda: len(entrance._lobby) == 4)
        assert greedy[5].log_in(), "it waited, and its turn has come"
        for caller in (*greedy, other):
            caller.close()


def test_programs_that_open_many_connections_at_once_lose_none() -> None:
    with guarded_daemon(ration_loopback=True, max_unauthenticated_per_source=4) as (server, uri, _):
        proxies = [server.proxy(uri) for _ in range(60)]
        for proxy in proxies:
            proxy._setIdentification(KEY)
        calls = [gevent.spawn(proxy.echo, number) for number, proxy in enumerate(proxies)]
        assert [call.get(timeout=SECONDS) for call in calls] == list(range(60))


def test_lobby_is_bounded_and_nobody_waits_there_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance_room, "LOBBY_PLACES", 5)
    with guarded_daemon(
        ration_loopback=True, max_unauthenticated_per_source=2, handshake_timeout_seconds=1
    ) as (server, uri, _):
        callers = [Caller(server.port, "127.0.0.9") for _ in range(10)]
        eventually(lambda: sum(map(is_closed, callers)) >= 3)
        assert log_in_and_call(server, uri)
        eventually(lambda: all(map(is_closed, callers)))
        for caller in callers:
            caller.close()


def test_silent_callers_do_not_keep_the_honest_ones_of_their_address_outside() -> None:
    with guarded_daemon(ration_loopback=True, max_unauthenticated_per_source=2) as (server, uri, _):
        silent = [Caller(server.port, "127.0.0.1") for _ in range(12)]
        proxies = [server.proxy(uri) for _ in range(10)]
        for proxy in proxies:
            proxy._setIdentification(KEY)
        calls = [gevent.spawn(proxy.echo, number) for number, proxy in enumerate(proxies)]
        assert [call.get(timeout=SECONDS) for call in calls] == list(range(10))
        for caller in silent:
            caller.close()


def test_one_address_has_only_its_share_of_the_lobby(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance_room, "LOBBY_PLACES", 20)
    with guarded_daemon(
        ration_loopback=True, max_unauthenticated_per_source=1, handshake_timeout_seconds=30
    ) as (server, uri, _):
        entrance = server.service.entrance
        entrance._end_dawdlers = lambda *rest: None  # they may stay: this is about places
        greedy = [Caller(server.port, "127.0.0.9") for _ in range(12)]
        eventually(lambda: sum(map(is_closed, greedy)) == 6)
        assert entrance._lobby.counts() == {"127.0.0.9": 5}
        others = [Caller(server.port, f"127.0.0.{number}") for number in (10, 11, 12)]
        assert all(caller.log_in() for caller in others)
        assert log_in_and_call(server, uri)
        for caller in (*greedy, *others):
            caller.close()
        del entrance._end_dawdlers


def test_guessers_in_the_lobby_are_shut_out_with_the_others() -> None:
    with guarded_daemon(
        ration_loopback=True, max_unauthenticated_per_source=2, max_failed_logins=5
    ) as (server, uri, _):
        checked = []
        attempt = entrance_room.Attempt.check

        def check(self: Any, transcript: bytes, proof: bytes) -> bool:
            checked.append(proof)
            return attempt(self, transcript, proof)

        entrance_room.Attempt.check = check  # type: ignore[method-assign]
        try:
            guesses = [gevent.spawn(guess, server.port, "127.0.0.9") for _ in range(60)]
            found = Counter(job.get(timeout=SECONDS) for job in guesses)
        finally:
            entrance_room.Attempt.check = attempt  # type: ignore[method-assign]
        assert found["let in"] == 0
        assert len(checked) <= 5 + 1 + 2, "those that were on the way in may have been looked at"
        assert log_in_and_call(server, uri)


def test_forked_child_leaves_the_lobby_to_its_parent(tmp_path: Path) -> None:
    program = """
import os, socket, sys, gevent, gpyro
settings = gpyro.config.snapshot(ration_loopback=1, max_unauthenticated_per_source=2)
daemon = gpyro.Daemon(host="127.0.0.1", port=0, norange=True, identifications=["one"], config=settings)
loop = gevent.spawn(daemon.requestLoop)
gevent.sleep(0)
entrance = daemon._service.entrance
entrance._end_dawdlers = lambda *rest: None
socks = [socket.create_connection(("127.0.0.1", daemon.port)) for _ in range(4)]
while len(entrance._lobby) < 2:
    gevent.sleep(0.001)
before = set(os.listdir("/proc/self/fd"))
child = os.fork()
if child == 0:
    status = 0 if len(entrance._lobby) == 0 and not entrance.is_called_upon() else 1
    try:
        gevent.sleep(0.1)
    finally:
        os._exit(status)
_, status = os.waitpid(child, 0)
print("child", status, "lobby", len(entrance._lobby), flush=True)
daemon.shutdown()
"""
    ended = run(["-c", program], make_environment(tmp_path))
    assert (ended.stdout, ended.status) == ("child 0 lobby 2\n", 0), ended.stderr


def test_lobby_is_closed_with_the_daemon() -> None:
    with guarded_daemon(ration_loopback=True, max_unauthenticated_per_source=2) as (server, _, _):
        callers = [Caller(server.port, "127.0.0.9") for _ in range(6)]
        eventually(lambda: len(server.service.entrance._lobby) == 4)
        server.daemon.shutdown()
        eventually(lambda: all(map(is_closed, callers)))
        for caller in callers:
            caller.close()


def test_address_gets_only_so_many_connections_and_is_told_so() -> None:
    with guarded_daemon(ration_loopback=True, max_connections_per_source=2) as (server, uri, _):
        callers = [Caller(server.port, "127.0.0.1") for _ in range(2)]
        assert all(caller.log_in() for caller in callers)
        third = server.proxy(uri)
        third._setIdentification(KEY)
        with pytest.raises(gpyro.errors.ConnectionDeniedError, match="max_connections_per_source") as info:
            third.echo(1)
        assert info.value.code == 1
        elsewhere = Caller(server.port, "127.0.0.10")
        assert elsewhere.log_in()
        callers[0].close()
        eventually(lambda: len(server.connections) == 2)
        assert third.echo(1) == 1
        for caller in (*callers, elsewhere):
            caller.close()


# -- guessing ------------------------------------------------------------------------------------------------


def guess(port: int, source: str) -> str:
    """Try a wrong key; tell what came of it."""
    caller = Caller(port, source)
    try:
        return "let in" if caller.log_in(WRONG) else "denied"
    except (EOFError, OSError):
        return "shut out"
    finally:
        caller.close(reset=True)


def test_guessers_are_shut_out_and_the_honest_are_not() -> None:
    with guarded_daemon(ration_loopback=True, max_failed_logins=5) as (server, uri, _):
        sources = [f"127.0.2.{number}" for number in range(1, 21)]
        found = {source: Counter[str]() for source in sources}

        def guess_from(source: str) -> None:
            found[source].update(guess(server.port, source) for _ in range(25))

        jobs = [gevent.spawn(guess_from, source) for source in sources]
        for _ in range(10):
            assert log_in_and_call(server, uri)
        gevent.joinall(jobs, timeout=SECONDS, raise_error=True)
        assert all(counts == {"denied": 6, "shut out": 19} for counts in found.values())
        assert all(server.service.entrance.sources.is_blocked(source, time.monotonic()) for source in sources)
        assert log_in_and_call(server, uri)
        caller = Caller(server.port, sources[0])
        with pytest.raises((EOFError, OSError)):
            caller.log_in(KEY)
        caller.close()
        del jobs


def test_table_of_failed_logins_is_bounded() -> None:
    with guarded_daemon(ration_loopback=True, max_sources=5) as (server, uri, _):
        for number in range(1, 41):
            assert guess(server.port, f"127.0.3.{number}") == "denied"
        assert len(server.service.entrance.sources) == 5
        assert log_in_and_call(server, uri)


# -- the end -------------------------------------------------------------------------------------------------


def test_counts_are_at_zero_when_the_thread_of_a_daemon_has_ended() -> None:
    with nothing_left():
        daemon = gpyro.Daemon(host="127.0.0.1", port=0, norange=True)
        going = True
        thread = threading.Thread(target=lambda: daemon.requestLoop(lambda: going, 0.01))
        thread.start()
        service = daemon._service
        callers = [Caller(daemon.port) for _ in range(3)]
        eventually(lambda: len(service._connections) == 3)
        callers[0].greet()
        going = False
        thread.join(SECONDS)
        assert not thread.is_alive()
        assert not service._connections and not service.entrance._waiting
        assert not service.entrance.sources._connections and not service.entrance.sources._unauthenticated
        for caller in callers:
            caller.close()
