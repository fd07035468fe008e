"""That no pattern can hold the process: the proof, the catastrophes, and re2."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gpyro._patterns import cost, linear, sets, tree
from gpyro.errors import PatternError
from gpyro.patterns import MAX_STEPS, MAX_TEXT_LENGTH, compile_regex
from tests.support.regexes import TEXTS, pieces, refusal

needs_re2 = pytest.mark.skipif(not linear.is_installed(), reason="google-re2 is not installed (gpyro[re2])")

#: What is catastrophic in a backtracking matcher, and the texts that show it.
CATASTROPHIC = [
    "(a+)+$", "(a|a)*b", "(.*)*x", "(a*)*b", "(x+x+)+y", r"^(\w+\s?)*$", "(.*a){25}", "(a|aa)+$", "(a?){40}a{40}b",
    "((((a{0,99}){0,99}){0,99}){0,99})", "((((a{1,99}){1,99}){1,99}){1,99})b", "(a|b|ab)*c", "([a-z]+)*!",
    "(?:a*b?)*c", "a*a*a*a*a*b", ".*.*.*.*.*=.*x\\d", "(a{1,1000}){1,1000}b", "|".join(["a+b"] * 60),
    "(" + "|".join(["a"] * 80) + ")*b", "(" * 32 + "a" + "+)" * 32 + "b", "(?i)(s|\u017f|S)*x",
    "(\\s|[ \\t])*x", "(?i)[a-\uffff]", "(" * 128 + ")" * 128, "[a-\U0010ffff]" * 51, "(a|b)?" * 40 + "c",
    "a{1,60000}", "(?:)*" * 50, "(|a)+b", "(a|\\b)*b", "[[&&]*" * 40, "(x{1000}){1000}", "(.?){500}b",
    "(?:(?:a|b)(?:a|b)){100}c", "(\\d+.?)+x", "(?=(a+))a*b", r"(a+)\1*b", r"(a+)(?(1)b|c)*",
]  # fmt: skip
CATASTROPHIC_GLOBS = [
    "*a*a*a*a*b", "*a" * 127 + "*b", "*?" * 128, "*[a-z]" * 42 + "!", "*" * 256, "[!b]*" * 50 + "b",
]  # fmt: skip
EVIL_TEXTS = ["a" * 511 + "!", "x" * 512, "ab" * 256, "a " * 256, "1" * 512, "s\u017f" * 256, "\n" * 512, ""]


# -- the proof


class Walker:
    """A backtracking matcher that goes all ways and counts its steps: the one that the proof is about."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.steps = 0

    def match(self, parsed: Any, whole: bool) -> bool:
        def accept(place: int) -> bool:
            self.steps += 1
            return not whole or place == len(self.text)

        return self.sequence(list(parsed), 0, accept)

    def sequence(self, parts: list[Any], place: int, then: Callable[[int], bool]) -> bool:
        if not parts:
            return then(place)
        return self.piece(parts[0], place, lambda at: self.sequence(parts[1:], at, then))

    def piece(self, part: Any, place: int, then: Callable[[int], bool]) -> bool:
        op, argument = part
        if op.name == "SUBPATTERN":
            return self.sequence(list(argument[3]), place, then)
        if op.name == "BRANCH":
            return any(self.branch(list(branch), place, then) for branch in argument[1])
        if op.name in tree.REPEATS:
            return self.rounds(argument, op.name == "MIN_REPEAT", place, then, 0)
        self.steps += 1
        if op.name == "AT":
            return self.is_at(argument.name, place) and then(place)
        return place < len(self.text) and takes(part, self.text[place]) and then(place + 1)

    def branch(self, parts: list[Any], place: int, then: Callable[[int], bool]) -> bool:
        self.steps += 1
        return self.sequence(parts, place, then)

    def rounds(self, argument: Any, is_lazy: bool, place: int, then: Callable[[int], bool], done: int) -> bool:
        self.steps += 1
        low, high, body = argument
        ways: list[Callable[[], bool]] = []
        if done < high:
            ways.append(
                lambda: self.sequence(
                    list(body), place, lambda at: self.rounds(argument, is_lazy, at, then, done + 1)
                )
            )
        if done >= low:
            ways.append(lambda: then(place))
        return any(way() for way in (reversed(ways) if is_lazy else ways))

    def is_at(self, name: str, place: int) -> bool:
        if name == "AT_END":
            return self.text[place:] in ("", "\n")
        return place == (len(self.text) if name == "AT_END_STRING" else 0)


