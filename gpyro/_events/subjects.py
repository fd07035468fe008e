"""Subjects of events: their rules, and who subscribed to which.

A subject is a text of printable characters, blanks among them. Subscribers name it in any case, and it is the
same if `str.casefold` says so; or they give a pattern, a regular expression which has to match from the subject's
beginning and may end before it does, without regard to case. These are two ways to compare: `STRASSE` is the
exact subject `Straße`, but no pattern `straße` matches it, as `re` compares character by character.

A target is whoever gets events: each is found once for a subject, whatever of it matched. Who is found for a
subject is remembered by the spelling that was looked for, because a pattern may tell spellings apart: `(?-i:A)`.

Pure: no clock, no waiting, not made for several threads at once. What may take long, to ask patterns, is an
iterator, between whose steps the caller lets others run.
Source: Pyro 3.16, Pyro.EventService.Server; there a target with several matches got the event several times.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, Generic, TypeVar

from gpyro._events.findings import MAX_PLACES, MAX_REMEMBERED, Finding, Findings
from gpyro._events.patternindex import (
    CompiledPattern,
    IndexedPattern,
    PatternIndex,
    case_key,
    compile_pattern,
)
from gpyro.errors import EventError
from gpyro.patterns import MAX_PATTERN_LENGTH

__all__ = [
    "ASKED_AT_ONCE",
    "MAX_PATTERNS",
    "MAX_PATTERNS_EACH",
    "MAX_SUBJECTS_AT_ONCE",
    "MAX_SUBJECTS_EACH",
    "MAX_SUBJECT_LENGTH",
    "MAX_SUBSCRIPTIONS",
    "SubjectIndex",
    "fold",
    "subjects_of",
]

T = TypeVar("T")

#: Longest subject, in characters: as long as a pattern can be, for one call takes off either, and half of what
#: a pattern can be asked about.
MAX_SUBJECT_LENGTH = MAX_PATTERN_LENGTH
#: Most subjects or patterns in one call: what is checked without a break, 1 ms for subjects.
MAX_SUBJECTS_AT_ONCE = 1_000
#: Most exact subjects of one target, for one that follows each of some thousand things by its name.
MAX_SUBJECTS_EACH = 20_000
#: Most patterns of one target: `matches` may have to ask them all.
MAX_PATTERNS_EACH = 1_000
#: Most different patterns in all: up to 10 KB each, so 200 MB, and up to 1 s of work for a new subject that
#: begins as all of them do, where they are cheap.
MAX_PATTERNS = 20_000
#: Most subscriptions in all, of exact subjects and of patterns: up to 1 KiB each, so a GB, as for names.
MAX_SUBSCRIPTIONS = 1_000_000

#: Cheap patterns that `search` asks between two breaks: up to 50 us each, so 2.5 ms. Others are asked one by one.
ASKED_AT_ONCE = 50

FORM = "subjects and patterns are given as a text, or as a list, tuple or set of texts"


def fold(subject: str) -> str:
    """Return the subject as it is compared: two are the same if this is."""
    return subject.casefold()


def subjects_of(value: Any, what: str = "subject") -> list[str]:
    """Return the subjects that a caller means; patterns may be given in the same ways.

    Args:
        value: a text; a list, tuple or set of texts; None or anything empty for none. Lists keep their order and
            what is in them twice, sets are sorted.

    Raises:
        EventError: it is something else, too many, or one of them is empty, too long, or has characters that are
            not printable, which a pattern can write as `\\t` or `\\x07`.
    """
    if value is None or (isinstance(value, str) and not value):
        return []
    if isinstance(value, str):
        return [_check(value, what)]
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise EventError(f"a {what} of type {type(value).__name__}; {FORM}")
    if len(value) > MAX_SUBJECTS_AT_ONCE:
        raise EventError(f"{len(value)} {what}s in one call, the limit is {MAX_SUBJECTS_AT_ONCE}; call again")
    found = [_check(text, what) for text in value]
    return found if isinstance(value, (list, tuple)) else sorted(found)


def _check(subject: Any, what: str = "subject") -> str:
    if not isinstance(subject, str):
        raise EventError(f"a {what} of type {type(subject).__name__}; {FORM}")
    if not subject:
        raise EventError(f"an empty {what}; it has 1 to {MAX_SUBJECT_LENGTH} characters")
    if len(subject) > MAX_SUBJECT_LENGTH:
        short = subject[:40] + "..."
        raise EventError(f"{what} {short!r} has {len(subject)} characters, the limit is {MAX_SUBJECT_LENGTH}")
    if not subject.isprintable():
        where, char = next((n, c) for n, c in enumerate(subject) if not c.isprintable())
        raise EventError(f"{what} {subject!r} has {char!r} at position {where}; it has to be printable")
    return subject


class _Holder(Generic[T]):
    """A target that has subscribed: its number, folded subject -> as given, and its patterns by their texts."""

    __slots__ = ("number", "patterns", "subjects", "target")

    def __init__(self, target: T, number: int) -> None:
        self.target = target
        self.number = number
        self.subjects: dict[str, str] = {}
        self.patterns: dict[str, IndexedPattern[T]] = {}


class SubjectIndex(Generic[T]):
    """Who subscribed to which subjects; targets may be anything hashable.

    A target whose last subscription goes is forgotten; where it comes again, it stands behind the others.

    Args:
        most_remembered: subjects of which it is remembered who was found.
        most_places: what these may hold together; a target takes one place.
    """

    def __init__(self, *, most_remembered: int = MAX_REMEMBERED, most_places: int = MAX_PLACES) -> None:
        self._holders: dict[T, _Holder[T]] = {}
        self._numbers = count()
        #: Folded subject -> the number of a target -> the target; none is empty.
        self._exact: dict[str, dict[int, T]] = {}
        self._patterns: PatternIndex[T] = PatternIndex()
        self._findings: Findings[T] = Findings(most_remembered, most_places)
        self._subscriptions = 0

    def __repr__(self) -> str:
        return (
            f"<SubjectIndex of {len(self._holders)} targets, {self.subject_count} subjects, "
            f"{self.pattern_count} patterns, {len(self._findings)} subjects remembered>"
        )

    @property
    def subject_count(self) -> int:
        """The number of different subjects that somebody subscribed to exactly."""
        return len(self._exact)

    @property
    def pattern_count(self) -> int:
        """The number of different patterns that somebody subscribed to."""
        return len(self._patterns)

    # -- subscribing -----------------------------------------------------------------------------------------

    def add_subject(self, text: str, target: T) -> bool:
        """Subscribe a target to a subject; False where it is already, perhaps in another spelling.

        Raises:
            EventError: it is not right, or there are too many.
        """
        folded = fold(_check(text))
        holder = self._holders.get(target)
        if holder is not None and folded in holder.subjects:
            return False
        self._check_room("subjects", len(holder.subjects) if holder else 0, MAX_SUBJECTS_EACH)
        holder = self._hold(target)
        holder.subjects[folded] = text
        self._exact.setdefault(folded, {})[holder.number] = target
        self._findings.drop_answers(folded)
        return True

    def add_pattern(self, pattern: str | CompiledPattern, target: T) -> bool:
        """Subscribe a target to a pattern; False where it is already. A new text takes some ms at most.

        Raises:
            PatternError: it is no pattern, or could take too long.
            EventError: there are too many.
        """
        text = pattern.text if isinstance(pattern, CompiledPattern) else pattern
        # Anything but a text is refused by what compiles it.
        filed = self._patterns.get(text) if isinstance(text, str) else None
        holder = self._holders.get(target)
        if filed is not None and holder is not None and holder.number in filed.targets:
            return False
        self._check_room("patterns", len(holder.patterns) if holder else 0, MAX_PATTERNS_EACH)
        if filed is None:
            if self.pattern_count >= MAX_PATTERNS:
                raise EventError(f"there are {self.pattern_count} different patterns, the limit is {MAX_PATTERNS}")
            compiled = pattern if isinstance(pattern, CompiledPattern) else compile_pattern(text)
            filed = self._patterns.add(compiled)
        holder = self._hold(target)
        holder.patterns[text] = filed
        filed.targets[holder.number] = target
        self._findings.drop_answers(filed)
        return True

    def make_pattern(self, text: str) -> CompiledPattern:
        """Return the pattern of a text, for `add_pattern`; one that somebody subscribed to is there already.

        Raises:
            PatternError: it is no pattern, or could take too long.
        """
        filed = self._patterns.get(text) if isinstance(text, str) else None
        return compile_pattern(text) if filed is None else CompiledPattern(filed.pattern, filed.key)

    def remove(self, text: str, target: T) -> bool:
        """End one subscription: that to the exact subject, in any spelling; else that to the pattern of this text.

        Returns:
            False where the target has neither.

        Source: Pyro 3.16, EventService.unsubscribe.
        """
        holder = self._holders.get(target)
        folded = fold(text)
        if holder is None or folded not in holder.subjects:
            return self.remove_pattern(text, target)
        self._remove_subject(folded, holder)
        self._let_go(holder)
        return True

    def remove_pattern(self, text: str, target: T) -> bool:
        """End the subscription to the pattern of this text, and not to a subject; False where there is none."""
        holder = self._holders.get(target)
        if holder is None or text not in holder.patterns:
            return False
        self._remove_pattern(text, holder)
        self._let_go(holder)
        return True

    def discard(self, target: T) -> None:
        """End all subscriptions of a target; one that has none is ignored."""
        holder = self._holders.pop(target, None)
        if holder is None:
            return
        for folded in list(holder.subjects):
            self._remove_subject(folded, holder)
        for text in list(holder.patterns):
            self._remove_pattern(text, holder)

    def subjects_of(self, target: T) -> list[str]:
        """Return the subjects of a target as it gave them, in that order."""
        holder = self._holders.get(target)
        return list(holder.subjects.values()) if holder else []

    def patterns_of(self, target: T) -> list[str]:
        """Return the patterns of a target, in the order in which it gave them."""
        holder = self._holders.get(target)
        return list(holder.patterns) if holder else []

    def _check_room(self, kind: str, has: int, most: int) -> None:
        if has >= most:
            raise EventError(f"a subscriber has {has} {kind}, the limit is {most}; a pattern covers many subjects")
        if self._subscriptions >= MAX_SUBSCRIPTIONS:
            raise EventError(f"there are {self._subscriptions} subscriptions, the limit is {MAX_SUBSCRIPTIONS}")

    def _hold(self, target: T) -> _Holder[T]:
        """Return the holder for one subscription more."""
        self._subscriptions += 1
        if target not in self._holders:
            self._holders[target] = _Holder(target, next(self._numbers))
        return self._holders[target]

    def _let_go(self, holder: _Holder[T]) -> None:
        if not holder.subjects and not holder.patterns:
            del self._holders[holder.target]

    def _remove_subject(self, folded: str, holder: _Holder[T]) -> None:
        del holder.subjects[folded]
        targets = self._exact[folded]
        del targets[holder.number]
        if not targets:
            del self._exact[folded]
        self._subscriptions -= 1
        self._findings.drop_answers(folded)

    def _remove_pattern(self, text: str, holder: _Holder[T]) -> None:
        filed = holder.patterns.pop(text)
        del filed.targets[holder.number]
        if not filed.targets:
            self._patterns.remove(filed)
        self._subscriptions -= 1
        self._findings.drop_answers(filed)

    # -- finding ---------------------------------------------------------------------------------------------

    def find(self, subject: str) -> tuple[T, ...] | None:
        """Return who subscribed to a subject, if no pattern has to be asked for it.

        Returns:
            Each target once, in the order in which they first subscribed; the same tuple as long as nothing
            changes and it is remembered. None where patterns have to be asked first, which `search` does.

        Raises:
            EventError: the subject is not right.
        """
        finding = self._findings.get(subject)
        if finding is None:
            finding = self._recall(_check(subject))
        else:
            self._findings.touch(finding)
        if finding.asked < self._patterns.newest:
            if self._patterns.has_later(subject, finding.asked):
                return None
            finding.asked = self._patterns.newest
        if finding.targets is not None:
            return finding.targets
        return self._findings.make_answer(finding, self._exact.get(finding.folded, {}))

    def has_to_ask(self, subject: str) -> bool:
        """Tell whether patterns have to be asked about a subject before it is known who subscribed to it.

        Raises:
            EventError: the subject is not right.
        """
        finding = self._findings.get(subject)
        asked = 0 if finding is None else finding.asked
        return asked < self._patterns.newest and self._patterns.has_later(_check(subject), asked)

    def search(self, subject: str) -> Iterator[None]:
        """Ask the patterns that may match a subject and have not been asked yet.

        Yields after each ASKED_AT_ONCE cheap patterns, and after each other one, which may take as long as
        patterns.MAX_STEPS allows. Everything may change between two steps; several searches for one subject share
        the work, and one that is given up leaves what it knows. As soon as it ends, `find` has the answer.

        Raises:
            EventError: the subject is not right.
        """
        finding = self._recall(_check(subject))
        asked = 0
        while waiting := self._patterns.later(subject, finding.asked):
            self._findings.leave_out_gone(finding)
            for filed in waiting:
                if filed.serial <= finding.asked:
                    continue  # by another search
                self._ask(finding, filed)
                asked += 1 if filed.is_cheap else ASKED_AT_ONCE
                if asked >= ASKED_AT_ONCE:
                    asked = 0
                    yield
                    if self._recall(subject, finding) is not finding:
                        break
            finding = self._recall(subject, finding)

    def matches(self, target: T, subject: str) -> bool:
        """Tell whether a target subscribed to a subject, exactly or by a pattern.

        It asks those of the target's patterns of which the answer is not known. After `search` there are none of
        these; otherwise each may take as long as patterns.MAX_STEPS allows.

        Raises:
            EventError: the subject is not right.
        """
        folded = fold(_check(subject))
        holder = self._holders.get(target)
        if holder is None:
            return False
        if folded in holder.subjects:
            return True
        finding, key = self._findings.get(subject), case_key(subject)
        for filed in holder.patterns.values():
            if finding is not None and filed.serial <= finding.asked:
                if filed in finding.matching:
                    return True
            elif key.startswith(filed.key) and filed.pattern.matches(subject):
                return True
        return False

    def _recall(self, subject: str, known: Finding[T] | None = None) -> Finding[T]:
        """Return what is remembered of a subject, as used last; where nothing is, remember what is known."""
        finding = self._findings.get(subject)
        if finding is not None:
            self._findings.touch(finding)
            return finding
        finding = known or Finding(subject, fold(subject))
        self._findings.put(finding)
        return finding

    def _ask(self, finding: Finding[T], filed: IndexedPattern[T]) -> None:
        finding.asked = filed.serial
        if filed.targets and filed.pattern.matches(finding.subject):
            self._findings.add_match(finding, filed)
