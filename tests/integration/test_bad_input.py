"""Bad input from either side: each gets its own exception or line, and the daemon goes on serving others."""

from __future__ import annotations

import logging
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import gevent.socket
import pytest

import gpyro
from gpyro.wire.native import (
    HEADER,
    PREFACE,
    Annotation,
    Flag,
    FrameType,
    build_extras,
    build_target,
)
from tests.support.servers import (
    SECONDS,
    Bench,
    RawPeer,
    Running,
    child,
    eventually,
    fake_server,
    free_port,
    hello,
    running_daemon,
)


@contextmanager
def serving_others(**items: Any) -> Iterator[tuple[Running, Bench]]:
    """Serve a Bench; another caller is served before, meanwhile and afterwards over one connection."""
    with running_daemon(**items) as server:
        bench = Bench()
        proxy = server.proxy(bench)
        assert proxy.echo("before") == "before"
        (connection,) = server.connections
        waiting = gevent.spawn(proxy.wait, "meanwhile")
        eventually(lambda: bench.entered == 1)
        try:
            yield server, bench
            assert proxy.echo("after") == "after"
        finally:
            bench.go.set()
        assert waiting.get(timeout=SECONDS) == "meanwhile"
        assert connection in server.connections


# -- strangers on the port -----------------------------------------------------------------------------------

STRANGERS = {
    "garbage": (b"\x00\x01\x02\x03\x04\x05\x06", b""),
    "text": (b"hello, is anybody there?\n", b""),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\n"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x15\x03\x01\x00\x02\x02\x0a"),
    "Pyro 3": (b"PYRO\x00\x05" + bytes(6), b"DENIED0"),
    "Pyro 5": (b"PYRO\x01\xf6\x01\x01", b"PYRO\x01\xf6"),
    "Pyro 4": (b"PYRO\x00\x30" + bytes(18), b""),
    "another version of gpyro": (b"PYROG\x63" + bytes(16), b""),
}


@pytest.mark.parametrize("who", STRANGERS)
def test_stranger_is_told_in_its_own_language_and_logged(who: str, caplog: pytest.LogCaptureFixture) -> None:
    said, expected = STRANGERS[who]
    with serving_others() as (server, _), server.peer(greet=False) as peer, caplog.at_level(logging.WARNING):
        peer.send(said)
        heard = peer.read_to_end()
        assert heard.startswith(expected)
        assert bool(heard) == bool(expected)
        assert "speaks" in caplog.text and "127.0.0.1" in caplog.text


def test_stranger_that_comes_byte_by_byte_is_recognised_too() -> None:
    with serving_others() as (server, _), server.peer(greet=False) as peer:
        for byte in b"GET /x":
            peer.send(bytes([byte]))
            gevent.sleep(0)
        assert peer.read_to_end().startswith(b"HTTP/1.1 400")


def test_slow_dribbling_greeting_is_cut_off() -> None:
    with serving_others(handshake_timeout_seconds=1) as (server, _), server.peer(greet=False) as peer:
        data = hello()
        stop = gevent.Timeout(SECONDS)
        with stop:
            closed = gevent.spawn(peer.read_to_end)
            for byte in data[:-1]:
                try:
                    peer.send(bytes([byte]))
                except OSError:
                    break
                if closed.join(0.05) or closed.ready():
                    break
            closed.get()
        assert len(server.connections) == 1


def test_silent_connection_is_cut_off() -> None:
    with serving_others(handshake_timeout_seconds=1) as (server, _), server.peer(greet=False) as peer:
        assert peer.read_to_end() == b""
        assert len(server.connections) == 1


def test_client_at_a_port_that_speaks_something_else_is_told_so() -> None:
    def speak_http(sock: Any) -> None:
        sock.recv(1000)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with fake_server(speak_http) as port:
        with pytest.raises(gpyro.errors.RemoteProtocolError, match="does not speak gpyro's protocol"):
            gpyro.Proxy(f"PYRO://127.0.0.1:{port}/x").echo()


