"""One wire machine on one stream, for both sides: reading, the greeting, the connection's life.

Reading is a callback in the hub. The calling half is in `_connection/calling.py`, the serving half in
`_connection/serving.py`, what travels by reference in `_connection/references.py`.

The debug log of a connection reads as a dialogue: `<` in, `>` out, `=` state, `!` error.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol

from gpyro import hub
from gpyro._connection.calling import METHOD, Calling, NotStarted
from gpyro._connection.liveness import Liveness
from gpyro._connection.opening import Opening
from gpyro._connection.references import Exports
from gpyro._connection.serving import ERROR, ONEWAY, REPLY, REQUEST, Serving
from gpyro._connection.tuning import Tuning
from gpyro.access import LET_IN
from gpyro.errors import (
    ConnectionClosedError,
    ConnectionDeniedError,
    ProtocolError,
    RemoteProtocolError,
    TimeoutError,
)
from gpyro.objects import Method
from gpyro.serializers import Codec
from gpyro.wire.hello import FEATURES, Feature, Greeting
from gpyro.wire.native import (
    HEADER,
    Frame,
    FrameType,
    Machine,
    Side,
    State,
    build_extras,
)

if TYPE_CHECKING:
    from gpyro.auth import Credentials

__all__ = ["METHOD", "Connection", "Handler", "NotStarted", "Tuning"]

#: Seconds that somebody who was not let in has to read why.
STRANGER_SECONDS = 1.0

log = logging.getLogger("gpyro.connection")


def make_codec(connection: Connection, handler: Handler) -> Any:
    """Return what turns values into bytes and back: data, or where both sides were told so pickles."""
    by_value = None
    if handler.by_value:
        from gpyro._serializers.byvalue import ByValue  # only daemons and proxies that list modules

        # Now, as the socket does not tell any more once it is closed, and answers may be decoded after that.
        is_local = connection.is_local()
        by_value = ByValue(handler.by_value, lambda: is_local or connection.is_known())
    codec = Codec(connection.tuning.codec, connection.exports, by_value)
    if handler.pickle is None:
        return codec
    from gpyro._serializers.pickling import PickleCodec  # only daemons and proxies that were told to speak pickle

    return PickleCodec(codec, handler.pickle)


class Handler(Protocol):
    """What a connection asks of the side it belongs to: a daemon, or a proxy's end without one."""

    tuning: Tuning
    methods: dict[bytes, Method]
    offload_all: bool
    #: What pickles may name, where this side speaks pickle; None where it does not.
    pickle: Any
    #: Names of modules whose classes travel by value without being registered.
    by_value: tuple[str, ...]

    def find(self, connection: Connection, target: bytes, access: int, object_id: str, name: str) -> Method:
        """Return what a request is for; may remember it in `methods` under `target`."""
        ...

    def admit(self, connection: Connection, greeting: Greeting, hello: Frame) -> None:
        """Decide about a caller, now or later: `welcome` it, `deny` it, or `challenge` it first."""
        ...

    def offload(self, context: Context, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run the function in a native thread."""
        ...

    def note_activity(self) -> None:
        """Something was served."""
        ...

    def connection_closed(self, connection: Connection) -> None:
        """The connection has ended."""
        ...

    def idle_seconds(self) -> float:
        """Return after how long without calls a connection is closed, 0 for never."""
        ...

    def detailed_traceback(self) -> bool:
        """Tell whether tracebacks carry local values."""
        ...


class Connection:
    """A connection of gpyro's own wire.

    `addr` is the peer's address, `identity` who it has proved to be (None without authentication), `roles` what
    that one has, `principals` both and "*". Validators may put attributes of their own on it; while one decides,
    `login` is what is under way.

    Resources: closed by whoever opened or accepted it; ends with its thread.
    Errors: what breaks it fails all calls that wait and is kept in `closed_by`.
    """

    __slots__ = (
        "__dict__", "__weakref__", "_continue", "_goaway_last", "_liveness", "addr", "calls", "closed_by",
        "codec", "exports", "features", "going_away", "handler", "identity", "login", "machine", "opening",
        "paused", "principals", "roles", "serving", "state", "stream", "tuning", "wheel_slot",
    )  # fmt: skip

    def __init__(self, sock: Any, side: Side, handler: Handler) -> None:
        self.state = hub.current_state()
        self.tuning = handler.tuning
        self.handler = handler
        self.stream = hub.Stream(sock, self.state, self.tuning.output_soft_bytes, self.tuning.turn_bytes)
        self.addr = self.stream.peer_name() or "unix socket"
        self.identity: str | None = None
        self.roles: frozenset[str] = frozenset()
        self.principals = LET_IN
        self.login: Any = None
        #: What this side understands, for the greeting.
        self.features = int(FEATURES if handler.pickle is None else FEATURES | Feature.PICKLE)
        self.opening = Opening(self, side is Side.SERVER)
        state = self.state
        self.machine = Machine(side, self.tuning.wire, state.take_buffer, state.give_buffer, hub.make_part)
        self.exports = Exports(self, self.tuning.max_exports)
        self.codec = make_codec(self, handler)
        self.calls = Calling(self, 1 if side is Side.CLIENT else 2)
        self.serving = Serving(self, handler, 1 if side is Side.SERVER else 0)
        self.closed_by: Exception | None = None
        #: True once either side has said that it takes no more calls.
        self.going_away = False
        #: True while nothing is read because calls wait for others to end.
        self.paused = False
        self.wheel_slot = -1
        self._goaway_last: int | None = None
        self._continue: hub.Timer | None = None
        self._liveness = Liveness(self)
        self.stream.on_readable = self._on_readable
        self.stream.on_error = self._lost
        self.stream.on_drained = self._on_drained
        self.state.members.add(self)
        self.state.watch(self, 1)
        self.stream.start_reading()

    def __repr__(self) -> str:
        return (
            f"<Connection {self.machine.side.value} to {self.addr}{f' ({self.identity})' if self.identity else ''}"
            f" {self.machine.state.value}, "
            f"{len(self.calls.pending)} calls out, {len(self.serving.running)} in>"
        )

    # -- opening ---------------------------------------------------------------------------------------------

    @classmethod
    def open(
        cls, endpoint: tuple[Any, ...], handler: Handler, timeout_seconds: float | None = None, *,
        credentials: Credentials | None = None, uri: Any = None, tls: Any = None,
    ) -> Connection:  # fmt: skip
        """Connect to an endpoint and say hello; the first requests leave together with it.

        With credentials it returns when both sides have proved who they are, and nothing leaves before.

        Args:
            uri: the address that leads there, for a validator.
            tls: a TLSConfig, where the endpoint speaks TLS.

        Raises:
            ProtocolError: nobody listens there. TimeoutError: no answer in time.
            ConnectionDeniedError: the server does not let us in, or cannot prove who it is.
        """
        tuning = handler.tuning
        seconds = tuning.connect_timeout_seconds if timeout_seconds is None else timeout_seconds
        until = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with hub.turn_to_open(endpoint, seconds) as left:
            self = cls(hub.connect(endpoint, left, tuning.keepalive, tls), Side.CLIENT, handler)
            if credentials is not None:
                self.opening.check_certificate(credentials)
            if handler.pickle is None and (credentials is None or not credentials.wants_login()):
                self.opening.hello()
            else:
                self.opening.log_in(credentials, uri, until)
        return self

    @classmethod
    def accept(cls, sock: Any, handler: Handler) -> Connection:
        """Take an accepted socket; the peer has handshake_timeout_seconds to say hello, and to log in."""
        return cls(sock, Side.SERVER, handler)

    # -- what others ask -------------------------------------------------------------------------------------

    @property
    def peer(self) -> Greeting | None:
        """What the other side has told of itself; None before it has."""
        return self.opening.peer

    @property
    def certificate(self) -> Any:
        """The peer's certificate, as Python's `getpeercert` returns it; None without TLS, or where it has none."""
        return None if self.stream.tls is None else self.stream.tls.peer_certificate()

    def binding(self) -> bytes:
        """Return SHA-256 of the server's certificate, empty without TLS."""
        return b"" if self.stream.tls is None else self.stream.tls.binding()

    def is_encrypted(self) -> bool:
        """Tell whether it is inside TLS."""
        return self.stream.tls is not None

    def certified_identity(self) -> str | None:
        """Return whom the peer's certificate names, `certificate:NAME`; None where it has shown none."""
        name = None if self.stream.tls is None else self.stream.tls.peer_name()
        return f"certificate:{name}" if name else None

    def is_protected(self) -> bool:
        """Tell whether nobody on the way can change what is said: TLS, seals, or this user's own socket."""
        stream = self.stream
        if stream.is_unix():
            return hub.peer_uid(self.sock) == os.geteuid()
        return stream.tls is not None or stream.seal is not None

    def is_open(self) -> bool:
        """Tell whether new calls may be sent."""
        return self.closed_by is None and not self.going_away

    def is_local(self) -> bool:
        """Tell whether the peer is on this machine."""
        return self.stream.is_local()

    def is_known(self) -> bool:
        """Tell whether the peer has proved who it is, and nobody on the way can change what it says."""
        # A server has proved itself by what protects a caller's connection: its certificate, or the login.
        return self.is_protected() and (self.machine.side is Side.CLIENT or self.identity is not None)

    def may_see_tracebacks(self) -> bool:
        """Tracebacks name files; they are for this machine and for those who have proved who they are."""
        return self.identity is not None or self.stream.is_local()

    def peer_limit(self) -> int:
        """Return the largest frame that the peer takes, as far as it is known."""
        limit = self.tuning.wire.max_message_bytes
        if self.peer is not None and self.peer.max_message_bytes:
            limit = min(limit, self.peer.max_message_bytes)
        return limit

    @property
    def sock(self) -> Any:
        """The socket, as Pyro's validators look at it."""
        return self.stream.raw_socket()

    def send_answer(self, kind: int, flags: int, request_id: int, body: bytes, buffers: Sequence[Any]) -> None:
        """Queue a REPLY or ERROR of any size; dropped when the connection has ended meanwhile."""
        if self.closed_by is None:
            self.calls.send(kind, flags, request_id, b"", body, build_extras({}, buffers))

    def ping(self) -> None:
        """Ask for a sign of life; any answer counts."""
        self._liveness.pongs_left += 1
        self._write_control(FrameType.PING)

    def wait_flushed(self, seconds: float) -> bool:
        """Wait until everything queued has been handed to the kernel; False if it took longer."""
        self.stream.flush()
        steps = max(int(seconds / 0.005), 1)
        while self.closed_by is None and not self.stream.is_flushed() and steps:
            hub.sleep(0.005)
            steps -= 1
        return self.closed_by is None and self.stream.is_flushed()

    # -- reading, in the hub ---------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        self._guarded(self._read)

    def resume(self) -> None:
        """Go on with what was left of the last turn; runs in the hub."""
        timer, self._continue = self._continue, None
        if timer is not None:
            timer.cancel()
        if self.closed_by is None:
            self.paused = False
            self.stream.start_reading()
            self._guarded(self._turn)
        else:
            self.serving.serve_rest()

    def read_on(self) -> None:
        """A call of ours waits for an answer: read although calls of the peer wait for others to end."""
        self.paused = False
        self.state.soon(self.resume)

    def _on_drained(self) -> None:
        self.calls.drained()
        self.serving.drained()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do a turn's work, with all that it writes leaving in one send."""
        stream = self.stream
        stream.corked = True
        try:
            work()
        except RemoteProtocolError as exc:
            self._broken(exc)
        except OSError as exc:
            self._lost(exc)
        except BaseException as exc:
            # Frames that were taken out may not have reached whom they are for; nobody shall wait for them.
            self._end(ProtocolError(f"connection lost: internal error: {exc!r}"))
            if not isinstance(exc, Exception):
                raise
            self.state.report(self)
        finally:
            stream.corked = False
            if stream.out or not stream.is_flushed():
                stream.flush()

    def _read(self) -> None:
        machine, stream = self.machine, self.stream
        view = machine.wants_into() if stream.reads_into else None
        if view is None:
            data = stream.read()
            if not data:
                if data is not None:
                    self._end(ConnectionClosedError("connection lost: the peer closed it"))
                return
            self._liveness.bytes_in += len(data)
            if self.opening.is_sniffing():
                data = self.opening.sniff(data)
            machine.receive_data(data)
            self._turn()
            if len(data) < self.tuning.turn_bytes or not stream.reads_into or not stream.is_reading():
                return
            # There is more, most likely: of a large frame it is taken at once.
            view = machine.wants_into()
            if view is None:
                return
        if self._read_large(view):
            self._turn()

    def _read_large(self, view: memoryview | None) -> bool:
        """Read into a large frame as long as there is something; False when it is not whole yet."""
        while view is not None:
            count = None
            try:
                count = self.stream.read_into(view)
            finally:
                # Released, not only forgotten: a bytearray that somebody looks into cannot grow, and a profiler
                # that looks at frames may keep this one's for a while.
                view.release()
                self.machine.received_into(count or 0)
            if count is None:
                return False
            if count == 0:
                self._end(ConnectionClosedError("connection lost: the peer closed it in the middle of a frame"))
                return False
            self._liveness.bytes_in += count
            view = self.machine.wants_into()
        return True

    def _turn(self) -> None:
        """Deal with at most turn_frames frames, then serve; the rest waits for the next turn of the loop."""
        limit = self.tuning.turn_frames
        frames = self.machine.next_frames(limit)
        serving, answer = self.serving, self.calls.answer
        for frame in frames:
            kind = frame[0]
            if kind == REPLY or kind == ERROR:
                answer(frame)
            elif kind == REQUEST or kind == ONEWAY:
                serving.take(frame)
            else:
                self._control(frame)
        if self.closed_by is not None:
            serving.caller_gone()
            return
        if serving.requests:
            serving.work()
        more = False
        if self.machine.is_mid_frame():
            more = self.machine.has_frames()
            self._liveness.note_part(bool(frames), more)
        else:
            self._liveness.part_since = None
        if more or serving.requests or len(frames) == limit:
            self._go_on_later()

    def _go_on_later(self) -> None:
        """Leave the rest for the next turn of the loop, after everybody else's events; read nothing new."""
        if self.closed_by is not None:
            return
        if self.serving.is_full():
            # Cancellations, answers to our calls and the end of the connection come between the requests.
            if self.serving.is_overflowing():
                if not self.calls.pending:
                    self.stream.stop_reading()
                    self.paused = True
                    return
                # What runs may wait for those answers.
                self.serving.refuse_overflow()
            if not self.machine.has_frames():
                return
        self.stream.stop_reading()
        if self._continue is None:
            self._continue = self.state.later(0.0, self.resume)

    # -- frames about the connection itself ------------------------------------------------------------------

    def _control(self, frame: Frame) -> None:
        kind, request_id = frame[0], frame[2]
        log.debug("< %s %s", FrameType(kind).name, self.addr)
        if kind == FrameType.PING:
            self._liveness.count_ping()
            # Whoever asks and does not read gets no more answers, which would pile up here; what it reads next is
            # as good a sign of life.
            if not self.stream.is_congested():
                self._write_control(FrameType.PONG, request_id)
        elif kind == FrameType.PONG:
            self._liveness.count_pong()
        elif kind == FrameType.CANCEL:
            self.serving.cancel_for_peer(request_id)
        elif kind < FrameType.REQUEST:
            self.opening.take(frame)
        elif kind == FrameType.GOAWAY:
            if self._goaway_last is not None:
                raise RemoteProtocolError(f"{self.addr} says goodbye twice")
            self.going_away = True
            self._goaway_last = request_id
            self.calls.fail_later(request_id)
            self.calls_ended()

    def _write_control(self, kind: int, request_id: int = 0, body: bytes = b"") -> None:
        if self.closed_by is None:
            self.stream.write(HEADER.pack(kind, 0, 0, request_id, len(body), 0) + body)

    def tick(self) -> int:
        """The wheel looks: has the peer greeted, is it alive, does it keep up."""
        if self.closed_by is not None:
            return 0
        if self.machine.state not in (State.READY, State.LEAVING):
            seconds = self.tuning.handshake_timeout_seconds
            left = seconds - (self.state.clock() - self._liveness.began)
            if left > 0:
                self._look_again(left)
                return 1
            self._end(TimeoutError(
                f"connection lost: {self.addr} did not answer the greeting within {seconds:g} s "
                "(handshake_timeout_seconds)"
            ))  # fmt: skip
            return 0
        wait, reason, rest = self._liveness.look()
        if rest is not None:
            self._look_again(rest)
        if reason:
            self._end(ConnectionClosedError(f"connection lost: {reason}"))
        return wait if self.closed_by is None else 0

    def _look_again(self, seconds: float) -> None:
        """Look when a time is over that ends before the wheel's next turn."""
        if seconds < 1:
            self.state.later(seconds + 0.001, self.tick)

    # -- the end ---------------------------------------------------------------------------------------------

    def check_alive(self) -> bool:
        """Look whether the peer has closed meanwhile; for a hub that does not run between calls."""
        hub.run_pending()
        return self.is_open()

    def leave(self, reason: str) -> None:
        """Take no more calls, tell the peer, and close when what is running has been answered."""
        if self.closed_by is None and self.machine.state not in (State.READY, State.LEAVING):
            self.opening.break_off(reason)
        elif self.closed_by is None and not self.serving.leaving:
            self.serving.leaving = True
            self.going_away = True
            log.debug("> GOAWAY %s: %s", self.addr, reason)
            self._write_control(FrameType.GOAWAY, self.serving.last_id, reason.encode()[:200])
            self.calls_ended()

    def break_off(self, fault: str) -> None:
        """Close because the peer broke the rules; safe from a call that is being served."""
        self.state.soon(self._broken, RemoteProtocolError(fault))

    def close(self, error: Exception | None = None) -> None:
        """Close at once; calls that wait fail."""
        self._end(error or ConnectionClosedError("connection lost: it was closed on this side"))

    def close_gently(self, error: Exception | None = None) -> None:
        """Close when everything queued has been sent; calls that wait fail."""
        self._end(error or ConnectionClosedError("connection lost: it was closed on this side"), gently=True)

    def retire(self) -> None:
        """Begin no more calls here, and close when those that are under way have ended."""
        self.going_away = True
        self.calls_ended()

    def calls_ended(self) -> None:
        """No call of ours waits, or none is served: the loop need not wait for us, and we may be done."""
        if self.calls.pending:
            return
        self.stream.hold_loop(False)
        if self.going_away and not self.serving.running and not self.serving.requests:
            self.state.soon(self._end_if_done)

    def _end_if_done(self) -> None:
        if not self.calls.pending and not self.serving.running and not self.serving.requests:
            self._end(ConnectionClosedError("connection lost: the peer or this side has shut down"), gently=True)

    def hub_ended(self) -> None:
        """The thread ends or this is a forked child: drop the socket, disturb nobody."""
        if self.closed_by is None:
            self.closed_by = ConnectionClosedError("connection lost: its thread or process has ended")
            self.machine.close()
            self.stream.close()
            self.handler.connection_closed(self)

    def closed_error(self, maybe_executed: bool) -> Exception:
        """Make a fresh error for each caller: a shared one would collect everybody's traceback."""
        cause = self.closed_by
        if isinstance(cause, ConnectionDeniedError):
            return ConnectionDeniedError(str(cause), cause.code)
        if isinstance(cause, TimeoutError):
            return TimeoutError(str(cause), maybe_executed=maybe_executed and self.peer is not None)
        if isinstance(cause, RemoteProtocolError) and self.peer is None:
            return RemoteProtocolError(str(cause))
        if self.peer is None and isinstance(cause.__cause__ if cause else None, hub.TlsError):
            # The server has not let us in, so it has looked at nothing of what we sent.
            return ConnectionClosedError(str(cause), maybe_executed=False)
        if not maybe_executed:
            return NotStarted(str(cause))
        return ConnectionClosedError(str(cause), maybe_executed=True)

    def _lost(self, exc: OSError) -> None:
        refused = isinstance(exc, hub.TlsError)
        if refused:
            log.warning("! %s: %s", self.addr, exc)
            self.opening.refuse_plain()
        # TLS has said why it ends; a socket closed at once may take that from the peer before it is read.
        error = ConnectionClosedError(f"connection lost: {exc.strerror or exc}")
        error.__cause__ = exc
        self._end(error, gently=refused)

    def _broken(self, exc: RemoteProtocolError) -> None:
        if self.machine.side is Side.CLIENT and self.peer is None:
            exc = RemoteProtocolError(f"{self.addr} does not speak gpyro's protocol: {exc}")
        log.warning("! %s: %s", self.addr, exc)
        self._end(exc)

    def _end(self, error: Exception, gently: bool = False) -> None:
        """The one way a connection ends: fail what waits, cancel what may be, let everything go."""
        if self.closed_by is not None:
            return
        self.closed_by = error
        log.debug("= %s closed: %s", self.addr, error)
        if self._continue is not None:
            self._continue.cancel()
            self._continue = None
        was_let_in = self.machine.state in (State.READY, State.LEAVING)
        self.machine.close()
        if gently:
            seconds = self.tuning.write_timeout_seconds
            # A stranger gets less time to read our last word; his socket is counted nowhere any more.
            self.stream.close_gently(seconds if was_let_in else min(seconds, STRANGER_SECONDS))
        else:
            self.stream.close()
        self.state.unwatch(self)
        if self.opening.handshake is not None:
            self.opening.handshake.wake()
        self.calls.fail_all(self._goaway_last)
        self.serving.caller_gone()
        self.exports.clear()
        self.handler.connection_closed(self)


# Registered before any daemon registers its own end: what that still sends at exit is flushed after it.
hub.at_exit(hub.flush_at_exit)
