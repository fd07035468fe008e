"""Calls side by side: over one proxy, from many greenlets, in any order."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import gevent
import gevent.socket
import pytest
from gevent.event import Event

import gpyro
from gpyro import hub
from gpyro._hub import state as hub_state
from gpyro.objects import Method
from gpyro.wire.native import HEADER, PREFACE, FrameType
from tests.support.servers import (
    SECONDS,
    Bench,
    child_server,
    connection_of,
    eventually,
    fake_server,
    hello,
    running_daemon,
)


def test_arguments_and_results_arrive_as_they_were_sent() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Bench())
        for value in (None, 1, "text", b"bytes", (1, (2, 3)), [1, 2], {"a": {1, 2}}, 2**100, 1 + 2j):
            arrived = proxy.echo(value)
            assert arrived == value
            assert type(arrived) is type(value)
        assert proxy.echo(value="by name") == "by name"


def test_proxy_is_shared_by_a_hundred_greenlets_over_one_connection() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Bench())

        def call(number: int) -> None:
            for step in range(20):
                assert proxy.echo((number, step)) == (number, step)

        gevent.joinall([gevent.spawn(call, number) for number in range(100)], timeout=SECONDS, raise_error=True)
        assert len(server.connections) == 1


def test_greenlets_that_make_the_first_calls_together_share_one_connection() -> None:
    accepted: list[int] = []
    with running_daemon() as server:
        original = server.service._on_accept

        def count_and_accept(sock: Any) -> None:
            accepted.append(1)
            original(sock)

        server.service._listener._on_accept = count_and_accept
        proxy = server.proxy(Bench())
        greenlets = [gevent.spawn(proxy.echo, number) for number in range(50)]
        gevent.joinall(greenlets, timeout=SECONDS, raise_error=True)
        assert [greenlet.value for greenlet in greenlets] == list(range(50))
        assert len(accepted) == 1


def test_greenlets_that_wait_for_a_connection_share_its_failure() -> None:
    attempts: list[int] = []

    def turn_away(sock: Any) -> None:
        attempts.append(1)
        sock.recv(1000)
        sock.sendall(b"this is no gpyro server")

    with fake_server(turn_away) as port:
        proxy = gpyro.Proxy(f"PYRO://127.0.0.1:{port}/x")
        greenlets = [gevent.spawn(proxy.echo, number) for number in range(20)]
        gevent.joinall(greenlets, timeout=SECONDS)
        assert all(isinstance(greenlet.exception, gpyro.errors.ProtocolError) for greenlet in greenlets)
        assert len(attempts) == 1
        for greenlet in greenlets:
            greenlet.exception.__traceback__ = None


def test_answers_come_in_the_order_in_which_the_calls_end() -> None:
    with running_daemon() as server:
        bench = Bench()
        proxy = server.proxy(bench)
        order: list[str] = []
        slow = gevent.spawn(lambda: order.append(proxy.wait("slow")))
        eventually(lambda: bench.entered == 1)
        order.append(proxy.echo("quick"))
        bench.go.set()
        slow.get(timeout=SECONDS)
        assert order == ["quick", "slow"]


def test_thousand_quick_calls_make_only_a_few_greenlets(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Counted(hub_state._Worker):
        def __init__(self, state: Any) -> None:
            made.append(1)
            super().__init__(state)

    with running_daemon() as server:
        proxy = server.proxy(Bench())
        proxy.echo()
        monkeypatch.setattr(hub_state, "_Worker", Counted)
        greenlets = [gevent.spawn(proxy.echo, number) for number in range(1000)]
        gevent.joinall(greenlets, timeout=SECONDS, raise_error=True)
        assert len(made) <= 4


def test_ten_thousand_waiting_calls_go_over_one_connection() -> None:
    with running_daemon() as server:
        bench = Bench()
        proxy = server.proxy(bench)
        greenlets = [gevent.spawn(proxy.wait, number) for number in range(10_000)]
        eventually(lambda: bench.entered == 10_000)
        assert len(server.connections) == 1
        assert hub.current_state().in_flight == 10_000
        bench.go.set()
        gevent.joinall(greenlets, timeout=SECONDS, raise_error=True)
        assert [greenlet.value for greenlet in greenlets] == list(range(10_000))
        del greenlets


def test_worker_that_a_forgotten_timeout_refers_to_serves_no_other_call() -> None:
    class Forgetful(Bench):
        def forget(self) -> None:
            self.timeout = gevent.Timeout(0.01)
            self.timeout.start()

    with running_daemon() as server:
        bench = Forgetful()
        proxy = server.proxy(bench)
        proxy.forget()
        naps = [gevent.spawn(proxy.nap, 0.05, number) for number in range(20)]
        gevent.joinall(naps, timeout=SECONDS, raise_error=True)
        assert [nap.value for nap in naps] == list(range(20))
        bench.timeout.close()


def test_worker_that_is_killed_by_hand_takes_only_its_own_call_along() -> None:
    class Victim(Bench):
        def offer(self) -> None:
            self.worker = gevent.getcurrent()
            self.wait()

    with running_daemon() as server:
        victim = Victim()
        proxy = server.proxy(victim)
        call = gevent.spawn(proxy.offer)
        eventually(lambda: victim.entered)
        gevent.kill(victim.worker)
        gevent.kill(victim.worker)
        others = [gevent.spawn(proxy.nap, 0, number) for number in range(50)]
        gevent.joinall(others, timeout=SECONDS, raise_error=True)
        assert [other.value for other in others] == list(range(50))
        with pytest.raises(gpyro.errors.ConnectionClosedError, match="gave the call up"):
            call.get(timeout=SECONDS)
        victim.worker = None


def test_each_call_runs_in_a_context_of_its_own() -> None:
    class Nosy(Bench):
        def look(self) -> tuple[str, Any, bool]:
            assert gpyro.current_call
            return repr(gpyro.current_call), gpyro.current_call.identity, gpyro.current_call.cancelled

    with running_daemon() as server:
        proxy = server.proxy(Nosy())
        text, identity, cancelled = proxy.look()
        assert "look" in text
        assert (identity, cancelled) == (None, False)
        assert not gpyro.current_call
        assert gpyro.current_call.caller is None


def test_calls_inside_a_callback_of_the_hub_are_refused_rather_than_hung() -> None:
    with running_daemon() as server:
        bench = Bench()
        proxy = server.proxy(bench)
        proxy.echo()
        outcome: list[BaseException] = []
        done = Event()

        def callback() -> None:
            try:
                proxy.echo()
            except gpyro.errors.PyroError as exc:
                outcome.append(exc)
            done.set()

        gevent.get_hub().loop.run_callback(callback)
        assert done.wait(SECONDS)
        assert "spawn a greenlet" in str(outcome[0])
        outcome.clear()


def test_unconnected_proxy_in_a_callback_of_the_hub_is_refused_too() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Bench())
        outcome: list[str] = []
        done = Event()

        def callback() -> None:
            try:
                proxy.echo()
            except gpyro.errors.PyroError as exc:
                outcome.append(str(exc))
            done.set()

        gevent.get_hub().loop.run_callback(callback)
        assert done.wait(SECONDS)
        assert "spawn a greenlet" in outcome[0]


def test_server_killed_in_the_middle_of_a_call_leaves_its_fate_open() -> None:
    with running_daemon() as here, child_server() as (process, uri):
        bench = Bench()
        call = gevent.spawn(here.proxy(uri).hang, here.connect(bench))
        eventually(lambda: bench.noted)
        process.kill()
        with pytest.raises(gpyro.errors.ConnectionClosedError) as caught:
            call.get(timeout=SECONDS)
        assert caught.value.maybe_executed is True
        del caught


def test_call_after_the_server_has_gone_says_that_nobody_listens() -> None:
    with running_daemon() as server:
        proxy = gpyro.Proxy(server.connect(Bench()))
        proxy.echo()
    with pytest.raises(gpyro.errors.ProtocolError):
        proxy.echo()


def test_connection_closed_between_two_calls_is_opened_again_in_silence() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Bench())
        proxy.echo()
        for connection in server.connections:
            connection.close()
        eventually(lambda: "not connected" in repr(proxy))
        assert proxy.echo("again") == "again"


def test_goodbye_with_calls_under_way_lets_them_end_and_sends_later_ones_elsewhere() -> None:
    with running_daemon() as server:
        bench = Bench()
        proxy = server.proxy(bench)
        call = gevent.spawn(proxy.wait, "old")
        eventually(lambda: bench.entered == 1)
        (old,) = server.connections
        old.leave("as a test")
        assert proxy.echo("new") == "new"
        assert len(server.connections) == 2
        bench.go.set()
        assert call.get(timeout=SECONDS) == "old"
        eventually(lambda: old not in server.connections)


def test_server_that_always_says_goodbye_is_given_up_after_a_few_tries() -> None:
    asked: list[int] = []

    def say_goodbye(sock: Any) -> None:
        asked.append(1)
        sock.recv(65536)
        preface, body = hello()[: len(PREFACE)], hello()[len(PREFACE) + HEADER.size :]
        sock.sendall(preface + HEADER.pack(FrameType.WELCOME, 0, 0, 0, len(body), 0) + body)
        sock.sendall(HEADER.pack(FrameType.GOAWAY, 0, 0, 0, 0, 0))
        sock.recv(65536)

    with fake_server(say_goodbye) as port:
        proxy = gpyro.Proxy(f"PYRO://127.0.0.1:{port}/x")
        with pytest.raises(gpyro.errors.ConnectionClosedError) as caught:
            proxy.echo()
        assert caught.value.maybe_executed is False
        assert 1 < len(asked) <= 3


def test_dropped_proxy_closes_its_connection() -> None:
    with running_daemon() as server:
        proxy = gpyro.Proxy(server.connect(Bench()))
        proxy.echo()
        assert len(server.connections) == 1
        gone = weakref.ref(proxy)
        del proxy
        gc.collect()
        assert gone() is None
        eventually(lambda: not server.connections)


def test_release_during_a_call_fails_that_call_only() -> None:
    with running_daemon() as server:
        bench = Bench()
        proxy = server.proxy(bench)
        call = gevent.spawn(proxy.wait)
        eventually(lambda: bench.entered == 1)
        proxy._release()
        with pytest.raises(gpyro.errors.ConnectionClosedError) as caught:
            call.get(timeout=SECONDS)
        assert caught.value.maybe_executed
        assert proxy.echo(1) == 1
        bench.go.set()
        eventually(lambda: bench.unwound == 1)
        del caught


def test_unknown_object_through_a_name_does_not_disturb_other_calls_of_the_proxy() -> None:
    with running_daemon() as server:
        bench = Bench()

        class Confused(Bench):
            def lose(self) -> None:
                raise gpyro.errors.UnknownObjectError("one that I asked for myself")

        confused = Confused()
        server.daemon.connect(confused, "confused")
        proxy = server.proxy(f"PYROLOC://127.0.0.1:{server.port}/confused")
        waiting = gevent.spawn(proxy.wait, "undisturbed")
        eventually(lambda: confused.entered == 1)
        with pytest.raises(gpyro.errors.UnknownObjectError):
            proxy.lose()
        assert proxy.echo(1) == 1
        confused.go.set()
        assert waiting.get(timeout=SECONDS) == "undisturbed"
        assert not bench.noted


def test_greenlets_that_begin_together_with_a_location_all_reach_the_object() -> None:
    with running_daemon() as server:
        server.daemon.connect(Bench(), "bench")
        proxy = server.proxy(f"PYROLOC://127.0.0.1:{server.port}/bench")
        greenlets = [gevent.spawn(proxy.echo, number) for number in range(20)]
        gevent.joinall(greenlets, timeout=SECONDS, raise_error=True)
        assert [greenlet.value for greenlet in greenlets] == list(range(20))


def test_long_lived_objects_tell_their_state() -> None:
    with running_daemon() as server:
        bench = Bench()
        proxy = server.proxy(bench)
        assert "not connected" in repr(proxy)
        call = gevent.spawn(proxy.wait)
        eventually(lambda: bench.entered == 1)
        ours, (theirs,) = connection_of(proxy), server.connections
        assert repr(proxy).endswith(", connected>")
        assert "client" in repr(ours) and "ready" in repr(ours) and "1 calls out, 0 in" in repr(ours)
        assert "0 calls out, 1 in" in repr(theirs)
        assert repr(ours.calls) == "<Calling 1 waiting>"
        assert "1 running, 0 waiting" in repr(theirs.serving)
        (running,) = theirs.serving.running.values()
        assert "wait running" in repr(running)
        assert "bytes to send" in repr(ours.stream)
        assert repr(ours.exports) == "<Exports, 0 objects>"
        assert repr(proxy.wait) == f"<RemoteMethod wait of {proxy.URI}>"
        assert f"127.0.0.1:{server.port}, 1 objects, serving" in repr(server.daemon)
        assert "1 connections" in repr(server.service)
        assert isinstance(running.method, Method) and repr(running.method) == "<Method Bench.wait>"
        assert repr(server.daemon._registry) == "<Registry of 1 objects>"
        assert "Table of 'Bench' object" in repr(server.daemon._registry._entries[bench.GUID()].table)
        assert "quiet" in repr(ours._liveness)
        del running
        bench.go.set()
        call.get(timeout=SECONDS)
        proxy._release()
        assert "not connected" in repr(proxy)
        assert "closed" in repr(ours)
        eventually(lambda: repr(ours.stream) == "<Stream closed>")


@pytest.mark.parametrize("ident", [None, "passphrase"])
def test_a_thousand_proxies_that_connect_at_once_are_all_let_in(ident: str | None) -> None:
    """They wait for each other, rather than be ended by the server for saying nothing."""
    with running_daemon() as server:
        server.daemon.setAllowedIdentifications(None if ident is None else [ident])
        bench = Bench()
        uri = server.daemon.connect(bench)
        count = 1000 if ident is None else 200
        proxies = [gpyro.Proxy(uri) for _ in range(count)]
        for proxy in proxies if ident is not None else ():
            proxy._setIdentification(ident)
        calls = [gevent.spawn(proxy.echo, number) for number, proxy in enumerate(proxies)]
        gevent.joinall(calls, timeout=SECONDS)
        assert [call.value for call in calls] == list(range(count)), {str(call.exception) for call in calls}
        assert not hub.current_state().doors
        for proxy in proxies:
            proxy._release()


def test_connecting_to_a_place_that_does_not_answer_holds_up_no_other_place() -> None:
    with running_daemon() as server:
        listener = gevent.socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)  # what comes is never accepted, and soon not even that
        silent = f"PYROLOC://127.0.0.1:{listener.getsockname()[1]}/thing"
        stuck = [gevent.spawn(gpyro.Proxy(silent).echo) for _ in range(70)]
        gevent.sleep(0)
        assert server.proxy(Bench()).echo("here") == "here"
        late = gpyro.Proxy(silent)
        late._setTimeout(0.2)
        with pytest.raises(gpyro.errors.TimeoutError):
            late.echo()
        gevent.killall(stuck)
        listener.close()