def takes(part: Any, character: str) -> bool:
    op, argument = part
    if op.name == "ANY":
        return character != "\n"
    if op.name in ("LITERAL", "NOT_LITERAL"):
        return (character == chr(argument)) is bool(op.name == "LITERAL")
    if op.name == "IN":
        negated = bool(argument[0][0].name == "NEGATE")
        return any(takes(item, character) for item in argument[int(negated) :]) is not negated
    if op.name == "RANGE":
        return bool(argument[0] <= ord(character) <= argument[1])
    letter = {"DIGIT": "d", "WORD": "w", "SPACE": "s"}[argument.name.rpartition("_")[2]]
    return re.match(f"\\{letter}", character) is not None


EVIL = st.sampled_from(["a" * 14, "ab" * 7, "a1" * 7, "abc" * 5, "1.1.1.1.1."])


@settings(max_examples=800, suppress_health_check=[HealthCheck.filter_too_much])
@given(pieces(), st.one_of(st.text("ab1", max_size=14), EVIL), st.booleans())
def test_no_text_takes_more_steps_than_were_counted(regex: str, text: str, whole: bool) -> None:
    try:
        parsed = tree.parse(regex, 0)
        steps = cost.count_steps(parsed, re.UNICODE, len(text), whole)
    except (tree.Bad, tree.Unbounded):
        assume(False)
    assume(steps < 50_000)
    walker = Walker(text)
    found = walker.match(parsed, whole)
    original = re.compile(regex)
    assert found == ((original.fullmatch if whole else original.match)(text) is not None)
    assert walker.steps <= steps


#: Repeats that share a text with each other, or do not.
SHARING = [
    "a*", "b+?", "[ab]*", "b{1,3}", "(?:ab)*", "(?:ba*)*", "(?:aa|[ab]a)*", "(?:a|ab|b)+?", "(?:ab|aab)*", "$",
]  # fmt: skip


@pytest.mark.parametrize("first", SHARING)
def test_no_repeats_in_a_row_take_more_steps_than_were_counted(first: str) -> None:
    for second, third in product(SHARING, ("", "a*", "[ab]*")):
        for regex in (f"{first}{second}{third}c", f"(?:{first}{second}a)*{third}c"):
            check_bound(regex, ["a" * 8, "b" * 8, "ab" * 4, "aab" * 3, "ba" * 4])


@pytest.mark.parametrize(
    "regex", ["(?:ba*)?a*c", "(?:aa|.a){4}a*a*c", "(?:ba|bb)(?:ba*|c)a*c", "(?:ab*|a.*){2}b*c"]
)
def test_no_long_text_takes_more_steps_than_were_counted(regex: str) -> None:
    check_bound(regex, ["b" + "a" * 29, "a" * 30, "a" + "b" * 29, "bb" + "b" + "a" * 27])


def check_bound(regex: str, texts: list[str]) -> None:
    parsed = tree.parse(regex, 0)
    for text in texts:
        walker = Walker(text)
        walker.match(parsed, False)
        assert walker.steps <= cost.count_steps(parsed, re.UNICODE, len(text), False), (regex, text)


def steps_of(regex: str, length: int = MAX_TEXT_LENGTH) -> int:
    parsed = tree.parse(regex, 0)
    return cost.count_steps(parsed, parsed.state.flags, length, False)


