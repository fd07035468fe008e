"""The parts behind the one door to gevent, each by itself."""

from __future__ import annotations

import _socket
import errno
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

import gpyro
from gpyro import hub
from gpyro._hub import sockets
from gpyro._hub.bridge import Bridge
from gpyro._hub.listener import Listener
from gpyro._hub.offload import OffloadPool
from gpyro._hub.state import HubState, Timer
from gpyro._hub.stream import Stream
from gpyro._hub.threads import call_in_hub
from gpyro._hub.waiting import Signal, wait_for
from gpyro.wire.frames import build_chunks
from tests.support.serving import wait_until


def make_pair() -> tuple[Any, Any]:
    ours, theirs = _socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


class Wire:
    """A stream, and the plain socket at its other end."""

    def __init__(self, soft_bytes: int = 1024 * 1024) -> None:
        sock, self.far = make_pair()
        self.stream = Stream(sock, hub.current_state(), soft_bytes)
        self.errors: list[OSError] = []
        self.got: list[bytes | None] = []
        self.stream.on_error = self.errors.append

    def take(self, count: int) -> bytes:
        """Receive this many bytes at the far end while the hub runs."""
        data = b""

        def more() -> bool:
            nonlocal data
            try:
                data += self.far.recv(1 << 20)
            except BlockingIOError:
                pass
            return len(data) >= count

        wait_until(more)
        return data


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.stream.close()
    wire.far.close()


# -- streams -------------------------------------------------------------------------------------------------


def test_small_writes_of_one_turn_leave_in_one_send(wire: Wire) -> None:
    for number in range(5):
        wire.stream.write(b"%d" % number)
    assert wire.stream.progress == 0
    assert wire.take(5) == b"01234"
    assert wire.stream.progress == 1


def test_write_now_sends_at_once_where_nothing_is_queued(wire: Wire) -> None:
    wire.stream.write_now(b"now")
    assert wire.far.recv(10) == b"now"
    wire.stream.write(b"a")
    wire.stream.write_now(b"b")
    assert wire.take(2) == b"ab"


def test_more_than_the_kernel_takes_leaves_in_order(wire: Wire) -> None:
    pieces = [bytes([number]) * 300_000 for number in range(10)]
    for piece in pieces:
        wire.stream.write_segments([piece[:100_000], memoryview(piece)[100_000:]])
    wire.stream.flush()
    assert not wire.stream.is_flushed()
    wire.stream.write(b"last")
    assert wire.take(3_000_004) == b"".join(pieces) + b"last"
    wait_until(wire.stream.is_flushed)
    assert wire.stream.out_bytes == 0


def test_what_is_settled_leaves_as_it_was_then_and_is_looked_into_no_more(wire: Wire) -> None:
    first, second = bytearray(b"a" * 8_000_000), bytearray(b"b" * 8_000_000)
    wire.stream.write_segments([b"head", memoryview(first)])
    wire.stream.write_bulk(build_chunks([memoryview(second)], 1, 1_000_000))
    wire.stream.settle()
    assert not wire.stream.is_flushed()
    for mine in (first, second):
        mine[:] = b"!" * len(mine)
        mine.append(1)
    data = wire.take(4 + 8_000_000 + 8 * (16 + 1_000_000))
    assert data[:4] == b"head" and data.count(b"a", 4, 8_000_004) == 8_000_000
    assert data.count(b"!", 8_000_004) == 0 and data.count(b"b", 8_000_004) >= 8_000_000


def test_large_messages_give_way_to_small_ones_between_two_chunks(wire: Wire) -> None:
    wire.stream.write_bulk(iter([[b"A" * 500_000], [b"B" * 500_000]]))
    wire.stream.write_bulk(iter([[b"C" * 10]]))
    wire.stream.flush()
    wire.stream.write(b"small")
    data = wire.take(1_000_015)
    assert data.index(b"small") == 500_000
    assert data == b"A" * 500_000 + b"small" + b"B" * 500_000 + b"C" * 10


def test_writer_hears_when_the_queue_is_short_again() -> None:
    wire = Wire(soft_bytes=1000)
    drained = []
    wire.stream.on_drained = lambda: drained.append(wire.stream.out_bytes)
    wire.stream.write(b"x" * 2_000_000)
    assert wire.stream.is_congested()
    wire.take(2_000_000)
    wait_until(lambda: drained)
    assert drained[0] <= 500
    assert not wire.stream.is_congested()
    wire.stream.close()
    wire.far.close()


