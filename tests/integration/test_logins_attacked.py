"""Logins with somebody on the way who changes and repeats, and with servers that only pretend."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import gevent
import gevent.event
import gevent.socket
import pytest

import gpyro
from gpyro.errors import (
    ConnectionClosedError,
    ProtocolError,
    RemoteProtocolError,
    TimeoutError,
)
from gpyro.wire.frames import HEADER, PREFACE, FrameType
from gpyro.wire.hello import Field, Greeting, Mechanism, build_fields
from tests.support.logins import KEY, Thing, denied, guarded_server, identified
from tests.support.servers import Running, eventually, fake_server, running_daemon


@pytest.fixture
def server() -> Iterator[Running]:
    with guarded_server() as running:
        yield running


# -- somebody on the way, or in the server's place -------------------------------------------------------------


class Relay:
    """Passes bytes between a client and a daemon; `change(to_server, data)` may alter them."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.change: Any = lambda to_server, data: data
        self.seen = {True: b"", False: b""}

    def __call__(self, sock: Any) -> None:
        # Connected by the system's own socket: gevent's asks its thread pool about the address.
        real = socket.create_connection(("127.0.0.1", self.port))
        with gevent.socket.socket(fileno=real.detach()) as other:
            pumps = [gevent.spawn(self._pump, sock, other, True), gevent.spawn(self._pump, other, sock, False)]
            try:
                gevent.joinall(pumps, count=1)
            finally:
                gevent.killall(pumps)

    def _pump(self, source: Any, target: Any, to_server: bool) -> None:
        try:
            while data := source.recv(65536):
                self.seen[to_server] += data
                target.sendall(self.change(to_server, data))
        except OSError:
            return


def through(relay: Relay, port: int, server: Running, thing: Any, ident: Any) -> Any:
    uri = str(server.connect(thing)).replace(f":{server.port}/", f":{port}/")
    proxy = server.proxy(uri)
    proxy._setIdentification(ident)
    return proxy


def test_neither_secret_nor_session_is_on_the_wire(server: Running) -> None:
    relay = Relay(server.port)
    with fake_server(relay) as port:
        proxy = through(relay, port, server, Thing(), "one")
        assert proxy.who()[0] == "passphrase:1"
        proxy._release()
    for said in relay.seen.values():
        assert b"one" not in said
        assert KEY.secret not in said


@pytest.mark.parametrize("to_server", [True, False])
def test_a_call_or_answer_that_is_changed_on_the_way_is_not_taken(server: Running, to_server: bool) -> None:
    relay, thing = Relay(server.port), Thing()
    with fake_server(relay) as port:
        proxy = through(relay, port, server, thing, KEY)
        assert proxy.echo("before") == "before"
        calls = thing.calls
        relay.change = lambda way, data: data.replace(b"abcd", b"abce") if way is to_server else data
        with pytest.raises(ConnectionClosedError):
            proxy.echo("abcd")
        assert thing.calls == calls + (not to_server)


@pytest.mark.parametrize("to_server", [True, False])
def test_a_call_or_answer_that_is_repeated_is_not_taken(server: Running, to_server: bool) -> None:
    relay, thing = Relay(server.port), Thing()
    with fake_server(relay) as port:
        proxy = through(relay, port, server, thing, KEY)
        proxy.echo("before")
        calls = thing.calls
        relay.change = lambda way, data: data + data if way is to_server else data
        try:
            proxy.echo("once")
        except ConnectionClosedError:
            pass
        eventually(lambda: not server.connections)
        assert thing.calls == calls + 1


def test_a_client_is_not_talked_out_of_its_login(server: Running) -> None:
    """Downgrade: the HELLO says "no login" when it arrives."""
    relay, thing = Relay(server.port), Thing()
    relay.change = lambda way, data: without_mechanism(data) if way else data
    with fake_server(relay) as port:
        denied(through(relay, port, server, thing, KEY))
        server.daemon.setAllowedIdentifications(None)
        assert "does not authenticate" in str(denied(through(relay, port, server, thing, KEY)))
    assert thing.calls == 0


def without_mechanism(data: bytes) -> bytes:
    at = len(PREFACE) + HEADER.size + 5
    return data[:at] + bytes([Mechanism.NONE]) + data[at + 1 :] if data.startswith(PREFACE) else data


def opening(kind: FrameType, body: bytes, preface: bytes = PREFACE) -> bytes:
    return preface + HEADER.pack(kind, 0, 0, 0, len(body), 0) + body


def challenge(**fields: bytes) -> bytes:
    named: dict[int, bytes] = {Field[name.upper()]: data for name, data in fields.items()}
    return opening(FrameType.CHALLENGE, Greeting(mechanism=Mechanism.GPYRO_AUTH_1, fields=named).build())


