"""TLS under a stream: what crosses, what is refused, and what each side hears about it."""

from __future__ import annotations

import _socket
import hashlib
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import gevent
import pytest

import gpyro
from gpyro import hub
from gpyro._hub import tlssocket
from gpyro._hub.tlssocket import PLAIN_BYTES, TlsSocket
from gpyro.errors import ProtocolError, TimeoutError
from tests.support.certificates import authority, standard_client
from tests.support.serving import SECONDS, wait_until
from tests.support.tls_pair import (
    End,
    Far,
    client_config,
    connect_gpyro,
    connect_plain,
    far_and_near,
    listen,
    server_config,
    shrink_buffers,
)

# -- what crosses --------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_bytes_go_both_ways_over_tls_1_3() -> None:
    with far_and_near() as call:
        server, sock = call(connect_gpyro())
        client = End(sock)
        client.stream.write(b"question")
        assert server.take(8) == b"question"
        server.stream.write(b"answer")
        assert client.take(6) == b"answer"
        assert sock.version() == server.sock.version() == "TLSv1.3"
        assert client.stream.tls is sock and not client.stream.reads_into
        client.stream.close()


@pytest.mark.parametrize("size", [1, PLAIN_BYTES - 1, PLAIN_BYTES, PLAIN_BYTES + 1, 1_000_000])
def test_a_lot_goes_both_ways_through_tiny_buffers(size: int) -> None:
    def connect(port: int) -> Any:
        sock = connect_gpyro()(port)
        shrink_buffers(sock)
        return sock

    with far_and_near(prepare=shrink_buffers) as call:
        server, sock = call(connect)
        client = End(sock)
        data = bytes(range(256)) * (size // 256) + bytes(size % 256)
        client.stream.write(data)
        client.stream.write_segments([b"behind it", memoryview(data)])
        server.take(1)
        server.stream.write_bulk(iter([[data[:100], memoryview(data)[100:]], [b"the end"]]))
        assert server.take(2 * size + 9) == data + b"behind it" + data
        assert client.take(size + 7) == data + b"the end"
        assert client.stream.is_flushed() and client.stream.out_bytes == 0
        client.stream.close()


def test_send_that_is_not_taken_whole_is_counted_once_when_its_rest_has_left() -> None:
    with far_and_near(prepare=shrink_buffers) as call:
        server, sock = call(connect_gpyro())
        shrink_buffers(sock)
        server.stream.write(b"shaken")
        sock_reads(sock, b"shaken")
        server.stream.stop_reading()
        data, sent = os.urandom(500_000), 0
        with pytest.raises(BlockingIOError):
            while True:
                sent += sock.send(memoryview(data)[sent:])
        assert sock.has_unsent()
        with pytest.raises(BlockingIOError):
            sock.sendmsg([memoryview(data)[sent:], b"more behind it"])
        server.stream.start_reading()

        def push_on() -> bool:
            nonlocal sent
            try:
                while sent < len(data):
                    rest = memoryview(data)[sent:]
                    sent += sock.sendmsg([rest[:70_000], rest[70_000:]])
            except BlockingIOError:
                return False
            return True

        wait_until(push_on)
        wait_until(lambda: not sock.has_unsent() or sock.push())
        assert server.take(len(data)) == data


def sock_reads(sock: TlsSocket, expected: bytes) -> None:
    got = b""

    def read() -> bool:
        nonlocal got
        try:
            got += sock.recv(100)
        except BlockingIOError:
            pass
        return len(got) >= len(expected)

    wait_until(read)
    assert got == expected


def test_rest_is_sent_by_a_thread_that_waits() -> None:
    with far_and_near(prepare=shrink_buffers) as call:
        server, sock = call(connect_gpyro())
        shrink_buffers(sock)
        client = End(sock)
        client.stream.write(b"first")
        server.take(5)
        data = os.urandom(700_000)
        client.stream.write_segments([data[:300_000], data[300_000:]])
        client.stream.flush()
        assert not client.stream.is_flushed()
        # The other end has to read meanwhile, in a thread with a hub of its own it cannot; so in the kernel's way.
        server.stream.stop_reading()
        fd = os.dup(server.sock.fileno())
        raw = socket.socket(fileno=fd)
        raw.setblocking(True)
        found = bytearray()

        def read_all() -> None:
            while piece := raw.recv(65536):
                found.extend(piece)

        hub.start_native_thread(read_all)
        client.stream.finish(SECONDS)
        client.stream.close()
        wait_until(lambda: raw.fileno() < 0 or len(found) > 700_000)
        server.sock._incoming.write(bytes(found))
        plain = bytearray()
        while len(plain) < len(data):
            plain += server.sock._decrypt() or b""
        assert bytes(plain) == data
        wait_until(lambda: server.sock._ended or server.sock._decrypt() == b"")
        raw.close()


def test_handshake_that_comes_byte_by_byte() -> None:
    context = standard_client(authority().pem)
    with far_and_near() as call:
        server, far = call(lambda port: Far(port, context))
        far.do(far.tls.do_handshake, piece_bytes=1)
        far.tls.write(b"slowly")
        far.push(piece_bytes=1)
        assert server.take(6) == b"slowly"
        server.stream.write(b"well")
        assert far.do(lambda: far.tls.read(100)) == b"well"


def test_one_read_returns_everything_that_can_be_decrypted() -> None:
    context = standard_client(authority().pem)
    with far_and_near() as call:
        server, far = call(lambda port: Far(port, context))
        far.do(far.tls.do_handshake)
        server.stream.stop_reading()
        for number in range(100):
            far.tls.write(b"%03d" % number)
        far.push()
        server.stream.start_reading()
        server.take(300)
        assert len(server.got) == 1


def test_nothing_is_left_inside_when_records_end_between_two_reads() -> None:
    context = standard_client(authority().pem)
    with far_and_near() as call:
        server, far = call(lambda port: Far(port, context))
        far.do(far.tls.do_handshake)
        for size in (1, 16 * 1024, 100, 16 * 1024 + 1, 70_000):
            before = server.count()
            far.tls.write(bytes(size))
            far.push(piece_bytes=997)
            assert len(server.take(before + size)) == before + size


def test_what_is_written_before_the_handshake_waits_for_it_and_is_bounded() -> None:
    context = standard_client(authority().pem)
    with far_and_near() as call:
        server, far = call(lambda port: Far(port, context))
        server.stream.write(b"goodbye ")
        server.stream.write_now(b"at once")
        server.stream.flush()
        assert server.stream.is_flushed() and server.stream._write_watcher is None
        far.do(far.tls.do_handshake)
        assert far.do(lambda: far.tls.read(100)) == b"goodbye at once"
        late, _ = call(connect_plain)
        late.stream.write(bytes(tlssocket.EARLY_BYTES + 1))
        assert "bytes were to be sent before the handshake has ended" in late.error()


def test_handshake_of_which_the_kernel_does_not_take_all_goes_on_when_it_does(tmp_path: Path) -> None:
    """A long chain of certificates and a tiny buffer: nothing is queued that would carry the rest along."""
    made = authority().make("", *[f"host-{number}.example.com" for number in range(3000)], "localhost")
    chain = tmp_path / "chain.pem"
    chain.touch(0o600)
    chain.write_bytes(made.both.read_bytes() + authority().pem.read_bytes())
    context = standard_client(authority().pem)
    with far_and_near(hub.TLSConfig(certificate=chain), prepare=shrink_buffers) as call:

        def connect(port: int) -> Far:
            far = Far(port, context)
            far.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            return far

        server, far = call(connect)
        with pytest.raises(ssl.SSLWantReadError):
            far.tls.do_handshake()
        far.push()
        wait_until(lambda: server.sock.has_unsent())
        far.do(far.tls.do_handshake)
        far.tls.write(b"done")
        far.push()
        assert server.take(4) == b"done"


# -- the end -------------------------------------------------------------------------------------------------


def test_close_says_goodbye_in_both_directions() -> None:
    with far_and_near() as call:
        server, sock = call(connect_gpyro())
        client = End(sock)
        client.stream.write(b"x")
        server.take(1)
        client.stream.close()
        wait_until(lambda: server.ended)
        assert server.errors == []
    with far_and_near() as call:
        server, sock = call(connect_gpyro())
        client = End(sock)
        client.stream.write(b"x")
        server.take(1)
        server.stream.close()
        wait_until(lambda: client.ended)
        assert client.errors == []


def test_goodbye_of_a_standard_client_ends_the_stream_although_it_keeps_the_socket_open() -> None:
    context = standard_client(authority().pem)
    with far_and_near() as call:
        server, far = call(lambda port: Far(port, context))
        far.do(far.tls.do_handshake)
        far.tls.write(b"last words")
        with pytest.raises(ssl.SSLWantReadError):
            far.tls.unwrap()
        far.push()
        assert server.take(10) == b"last words"
        wait_until(lambda: server.ended)
        far.do(far.tls.unwrap)


def test_close_gently_loses_nothing_and_drops_what_still_comes() -> None:
    context = standard_client(authority().pem)
    with far_and_near() as call:
        server, far = call(lambda port: Far(port, context))
        far.do(far.tls.do_handshake)
        far.tls.write(b"hello")
        far.push()
        server.take(5)
        server.stream.write(b"farewell")
        server.stream.close_gently(SECONDS)
        far.tls.write(b"too late")
        far.push()
        assert far.do(lambda: far.tls.read(100)) == b"farewell"
        assert far.do(lambda: far.tls.read(100)) == b""
        assert not server.stream.closed
        far.close()
        wait_until(lambda: server.stream.closed)
        assert (server.got, server.errors) == ([b"hello"], [])


def test_end_without_a_goodbye_is_told_from_one_with() -> None:
    context = standard_client(authority().pem)
    with far_and_near() as call:
        server, far = call(lambda port: Far(port, context))
        far.do(far.tls.do_handshake)
        far.tls.write(b"and then")
        far.push()
        server.take(8)
        far.close()
        assert "is gone without the goodbye of TLS" in server.error()
        assert isinstance(server.errors[0], ConnectionAbortedError)


def test_damaged_record_behind_good_data_is_told_after_the_data() -> None:
    context = standard_client(authority().pem)
    with far_and_near() as call:
        server, far = call(lambda port: Far(port, context))
        far.do(far.tls.do_handshake)
        far.tls.write(b"good")
        good = far.outgoing.read()
        far.sock.sendall(good + b"\x17\x03\x03\x00\x20" + bytes(32))
        assert server.take(4) == b"good"
        assert server.error().startswith("TLS with 127.0.0.1 port ")
        assert "decryption failed or bad record mac; what came may have been damaged" in server.error()
        with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
            far.do(lambda: far.tls.read(100))


def test_look_whether_the_port_is_open_is_no_failure() -> None:
    with far_and_near() as call:
        server, raw = call(connect_plain)
        raw.close()
        wait_until(lambda: server.ended)
        assert server.errors == []


def test_end_in_the_middle_of_the_handshake() -> None:
    context = standard_client(authority().pem)
    with far_and_near() as call:
        server, far = call(lambda port: Far(port, context))
        with pytest.raises(ssl.SSLWantReadError):
            far.tls.do_handshake()
        far.sock.sendall(far.outgoing.read()[:50])
        far.close()
        assert "it closed the connection before the handshake had ended" in server.error()


def test_forked_child_closes_without_a_goodbye() -> None:
    with far_and_near() as call:
        server, sock = call(connect_gpyro())
        client = End(sock)
        client.stream.write(b"before")
        server.take(6)
        pid = os.fork()
        if not pid:
            try:
                sock.close()
            finally:
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        client.stream.write(b", after")
        assert server.take(13) == b"before, after"
        client.stream.close()


# -- who is refused ------------------------------------------------------------------------------------------


def refused(
    config: hub.TLSConfig, server: hub.TLSConfig | None = None, host: str = "localhost"
) -> tuple[str, str]:
    """Connect where that must fail; returns what the client and what the server hears."""
    ends: list[End] = []
    with listen(lambda sock: ends.append(End(hub.accept_tls(sock, server or server_config())))) as port:
        with pytest.raises(ProtocolError) as caught:
            hub.connect(("tcp", host, port), SECONDS, tls=config)
        text = str(caught.value).replace(str(port), "PORT")
        assert text.startswith(f"connection failed: TLS with {host} port PORT failed: ")
        return text.partition(" failed: TLS")[2].partition(" failed: ")[2], ends[0].error()


def test_certificate_of_a_ca_that_the_caller_does_not_know_is_refused() -> None:
    mine, theirs = refused(client_config(ca=authority("stranger").pem))
    assert mine.startswith("certificate verify failed: ")
    assert mine.endswith("TLSConfig(ca=...) must name the CA that signed it")
    assert theirs.endswith("it does not know the CA that signed our certificate; its ca= must name that CA")


def test_certificate_that_has_expired_is_refused() -> None:
    made = authority().make("old", "localhost", first_day=-10, last_day=-5)
    mine, theirs = refused(client_config(), hub.TLSConfig(certificate=made.both))
    assert mine == "certificate verify failed: certificate has expired; its owner needs a new one"
    assert theirs.endswith("our certificate has expired; make a new one (`gpyro certs` does for a first try)")


def test_certificate_that_is_not_valid_yet_is_refused() -> None:
    made = authority().make("new", "localhost", first_day=5)
    mine, _ = refused(client_config(), hub.TLSConfig(certificate=made.both))
    assert mine == "certificate verify failed: certificate is not yet valid; look at the clocks of both machines"


@pytest.mark.parametrize(("host", "what"), [("localhost", "Hostname"), ("127.0.0.1", "IP address")])
def test_certificate_for_another_host_is_refused_with_the_name(host: str, what: str) -> None:
    made = authority().make("other", "plant.example.com", "10.0.0.7")
    mine, _ = refused(client_config(), hub.TLSConfig(certificate=made.both), host)
    assert mine.startswith(f"certificate verify failed: {what} mismatch, certificate is not valid for '{host}'")
    assert "TLSConfig(server_hostname=...)" in mine


@pytest.mark.parametrize("changes", [{"server_hostname": "plant.example.com"}, {"check_hostname": False}])
def test_name_that_is_looked_for_may_be_another_or_none(changes: dict[str, Any]) -> None:
    made = authority().make("other", "plant.example.com")
    with far_and_near(hub.TLSConfig(certificate=made.both)) as call:
        _, sock = call(connect_gpyro(client_config(**changes)))
        assert sock.peer_name() == "other"
        _, sock = call(
            lambda port: hub.connect(
                ("tcp", "127.0.0.1", port), SECONDS, tls=client_config(), server_hostname="plant.example.com."
            )
        )
        assert sock.peer_name() == "other"


def test_callers_certificate_shown_by_a_daemon_is_refused() -> None:
    made = authority().make("alice", "localhost", server=False, client=True)
    mine, _ = refused(client_config(), hub.TLSConfig(certificate=made.both))
    assert mine == "certificate verify failed: unsuitable certificate purpose; the daemon needs another one"


def test_pins_let_in_one_certificate_and_no_other() -> None:
    made, other = authority().make("one", "localhost"), authority().make("two", "localhost")
    pin = ":".join(made.fingerprint.upper()[at : at + 2] for at in range(0, 64, 2))
    config = client_config(pins=[pin])
    with far_and_near(hub.TLSConfig(certificate=made.both)) as call:
        call(connect_gpyro(config))
    ends: list[End] = []
    theirs = hub.TLSConfig(certificate=other.both)
    with listen(lambda sock: ends.append(End(hub.accept_tls(sock, theirs)))) as port:
        with pytest.raises(ProtocolError, match=f"{other.fingerprint}, which is not one of the 1 pins"):
            hub.connect(("tcp", "localhost", port), SECONDS, tls=config)
        ends[0].stream.close()


def caller(name: str = "alice", **more: Any) -> hub.TLSConfig:
    made = authority().make(name, server=False, client=True, **more)
    return client_config(certificate=made.pem, key=made.key)


@pytest.mark.parametrize("asked", ["optional", "required"])
def test_caller_is_known_by_the_certificate_it_shows(asked: str) -> None:
    config = server_config(client_certificates=asked, ca=authority().pem)
    with far_and_near(config) as call:
        server, sock = call(connect_gpyro(caller()))
        End(sock).stream.write(b"x")
        server.take(1)
        assert server.sock.peer_name() == "alice"
        certificate = server.sock.peer_certificate()
        assert certificate is not None and certificate["subject"] == ((("commonName", "alice"),),)
        server, sock = call(connect_gpyro(caller("", uri="urn:plant:bob")))
        End(sock).stream.write(b"x")
        server.take(1)
        assert server.sock.peer_name() == "urn:plant:bob"


@pytest.mark.parametrize("asked", ["no", "optional"])
def test_caller_without_a_certificate_has_no_name(asked: str) -> None:
    config = server_config(client_certificates=asked, ca=authority().pem)
    with far_and_near(config) as call:
        server, sock = call(connect_gpyro())
        End(sock).stream.write(b"x")
        server.take(1)
        assert server.sock.peer_name() is None and server.sock.peer_certificate() is None


def refused_by_daemon(server: hub.TLSConfig, client: hub.TLSConfig) -> tuple[str, str]:
    """Connect where the daemon does not accept our certificate: TLS 1.3 tells that after the handshake."""
    with far_and_near(server) as call:
        far, sock = call(connect_gpyro(client))
        near = End(sock)
        near.stream.write(b"early " * 5)
        return near.error(), far.error()


def test_caller_without_the_required_certificate_hears_so() -> None:
    config = server_config(client_certificates="required", ca=authority().pem)
    mine, theirs = refused_by_daemon(config, client_config())
    assert mine.endswith("it wants a certificate of us; name one with TLSConfig(certificate=..., key=...)")
    assert "it showed no certificate, and client_certificates is 'required' here" in theirs


@pytest.mark.parametrize("asked", ["optional", "required"])
def test_callers_certificate_of_an_unknown_ca_is_refused(asked: str) -> None:
    made = authority("stranger").make("mallory", server=False, client=True)
    config = server_config(client_certificates=asked, ca=authority().pem)
    mine, theirs = refused_by_daemon(config, client_config(certificate=made.both))
    assert mine.endswith("it does not know the CA that signed our certificate; its ca= must name that CA")
    assert "certificate verify failed: " in theirs and theirs.endswith("must name the CA that signed it")


def test_callers_certificate_that_is_not_pinned_is_refused_by_the_daemon() -> None:
    config = server_config(client_certificates="required", ca=authority().pem, pins=["0" * 64])
    with far_and_near(config) as call:
        server, sock = call(connect_gpyro(caller()))
        near = End(sock)
        assert "which is not one of the 1 pins; add it if it is right" in server.error()
        wait_until(lambda: near.ended or near.errors)
        assert server.got == []


def test_tls_1_2_is_refused() -> None:
    context = standard_client(authority().pem, ssl.TLSVersion.TLSv1_2)
    with far_and_near() as call:
        server, far = call(lambda port: Far(port, context))
        with pytest.raises(ssl.SSLError, match=r"(?i)alert.protocol.version"):
            far.do(far.tls.do_handshake)
        assert "it does not take TLS 1.3, all that gpyro speaks" in server.error()


# -- who does not speak TLS ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"PYRO\x06\x00" + bytes(30), b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"\xff" * 64, b"SSH-2.0-x\r\n"]
)
def test_what_is_no_tls_is_refused(data: bytes) -> None:
    with far_and_near() as call:
        server, raw = call(connect_plain)
        raw.sendall(data)
        assert server.error().endswith("it does not speak TLS; callers of this daemon need its PYROSSL:// address")
        assert server.sock.first_bytes() == data[:16]


