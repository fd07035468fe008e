"""What is known of an event and of a queue that keeps events: the records that storages and the server share."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["EventRecord", "QueueRecord"]

#: Bytes that an event costs beside its message and its subject: the record, and its places in tables.
OVERHEAD_BYTES = 256


class EventRecord:
    """One event as the server knows it: it passes the message on and does not look into it.

    `sequence` counts the events of one log from 1 and is given by the storage, 0 before; `folded` is the subject
    as it is compared; `time` is the server's, in seconds since 1970; `publisher` is an id that the publisher made
    for itself; `payload` is the packed message; `size` are the bytes that it is
    counted with.
    """

    __slots__ = ("folded", "payload", "publisher", "sequence", "size", "subject", "time")

    def __init__(
        self, subject: str, folded: str, time: float, publisher: str, payload: bytes, sequence: int = 0
    ) -> None:
        self.subject = subject
        self.folded = folded
        self.time = time
        self.publisher = publisher
        self.payload = payload
        self.sequence = sequence
        self.size = len(payload) + len(subject) + OVERHEAD_BYTES

    def __repr__(self) -> str:
        return f"<EventRecord {self.sequence} {self.subject!r}, {len(self.payload)} bytes>"


class QueueRecord(NamedTuple):
    """A named queue: whose it is, what goes into it, how much it holds.

    `owner` is the identity that made it, None where nobody has to identify himself; `limit` is the most events
    that it holds unacknowledged; one that is not acknowledged within `redeliver_seconds` goes out again.
    """

    name: str
    owner: str | None
    created: float
    limit: int
    redeliver_seconds: float
    subjects: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