def test_client_at_a_port_that_never_answers_times_out() -> None:
    with fake_server(lambda sock: sock.recv(1) and gevent.sleep(SECONDS)) as port:
        settings = gpyro.config.snapshot(handshake_timeout_seconds=1)
        with pytest.raises(gpyro.errors.TimeoutError, match="handshake_timeout_seconds"):
            gpyro.Proxy(f"PYRO://127.0.0.1:{port}/x", config=settings).echo()


def test_client_at_a_port_that_hangs_up_gets_a_lost_connection() -> None:
    with fake_server(lambda sock: sock.recv(1)) as port:
        with pytest.raises(gpyro.errors.ConnectionClosedError):
            gpyro.Proxy(f"PYRO://127.0.0.1:{port}/x").echo()


# -- peers that break the rules ------------------------------------------------------------------------------


def is_cut_off(peer: RawPeer) -> bool:
    try:
        while True:
            peer.frame()
    except (EOFError, ConnectionResetError):
        return True


def raw(kind: int, flags: int, target: int, request_id: int, body: int, extras: int) -> bytes:
    return HEADER.pack(kind, flags, target, request_id, body, extras)


BREACHES = {
    "a second HELLO": hello()[6:],
    "a WELCOME": raw(FrameType.WELCOME, 0, 0, 0, 0, 0),
    "a frame over the limit": raw(FrameType.REQUEST, 0, 0, 1, 2**31, 0),
    "a target over the limit": raw(FrameType.REQUEST, 0, 60000, 1, 0, 0),
    "a stream": raw(FrameType.STREAM_ITEM, 0, 0, 1, 0, 0),
    "a stream's end": raw(FrameType.STREAM_END, 0, 0, 1, 0, 0),
    "a stream's credit": raw(FrameType.STREAM_CREDIT, 0, 0, 1, 0, 0),
    "an unknown type": raw(99, 0, 0, 1, 0, 0),
    "a request id of the wrong side": raw(FrameType.REQUEST, 0, 2, 2, 0, 0) + b"\0\0",
    "a huge announcement of chunks": raw(FrameType.CHUNK, Flag.MORE, 0, 1, HEADER.size, 0)
    + raw(FrameType.REQUEST, 0, 0, 1, 2**32 - 1, 2**32 - 1),
    "an empty chunk": raw(FrameType.CHUNK, Flag.MORE, 0, 1, 0, 0),
    "extras that are cut short": raw(FrameType.REQUEST, 0, 2, 1, 1, 1) + b"\0\0\x90\0",
    "annotations that lead outside": raw(FrameType.REQUEST, 0, 2, 1, 1, 4) + b"\0\0\x90\xff\xff\0\0",
    "a chunk that is no call": raw(FrameType.CHUNK, Flag.MORE, 0, 1, HEADER.size, 0)
    + raw(FrameType.PING, 0, 0, 1, 0, 0),
}


@pytest.mark.parametrize("what", BREACHES)
def test_breach_costs_the_peer_its_connection_and_nobody_else(what: str, caplog: pytest.LogCaptureFixture) -> None:
    with serving_others() as (server, _), server.peer() as peer, caplog.at_level(logging.WARNING):
        peer.send(BREACHES[what])
        assert is_cut_off(peer)
        assert "! ('127.0.0.1'" in caplog.text


def test_requests_without_any_greeting_are_refused() -> None:
    with serving_others() as (server, bench), server.peer(greet=False) as peer:
        target = build_target(bench.GUID(), "note")
        peer.send(PREFACE + raw(FrameType.REQUEST, 0, len(target), 1, 2, 0) + target + b"\x91\x01")
        assert peer.read_to_end() == b""
        assert bench.noted == []


def test_greeting_that_is_garbage_is_refused() -> None:
    with serving_others() as (server, _), server.peer(greet=False) as peer:
        peer.send(PREFACE + raw(FrameType.HELLO, 0, 0, 0, 3, 0) + b"abc")
        assert peer.read_to_end() == b""


def test_request_id_in_use_costs_the_connection() -> None:
    with serving_others() as (server, bench), server.peer() as peer:
        peer.request(1, bench.GUID(), "wait")
        eventually(lambda: bench.entered == 2)
        peer.request(1, bench.GUID(), "echo")
        assert is_cut_off(peer)