def test_caller_with_tls_of_a_gpyro_port_without_is_told() -> None:
    with gpyro.Daemon(port=0, norange=True) as daemon:
        loop = gevent.spawn(daemon.requestLoop)
        try:
            with pytest.raises(ProtocolError, match="it does not take TLS there; a daemon without"):
                hub.connect(("tcp", "127.0.0.1", daemon.port), SECONDS, tls=client_config())
        finally:
            daemon.shutdown(True)
            loop.get(timeout=SECONDS)


def test_caller_with_tls_of_something_else_is_told() -> None:
    def accept(sock: Any) -> None:
        sock.send(b"220 welcome to my mail server\r\n")
        kept.append(sock)

    kept: list[Any] = []
    with listen(accept) as port:
        with pytest.raises(ProtocolError, match="it does not take TLS there"):
            hub.connect(("tcp", "127.0.0.1", port), SECONDS, tls=client_config())
        kept[0].close()


def test_caller_of_a_silent_port_gives_up_in_time() -> None:
    kept: list[Any] = []
    with listen(kept.append) as port:
        with pytest.raises(TimeoutError, match=r"did not end within 0\.05 s .* does that port speak TLS"):
            hub.connect(("tcp", "127.0.0.1", port), 0.05, tls=client_config())
        # It has closed its socket.
        wait_until(lambda: kept)
        kept[0].setblocking(True)
        while kept[0].recv(65536):
            pass
        kept[0].close()


