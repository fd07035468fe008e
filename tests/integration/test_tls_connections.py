"""Calls over TLS; and peers that do not get as far as one."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import gpyro
from gpyro import hub
from gpyro.errors import ConnectionClosedError, ConnectionDeniedError
from tests.support.certificates import authority, standard_client
from tests.support.servers import SECONDS, Bench, Running, connection_of, eventually, running_daemon
from tests.support.tls_pair import Far, client_config, connect_plain, server_config


@contextmanager
def tls_daemon(tls: hub.TLSConfig | None = None, **items: Any) -> Iterator[Running]:
    """Serve a port that takes TLS only."""
    with running_daemon(protocol="PYROSSL", tls=tls or server_config(), **items) as running:
        yield running


def proxy_of(server: Running, obj: object, tls: hub.TLSConfig | None = None) -> Any:
    proxy = gpyro.Proxy(server.connect(obj), tls=tls or client_config())
    server._proxies.append(proxy)
    return proxy


@pytest.mark.smoke
@pytest.mark.parametrize("value", ["short", b"x" * 3_000_000, b"y" * 12_000_000, [("a", 1)] * 5000])
def test_calls_of_all_sizes_go_over_tls(value: Any) -> None:
    with tls_daemon() as server:
        bench = Bench()
        proxy = proxy_of(server, bench)
        for _ in range(2):
            assert proxy.echo(value) == value
        assert server.connections[0].stream.tls is not None


def test_caller_without_tls_hears_what_the_port_is_for(caplog: pytest.LogCaptureFixture) -> None:
    with tls_daemon() as server:
        bench = Bench()
        proxy = server.proxy(server.connect(bench).replace("PYROSSL", "PYRO"))
        with pytest.raises(ConnectionDeniedError, match=r"this port is for TLS; .* begins with PYROSSL://"):
            proxy.note(1)
        assert "it does not speak TLS; callers of this daemon need its PYROSSL:// address" in caplog.text
        assert bench.noted == []


@pytest.mark.parametrize(
    ("data", "answer"), [(b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "), (b"PYRO\x00\x05" + bytes(20), b"DENIED0")]
)
def test_stranger_on_a_tls_port_is_answered_in_its_language(data: bytes, answer: bytes) -> None:
    with tls_daemon() as server:
        raw = connect_plain(server.port)
        raw.sendall(data)
        raw.setblocking(True)
        hub.wait_for(hub.Signal(), [raw], SECONDS)
        assert raw.recv(100).startswith(answer)
        raw.close()


@pytest.mark.parametrize("data", [b"", b"\x16", b"\x16\x03\x01\x00\xff\x01\x00\x00\xfb"])
def test_caller_that_does_not_go_on_with_the_handshake_is_cut(data: bytes) -> None:
    with tls_daemon(handshake_timeout_seconds=1) as server:
        raw = connect_plain(server.port)
        raw.sendall(data)
        eventually(lambda: server.connections)
        eventually(lambda: not server.connections)
        raw.setblocking(True)
        assert raw.recv(10) == b""
        raw.close()


def test_caller_that_shakes_hands_and_says_no_more_is_cut() -> None:
    with tls_daemon(handshake_timeout_seconds=1) as server:
        far = Far(server.port, standard_client(authority().pem))
        far.do(far.tls.do_handshake)
        eventually(lambda: server.connections)
        eventually(lambda: not server.connections)
        assert far.do(lambda: far.tls.read(10)) == b""
        far.close()


def test_refused_certificate_reaches_the_caller_although_its_requests_are_under_way() -> None:
    config = server_config(client_certificates="required", ca=authority().pem)
    with tls_daemon(config) as server:
        bench = Bench()
        for _ in range(20):
            proxy = proxy_of(server, bench)
            with pytest.raises(ConnectionClosedError, match="it wants a certificate of us") as info:
                proxy.echo(b"x" * 100_000)
            assert not info.value.maybe_executed
            assert bench.entered == 0


def test_daemon_that_goes_down_says_goodbye_over_tls(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with tls_daemon() as server:
        bench = Bench()
        proxy = proxy_of(server, bench)
        assert proxy.echo(1) == 1
        connection = connection_of(proxy)
        server.daemon.shutdown()
        eventually(lambda: connection.closed_by is not None)
        assert "shut down" in str(connection.closed_by)
    assert caplog.text == ""


def test_garbage_behind_the_handshake_cuts_one_connection_only() -> None:
    with tls_daemon() as server:
        bench = Bench()
        proxy = proxy_of(server, bench)
        assert proxy.echo(1) == 1
        far = Far(server.port, standard_client(authority().pem))
        far.do(far.tls.do_handshake)
        far.sock.sendall(b"\x17\x03\x03\x00\x40" + bytes(64))
        with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
            far.do(lambda: far.tls.read(10))
        far.close()
        assert proxy.echo(2) == 2