def test_request_id_twice_in_one_packet_costs_the_connection_and_no_slot() -> None:
    with serving_others() as (server, bench), server.peer() as peer:
        target = build_target(bench.GUID(), "wait")
        frame = raw(FrameType.REQUEST, 0, len(target), 7, 1, 0) + target + b"\x90"
        peer.send(frame + frame)
        assert is_cut_off(peer)
        assert bench.entered == 2


BAD_REQUESTS = {
    "an empty target": (b"", b"\x90", b""),
    "a target that is cut short": (b"\x00\x20abc", b"\x90", b""),
    "a target that is no text": (b"\x00\x02\xff\xfe\xff", b"\x90", b""),
    "a scope that is none": (build_target("x", "echo", 5), b"\x90", b""),
    "an access that is none": (build_target("x", "echo", 0, 7), b"\x90", b""),
    "an object of this connection that is none": (build_target("12", "echo", 1), b"\x90", b""),
    "arguments that are no MessagePack": (None, b"\xc1\xc1\xc1", b""),
    "arguments that are no array": (None, b"\x01", b""),
    "no arguments at all": (None, b"", b""),
    "a table of parts that leads outside": (None, b"\x90", b"\x00\x00\x00\x09"),
    "a deadline that is cut short": (None, b"\x91\x01", b"".join(map(bytes, build_extras({1: b"\x01"}, [])))),
    "a call path of odd length": (None, b"\x91\x01", b"".join(map(bytes, build_extras({3: b"\x01" * 9}, [])))),
}


@pytest.mark.parametrize("what", BAD_REQUESTS)
def test_bad_request_is_answered_and_the_connection_goes_on(what: str) -> None:
    target, body, extras = BAD_REQUESTS[what]
    with serving_others() as (server, bench), server.peer() as peer:
        good = build_target(bench.GUID(), "echo")
        target = good if target is None else target
        peer.send(raw(FrameType.REQUEST, 0, len(target), 1, len(body), len(extras)) + target + body + extras)
        peer.send(raw(FrameType.REQUEST, 0, len(good), 3, 2, 0) + good + b"\x91\x05")
        answers = {frame[2]: frame for frame in (peer.frame(), peer.frame())}
        assert answers[1][0] == (FrameType.REPLY if target == good and body == b"\x91\x01" else FrameType.ERROR)
        assert answers[3][0] == FrameType.REPLY and answers[3][4] == b"\x05"


def test_requests_that_fail_leave_no_deadlines_behind() -> None:
    with serving_others() as (server, bench), server.peer() as peer:
        extras = b"".join(map(bytes, build_extras({Annotation.DEADLINE: struct.pack("!I", 60000)}, [])))
        target = build_target(bench.GUID(), "nothing_like_that")
        for number in range(50):
            frame = raw(FrameType.REQUEST, 0, len(target), 2 * number + 1, 1, len(extras))
            peer.send(frame + target + b"\x90" + extras)
        for _ in range(50):
            assert peer.frame()[0] == FrameType.ERROR
        assert all(not connection.serving._deadlines for connection in server.connections)


def test_answers_that_nobody_waits_for_are_dropped() -> None:
    with serving_others() as (server, bench), server.peer() as peer:
        peer.send(raw(FrameType.REPLY, 0, 0, 2, 1, 0) + b"\x01")
        peer.send(raw(FrameType.CANCEL, 0, 0, 12345, 0, 0))
        peer.send(raw(FrameType.PING, 0, 0, 9, 0, 0))
        assert peer.frame()[:3] == (FrameType.PONG, 0, 9)
        assert bench.noted == []


@pytest.mark.parametrize(
    ("kind", "most"), [(FrameType.CANCEL, 1000), (FrameType.PONG, 1000), (FrameType.GOAWAY, 1)]
)
def test_frames_that_mean_nothing_are_taken_only_so_often(kind: int, most: int) -> None:
    with serving_others() as (server, bench):
        with server.peer() as peer:
            peer.send(raw(kind, 0, 0, 0, 0, 0) * most + raw(FrameType.PING, 0, 0, 9, 0, 0))
            assert peer.frame()[:3] == (FrameType.PONG, 0, 9)
            peer.send(raw(kind, 0, 0, 0, 0, 0))
            peer.read_to_end()
        eventually(lambda: len(server.connections) <= 1)
        assert bench.noted == []


