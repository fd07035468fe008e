"""The calls that one connection serves: queue, workers, answers, cancelling.

Requests that were read go into a deque. A worker greenlet drains it; a call that does not block ends without
any other greenlet being made. When a call blocks, control comes back to the hub, which puts another worker on
what is left. So plain blocking methods run side by side, and quick ones cost no spawn.

Cancelling goes through the call's record: only from the hub, only while that very call is running. A worker
that was thrown at ends after its call, and one that anything still refers to is not used again: what means to
throw at it later (a time-out that the method forgot, a kill that comes late) must not hit another call.

Three things hold requests back: too many calls run on this connection, too many in this process, or the peer
does not take the answers. Some more are read then, since cancellations come between them, and no further, unless
calls of our own wait for answers on the same connection: those that are running may need them to end.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from contextvars import Context
from typing import Any

from gpyro import hub
from gpyro._connection.liveness import MAX_UNASKED
from gpyro._connection.synchronizing import enter
from gpyro.access import denial
from gpyro.context import MAX_PATH, Call, enter_scope
from gpyro.errors import (
    AccessDeniedError,
    CallCancelled,
    ProtocolError,
    PyroError,
    RemoteProtocolError,
    SerializationError,
    ServerBusyError,
)
from gpyro.log import Log
from gpyro.objects import Method
from gpyro.util import traceback_lines
from gpyro.wire.native import (
    HEADER,
    Annotation,
    Buffer,
    Flag,
    Frame,
    FrameType,
    parse_annotations,
    parse_extras,
    parse_target,
)

__all__ = ["Serving"]

REQUEST, REPLY, ERROR, ONEWAY = (
    int(FrameType.REQUEST), int(FrameType.REPLY), int(FrameType.ERROR), int(FrameType.ONEWAY),
)
IDEMPOTENT = int(Flag.IDEMPOTENT)
#: Answers up to this size go out as one joined piece.
SMALL_BYTES = 64 * 1024
#: Ids are counted up and begin anew; of two, the one within this distance before the other is the older.
HALF_OF_IDS = 0x80000000
#: Requests that may wait while nothing more is begun, and their bytes; then nothing more is read.
MAX_WAITING, MAX_WAITING_BYTES = 1000, 16 * 1024 * 1024
#: What follows the name of an attribute in the name of a method that reads or writes it; no method has a blank.
READ, WRITE = " (read)", " (write)"
_NO_BUFFERS: list[Buffer] = []
_log = logging.getLogger("gpyro.calls")


class Serving:
    """The serving half of a connection, in both directions the same."""

    __slots__ = (
        "_busy_timer", "_connection", "_deadlines", "_handler", "_held", "_local_methods", "_methods",
        "_oneway_runs", "_peer_parity", "_state", "_stream", "_tuning", "_turn", "_turn_end", "cancels_left",
        "last_id", "leaving", "requests", "running", "served",
    )  # fmt: skip

    def __init__(self, connection: Any, handler: Any, peer_parity: int) -> None:
        self._connection = connection
        self._handler = handler
        self._methods: dict[bytes, Method] = handler.methods
        self._local_methods: dict[bytes, Method] | None = None
        self._peer_parity = peer_parity
        self._state: hub.HubState = connection.state
        self._stream = connection.stream
        self._tuning = connection.tuning
        self._turn = 0
        self._turn_end = 0.0
        self._busy_timer: hub.Timer | None = None
        #: True while requests wait until the peer has taken more of the answers.
        self._held = False
        #: True while a oneway call runs that what follows has to wait for (oneway_threaded=0).
        self._oneway_runs = False
        self._deadlines: dict[int, float] | None = None
        self.requests: deque[Frame] = deque()
        self.running: dict[int, Call] = {}
        #: Set once we have said that we take no more calls, and the last request id that was taken.
        self.leaving = False
        self.last_id = 0
        #: Calls taken on since the connection began.
        self.served = 0
        #: Cancellations that may still come: two for each request, whose first may wait behind its chunks.
        self.cancels_left = MAX_UNASKED

    def __repr__(self) -> str:
        return f"<Serving {len(self.running)} running, {len(self.requests)} waiting, {self.served} served>"

    # -- taking on -------------------------------------------------------------------------------------------

    def take(self, frame: Frame) -> None:
        """Queue a REQUEST or ONEWAY that was read.

        Raises:
            RemoteProtocolError: its id is not the peer's to give, or is in use.
        """
        request_id = frame[2]
        if request_id & 1 != self._peer_parity or request_id in self.running:
            raise RemoteProtocolError(
                f"request id {request_id} is {'in use' if request_id in self.running else 'of the wrong side'}"
            )
        self.cancels_left += 2
        if self.leaving:
            self._take_late(frame)
            return
        # Large requests travel in chunks and may arrive after younger ones.
        if request_id > self.last_id or self.last_id - request_id > HALF_OF_IDS:
            self.last_id = request_id
        if frame[5]:
            self._note_deadline(frame)
        self.requests.append(frame)

    def _take_late(self, frame: Frame) -> None:
        """Deal with a request that came after our goodbye.

        That named the last one that is served; the caller sends younger ones elsewhere by itself.
        """
        request_id = frame[2]
        if frame[0] == REQUEST and self.last_id - request_id & 0xFFFFFFFF < HALF_OF_IDS:
            self._send_error(request_id, ServerBusyError("the server is shutting down; this call was not started"))

    def work(self) -> None:
        """Serve what is queued until this turn's share is used up; runs in the hub."""
        self._turn += 1
        self._turn_end = time.monotonic() + self._tuning.turn_seconds
        state, requests, running, limit = (
            self._state, self.requests, self.running, self._tuning.max_in_flight_per_connection,
        )
        while requests and not self._oneway_runs and time.monotonic() < self._turn_end:
            if len(running) >= limit or state.in_flight >= self._tuning.max_in_flight:
                self._wait_for_slot()
                break
            if self._stream.is_congested() and self._connection.closed_by is None:
                self._held = True
                break
            state.run_worker(self._drain)
        self._turn += 1
        self._handler.note_activity()

    def is_full(self) -> bool:
        """Tell whether requests are held back until something has ended or left."""
        return self._busy_timer is not None or self._held or self._oneway_runs

    def _drain(self) -> bool:
        """Serve requests one after another; ends at the turn's end, or when this worker was thrown at."""
        turn = self._turn
        requests = self.requests
        while requests and not self._oneway_runs:
            if self._serve(requests.popleft()):
                return False
            if turn != self._turn or time.monotonic() >= self._turn_end:
                break
        return True

    def _note_deadline(self, frame: Frame) -> None:
        raw = parse_annotations(frame[5]).get(Annotation.DEADLINE)
        if raw is not None:
            if self._deadlines is None:
                self._deadlines = {}
            self._deadlines[frame[2]] = time.monotonic() + int.from_bytes(raw[:4], "big") / 1000

    # -- too many --------------------------------------------------------------------------------------------

    def _wait_for_slot(self) -> None:
        if self._busy_timer is None:
            self._busy_timer = self._state.later(self._tuning.busy_wait_seconds, self._refuse_waiting)
            if self._state.in_flight >= self._tuning.max_in_flight:
                self._state.waiting_for_slot[self] = None

    def slot_is_free(self) -> None:
        """A call has ended, here or on another connection: go on."""
        self._end_waiting()
        self._state.soon(self._connection.resume)

    def drained(self) -> None:
        """The peer has taken the answers: go on."""
        if self._held:
            self._held = False
            self._state.soon(self._connection.resume)

    def is_overflowing(self) -> bool:
        """Tell whether so much waits that no more should be read."""
        requests = self.requests
        return len(requests) >= MAX_WAITING or sum(
            len(frame[4]) + len(frame[5]) for frame in requests
        ) >= MAX_WAITING_BYTES  # fmt: skip

    def refuse_overflow(self) -> None:
        """Refuse what is too much to wait, youngest first."""
        while self.requests and self.is_overflowing():
            self._refuse(self.requests.pop(), f"{len(self.requests)} calls wait")

    def _refuse_waiting(self) -> None:
        """Nothing ended in time: answer what waits, so that callers can go elsewhere."""
        self._end_waiting()
        while self.requests:
            self._refuse(self.requests.popleft(), f"none ended within {self._tuning.busy_wait_seconds:g} s")
        self._connection.resume()

    def _refuse(self, frame: Frame, reason: str) -> None:
        self._forget_deadline(frame[2])
        if frame[6] is not None:
            self._connection.machine.recycle(frame[6])
        exc = ServerBusyError(
            f"server too busy: {len(self.running)} calls are running on this connection, "
            f"limit is {self._tuning.max_in_flight_per_connection} (max_in_flight_per_connection), "
            f"{self._state.in_flight} in this process, limit is {self._tuning.max_in_flight} (max_in_flight), "
            f"and {reason}; try again later"
        )
        if frame[0] == REQUEST:
            self._send_error(frame[2], exc)
        else:
            _log.warning("oneway call from %s dropped: %s", self._connection.addr, exc)

    def _end_waiting(self) -> None:
        timer, self._busy_timer = self._busy_timer, None
        if timer is not None:
            timer.cancel()
            self._state.waiting_for_slot.pop(self, None)

    def _forget_deadline(self, request_id: int) -> None:
        if self._deadlines:
            self._deadlines.pop(request_id, None)

    # -- one call --------------------------------------------------------------------------------------------

    def _serve(self, frame: Frame) -> bool:
        """Run one call and answer it; returns True when its greenlet was thrown at."""
        kind, _, request_id, target, body, extras, owner = frame
        self.served += 1
        call = Call(self._connection, request_id, "", kind == ONEWAY, None)
        try:
            method = self._methods.get(target) or self._find(target)
            if method.allowed is not None:
                self._check_access(method)
            if extras:
                annotations, buffers = parse_extras(extras)
                if annotations and not self._note_annotations(call, annotations):
                    return False
                args, kwargs = self._connection.codec.decode_arguments(body, buffers)
                del buffers, annotations
            else:
                args, kwargs = self._connection.codec.decode_arguments(body, _NO_BUFFERS)
        except BaseException as exc:
            self._forget_deadline(request_id)
            self._answer_failure(call, exc)
            return False
        finally:
            if owner is not None:
                del body, extras, frame
                self._connection.machine.recycle(owner)
        call.method_name = method.name
        call.method = method
        if method.oneway and not call.oneway:
            # Marked here only, so the caller waits: it shall wait for nothing.
            call.oneway = True
            call.path = ()
            self._answer(request_id, None)
        call.worker = hub.getcurrent()
        if call.oneway and not self._tuning.oneway_threaded:
            self._run_oneway(call, method, args, kwargs)
        else:
            self._run(call, method, args, kwargs)
        return call.thrown

    def _run_oneway(self, call: Call, method: Method, args: Any, kwargs: Any) -> None:
        self._oneway_runs = True
        try:
            self._run(call, method, args, kwargs)
        finally:
            self._oneway_runs = False
            if self.requests:
                self._state.soon(self._connection.resume)

    def _run(self, call: Call, method: Method, args: Any, kwargs: Any) -> None:
        gpyro_method = method  # the watchdog looks for this name
        request_id, state = call.request_id, self._state
        if self.running.setdefault(request_id, call) is not call:
            # Both came before either ran; `take` sees only what is running.
            self._connection.break_off(f"request id {request_id} is in use")
            return
        state.in_flight += 1
        timer = None
        if call.deadline is not None:
            timer = state.later(call.deadline - time.monotonic(), self.cancel, request_id, "its deadline passed")
        try:
            context = Context()
            context.run(enter_scope, call)
            if gpyro_method.synchronized:
                result = self._run_alone(call, gpyro_method, context, args, kwargs)
            elif gpyro_method.offload or self._handler.offload_all:
                result = self._handler.offload(context, gpyro_method.function, args, kwargs)
            else:
                result = context.run(gpyro_method.function, *args, **kwargs)
        except BaseException as exc:
            self._ended(call, timer)
            self._answer_failure(call, exc)
            return
        self._ended(call, timer)
        if not call.oneway:
            self._answer(request_id, result, IDEMPOTENT if gpyro_method.idempotent else 0)

    def _run_alone(self, call: Call, method: Method, context: Context, args: Any, kwargs: Any) -> Any:
        """Run the method of a synchronized object when it is this call's turn."""
        hold = enter(method.owner, call, self._tuning.synchronized_wait_seconds)
        if method.offload or self._handler.offload_all:
            return hold.run_in_thread(
                method.function, lambda function: self._handler.offload(context, function, args, kwargs)
            )
        try:
            return context.run(method.function, *args, **kwargs)
        finally:
            hold.leave()

    def _ended(self, call: Call, timer: hub.Timer | None) -> None:
        """Give the slot back; only now, so that a cancelled call that runs on still counts."""
        self.running.pop(call.request_id, None)
        call.worker = None
        self._state.in_flight -= 1
        if timer is not None:
            timer.cancel()
        waiting = self._state.waiting_for_slot
        if waiting:
            # Whoever has waited longest in this process; below, who waits for a call of its own connection.
            next(iter(waiting)).slot_is_free()
        if self._busy_timer is not None:
            self.slot_is_free()
        if self._connection.going_away:
            # After the answer has been written.
            self._state.soon(self._connection.calls_ended)

    def _note_annotations(self, call: Call, annotations: dict[int, bytes]) -> bool:
        """Fill the record; False when the call came too late to be started."""
        # Nobody waits for a oneway call, so it descends from none.
        path = b"" if call.oneway else annotations.get(Annotation.CALL_PATH, b"")[-8 * MAX_PATH :]
        call.path = tuple(path[at : at + 8] for at in range(0, len(path), 8))
        call.trace = annotations.get(Annotation.TRACE, b"")[:64]
        if self._deadlines:
            call.deadline = self._deadlines.pop(call.request_id, None)
            if call.deadline is not None and call.deadline <= time.monotonic():
                self._answer_failure(call, ServerBusyError("the call's deadline passed before it was started"))
                return False
        return True

    def _find(self, target: bytes) -> Method:
        """Look up what a request is for; what is found is remembered under the target's bytes."""
        if self._local_methods is not None and target in self._local_methods:
            return self._local_methods[target]
        scope, access, object_id, name = parse_target(target)
        if scope == 0:
            return self._handler.find(self._connection, target, access, object_id, name)  # type: ignore[no-any-return]
        if scope != 1:
            raise RemoteProtocolError(f"request for scope {scope}; there are 0 and 1")
        table = self._connection.exports.find(object_id)
        if table is None:
            raise ProtocolError(f"unknown object {object_id!r} of this connection")
        if access:
            return attribute_access(table, access, name)
        method: Method = table.find(name)
        if self._local_methods is None:
            self._local_methods = {}
        if len(self._local_methods) < self._tuning.max_exports:
            self._local_methods[target] = method
        return method

    def _check_access(self, method: Method) -> None:
        """See that a rule grants this method; asked before the arguments are decoded.

        Raises:
            AccessDeniedError: none does.
        """
        caller = self._connection
        assert method.allowed is not None
        if method.allowed.isdisjoint(caller.principals):
            name, verb = method.name, "call"
            for suffix, word in ((READ, "read"), (WRITE, "write")):
                if name.endswith(suffix):
                    name, verb = name.removesuffix(suffix), word
            raise denial(caller.identity, caller.principals, verb, name)

    # -- answers ---------------------------------------------------------------------------------------------

    def _answer(self, request_id: int, result: Any, flags: int = 0) -> None:
        if result is METHOD_MARKER:
            self._connection.send_answer(REPLY, Flag.METHOD, request_id, b"", ())
            return
        try:
            body, buffers = self._connection.codec.encode_value(result)
            if buffers or len(body) > SMALL_BYTES:
                self._connection.send_answer(REPLY, flags, request_id, body, buffers)
                if self._stream.is_congested():
                    # The rest of this turn waits until the peer has taken some of it.
                    self._turn_end = 0.0
                return
        except BaseException as exc:
            self._pass_on(exc)
            self._send_error(request_id, exc)
            return
        if self._connection.closed_by is None:
            data = HEADER.pack(REPLY, flags, 0, request_id, len(body), 0) + body
            if self.requests or self.running:
                self._connection.stream.write(data)
            else:
                # The only call under way: no other answer could leave together with this one.
                self._connection.stream.write_now(data)

    def _pass_on(self, exc: BaseException) -> None:
        """A ctrl-C is for the whole program, also where it has come up in a call that is served."""
        if isinstance(exc, KeyboardInterrupt):
            hub.pass_on_interrupt(self._state)

    def _answer_failure(self, call: Call, exc: BaseException) -> None:
        self._pass_on(exc)
        if call.method is not None and call.method.reports:
            self._report(call, exc)
        if isinstance(exc, RemoteProtocolError) and not call.method_name:
            _log.info("bad request from %s: %s", self._connection.addr, exc)
        elif isinstance(exc, AccessDeniedError):
            _log.info("denied %s: %s", self._connection.addr, exc)
            if call.oneway:
                return
        if call.oneway:
            _log.info("oneway call %s failed: %s: %s", call.method_name or "?", type(exc).__name__, exc)
            return
        if isinstance(exc, (CallCancelled, hub.GreenletExit)):
            exc = CallCancelled(*exc.args) if exc.args else CallCancelled("the call was cancelled")
        self._send_error(call.request_id, exc, call.method_name)

    def _report(self, call: Call, exc: BaseException) -> None:
        """Tell of an error where it happened; the end of a call that nobody wants any more is none."""
        if not isinstance(exc, (CallCancelled, hub.GreenletExit)):
            text = "".join(traceback_lines(exc, self._handler.detailed_traceback())).rstrip("\n")
            Log.error("Callback", f"{call.method!r}, called by {self._connection.addr}, failed:\n{text}")

    def _send_error(self, request_id: int, exc: BaseException, method_name: str = "") -> None:
        """Answer with an exception, whatever is in it: a caller without an answer would wait for ever."""
        connection = self._connection
        try:
            lines = None
            if method_name and connection.may_see_tracebacks():
                lines = traceback_lines(exc, self._handler.detailed_traceback())
            connection.send_answer(ERROR, 0, request_id, *connection.codec.encode_error(exc, lines))
        except BaseException as failure:
            reason = str(failure) if isinstance(failure, PyroError) else type(failure).__name__
            substitute = SerializationError(f"{type(exc).__name__} could not travel: {reason[:500]}")
            connection.send_answer(ERROR, 0, request_id, *connection.codec.encode_error(substitute, None))

    # -- cancelling ------------------------------------------------------------------------------------------

    def cancel_for_peer(self, request_id: int) -> None:
        """The caller has given a call up.

        Raises:
            RemoteProtocolError: it gives up many more than it has made.
        """
        self.cancels_left -= 1
        if self.cancels_left < 0:
            raise RemoteProtocolError(
                f"{self._connection.addr} has cancelled {MAX_UNASKED} calls more than it can have made, "
                "which is the limit"
            )
        self.cancel(request_id, "its caller gave up")

    def cancel(self, request_id: int, reason: str) -> None:
        """Stop a call, wherever it is; runs in the hub. Unknown ids are calls that have ended."""
        call = self.running.get(request_id)
        if call is None:
            self._drop_waiting(request_id, reason)
            return
        call.cancelled = True
        if call.oneway or call.thrown or call.worker is None or call.worker.dead:
            return
        call.thrown = True
        try:
            call.worker.throw(CallCancelled(f"{call.method_name} was cancelled: {reason}"))
        except BaseException:
            self._state.report(call)

    def _drop_waiting(self, request_id: int, reason: str) -> None:
        for index, frame in enumerate(self.requests):
            if frame[2] == request_id and frame[0] == REQUEST:
                del self.requests[index]
                self._forget_deadline(request_id)
                self._send_error(request_id, CallCancelled(f"cancelled before it was started: {reason}"))
                return

    def caller_gone(self) -> None:
        """The connection has ended: cancel what may be, tell the others; oneway calls run on."""
        self._end_waiting()
        self._held = False
        # In place, since a worker may be in the middle of it.
        oneways = [frame for frame in self.requests if frame[0] == ONEWAY]
        self.requests.clear()
        self.requests.extend(oneways)
        for request_id, call in list(self.running.items()):
            if call.oneway:
                continue
            call.cancelled = True
            if call.deadline is not None or call.method.cancellable:
                self._state.soon(self.cancel, request_id, "its caller is gone")
            elif call.hold is not None:
                self._state.soon(self._cancel_waiting, call)
        if self.requests:
            self._state.soon(self.serve_rest)

    def _cancel_waiting(self, call: Call) -> None:
        """The caller is gone: what still waits for a synchronized object is not begun any more."""
        if call.hold is not None and call.hold.is_waiting():
            self.cancel(call.request_id, "its caller is gone")

    def serve_rest(self) -> None:
        """Go on with oneway calls after the connection has ended; runs in the hub."""
        if self.requests:
            self.work()
            if self.requests and not self.is_full():
                self._state.later(0.0, self.serve_rest)

    def cancel_all(self, reason: str) -> None:
        """Cancel whatever is running or waiting; runs in the hub."""
        for request_id in [*self.running, *(frame[2] for frame in self.requests)]:
            self.cancel(request_id, reason)


class _MethodMarker:
    def __repr__(self) -> str:
        return "<it is a method>"


METHOD_MARKER = _MethodMarker()


def attribute_access(table: Any, access: int, name: str) -> Method:
    """Return a method that reads (1) or writes (2) an attribute of what `table` stands for.

    Raises:
        RemoteProtocolError: there is no such access.
    """
    if access == 1:
        return Method(lambda: _read(table, name), name + READ, table.owner)
    if access == 2:
        return Method(lambda value: table.write(name, value), name + WRITE, table.owner)
    raise RemoteProtocolError(f"request for access {access}; there are 0, 1 and 2")


def _read(table: Any, name: str) -> Any:
    if name in getattr(table, "methods", ()):
        return METHOD_MARKER
    return table.read(name)

