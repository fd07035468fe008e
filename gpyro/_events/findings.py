"""What was found for subjects, remembered within bounds and kept true while subscriptions come and go.

Of a subject are remembered the patterns that matched, up to which serial they were asked, and the answer: the
targets of these patterns and of the exact subject. A change costs little when it is made:

- a target more or less for a subject or a pattern: the answers made of it are dropped, the matches stay. An answer
  that is dropped already is not visited again, so 10,000 changes in a row visit each answer once;
- a new pattern: nothing; subjects are behind its serial and ask it when they are looked for;
- a pattern that went: its answers are dropped; it has no targets, by which it is left out of the next answer.

The subjects used least lately are forgotten where there are too many of them, or they hold too much.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from gpyro._events.patternindex import IndexedPattern

__all__ = ["MAX_PLACES", "MAX_REMEMBERED", "Finding", "Findings"]

T = TypeVar("T")

#: Most subjects that are remembered, counted by their spelling: 1 KB each as they usually are, so 16 MB.
MAX_REMEMBERED = 16_384
#: Most places in all that is remembered, 8 bytes each, so 32 MB: a target in an answer takes one. Four
#: subjects with as many targets as there can be fit in, so what is in use always does.
MAX_PLACES = 4_000_000
#: Places of a pattern that matched: it is in two sets.
PLACES_OF_MATCH = 16


class Finding(Generic[T]):
    """What is known of one subject in one spelling.

    `asked` is the serial up to which all patterns that may match were asked, `matching` those that did; `targets`
    is the answer, None until it is made.
    """

    __slots__ = ("asked", "folded", "matching", "places", "subject", "targets")

    def __init__(self, subject: str, folded: str) -> None:
        self.subject = subject
        self.folded = folded
        self.asked = 0
        self.matching: set[IndexedPattern[T]] = set()
        self.targets: tuple[T, ...] | None = None
        #: What it is counted with while it is remembered.
        self.places = 0

    def __repr__(self) -> str:
        known = "no answer" if self.targets is None else f"{len(self.targets)} targets"
        return f"<Finding {self.subject!r}: {known}, {len(self.matching)} patterns match, {self.asked} asked>"


class Findings(Generic[T]):
    """All that is remembered, the subjects used least lately first.

    Args:
        most: subjects that are remembered.
        most_places: what they may hold together.
    """

    def __init__(self, most: int = MAX_REMEMBERED, most_places: int = MAX_PLACES) -> None:
        self._most = most
        self._most_places = most_places
        self._by_subject: OrderedDict[str, Finding[T]] = OrderedDict()
        #: Folded subject or pattern -> findings whose answer is made of its targets.
        self._made_of: dict[str | IndexedPattern[T], set[Finding[T]]] = {}
        self._places = 0

    def __len__(self) -> int:
        return len(self._by_subject)

    def __repr__(self) -> str:
        places = f"{self._places} of {self._most_places} places"
        return f"<Findings for {len(self)} of at most {self._most} subjects, {places}>"

    def get(self, subject: str) -> Finding[T] | None:
        """Return what is known of a subject, None where nothing is."""
        return self._by_subject.get(subject)

    def touch(self, finding: Finding[T]) -> None:
        """Make a finding that is remembered the one used last."""
        self._by_subject.move_to_end(finding.subject)

    def put(self, finding: Finding[T]) -> None:
        """Remember one for whose subject there is none."""
        self._by_subject[finding.subject] = finding
        self._weigh(finding)

    def add_match(self, finding: Finding[T], filed: IndexedPattern[T]) -> None:
        """Remember that a pattern matched, for a finding that is remembered."""
        finding.matching.add(filed)
        self._drop_answer(finding)
        self._weigh(finding)

    def make_answer(self, finding: Finding[T], exact: Mapping[int, T]) -> tuple[T, ...]:
        """Make and remember the answer of a finding that is remembered; `exact` are those of its exact subject."""
        self.leave_out_gone(finding)
        targets = dict(exact)
        for filed in finding.matching:
            targets.update(filed.targets)
        finding.targets = tuple([targets[number] for number in sorted(targets)])
        for source in _sources_of(finding):
            self._made_of.setdefault(source, set()).add(finding)
        self._weigh(finding)
        return finding.targets

    def leave_out_gone(self, finding: Finding[T]) -> None:
        """Forget the matches of patterns that have no targets any more; such a finding has no answer."""
        gone = [filed for filed in finding.matching if not filed.targets]
        finding.matching.difference_update(gone)
        if gone:
            self._weigh(finding)

    def drop_answers(self, source: str | IndexedPattern[T]) -> None:
        """Drop the answers made of a folded subject or pattern, whose targets are others now."""
        for finding in self._made_of.pop(source, ()):
            self._drop_answer(finding)

    def _drop_answer(self, finding: Finding[T]) -> None:
        # It stays with its other sources, and is taken from there when it is answered anew or forgotten.
        if finding.targets is not None:
            self._places -= len(finding.targets)
            finding.places -= len(finding.targets)
            finding.targets = None

    def _weigh(self, finding: Finding[T]) -> None:
        places = len(finding.targets or ()) + len(finding.matching) * PLACES_OF_MATCH
        self._places += places - finding.places
        finding.places = places
        # The one in use is the last, and stays.
        while len(self) > 1 and (len(self) > self._most or self._places > self._most_places):
            self._forget(self._by_subject.popitem(last=False)[1])

    def _forget(self, finding: Finding[T]) -> None:
        self._drop_answer(finding)
        self._places -= finding.places
        finding.places = 0
        for source in _sources_of(finding):
            made = self._made_of.get(source)
            if made is not None:
                made.discard(finding)
                if not made:
                    del self._made_of[source]


def _sources_of(finding: Finding[T]) -> Iterable[str | IndexedPattern[T]]:
    yield finding.folded
    yield from finding.matching
