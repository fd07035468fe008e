"""Who subscribes: the links and boxes of gpyro's own subscribers, and the couriers to Pyro-style ones.

A subscriber's box is known by a token that only its program has, so it may be used over any of its connections,
one after the other. It is removed when nobody has had a connection for it for `es_resume_seconds`, and ten times
as late where its program is connected and does not listen.
"""

from __future__ import annotations

import logging
import secrets
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from gpyro import hub
from gpyro._events.courier import Courier
from gpyro._events.distributor import Distributor, Target
from gpyro._events.mailbox import Mailbox
from gpyro._events.namedqueue import Consumer, NamedQueue
from gpyro._events.options import QUEUE_FACTOR, Options, check_owner
from gpyro._events.patternindex import CompiledPattern
from gpyro._events.replaying import Replay
from gpyro._events.session import MAX_BOXES, Session
from gpyro._events.subjects import fold
from gpyro.configuration import Settings
from gpyro.context import current_call
from gpyro.errors import EventError, PatternError, ServerBusyError
from gpyro.eventrecords import QueueRecord

__all__ = ["Member", "Members"]

#: Seconds between two looks at who is still there, or less where they are not kept for long, and how many are
#: looked at before others may run.
SWEEP_SECONDS, SWEPT_AT_ONCE = 5.0, 500
#: How much longer a box is kept for one whose program is connected but does not listen.
IDLE_FACTOR = 10
#: Bytes of a token: nobody guesses it.
TOKEN_BYTES = 16

_log = logging.getLogger("gpyro.events")


class Member:
    """One subscriber of gpyro's own kind: its box, and how it is known to be there."""

    __slots__ = ("box", "caller", "identity", "seen", "session", "token")

    def __init__(self, token: str, identity: str | None, box: Mailbox | Consumer) -> None:
        self.token = token
        self.identity = identity
        self.box = box
        self.session: Session | None = None
        self.caller: Any = None
        self.seen = 0.0

    def __repr__(self) -> str:
        return f"<Member {self.box!r}, {'there' if self.is_there() else 'away'}>"

    @property
    def target(self) -> Target:
        """What is subscribed for it: its mailbox, or the reliable queue that it takes events from."""
        return self.box if isinstance(self.box, Mailbox) else self.box.queue

    def note_caller(self, caller: Any) -> None:
        """It was heard of, over this connection."""
        self.seen = time.monotonic()
        self.caller = None if caller is None else weakref.ref(caller)

    def is_there(self) -> bool:
        """Tell whether one of its connections is open."""
        if self.session is not None and self.session.is_there():
            return True
        caller = None if self.caller is None else self.caller()
        return caller is not None and bool(caller.is_open())


