"""A socket with TLS on it, as a Stream uses one: it never waits, and nothing stays inside unseen.

OpenSSL works on two buffers in memory; the raw socket carries what is in them. The rules:

    recv    one raw read, then everything that can be decrypted now is returned. Whatever is left inside is an
            incomplete record, and the descriptor becomes readable when more of it comes. So it may return up to
            one record (16 KiB) more than was asked for.
    send    at most PLAIN_BYTES are encrypted, and leave. Where the kernel does not take them all, the rest is kept
            with the count of bytes it stands for, and BlockingIOError raised. The caller offers the same bytes
            again, possibly with more behind them; when the rest has left, the count is returned.
    before the handshake has ended, what is sent waits inside, up to EARLY_BYTES.
    after our goodbye (shutdown) what still comes is read and dropped.

The handshake of a server is driven by recv, that of a client by `connect_tls` in the caller's greenlet.
"""

from __future__ import annotations

import _socket
import errno
import hashlib
import time
from collections.abc import Sequence
from typing import Any

from gevent import ssl

from gpyro._hub.sockets import wait_ready
from gpyro._hub.state import fork_epoch
from gpyro._hub.tls import TLSConfig, TlsError
from gpyro._hub.tlsfaults import explain
from gpyro.errors import ConfigurationError, ProtocolError, TimeoutError

__all__ = ["TlsSocket", "connect_tls"]

#: Encrypted at once: four records, about what a socket's buffer takes.
PLAIN_BYTES = 64 * 1024
#: The largest record of TLS.
RECORD_BYTES = 16 * 1024
#: What may wait for the handshake to end; before a login only greetings do.
EARLY_BYTES = 64 * 1024
#: A handshake's and its alerts' bytes that the peer does not take; a long chain of certificates is 20 KiB.
MAX_UNSENT_BYTES = 256 * 1024
#: Enough to tell who is calling.
HEAD_BYTES = 16
READ_BYTES = 64 * 1024
READABLE, WRITABLE = 1, 2


