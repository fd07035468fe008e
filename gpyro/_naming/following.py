"""The caller's side of watching: an iterator of what happens to names, which outlives the server's restarts."""

from __future__ import annotations

import copy
from collections import deque
from typing import TYPE_CHECKING, Any

from gpyro import hub
from gpyro._naming.watching import NameEvent
from gpyro.context import current_call
from gpyro.errors import ConnectionDeniedError, NamingError, ProtocolError, ServerBusyError, TimeoutError

if TYPE_CHECKING:
    from gpyro._naming.client import NameServerProxy

__all__ = ["NameWatch"]

#: Seconds that one question waits at the server: few questions, and none that a middlebox would take for idle.
POLL_SECONDS = 25.0
#: How much longer an answer may take before the server counts as lost.
GRACE_SECONDS = 10.0
#: Between two tries to reach a lost server: from the first to the last, doubled each time.
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 0.1, 2.0


class _Closed(BaseException):
    """Thrown into the greenlet that asks the server when the watch is closed meanwhile."""


class NameWatch:
    """What happens at or under a group, as `NameEvent`s, from the moment at which it was made; see
    `NameServerProxy.watch`.

    Several greenlets of a thread may take events from one: each event goes to one of them.

    Args:
        ns: the name server; a copy of the proxy is used, with a connection of its own.
        group: a full name, which need not be there.

    Raises:
        ProtocolError and its kind, AccessDeniedError, ServerBusyError: it cannot be watched.

    Resources: `close`, from any thread or greenlet, ends it and those who wait for an event; leaving its `with`
    block closes it too.
    Errors: a server that is lost is tried again for ever; what was missed is a "reset". AccessDeniedError and a
    login that is refused are raised, and end it.
    """

    def __init__(self, ns: NameServerProxy, group: str) -> None:
        self.group = group
        self._ns = copy.copy(ns)
        self._ns._setTimeout(POLL_SECONDS + GRACE_SECONDS)
        #: Held for a few lines that never wait.
        self._lock = hub.NativeLock()
        self._events: deque[NameEvent] = deque()
        self._closed = False
        self._lost = False
        #: Who asks the server now, and its hub; others of its thread wait at the bell.
        self._asking: Any = None
        self._state: hub.HubState | None = None
        self._bell = hub.Signal()
        try:
            self._cursor, _ = self._ns._ask("changes", group, None, 0.0)
        except BaseException:
            self._ns._release()
            raise

    def __repr__(self) -> str:
        state = "closed" if self._closed else "server is lost" if self._lost else "open"
        return f"<NameWatch of {self.group!r} at {self._ns.URI}, {state}, {len(self._events)} events at hand>"

    @property
    def is_closed(self) -> bool:
        """True once it has ended."""
        return self._closed

    def __iter__(self) -> NameWatch:
        return self

    def __next__(self) -> NameEvent:
        while True:
            with self._lock:
                if self._closed:
                    raise StopIteration
                if self._events:
                    return self._events.popleft()
                mine = self._asking is None
                if mine:
                    self._asking, self._state = hub.getcurrent(), hub.current_state()
            if mine:
                self._fetch()
            elif self._state not in (None, hub.current_state()):
                raise ProtocolError("another thread waits for the next event; give each thread a watch of its own")
            else:
                hub.wait_for(self._bell, (), None)

    def __enter__(self) -> NameWatch:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End it: no more events, and those who wait for one hear the end; closing again does nothing."""
        with self._lock:
            self._closed = True
            self._events.clear()
            state = self._state
        if state is None:
            self._ns._release()
        else:
            hub.run_in_hub_of(state, self._interrupt)

    def _interrupt(self) -> None:
        """In the hub, where whoever asks is waiting."""
        if self._asking is not None:
            self._asking.throw(_Closed())

    def _fetch(self) -> None:
        """Wait until there are events at hand, or it is closed."""
        try:
            retry_seconds = FIRST_RETRY_SECONDS
            while not self._closed and not self._events:
                try:
                    self._cursor, rows = self._ns._ask("changes", self.group, self._cursor, POLL_SECONDS)
                    self._lost = False
                    retry_seconds = FIRST_RETRY_SECONDS
                    self._events.extend(NameEvent(*row) for row in rows)
                except (NamingError, ProtocolError, ServerBusyError) as exc:
                    if _is_final(exc) or _is_out_of_time(exc):
                        raise
                    self._lost = True
                    hub.sleep(retry_seconds)
                    retry_seconds = min(retry_seconds * 2, LAST_RETRY_SECONDS)
        except _Closed:
            pass
        except Exception as exc:
            self._closed = not _is_out_of_time(exc)
            raise
        finally:
            with self._lock:
                self._asking = self._state = None
            self._bell.set()
            if self._closed:
                self._ns._release()


def _is_final(exc: Exception) -> bool:
    """Tell whether trying again is of no use, as the login is refused."""
    return isinstance(exc, ConnectionDeniedError) and exc.code == ConnectionDeniedError.SECURITY


def _is_out_of_time(exc: Exception) -> bool:
    """Tell whether it was the caller's own deadline that has passed; the watch goes on with the next question."""
    return isinstance(exc, TimeoutError) and current_call.deadline == 0
