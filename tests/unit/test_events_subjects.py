"""Subjects of events: what is one, and who subscribed to it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpyro._events import subjects
from gpyro._events.patternindex import IndexedPattern, PatternIndex, case_key, compile_pattern
from gpyro._events.subjects import MAX_SUBJECT_LENGTH, SubjectIndex, fold, subjects_of
from gpyro.errors import EventError, PatternError
from gpyro.patterns import MAX_PATTERN_LENGTH, MAX_TEXT_LENGTH, compile_regex
from tests.support.finding import found
from tests.support.regexes import compiled, pieces

KELVIN, LONG_S, SHARP_S, BIG_SHARP_S = "\u212a", "\u017f", "\u00df", "\u1e9e"
BIG_DOTTED_I, DOTLESS_I, LIGATURES = "\u0130", "\u0131", "\ufb05\ufb06"


# -- what is a subject ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, []),
        ("", []),
        ([], []),
        ((), []),
        (set(), []),
        ("Stock.Sun", ["Stock.Sun"]),
        (["b", "a", "b"], ["b", "a", "b"]),
        (("b", "a"), ["b", "a"]),
        ({"b", "a", "c"}, ["a", "b", "c"]),
        (frozenset({"x y"}), ["x y"]),
        ("x" * MAX_SUBJECT_LENGTH, ["x" * MAX_SUBJECT_LENGTH]),
    ],
)
def test_subjects_are_a_text_or_several_and_nothing_is_none(value: object, expected: list[str]) -> None:
    assert subjects_of(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, f"a subject of type int; {subjects.FORM}"),
        (0, "type int"),
        (b"abc", "type bytes"),
        ({"a": 1}, "type dict"),
        (iter("ab"), "type str_"),
        (["a", None], "type NoneType"),
        (["a", ["b"]], "type list"),
        ({"a", 1}, "type int"),
        (["a", ""], "an empty subject; it has 1 to 256 characters"),
        ("x" * 257, f"subject '{'x' * 40}...' has 257 characters, the limit is 256"),
        ("a\tb", r"subject 'a\tb' has '\t' at position 1; it has to be printable"),
        ("a\x00", "position 1"),
        ("\u202eabc", "position 0"),
        ("\ud800", "position 0"),
        (["a"] * 1001, "1001 subjects in one call, the limit is 1000; call again"),
    ],
)
def test_what_is_no_subject_is_refused_with_value_and_limit(value: object, expected: str) -> None:
    with pytest.raises(EventError, match=re.escape(expected)):
        subjects_of(value)


def test_each_subject_can_be_matched_and_each_one_can_be_a_pattern_in_length() -> None:
    assert MAX_SUBJECT_LENGTH <= MAX_TEXT_LENGTH
    assert MAX_SUBJECT_LENGTH <= MAX_PATTERN_LENGTH


@pytest.mark.parametrize("value", [5, None, b"a", "", "x" * 257, "a\nb"])
def test_index_refuses_what_is_no_subject_wherever_it_is_given(value: Any) -> None:
    index: SubjectIndex[str] = SubjectIndex()
    index.add_pattern(".*", "p")
    for ask in (
        lambda: index.add_subject(value, "t"),
        lambda: index.find(value),
        lambda: list(index.search(value)),
        lambda: index.matches("p", value),
    ):
        with pytest.raises(EventError):
            ask()
    assert index.subjects_of("t") == []
    assert "0 subjects remembered" in repr(index)


# -- who subscribed -------------------------------------------------------------------------------------


def test_exact_subjects_are_the_same_in_any_case() -> None:
    index: SubjectIndex[str] = SubjectIndex()
    assert index.add_subject("Stock.Sun", "a")
    assert not index.add_subject("STOCK.SUN", "a")
    assert index.add_subject("Stra\u00dfe", "b")
    assert found(index, "stock.sun") == ("a",)
    assert found(index, "stock.sunny") == ()
    assert found(index, "STRASSE") == ("b",)
    assert index.subjects_of("a") == ["Stock.Sun"]
    assert fold("STRASSE") == fold("stra\u00dfe")


def test_pattern_begins_with_the_subject_but_need_not_reach_its_end() -> None:
    index: SubjectIndex[str] = SubjectIndex()
    assert index.add_pattern("stock", "a")
    assert not index.add_pattern("stock", "a")
    assert index.add_pattern("sun$", "b")
    assert found(index, "STOCK.sun") == ("a",)
    assert found(index, "a STOCK") == ()


CASES = [
    "k", "K", KELVIN, "s", "S", LONG_S, SHARP_S, BIG_SHARP_S, "ss", "SS", "i", "I", BIG_DOTTED_I, DOTLESS_I,
    *LIGATURES, "st", "\u00b5", "\u03bc", "\u039c", "\u03c3", "\u03c2", "\u03a3", "\u0390", "\u1fd3", "\u0345",
    "\u01c4", "\u01c5", "\u01c6", "\u0149", "\u13a0", "\uab70", "\U00010400", "\U00010428", "a", "\u00e9",
    "\u00c9",
]  # fmt: skip


def test_patterns_compare_case_as_re_does_character_by_character() -> None:
    """Every pair, in front of and behind plain characters, so that it is in the key and in what is matched."""
    index: SubjectIndex[str] = SubjectIndex()
    patterns = [form.format(text) for text in CASES for form in ("{}", "x{}y.*", "(?:{}+)", "(?-i:{})", "(?i){}.")]
    for text in patterns:
        index.add_pattern(text, text)
    for text in CASES:
        for subject in (text, f"X{text}Y", f"{text}z"):
            expected = {one for one in patterns if re.match(one, subject, re.IGNORECASE)}
            assert set(found(index, subject)) == expected
            assert {one for one in patterns if index.matches(one, subject)} == expected


@pytest.mark.parametrize(
    "text",
    [
        "(?a)k", "(?i)abc", "(?x) a b # c", "(?m)^ab", r"\Aab", "(?:a)(?-i:B)c", "ab|ac", "(ab|ac)d", "a{2}",
        "a?b", "[Kk]x",
    ],
)
def test_pattern_finds_what_re_finds_whatever_its_form(text: str) -> None:
    index: SubjectIndex[str] = SubjectIndex()
    index.add_pattern(text, "t")
    for subject in ("k", "K", KELVIN, "ab", "AB", "abc", "aBc", "ABC", "acd", "AAD", "b", "kx", f"{KELVIN}X"):
        assert (found(index, subject) == ("t",)) == bool(re.match(text, subject, re.IGNORECASE)), subject


SPELLED = st.text(f"kK{KELVIN}sS{LONG_S}{SHARP_S}iI{DOTLESS_I}a.", max_size=4)


@settings(max_examples=300)
@given(SPELLED, pieces(), SPELLED, st.text("abcABC1. \u00e9\u00c9", max_size=6))
def test_index_finds_what_re_finds_for_any_pattern(begin: str, rest: str, other: str, more: str) -> None:
    text = begin.replace(".", r"\.") + rest
    pattern = compiled(text, ignore_case=True)
    index: SubjectIndex[str] = SubjectIndex()
    index.add_pattern(text, "t")
    for subject in (begin + more, begin.swapcase() + more, other + more):
        if subject:
            expected = pattern.matches(subject)
            if pattern.engine != "re2":
                assert expected == bool(re.match(text, subject, re.IGNORECASE))
            assert (found(index, subject) == ("t",)) == expected


def test_target_is_found_once_in_the_order_of_first_subscriptions() -> None:
    index: SubjectIndex[str] = SubjectIndex()
    index.add_subject("other", "first")
    index.add_pattern("x", "second")
    index.add_subject("x.y", "third")
    index.add_subject("X.Y", "second")
    index.add_pattern("x.*", "second")
    index.add_pattern(".*", "first")
    assert found(index, "x.y") == ("first", "second", "third")
    index.remove("other", "first")
    assert found(index, "x.y") == ("first", "second", "third")
    index.remove(".*", "first")
    index.add_pattern("x", "first")
    # It was forgotten with its last subscription.
    assert found(index, "x.y") == ("second", "third", "first")


def test_removing_tries_the_exact_subject_and_then_the_pattern_of_that_text() -> None:
    index: SubjectIndex[str] = SubjectIndex()
    index.add_subject("x.both", "t")
    index.add_pattern("x.both", "t")
    index.add_pattern("X.both", "t")
    assert index.patterns_of("t") == ["x.both", "X.both"]
    assert index.remove("X.BOTH", "t")
    assert index.subjects_of("t") == [] and index.patterns_of("t") == ["x.both", "X.both"]
    assert not index.remove("X.BOTH", "t")
    assert index.remove("x.both", "t")
    assert found(index, "x.both") == ("t",)
    assert index.remove("X.both", "t")
    assert found(index, "x.both") == ()
    assert not index.remove("X.both", "t")
    assert not index.remove("x" * 5000, "nobody")


def test_discarding_takes_all_of_a_target_and_of_no_other() -> None:
    index: SubjectIndex[str] = SubjectIndex()
    for target in ("a", "b"):
        index.add_subject("x", target)
        index.add_pattern("x.*", target)
        index.add_subject(target, target)
    assert found(index, "x") == ("a", "b")
    index.discard("a")
    index.discard("nobody")
    assert found(index, "x") == ("b",)
    assert index.subjects_of("a") == index.patterns_of("a") == []
    assert not index.matches("a", "x") and index.matches("b", "xy")


def test_nothing_is_left_of_subscriptions_that_went() -> None:
    index: SubjectIndex[int] = SubjectIndex()
    for target in range(50):
        index.add_subject(f"s{target % 7}", target)
        index.add_pattern(f"s{target % 5}.*", target)
        found(index, f"s{target % 9}")
    for target in range(50):
        index.discard(target)
    assert all(found(index, f"s{number}") == () for number in range(9))
    assert (index.subject_count, index.pattern_count, index._subscriptions) == (0, 0, 0)
    assert not index._holders and not index._exact
    assert not index._patterns._by_text and not index._patterns._by_key and not index._patterns._lengths
    assert not any(isinstance(source, IndexedPattern) for source in index._findings._made_of)


# -- hostile patterns -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "(", "[a", "*", r"(a)\1", "(?=a)a", "a{5000}", "(" * 40 + ")" * 40, "x" * 257, "a(?i)b",
        5, None, b"a", ["a"],
    ],
)
def test_pattern_that_is_refused_leaves_nothing_behind(text: Any) -> None:
    index: SubjectIndex[str] = SubjectIndex()
    with pytest.raises(PatternError):
        index.add_pattern(text, "t")
    assert index.patterns_of("t") == [] and index.pattern_count == 0 and not index._holders
    assert index.find("a") == ()


@pytest.mark.parametrize("text", ["(a+)+$", "(a|a)*b", "(.*a){10}b", "(?:a?){200}a{200}$"])
def test_pattern_that_could_take_for_ever_is_refused_or_asked_in_bounded_time(text: str) -> None:
    index: SubjectIndex[str] = SubjectIndex()
    try:
        index.add_pattern(text, "t")
    except PatternError:
        assert index.pattern_count == 0
        return
    # The time limit of each test is the bound; `re` alone would take years.
    assert compile_regex(text, ignore_case=True).engine == "re2"
    assert found(index, "a" * 250 + "!") == ()


# -- bounds ---------------------------------------------------------------------------------------------


def test_subscriptions_of_each_and_of_all_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SUBJECTS_EACH", 2), ("PATTERNS_EACH", 2), ("PATTERNS", 3), ("SUBSCRIPTIONS", 6)):
        monkeypatch.setattr(subjects, f"MAX_{name}", value)
    index: SubjectIndex[str] = SubjectIndex()
    assert index.add_subject("a", "t") and index.add_subject("b", "t")
    with pytest.raises(EventError, match="a subscriber has 2 subjects, the limit is 2; a pattern covers many"):
        index.add_subject("c", "t")
    assert index.add_pattern("a", "t") and index.add_pattern("b", "t")
    with pytest.raises(EventError, match="a subscriber has 2 patterns, the limit is 2"):
        index.add_pattern("c", "t")
    # What is there already needs no room.
    assert not index.add_subject("A", "t") and not index.add_pattern("a", "t")
    assert index.add_pattern("c", "u")
    with pytest.raises(EventError, match="there are 3 different patterns, the limit is 3"):
        index.add_pattern("d", "u")
    assert index.add_pattern("a", "u")
    for add in (index.add_subject, index.add_pattern):
        with pytest.raises(EventError, match="there are 6 subscriptions, the limit is 6"):
            add("b", "v")
    index.discard("u")
    assert index.add_pattern("d", "v") and index.add_subject("d", "v")
    assert index.patterns_of("v") == ["d"] and index.subjects_of("v") == ["d"]


# -- seeing inside --------------------------------------------------------------------------------------


def test_reprs_tell_the_state() -> None:
    index: SubjectIndex[str] = SubjectIndex(most_remembered=5, most_places=99)
    index.add_subject("a", "t")
    index.add_pattern("a.*", "t")
    index.add_pattern("x", "u")
    found(index, "A")
    assert repr(index) == "<SubjectIndex of 2 targets, 1 subjects, 2 patterns, 1 subjects remembered>"
    assert repr(index._patterns) == "<PatternIndex of 2 patterns with 2 beginnings>"
    assert repr(index._patterns.get("a.*")) == "<IndexedPattern 1 'a.*', begins 'A', 1 targets>"
    assert repr(index._findings) == "<Findings for 1 of at most 5 subjects, 17 of 99 places>"
    assert repr(index._findings.get("A")) == "<Finding 'A': 1 targets, 1 patterns match, 2 asked>"
    index.add_subject("A", "u")
    assert repr(index._findings.get("A")) == "<Finding 'A': no answer, 1 patterns match, 2 asked>"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (r"^Stock\.[a-m]", "STOCK."),
        ("stock", "STOCK"),
        ("(?i)stock.*", "STOCK"),
        ("(?:sto)(ck)s?", "STOCK"),
        ("abc|abd", "AB"),
        (f"{LONG_S}{KELVIN}", "SK"),
        (f"a{SHARP_S}?", "A"),
        ("(?x) a  b", "AB"),
        (".*", ""),
        ("a*", ""),
        ("ab|cd", ""),
    ],
)
def test_pattern_is_filed_under_the_beginning_of_all_its_matches(text: str, key: str) -> None:
    index: PatternIndex[str] = PatternIndex()
    assert index.add(compile_pattern(text)).key == key


def test_key_of_a_pattern_for_re2_ends_before_characters_on_which_tables_may_differ() -> None:
    pytest.importorskip("re2")
    index: PatternIndex[str] = PatternIndex()
    filed = index.add(compile_pattern("ab\u00e9cd(a+)+$"))
    assert filed.pattern.engine == "re2"
    assert filed.key == "AB"


def test_keys_of_ascii_texts_are_made_as_all_others() -> None:
    text = "".join(map(chr, range(128)))
    assert case_key(text) + case_key("\u00e9") == case_key(text + "\u00e9")
