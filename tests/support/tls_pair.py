"""Two ends of a TLS connection over loopback, and the plain sockets that misbehave at one of them."""

from __future__ import annotations

import _socket
import select
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent

from gpyro import hub
from gpyro._hub.stream import Stream
from gpyro._hub.tlssocket import TlsSocket
from tests.support.certificates import authority
from tests.support.serving import SECONDS, wait_until

__all__ = [
    "End", "Far", "client_config", "connect_gpyro", "connect_plain", "far_and_near", "listen", "server_config",
    "shrink_buffers",
]  # fmt: skip


def server_config(**changes: Any) -> hub.TLSConfig:
    """Return the config of a daemon that is called by localhost and 127.0.0.1."""
    made = authority().make("a daemon", "localhost", "127.0.0.1")
    return hub.TLSConfig(**{"certificate": made.pem, "key": made.key, **changes})


def client_config(**changes: Any) -> hub.TLSConfig:
    """Return the config of a caller that knows the CA."""
    return hub.TLSConfig(**{"ca": authority().pem, **changes})


@contextmanager
def listen(on_accept: Callable[[Any], object]) -> Iterator[int]:
    """Accept in this thread's hub; yields the port."""
    sock = hub.listen_tcp("127.0.0.1", 0, 1, 16, True)
    listener = hub.Listener(sock, hub.current_state(), on_accept)
    try:
        yield sock.getsockname()[1]
    finally:
        listener.close()


class End:
    """A stream that notes what happens to it."""

    def __init__(self, sock: TlsSocket, soft_bytes: int = 1 << 20) -> None:
        self.sock = sock
        self.stream = Stream(sock, hub.current_state(), soft_bytes)
        self.got: list[bytes] = []
        self.errors: list[OSError] = []
        self.ended = False
        self.stream.on_readable = self._read
        self.stream.on_error = self._failed
        self.stream.start_reading()

    def _read(self) -> None:
        try:
            data = self.stream.read()
        except OSError as exc:
            self._failed(exc)
            return
        if data:
            self.got.append(data)
        elif data is not None:
            self.ended = True
            self.stream.close()

    def _failed(self, exc: OSError) -> None:
        self.errors.append(exc)
        self.stream.close_gently(1)

    def count(self) -> int:
        return sum(map(len, self.got))

    def take(self, count: int) -> bytes:
        """Wait until this many bytes have come."""
        wait_until(lambda: self.errors or self.ended or self.count() >= count)
        return b"".join(self.got)

    def error(self) -> str:
        """Wait until it fails; returns why."""
        wait_until(lambda: self.errors)
        return str(self.errors[0].strerror or self.errors[0])


@contextmanager
def far_and_near(
    config: hub.TLSConfig | None = None, prepare: Callable[[Any], object] = lambda sock: None
) -> Iterator[Callable[[Callable[[int], Any]], tuple[End, Any]]]:
    """Serve TLS; the block gets a function that lets a caller connect and returns both ends.

    Args:
        prepare: is called with the accepted socket before TLS is put on it.
    """
    ends: list[End] = []
    others: list[Any] = []
    config = config or server_config()

    def accept(sock: Any) -> None:
        prepare(sock)
        ends.append(End(hub.accept_tls(sock, config)))

    def call(connect: Callable[[int], Any]) -> tuple[End, Any]:
        before = len(ends)
        other = connect(port)
        others.append(other)
        wait_until(lambda: len(ends) > before)
        return ends[-1], other

    with listen(accept) as port:
        try:
            yield call
        finally:
            for end in ends:
                end.stream.close()
            for other in others:
                other.close()


def connect_gpyro(config: hub.TLSConfig | None = None, host: str = "localhost") -> Callable[[int], Any]:
    """Return how our own client connects."""
    return lambda port: hub.connect(("tcp", host, port), SECONDS, tls=config or client_config())


def connect_plain(port: int) -> Any:
    """Connect without TLS."""
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    sock.connect(("127.0.0.1", port))
    sock.setblocking(False)
    return sock


class Far:
    """A client of the standard library's ssl, moved byte by byte if need be."""

    def __init__(self, port: int, context: ssl.SSLContext, name: str | None = "localhost") -> None:
        self.sock = connect_plain(port)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        self.ended = False

    def close(self) -> None:
        self.sock.close()

    def push(self, piece_bytes: int = 1 << 20) -> None:
        """Send what TLS has ready, the hub running after each piece."""
        data = self.outgoing.read()
        for at in range(0, len(data), piece_bytes):
            self.sock.sendall(data[at : at + piece_bytes])
            gevent.sleep(0)

    def pull(self) -> None:
        """Wait for bytes and hand them to TLS."""
        wait_until(lambda: select.select([self.sock], [], [], 0)[0])
        data = self.sock.recv(65536)
        if data:
            self.incoming.write(data)
        else:
            self.ended = True
            self.incoming.write_eof()

    def do(self, action: Callable[[], Any], piece_bytes: int = 1 << 20) -> Any:
        """Repeat an action of TLS until it does not want more."""
        while True:
            try:
                result = action()
            except ssl.SSLWantReadError:
                self.push(piece_bytes)
                self.pull()
                continue
            except ssl.SSLError:
                self.push()
                raise
            self.push(piece_bytes)
            return result


def shrink_buffers(sock: Any) -> None:
    """Let the kernel take as little as it can; a smaller buffer to receive makes loopback crawl."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
