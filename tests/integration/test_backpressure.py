"""Too much of anything: calls at once, answers that nobody takes, large values, callers that flood."""

from __future__ import annotations

import struct
from typing import Any

import gevent
import gevent.socket
import pytest

import gpyro
from gpyro import hub
from gpyro.wire.native import HEADER, FrameType, build_target
from tests.support.servers import SECONDS, Bench, RawPeer, connection_of, eventually, running_daemon

MIB = 1024 * 1024
KINDS = ["bytes", "str", "list"]


class Store(Bench):
    """Large things in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.echoed = 0

    def text(self, size: int) -> str:
        return "x" * size

    def size(self, value: Any) -> int:
        return len(value)

    def many(self, count: int) -> list[bytes]:
        return [bytes(5000)] * count

    def fail_large(self, size: int) -> None:
        raise ValueError("y" * size)

    def count(self) -> int:
        self.echoed += 1
        return self.echoed

    def tick(self, listener: Any, size: int) -> int:
        return len(listener.blob(size))


# -- calls at once -------------------------------------------------------------------------------------------


def test_calls_over_the_limit_wait_for_their_turn() -> None:
    with running_daemon(max_in_flight_per_connection=3) as server:
        bench = Bench()
        proxy = server.proxy(bench)
        calls = [gevent.spawn(proxy.wait, number) for number in range(20)]
        (connection,) = eventually_one(server)
        eventually(connection.serving.is_full)
        assert bench.entered == 3
        assert len(connection.serving.running) == 3
        bench.go.set()
        gevent.joinall(calls, timeout=SECONDS, raise_error=True)
        assert [call.value for call in calls] == list(range(20))


def eventually_one(server: Any) -> list[Any]:
    eventually(lambda: len(server.connections) == 1)
    connections: list[Any] = server.connections
    return connections


def test_calls_that_wait_too_long_are_refused_unstarted() -> None:
    with running_daemon(max_in_flight_per_connection=2, busy_wait_seconds=0.05) as server:
        bench = Bench()
        proxy = server.proxy(bench)
        calls = [gevent.spawn(proxy.wait, number) for number in range(40)]
        eventually(lambda: sum(call.ready() for call in calls) == 38)
        for call in calls[2:]:
            assert isinstance(call.exception, gpyro.errors.ServerBusyError)
            assert "max_in_flight_per_connection" in str(call.exception)
        assert bench.entered == 2
        bench.go.set()
        gevent.joinall(calls, timeout=SECONDS)
        assert [call.value for call in calls[:2]] == [0, 1]
        assert proxy.echo("served again") == "served again"
        for call in calls[2:]:
            call.exception.__traceback__ = None


def test_limit_of_the_process_holds_over_all_connections_and_slots_go_round() -> None:
    with running_daemon(max_in_flight=2, busy_wait_seconds=SECONDS) as server:
        bench = Bench()
        uri = server.connect(bench)
        first, second = server.proxy(uri), server.proxy(uri)
        held = [gevent.spawn(first.wait, number) for number in range(2)]
        eventually(lambda: bench.entered == 2)
        others = [gevent.spawn(second.echo, number) for number in range(10)]
        eventually(lambda: hub.current_state().waiting_for_slot)
        assert not any(call.ready() for call in others)
        bench.go.set()
        gevent.joinall([*held, *others], timeout=SECONDS, raise_error=True)
        assert [call.value for call in others] == list(range(10))


def test_cancelling_a_call_that_waits_for_its_turn_takes_it_out() -> None:
    with running_daemon(max_in_flight_per_connection=1, busy_wait_seconds=SECONDS) as server:
        bench = Bench()
        proxy = server.proxy(bench)
        held = gevent.spawn(proxy.wait, "held")
        eventually(lambda: bench.entered == 1)
        given_up = [gevent.spawn(proxy.note, number) for number in range(5)]
        (connection,) = server.connections
        eventually(lambda: len(connection.serving.requests) == 5)
        gevent.killall(given_up)
        eventually(lambda: not connection.serving.requests)
        bench.go.set()
        assert held.get(timeout=SECONDS) == "held"
        assert proxy.echo(1) == 1
        assert bench.noted == []


def test_oneway_calls_that_waited_are_made_although_their_caller_has_gone() -> None:
    with running_daemon(max_in_flight_per_connection=2, busy_wait_seconds=SECONDS) as server:
        bench = Bench()
        proxy = server.proxy(bench)
        proxy._setOneway(["wait", "note"])
        for number in range(2):
            proxy.wait(number)
        for number in range(50):
            proxy.note(number)
        proxy._release()
        eventually(lambda: bench.entered == 2)
        eventually(lambda: not server.connections or server.connections[0].serving.is_full())
        bench.go.set()
        eventually(lambda: len(bench.noted) == 50)
        assert bench.noted == list(range(50))
        eventually(lambda: bench.finished == 2)


# -- peers that do not read ----------------------------------------------------------------------------------


def narrow(sock: Any) -> None:
    """Let the kernel hold little, so that tests need not send much."""
    sock.setsockopt(gevent.socket.SOL_SOCKET, gevent.socket.SO_RCVBUF, 8192)


def ask(peer: RawPeer, object_id: str, name: str, numbers: range, body: bytes) -> None:
    target = build_target(object_id, name)
    for number in numbers:
        peer.send(HEADER.pack(FrameType.REQUEST, 0, len(target), 2 * number + 1, len(body), 0) + target + body)


def test_answers_that_a_peer_does_not_take_hold_up_its_further_calls() -> None:
    with running_daemon(output_soft_bytes=256 * 1024) as server, server.peer() as peer:
        store = Store()
        server.connect(store)
        size = b"\x91\xce" + struct.pack("!I", 200_000)
        asking = gevent.spawn(ask, peer, store.GUID(), "text", range(300), size)
        (connection,) = eventually_one(server)
        eventually(connection.serving.is_full)
        served = connection.serving.served
        assert served < 100
        assert connection.stream.out_bytes < 8 * MIB
        assert server.proxy(store).echo("others go on") == "others go on"
        assert connection.serving.served - served < 20
        for _ in range(300):
            frame = peer.frame()
            assert frame[0] == FrameType.REPLY and len(frame[4]) > 200_000
        asking.get(timeout=SECONDS)


def test_peer_that_takes_nothing_for_too_long_is_cut_off() -> None:
    settings = {"write_timeout_seconds": 1, "heartbeat_seconds": 1, "handshake_timeout_seconds": 1}
    with running_daemon(output_soft_bytes=64 * 1024, **settings) as server:
        store = Store()
        server.connect(store)
        with server.peer() as peer:
            narrow(peer.sock)
            size = b"\x91\xce" + struct.pack("!I", 2_000_000)
            ask(peer, store.GUID(), "text", range(20), size)
            (connection,) = eventually_one(server)
            eventually(connection.serving.is_full)
            eventually(lambda: connection.closed_by is not None)
            assert "write_timeout_seconds" in str(connection.closed_by)
            assert connection.stream.out_bytes == 0


class StuckServer:
    """Takes the greeting and then reads nothing until it is told to."""

    def __init__(self) -> None:
        self.read = gevent.event.Event()

    def __call__(self, sock: Any) -> None:
        from tests.support.servers import hello

        data = sock.recv(65536)
        assert data.startswith(b"PYRO")
        body = hello()[6 + HEADER.size :]
        sock.sendall(hello()[:6] + HEADER.pack(FrameType.WELCOME, 0, 0, 0, len(body), 0) + body)
        self.read.wait()
        while sock.recv(1 << 20):
            pass


def test_callers_wait_while_the_server_takes_nothing_and_little_is_held() -> None:
    from tests.support.servers import fake_server

    stuck = StuckServer()
    with fake_server(stuck) as port:
        settings = gpyro.config.snapshot(output_soft_bytes=256 * 1024)
        proxy = gpyro.Proxy(f"PYRO://127.0.0.1:{port}/x", config=settings)
        proxy._setTimeout(None)
        first = gevent.spawn(proxy.swallow, 1)
        eventually(lambda: "not connected" not in repr(proxy) and connection_of(proxy).peer)
        connection = connection_of(proxy)
        callers = [gevent.spawn(proxy.swallow, "x" * 100_000) for _ in range(200)]
        eventually(connection.stream.is_congested)
        gevent.sleep(0)
        assert connection.stream.out_bytes < 2 * MIB
        assert len(connection.calls.pending) < 100
        # Time-outs hold for those too that have not been sent.
        with pytest.raises(gpyro.errors.TimeoutError) as caught, gpyro.deadline(0.02):
            proxy.swallow(2)
        assert caught.value.maybe_executed is False
        del caught
        # Being killed while it waits to be sent leaves nothing of a call.
        gevent.killall(callers[150:])
        stuck.read.set()
        eventually(lambda: len(connection.calls.pending) == 151, "those that waited were not sent")
        proxy._release()
        gevent.joinall([first, *callers], timeout=SECONDS)
        for greenlet in [first, *callers[:150]]:
            assert isinstance(greenlet.exception, gpyro.errors.ConnectionClosedError)
            greenlet.exception.__traceback__ = None


# -- large values --------------------------------------------------------------------------------------------


def test_large_values_travel_in_chunks_both_ways_with_small_calls_in_between() -> None:
    with running_daemon(max_message_bytes=64 * 1024, chunk_bytes=32 * 1024) as server:
        store = Store()
        proxy = server.proxy(store)
        value = bytes(range(256)) * 80_000
        large = [gevent.spawn(proxy.echo, value) for _ in range(3)]
        text = gevent.spawn(proxy.size, "ü" * 3_000_000)
        small = 0
        while not all(call.ready() for call in large):
            assert proxy.echo(small) == small
            small += 1
        assert [call.get() == value for call in large] == [True] * 3
        assert text.get(timeout=SECONDS) == 3_000_000
        assert small > 10
        del large, text


def test_first_call_with_a_large_value_waits_for_the_servers_limits() -> None:
    with running_daemon(max_message_bytes=64 * 1024, chunk_bytes=32 * 1024) as server:
        store = Store()
        for value in (bytes(3_000_000), "x" * 3_000_000, [bytes(5000)] * 100):
            proxy = server.proxy(store)
            assert proxy.size(value) == len(value)


def test_large_call_that_is_given_up_on_its_way_is_cancelled_at_the_server_too() -> None:
    class Taker(Store):
        def take(self, value: bytes) -> None:
            self.wait()

    with running_daemon(max_message_bytes=64 * 1024, chunk_bytes=32 * 1024) as server:
        taker = Taker()
        proxy = server.proxy(taker)
        proxy.echo()
        call = gevent.spawn(proxy.take, bytes(30_000_000))
        connection = connection_of(proxy)
        eventually(lambda: connection.calls.pending)
        call.kill()
        assert proxy.echo("meanwhile") == "meanwhile"
        eventually(connection.stream.is_flushed)
        eventually(lambda: taker.cancelled == taker.entered)
        (theirs,) = server.connections
        eventually(lambda: not theirs.serving.running and not theirs.machine.is_mid_frame())
        assert proxy.echo("afterwards") == "afterwards"


@pytest.mark.parametrize("value", [bytes(3 * MIB), "x" * (3 * MIB), [b"y" * 4000] * 1000], ids=KINDS)
def test_argument_over_the_limit_is_refused_here_and_nothing_is_sent(value: Any) -> None:
    with running_daemon() as server:
        store = Store()
        proxy = server.proxy(store, max_value_bytes=2 * MIB, max_message_bytes=MIB, chunk_bytes=MIB)
        proxy.echo()
        with pytest.raises(gpyro.errors.PyroError, match="max_value_bytes"):
            proxy.size(value)
        assert not connection_of(proxy).calls.pending
        assert proxy.echo("goes on") == "goes on"
        assert len(server.connections) == 1


@pytest.mark.parametrize("call", [("blob", 3 * MIB), ("text", 3 * MIB), ("many", 1000)], ids=KINDS)
def test_result_over_the_limit_is_an_error_at_the_caller(call: tuple[str, int]) -> None:
    with running_daemon(max_value_bytes=2 * MIB, max_message_bytes=MIB, chunk_bytes=MIB) as server:
        store = Store()
        proxy = server.proxy(store)
        with gevent.Timeout(SECONDS), pytest.raises(gpyro.errors.PyroError, match="max_value_bytes"):
            getattr(proxy, call[0])(call[1])
        assert proxy.echo("goes on") == "goes on"
        assert len(server.connections) == 1


def test_exception_over_the_limit_is_a_smaller_one_at_the_caller() -> None:
    class Wordy(Store):
        def fail_wordily(self) -> None:
            raise ValueError(*[bytes(MIB)] * 4)

    with running_daemon(max_value_bytes=2 * MIB, max_message_bytes=MIB, chunk_bytes=MIB) as server:
        proxy = server.proxy(Wordy())
        with gevent.Timeout(SECONDS), pytest.raises((gpyro.errors.SerializationError, ValueError)):
            proxy.fail_wordily()
        assert proxy.echo("goes on") == "goes on"


def test_result_in_too_many_parts_is_an_error_at_the_caller() -> None:
    class Scatterer(Store):
        def scatter(self) -> list[bytes]:
            return [bytes(20_000)] * 5000

    with running_daemon() as server:
        proxy = server.proxy(Scatterer())
        with gevent.Timeout(SECONDS):
            try:
                assert len(proxy.scatter()) == 5000
            except gpyro.errors.PyroError:
                pass
        assert proxy.echo("goes on") == "goes on"


def test_large_results_of_callbacks_travel_too() -> None:
    with running_daemon(max_message_bytes=64 * 1024, chunk_bytes=32 * 1024) as server:
        proxy = server.proxy(Store())
        assert proxy.tick(Store(), 5 * MIB) == 5 * MIB


# -- fairness ------------------------------------------------------------------------------------------------


def test_polite_callers_are_served_while_others_flood() -> None:
    with running_daemon() as server:
        store = Store()
        uri = server.connect(store)
        polite = server.proxy(uri)
        assert polite.echo("before") == "before"
        target = build_target(store.GUID(), "count")
        frame = HEADER.pack(FrameType.REQUEST, 0, len(target), 0, 1, 0) + target + b"\x90"
        oneway = bytes([FrameType.ONEWAY]) + frame[1:4] + struct.pack("!I", 1) + frame[8:]
        stop = gevent.event.Event()

        def flood() -> None:
            with server.peer() as peer:
                block = oneway * 1000
                while not stop.is_set():
                    peer.send(block)

        floods = [gevent.spawn(flood) for _ in range(4)]
        eventually(lambda: store.echoed > 10_000)
        floods_before = store.echoed
        for number in range(200):
            assert polite.echo(number) == number
        floods_meanwhile = store.echoed - floods_before
        stop.set()
        gevent.joinall(floods, timeout=SECONDS, raise_error=True)
        # Each of our calls costs at most a few turns of each flood, and a turn is 32 frames.
        assert 0 < floods_meanwhile < 200 * 4 * 32 * 4