def test_caller_of_a_port_that_closes_is_told() -> None:
    with listen(lambda sock: sock.close()) as port:
        with pytest.raises(ProtocolError, match=f"TLS with localhost port {port} failed: "):
            hub.connect(("tcp", "localhost", port), SECONDS, tls=client_config())


def test_unix_sockets_take_no_tls(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="takes no TLS"):
        hub.connect(("unix", str(tmp_path / "sock")), 1, tls=client_config())


# -- what both sides know ------------------------------------------------------------------------------------


def test_binding_is_the_digest_of_the_servers_certificate_on_both_sides(tmp_path: Path) -> None:
    made = authority().make("bound", "localhost")
    chain = tmp_path / "chain.pem"
    chain.touch(0o600)
    chain.write_bytes(made.private_key_pem() + made.pem.read_bytes() + authority().pem.read_bytes())
    with far_and_near(hub.TLSConfig(certificate=chain)) as call:
        server, sock = call(connect_gpyro())
        End(sock).stream.write(b"x")
        server.take(1)
        assert server.sock.binding() == sock.binding() == hashlib.sha256(made.der).digest()


def test_there_is_no_binding_before_the_handshake() -> None:
    with far_and_near() as call:
        server, _ = call(connect_plain)
        with pytest.raises(ProtocolError, match="has no binding yet"):
            server.sock.binding()
        assert server.sock.peer_certificate() is None
        assert server.sock.version() is None and server.sock.cipher() is None