def test_the_count_tells_ways_that_exclude_each_other_from_those_that_do_not() -> None:
    assert steps_of(r"[^.]+\.[^.]+\.x") < 10_000
    assert steps_of(r"(foo|bar|baz)*x") < 10_000
    assert steps_of(r".+\..+\.x") > 1_000_000
    assert steps_of(r"(a|ab)*x") < 10_000
    assert steps_of(r"(a|ab|b)*x") == cost.CAP
    assert steps_of("(a+)+x") == cost.CAP
    assert steps_of("(a+b)+x") < MAX_STEPS


def test_the_count_grows_with_the_text_as_the_repeats_do() -> None:
    assert 1.9 < steps_of(r"\d*x", 512) / steps_of(r"\d*x", 256) < 2.1
    assert 3.8 < steps_of(r"\w*\d*x", 512) / steps_of(r"\w*\d*x", 256) < 4.2


def bit_of(character: str) -> int:
    if ord(character) < 128:
        return 1 << ord(character)
    kinds = ((r"\d", sets.DIGIT), (r"\w", sets.WORD), (r"\s", sets.SPACE))
    return next((bit for kind, bit in kinds if re.match(kind, character)), sets.REST)


SOME = [*map(chr, range(128)), *"éÉßẞſKİıµμÅåΩωǅǆ٣\u2003\u2028²½ⓐⒶ\u0345ι漢\U0001d400\U00010400\U00010428"]
ITEMS = [
    "a", "k", "S", "i", "\u212a", "é", "ſ", "Ⓐ", "\u0345", "a-f", "A-Z", "é-ω", "z-é",
    r"\w", r"\W", r"\d", r"\D", r"\s", r"\S",
]  # fmt: skip


@settings(max_examples=400)
@given(
    st.lists(st.sampled_from(ITEMS), min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from([0, re.IGNORECASE, re.ASCII, re.IGNORECASE | re.ASCII]),
)
def test_a_mask_has_each_character_that_its_set_takes(items: list[str], negated: bool, flags: int) -> None:
    regex = f"[{'^' * negated}{''.join(items)}]"
    parsed = tree.parse(regex, flags)
    op, argument = parsed[0]
    mask = sets.mask_of(op, argument, parsed.state.flags)
    missing = [c for c in SOME if re.match(regex, c, flags) and not mask & bit_of(c)]
    assert not missing


def test_classes_of_characters_do_not_overlap() -> None:
    for character in map(chr, range(0x110000)):
        kinds = (character.isspace(), character.isalnum())
        assert kinds != (True, True)
        assert not character.isdecimal() or character.isalnum()


# -- patterns that are meant to hold the process

#: Matches each pattern of argv against each evil text, with 2 s of processor time for all, and tells what did it.
PROGRAM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (2, 2))
if sys.argv[1] == "without":
    sys.modules["re2"] = None
from gpyro.errors import PatternError
from gpyro.patterns import compile_glob, compile_regex
make = compile_glob if sys.argv[2] == "glob" else compile_regex
texts = eval(sys.stdin.readline())
for pattern in eval(sys.stdin.readline()):
    for options in ({}, {"ignore_case": True}):
        try:
            found = make(pattern, **options)
            for text in texts:
                found.matches(text)
            print("matched", flush=True)
        except PatternError:
            print("refused", flush=True)
