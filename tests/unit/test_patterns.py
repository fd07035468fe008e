"""Patterns mean what Python's own mean, and none of them can hold the process."""

from __future__ import annotations

import fnmatch
import re
import resource
import subprocess
import sys

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpyro.errors import PatternError
from gpyro.patterns import (
    MAX_PATTERN_LENGTH,
    MAX_STEPS,
    MAX_TEXT_LENGTH,
    Pattern,
    compile_glob,
    compile_regex,
)
from tests.support.programs import SECONDS


def has_re2() -> bool:
    try:
        import re2  # noqa: F401
    except ImportError:
        return False
    return True


# -- globs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("*", ["", "a", "a.b"], []),
        (":Plant.*", [":Plant.", ":Plant.a.b"], [":Plant", ":Plants.a", "x:Plant.a"]),
        ("*.press", [":a.press", ".press"], [":press", ":a.press.b"]),
        ("a?c", ["abc", "a.c", "aéc"], ["ac", "abbc"]),
        ("[abc]x", ["ax", "cx"], ["dx", "x", "abx"]),
        ("[a-c]x", ["bx"], ["dx", "-x"]),
        ("[!a-c]x", ["dx", "-x"], ["bx", "x"]),
        ("[]]x", ["]x"], ["[x"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("[*]", ["*"], ["a", ""]),
        ("a[b", ["a[b"], ["ab"]),
        ("a.b", ["a.b"], ["axb"]),
        ("", [""], ["a"]),
        ("a*b*c", ["abc", "a--b--c", "abbcc"], ["ab", "acb", "abcd"]),
    ],
)
def test_glob_covers_the_whole_text(glob: str, matching: list[str], others: list[str]) -> None:
    pattern = compile_glob(glob)
    assert [text for text in matching + others if pattern.matches(text)] == matching


GLOB_TEXTS = st.text("ab.[]!-*?A", max_size=8)


@settings(max_examples=500)
@given(GLOB_TEXTS, st.text("ab.[]!-*?A", max_size=8))
def test_glob_means_what_fnmatch_means(glob: str, text: str) -> None:
    assert compile_glob(glob).matches(text) == fnmatch.fnmatchcase(text, glob)


@given(GLOB_TEXTS, st.text("abAB.-", max_size=8))
def test_glob_without_regard_to_case_means_what_re_means(glob: str, text: str) -> None:
    expected = re.compile(fnmatch.translate(glob), re.IGNORECASE).match(text) is not None
    assert compile_glob(glob, ignore_case=True).matches(text) == expected


# -- regular expressions -------------------------------------------------------------------------------------

ATOMS = st.sampled_from(
    ["a", "b", ".", r"\.", "[ab]", "[^a]", r"\w", r"\d", "x", "(?:ab)", "(a|b)", "(?:a|bc)"]
)
REPEATED = st.tuples(ATOMS, st.sampled_from(["", "", "*", "+", "?", "{1,3}", "*?", "{2}"])).map("".join)
EXPRESSIONS = st.tuples(
    st.sampled_from(["", "^"]),
    st.lists(REPEATED, max_size=5).map("".join),
    st.sampled_from(["", "$", ".*", ".*$"]),
).map("".join)


@settings(max_examples=600)
@given(EXPRESSIONS, st.text("abx.1\n", max_size=8), st.booleans(), st.booleans())
def test_regex_that_is_taken_means_what_re_means(
    expression: str, text: str, ignore_case: bool, whole: bool
) -> None:
    try:
        pattern = compile_regex(expression, ignore_case=ignore_case, whole=whole)
    except PatternError:
        assume(False)
        raise AssertionError from None
    compiled = re.compile(expression, re.IGNORECASE if ignore_case else 0)
    expected = (compiled.fullmatch if whole else compiled.match)(text)
    assert pattern.matches(text) == (expected is not None)
    if pattern.matches(text):
        assert text.startswith(pattern.prefix)


@pytest.mark.parametrize(
    ("expression", "prefix"),
    [
        (r"^STOCKQUOTE\.S.*$", "STOCKQUOTE.S"),
        ("STOCKQUOTE", "STOCKQUOTE"),
        (":Plant.press", ":Plant"),
        (r":Plant\.(a|b)", ":Plant."),
        ("ab*", "a"),
        (".*x", ""),
        ("a|b", ""),
    ],
)
def test_prefix_is_what_each_matching_text_begins_with(expression: str, prefix: str) -> None:
    assert compile_regex(expression).prefix == prefix
    assert compile_regex(expression, ignore_case=True).prefix == ""


def test_example_of_the_manual_needs_no_engine_that_goes_back() -> None:
    pattern = compile_regex(r"^STOCKQUOTE\.S.*$")
    assert pattern.engine in ("string tests", "state bits")
    assert pattern.matches("STOCKQUOTE.SUN") and not pattern.matches("STOCKQUOTE.IBM")


# -- what could hold the process -----------------------------------------------------------------------------

