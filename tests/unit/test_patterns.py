"""Patterns: what they match, as fnmatch and re have it, and what is never taken."""

from __future__ import annotations

import fnmatch
import re
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gpyro._patterns import wildcards
from gpyro.errors import PatternError, PyroError
from gpyro.patterns import MAX_PATTERN_LENGTH, MAX_TEXT_LENGTH, compile_glob, compile_regex
from tests.support.regexes import TEXTS, compiled, pieces, refusal


@pytest.fixture
def without_re2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)

# -- globs


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("", [""], ["a"]),
        ("abc", ["abc"], ["ab", "abcd", "ABC", "abc\n"]),
        ("*", ["", "a", "a.b.c", "a\nb"], []),
        (":Group.*", [":Group.", ":Group.a.b"], [":Group", "x:Group.a"]),
        ("*.status", [".status", "a.b.status"], ["a.statuses"]),
        ("a*b*c", ["abc", "axbxc", "abbcc"], ["ab", "acb", "ac"]),
        ("ab*ba", ["abba", "ab-ba"], ["aba"]),
        ("a?c", ["abc", "a.c", "a\nc", "aéc"], ["ac", "abbc"]),
        ("[abc]x", ["ax", "cx"], ["dx", "x", "[abc]x"]),
        ("[a-c]*", ["a", "bzz"], ["d", ""]),
        ("[!a-c]", ["d", "\n"], ["a", "", "dd"]),
        ("[]x]", ["]", "x"], ["[]x]"]),
        ("[!]]", ["a"], ["]"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("[-a]", ["a", "-"], ["b"]),
        ("[z-a]", [], ["z", "a", "-", "z-a"]),
        ("[!z-a]", ["q"], [""]),
        ("[*][?]", ["*?"], ["ab"]),
        ("[ab", ["[ab"], ["a"]),
        ("[", ["["], [""]),
        ("a.b", ["a.b"], ["axb"]),
        (r"a\*", ["a\\", "a\\b"], ["a*"]),
    ],
)
def test_glob_matches_by_its_rules(glob: str, yes: list[str], no: list[str]) -> None:
    pattern = compile_glob(glob)
    assert [text for text in yes + no if pattern.matches(text)] == yes


GLOB_TEXT = st.text("ab-]\n.AÉ", max_size=12)


@settings(max_examples=400)
@given(st.text("ab*?[]!-^.AÉ\\", max_size=14), GLOB_TEXT)
def test_glob_is_what_fnmatch_has(glob: str, text: str) -> None:
    try:
        expected = re.compile(fnmatch.translate(glob)).match(text) is not None
    except re.error:
        assume(False)  # [b-a] is an error in Python 3.10's fnmatch
    assert compile_glob(glob).matches(text) == expected


@settings(max_examples=300)
@given(st.text("abkK*?[]!-sS", max_size=14), st.text("abAB-sSkK\u017f\u212a", max_size=12))
def test_glob_without_case_is_what_re_makes_of_it(glob: str, text: str) -> None:
    try:
        expected = re.compile(fnmatch.translate(glob), re.IGNORECASE).match(text) is not None
    except re.error:
        assume(False)
    assert compile_glob(glob, ignore_case=True).matches(text) == expected


def test_sharp_s_is_its_capital_and_never_two_letters() -> None:
    pattern = compile_glob("stra?e", ignore_case=True)
    assert pattern.matches("STRAẞE")
    assert not pattern.matches("STRASSE")
    assert compile_glob("straße", ignore_case=True).matches("STRAẞE")
    assert not compile_glob("straße", ignore_case=True).matches("STRASSE")
    assert compile_glob("?", ignore_case=True).matches("İ")
    assert compile_glob("i", ignore_case=True).matches("İ")


def test_all_characters_have_the_cases_that_re_gives_them() -> None:
    cased = [c for c in map(chr, range(0x110000)) if c.lower() != c or c.upper() != c]
    everything = "".join(cased)
    by_key: dict[str, list[str]] = {}
    for character in cased:
        by_key.setdefault(wildcards.fold(character), []).append(character)
    assert len(cased) > 2000
    for character in cased:
        assert re.findall(re.escape(character), everything, re.IGNORECASE) == by_key[wildcards.fold(character)]


def test_no_character_without_cases_shares_a_key_with_another() -> None:
    keys = {wildcards.fold(c) for c in map(chr, range(0x110000)) if c.lower() != c or c.upper() != c}
    assert not any(c in keys for c in map(chr, range(0x110000)) if c.lower() == c and c.upper() == c)


# -- regular expressions