def test_caller_may_cancel_as_often_as_it_calls() -> None:
    with serving_others() as (server, bench), server.peer() as peer:
        uri = gpyro.PyroURI(server.connect(bench))
        for number in range(1, 2001, 2):
            peer.request(number, uri.objectID, "echo", b"\x91\x01")
            peer.send(raw(FrameType.CANCEL, 0, 0, number, 0, 0) * 2)
            peer.frame()
        peer.send(raw(FrameType.PING, 0, 0, 9, 0, 0))
        assert peer.frame()[:3] == (FrameType.PONG, 0, 9)


def test_client_killed_in_the_middle_of_a_call_leaves_nothing_behind() -> None:
    source = "import sys, gpyro\ngpyro.Proxy(sys.argv[1]).watch()"
    with serving_others() as (server, bench):
        uri = str(server.daemon.uri_of(bench))
        with child(source, uri) as process:
            eventually(lambda: bench.entered == 2)
            process.kill()
            eventually(lambda: bench.finished == 1)
            eventually(lambda: len(server.connections) == 1)


# -- callers' own mistakes -----------------------------------------------------------------------------------


class Plumber(gpyro.ObjBase, threading.Thread):
    def __init__(self) -> None:
        gpyro.ObjBase.__init__(self)
        threading.Thread.__init__(self)

    def plumb(self, pipe: str, *, quickly: bool = False) -> str:
        return pipe

    def _secret(self) -> None: ...


class Stack(gpyro.ObjBase, list):  # type: ignore[type-arg]
    def top(self) -> object:
        return self[-1]


@pytest.mark.parametrize(
    "name", ["nothing_like_that", "_secret", "__init__", "GUID", "setGUID", "delegateTo", "getProxy",
             "getAttrProxy", "getDaemon", "getLocalStorage", "_gotReaped", "start", "join",
             "run", "is_alive", "name", "daemon"],
)  # fmt: skip
def test_method_that_is_not_for_the_outside_does_not_exist(name: str) -> None:
    with running_daemon() as server:
        uri = server.connect(Plumber())
        proxy = server.proxy(uri)
        assert proxy.plumb("lead", quickly=True) == "lead"
        with pytest.raises(AttributeError, match=name):
            proxy.__dict__["_core"].call(name, (), {})


@pytest.mark.parametrize("name", ["append", "pop", "sort", "__len__", "__getitem__", "__reduce__"])
def test_methods_of_a_list_that_is_served_do_not_exist(name: str) -> None:
    with running_daemon() as server:
        stack = Stack()
        list.append(stack, 1)
        proxy = server.proxy(stack)
        assert proxy.top() == 1
        with pytest.raises(AttributeError, match=name):
            proxy.__dict__["_core"].call(name, (), {})


def test_unknown_object_is_named() -> None:
    with running_daemon() as server:
        server.connect(Bench())
        with pytest.raises(gpyro.errors.UnknownObjectError, match="unknown object ID 'nobody'"):
            server.proxy(f"PYRO://127.0.0.1:{server.port}/nobody").echo()


def test_disconnected_object_is_unknown_from_then_on() -> None:
    with running_daemon() as server:
        bench = Bench()
        proxy = server.proxy(bench)
        proxy.echo()
        server.daemon.disconnect(bench)
        with pytest.raises(gpyro.errors.UnknownObjectError):
            proxy.echo()


@pytest.mark.parametrize("arguments", [(), (1, 2, 3), ("lead", True)])
def test_wrong_count_of_arguments_is_a_type_error(arguments: tuple[Any, ...]) -> None:
    with running_daemon() as server:
        proxy = server.proxy(Plumber())
        with pytest.raises(TypeError, match="plumb"):
            proxy.plumb(*arguments)


def test_argument_that_cannot_travel_is_refused_before_anything_is_sent() -> None:
    with running_daemon() as server:
        bench = Bench()
        proxy = server.proxy(bench)
        for value in (object(), lambda: None, threading.Lock(), {"deep": [object()]}, gpyro, Bench):
            with pytest.raises(gpyro.errors.SerializationError):
                proxy.note(value)
        assert bench.noted == []
        assert proxy.echo(1) == 1


