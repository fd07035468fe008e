"""One connected socket on one hub: reads on readiness, writes gathered once a loop turn.

Reading is a callback that runs in the hub, not a greenlet: an idle connection costs its objects and nothing
else, and nobody's exception can leave a frame half read. Writing never blocks and never happens in pieces of
a frame by different greenlets: whatever a send does not take stays in the queue and leaves when the socket is
writable. Large messages wait in a lane of their own and give way to small ones between two chunks.
"""

from __future__ import annotations

import logging
import socket as _socket_constants
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gpyro._hub.sockets import descriptor_limit
from gpyro._hub.state import HubState
from gpyro.wire.frames import Buffer, Chunks, may_change

if TYPE_CHECKING:
    from gpyro._hub.tlssocket import TlsSocket

__all__ = ["READ_BYTES", "Stream"]

#: What one read takes at most, which is one turn's share of a connection; the setting turn_bytes.
READ_BYTES = 64 * 1024
#: Up to this much is joined into one piece and sent, if the pieces are no larger than that on the average; all
#: else is gathered by sendmsg without a copy.
JOIN_BYTES, PIECE_BYTES = 128 * 1024, 4 * 1024
#: A message with more than this is sent at once, outside the hub's turn.
LONE_BYTES = 32 * 1024
#: Pieces in one sendmsg; the kernel's limit (UIO_MAXIOV) is 1,024.
MAX_PIECES = 512

#: Large messages that may wait for the one that is leaving, before the stream counts as congested.
MAX_BULK = 4
#: Sockets that one thread keeps open only until their peers have closed too, and their share of all descriptors;
#: more are closed at once.
MAX_CLOSING, CLOSING_SHARE = 1000, 0.05
#: Where Linux's struct tcp_info has the milliseconds since data was sent, (an ACK was sent,) data was received.
TCP_INFO_BYTES, TCP_INFO_TIMES_AT, TCP_INFO_TIMES = 104, 44, struct.Struct("=III")
#: Reads after a write has failed: more than the kernel keeps for a socket by default.
MAX_LAST_READS = 128

_log = logging.getLogger("gpyro.hub")
_WOULD_BLOCK = (BlockingIOError, InterruptedError)