@pytest.mark.parametrize(
    ("regex", "engine", "prefix", "yes", "no"),
    [
        (r"^STOCKQUOTE\.S.*$", "string tests", "STOCKQUOTE.S", ["STOCKQUOTE.SUN"], ["STOCKQUOTE.IBM"]),
        ("abc", "string tests", "abc", ["abc", "abcd", "abc\n"], ["xabc", "ab"]),
        ("^abc$", "string tests", "abc", ["abc", "abc\n"], ["abcd", "abc\n\n", "abc\nd"]),
        (r"\Aabc\Z", "string tests", "abc", ["abc"], ["abc\n"]),
        (".*abc", "string tests", "", ["abc", "xabcx"], ["\nabc", "ab"]),
        (r"a.*?\.b", "string tests", "a", ["a.b", "axx.bc"], ["a\n.b"]),
        ("(?s)a.*b$", "string tests", "a", ["a\nb", "ab\n"], ["a\nbc"]),
        ("a.+b", "state bits", "a", ["axb", "axxbc"], ["ab", "a\nb"]),
        ("(a)(?:b.)[c-e]", "state bits", "ab", ["ab.c", "abxd!"], ["abxf", "ab\nc"]),
        ("[^.]x", "state bits", "", ["ax", "\nxy"], [".x"]),
        ("(?i)abc", "state bits", "", ["ABCd"], ["xabc"]),
        ("", "string tests", "", ["", "a"], []),
        ("$", "string tests", "", ["", "\n"], ["a", "\n\n"]),
        (r":Default\.(cam|mic)\d+$", "re", ":Default.", [":Default.cam12", ":Default.mic0\n"], [":Default.cam"]),
        (r"[^.]+\.[^.]+\.[^.]+$", "re", "", ["a.b.c"], ["a.b", "a.b.c.d"]),
        (r"\w+(\.\w+)*$", "re", "", ["a.b.c", "é"], ["a..b", ""]),
        (r"(foo|bar|baz)+$", "re", "", ["foobaz"], ["foobarb"]),
        (r"\bfoo\b", "re", "foo", ["foo.bar"], ["food"]),
        (r"(?i:ab)c", "re", "", ["ABc"], ["ABC"]),
        (r"ab(?i:c)", "re", "ab", ["abC"], ["ABC"]),
        (r"a?b", "re", "", ["ab", "b"], ["aab"]),
    ],
)
def test_regex_matches_from_the_start(regex: str, engine: str, prefix: str, yes: list[str], no: list[str]) -> None:
    pattern = compile_regex(regex)
    assert (pattern.engine, pattern.prefix) == (engine, prefix)
    assert [text for text in yes + no if pattern.matches(text)] == yes
    assert [text for text in yes + no if re.match(regex, text)] == yes


def test_whole_covers_the_text() -> None:
    assert [compile_regex("ab.*c", whole=True).matches(text) for text in ("abc", "abxc", "abcd", "abc\n")] == [
        True, True, False, False,
    ]  # fmt: skip
    assert not compile_regex("a$", whole=True).matches("a\n")
    assert compile_regex("a|ab", whole=True).matches("ab")


@settings(max_examples=600, suppress_health_check=[HealthCheck.filter_too_much])
@given(pieces(), st.lists(TEXTS, min_size=1, max_size=6), st.booleans(), st.booleans())
def test_what_is_taken_matches_as_in_re(regex: str, texts: list[str], ignore_case: bool, whole: bool) -> None:
    pattern = compiled(regex, ignore_case=ignore_case, whole=whole)
    original = re.compile(regex, re.IGNORECASE if ignore_case else 0)
    for text in texts:
        expected = (original.fullmatch if whole else original.match)(text)
        assert pattern.matches(text) == (expected is not None), (text, pattern)


@settings(max_examples=400, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.lists(st.sampled_from(["a", "b", ".", ".*", ".*?", ".+", "[ab]", "[^b]", "\n"]), max_size=9), TEXTS,
       st.sampled_from(["", "$", r"\Z"]), st.booleans(), st.booleans())  # fmt: skip
def test_wildcards_in_a_regex_match_as_in_re(
    parts: list[str], text: str, end: str, ignore_case: bool, whole: bool
) -> None:
    regex = "".join(parts) + end
    pattern = compiled(regex, ignore_case=ignore_case, whole=whole)
    original = re.compile(regex, re.IGNORECASE if ignore_case else 0)
    assert pattern.matches(text) == ((original.fullmatch if whole else original.match)(text) is not None)


@settings(max_examples=400, suppress_health_check=[HealthCheck.filter_too_much])
@given(pieces(), TEXTS)
def test_each_match_begins_with_the_prefix(regex: str, text: str) -> None:
    pattern = compiled(regex)
    if pattern.matches(text):
        assert text.startswith(pattern.prefix)