def test_result_that_cannot_travel_is_an_error_at_the_caller() -> None:
    class Careless(Bench):
        def lock(self) -> Any:
            return [threading.Lock()]

    with running_daemon() as server:
        proxy = server.proxy(Careless())
        with pytest.raises(gpyro.errors.SerializationError, match="lock"):
            proxy.lock()
        assert proxy.echo(1) == 1


def test_result_whose_own_code_fails_while_it_is_packed_is_an_error_at_the_caller() -> None:
    class Exploding(dict):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            raise KeyboardInterrupt("while it was packed")

        items = keys = values = __iter__

    class Careless(Bench):
        def explode(self) -> Any:
            return [Exploding(a=1), {1: 2}]

    with running_daemon() as server:
        proxy = server.proxy(Careless())
        try:
            proxy.explode()
        except Exception:
            pass
        assert proxy.echo(1) == 1


@pytest.mark.parametrize(
    "text", ["", "nothing", "PYRO:", "PYRO://", "PYRO://host", "PYRO://host:99999/x", "PYRO://host:0/x",
             "PYRO://host:port/x", "HTTP://host:80/x", "PYRO://127.0.0.1:7766/", "PYRO://[::1/x", "PYRO://./u:/",
             "PYRONAME://", "PYROLOC://host"],
)  # fmt: skip
def test_broken_address_is_an_uri_error(text: str) -> None:
    with pytest.raises(gpyro.errors.URIError):
        gpyro.Proxy(text)


def test_target_that_is_too_long_is_refused_here() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Bench())
        with pytest.raises(gpyro.errors.LocalProtocolError, match="255"):
            getattr(proxy, "m" * 300)()
        assert proxy.echo(1) == 1


def test_nobody_at_the_port_is_a_protocol_error() -> None:
    with pytest.raises(gpyro.errors.ProtocolError, match="connection failed"):
        gpyro.Proxy(f"PYRO://127.0.0.1:{free_port()}/x").echo()


def test_unknown_host_is_a_protocol_error() -> None:
    with pytest.raises(gpyro.errors.ProtocolError, match=r"unknown host|resolver"):
        gpyro.Proxy("PYRO://no-such-host.invalid:7766/x").echo()


# -- daemons that cannot be ----------------------------------------------------------------------------------


def test_port_in_use_without_a_range_is_a_daemon_error() -> None:
    with running_daemon() as server:
        with pytest.raises(gpyro.errors.DaemonError, match=f"port {server.port} is in use"):
            gpyro.Daemon(host="127.0.0.1", port=server.port, norange=True)


def test_listening_beyond_this_machine_needs_to_be_asked_for() -> None:
    with pytest.raises(gpyro.errors.DaemonError, match="insecure_no_auth"):
        gpyro.Daemon(host="0.0.0.0", port=0, norange=True)


def test_unknown_host_to_listen_on_is_a_daemon_error() -> None:
    with pytest.raises(gpyro.errors.DaemonError, match="no-such-host"):
        gpyro.Daemon(host="no-such-host.invalid", port=0, norange=True)


def test_name_that_another_object_of_the_daemon_has_is_refused() -> None:
    with running_daemon() as server:
        first, second = Bench(), Bench()
        server.connect(first, name="bench")
        with pytest.raises(gpyro.errors.NamingError, match="name already exists"):
            server.connect(second, name="bench")
        assert server.proxy(f"PYROLOC://127.0.0.1:{server.port}/bench").echo(1) == 1
        assert second.getDaemon() is None


def test_location_that_nobody_has_is_a_naming_error() -> None:
    with running_daemon() as server:
        server.connect(Bench())
        with pytest.raises(gpyro.errors.NamingError, match="name not found"):
            server.proxy(f"PYROLOC://127.0.0.1:{server.port}/nobody").echo()


def test_reset_by_a_client_is_no_more_than_a_closed_connection() -> None:
    with serving_others() as (server, bench):
        with server.peer() as peer:
            peer.request(1, bench.GUID(), "echo")
            peer.sock.setsockopt(
                gevent.socket.SOL_SOCKET, gevent.socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        eventually(lambda: len(server.connections) == 1)