class Stream:
    """A connected, non-blocking socket.

    `on_readable()` runs in the hub when there is something to read, `on_error(exc)` when a write fails,
    `on_drained()` when the queue has become short again.

    Resources: the owner closes it. Errors: reading raises OSError, writing reports to `on_error`.
    """

    __slots__ = (
        "_bulk", "_congested", "_failed", "_flush_armed", "_last_timer",
        "_read_bytes", "_read_watcher", "_reading", "_sock",
        "_write_watcher", "closed", "corked",
        "on_drained", "on_error", "on_readable", "out", "out_bytes", "progress", "reads_into", "seal",
        "soft_bytes", "state", "tls",
    )

    def __init__(
        self, sock: Any, state: HubState, soft_bytes: int, read_bytes: int = READ_BYTES
    ) -> None:
        self._sock = sock
        #: The socket itself where TLS is on it.
        self.tls: TlsSocket | None = sock if getattr(sock, "is_tls", False) else None
        #: Whether `read_into` may be used; what TLS decrypts at once does not always fit into a view.
        self.reads_into = self.tls is None
        self.state = state
        self.soft_bytes = soft_bytes
        self._read_bytes = read_bytes
        self.out: list[Buffer] = []
        self.out_bytes = 0
        #: Counts sends that took something, for whoever watches over a peer that does not read.
        self.progress = 0
        self._bulk: deque[Iterator[Sequence[Buffer]]] | None = None
        self._congested = False
        self._flush_armed = False
        self._failed = False
        #: Of a stream that is being closed.
        self._last_timer: Any = None
        #: Makes the code that follows each frame, asked in the order in which they leave.
        self.seal: Callable[..., bytes] | None = None
        self.corked = False
        self.closed = False
        self._reading = False
        self._read_watcher = state.loop.io(sock.fileno(), 1, ref=False)
        self._write_watcher: Any = None
        self.on_readable: Callable[[], object] | None = None
        self.on_error: Callable[[OSError], object] | None = None
        self.on_drained: Callable[[], object] | None = None

    def __repr__(self) -> str:
        if self.closed:
            return "<Stream closed>"
        return f"<Stream fd {self._sock.fileno()}, {self.out_bytes} bytes to send>"

    # -- reading ---------------------------------------------------------------------------------------------

    def start_reading(self) -> None:
        """Let `on_readable` be called; harmless when it already is."""
        if not self._reading and not self.closed:
            self._reading = True
            self._read_watcher.start(self.on_readable)

    def is_reading(self) -> bool:
        """Tell whether `on_readable` is called."""
        return self._reading

    def stop_reading(self) -> None:
        """Leave what comes in the kernel, so that the peer slows down."""
        if self._reading and not self.closed:
            self._reading = False
            self._read_watcher.stop()

    def hold_loop(self, hold: bool) -> None:
        """Say whether the loop counts this connection as something to wait for (a call is under way)."""
        if not self.closed:
            self._read_watcher.ref = hold

    def read(self) -> bytes | None:
        """Return what there is, b"" at the end, None when there is nothing now."""
        try:
            return self._sock.recv(self._read_bytes)  # type: ignore[no-any-return]
        except _WOULD_BLOCK:
            if self.tls is not None and self.tls.has_unsent():
                self._await_writable()
            return None

    def read_into(self, view: memoryview) -> int | None:
        """Like `read`, into a buffer; returns the count of bytes, 0 at the end."""
        try:
            return self._sock.recv_into(view)  # type: ignore[no-any-return]
        except _WOULD_BLOCK:
            return None

    # -- writing ---------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Queue one small frame; all of a loop turn leave in one send."""
        if self.seal is not None:
            data += self.seal(data)
        self.out.append(data)
        self.out_bytes += len(data)
        if not self._flush_armed and not self.corked:
            self._flush_armed = True
            self.state.loop.run_callback(self._flush_turn)

    def write_now(self, data: bytes) -> None:
        """Send one small frame at once where nothing is queued before it, else queue it."""
        if self.out or self._bulk or self.closed:
            self.write(data)
            return
        if self.seal is not None:
            data += self.seal(data)
        try:
            sent = self._sock.send(data)
        except _WOULD_BLOCK:
            sent = 0
        except OSError as exc:
            self._write_failed(exc)
            return
        self.progress += 1
        if sent != len(data):
            self.out.append(memoryview(data)[sent:])
            self.out_bytes += len(data) - sent
            self._await_writable()

    def write_segments(self, segments: Sequence[Buffer]) -> None:
        """Queue one frame made of several pieces."""
        if self.seal is not None:
            segments = [*segments, self.seal(*segments)]
        self.out.extend(segments)
        self.out_bytes += sum(map(len, segments))
        if self._flush_armed or self.corked:
            return
        if self.out_bytes > LONE_BYTES:
            self.flush()  # it gains nothing by leaving together with others
            return
        self._flush_armed = True
        self.state.loop.run_callback(self._flush_turn)

    def write_bulk(self, chunks: Iterator[Sequence[Buffer]]) -> None:
        """Queue a large message chunk by chunk, one such message after another.

        A peer bounds what it holds of unfinished messages, so there is only ever one.
        """
        if self._bulk is None:
            self._bulk = deque()
        self._bulk.append(chunks)
        if not self._flush_armed and not self.corked:
            self._flush_armed = True
            self.state.loop.run_callback(self._flush_turn)

    def settle(self) -> None:
        """Send what the kernel takes now, and copy of the rest what its owner may change before it has left."""
        self.flush()
        if self.out:
            self.out[:] = [bytes(piece) if may_change(piece) else piece for piece in self.out]
        for message in self._bulk or ():
            if isinstance(message, Chunks):
                message.settle()

    def is_congested(self) -> bool:
        """Tell whether more is queued than a polite writer adds to."""
        return self.out_bytes > self.soft_bytes or (self._bulk is not None and len(self._bulk) > MAX_BULK)

    def has_bulk(self) -> bool:
        """Tell whether a large message has yet to leave in chunks."""
        return bool(self._bulk)

    def is_flushed(self) -> bool:
        """Tell whether everything has been handed to the kernel."""
        return not self.out and not self._bulk

    def flush(self) -> None:
        """Send what the kernel takes now; the rest follows by itself."""
        if self.closed or (self._write_watcher is not None and self._write_watcher.active):
            return
        # Kept until the queue is short: it may take several turns, and somebody waits to be told.
        self._congested = self._congested or self.is_congested()
        try:
            while self.out or self._bulk:
                if not self.out:
                    self._next_chunk()
                elif not self._send_some():
                    self._await_writable()
                    break
        except OSError as exc:
            self._write_failed(exc)
            return
        if self._congested and self.out_bytes <= self.soft_bytes // 2 and not self.is_congested():
            self._congested = False
            if self.on_drained is not None:
                self.on_drained()

    def close(self) -> None:
        """Close the socket at once; what is queued is dropped."""
        if self.closed:
            return
        self.closed = True
        self.state.closing.discard(self)
        if self.state.has_loop():
            if self._last_timer is not None:
                self._last_timer.stop()
                self._last_timer.close()
            self._read_watcher.stop()
            self._read_watcher.close()
            if self._write_watcher is not None:
                self._write_watcher.stop()
                self._write_watcher.close()
        self._drop_output()
        self._sock.close()
        self.on_readable = self.on_error = self.on_drained = None

    def close_gently(self, seconds: float) -> None:
        """Close when the peer has had everything that is queued, or after `seconds`; returns at once.

        To hand it to the kernel is not enough: where something unread lies in a socket that is closed, or arrives
        later, the kernel resets the connection, and the peer may lose what it has not read yet. So we stop
        sending, and read and forget what comes until the peer closes too.
        """
        self.stop_reading()
        self.flush()
        if self.closed or (self.is_flushed() and not self._may_lose()) or self._are_many_closing():
            self.close()
            return
        self.state.closing.add(self)
        self._last_timer = self.state.loop.timer(seconds, ref=False)
        self._last_timer.start(self.close)
        self.soft_bytes = 0
        self.on_error = lambda exc: self.close()
        self.on_drained = self._half_close
        self.on_readable = self._forget_input
        self.start_reading()
        self._half_close()

    def _are_many_closing(self) -> bool:
        closing = len(self.state.closing)
        # The limit is asked for only where there are enough for it to matter.
        return closing >= 16 and closing >= min(MAX_CLOSING, descriptor_limit() * CLOSING_SHARE)

    def _half_close(self) -> None:
        if self.is_flushed() and not self.closed:
            if not self._may_lose():
                self.close()
                return
            try:
                self._sock.shutdown(_socket_constants.SHUT_WR)
            except OSError:
                self.close()

    def _forget_input(self) -> None:
        try:
            if self.read() == b"":
                self.close()
        except OSError:
            self.close()

    def _may_lose(self) -> bool:
        """Tell whether the peer may not have read what was sent last: it has said nothing since."""
        if self._sock.family == _socket_constants.AF_UNIX or not sys.platform.startswith("linux"):
            return False  # No reset takes anything from the peer there, or the system does not tell.
        try:
            info = self._sock.getsockopt(_socket_constants.IPPROTO_TCP, _socket_constants.TCP_INFO, TCP_INFO_BYTES)
        except OSError:
            return False
        since_sent, _, since_received = TCP_INFO_TIMES.unpack_from(info, TCP_INFO_TIMES_AT)
        return bool(since_sent <= since_received)

    def finish(self, seconds: float) -> None:
        """Send the rest with this whole thread waiting: its end, or the process's, is near."""
        self.flush()
        if not self.closed and not self.is_flushed():
            self._send_waiting(seconds)
        if not self.closed:
            self._half_close()

    def await_end(self, seconds: float) -> None:
        """Wait with this whole thread until the peer has closed too, where it may lose something otherwise."""
        if self.closed or not self._may_lose():
            return
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                self._sock.settimeout(left)
                if not self._sock.recv(READ_BYTES):
                    return
        except OSError:
            return  # The time is over, or it is gone.

    def _send_waiting(self, seconds: float) -> None:
        try:
            self._sock.settimeout(seconds)
            while self.out or self._bulk:
                if not self.out:
                    self._next_chunk()
                for piece in self.out:
                    self._sock.sendall(piece)
                self.out.clear()
        except OSError as exc:
            _log.warning("%d bytes could not be sent before the end: %s", self.out_bytes, exc)
        self._drop_output()

    # -- parts -----------------------------------------------------------------------------------------------

    def _flush_turn(self) -> None:
        self._flush_armed = False
        self.flush()

    def _send_some(self) -> bool:
        """Send from the queue; False when the kernel takes no more now."""
        out = self.out
        try:
            if len(out) == 1:
                sent = self._sock.send(out[0])
            elif self.out_bytes <= min(JOIN_BYTES, PIECE_BYTES * len(out)):
                out[:] = [b"".join(out)]
                sent = self._sock.send(out[0])
            else:
                sent = self._sock.sendmsg(out[:MAX_PIECES])
        except _WOULD_BLOCK:
            return False
        self.progress += 1
        self.out_bytes -= sent
        if self.out_bytes == 0:
            out.clear()
            return True
        done = 0
        while sent >= len(out[done]):
            sent -= len(out[done])
            done += 1
        if sent:
            out[done] = memoryview(out[done])[sent:]
        del out[:done]
        return True

    def _next_chunk(self) -> None:
        assert self._bulk is not None
        piece = next(self._bulk[0], None)
        if piece is None:
            self._bulk.popleft()
        else:
            if self.seal is not None:
                piece = [*piece, self.seal(*piece)]
            self.out.extend(piece)
            self.out_bytes += sum(map(len, piece))

    def _await_writable(self) -> None:
        if self._write_watcher is None:
            self._write_watcher = self.state.loop.io(self._sock.fileno(), 2)
        self._write_watcher.start(self._on_writable)

    def _on_writable(self) -> None:
        self._write_watcher.stop()
        if self.tls is not None and not self._push_tls(self.tls):
            return
        self.flush()

    def _push_tls(self, tls: TlsSocket) -> bool:
        """Send what TLS itself has to say; a handshake may have nothing queued here that would carry it along."""
        try:
            done = tls.push()
        except OSError as exc:
            self._write_failed(exc)
            return False
        if not done:
            self._await_writable()
        return done

    def _write_failed(self, exc: OSError) -> None:
        self._drop_output()
        if not self._failed:
            self._failed = True
            self.state.soon(self._read_out, exc)

    def _read_out(self, exc: OSError) -> None:
        """Hear what the peer said before it left, its goodbye above all; then tell that a write failed."""
        for _ in range(MAX_LAST_READS):
            if not self._reading or self.closed or self.on_readable is None or not self._has_input():
                break
            self.on_readable()
        if self.on_error is not None:
            self.on_error(exc)

    def _has_input(self) -> bool:
        try:
            return bool(self._sock.recv(1, _socket_constants.MSG_PEEK))
        except OSError:
            return False

    def _drop_output(self) -> None:
        self.out.clear()
        self.out_bytes = 0
        self._bulk = None

    # -- the socket ------------------------------------------------------------------------------------------

    def peer_name(self) -> Any:
        """Return the address of the peer as the socket module gives it."""
        try:
            return self._sock.getpeername()
        except OSError:
            return None

    def sock_name(self) -> Any:
        """Return our own address."""
        try:
            return self._sock.getsockname()
        except OSError:
            return None

    def raw_socket(self) -> Any:
        """Return the socket itself, for options and for `connection.sock`."""
        return self._sock

    def is_unix(self) -> bool:
        """Tell whether it is a unix socket."""
        return bool(self._sock.family == _socket_constants.AF_UNIX)

    def is_local(self) -> bool:
        """Tell whether the peer is on this machine: a unix socket or a loopback address."""
        if self._sock.family == _socket_constants.AF_UNIX:
            return True
        name = self.peer_name()
        if not name:
            return False
        host = str(name[0])
        return host.startswith("127.") or host == "::1" or host.startswith("::ffff:127.")