# -- what is refused


@pytest.mark.parametrize(
    ("regex", "why"),
    [
        ("(", "is no regular expression: missing ), unterminated subpattern at position 0"),
        ("a**", "is no regular expression: multiple repeat"),
        ("a(?=b)", "looks ahead or behind and cannot be bounded; write it without"),
        ("(?<!a)b", "looks ahead or behind"),
        (r"(a)\1", "refers to what another group has matched"),
        ("(a)?(?(1)b|c)", "asks whether another group has matched"),
        ("a{1,1001}", "repeats something 1001 times, the limit is 1000"),
        ("a{1001,}", "repeats something 1001 times, the limit is 1000"),
        ("a{4294967295}", "the repetition number is too large"),
        ("(" * 33 + ")" * 33, "has 33 opening parentheses, the limit is 32"),
        ("a(?i)", "has flags for everything behind its beginning"),
        ("[[a]", "has the set '[[a]', which later Pythons may read otherwise"),
        ("[a&&b]", "has the set '[a&&b]'"),
        ("[[[", "has the set '[[['"),
        ("(?i)[a-\uffff][a-\uffff]", "has more than 65536 characters in its sets"),
    ],
)
def test_what_is_never_taken_is_told_why(regex: str, why: str) -> None:
    message = refusal(regex)
    assert message.startswith(f"the pattern {regex!r} ")
    assert why in message


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 does not know them")
@pytest.mark.parametrize("regex", ["a++b", "(?>a)b"])
def test_what_python_310_does_not_know_is_refused_by_all(regex: str) -> None:
    assert "which Python 3.10 does not know" in refusal(regex)


@pytest.mark.usefixtures("without_re2")
def test_refusal_without_re2_tells_the_count_and_the_ways_out() -> None:
    assert refusal("(a+)+$") == (
        "the pattern '(a+)+$' is refused: it has repeats or branches that can share a text in many ways: over "
        "10**12 steps for 512 characters, the limit is 2000000; write it more simply, or install gpyro[re2] where "
        "it is matched"
    )
    assert "it repeats something that can be empty" in refusal("(a*)*b")


def test_texts_and_patterns_have_limits() -> None:
    compile_glob("a" * MAX_PATTERN_LENGTH)
    with pytest.raises(PatternError, match="has 257 characters, the limit is 256"):
        compile_glob("a" * (MAX_PATTERN_LENGTH + 1))
    assert "has 257 characters, the limit is 256" in refusal("a" * (MAX_PATTERN_LENGTH + 1))
    assert compile_glob("a*").matches("a" * MAX_TEXT_LENGTH)
    with pytest.raises(PatternError, match="513 characters is not matched, the limit is 512"):
        compile_glob("a*").matches("a" * (MAX_TEXT_LENGTH + 1))


@pytest.mark.parametrize("value", [None, 5, b"a*", ["a"]])
def test_what_is_no_text_is_refused(value: Any) -> None:
    for use in (compile_glob, compile_regex, compile_glob("*").matches):
        with pytest.raises(PatternError, match=f"it is no text but {type(value).__name__}"):
            use(value)


def test_pattern_error_is_the_callers_fault_and_a_value_error() -> None:
    assert issubclass(PatternError, PyroError)
    assert issubclass(PatternError, ValueError)


# -- the object


def test_pattern_is_a_value() -> None:
    one, same = compile_glob("a*"), compile_glob("a*")
    assert one == same
    assert hash(one) == hash(same)
    globs = [compile_glob("a*", ignore_case=True), compile_glob("b*")]
    assert len({one, same, *globs, compile_regex("a*"), compile_regex("a*", whole=True)}) == 5
    with pytest.raises(AttributeError):
        one.text = "b"  # type: ignore[misc]


def test_repr_tells_what_matches_it() -> None:
    assert repr(compile_glob(":Group.*")) == "<Pattern glob ':Group.*', matched by string tests>"
    assert repr(compile_glob("a?", ignore_case=True)) == "<Pattern glob 'a?', ignores case, matched by state bits>"
    assert repr(compile_regex("a|bc", whole=True)) == "<Pattern regex 'a|bc', whole, matched by re>"


@pytest.mark.parametrize(
    ("glob", "prefix"), [(":G.*", ":G."), ("*a", ""), ("a?b", "a"), ("a[bc]d", "a"), ("abc", "abc"), ("a[", "a[")]
)
def test_prefix_of_a_glob_ends_at_its_first_wildcard(glob: str, prefix: str) -> None:
    assert compile_glob(glob).prefix == prefix
    assert compile_glob(glob, ignore_case=True).prefix == ""
