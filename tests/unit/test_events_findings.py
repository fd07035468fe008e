"""How little is asked and done to know who subscribed to a subject, and how much of it is remembered."""

from __future__ import annotations

from typing import Any

import pytest

from gpyro._events import subjects
from gpyro._events.findings import MAX_PLACES, PLACES_OF_MATCH, Finding, Findings
from gpyro._events.subjects import ASKED_AT_ONCE, SubjectIndex
from gpyro.patterns import Pattern, compile_regex
from tests.support.finding import found

KELVIN = "\u212a"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return a list that grows by (pattern, subject) each time a pattern is asked."""
    seen: list[tuple[str, str]] = []
    matches = Pattern.matches

    def note(self: Pattern, text: str) -> bool:
        seen.append((self.text, text))
        return matches(self, text)

    monkeypatch.setattr(Pattern, "matches", note)
    return seen


# -- how little is asked --------------------------------------------------------------------------------


def test_10_000_exact_subjects_ask_no_pattern_and_give_the_same_answers_again(asked: list[Any]) -> None:
    index: SubjectIndex[int] = SubjectIndex()
    for number in range(10_000):
        index.add_subject(f"Subject.{number}", number)
    answers = [index.find(f"subject.{number}") for number in range(10_000)]
    assert answers == [(number,) for number in range(10_000)]
    assert all(index.find(f"subject.{number}") is answers[number] for number in range(10_000))
    assert asked == []


def test_of_10_000_patterns_only_those_are_asked_that_begin_as_the_subject(asked: list[Any]) -> None:
    index: SubjectIndex[int] = SubjectIndex()
    for number in range(10_000):
        index.add_pattern(rf"^Plant\.{number:05}\..*x", number // 10)
    assert found(index, "PLANT.04711.y") == ()
    assert found(index, "PLANT.04711.yx") == (471,)
    assert asked == [(r"^Plant\.04711\..*x", f"PLANT.04711.{end}") for end in ("y", "yx")]
    assert index.find("plant.") == ()
    assert index.find("somewhere") == ()
    index.add_pattern(f"{KELVIN}e", 1)
    assert found(index, "key") == found(index, f"{KELVIN}ey") == (1,)
    assert len(asked) == 4


def test_pattern_is_asked_once_for_a_subject_however_many_subscribed_to_it(asked: list[Any]) -> None:
    index: SubjectIndex[int] = SubjectIndex()
    for number in range(1_000):
        index.add_pattern("s.*", number)
    assert found(index, "sun") == tuple(range(1_000))
    answer = found(index, "sun")
    for number in range(1_000, 2_000):
        index.add_pattern("s.*", number)
        index.remove("s.*", number - 1_000)
    assert found(index, "sun") == tuple(range(1_000, 2_000)) != answer
    assert len(asked) == 1


def test_known_subject_finds_who_subscribes_to_a_pattern_that_was_there_already(asked: list[Any]) -> None:
    index: SubjectIndex[str] = SubjectIndex()
    index.add_pattern("s.*", "a")
    assert found(index, "sun") == ("a",)
    index.add_pattern("s.*", "b")
    assert index.find("sun") == ("a", "b")
    index.remove("s.*", "a")
    assert index.find("sun") == ("b",)
    assert len(asked) == 1


def test_new_pattern_is_the_only_one_that_a_known_subject_asks(asked: list[Any]) -> None:
    index: SubjectIndex[str] = SubjectIndex()
    for text in ("a", "a.*", "ab"):
        index.add_pattern(text, text)
    first = found(index, "abc")
    asked.clear()
    index.add_pattern("abcd", "longer")
    assert index.find("abc") is first
    index.add_pattern("ac", "other")
    assert index.find("abc") is first
    index.add_pattern("a.d", "does not match")
    assert index.find("abc") is None
    assert found(index, "abc") is first
    index.add_pattern("abc$", "new")
    assert found(index, "abc") == (*first, "new")
    index.remove("a.*", "a.*")
    assert found(index, "abc") == ("a", "ab", "new")
    assert asked == [("a.d", "abc"), ("abc$", "abc")]


def test_what_does_not_concern_a_subject_leaves_its_answer_as_it_is() -> None:
    index: SubjectIndex[str] = SubjectIndex()
    index.add_subject("a", "t")
    index.add_pattern("a", "p")
    answer = found(index, "A")
    index.add_subject("b", "t")
    index.add_pattern("b", "t")
    index.add_subject("b", "u")
    index.discard("u")
    index.remove("b", "t")
    found(index, "b")
    assert index.find("A") is answer


def test_10_000_changes_one_by_one_visit_each_answer_once_and_make_none(monkeypatch: pytest.MonkeyPatch) -> None:
    index: SubjectIndex[int] = SubjectIndex()
    index.add_subject("s.1", -1)
    index.add_pattern("s.*", -1)
    for number in range(1_000):
        found(index, f"s.{number}")
    work = {"made": 0, "dropped": 0}
    make_answer, drop_answer = Findings.make_answer, Findings._drop_answer

    def note_made(self: Findings[Any], finding: Finding[Any], exact: dict[int, Any]) -> Any:
        work["made"] += 1
        return make_answer(self, finding, exact)

    def note_dropped(self: Findings[Any], finding: Finding[Any]) -> None:
        work["dropped"] += 1
        drop_answer(self, finding)

    monkeypatch.setattr(Findings, "make_answer", note_made)
    monkeypatch.setattr(Findings, "_drop_answer", note_dropped)
    for number in range(10_000):
        index.add_subject("s.1", number)
        index.add_pattern("s.*", number)
    for number in range(5_000):
        index.discard(number)
    # 1,000 by the pattern, and once more that of s.1 by its exact subject.
    assert work["made"] == 0 and work["dropped"] <= 1_001
    assert found(index, "s.1") == found(index, "s.2") == (-1, *range(5_000, 10_000))
    assert work["made"] == 4 - 2


def test_matches_asks_nothing_that_is_known(asked: list[Any]) -> None:
    index: SubjectIndex[str] = SubjectIndex()
    index.add_subject("exact", "t")
    index.add_pattern("b.*", "t")
    index.add_pattern("a.*", "t")
    index.add_pattern("a.*c", "u")
    assert index.matches("t", "EXACT") and not index.matches("u", "EXACT") and not index.matches("nobody", "a")
    assert asked == []
    assert index.matches("t", "abc")
    assert asked == [("a.*", "abc")]
    found(index, "abc")
    asked.clear()
    assert index.matches("t", "abc") and index.matches("u", "abc")
    assert asked == []
    index.add_pattern("ab", "v")
    assert index.matches("v", "abc")
    assert asked == [("ab", "abc")]


# -- searching in steps ---------------------------------------------------------------------------------


def test_search_pauses_after_some_cheap_patterns_and_after_each_other_one(asked: list[Any]) -> None:
    index: SubjectIndex[int] = SubjectIndex()
    for number in range(2 * ASKED_AT_ONCE + 20):
        index.add_pattern(f"s..*x{number}", number)
    assert compile_regex("s..*x7", ignore_case=True).engine == "state bits"
    assert [len(asked) for _ in index.search("sun")] == [ASKED_AT_ONCE, 2 * ASKED_AT_ONCE]
    assert len(asked) == 2 * ASKED_AT_ONCE + 20
    asked.clear()
    other: SubjectIndex[int] = SubjectIndex()
    for number in range(5):
        other.add_pattern(rf"s\w+|x{number}", number)
    assert compile_regex(r"s\w+|x1", ignore_case=True).engine == "re"
    assert [len(asked) for _ in other.search("sun")] == [1, 2, 3, 4, 5]
    assert other.find("sun") == tuple(range(5))


def many(count: int) -> SubjectIndex[int]:
    """An index with so many cheap patterns that all match what begins with s."""
    index: SubjectIndex[int] = SubjectIndex()
    for number in range(count):
        index.add_pattern(f"s.*(?#{number})", number)
    return index


def test_search_takes_in_what_changes_between_its_steps(asked: list[Any]) -> None:
    index = many(120)
    steps = index.search("sun")
    next(steps)
    assert index.find("sun") is None
    index.discard(0)
    index.discard(119)
    index.add_pattern("su", 500)
    index.add_subject("SUN", 501)
    for _ in steps:
        pass
    assert index.find("sun") == (*range(1, 119), 500, 501)
    assert len(asked) == len(set(asked)) == 120


def test_searches_for_one_subject_share_the_work_and_one_given_up_leaves_it(asked: list[Any]) -> None:
    index = many(200)
    first, second, third = (index.search("sun") for _ in range(3))
    next(first)
    next(second)
    next(third)
    assert len(asked) == 3 * ASKED_AT_ONCE
    # Nobody goes on with the first and the third.
    list(second)
    assert index.find("sun") == tuple(range(200))
    assert len(asked) == len(set(asked)) == 200


def test_search_goes_on_where_its_subject_was_thrown_out_meanwhile(asked: list[Any]) -> None:
    index: SubjectIndex[int] = SubjectIndex(most_remembered=2)
    for number in range(120):
        index.add_pattern(f"s.*(?#{number})", number)
    steps = index.search("sun")
    next(steps)
    for subject in ("x", "y", "z"):
        assert index.find(subject) == ()
    list(steps)
    assert index.find("sun") == tuple(range(120))
    assert len(asked) == 120


def test_search_joins_one_that_began_anew_after_the_subject_was_thrown_out(asked: list[Any]) -> None:
    index: SubjectIndex[int] = SubjectIndex(most_remembered=2)
    for number in range(170):
        index.add_pattern(f"s.*(?#{number})", number)
    old = index.search("sun")
    next(old)
    next(old)
    for subject in ("x", "y", "z"):
        index.find(subject)
    new = index.search("sun")
    next(new)
    # The old one has asked 100, the new one 50 of these once more; the old one goes on where the new one is.
    list(old)
    assert index.find("sun") == tuple(range(170))
    list(new)
    assert index.find("sun") == tuple(range(170))
    assert len(asked) == 2 * ASKED_AT_ONCE + 170


# -- bounds -------------------------------------------------------------------------------------------


def test_subjects_remembered_are_bounded_and_those_used_lately_stay() -> None:
    index: SubjectIndex[str] = SubjectIndex(most_remembered=10)
    index.add_subject("kept", "t")
    index.add_pattern("k", "p")
    answer = found(index, "kept")
    for number in range(100):
        assert index.find(f"s{number}") == ()
        assert index.find("kept") is answer
    assert len(index._findings) == 10
    assert len(index._findings._made_of) == 11


def test_targets_remembered_are_bounded_and_the_answer_in_use_stays() -> None:
    index: SubjectIndex[int] = SubjectIndex(most_places=250)
    for number in range(100):
        index.add_pattern("s", number)
    for number in range(20):
        assert len(found(index, f"s{number}")) == 100
    assert len(index._findings) == 2
    for number in range(100, 300):
        index.add_pattern("s", number)
    answer = found(index, "s1")
    assert len(answer) == 300 and index.find("s1") is answer
    assert len(index._findings) == 1


def test_patterns_that_come_and_go_do_not_pile_up_in_a_subject_that_is_only_searched() -> None:
    index: SubjectIndex[int] = SubjectIndex()
    for number in range(50):
        index.add_pattern(f"s(?#{number})", 1)
        list(index.search("sun"))
        index.discard(1)
    finding = index._findings.get("sun")
    assert finding is not None and len(finding.matching) == 1
    assert index.find("sun") == ()
    assert not finding.matching


def test_default_bounds_hold_the_largest_answer_that_there_can_be() -> None:
    largest = subjects.MAX_SUBSCRIPTIONS + subjects.MAX_PATTERNS * PLACES_OF_MATCH
    assert 3 * largest <= MAX_PLACES
