"""What the event server tells about itself: `status`, its subscribers and queues, as values that travel."""

from __future__ import annotations

import math
import time
from typing import Any

from gpyro._events.courier import Courier
from gpyro._events.distributor import Distributor
from gpyro._events.mailbox import Gap, Mailbox
from gpyro._events.members import Member, Members
from gpyro._events.namedqueue import NamedQueue

__all__ = ["Meter", "describe_courier", "describe_member", "describe_queue", "status_of"]

#: Over how many seconds the rate of events is averaged.
RATE_SECONDS = 10.0
#: Subjects and patterns of one subscriber that are shown.
SHOWN = 20


class Meter:
    """How many events there are in a second, averaged over the last ones."""

    def __init__(self) -> None:
        self.started = time.time()
        self._rate = 0.0
        self._count = 0
        self._at = time.monotonic()

    def __repr__(self) -> str:
        return f"<Meter {self._count} events>"

    def note(self, count: int, now: float) -> None:
        """There have been `count` events by now."""
        passed = now - self._at
        if passed >= 1.0:
            share = math.exp(-passed / RATE_SECONDS)
            self._rate = self._rate * share + (count - self._count) / passed * (1 - share)
            self._count, self._at = count, now

    def rate(self, count: int, now: float) -> float:
        """Return events a second."""
        self.note(count, now)
        return round(self._rate, 1)


def status_of(distributor: Distributor, members: Members, meter: Meter) -> dict[str, Any]:
    """Return the numbers of an event server."""
    storage = distributor.storage
    mailboxes = [member.box for member in members.members.values() if isinstance(member.box, Mailbox)]
    mailboxes += [courier.mailbox for courier in members.couriers.values()]
    queues = distributor.queues.values()
    delivered, dropped, failed = members.past
    delivered += sum(box.delivered for box in mailboxes) + sum(queue.delivered for queue in queues)
    failure = storage.failure
    events, size = storage.history_size()
    return {
        "log": storage.log,
        "started": meter.started,
        "events": distributor.events,
        "rate": meter.rate(distributor.events, time.monotonic()),
        "delivered": delivered,
        "dropped": dropped + sum(box.dropped for box in mailboxes),
        "failed": failed + sum(box.failed for box in mailboxes),
        "redelivered": sum(queue.redelivered for queue in queues),
        "subscribers": len(members),
        "links": len(members.sessions),
        "blocked": distributor.blocked,
        "subjects": distributor.index.subject_count,
        "patterns": distributor.index.pattern_count,
        "queues": len(distributor.queues),
        "history": {
            "events": events,
            "bytes": size,
            "oldest": storage.oldest,
            "newest": storage.newest,
        },
        "storage": getattr(storage, "path", "memory"),
        "failure": None if failure is None else str(failure),
    }


def describe_member(member: Member, distributor: Distributor) -> dict[str, Any]:
    """Return what is known of a subscriber of gpyro's own kind."""
    box = member.box
    if isinstance(box, Mailbox):
        state = "listening" if member.session is not None and member.is_there() else "away"
        return _describe(box, "mailbox", state, distributor)
    index, queue = distributor.index, box.queue
    return {
        "id": box.number,
        "label": box.label,
        "identity": member.identity,
        "kind": "queue",
        "queue": queue.record.name,
        "policy": "block",
        "state": "listening" if box.reader is not None and member.is_there() else "away",
        "waiting": len(queue) - queue.unacknowledged,
        "unacknowledged": len(box.out),
        "limit": queue.record.limit,
        "delivered": box.delivered,
        "dropped": 0,
        "redelivered": queue.redelivered,
        "failed": box.failed,
        "subjects": index.subjects_of(queue)[:SHOWN],
        "patterns": index.patterns_of(queue)[:SHOWN],
    }


def describe_courier(courier: Courier, distributor: Distributor) -> dict[str, Any]:
    """Return what is known of a subscriber that is an object."""
    return _describe(courier.mailbox, "object", "listening", distributor)


def _describe(box: Mailbox, kind: str, state: str, distributor: Distributor) -> dict[str, Any]:
    index = distributor.index
    sent = sum(not isinstance(entry, Gap) for entry in box.sent)
    return {
        "id": box.number,
        "label": box.label,
        "identity": box.identity,
        "kind": kind,
        "queue": None,
        "policy": box.policy,
        "state": "stalled" if box.is_stalled else state,
        "waiting": box.count - sent,
        "unacknowledged": sent,
        "limit": box.limit,
        "delivered": box.delivered,
        "dropped": box.dropped,
        "redelivered": 0,
        "failed": box.failed,
        "subjects": index.subjects_of(box)[:SHOWN],
        "patterns": index.patterns_of(box)[:SHOWN],
    }


def describe_queue(queue: NamedQueue) -> dict[str, Any]:
    """Return what is known of a reliable queue."""
    record = queue.record
    unacknowledged = queue.unacknowledged
    return {
        "name": record.name,
        "owner": record.owner,
        "created": record.created,
        "waiting": len(queue) - unacknowledged,
        "unacknowledged": unacknowledged,
        "limit": record.limit,
        "consumers": len(queue.consumers),
        "delivered": queue.delivered,
        "redelivered": queue.redelivered,
        "redeliver_seconds": record.redeliver_seconds,
        "subjects": list(record.subjects),
        "patterns": list(record.patterns),
        "refused": list(queue.refused),
    }
