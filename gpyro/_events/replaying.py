"""Past events for a subscriber that comes late or comes back: what it would have got, put into its mailbox.

While the history is gone through, patterns are asked and others run, new events come; so it is gone through again
for these, until what is left is little enough to be looked at in one piece, in which it is subscribed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from gpyro import hub
from gpyro._events.distributor import Distributor
from gpyro._events.mailbox import Mailbox
from gpyro._events.patternindex import CompiledPattern
from gpyro._events.subjects import SubjectIndex
from gpyro.eventrecords import EventRecord

__all__ = ["Replay"]

#: How often the history is gone through while others run, and how many events are looked at in one piece: some ms.
MOST_ROUNDS, LOOKED_AT_ONCE = 10, 1_000


class Replay:
    """Finds the past events for some subjects and patterns.

    Args:
        distributor: whose events they are.
        mailbox: for whom.
        subjects, patterns: what it is about to subscribe to.
        after: the sequence from which on; where the history begins later, an unknown number is lost.
        most: the last so many of them, and nothing is told of others; None all, as far as the mailbox has room.
    """

    def __init__(
        self, distributor: Distributor, mailbox: Mailbox, subjects: Sequence[str],
        patterns: Sequence[str | CompiledPattern], after: int, most: int | None,
    ) -> None:  # fmt: skip
        self._distributor = distributor
        self._mailbox = mailbox
        self._most = most
        self._probe: SubjectIndex[int] = SubjectIndex()
        for text in subjects:
            self._probe.add_subject(text, 0)
        for pattern in patterns:
            self._probe.add_pattern(pattern, 0)
        self._after = after
        #: The last ones that were found, how many were found, and whether there may have been others.
        self._kept: deque[EventRecord] = deque(maxlen=mailbox.limit if most is None else min(most, mailbox.limit))
        self._found = 0
        self._has_missed = False

    def __repr__(self) -> str:
        return f"<Replay of {self._found} events to {self._after} for {self._mailbox!r}>"

    def collect(self) -> None:
        """Go through the history while others run."""
        pacer = hub.Pacer()
        for _ in range(MOST_ROUNDS):
            records = self._next_records()
            for record in records:
                for index in self._asked():
                    if index.has_to_ask(record.subject):
                        for _ in index.search(record.subject):
                            pacer.give()
                self._look_at(record, self._kept)
                pacer.give()
            if len(records) < LOOKED_AT_ONCE:
                break

    def finish(self) -> None:
        """Look at what came since, and put all into the mailbox; nothing else runs until it is subscribed."""
        skipped, later = False, deque[EventRecord]()
        for record in self._next_records():
            if any(index.has_to_ask(record.subject) for index in self._asked()):
                # There are always new subjects, and to ask patterns now would hold everybody up.
                skipped = True
            else:
                self._look_at(record, later if skipped else self._kept)
        mailbox = self._mailbox
        if self._most is None and self._has_missed:
            mailbox.note_lost(None)
        elif self._most is None and len(self._kept) + len(later) < self._found:
            mailbox.note_lost(self._found - len(self._kept) - len(later))
        for record in self._kept:
            self._put(record)
        if skipped:
            mailbox.note_lost(None)
        for record in later:
            self._put(record)

    def _put(self, record: EventRecord) -> None:
        if not self._mailbox.put(record):
            self._mailbox.note_lost(1)

    def _asked(self) -> list[SubjectIndex[Any]]:
        # What it was subscribed to before it has had.
        return [self._probe] if self._most is None else [self._probe, self._distributor.index]

    def _next_records(self) -> list[EventRecord]:
        """Return what is distributed and was not looked at; what is not distributed yet comes by itself."""
        storage, last = self._distributor.storage, self._distributor.distributed
        oldest = 0
        while oldest != storage.oldest:
            # A storage with a thread of its own may let some go in between.
            oldest, records = storage.oldest, storage.history(self._after)
        if oldest > self._after + 1:
            self._has_missed = True
        if records and records[-1].sequence > last:
            records = [record for record in records if record.sequence <= last]
        self._after = max(self._after, last)
        return records

    def _look_at(self, record: EventRecord, kept: deque[EventRecord]) -> None:
        if not self._probe.matches(0, record.subject):
            return
        if self._most is not None and self._distributor.index.matches(self._mailbox, record.subject):
            return
        self._found += 1
        kept.append(record)
