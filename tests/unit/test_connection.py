"""One connection between two ends of this process: ids, goodbyes, signs of life, what is held by reference."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

import gpyro
from gpyro._connection.liveness import PING_BURST, Liveness
from gpyro.configuration import Settings, config
from gpyro.connection import NotStarted, Tuning
from gpyro.errors import ConnectionDeniedError, RemoteProtocolError, TimeoutError
from gpyro.wire.native import HEADER, Flag, FrameType, build_target
from tests.support.servers import SECONDS, Bench, connection_of, eventually, running_daemon


def request(request_id: int, target: bytes, body: bytes = b"\x90") -> bytes:
    return HEADER.pack(FrameType.REQUEST, 0, len(target), request_id, len(body), 0) + target + body


def chunk(request_id: int, piece: bytes, more: bool) -> bytes:
    return HEADER.pack(FrameType.CHUNK, Flag.MORE if more else 0, 0, request_id, len(piece), 0) + piece


# -- ids and goodbyes ----------------------------------------------------------------------------------------


def test_goodbye_names_the_youngest_request_although_an_older_one_came_later() -> None:
    with running_daemon() as server, server.peer() as peer:
        bench = Bench()
        server.connect(bench)
        target = build_target(bench.GUID(), "wait")
        first = request(1, target)
        peer.send(chunk(1, first[:20], True) + request(3, target) + chunk(1, first[20:], False))
        eventually(lambda: bench.entered == 2)
        (connection,) = server.connections
        connection.leave("as a test")
        assert peer.frame()[:3] == (FrameType.GOAWAY, 0, 3)
        bench.go.set()
        assert {peer.frame()[2], peer.frame()[2]} == {1, 3}


def test_older_request_that_arrives_after_the_goodbye_is_refused_and_a_younger_one_is_left_to_the_caller() -> None:
    with running_daemon() as server, server.peer() as peer:
        bench = Bench()
        server.connect(bench)
        target = build_target(bench.GUID(), "wait")
        first = request(1, target)
        peer.send(chunk(1, first[:20], True) + request(3, target))
        eventually(lambda: bench.entered == 1)
        (connection,) = server.connections
        connection.leave("as a test")
        assert peer.frame()[:3] == (FrameType.GOAWAY, 0, 3)
        peer.send(chunk(1, first[20:], False) + request(5, target))
        refusal = peer.frame()
        assert refusal[0] == FrameType.ERROR and refusal[2] == 1
        error = connection.codec.decode_error(refusal[4])
        assert isinstance(error, gpyro.errors.ServerBusyError)
        bench.go.set()
        assert peer.frame()[2] == 3
        with pytest.raises(EOFError):
            peer.frame()
        assert bench.entered == 1


def test_ids_begin_anew_after_the_last_one_and_go_round_those_in_use() -> None:
    with running_daemon() as server:
        bench = Bench()
        proxy = server.proxy(bench)
        waiting = gevent.spawn(proxy.wait, "the first one")
        eventually(lambda: bench.entered == 1)
        calls = connection_of(proxy).calls
        (used,) = calls.pending
        calls._next_id = 0xFFFFFFFF - 2
        for number in range(6):
            assert proxy.echo(number) == number
        assert calls._next_id < 20
        calls._next_id = used
        assert proxy.echo("beside it") == "beside it"
        assert used in calls.pending
        bench.go.set()
        assert waiting.get(timeout=SECONDS) == "the first one"


def test_requests_leave_in_the_order_of_their_ids_although_some_had_to_wait() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Bench())
        calls = [gevent.spawn(proxy.echo, "x" * (100_000 if number % 2 else 1)) for number in range(20)]
        gevent.joinall(calls, timeout=SECONDS, raise_error=True)
        (connection,) = server.connections
        assert connection.serving.last_id == connection_of(proxy).calls._next_id - 2
        del calls


def test_connection_that_both_sides_leave_ends_once() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Bench())
        proxy.echo()
        ours, (theirs,) = connection_of(proxy), server.connections
        ours.leave("we go")
        theirs.leave("they go")
        eventually(lambda: ours.closed_by and theirs.closed_by)
        assert not ours.is_open()
        assert proxy.echo("over a new one") == "over a new one"


def test_server_that_leaves_may_still_call_back_with_a_time_limit() -> None:
    class Caller(Bench):
        def ask(self, other: Any) -> Any:
            self.entered += 1
            self.go.wait()
            with gpyro.deadline(SECONDS):
                return other.echo("although we are leaving")

    with running_daemon() as server:
        bench = Caller()
        proxy = server.proxy(bench)
        asking = gevent.spawn(proxy.ask, Bench())
        eventually(lambda: bench.entered == 1)
        (connection,) = server.connections
        connection.leave("as a test")
        bench.go.set()
        assert asking.get(timeout=SECONDS) == "although we are leaving"


# -- the end -------------------------------------------------------------------------------------------------


def test_each_caller_gets_an_error_of_its_own() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Bench())
        proxy.echo()
        connection = connection_of(proxy)
        connection.close()
        first, second = connection.closed_error(True), connection.closed_error(True)
        assert first is not second and first.args == second.args
        assert isinstance(connection.closed_error(False), NotStarted)


@pytest.mark.parametrize(
    "cause, kind", [
        (ConnectionDeniedError("full", ConnectionDeniedError.SERVERTOOBUSY), ConnectionDeniedError),
        (TimeoutError("no answer"), TimeoutError),
        (RemoteProtocolError("garbage"), gpyro.errors.ConnectionClosedError),
    ],
)  # fmt: skip
def test_error_of_a_call_tells_why_the_connection_ended(cause: Exception, kind: type[Exception]) -> None:
    with running_daemon() as server:
        proxy = server.proxy(Bench())
        proxy.echo()
        connection = connection_of(proxy)
        connection.close(cause)
        error = connection.closed_error(True)
        assert isinstance(error, kind) and str(error) == str(cause)


def test_denied_callers_hear_the_reason_and_a_later_call_asks_again() -> None:
    with running_daemon() as server:
        server.service._max_connections = 0
        proxy = server.proxy(Bench())
        calls = [gevent.spawn(proxy.echo, number) for number in range(3)]
        gevent.joinall(calls, timeout=SECONDS)
        for call in calls:
            assert isinstance(call.exception, ConnectionDeniedError)
            assert call.exception.code == ConnectionDeniedError.SERVERTOOBUSY
            call.exception.__traceback__ = None
        server.service._max_connections = 10
        assert proxy.echo("let in") == "let in"
        del calls


def test_closing_gently_sends_what_is_queued_first() -> None:
    with running_daemon() as server:
        bench = Bench()
        proxy = server.proxy(bench)
        proxy.echo()
        connection = connection_of(proxy)
        proxy._setOneway("note")
        for number in range(50):
            proxy.note(bytes([number]) * 100_000)
        connection.close_gently()
        eventually(lambda: len(bench.noted) == 50)


def test_tuning_is_read_once_for_the_same_settings_and_anew_when_one_is_assigned() -> None:
    settings = Settings(max_in_flight=7)
    first = Tuning.of(settings)
    assert Tuning.of(settings) is first
    settings.max_in_flight = 8
    assert (first.max_in_flight, Tuning.of(settings).max_in_flight) == (7, 8)
    frozen = settings.snapshot()
    assert not Tuning.of(frozen).detailed_traceback
    settings.detailed_traceback = True
    assert Tuning.of(frozen).detailed_traceback


# -- signs of life -------------------------------------------------------------------------------------------


class Watched:
    """What `Liveness` looks at of a connection."""

    def __init__(self, runs: bool = True, **items: Any) -> None:
        self.idle_limit = 0.0
        self.tuning = Tuning.of(config.snapshot(**items))
        self.addr = "the peer"
        self.peer = SimpleNamespace(runs=runs)
        self.machine = SimpleNamespace(oldest_message=lambda: self.message)
        self.message: int | None = None
        self.now = 1000.0
        #: Seconds until the next look, as the last one said.
        self.wait = 5.0
        self.left: float | None = None
        self.looks_soon = 0
        self.state = SimpleNamespace(
            clock=lambda: self.now, held=0.0, unwatch=lambda item: None, watch=self.watch
        )
        self.stream = SimpleNamespace(out=[], out_bytes=0, progress=0)
        self.serving = SimpleNamespace(served=0, running={})
        self.calls = SimpleNamespace(pending={})
        self.handler = SimpleNamespace(idle_seconds=lambda: self.idle_limit)
        self.paused = False
        self.pings = 0
        self.reasons: list[str] = []

    def watch(self, item: object, seconds: int) -> None:
        self.looks_soon += 1

    def ping(self) -> None:
        self.pings += 1

    def leave(self, reason: str) -> None:
        self.reasons.append(reason)


def look(watched: Watched, liveness: Liveness, times: int) -> str:
    """Look so often and return the first reason to end."""
    for _ in range(times):
        watched.now += watched.wait
        watched.wait, reason, watched.left = liveness.look()
        if reason:
            return reason
    return ""


def test_silent_peer_whose_hub_runs_is_asked_and_given_up() -> None:
    watched = Watched(heartbeat_seconds=10, liveness_seconds=30)
    liveness = Liveness(watched)
    assert look(watched, liveness, 1) == "" and watched.pings == 0
    assert look(watched, liveness, 1) == "" and watched.pings == 1
    assert "liveness_seconds" in look(watched, liveness, 5)


def test_peer_that_says_anything_lives() -> None:
    watched = Watched(heartbeat_seconds=10, liveness_seconds=30)
    liveness = Liveness(watched)
    for _ in range(20):
        liveness.bytes_in += 16
        assert look(watched, liveness, 1) == ""
    assert watched.pings == 0


@pytest.mark.parametrize("items", [{"runs": False}, {"heartbeat_seconds": 0}], ids=["not running", "off"])
def test_peer_that_cannot_answer_or_need_not_is_left_in_peace(items: dict[str, Any]) -> None:
    watched = Watched(**items)
    assert look(watched, Liveness(watched), 100) == ""
    assert watched.pings == 0


def dribble(liveness: Liveness, fresh: bool = False, more: bool = False, count: int = 1) -> None:
    """A turn that leaves part of a frame over."""
    liveness.bytes_in += count
    liveness.note_part(fresh, more)


def test_frame_that_dribbles_in_is_given_up_when_its_time_is_over() -> None:
    watched = Watched(runs=False, frame_timeout_seconds=10)
    liveness = Liveness(watched)
    look(watched, liveness, 4)
    watched.now += 2.5
    dribble(liveness)
    assert watched.looks_soon == 1
    watched.wait = 1
    for _ in range(10):
        assert look(watched, liveness, 1) == ""
        dribble(liveness)
        assert watched.wait == 1
    assert watched.looks_soon == 1
    assert watched.left is not None and 0 < watched.left < 0.01
    watched.wait = 0.01
    assert "not whole in time (frame_timeout_seconds)" in look(watched, liveness, 1)


def test_frame_that_brings_enough_each_second_may_take_long() -> None:
    watched = Watched(runs=False, frame_timeout_seconds=10)
    liveness = Liveness(watched)
    watched.wait = 1
    dribble(liveness)
    for _ in range(60):
        assert look(watched, liveness, 1) == ""
        dribble(liveness, count=64 * 1024)
    assert "frame_timeout_seconds" in look(watched, liveness, 12)


def test_frames_that_follow_each_other_have_each_their_own_time() -> None:
    watched = Watched(runs=False, frame_timeout_seconds=2)
    liveness = Liveness(watched)
    watched.wait = 1
    for _ in range(20):
        dribble(liveness, fresh=True)
        assert look(watched, liveness, 1) == ""
    dribble(liveness, fresh=True, more=True)
    assert liveness.part_since is None
    assert look(watched, liveness, 20) == ""


def test_small_frames_between_the_chunks_of_a_message_do_not_make_it_younger() -> None:
    watched = Watched(runs=False, frame_timeout_seconds=2)
    liveness = Liveness(watched)
    watched.message, watched.wait = 7, 1
    dribble(liveness, fresh=True)
    assert look(watched, liveness, 1) == ""
    dribble(liveness, fresh=True)
    dribble(liveness, fresh=True, more=True)
    watched.wait = 1.01
    assert "frame_timeout_seconds" in look(watched, liveness, 1)
    watched.message = 9
    dribble(liveness)
    assert look(watched, liveness, 1) == ""


def test_part_of_a_frame_does_not_grow_old_while_we_do_not_read() -> None:
    watched = Watched(runs=False, frame_timeout_seconds=2)
    liveness = Liveness(watched)
    watched.wait = 1
    dribble(liveness)
    watched.paused = True
    assert look(watched, liveness, 10) == ""
    watched.paused = False
    assert look(watched, liveness, 1) == ""
    assert "frame_timeout_seconds" in look(watched, liveness, 1)


def test_pings_up_to_the_burst_and_the_rate_are_answered_and_more_are_too_many() -> None:
    watched = Watched(max_pings_per_second=2)
    liveness = Liveness(watched)
    for _ in range(PING_BURST):
        liveness.count_ping()
    for _ in range(100):
        watched.now += 1
        liveness.count_ping()
        liveness.count_ping()
    with pytest.raises(RemoteProtocolError, match=r"max_pings_per_second"):
        for _ in range(100):
            liveness.count_ping()


def test_pings_that_wait_while_nobody_reads_are_not_too_many() -> None:
    watched = Watched()
    liveness = Liveness(watched)
    watched.state.held += 45
    for _ in range(45 + PING_BURST):
        liveness.count_ping()
    with pytest.raises(RemoteProtocolError):
        liveness.count_ping()


def test_peer_that_was_long_quiet_may_not_flood() -> None:
    watched = Watched()
    liveness = Liveness(watched)
    watched.now += 100_000
    with pytest.raises(RemoteProtocolError):
        for _ in range(100):
            liveness.count_ping()


def test_peer_that_takes_nothing_is_given_up() -> None:
    watched = Watched(runs=False, write_timeout_seconds=10)
    liveness = Liveness(watched)
    watched.stream.out = [b"x"]
    watched.stream.out_bytes = 1
    watched.stream.progress = 1
    assert "write_timeout_seconds" in look(watched, liveness, 5)


def test_idle_connection_is_left_and_a_busy_one_is_not() -> None:
    watched = Watched(heartbeat_seconds=0)
    watched.idle_limit = 12.0
    liveness = Liveness(watched)
    watched.serving.running = {1: object()}
    look(watched, liveness, 20)
    assert watched.reasons == []
    watched.serving.running = {}
    look(watched, liveness, 20)
    assert watched.reasons[0] == "idle"


def test_liveness_tells_what_it_saw() -> None:
    watched = Watched(heartbeat_seconds=10, liveness_seconds=30)
    liveness = Liveness(watched)
    look(watched, liveness, 1)
    assert repr(liveness) == "<Liveness quiet 5 s, idle 5 s>"


def test_limits_of_peers_are_checked_at_the_greeting() -> None:
    with running_daemon() as server, server.peer(greet=False) as peer:
        from tests.support.servers import hello

        data = hello()
        at = 6 + HEADER.size + 8
        peer.send(data[:at] + struct.pack("!I", 10) + data[at + 4 :])
        assert peer.read_to_end() == b""