def test_failing_write_is_told_once_and_drops_the_queue(wire: Wire) -> None:
    wire.far.close()
    wire.stream.write(b"a")
    wire.stream.flush()
    wire.stream.write(b"b")
    wire.stream.flush()
    wait_until(lambda: wire.errors)
    gevent.sleep(0)
    assert [exc.errno for exc in wire.errors] == [errno.EPIPE]
    assert wire.stream.is_flushed()


def test_what_the_peer_said_before_it_left_is_heard_before_the_failed_write(wire: Wire) -> None:
    order: list[object] = []
    wire.stream.on_error = lambda exc: order.append(exc.errno)
    wire.stream.on_readable = lambda: order.append(wire.stream.read())
    wire.stream.start_reading()
    wire.far.send(b"goodbye")
    wire.far.close()
    wire.stream.write(b"a")
    wire.stream.flush()
    wait_until(lambda: errno.EPIPE in order)
    assert order[0] == b"goodbye"


def test_reading_stops_and_starts(wire: Wire) -> None:
    wire.stream.on_readable = lambda: wire.got.append(wire.stream.read())
    wire.stream.start_reading()
    wire.stream.stop_reading()
    wire.far.send(b"x")
    hub.run_pending()
    assert wire.got == []
    wire.stream.start_reading()
    wait_until(lambda: wire.got)
    assert wire.got == [b"x"]
    assert wire.stream.read() is None


def test_close_gently_sends_the_rest_first(wire: Wire) -> None:
    wire.stream.write(b"x" * 2_000_000)
    wire.stream.close_gently(10)
    assert not wire.stream.closed
    assert wire.stream in hub.current_state().closing
    assert len(wire.take(2_000_000)) == 2_000_000
    wait_until(lambda: wire.stream.closed)
    assert wire.stream not in hub.current_state().closing


def test_close_gently_gives_up_on_a_peer_that_reads_nothing(wire: Wire) -> None:
    wire.stream.write(b"x" * 2_000_000)
    wire.stream.close_gently(0.05)
    wait_until(lambda: wire.stream.closed)


def test_finish_sends_the_rest_with_the_thread_waiting(wire: Wire) -> None:
    data: list[bytes] = []

    def read() -> None:
        wire.far.setblocking(True)
        while chunk := wire.far.recv(1 << 20):
            data.append(chunk)

    reader = threading.Thread(target=read)
    wire.stream.write(b"x" * 2_000_000)
    reader.start()
    wire.stream.finish(10)
    wire.stream.close()
    reader.join(10)
    assert sum(map(len, data)) == 2_000_000