class TlsSocket:
    """TLS 1.3 on a connected, non-blocking socket.

    Resources: closing it closes the socket. Errors: what TLS finds wrong is raised as TlsError.
    """

    __slots__ = (
        "_config", "_done", "_early", "_ended", "_epoch", "_failure", "_half_closed", "_head", "_incoming",
        "_outgoing", "_promised", "_raw", "_server_side", "_tls", "_unsent", "_where",
    )  # fmt: skip

    #: How a Stream knows it.
    is_tls = True

    def __init__(
        self, raw: Any, config: TLSConfig, *,
        server_side: bool, where: str = "", server_hostname: str | None = None,
    ) -> None:  # fmt: skip
        context = config.server_context() if server_side else config.client_context()
        self._raw = raw
        self._config = config
        self._server_side = server_side
        self._where = where or _peer_text(raw)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side, server_hostname)
        self._done = False
        #: The first bytes that came, which tell a caller without TLS from one with.
        self._head = b""
        self._early = bytearray()
        #: Encrypted and not yet taken by the kernel, and for how much plain text that stands.
        self._unsent: bytes | memoryview = b""
        self._promised = 0
        #: The peer has said goodbye, or TLS has failed, behind data that was returned first.
        self._ended = False
        self._failure = ""
        self._half_closed = False
        self._epoch = fork_epoch()

    def __repr__(self) -> str:
        if self._raw.fileno() < 0:
            return f"<TlsSocket closed, {self._where}>"
        if self._failure:
            return f"<TlsSocket failed, {self._where}>"
        if not self._done:
            return f"<TlsSocket shaking hands with {self._where}>"
        name = self.peer_name()
        return f"<TlsSocket {self.version()} with {self._where}{f' ({name})' if name else ''}>"

    # -- receiving -------------------------------------------------------------------------------------------

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return what can be decrypted after one read of the socket, b"" when the peer has said goodbye.

        With flags it looks at the socket only, at bytes that may still be encrypted.

        Raises:
            BlockingIOError: there is nothing now. TlsError: see its text.
            ConnectionAbortedError: the peer is gone without a goodbye.
        """
        if flags:
            return self._raw.recv(size, flags)  # type: ignore[no-any-return]
        while True:
            data = self._receive(size)
            if data is not None:
                return data
            if self._raw.gettimeout() == 0:
                raise BlockingIOError(errno.EAGAIN, "nothing to read now")

    def _receive(self, size: int) -> bytes | None:
        if self._half_closed:
            return None if self._raw.recv(size) else b""
        if self._failure:
            raise TlsError(self._failure)
        if self._ended:
            return b""
        data = self._raw.recv(size)
        if not data:
            return self._at_end()
        self._incoming.write(data)
        if not self._done:
            if len(self._head) < HEAD_BYTES:
                self._head += data[:HEAD_BYTES]
            if not self._shake():
                return None
        return self._decrypt()

    def _decrypt(self) -> bytes | None:
        pieces: list[bytes] = []
        tls, incoming = self._tls, self._incoming
        try:
            while True:
                piece = tls.read(RECORD_BYTES)
                if not piece:
                    self._ended = True
                    break
                pieces.append(piece)
                if not incoming.pending and not tls.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as exc:
            failure = self._fail(exc)
            if not pieces:
                raise failure from exc
        if (self._ended or self._failure) and pieces:
            self._stay_readable()
        if pieces:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return b"" if self._ended else None

    def _stay_readable(self) -> None:
        """Let the descriptor be readable for good: the end is known here, and somebody has to come and hear it."""
        try:
            self._raw.shutdown(_socket.SHUT_RD)
        except OSError:
            pass  # It is gone, which is readable too.

    def _at_end(self) -> bytes:
        if self._done:
            raise ConnectionAbortedError(
                errno.ECONNABORTED,
                f"{self._where} is gone without the goodbye of TLS: it has crashed, or the connection was cut",
            )
        if not self._head and self._server_side:
            return b""  # Somebody has looked whether the port is open.
        self._failure = (
            f"TLS with {self._where} failed: it closed the connection before the handshake had ended; "
            "look at its log"
        )
        raise TlsError(self._failure)

    # -- the handshake ---------------------------------------------------------------------------------------

    def _shake(self) -> bool:
        """Go on with the handshake as far as what was read lets us; True when it has ended."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._push()
            return False
        except ssl.SSLError as exc:
            raise self._fail(exc) from exc
        self._push()
        self._check_pins()
        self._done = True
        if self._early:
            early, self._early = self._early, bytearray()
            self._encrypt(early)
            self._push()
        return True

    def _check_pins(self) -> None:
        pins = self._config.pins
        der = self._tls.getpeercert(True)
        if not pins or (der is None and self._server_side):
            return
        found = hashlib.sha256(der or b"").hexdigest()
        if found not in pins:
            self._failure = (
                f"TLS with {self._where} failed: its certificate has the fingerprint {found}, "
                f"which is not one of the {len(pins)} pins; add it if it is right"
            )
            raise TlsError(self._failure)

    def shake_hands(self, deadline: float) -> bool:
        """Do the handshake of a client, waiting in the calling greenlet; False when the time is over.

        Raises:
            OSError: it failed.
        """
        self._shake()
        while not self._done:
            events = READABLE | WRITABLE if self.has_unsent() else READABLE
            left = deadline - time.monotonic()
            if left <= 0 or not wait_ready(self._raw, events, left):
                return False
            self._push()
            try:
                data = self._raw.recv(READ_BYTES)
            except (BlockingIOError, InterruptedError):
                continue
            if not data:
                self._at_end()
            self._incoming.write(data)
            self._shake()
        return True

    def _fail(self, exc: Any) -> TlsError:
        """Note why it ended, and let the peer hear it too."""
        self._failure = (
            f"TLS with {self._where} failed: {explain(exc, self._server_side, shaking_hands=not self._done)}"
        )
        try:
            self._push()
        except OSError:
            pass  # It is gone already.
        return TlsError(self._failure)

    def first_bytes(self) -> bytes:
        """Return what the peer began with, where that was no TLS; else b""."""
        is_tls = self._head[:1] == b"\x16" and self._head[1:2] in (b"", b"\x03")
        return b"" if self._done or is_tls else self._head

    def send_plain(self, data: bytes) -> None:
        """Tell a caller that does not speak TLS something, if that is possible at once."""
        if not self._done:
            try:
                self._raw.send(data)
            except OSError:
                pass  # It is gone, or it does not listen; it gets no second chance.

    # -- sending ---------------------------------------------------------------------------------------------

    def send(self, data: Any) -> int:
        """Encrypt and send the beginning of `data`; returns how many of its bytes have left.

        Raises:
            BlockingIOError: they have not left yet; offer them again.
        """
        if self._failure:
            raise TlsError(self._failure)
        if not self._done:
            return self._keep_early(data)
        if not self._push():
            raise BlockingIOError(errno.EAGAIN, "the socket takes no more now")
        if self._promised:
            count, self._promised = self._promised, 0
            return count
        count = self._encrypt(data if len(data) <= PLAIN_BYTES else memoryview(data)[:PLAIN_BYTES])
        if self._push():
            return count
        self._promised = count
        raise BlockingIOError(errno.EAGAIN, "the socket takes no more now")

    def sendmsg(self, pieces: Sequence[Any]) -> int:
        """Like `send`, for several pieces."""
        if self._promised:
            return self.send(b"")
        front, room = [], PLAIN_BYTES
        for piece in pieces:
            front.append(piece if len(piece) <= room else memoryview(piece)[:room])
            room -= len(front[-1])
            if not room:
                break
        return self.send(b"".join(front))

    def sendall(self, data: Any) -> None:
        """Send all of it, with the thread waiting as long as `settimeout` lets it.

        What was offered before is not sent twice: `data` begins where the last `send` left off.
        """
        if self._failure or not self._done:
            raise TlsError(self._failure or f"TLS with {self._where} failed: the handshake has not ended")
        self._raw.sendall(self._unsent)
        self._unsent = b""
        skipped = min(self._promised, len(data))
        self._promised -= skipped
        view = memoryview(data)[skipped:]
        while view:
            view = view[self._encrypt(view[:PLAIN_BYTES]) :]
            self._raw.sendall(self._outgoing.read())

    def has_unsent(self) -> bool:
        """Tell whether bytes of the handshake or of what was offered wait for the socket to take them."""
        return bool(self._unsent) or bool(self._outgoing.pending)

    def push(self) -> bool:
        """Send what waits; False when the socket does not take it all."""
        return self._push()

    def _keep_early(self, data: Any) -> int:
        if len(self._early) + len(data) > EARLY_BYTES:
            raise TlsError(
                f"TLS with {self._where} failed: more than {EARLY_BYTES} bytes were to be sent before the "
                "handshake has ended; wait for the peer's greeting first"
            )
        self._early += data
        return len(data)

    def _encrypt(self, data: Any) -> int:
        try:
            return self._tls.write(data)  # type: ignore[no-any-return]
        except ssl.SSLError as exc:
            raise self._fail(exc) from exc

    def _push(self) -> bool:
        if self._outgoing.pending:
            fresh = self._outgoing.read()
            self._unsent = b"".join((self._unsent, fresh)) if self._unsent else fresh
            if len(self._unsent) > MAX_UNSENT_BYTES:
                raise TlsError(f"TLS with {self._where} failed: it does not take what TLS itself has to say")
        if not self._unsent:
            return True
        try:
            sent = self._raw.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            return False
        self._unsent = memoryview(self._unsent)[sent:] if sent < len(self._unsent) else b""
        return not self._unsent

    # -- the end ---------------------------------------------------------------------------------------------

    def shutdown(self, how: int) -> None:
        """Say goodbye and end our direction; what still comes is dropped."""
        if how != _socket.SHUT_RD:
            self._say_goodbye()
            self._half_closed = True
        self._raw.shutdown(how)

    def close(self) -> None:
        """Say goodbye if that is possible at once, and close the socket."""
        # A forked child shares the connection and must not end it for its parent.
        if not self._half_closed and self._raw.fileno() >= 0 and self._epoch == fork_epoch():
            self._say_goodbye()
        self._raw.close()

    def _say_goodbye(self) -> None:
        try:
            if self._done and not self._failure:
                self._tls.unwrap()
        except (ssl.SSLError, ValueError):
            pass  # It has said goodbye and does not wait for the peer's.
        try:
            self._push()
        except OSError:
            pass  # It is gone already.

    # -- who is there ----------------------------------------------------------------------------------------

    def binding(self) -> bytes:
        """Return what both ends of this connection, and nobody in between, agree on: the SHA-256 of the
        server's certificate.

        Raises:
            ProtocolError: the handshake has not ended.

        Source: RFC 5929, tls-server-end-point.
        """
        if not self._done:
            raise ProtocolError(f"TLS with {self._where} has no binding yet: the handshake has not ended")
        der = self._config.certificate_der() if self._server_side else self._tls.getpeercert(True)
        return hashlib.sha256(der).digest()

    def peer_certificate(self) -> dict[str, Any] | None:
        """Return the fields of the certificate that the peer has shown, None where it has shown none."""
        return (self._tls.getpeercert() or None) if self._done else None

    def peer_name(self) -> str | None:
        """Return who the peer's certificate is for: its common name, else its first URI or DNS name."""
        certificate = self.peer_certificate()
        return None if certificate is None else _name_in(certificate)

    def version(self) -> str | None:
        """Return "TLSv1.3", None before the handshake."""
        return self._tls.version()  # type: ignore[no-any-return]

    def cipher(self) -> tuple[str, str, int] | None:
        """Return the cipher's name, the protocol and the bits of its key, None before the handshake."""
        return self._tls.cipher()  # type: ignore[no-any-return]

    # -- the socket ------------------------------------------------------------------------------------------

    @property
    def family(self) -> int:
        """The family of the socket's address."""
        return self._raw.family  # type: ignore[no-any-return]

    def fileno(self) -> int:
        """Return the descriptor, -1 after close."""
        return self._raw.fileno()  # type: ignore[no-any-return]

    def getpeername(self) -> Any:
        """Return the peer's address."""
        return self._raw.getpeername()

    def getsockname(self) -> Any:
        """Return our own address."""
        return self._raw.getsockname()

    def getsockopt(self, *args: int) -> Any:
        """Return an option of the socket."""
        return self._raw.getsockopt(*args)

    def setsockopt(self, *args: Any) -> None:
        """Set an option of the socket."""
        self._raw.setsockopt(*args)

    def gettimeout(self) -> float | None:
        """Return for how many seconds it waits; 0 is never."""
        return self._raw.gettimeout()  # type: ignore[no-any-return]

    def settimeout(self, seconds: float | None) -> None:
        """Let it wait for so many seconds, with the whole thread."""
        self._raw.settimeout(seconds)


