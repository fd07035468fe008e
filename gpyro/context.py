"""The context of the running call: who called, until when, is it still wanted, what led here.

Each call runs in a contextvars.Context of its own, and calls that it makes inherit what is left of its time. A
greenlet begins with an empty context, whoever spawns it: a method that spawns some for its call hands its own on,
`gevent.spawn(contextvars.copy_context().run, function)`.
"""

from __future__ import annotations

import os
import time
from contextvars import ContextVar, Token
from typing import Any

__all__ = ["Call", "CurrentCall", "Onward", "Scope", "current_call", "current_scope", "deadline", "make_call_id"]

#: Calls that a chain remembers; deeper chains forget their oldest. 64 ids are 512 bytes on the wire.
MAX_PATH = 64


class Scope:
    """What calls made from here inherit.

    `deadline` is a time of time.monotonic() or None; `path` holds the ids of the calls that led here,
    outermost first; `trace` is an opaque trace context that travels along.
    """

    __slots__ = ("_call", "deadline", "path", "trace")

    def __init__(
        self, deadline: float | None, path: tuple[bytes, ...], trace: bytes, call: Call | None
    ) -> None:
        self.deadline = deadline
        self.path = path
        self.trace = trace
        self._call = call

    @property
    def call(self) -> Call | None:
        """The call that the code in this scope serves."""
        return self._call

    def held(self) -> Any:
        """Return the place that the call has on a synchronized object, None where it has none."""
        return None if self._call is None else self._call.hold

    def onward_path(self) -> tuple[bytes, ...]:
        """Return the path for a call made from here."""
        return self.path if self._call is None else self._call.onward_path()


class Onward(Scope):
    """Inside one outgoing call of a call that is on a synchronized object: `path` names that very call last."""

    __slots__ = ()

    def held(self) -> None:
        """It is out already."""

    def onward_path(self) -> tuple[bytes, ...]:
        """Return the path for the call that is made."""
        return self.path


class Call(Scope):
    """The record of one call on the serving side; cancelling goes through it."""

    __slots__ = (
        "caller", "cancelled", "hold", "id", "method", "method_name", "oneway", "request_id", "thrown", "worker",
    )  # fmt: skip

    def __init__(self, caller: Any, request_id: int, method_name: str, oneway: bool, worker: Any) -> None:
        self.deadline: float | None = None
        self.path: tuple[bytes, ...] = ()
        self.trace = b""
        self.caller = caller
        self.request_id = request_id
        self.method_name = method_name
        self.oneway = oneway
        self.worker = worker
        self.method: Any = None
        self.cancelled = False
        self.thrown = False
        self.id = b""
        #: Its place on a synchronized object, inside it or waiting for that.
        self.hold: Any = None

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled else "running"
        return f"<Call {self.request_id} {self.method_name} {state}>"

    @property
    def call(self) -> Call:
        """It is that itself; not kept in an attribute, which would be a cycle for the collector in each call."""
        return self

    def held(self) -> Any:
        """Return the place that it has on a synchronized object."""
        return self.hold

    def onward_path(self) -> tuple[bytes, ...]:
        """Return the path for a call made from here."""
        if not self.id:
            self.id = make_call_id()
        return (*self.path, self.id)[-MAX_PATH:]


def make_call_id() -> bytes:
    """Return a new id of a call. Random: whoever could guess it could pretend to descend from that call."""
    return os.urandom(8)


_scope: ContextVar[Scope | None] = ContextVar("gpyro_scope", default=None)
current_scope = _scope.get
enter_scope = _scope.set
leave_scope = _scope.reset


class CurrentCall:
    """The call that the running code serves; false, and everything None, outside of one."""

    def __bool__(self) -> bool:
        return self._call() is not None

    def __repr__(self) -> str:
        return f"<current_call: {self._call() or 'none'}>"

    @staticmethod
    def _call() -> Call | None:
        scope = _scope.get()
        return None if scope is None else scope.call

    @property
    def caller(self) -> Any:
        """The connection that the call came over; `caller.addr` is the peer's address."""
        call = self._call()
        return None if call is None else call.caller

    @property
    def identity(self) -> str | None:
        """Who the caller has proved to be; None without authentication."""
        call = self._call()
        return None if call is None else call.caller.identity

    @property
    def deadline(self) -> float | None:
        """Seconds that remain, None without a deadline."""
        scope = _scope.get()
        if scope is None or scope.deadline is None:
            return None
        return max(scope.deadline - time.monotonic(), 0.0)

    @property
    def cancelled(self) -> bool:
        """Whether the caller gave up or is gone; a long method looks here now and then."""
        call = self._call()
        return call is not None and call.cancelled


current_call = CurrentCall()


class deadline:
    """Give everything inside the block `seconds` in all; remote calls carry what is left along.

        with gpyro.deadline(2.0):
            stock.reserve(item)        # TimeoutError when the 2 s are over

    A deadline that is already set and nearer stays.

    Raises:
        ValueError: seconds is not a positive number.
    """

    def __init__(self, seconds: float) -> None:
        if not seconds > 0:
            raise ValueError(f"deadline of {seconds!r} seconds; it has to be a positive number")
        self.seconds = seconds
        self._tokens: list[Token[Scope | None]] = []

    def __enter__(self) -> deadline:
        outer = _scope.get()
        until = time.monotonic() + self.seconds
        if outer is None:
            scope = Scope(until, (), b"", None)
        else:
            until = until if outer.deadline is None else min(until, outer.deadline)
            scope = Scope(until, outer.path, outer.trace, outer.call)
        self._tokens.append(_scope.set(scope))
        return self

    def __exit__(self, *exc_info: object) -> None:
        _scope.reset(self._tokens.pop())