def test_close_gently_loses_nothing_when_the_peer_has_said_something_unread() -> None:
    """A socket with unread input is reset by its close, and the kernel then drops what it has not sent yet."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
    sock = _socket.socket(near.family, near.type, near.proto, near.detach())
    sock.setblocking(False)
    stream = Stream(sock, hub.current_state(), 1 << 20)
    far.sendall(b"welcome")
    data = b"x" * 8_000_000
    stream.write(data)
    stream.close_gently(10)
    assert not stream.closed
    got = 0
    far.setblocking(False)

    def take() -> bool:
        nonlocal got
        try:
            got += len(far.recv(1 << 20))
        except BlockingIOError:
            pass
        return got == len(data)

    wait_until(take)
    assert not stream.closed
    far.close()
    wait_until(lambda: stream.closed)


# -- the wheel, timers, workers ------------------------------------------------------------------------------


class Ticking:
    """Counts ticks; leaves the wheel when `answers` are used up."""

    def __init__(self, *answers: int) -> None:
        self.wheel_slot = -1
        self.stream: Any = None
        self.answers = list(answers)
        self.ticks = 0

    def tick(self) -> int:
        self.ticks += 1
        return self.answers.pop(0)

    def hub_ended(self) -> None:
        raise AssertionError("not in these tests")


def test_wheel_ticks_as_often_as_is_asked_for_and_then_rests() -> None:
    state = HubState(gevent.get_hub(), False)
    often, seldom, never = Ticking(1, 1, 0), Ticking(0), Ticking()
    state.watch(often, 1)
    state.watch(seldom, 3)
    state.watch(never, 2)
    state.unwatch(never)
    assert state.has_tickers()
    for _ in range(4):
        if state.has_tickers():
            state._turn_wheel()
    assert (often.ticks, seldom.ticks, never.ticks) == (3, 1, 0)
    assert not state.has_tickers()
    assert state._wheel_timer is None


def test_clock_stands_while_the_hub_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("gpyro._hub.state.time", SimpleNamespace(monotonic=lambda: now))
    state = HubState(gevent.get_hub(), False)
    state.watch(Ticking(1, 1, 1, 0), 1)
    for late in (0.0, 0.5, 60.0, 0.0):
        now += 1.0 + late
        state._turn_wheel()
    assert (now, state.clock(), state.held) == (1064.5, 1004.5, 60.0)


def test_tick_that_fails_leaves_the_others_alone(capfd: pytest.CaptureFixture[str]) -> None:
    state = HubState(gevent.get_hub(), False)
    broken, sound = Ticking(), Ticking(0)
    state.watch(broken, 1)
    state.watch(sound, 1)
    state._turn_wheel()
    assert (broken.ticks, sound.ticks) == (1, 1)
    assert "IndexError" in capfd.readouterr().err


def test_timer_can_be_taken_back() -> None:
    fired: list[int] = []
    loop = gevent.get_hub().loop
    early, late = Timer(loop, 0, fired.append, 1), Timer(loop, 0.01, fired.append, 2)
    late.cancel()
    late.cancel()
    gevent.sleep(0.03)
    assert fired == [1]
    early.cancel()


def test_worker_that_does_not_block_is_used_again() -> None:
    state = HubState(gevent.get_hub(), False)
    seen = []

    def job() -> bool:
        seen.append(gevent.getcurrent())
        return True

    for _ in range(3):
        state.soon(state.run_worker, job)
    hub.run_pending()
    assert len(seen) == 3
    assert len({id(worker) for worker in seen}) <= 3
    assert len(state._idle_workers) <= 3


def test_lent_buffers_are_used_again() -> None:
    state = HubState(gevent.get_hub(), False)
    buffer = state.take_buffer(100)
    state.give_buffer(buffer)
    assert state.take_buffer(50) is buffer
    assert state.take_buffer(50) is not buffer


# -- waiting -------------------------------------------------------------------------------------------------


def test_signal_wakes_everybody_who_waits() -> None:
    mark = Signal()
    waiters = [gevent.spawn(wait_for, mark, (), 10) for _ in range(3)]
    hub.run_pending()
    assert repr(mark) == "<Signal waited for>"
    mark.set()
    mark.set()
    gevent.joinall(waiters, timeout=5)
    assert [waiter.value for waiter in waiters] == [[], [], []]
    assert repr(mark) == "<Signal idle>"


def test_signal_that_is_set_already_is_not_waited_for() -> None:
    mark = Signal()
    mark.set()
    assert repr(mark) == "<Signal set>"
    assert wait_for(mark, (), None) == []
    assert not mark.is_set


def test_wait_for_returns_all_that_are_ready_at_once() -> None:
    pairs = [socket.socketpair() for _ in range(3)]
    pairs[0][1].send(b"x")
    pairs[2][1].send(b"x")
    assert set(wait_for(Signal(), [ours for ours, _ in pairs], 10)) == {pairs[0][0], pairs[2][0]}
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


def test_wait_for_ends_at_its_time() -> None:
    begin = time.monotonic()
    assert wait_for(Signal(), (), 0.05) == []
    assert time.monotonic() - begin >= 0.04


def test_killed_waiter_leaves_nothing_behind() -> None:
    mark = Signal()
    ours, theirs = socket.socketpair()
    waiter = gevent.spawn(wait_for, mark, [ours], None)
    hub.run_pending()
    waiter.kill()
    assert mark._waiters == []
    ours.close()
    theirs.close()


def test_run_pending_looks_at_descriptors() -> None:
    ours, theirs = make_pair()
    got: list[bytes] = []
    watcher = gevent.get_hub().loop.io(ours.fileno(), 1)
    watcher.start(lambda: got.append(ours.recv(10)))
    theirs.send(b"x")
    hub.run_pending()
    assert got == [b"x"]
    watcher.stop()
    watcher.close()
    ours.close()
    theirs.close()


# -- listening -----------------------------------------------------------------------------------------------


def test_listener_without_descriptors_turns_callers_away_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    class Full:
        """A listening socket of a process whose descriptors have run out, but for the reserve."""

        def __init__(self, sock: Any) -> None:
            self.sock = sock
            self.full = True

        def _accept(self) -> Any:
            if self.full and listener._reserve is not None:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return self.sock._accept()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.sock, name)

    state = hub.current_state()
    sock = Full(hub.listen_tcp("127.0.0.1", 0, 1, 10, True))
    accepted: list[Any] = []
    listener = Listener(sock, state, accepted.append)
    where = sock.getsockname()
    callers = [socket.create_connection(where) for _ in range(3)]
    for caller in callers:
        caller.settimeout(0)
        wait_until(lambda caller=caller: has_ended(caller))  # type: ignore[misc]
    assert accepted == []
    assert listener._reserve is not None
    sock.full = False
    with socket.create_connection(where):
        wait_until(lambda: accepted)
    assert caplog.text.count("no descriptor for a new connection") == 1
    assert repr(listener) == f"<Listener on {where}>"
    listener.close()
    listener.close()
    assert repr(listener) == "<Listener closed>"
    for caller in (*callers, *accepted):
        caller.close()


def test_listener_tells_how_many_wait_while_its_owner_has_no_room() -> None:
    sock = hub.listen_tcp("127.0.0.1", 0, 1, 10, True)
    seen: list[int] = []
    accepted: list[Any] = []
    has_room = False

    def look(waiting: Any) -> bool:
        seen.append(waiting())
        return has_room

    listener = Listener(sock, hub.current_state(), accepted.append, look)
    callers = [socket.create_connection(sock.getsockname()) for _ in range(3)]
    wait_until(lambda: 3 in seen)
    assert listener.is_resting() and accepted == []
    has_room = True
    wait_until(lambda: len(accepted) == 3)
    assert listener.waiting() == 0
    listener.close()
    assert listener.waiting() == 0
    for each in (*callers, *accepted):
        each.close()


def has_ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_listener_survives_a_handler_that_fails(capfd: pytest.CaptureFixture[str]) -> None:
    sock = hub.listen_tcp("127.0.0.1", 0, 1, 10, True)
    seen = []

    def refuse(connection: Any) -> None:
        connection.close()
        seen.append(connection)
        raise RuntimeError("on purpose")

    where = sock.getsockname()
    listener = Listener(sock, hub.current_state(), refuse)
    for count in (1, 2):
        with socket.create_connection(where):
            wait_until(lambda count=count: len(seen) == count)  # type: ignore[misc]
    listener.close()
    assert capfd.readouterr().err.count("RuntimeError: on purpose") == 2


# -- names and connecting ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "ips"),
    [("", ["127.0.0.1"]), ("localhost", ["127.0.0.1", "::1"]), ("192.0.2.7", ["192.0.2.7"]), ("::1", ["::1"])],
)
def test_numbers_and_localhost_are_never_looked_up(
    host: str, ips: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "_look_up", None)
    assert hub.resolve(host, 1) == ips


def test_names_are_looked_up_in_a_thread_and_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def getaddrinfo(host: str, *rest: object) -> list[Any]:
        asked.append((host, threading.get_ident()))
        return [(10, 1, 6, "", ("2001:db8::1", 0)), (2, 1, 6, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(_socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(sockets, "_cache", {})
    for _ in range(3):
        assert hub.resolve("plant.example", 5) == ["192.0.2.1", "2001:db8::1"]
    assert len(asked) == 1
    assert asked[0][1] != threading.get_ident()


def test_unknown_host_is_remembered_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def getaddrinfo(host: str, *rest: object) -> list[Any]:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(_socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(sockets, "_cache", {})
    for _ in range(2):
        with pytest.raises(gpyro.errors.ProtocolError, match=r"unknown host 'gone\.example'"):
            hub.resolve("gone.example", 5)
    assert len(asked) == 1


def test_resolver_that_hangs_ends_the_wait_and_holds_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def getaddrinfo(host: str, *rest: object) -> list[Any]:
        go.wait(20)
        return []

    monkeypatch.setattr(_socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(sockets, "_cache", {})
    other = gevent.spawn(lambda: [gevent.sleep(0.005) for _ in range(5)])
    with pytest.raises(gpyro.errors.TimeoutError, match=r"did not answer for 'slow\.example' within 0\.1 s"):
        hub.resolve("slow.example", 0.1)
    assert other.dead
    go.set()
    wait_until(lambda: sockets._lookups == 0)


def test_lookups_under_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_lookups", sockets.MAX_LOOKUPS)
    with pytest.raises(gpyro.errors.ProtocolError, match="16 lookups are waiting"):
        hub.resolve("one.example", 5)


def test_connecting_where_nobody_listens_is_refused(tmp_path: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(gpyro.errors.ProtocolError, match=f"127.0.0.1 port {port}: Connection refused"):
        hub.connect(("tcp", "127.0.0.1", port), 5)
    with pytest.raises(gpyro.errors.ProtocolError, match="No such file"):
        hub.connect(("unix", str(tmp_path / "none")), 5)


def test_connecting_to_a_full_backlog_ends_at_its_time() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        with pytest.raises(gpyro.errors.TimeoutError, match=r"within 0\.1 s \(connect_timeout_seconds\)"):
            hub.connect(("tcp", *full.getsockname()), 0.1)
        for filler in fillers:
            filler.close()


# -- threads, bridge, pools ----------------------------------------------------------------------------------


def test_call_in_hub_crosses_into_another_thread() -> None:
    states: list[HubState] = []
    stop = threading.Event()

    def other() -> None:
        states.append(hub.current_state())
        while not stop.is_set():
            gevent.sleep(0.005)

    thread = threading.Thread(target=other)
    thread.start()
    wait_until(lambda: states)
    assert call_in_hub(states[0], threading.get_ident, 10) == thread.ident
    assert call_in_hub(hub.current_state(), threading.get_ident, 10) == threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        call_in_hub(states[0], lambda: 1 / 0, 10)
    stop.set()
    thread.join(10)
    assert states[0].ended
    hub.run_in_hub_of(states[0], lambda: None)
    with pytest.raises(RuntimeError, match="did not run for"):
        call_in_hub(states[0], threading.get_ident, 0.01)


def test_bridge_wakes_for_descriptors_and_rests_otherwise() -> None:
    state = hub.current_state()
    bridge = Bridge(state, lambda: False)
    assert "not used" in repr(bridge)
    bridge.open()
    assert "open" in repr(bridge)
    assert not bridge.take()
    ours, theirs = make_pair()
    watcher = state.loop.io(ours.fileno(), 1)
    watcher.start(lambda: ours.recv(10))
    hub.run_pending()
    bridge.take()
    theirs.send(b"x")
    bridge.rearm()
    selectable: Any = bridge.selectable
    selectable.settimeout(10)
    assert selectable.recv(1) == b"!"
    selectable.setblocking(False)
    watcher.stop()
    watcher.close()
    bridge.close()
    bridge.close()
    assert "closed" in repr(bridge)
    assert state.pokes == []
    ours.close()
    theirs.close()


def test_offload_pool_is_bounded_and_its_end_waits_for_nobody() -> None:
    from contextvars import Context

    pool = OffloadPool(hub.current_state(), threads=1, queue=0)
    go = threading.Event()
    first = gevent.spawn(pool.run, Context(), go.wait, (20,), {})
    wait_until(lambda: pool.busy == 1)
    assert repr(pool) == "<OffloadPool 1 of 1 threads busy, 0 in remote calls, 0 calls waiting>"
    with pytest.raises(gpyro.errors.ServerBusyError, match=r"limit is 0 \(offload_queue\)"):
        pool.run(Context(), go.wait, (20,), {})
    pool.close()
    pool.close()
    assert not first.dead
    with pytest.raises(gpyro.errors.ServerBusyError, match="have ended"):
        pool.run(Context(), go.wait, (20,), {})
    go.set()
    assert first.get(timeout=10) is True


def test_offload_pool_that_is_closed_runs_what_waits_and_ends_its_threads() -> None:
    from contextvars import Context

    pool = OffloadPool(hub.current_state(), threads=1, queue=1)
    go = threading.Event()
    calls = [gevent.spawn(pool.run, Context(), go.wait, (20,), {}) for _ in range(2)]
    wait_until(lambda: pool.unfinished == 2)
    pool.close()
    assert pool._alive == 1
    go.set()
    assert [call.get(timeout=10) for call in calls] == [True, True]
    assert (pool._alive, pool.unfinished) == (0, 0)


def test_signals_are_those_of_the_main_thread_only() -> None:
    with hub.Signals(lambda number: None) as signals:
        assert repr(signals) == f"<Signals watching [{int(signal.SIGINT)}, {int(signal.SIGTERM)}]>"
    assert repr(signals) == "<Signals watching []>"
    seen: list[str] = []

    def other() -> None:
        with hub.Signals(lambda number: None) as there:
            seen.append(repr(there))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join(10)
    assert seen == ["<Signals watching []>"]


def test_long_lived_objects_tell_their_state() -> None:
    state = hub.current_state()
    assert repr(state).startswith(f"<HubState of thread {threading.get_ident()}, ")
    wire = Wire()
    fd = wire.stream.raw_socket().fileno()
    wire.stream.out_bytes = 3
    assert repr(wire.stream) == f"<Stream fd {fd}, 3 bytes to send>"
    wire.stream.close()
    wire.far.close()
    assert repr(wire.stream) == "<Stream closed>"
    daemon = gpyro.Daemon(port=0, norange=True)
    assert repr(daemon) == f"<Daemon 127.0.0.1:{daemon.port}, 0 objects, not started>"
    assert repr(daemon._service) == "<Service not started, 0 connections>"
    daemon.handleRequests(0)
    assert "serving" in repr(daemon._service)
    daemon.shutdown()
    assert repr(daemon) == f"<Daemon 127.0.0.1:{daemon.port}, 0 objects, ended>"
