"""An index of subjects beside a model that knows no index, in any order of calls."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gpyro._events import subjects
from gpyro._events.findings import PLACES_OF_MATCH
from gpyro._events.subjects import SubjectIndex
from tests.support.finding import found

KELVIN, LONG_S = "\u212a", "\u017f"

WHO = "tuv"
TARGETS = st.sampled_from(WHO)
TEXTS = ["a", "A", "ab", "aB", "stra\u00dfe", "STRASSE", f"{KELVIN}a", "ka"]
SUBJECTS = st.sampled_from(TEXTS)
PATTERNS = st.sampled_from([
    ".*", "a.*", "(?-i:A)", "(?-i:a)b", "[ab]+$", "(?:a|k)a", f"{LONG_S}.*", "stra\u00df", r"\w+$", "b*a", "ka",
    "A",
])  # fmt: skip


class Model(RuleBasedStateMachine):
    """An index, most often one that remembers little, beside lists that say the same in the simplest way."""

    def __init__(self) -> None:
        super().__init__()
        self.index: SubjectIndex[str] = SubjectIndex()
        # Steps so small that much can change between them.
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(subjects, "ASKED_AT_ONCE", 1)
        #: In the order of first subscriptions: target -> (is a pattern, text as given).
        self.subscriptions: dict[str, list[tuple[bool, str]]] = {}
        self.searches: list[tuple[str, Iterator[None]]] = []

    @initialize(most=st.sampled_from([1, 3, 100]), places=st.sampled_from([1, 3 * PLACES_OF_MATCH, 10_000]))
    def begin(self, most: int, places: int) -> None:
        self.index = SubjectIndex(most_remembered=most, most_places=places)

    def teardown(self) -> None:
        self.patch.undo()

    def holds(self, target: str, subject: str) -> bool:
        return any(
            re.match(text, subject, re.IGNORECASE) if is_pattern else text.casefold() == subject.casefold()
            for is_pattern, text in self.subscriptions.get(target, [])
        )

    def expected(self, subject: str) -> tuple[str, ...]:
        return tuple(target for target in self.subscriptions if self.holds(target, subject))

    def add(self, is_pattern: bool, text: str, target: str, is_new: bool) -> None:
        if is_new:
            self.subscriptions.setdefault(target, []).append((is_pattern, text))

    @rule(text=SUBJECTS, who=TARGETS)
    def add_subject(self, text: str, who: str) -> None:
        known = [one.casefold() for is_pattern, one in self.subscriptions.get(who, []) if not is_pattern]
        is_new = text.casefold() not in known
        assert self.index.add_subject(text, who) == is_new
        self.add(False, text, who, is_new)

    @rule(text=PATTERNS, who=TARGETS)
    def add_pattern(self, text: str, who: str) -> None:
        is_new = (True, text) not in self.subscriptions.get(who, [])
        assert self.index.add_pattern(text, who) == is_new
        self.add(True, text, who, is_new)

    @rule(text=st.one_of(SUBJECTS, PATTERNS), who=TARGETS)
    def remove(self, text: str, who: str) -> None:
        has = self.subscriptions.get(who, [])
        exact = [one for one in has if not one[0] and one[1].casefold() == text.casefold()]
        gone = exact or [one for one in has if one == (True, text)]
        assert self.index.remove(text, who) == bool(gone)
        for one in gone:
            has.remove(one)
        if gone and not has:
            del self.subscriptions[who]

    @rule(who=TARGETS)
    def discard(self, who: str) -> None:
        self.index.discard(who)
        self.subscriptions.pop(who, None)

    @rule(subject=SUBJECTS)
    def find(self, subject: str) -> None:
        answer = found(self.index, subject)
        assert answer == self.expected(subject)
        assert self.index.find(subject) is answer

    @rule(subject=SUBJECTS)
    def find_without_asking(self, subject: str) -> None:
        assert self.index.find(subject) in (None, self.expected(subject))

    @precondition(lambda self: len(self.searches) < 4)
    @rule(subject=SUBJECTS)
    def begin_search(self, subject: str) -> None:
        self.searches.append((subject, self.index.search(subject)))

    @precondition(lambda self: self.searches)
    @rule(data=st.data(), gives_up=st.integers(0, 5))
    def go_on_with_search(self, data: st.DataObject, gives_up: int) -> None:
        at = data.draw(st.integers(0, len(self.searches) - 1))
        subject, steps = self.searches[at]
        if not gives_up:
            del self.searches[at]
        elif next(steps, "over") == "over":
            del self.searches[at]
            assert self.index.find(subject) == self.expected(subject)

    @rule(who=TARGETS, subject=SUBJECTS)
    def match(self, who: str, subject: str) -> None:
        assert self.index.matches(who, subject) == self.holds(who, subject)

    @invariant()
    def lists_are_as_given(self) -> None:
        for target in WHO:
            has = self.subscriptions.get(target, [])
            assert self.index.subjects_of(target) == [text for is_pattern, text in has if not is_pattern]
            assert self.index.patterns_of(target) == [text for is_pattern, text in has if is_pattern]
        everything = [one for has in self.subscriptions.values() for one in has]
        assert self.index._subscriptions == len(everything)
        exact = {text.casefold() for is_pattern, text in everything if not is_pattern}
        assert self.index.subject_count == len(exact)
        assert self.index.pattern_count == len({text for is_pattern, text in everything if is_pattern})

    @invariant()
    def what_is_remembered_is_bounded_and_counted(self) -> None:
        findings = self.index._findings
        assert len(findings) <= findings._most
        held = list(findings._by_subject.values())
        for one in held:
            assert one.places == len(one.targets or ()) + len(one.matching) * PLACES_OF_MATCH
        assert findings._places == sum(one.places for one in held)
        assert findings._places <= findings._most_places or len(held) == 1
        for source, made in findings._made_of.items():
            assert made and made <= set(held)
            assert isinstance(source, str) or source.targets


TestAgainstModel = Model.TestCase
TestAgainstModel.settings = settings(max_examples=150, stateful_step_count=40)