WELCOME = opening(FrameType.WELCOME, build_fields({Field.PROOF: bytes(32)}), b"")


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ([opening(FrameType.WELCOME, Greeting().build())], "does not authenticate"),
        ([opening(FrameType.WELCOME, build_fields({Field.PROOF: bytes(32)}))], "does not authenticate"),
        ([challenge(nonce=b"n" * 32), WELCOME], "could not prove"),
        ([challenge(nonce=b"n" * 31)], "nonce"),
        ([challenge(nonce=b"n" * 32, kdf=bytes((1, 30, 8, 1)), salt=bytes(16))], "is a key already"),
        ([challenge(nonce=b"n" * 32), opening(FrameType.DENY, b"\x03", b"")], "security reasons"),
        ([challenge(nonce=b"n" * 32), challenge(nonce=b"n" * 32)[len(PREFACE) :]], "CHALLENGE"),
        ([challenge(nonce=b"n" * 32), b""], "the peer closed it"),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "does not speak gpyro"),
        ([opening(FrameType.REPLY, b"\xc0")], "REPLY"),
    ],
)
def test_a_server_without_the_key_gets_no_call(says: list[bytes], error: str) -> None:
    heard = []

    def play(sock: Any) -> None:
        for words in says:
            heard.append(sock.recv(65536))
            sock.sendall(words)
        if says[-1]:
            heard.append(sock.recv(65536))

    with fake_server(play) as port:
        proxy = gpyro.Proxy(f"PYRO://127.0.0.1:{port}/thing")
        proxy._setIdentification(KEY)
        with pytest.raises((ProtocolError, RemoteProtocolError), match=error):
            proxy.buy("a secret call")
        assert not isinstance(connect_error(proxy), TimeoutError)
    assert not any(b"secret" in words or b"buy" in words for words in heard)


def connect_error(proxy: Any) -> BaseException | None:
    try:
        proxy.buy("a secret call")
    except ProtocolError as exc:
        return exc
    return None


@pytest.mark.parametrize("kdf", [bytes((1, 30, 8, 1)), bytes((1, 1, 8, 1)), bytes((2, 14, 8, 1)), b""])
def test_a_server_cannot_make_a_client_compute_for_ever_or_too_little(kdf: bytes) -> None:
    def play(sock: Any) -> None:
        sock.recv(65536)
        sock.sendall(challenge(nonce=b"n" * 32, kdf=kdf, salt=bytes(16)))
        sock.recv(65536)

    with fake_server(play) as port:
        proxy = gpyro.Proxy(f"PYRO://127.0.0.1:{port}/thing")
        proxy._setIdentification("s3cr3t")
        with pytest.raises(RemoteProtocolError, match="the server asks for"):
            proxy.buy()


def test_a_client_without_identification_does_not_answer_a_challenge() -> None:
    def play(sock: Any) -> None:
        sock.recv(65536)
        sock.sendall(challenge(nonce=b"n" * 32, kdf=bytes((1, 14, 8, 1)), salt=bytes(16)))
        assert sock.recv(65536) == b""

    with fake_server(play) as port:
        denied(gpyro.Proxy(f"PYRO://127.0.0.1:{port}/thing"))


@pytest.mark.parametrize("words", [[], [challenge(nonce=b"n" * 32)]])
def test_a_server_that_falls_silent_holds_nobody_up(words: list[bytes]) -> None:
    def play(sock: Any) -> None:
        for said in words:
            sock.recv(65536)
            sock.sendall(said)
        while sock.recv(65536):
            pass

    with fake_server(play) as port:
        settings = gpyro.config.snapshot(handshake_timeout_seconds=1)
        proxy = gpyro.Proxy(f"PYRO://127.0.0.1:{port}/thing", config=settings)
        proxy._setIdentification(KEY)
        with pytest.raises(TimeoutError, match="handshake_timeout_seconds"):
            proxy.buy()
        proxy._setTimeout(0.1)
        before = time.monotonic()
        with pytest.raises(TimeoutError) as info:
            proxy.buy()
        assert time.monotonic() - before < 0.9, "the call's own limit is nearer"
        assert not info.value.maybe_executed


def test_a_caller_that_falls_silent_in_its_login_is_let_go() -> None:
    with running_daemon(handshake_timeout_seconds=1) as server:
        server.daemon.setAllowedIdentifications([KEY])
        fields: dict[int, bytes] = {Field.IDENTITY: b"press-4", Field.NONCE: b"n" * 32}
        hello = opening(FrameType.HELLO, Greeting(mechanism=Mechanism.GPYRO_AUTH_1, fields=fields).build())
        with server.peer(greet=False) as peer:
            peer.send(hello)
            assert FrameType.CHALLENGE == peer.read_to_end()[len(PREFACE)]
        eventually(lambda: not server.connections)


def test_a_killed_caller_leaves_no_half_open_login_behind(server: Running) -> None:
    proxy = identified(server, Thing(), "one")
    jobs = [gevent.spawn(proxy.who) for _ in range(10)]
    gevent.sleep(0)
    gevent.killall(jobs)
    assert proxy.who()[0] == "passphrase:1"
    eventually(lambda: len(server.connections) == 1)