class Members:
    """All subscribers of one event server.

    Args:
        distributor: where they are subscribed.
        settings: queue sizes and times; some are read live.
        has_ended: tells whether the server ends.
        identification: what to prove ourselves with to daemons of Pyro-style subscribers.
    """

    def __init__(
        self, distributor: Distributor, settings: Settings, has_ended: Callable[[], bool], identification: object
    ) -> None:
        self.distributor = distributor
        self.settings = settings
        self.members: dict[str, Member] = {}
        self.sessions: dict[str, Session] = {}
        #: By the connection that the object is bound to, or None, and its id. Source: Pyro knows them by that.
        self.couriers: dict[tuple[Any, str], Courier] = {}
        #: Those that have ended and whose last call runs still.
        self._leaving: dict[tuple[Any, str], Courier] = {}
        #: What those delivered, dropped and failed at that are gone.
        self.past = [0, 0, 0]
        #: For the wheel, which knows no streams here.
        self.stream = None
        self.wheel_slot = -1
        self._has_ended = has_ended
        self._identification = identification
        self._next_number = 1
        self._state: hub.HubState | None = None
        self._sweeping = False
        self._swept = 0.0
        #: Whoever makes, changes or removes a queue waits for the storage, and the next one for him.
        self._queue_changes = hub.Turns()

    def __repr__(self) -> str:
        return f"<Members: {len(self.members)} boxes, {len(self.sessions)} links, {len(self.couriers)} objects>"

    def __len__(self) -> int:
        return len(self.members) + len(self.couriers)

    # -- boxes -----------------------------------------------------------------------------------------------

    def open(self, given: Any) -> Member:
        """Make a box for a subscriber.

        Raises:
            EventError: the options are not right. ServerBusyError: there are too many subscribers.
        """
        options = Options.of(given, self.settings)
        self._check_room(len(self), "subscribers")
        identity = current_call.identity
        if options.queue is None:
            box: Mailbox | Consumer = self._make_mailbox(options, identity)
        else:
            with self._queue_changes:
                box = self._queue_of(options, identity).join(self._number(), options.label)
        member = Member(secrets.token_hex(TOKEN_BYTES), identity, box)
        member.note_caller(current_call.caller)
        self.members[member.token] = member
        if isinstance(box, Mailbox):
            box.on_closed = lambda mailbox: self._end_closed(member)
        return member

    def find(self, token: str) -> Member:
        """Return the subscriber with this token.

        Raises:
            EventError: there is none, or it is another one's.
        """
        member = self.members.get(token)
        if member is None or member.identity != current_call.identity:
            raise EventError("the event server does not know this subscriber (any more); subscribe again")
        member.note_caller(current_call.caller)
        return member

    def close(self, member: Member, reason: str = "unsubscribed") -> None:
        """Remove a subscriber with its box."""
        if self.members.pop(member.token, None) is None:
            return
        if member.session is not None:
            member.session.remove(member.box)
        if isinstance(member.box, Mailbox):
            self.distributor.index.discard(member.box)
            member.box.close(reason)
            self._remember(member.box.delivered, member.box.dropped, member.box.failed)
        else:
            member.box.queue.leave(member.box)

    def _end_closed(self, member: Member) -> None:
        """Its policy was `disconnect`."""
        if member.session is not None:
            member.session.end_box(member.box, member.box.closed or "")  # type: ignore[union-attr]
            member.session = None
        self.close(member)

    def _make_mailbox(self, options: Options, identity: str | None) -> Mailbox:
        return Mailbox(
            self._number(), options.label, identity, limit=options.queuesize,
            limit_bytes=self.settings.es_queue_bytes, policy=options.policy, block_seconds=options.block_seconds,
        )  # fmt: skip

    def _queue_of(self, options: Options, identity: str | None) -> NamedQueue:
        assert options.queue is not None
        queue = self.distributor.queues.get(options.queue)
        if queue is not None:
            check_owner(queue.record, identity)
            if options.changes(queue.record):
                record = options.changed(queue.record)
                self.distributor.storage.put_queue(record).settle()
                queue.change(record)
            return queue
        record = options.new_record(identity, time.time())
        self.distributor.storage.put_queue(record).settle()
        queue = self.distributor.queues[options.queue] = self.make_queue(record)
        return queue

    def make_queue(self, record: QueueRecord) -> NamedQueue:
        """Return a queue with what waits in it; its subjects are those of its record, which are not subscribed."""
        kept = self.distributor.storage.waiting(record.name)
        return NamedQueue(record, self.settings.es_queue_bytes * QUEUE_FACTOR, kept)

    def _number(self) -> int:
        self._next_number += 1
        return self._next_number - 1

    def _check_room(self, count: int, what: str) -> None:
        self._watch()
        limit = self.settings.es_max_subscribers
        if count >= limit:
            raise ServerBusyError(f"{count} {what} are here already, limit is {limit} (es_max_subscribers)")

    def _remember(self, *counts: int) -> None:
        self.past = [before + count for before, count in zip(self.past, counts, strict=True)]

    # -- subjects ----------------------------------------------------------------------------------------------

    def make_patterns(self, patterns: Iterable[str]) -> list[CompiledPattern]:
        """Make patterns of texts, while others run.

        Raises:
            PatternError: one is malformed or could take too long.
        """
        compiled, pacer = [], hub.Pacer()
        for text in patterns:
            compiled.append(self.distributor.index.make_pattern(text))
            pacer.give()
        return compiled

    def select(self, target: Target, subjects: Sequence[str], patterns: Sequence[CompiledPattern]) -> None:
        """Subscribe a box or queue to subjects and patterns, to all or none of them.

        Raises:
            EventError: there are too many. StorageError: that of a queue was not kept.
        """
        if not isinstance(target, NamedQueue):
            self._add(target, subjects, patterns)
            return
        with self._queue_changes:
            self._check_there(target)
            undo = self._add(target, subjects, patterns)
            try:
                index = self.distributor.index
                self._keep(target, index.subjects_of(target), [*index.patterns_of(target), *target.refused])
            except BaseException:
                for step in undo:
                    step()
                raise

    def restore(self, record: QueueRecord) -> None:
        """Take up a queue that is kept, with what waits in it.

        What this server refuses of its patterns is told in the log, and left out.
        """
        queue = self.distributor.queues[record.name] = self.make_queue(record)
        for subject in record.subjects:
            self.distributor.index.add_subject(subject, queue)
        refused = []
        for pattern in record.patterns:
            try:
                self.distributor.index.add_pattern(pattern, queue)
            except (PatternError, EventError) as exc:
                refused.append(pattern)
                _log.error("queue %r gets no events by one of its patterns: %s", record.name, exc)
        queue.refused = tuple(refused)

    def _add(
        self, target: Target, subjects: Sequence[str], patterns: Sequence[CompiledPattern]
    ) -> list[Callable[[], object]]:
        """Put subscriptions in; return how each is taken out again."""
        index = self.distributor.index
        undo: list[Callable[[], object]] = []
        try:
            for text in subjects:
                if index.add_subject(text, target):
                    undo.append(partial(index.remove, text, target))
            for pattern in patterns:
                if index.add_pattern(pattern, target):
                    undo.append(partial(index.remove_pattern, pattern.text, target))
        except BaseException:
            for step in undo:
                step()
            raise
        return undo

    def deselect(self, target: Target, texts: Sequence[str]) -> None:
        """Unsubscribe from these: each the exact subject if there is one, else the pattern. Source: Pyro 3.16."""
        index = self.distributor.index
        if not isinstance(target, NamedQueue):
            for text in texts:
                index.remove(text, target)
            return
        with self._queue_changes:
            self._check_there(target)
            subjects = {fold(text): text for text in index.subjects_of(target)}
            patterns = dict.fromkeys([*index.patterns_of(target), *target.refused])
            for text in texts:
                if subjects.pop(fold(text), None) is None:
                    patterns.pop(text, None)
            self._keep(target, subjects.values(), patterns)
            for text in texts:
                index.remove(text, target)
            target.refused = tuple(text for text in target.refused if text in patterns)

    def _keep(self, queue: NamedQueue, subjects: Iterable[str], patterns: Iterable[str]) -> None:
        """Have it last what a queue is subscribed to."""
        record = queue.record._replace(subjects=tuple(subjects), patterns=tuple(patterns))
        if record != queue.record:
            self.distributor.storage.put_queue(record).settle()
            queue.change(record)

    def _check_there(self, queue: NamedQueue) -> None:
        if self.distributor.queues.get(queue.record.name) is not queue:
            raise EventError(f"the queue {queue.record.name!r} was removed")

    def replay(
        self, member: Member, subjects: Sequence[str], patterns: Sequence[CompiledPattern], after: int,
        most: int | None,
    ) -> None:  # fmt: skip
        """Subscribe a mailbox, and put those past events into it that it would have got; see `Replay`."""
        mailbox = member.box
        assert isinstance(mailbox, Mailbox)
        replay = Replay(self.distributor, mailbox, subjects, patterns, after, most)
        replay.collect()
        if self.members.get(member.token) is not member:
            raise EventError("this subscriber has ended while past events were looked for")
        replay.finish()
        self.select(mailbox, subjects, patterns)

    # -- reliable queues -----------------------------------------------------------------------------------------

    def note_done_in_queue(
        self, consumer: Consumer, done: Iterable[int], failed: Sequence[Sequence[int]], total: int
    ) -> None:
        """A subscriber has dealt with these events, and has failed at those; see `NamedQueue.fail`."""
        queue, storage = consumer.queue, self.distributor.storage
        now = time.monotonic()
        queue.hear(consumer)
        known = queue.acknowledge(done, now)
        if known:
            storage.acknowledge(queue.record.name, known)
        if failed:
            queue.fail(consumer, failed, total, now)
            due = queue.next_look()
            if due is not None and self._state is not None:
                self._state.later(due - now, lambda: queue.look(time.monotonic()))

    def remove_queue(self, queue: NamedQueue) -> None:
        """Remove a queue with what waits in it, and those who take from it.

        Raises:
            EventError: somebody else has. StorageError: it is there still.
        """
        with self._queue_changes:
            self._check_there(queue)
            self.distributor.storage.remove_queue(queue.record.name).settle()
            self.distributor.queues.pop(queue.record.name)
            self.distributor.index.discard(queue)
            queue.is_removed = True
            queue.refuse()
        for member in [member for member in self.members.values() if member.target is queue]:
            if member.session is not None:
                member.session.end_box(member.box, f"the queue {queue.record.name!r} was removed")
                member.session = None
            self.close(member)

    # -- links -------------------------------------------------------------------------------------------------

    def open_session(self) -> str:
        """Begin a link, and return its token."""
        self._check_room(len(self.sessions), "links")
        token = secrets.token_hex(TOKEN_BYTES)
        self.sessions[token] = Session(token, current_call.identity, current_call.caller)
        return token

    def close_session(self, token: str) -> None:
        """End a link, if it is there; its boxes stay for a while, like those whose connection is gone."""
        session = self.sessions.get(token)
        if session is None or session.identity != current_call.identity:
            return
        self._end_session(session)

    def _end_session(self, session: Session) -> None:
        if session.boxes:
            for member in [member for member in self.members.values() if member.session is session]:
                self.detach(session, member)
        session.end()
        self.sessions.pop(session.token, None)

    def session(self, token: str) -> Session:
        """Return the link with this token.

        Raises:
            EventError: there is none, or it is another one's.
        """
        session = self.sessions.get(token)
        if session is None or session.identity != current_call.identity:
            raise EventError("the event server does not know this link (any more); begin a new one")
        session.note_caller(current_call.caller)
        return session

    def attach(self, session: Session, member: Member, received: int, limit: int) -> int | str:
        """Let a link fetch from a box; what was sent and is not among the `received` entries goes out again.

        Args:
            limit: how many events its subscriber handles at a time.

        Returns:
            The number by which the link knows the box, or why it cannot be fetched from.
        """
        if len(session.boxes) >= MAX_BOXES and member.session is not session:
            return (
                f"{len(session.boxes)} subscribers share this thread's connection to the event server already, "
                f"limit is {MAX_BOXES}; let others listen in other threads or processes"
            )
        if member.session is not None and member.session is not session:
            member.session.remove(member.box)
        member.session = session
        if isinstance(member.box, Mailbox):
            member.box.rewind(received)
        else:
            member.box.queue.release_all(member.box)
            member.box.limit = max(limit, 1)
        return session.add(member.box)

    def detach(self, session: Session, member: Member) -> None:
        """Fetch from this box no more; it stays for a while, like one whose connection is gone."""
        if member.session is session:
            session.remove(member.box)
            member.session = None
            if isinstance(member.box, Consumer):
                member.box.queue.release_all(member.box)

    def lost(self, session: Session) -> None:
        """A link's connection is gone: what it has of reliable queues goes to others."""
        for box in list(session.boxes.values()):
            if isinstance(box, Consumer):
                # Should it go on as if nothing had been, it has to begin anew to get any more of these.
                session.is_lost = True
                session.leave_out(box)
                box.queue.release_all(box)

    # -- objects that are subscribers --------------------------------------------------------------------------

    def select_for(self, subscriber: Any, subjects: Sequence[str], patterns: Sequence[str]) -> None:
        """Subscribe an object; as `select`."""
        compiled = self.make_patterns(patterns)
        courier = self._engage(subscriber)
        try:
            self.select(courier.mailbox, subjects, compiled)
        finally:
            self._dismiss_idle(courier)

    def deselect_for(self, subscriber: Any, texts: Sequence[str]) -> None:
        """Unsubscribe an object; as `deselect`.

        Raises:
            EventError: it has not subscribed to anything.
        """
        courier = self.couriers.get(_key_of(subscriber))
        if courier is None:
            raise EventError(
                f"{_label_of(subscriber)} has not subscribed to anything here; unsubscribe with the same object"
            )
        self.deselect(courier.mailbox, texts)
        self._dismiss_idle(courier)

    def _dismiss_idle(self, courier: Courier) -> None:
        index, mailbox = self.distributor.index, courier.mailbox
        if not index.subjects_of(mailbox) and not index.patterns_of(mailbox):
            courier.end()
            self._dismiss(courier)
            if not courier.is_over:
                self._leaving[_key_of(courier.subscriber)] = courier

    def _engage(self, subscriber: Any) -> Courier:
        """Return the courier to an object, a new one where it has none yet."""
        key = _key_of(subscriber)
        courier = self.couriers.get(key)
        if courier is not None:
            return courier
        self._check_room(len(self), "subscribers")
        options = Options.of({"label": _label_of(subscriber)}, self.settings)
        mailbox = self._make_mailbox(options, current_call.identity)
        mailbox.on_closed = self._dismiss_closed
        courier = self.couriers[key] = Courier(
            subscriber, mailbox, self._identification, self.settings.es_resume_seconds, self._dismiss,
            self._leaving.get(key),
        )  # fmt: skip
        return courier

    def _dismiss_closed(self, mailbox: Mailbox) -> None:
        self.distributor.index.discard(mailbox)
        courier = mailbox.reader
        if isinstance(courier, Courier):
            courier.end()

    def _dismiss(self, courier: Courier) -> None:
        mailbox, key = courier.mailbox, _key_of(courier.subscriber)
        self.distributor.index.discard(mailbox)
        if self._leaving.get(key) is courier and courier.is_over:
            del self._leaving[key]
        if self.couriers.get(key) is courier:
            del self.couriers[key]
            self._remember(mailbox.delivered, mailbox.dropped, mailbox.failed)

    # -- who is still there ------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """See that the time that passes is looked at, as long as the server is there."""
        if self._has_ended():
            raise ServerBusyError("the event server is shutting down")
        state = hub.current_state()
        if self._state is None or self._state.ended:
            self._state = state
            state.watch(self, 1)

    def tick(self) -> int:
        """Look at the time that passed; called by the wheel."""
        if self._has_ended():
            self.end()
            return 0
        now = time.monotonic()
        for queue in self.distributor.queues.values():
            try:
                queue.look(now)
            except Exception:
                # A defect in one shall not end the clock of all.
                _log.exception("%r could not be looked at", queue)
        often = min(SWEEP_SECONDS, self.settings.es_resume_seconds / 2)
        if now - self._swept >= often and not self._sweeping and self._state is not None:
            self._swept, self._sweeping = now, True
            hub.spawn_in(self._state, self._sweep)
        return 1

    def hub_ended(self) -> None:
        """The thread ends."""
        self._state = None

    def end(self) -> None:
        """The server ends: nobody is kept waiting."""
        self._state = None
        self.distributor.is_ending = True
        for session in self.sessions.values():
            session.end()
        for courier in list(self.couriers.values()):
            courier.end()

    def _sweep(self) -> None:
        """Remove who is gone."""
        try:
            everybody: list[Member | Session | Courier] = [*self.members.values(), *self.sessions.values()]
            everybody += self.couriers.values()
            for number, one in enumerate(everybody, 1):
                if isinstance(one, Courier):
                    one.look()
                else:
                    self._look_at(one)
                if number % SWEPT_AT_ONCE == 0:
                    hub.pause()
        finally:
            self._sweeping = False

    def _look_at(self, one: Member | Session) -> None:
        is_there = one.is_there()
        if is_there and (one.is_used() if isinstance(one, Session) else one.session is not None):
            one.seen = time.monotonic()
            return
        limit = self.settings.es_resume_seconds * (IDLE_FACTOR if is_there else 1)
        is_over = time.monotonic() - one.seen > limit
        if isinstance(one, Session):
            if not is_there:
                self.lost(one)
            if is_over:
                self._end_session(one)
        elif is_over:
            self.close(one, "nobody has fetched from it for too long")


def _key_of(subscriber: Any) -> tuple[Any, str]:
    connection, name, _ = subscriber._gpyro_reference_()
    return (None, subscriber.objectID or name) if connection is None else (connection, name)


def _label_of(subscriber: Any) -> str:
    connection, name, _ = subscriber._gpyro_reference_()
    return str(name) if connection is None else f"object {name} of {connection.addr}"
