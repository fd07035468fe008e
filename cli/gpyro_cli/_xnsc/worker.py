"""The threads that talk to the name server, so that the window never waits for it.

A `Session` is one contact to one name server: a thread that does what it is asked to, one thing after the other,
and one that hears what happens to the names. Each has a hub and a connection of its own; nothing is patched.
The `Desk` is the window's side: it hands jobs in, and calls back in the thread that calls `poll`. Whoever connects
elsewhere leaves the old session behind, whose threads end by themselves: no call lasts longer than CALL_SECONDS.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from queue import Empty, Full, Queue, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from gpyro.errors import PyroError

if TYPE_CHECKING:
    from gpyro.naming import NameServerProxy, NameWatch

__all__ = ["CALL_SECONDS", "Desk", "Handlers", "Place", "Session", "in_words"]

#: No request lasts longer: who looks at a window for ten seconds wants to hear why.
CALL_SECONDS = 10.0
#: Jobs that wait for one server: more than anybody clicks while it is slow.
MAX_JOBS = 64
#: Events that wait for the window; with more, the thread that hears of them stands still, and the server's own
#: bound holds.
MAX_UNREAD = 5_000
#: How often that thread looks whether the window has caught up.
CATCH_UP_SECONDS = 0.02
#: Time that one `poll` may take, so that the window stays smooth, and messages between two looks at the clock.
POLL_SECONDS, POLL_BATCH = 0.015, 50


class Place(NamedTuple):
    """Where a name server is to be looked for, and what to prove ourselves with; no host: wherever it is found."""

    host: str | None = None
    port: int | None = None
    bcaddr: str | None = None
    identification: object = None

    def __repr__(self) -> str:
        return f"<Place {self}{' with an identification' if self.identification is not None else ''}>"

    def __str__(self) -> str:
        if self.host is None:
            return "wherever one is found" if self.port is None else f"wherever one is found at port {self.port}"
        return self.host if self.port is None else f"{self.host} port {self.port}"


class Message(NamedTuple):
    """What a thread has to tell: `kind` is one of the names of `Handlers`, or "answered" or "refused"."""

    session: int
    kind: str
    value: Any
    job: int = 0


class Handlers(NamedTuple):
    """What a desk calls when something comes that is no answer to a job; all in the thread of `poll`."""

    #: The address of the server that was found.
    connected: Callable[[str], object]
    #: Why there is none.
    not_connected: Callable[[str], object]
    #: A `NameEvent`.
    happened: Callable[[Any], object]
    #: Why the names are not followed any more.
    not_watching: Callable[[str], object]


class _Job(NamedTuple):
    number: int
    function: Callable[[NameServerProxy], Any]


class Session:
    """One contact to a name server.

    Resources: `end` lets its threads end, soon or when their call is over; they never hold up the process.
    Errors: all that go wrong become messages in words.
    """

    def __init__(self, number: int, place: Place, results: SimpleQueue[Message]) -> None:
        self.number = number
        self.place = place
        self._results = results
        self._jobs: Queue[_Job | None] = Queue(MAX_JOBS)
        self._ended = False
        self._watch: NameWatch | None = None
        self.threads = [threading.Thread(target=self._work, name=f"xnsc requests {number}", daemon=True)]

    def __repr__(self) -> str:
        state = "ended" if self._ended else "watching" if self._watch is not None else "open"
        return f"<Session {self.number} with {self.place}, {state}, {self._jobs.qsize()} jobs wait>"

    def start(self) -> None:
        """Begin to look for the server."""
        self.threads[0].start()

    def put(self, job: _Job) -> bool:
        """Hand a job in; tells whether there is room for it."""
        try:
            self._jobs.put_nowait(job)
        except Full:
            return False
        return True

    def end(self) -> None:
        """Take no more jobs, drop those that wait, and let the threads end."""
        self._ended = True
        watch = self._watch
        if watch is not None:
            watch.close()
        try:
            while True:
                self._jobs.get_nowait()
        except Empty:
            self._jobs.put_nowait(None)

    def _tell(self, kind: str, value: Any, job: int = 0) -> None:
        if not self._ended:
            self._results.put(Message(self.number, kind, value, job))

    # -- the thread of the requests

    def _work(self) -> None:
        ns = self._connect()
        if ns is None:
            return
        try:
            while (job := self._jobs.get()) is not None and not self._ended:
                try:
                    value = job.function(ns)
                except Exception as exc:
                    self._tell("refused", in_words(exc), job.number)
                else:
                    self._tell("answered", value, job.number)
        finally:
            ns._release()

    def _connect(self) -> NameServerProxy | None:
        from gpyro.naming import NameServerLocator

        host, port, bcaddr, identification = self.place
        try:
            ns = NameServerLocator(identification).getNS(host, port, bcaddr=bcaddr)
        except Exception as exc:
            self._tell("not_connected", in_words(exc))
            return None
        ns._setTimeout(CALL_SECONDS)
        # Before the names are read for the first time, so that nothing between is missed.
        try:
            self._watch = ns.watch(":")
        except Exception as exc:
            self._tell("connected", str(ns.URI))
            self._tell("not_watching", in_words(exc))
            return ns
        self._tell("connected", str(ns.URI))
        if self._ended:
            self._watch.close()
        follower = threading.Thread(target=self._follow, name=f"xnsc events {self.number}", daemon=True)
        self.threads.append(follower)
        follower.start()
        return ns

    # -- the thread of the events

    def _follow(self) -> None:
        assert self._watch is not None
        try:
            for event in self._watch:
                self._tell("happened", event)
                while self._results.qsize() > MAX_UNREAD and not self._ended:
                    time.sleep(CATCH_UP_SECONDS)
        except Exception as exc:
            self._tell("not_watching", in_words(exc))


class _Asked(NamedTuple):
    words: str
    done: Callable[[Any], object]
    failed: Callable[[str], object]
    quiet: bool


class Desk:
    """Where the window hands its jobs in and hears what became of them; for one thread, which never waits.

    Args:
        handlers: whom to call with what is no answer to a job.
    """

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers
        self._results: SimpleQueue[Message] = SimpleQueue()
        self._numbers = itertools.count(1)
        self._asked: dict[int, _Asked] = {}
        self.session: Session | None = None
        #: Sessions that were left behind and may have a thread in a call.
        self._left: list[Session] = []

    def __repr__(self) -> str:
        return f"<Desk with {self.session!r}, {len(self._asked)} jobs asked for>"

    @property
    def busy(self) -> str:
        """What is waited for, in words; empty for nothing that somebody asked for."""
        return next((asked.words for asked in self._asked.values() if not asked.quiet), "")

    def connect(self, place: Place) -> None:
        """Look for a name server; one that was connected before is left behind, with all that is on its way."""
        self.leave()
        self.session = Session(next(self._numbers), place, self._results)
        self.session.start()

    def leave(self) -> None:
        """Go away from the server; what it still says is not heard."""
        if self.session is not None:
            self.session.end()
            self._left = [left for left in self._left if _is_alive(left)]
            self._left.append(self.session)
        self.session = None
        self._asked.clear()

    def ask(
        self, words: str, function: Callable[[NameServerProxy], Any], done: Callable[[Any], object],
        failed: Callable[[str], object], quiet: bool = False,
    ) -> bool:  # fmt: skip
        """Have something done with the name server.

        Args:
            words: what it is, for people who wait for it.
            function: called with the name server, in another thread; must not touch the window.
            done: called with what it returned. failed: called with what went wrong, in words.
            quiet: nobody waits for it.

        Returns:
            False where there is no server, or too much waits for it already.
        """
        number = next(self._numbers)
        if self.session is None or not self.session.put(_Job(number, function)):
            return False
        self._asked[number] = _Asked(words, done, failed, quiet)
        return True

    def poll(self) -> bool:
        """Call back with what has come, for a short time; tells whether more is there."""
        until = time.monotonic() + POLL_SECONDS
        while True:
            for _ in range(POLL_BATCH):
                try:
                    message = self._results.get_nowait()
                except Empty:
                    return False
                self._handle(message)
            if time.monotonic() > until:
                return True

    def _handle(self, message: Message) -> None:
        if self.session is None or message.session != self.session.number:
            return
        if message.kind in ("answered", "refused"):
            asked = self._asked.pop(message.job, None)
            if asked is not None:
                (asked.done if message.kind == "answered" else asked.failed)(message.value)
            return
        getattr(self._handlers, message.kind)(message.value)

    def close(self, seconds: float) -> bool:
        """Leave the server, wait that long for the threads, and tell whether all have ended."""
        self.leave()
        until = time.monotonic() + seconds
        threads = [thread for session in self._left for thread in session.threads]
        for thread in threads:
            if thread.is_alive():
                thread.join(max(until - time.monotonic(), 0))
        return not any(thread.is_alive() for thread in threads)


def _is_alive(session: Session) -> bool:
    return any(thread.is_alive() for thread in session.threads)


def in_words(exc: BaseException) -> str:
    """Return what went wrong as one line for people."""
    text = " ".join(str(exc).split())
    if isinstance(exc, (PyroError, OSError)) and text:
        return text
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