def connect_tls(
    raw: Any, config: TLSConfig, where: str, host: str, deadline: float, timeout_seconds: float
) -> TlsSocket:
    """Do a client's handshake on a connected socket, which is closed if that fails.

    Args:
        where: the peer, for people.
        host: the name that its certificate must be for.
        deadline: by `time.monotonic`; `timeout_seconds` is what it was made of.

    Raises:
        TimeoutError: the time is over. ProtocolError: it failed.
    """
    try:
        sock = _wrap(raw, config, where, host)
        if not sock.shake_hands(deadline):
            raise TimeoutError(
                f"connection failed: TLS with {where} failed: the handshake did not end within "
                f"{timeout_seconds:g} s (connect_timeout_seconds); does that port speak TLS?"
            )
    except OSError as exc:
        raw.close()
        text = str(exc) if isinstance(exc, TlsError) else f"TLS with {where} failed: {exc.strerror or exc}"
        raise ProtocolError(f"connection failed: {text}") from exc
    except BaseException:
        raw.close()
        raise
    return sock


def _wrap(raw: Any, config: TLSConfig, where: str, host: str) -> TlsSocket:
    # The scope of an IPv6 address is ours, no certificate has it; nor has one the dot that ends a full name.
    name = host.partition("%")[0] if ":" in host else host.rstrip(".")
    try:
        return TlsSocket(raw, config, server_side=False, where=where, server_hostname=name)
    except ConfigurationError:
        raise
    except ValueError as exc:
        text = f"connection failed: TLS with {where} failed: {name!r} is no host name: {exc}"
        raise ProtocolError(text) from exc


def _peer_text(raw: Any) -> str:
    try:
        name = raw.getpeername()
    except OSError:
        return "a peer that is gone"
    return f"{name[0]} port {name[1]}" if isinstance(name, tuple) else "unix socket"


def _name_in(certificate: dict[str, Any]) -> str | None:
    for part in certificate.get("subject", ()):
        for key, value in part:
            if key == "commonName":
                return str(value)
    names = certificate.get("subjectAltName", ())
    for wanted in ("URI", "DNS"):
        for kind, value in names:
            if kind == wanted:
                return str(value)
    return None
