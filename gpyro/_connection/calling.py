"""The calls that one connection sends: ids, the table of what waits, sending, waiting, giving up.

A call that waits is a greenlet parked in `call`. The connection's callback in the hub takes the reply off the
socket and switches straight to that greenlet. Whoever is thrown at while waiting takes its entry out of the
table and tells the peer; nothing of the stream is in its hands, so no frame can be cut.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from typing import Any

from gpyro import hub
from gpyro._connection.serving import ONEWAY, REPLY, REQUEST, SMALL_BYTES
from gpyro.context import Scope, current_scope
from gpyro.errors import ConnectionClosedError, ProtocolError, RemoteError, TimeoutError
from gpyro.wire.native import (
    HEADER,
    HEADER_BYTES,
    Annotation,
    Buffer,
    Flag,
    Frame,
    FrameType,
    State,
    build_chunks,
    build_extras,
    build_frame,
    may_change,
    parse_extras,
    parse_target,
)

__all__ = ["METHOD", "Calling", "NotStarted", "Waiting"]

CANCEL = int(FrameType.CANCEL)
METHOD_FLAG, IDEMPOTENT_FLAG = int(Flag.METHOD), int(Flag.IDEMPOTENT)
#: Methods of one connection that are remembered as idempotent.
MAX_IDEMPOTENT = 1000
#: Before the peer's limits are known, larger requests wait for its WELCOME.
GREETING_BYTES = 64 * 1024
#: A connection unused this long is looked at before something is written to it, since a hub that did not run
#: meanwhile cannot know that the peer has closed it.
CHECK_AFTER_SECONDS = 0.05
#: How an exception names itself that is no Exception and so arrives as a RemoteError.
CANCELLED = "gpyro.errors.CallCancelled"
#: The server's clock for a deadline may run out this much before ours: it gets whole milliseconds.
CLOCK_SLACK_SECONDS = 0.05


class _Method:
    def __repr__(self) -> str:
        return "<a method>"


#: What a read of an attribute returns when the name is a method.
METHOD = _Method()


class NotStarted(ConnectionClosedError):
    """Raised on this side only, for a request that provably never started; a proxy sends it again.

    The codec does not know this class, so nothing that a peer sends can look like it.
    """


class Waiting:
    """A greenlet that waits for something of this connection; `greenlet` is None once it does not."""

    __slots__ = ("error", "frame", "greenlet")

    def __init__(self, greenlet: Any) -> None:
        self.greenlet = greenlet
        self.frame: Frame | None = None
        self.error: BaseException | None = None

    def wake(self) -> None:
        """Switch to it if it still waits; only from the hub."""
        if self.greenlet is not None:
            self.greenlet.switch()


class Calling:
    """The calling half of a connection, in both directions the same."""

    __slots__ = (
        "_codec", "_congested", "_connection", "_machine", "_next_id", "_ready", "_stream", "hub",
        "idempotent", "pending", "state", "used",
    )  # fmt: skip

    def __init__(self, connection: Any, first_id: int) -> None:
        self._connection = connection
        self._codec = connection.codec
        self._machine = connection.machine
        self._stream = connection.stream
        self._next_id = first_id
        self._congested: list[Waiting] = []
        self._ready: list[Waiting] = []
        self.state: hub.HubState = connection.state
        self.hub = self.state.hub
        #: Calls that wait for their answer, by request id.
        self.pending: dict[int, Waiting] = {}
        #: Targets of methods that the peer has said are idempotent.
        self.idempotent: frozenset[bytes] = frozenset()
        #: When the last answer was taken, on the monotonic clock.
        self.used = time.monotonic()

    def __repr__(self) -> str:
        return f"<Calling {len(self.pending)} waiting>"

    # -- calls -----------------------------------------------------------------------------------------------

    def call(
        self, target: bytes, args: tuple[Any, ...], kwargs: dict[str, Any] | None, timeout_seconds: float | None
    ) -> Any:
        """Send a request and wait for its answer.

        Raises:
            whatever the remote method raised; TimeoutError; ConnectionClosedError; SerializationError.
        """
        greenlet = hub.getcurrent()
        if greenlet is self.hub:
            raise ProtocolError("a remote call cannot wait inside a callback of the hub; spawn a greenlet for it")
        scope = current_scope()
        if scope is not None and (hold := scope.held()) is not None:
            with hold.go_out(scope, parse_target(target)[3]):
                return self.call(target, args, kwargs, timeout_seconds)
        body, buffers = self._codec.encode_arguments(args, kwargs)
        stream = self._stream
        deadline: float | None = None
        plain = (
            scope is None and timeout_seconds is None and not buffers and len(body) <= SMALL_BYTES
            and self._machine.state is State.READY and stream.out_bytes <= stream.soft_bytes
        )  # fmt: skip
        waiting = Waiting(greenlet)
        if plain:
            request_id = self._next_id
            self._next_id = request_id + 2 & 0xFFFFFFFF or 2
            if request_id in self.pending:
                request_id = self._free_id()
            data = HEADER.pack(REQUEST, 0, len(target), request_id, len(body), 0) + target + body
            if self.pending:
                stream.write(data)
                self.pending[request_id] = waiting
            else:
                # The only call under way: nothing would leave together with it. Entered before it is sent,
                # since a connection that ends in the send fails what has been entered.
                self.pending[request_id] = waiting
                stream.write_now(data)
            self._await_answer(request_id, waiting, None)
        else:
            deadline = call_deadline(scope, timeout_seconds)
            self._wait_sendable(body, buffers, greenlet, deadline)
            extras = outgoing_extras(scope, buffers, deadline)
            # Only now: a peer that says goodbye names the last id it took, so ids have to leave in order.
            request_id = self._free_id()
            self.send(REQUEST, 0, request_id, target, body, extras, waits=True)
            self.pending[request_id] = waiting
            has_parts = bool(buffers)
            del buffers, extras  # a bytearray cannot grow while somebody looks into it, as an error's traceback
            try:
                self._await_answer(request_id, waiting, deadline)
            finally:
                if has_parts and waiting.frame is None:
                    # It is given up, so from now on its caller may change what it gave.
                    stream.settle()
        frame = waiting.frame
        if frame is None:
            assert waiting.error is not None
            raise waiting.error
        if frame[0] == REPLY and not frame[1] and frame[6] is None and not frame[5]:
            return self._codec.decode_value(frame[4], ())
        if frame[1] & IDEMPOTENT_FLAG and frame[0] == REPLY and len(self.idempotent) < MAX_IDEMPOTENT:
            self.idempotent |= {target}
        return self._unusual_answer(frame, deadline)

    def call_oneway(self, target: bytes, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> None:
        """Send a request that is not answered; the kernel has it before this returns, if it takes it."""
        body, buffers = self._codec.encode_arguments(args, kwargs)
        scope = current_scope()
        self._wait_sendable(body, buffers, hub.getcurrent(), None)
        extras = outgoing_extras(scope, buffers, None, waits=False)
        self.send(ONEWAY, 0, self._free_id(), target, body, extras)
        # Also while the hub's turn on this stream is still open, which is where an answer wakes its caller: it
        # ends only when the hub runs again, and a program that goes on by itself may not let it for long.
        self._stream.flush()

    def send(
        self, kind: int, flags: int, request_id: int, target: bytes, body: bytes, extras: Sequence[Buffer],
        waits: bool = False,
    ) -> None:
        """Queue a frame of any size; what is over the peer's limit travels in chunks.

        Args:
            waits: whoever gave the extras leaves them as they are until there is an answer, so none is copied.
                Without it, what the kernel does not take at once is copied if it may be changed.

        Raises:
            ProtocolError: it is over max_value_bytes.
        """
        if self._stream.seal is not None:
            # What has a code has to leave as it was when that was made, whoever changes it.
            extras = [bytes(part) if may_change(part) else part for part in extras]
        segments = build_frame(kind, flags, request_id, target, body, extras)
        size = sum(map(len, segments))
        wire = self._machine.limits
        limit = self._connection.peer_limit()
        if size > limit:
            if size > wire.max_value_bytes:
                raise ProtocolError(f"message is {size} bytes, limit is {wire.max_value_bytes} (max_value_bytes)")
            chunk = min(wire.chunk_bytes, limit - HEADER_BYTES)
            self._stream.write_bulk(build_chunks(segments, request_id, chunk))
        else:
            self._stream.write_segments(segments)
        if extras and not waits and any(map(may_change, extras)):
            self._stream.settle()

    def is_stale(self) -> bool:
        """Tell whether the peer may have closed without this side's hub having run since."""
        return not self.pending and time.monotonic() - self.used > CHECK_AFTER_SECONDS

    def is_lost(self) -> bool:
        """Tell whether no more calls go out here; then an error of a call may be the connection's own."""
        return not self._connection.is_open()

    # -- what comes back, in the hub -------------------------------------------------------------------------

    def answer(self, frame: Frame) -> None:
        """Hand a REPLY or ERROR to the call that waits for it; an answer that nobody waits for is dropped."""
        waiting = self.pending.pop(frame[2], None)
        if waiting is None:
            if frame[6] is not None:
                self._machine.recycle(frame[6])
            return
        waiting.frame = frame
        try:
            waiting.greenlet.switch()
        except BaseException:
            self.state.report(self._connection)

    def fail_all(self, last_served: int | None) -> None:
        """The connection has ended; requests after `last_served` provably never started."""
        self.fail_later(last_served)
        pending, self.pending = self.pending, {}
        for waiting in pending.values():
            waiting.error = self._connection.closed_error(maybe_executed=True)
            self.state.soon(waiting.wake)
        self.drained()
        self.ready()

    def fail_later(self, last_served: int | None) -> None:
        """The peer has said goodbye: it drops requests after the last one that it took."""
        if last_served is None:
            return
        for request_id in list(self.pending):
            if 0 < (request_id - last_served & 0xFFFFFFFF) < 0x80000000:
                waiting = self.pending.pop(request_id)
                waiting.error = NotStarted("connection lost: the peer shut down before it took this call")
                self.state.soon(waiting.wake)

    def drained(self) -> None:
        """The output queue has become short."""
        self._wake_all(self._congested)

    def ready(self) -> None:
        """The peer has told its limits."""
        self._wake_all(self._ready)

    def _wake_all(self, waiters: list[Waiting]) -> None:
        for waiting in waiters:
            self.state.soon(waiting.wake)
        waiters.clear()

    # -- waiting ---------------------------------------------------------------------------------------------

    def _await_answer(self, request_id: int, waiting: Waiting, deadline: float | None) -> None:
        if len(self.pending) == 1:
            self._stream.hold_loop(True)
            if self._connection.paused:
                self._connection.read_on()
        timer = None
        if deadline is not None:
            timer = self.state.later(deadline - time.monotonic(), self._expire, request_id)
        try:
            switch = self.state.switch
            while waiting.frame is None and waiting.error is None:
                switch()
        except BaseException:
            self._give_up(request_id)
            raise
        finally:
            waiting.greenlet = None
            if timer is not None:
                timer.cancel()
            if not self.pending:
                self.used = time.monotonic()
                self._connection.calls_ended()

    def _expire(self, request_id: int) -> None:
        waiting = self.pending.pop(request_id, None)
        if waiting is not None:
            self._cancel(request_id)
            waiting.error = TimeoutError(
                "the call took longer than it was allowed; the server was asked to cancel it", maybe_executed=True
            )
            waiting.wake()

    def _give_up(self, request_id: int) -> None:
        """The caller was thrown at while it waited."""
        if self.pending.pop(request_id, None) is not None:
            self._cancel(request_id)

    def _cancel(self, request_id: int) -> None:
        if self._connection.closed_by is None:
            frame = HEADER.pack(CANCEL, 0, 0, request_id, 0, 0)
            self._stream.write(frame)
            if self._stream.has_bulk():
                # The request itself may still be on its way in chunks, and would come after its cancellation.
                self._stream.write_bulk(iter([[frame]]))

    def _wait_sendable(
        self, body: bytes, buffers: Sequence[Buffer], greenlet: Any, deadline: float | None
    ) -> None:
        """See that a request may go now; a large first one waits until the peer has told its limits.

        Raises:
            ConnectionClosedError: no more requests can be sent here; nothing was sent.
            TimeoutError: the deadline passed meanwhile; nothing was sent.
        """
        connection, stream, machine = self._connection, self._stream, self._machine
        if connection.closed_by is not None:
            # What ended it does not concern a call that comes later; it may go over a new connection.
            raise NotStarted(str(connection.closed_by))
        if greenlet is not self.hub:
            if stream.is_congested():
                stream.flush()
            while connection.closed_by is None and stream.is_congested():
                self._park_in(self._congested, greenlet, deadline)
            if machine.state is State.GREETED:
                size = len(body) + sum(memoryview(part).nbytes for part in buffers)
                while connection.closed_by is None and machine.state is State.GREETED and size > GREETING_BYTES:
                    self._park_in(self._ready, greenlet, deadline)
        if connection.closed_by is not None:
            raise connection.closed_error(maybe_executed=False)
        if machine.state is not State.READY and machine.state is not State.GREETED:
            raise NotStarted("connection lost: the peer is shutting down and takes no more calls")

    def _park_in(self, waiters: list[Waiting], greenlet: Any, deadline: float | None) -> None:
        waiting = Waiting(greenlet)
        timer = None
        if deadline is not None:
            timer = self.state.later(deadline - time.monotonic(), waiting.wake)
        waiters.append(waiting)
        self._stream.hold_loop(True)
        try:
            self.state.switch()
        finally:
            waiting.greenlet = None
            if timer is not None:
                timer.cancel()
            if waiting in waiters:
                waiters.remove(waiting)
            if not self.pending:
                self._stream.hold_loop(False)
        if deadline is not None and deadline <= time.monotonic():
            raise _too_late()

    def _free_id(self) -> int:
        while True:
            request_id = self._next_id
            self._next_id = request_id + 2 & 0xFFFFFFFF or 2
            if request_id not in self.pending:
                return request_id

    def _unusual_answer(self, frame: Frame, deadline: float | None) -> Any:
        kind, flags, _, _, body, extras, owner = frame
        buffers: Sequence[Buffer] = parse_extras(extras)[1] if extras else ()
        try:
            if kind == REPLY:
                return METHOD if flags & METHOD_FLAG else self._codec.decode_value(body, buffers)
            error = self._codec.decode_error(body, buffers)
        finally:
            if owner is not None:
                del body, extras, buffers, frame
                self._machine.recycle(owner)
        if isinstance(error, RemoteError) and error.remote_type == CANCELLED:
            text = str(error)
            if deadline is not None and deadline <= time.monotonic() + CLOCK_SLACK_SECONDS:
                error = TimeoutError(f"the call took longer than it was allowed: {text}", maybe_executed=True)
            else:
                error = ConnectionClosedError(f"the server gave the call up: {text}", maybe_executed=True)
        try:
            raise error
        finally:
            del error


def call_deadline(scope: Scope | None, timeout_seconds: float | None) -> float | None:
    """Return when a call that is made now has to be answered: the nearer of its own and the scope's limit."""
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    if scope is not None and scope.deadline is not None and (deadline is None or scope.deadline < deadline):
        deadline = scope.deadline
    return deadline


def outgoing_extras(
    scope: Scope | None, buffers: Sequence[Buffer], deadline: float | None, waits: bool = True
) -> list[Buffer]:
    """Gather what travels beside a request; only one that is waited for descends from the calls that led here.

    Raises:
        TimeoutError: the time is over before the call is sent.
    """
    annotations: dict[int, bytes] = {}
    if scope is not None:
        path = scope.onward_path() if waits else ()
        if path:
            annotations[Annotation.CALL_PATH] = b"".join(path)
        if scope.trace:
            annotations[Annotation.TRACE] = scope.trace
    if deadline is not None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise _too_late()
        annotations[Annotation.DEADLINE] = struct.pack("!I", min(max(int(left * 1000), 1), 0xFFFFFFFF))
    return build_extras(annotations, buffers)


def _too_late() -> TimeoutError:
    return TimeoutError("the deadline passed before the call was sent", maybe_executed=False)