CATASTROPHES = [
    "(a+)+$",
    "(a|a)*b",
    "(.*)*x",
    "(a*)*b",
    "(x+x+)+y",
    r"^(\w+\s?)*$",
    "(.*a){25}",
    "(a?){30}a{30}",
    "(a|aa)+$",
    ".*.*.*.*.*=",
    "((((a{0,99}){0,99}){0,99}){0,99})",
    "(a{1,1000}){1,1000}b",
    "(" * 32 + "a" + ")*" * 32,
    "|".join(["a*b"] * 40),
    "(?:a|b|ab|ba|aab|abb)*c",
    "[a-z]*[a-z]*[a-z]*1",
    r"(?:[^.]*\.)*[^.]*x$",
]
#: Makes each pattern and matches it against what is worst for it; without end it is killed by its CPU time.
PROGRAM = """
import sys
from gpyro.errors import PatternError
from gpyro.patterns import MAX_TEXT_LENGTH, compile_regex
texts = [letter * (MAX_TEXT_LENGTH - 1) + end for letter in "ax=." for end in "!by1"]
for whole in (False, True):
    try:
        pattern = compile_regex(sys.argv[1], whole=whole)
    except PatternError as exc:
        print("refused", exc)
        continue
    print(pattern.engine, sum(map(pattern.matches, texts)))
"""
CPU_SECONDS = 5


def _limit_cpu() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))


@pytest.mark.parametrize("expression", CATASTROPHES)
def test_catastrophe_is_refused_or_over_in_bounded_time(expression: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, expression], capture_output=True, text=True, timeout=SECONDS,
        preexec_fn=_limit_cpu, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize("expression", ["(a+)+$", "(a|a)*b", "(x+x+)+y"])
def test_refusal_names_pattern_reason_and_the_way_out(expression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(PatternError) as caught:
        compile_regex(expression)
    text = str(caught.value)
    assert repr(expression) in text and "is refused: it " in text
    assert "write it more simply, or install gpyro[re2] where it is matched" in text


@pytest.mark.skipif(not has_re2(), reason="needs the optional google-re2 (gpyro[re2])")
@pytest.mark.parametrize(
    ("expression", "matching", "others"),
    [
        ("(a+)+$", ["a", "aaa"], ["aab", ""]),
        ("(a|a)*b", ["b", "aab"], ["aa"]),
        (r"^(\w+\s?)*$", ["", "two words", "éa"], ["a  b!"]),
        ("(x+x+)+y", ["xxy"], ["xy"]),
    ],
)
def test_re2_takes_what_re_may_not_have(expression: str, matching: list[str], others: list[str]) -> None:
    pattern = compile_regex(expression)
    assert pattern.engine == "re2"
    assert [text for text in matching + others if pattern.matches(text)] == matching


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("(?=a)b", "looks ahead or behind"),
        ("(?<!a)b", "looks ahead or behind"),
        (r"(a)\1", "refers to what another group has matched"),
        ("(", "missing"),
        ("a{3,1}", "min repeat"),
        ("*", "nothing to repeat"),
        ("a(?i)b", "flags"),
        ("a" * (MAX_PATTERN_LENGTH + 1), f"the limit is {MAX_PATTERN_LENGTH}"),
    ],
)
def test_what_is_no_pattern_or_never_taken_is_refused_with_the_reason(expression: str, what: str) -> None:
    with pytest.raises(PatternError, match=re.escape(what)):
        compile_regex(expression)


@pytest.mark.parametrize("value", [None, 5, b"bytes", ["a"]])
def test_what_is_no_text_is_refused(value: object) -> None:
    for make in (compile_glob, compile_regex):
        with pytest.raises(PatternError, match="is no pattern: it is no text but"):
            make(value)  # type: ignore[arg-type]
    with pytest.raises(PatternError, match="cannot be matched"):
        compile_glob("*").matches(value)  # type: ignore[arg-type]


def test_text_beyond_the_limit_is_refused() -> None:
    pattern = compile_glob("*")
    assert pattern.matches("a" * MAX_TEXT_LENGTH)
    with pytest.raises(PatternError, match=f"the limit is {MAX_TEXT_LENGTH}"):
        pattern.matches("a" * (MAX_TEXT_LENGTH + 1))


@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_a_pattern_error(text: str) -> None:
    compile_glob(text).matches(text)
    try:
        compile_regex(text).matches(text)
    except PatternError as exc:
        assert len(str(exc)) < 1000


# -- as values -----------------------------------------------------------------------------------------------


def test_patterns_of_the_same_text_are_equal_and_never_change() -> None:
    pattern = compile_regex("a.*")
    assert pattern == compile_regex("a.*") and hash(pattern) == hash(compile_regex("a.*"))
    assert pattern != compile_regex("a.*", whole=True)
    assert pattern != compile_regex("a.*", ignore_case=True)
    assert pattern != compile_glob("a.*")
    with pytest.raises(AttributeError):
        pattern.text = "b"  # type: ignore[misc]


def test_pattern_tells_what_it_is_and_what_matches_it() -> None:
    assert repr(compile_glob("a*")) == "<Pattern glob 'a*', matched by string tests>"
    assert repr(compile_regex("a+b", ignore_case=True, whole=True)).startswith(
        "<Pattern regex 'a+b', ignores case, whole, matched by "
    )
    assert isinstance(compile_glob("a"), Pattern) and MAX_STEPS == 1_000_000