def test_repr_of_a_socket_tells_its_state() -> None:
    with far_and_near() as call:
        server, sock = call(connect_gpyro())
        assert repr(server.sock).startswith("<TlsSocket shaking hands with 127.0.0.1 port ")
        assert repr(sock) == f"<TlsSocket TLSv1.3 with localhost port {sock.getpeername()[1]} (a daemon)>"
        client = End(sock)
        client.stream.write(b"x")
        server.take(1)
        assert repr(server.sock) == f"<TlsSocket TLSv1.3 with 127.0.0.1 port {sock.getsockname()[1]}>"
        client.stream.close()
        assert repr(sock).startswith("<TlsSocket closed, ")
    ours, theirs = _socket.socketpair()
    ours.setblocking(False)
    theirs.send(b"no TLS at all")
    failed = hub.accept_tls(ours, server_config())
    for _ in range(2):
        with pytest.raises(hub.TlsError, match="it does not speak TLS"):
            failed.recv(100)
    with pytest.raises(hub.TlsError, match="it does not speak TLS"):
        failed.send(b"x")
    assert repr(failed) == "<TlsSocket failed, unix socket>"
    failed.close()
    theirs.close()


def test_socket_shows_the_addresses_and_options_of_the_one_below() -> None:
    with far_and_near() as call:
        server, sock = call(connect_gpyro())
        assert sock.getpeername() == server.sock.getsockname()
        assert sock.family == _socket.AF_INET and sock.fileno() >= 0
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.cipher()[1] == "TLSv1.3"
        assert End(sock).stream.is_local()
