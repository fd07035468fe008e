"""requestLoop, handleRequests and getServerSockets, as the manual describes them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import gevent
import pytest

import gpyro
from tests.support.serving import Thing, serve, wait_until


@pytest.fixture
def daemon() -> Iterator[gpyro.Daemon]:
    with gpyro.Daemon(port=0, norange=True) as daemon:
        yield daemon


def test_request_loop_looks_at_its_condition_each_time_something_was_served(daemon: gpyro.Daemon) -> None:
    thing = Thing()
    uri = daemon.connect(thing)
    looks = []

    def condition() -> bool:
        looks.append(thing.calls)
        return thing.calls < 3

    client = gevent.spawn(lambda: [gpyro.Proxy(uri).echo(n) for n in range(3)])
    daemon.requestLoop(condition, 60)
    assert client.get(timeout=5) == [0, 1, 2]
    assert looks[0] == 0
    assert looks[-1] == 3
    assert {1, 2} & set(looks)


def test_request_loop_whose_condition_is_false_returns_at_once(daemon: gpyro.Daemon) -> None:
    daemon.requestLoop(lambda: False)
    assert "serving" in repr(daemon)


def test_request_loop_looks_at_its_condition_at_its_timeout(daemon: gpyro.Daemon) -> None:
    looks = iter([True, True, True, False])
    daemon.requestLoop(lambda: next(looks), 0.01)
    assert next(looks, "all taken") == "all taken"


def test_request_loop_hands_ready_others_to_its_callback(daemon: gpyro.Daemon) -> None:
    (a, b), (c, d), (e, f) = (socket.socketpair() for _ in range(3))
    got = []

    def callback(ready: list[object]) -> None:
        got.append(ready)
        for sock in ready:
            assert isinstance(sock, socket.socket)
            sock.recv(10)

    b.send(b"1")
    f.send(b"2")
    daemon.requestLoop(lambda: not got, 60, [a, c, e], callback)
    assert len(got) == 1
    assert set(got[0]) == {a, e}
    for sock in (a, b, c, d, e, f):
        sock.close()


def test_others_without_a_callback_are_an_error(daemon: gpyro.Daemon) -> None:
    ours, theirs = socket.socketpair()
    with pytest.raises(gpyro.errors.ProtocolError, match="callback required"):
        daemon.requestLoop(lambda: False, 3, [ours])
    with pytest.raises(gpyro.errors.ProtocolError, match="callback required"):
        daemon.handleRequests(0, [ours])
    ours.close()
    theirs.close()


def test_handle_requests_of_0_returns_at_once_when_nothing_is_pending(daemon: gpyro.Daemon) -> None:
    begin = time.monotonic()
    for _ in range(100):
        daemon.handleRequests(0)
    assert time.monotonic() - begin < 5


def test_handle_requests_of_0_serves_what_is_pending(daemon: gpyro.Daemon) -> None:
    thing = Thing()
    uri = daemon.connect(thing)
    daemon.handleRequests(0)
    waiting = threading.Event()

    def call() -> None:
        proxy = gpyro.Proxy(uri)
        waiting.set()
        proxy.echo(1)
        proxy._release()

    thread = threading.Thread(target=call)
    thread.start()
    waiting.wait(5)
    rounds = 0
    while thread.is_alive() and rounds < 100_000:
        daemon.handleRequests(0)
        rounds += 1
    thread.join(5)
    assert thing.calls == 1


def test_one_handle_requests_serves_a_request_that_lies_in_the_socket(daemon: gpyro.Daemon) -> None:
    """No second call is needed to make the loop look at its descriptors."""
    thing = Thing()
    uri = daemon.connect(thing)
    proxy = gpyro.Proxy(uri)
    call = gevent.spawn(lambda: [proxy.echo(1), proxy.echo(2)])
    daemon.requestLoop(lambda: thing.calls < 1)
    daemon.handleRequests(0)
    assert thing.calls == 2
    call.get(timeout=5)


def test_handle_requests_of_a_number_returns_at_that_time(daemon: gpyro.Daemon) -> None:
    begin = time.monotonic()
    daemon.handleRequests(0.1)
    assert 0.09 <= time.monotonic() - begin < 5


def test_handle_requests_of_none_waits_for_a_connection(daemon: gpyro.Daemon) -> None:
    served = []
    sock = socket.socket()

    def connect() -> None:
        sock.connect(("127.0.0.1", daemon.port))
        served.append(1)

    daemon.handleRequests(0)
    thread = threading.Thread(target=connect)
    thread.start()
    daemon.handleRequests(None)
    thread.join()
    assert served == [1]
    sock.close()


def test_handle_requests_of_none_waits_again_after_it_has_served(daemon: gpyro.Daemon) -> None:
    """What was served by the call before does not count for this one."""
    thing = Thing()
    uri = daemon.connect(thing)
    client = gevent.spawn(lambda: gpyro.Proxy(uri).echo(1))
    while not client.dead:
        daemon.handleRequests(0.05)
    gevent.spawn_later(0.1, lambda: gpyro.Proxy(uri).echo(2))
    while thing.calls < 2:
        before = thing.calls, daemon._service.served
        daemon.handleRequests(None)
        assert (thing.calls, daemon._service.served) != before


def test_handle_requests_gives_its_callback_the_list_of_ready_objects(daemon: gpyro.Daemon) -> None:
    ours, theirs = socket.socketpair()
    got: list[list[object]] = []
    theirs.send(b"x")
    daemon.handleRequests(None, [ours], got.append)
    assert got == [[ours]]
    daemon.handleRequests(5, [ours.fileno()], got.append)
    assert got == [[ours], [ours.fileno()]]
    ours.close()
    theirs.close()


def test_others_are_looked_at_without_waiting_and_in_a_round_that_has_served_too(daemon: gpyro.Daemon) -> None:
    (ours, theirs), (idle, silent) = socket.socketpair(), socket.socketpair()
    got: list[list[object]] = []
    with ours, theirs, idle, silent:
        daemon.handleRequests(0, [ours, idle], got.append)
        assert got == []
        theirs.send(b"x")
        daemon.handleRequests(0, [ours, idle], got.append)
        assert got == [[ours]]
        with socket.create_connection(("127.0.0.1", daemon.port)):
            daemon.handleRequests(None, [ours, idle], got.append)
        assert got == [[ours], [ours]]


def test_two_greenlets_may_run_loops_of_the_same_daemon(daemon: gpyro.Daemon) -> None:
    thing = Thing()
    uri = daemon.connect(thing)
    loops = [gevent.spawn(daemon.requestLoop, lambda: thing.calls < 1) for _ in range(2)]
    assert gpyro.Proxy(uri).echo("a") == "a"
    gevent.joinall(loops, timeout=10)
    assert all(loop.dead for loop in loops)


def test_server_sockets_are_a_short_list_that_select_takes(daemon: gpyro.Daemon) -> None:
    sockets = daemon.getServerSockets()
    assert len(sockets) == 1
    assert sockets[0].fileno() < 1024
    assert daemon.getServerSockets() == sockets


def test_server_sockets_of_an_ended_daemon_are_none() -> None:
    daemon = gpyro.Daemon(port=0, norange=True)
    daemon.getServerSockets()
    daemon.shutdown()
    assert daemon.getServerSockets() == []


def test_loops_of_an_ended_daemon_return() -> None:
    daemon = gpyro.Daemon(port=0, norange=True)
    daemon.shutdown()
    daemon.requestLoop()
    daemon.handleRequests(0)
    daemon.handleRequests(None)
    assert "ended" in repr(daemon)


def test_handle_requests_wakes_when_another_thread_shuts_the_daemon_down() -> None:
    with serve(loop=lambda daemon: daemon.handleRequests(None)) as served:
        wait_until(lambda: "serving" in repr(served.daemon))
        served.daemon.shutdown()
        served.thread.join(10)
        assert not served.thread.is_alive()