"""


def outcomes(patterns: list[str], kind: str, re2: str) -> list[str]:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, re2, kind], input=f"{EVIL_TEXTS!a}\n{patterns!a}\n", capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert run.stderr == ""
    lines = run.stdout.split()
    assert len(lines) == 2 * len(patterns), f"held by {patterns[len(lines) // 2]!r}"
    return lines


def test_no_glob_holds_the_process() -> None:
    assert set(outcomes(CATASTROPHIC_GLOBS, "glob", "without")) == {"matched"}


def test_no_regex_holds_the_process_without_re2() -> None:
    assert outcomes(CATASTROPHIC, "regex", "without").count("refused") > len(CATASTROPHIC)


@needs_re2
def test_no_regex_holds_the_process_with_re2() -> None:
    lines = outcomes(CATASTROPHIC, "regex", "with")
    assert lines.count("refused") < len(CATASTROPHIC)


@pytest.mark.parametrize("regex", CATASTROPHIC)
def test_catastrophic_pattern_is_refused_or_counted(regex: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    try:
        pattern = compile_regex(regex)
    except PatternError:
        return
    assert pattern.engine != "re2"
    if pattern.engine == "re":
        assert steps_of(regex) <= MAX_STEPS


# -- re2


@needs_re2
@pytest.mark.parametrize(
    ("regex", "yes", "no"),
    [
        ("(a+)+$", ["aaa", "aa\n"], ["aab", "aa\n\n"]),
        (r"^(\w+\s?)*$", ["", "é ü\u2003x"], ["a  b", "a-"]),
        (r"(\W*\S?)*[^\s]!", [".a!"], [" "]),
        (r"(?s)(.*a.*)*\Z", ["b\na", ""], ["b"]),
        (r"(?i)((?:ſ|s)+)+x", ["sSſX"], ["sy"]),
        (r"(?i:a|a)*b", ["aAb"], ["aAB"]),
        (r"(a|[^b-d]|\.)*é", ["a.é"], ["aé"[:1], "bé"]),
        (r"(a*?){0,3}?b", ["aab"], ["c"]),
    ],
)
def test_re2_takes_what_re_must_not_have(regex: str, yes: list[str], no: list[str]) -> None:
    pattern = compile_regex(regex)
    assert pattern.engine == "re2"
    assert [text for text in yes + no if pattern.matches(text)] == yes
    assert [text for text in yes + no if re.match(regex, text)] == yes


@needs_re2
@settings(max_examples=500, suppress_health_check=[HealthCheck.filter_too_much])
@given(pieces(), TEXTS, st.booleans(), st.booleans())
def test_re2_and_re_mean_the_same(regex: str, text: str, ignore_case: bool, whole: bool) -> None:
    try:
        parsed = tree.parse(regex, re.IGNORECASE if ignore_case else 0)
        matches = linear.compile_linear(parsed, parsed.state.flags, whole)
    except tree.Bad:
        assume(False)
    original = re.compile(regex, re.IGNORECASE if ignore_case else 0)
    assert matches(text) == ((original.fullmatch if whole else original.match)(text) is not None)


@needs_re2
@pytest.mark.parametrize("regex", [r"\w", r"\W", r"\d", r"\D", r"\s", r"\S", r"[^\W]", r"[^\d]", r"[\s.]"])
def test_re2_knows_pythons_classes_of_characters(regex: str) -> None:
    parsed = tree.parse(regex, 0)
    matches, original = linear.compile_linear(parsed, re.UNICODE, True), re.compile(regex)
    # One of the two may know more of Unicode than the other.
    known = [c for c in map(chr, range(0x30000)) if unicodedata.category(c) not in ("Cn", "Cs")]
    assert [c for c in known if matches(c) != (original.match(c) is not None)] == []


@needs_re2
@pytest.mark.parametrize(
    ("regex", "why"),
    [
        ("((((a{0,99}){0,99}){0,99}){0,99})", "is refused by re2: invalid repetition size"),
        (r"(\w?x?){60}!", "is refused by re2: pattern too large"),
        (r"(a+)+\b", "mean something else in re2"),
        ("(?m)(a+)+$x", "mean something else in re2"),
        (r"([\Wa]+)+!", "within a set, which re2 cannot take"),
        (r"(?a)(\w+)+!", "has (?a), which re2 does not know"),
    ],
)
def test_what_re2_cannot_do_is_refused(regex: str, why: str) -> None:
    assert why in refusal(regex)


@needs_re2
def test_text_with_half_a_surrogate_pair_matches_nothing_in_re2() -> None:
    for regex in ("(.+)+$", "(\ud800+)+$"):
        pattern = compile_regex(regex)
        assert (pattern.engine, pattern.matches("\ud800")) == ("re2", False)
