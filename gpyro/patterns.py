"""Patterns that callers send to a server, matched so that none of them can hold the process.

    compile_glob(":Printers.*.status")          * any run, dots too; ? one character; [abc], [a-z], [!a]
    compile_regex(r"^STOCKQUOTE\\.S.*$")         Python's regular expressions, from the start of the text

A glob covers the whole text. A regular expression matches from the text's start, as Pyro's event server has it,
and may end before the text does unless `whole` is asked for.

Python's `re` tries the ways through a pattern one after the other, and `(a+)+$` has a billion of them in a text
of 30 characters, with all greenlets waiting. So a pattern goes the first of these ways that is open to it:

1. string tests and state bits, for plain characters, sets, `.` and `.*`: one pass over the text;
2. `re`, if the parse tree proves that no text can take more than MAX_STEPS;
3. re2, where it is installed (`gpyro[re2]`): one pass again, at a higher price;
4. it is refused, and the error says why and what to do.

What looks around, refers back to a group, or is not in all of Pythons 3.10 to 3.13 is refused at once. Where both
`re` and re2 could be asked, they mean the same; re2 alone does not know that the Turkish i has no case.

With `ignore_case`, characters are compared one by one: a match never depends on case folding that makes a text
longer or shorter, so `ß` is `ẞ` and not `ss`. Source: IGNORECASE of `re`.

All that this costs is bounded: MAX_PATTERN_LENGTH, counts, groups and sets for the compilation (some ms at
most), MAX_STEPS and MAX_TEXT_LENGTH for each text. Who matches against very many texts still has to give
others their turn in between.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from gpyro._patterns import cost, linear, tree, wildcards
from gpyro.errors import PatternError

__all__ = ["MAX_PATTERN_LENGTH", "MAX_STEPS", "MAX_TEXT_LENGTH", "Pattern", "compile_glob", "compile_regex"]

#: Longest pattern, in characters: as long as a name can be, so that each name can be looked for.
MAX_PATTERN_LENGTH = 256
#: Longest text that is matched, in characters: twice the longest name.
MAX_TEXT_LENGTH = 512
#: Most steps that `re` may need for one text, measured at 10 ns each at the worst, so 20 ms: two unbounded
#: repeats that can share a text take half of it, three would take a hundred times as much.
MAX_STEPS = 2_000_000

#: How it is matched.
Engine = Literal["string tests", "state bits", "re", "re2"]


@dataclass(frozen=True, slots=True, repr=False)
class Pattern:
    """One pattern, made by `compile_glob` or `compile_regex`. It never changes, and may be a dict key.

    Two are equal if they were made of the same text in the same way.

    Attributes:
        text: what the caller wrote.
        kind: "glob" or "regex".
        ignore_case: whether case is of no concern.
        whole: whether the whole text has to match; always for a glob.
        prefix: characters that each matching text begins with, for looking into sorted names; "" if none are
            known, or case is of no concern.
        engine: what matches it.
    """

    text: str
    kind: Literal["glob", "regex"]
    ignore_case: bool
    whole: bool
    prefix: str = field(compare=False)
    engine: Engine = field(compare=False)
    _test: Callable[[str], bool] = field(compare=False)

    def matches(self, text: str) -> bool:
        """Tell whether a text matches.

        Raises:
            PatternError: the text is longer than MAX_TEXT_LENGTH, or none.
        """
        if not isinstance(text, str):
            raise PatternError(f"{_shown(text)} cannot be matched: it is no text but {type(text).__name__}")
        if len(text) > MAX_TEXT_LENGTH:
            raise PatternError(f"a text of {len(text)} characters is not matched, the limit is {MAX_TEXT_LENGTH}")
        return self._test(text)

    def __repr__(self) -> str:
        marks = ", ignores case" if self.ignore_case else ""
        if self.whole and self.kind == "regex":
            marks += ", whole"
        return f"<Pattern {self.kind} {self.text!r}{marks}, matched by {self.engine}>"


def compile_glob(text: str, *, ignore_case: bool = False) -> Pattern:
    """Compile a pattern with wildcards: `*`, `?`, `[abc]`, `[a-z]`, `[!a]`; it covers the whole text.

    A wildcard stands for itself in brackets: `[*]`. A `[` that is never closed stands for itself too.

    Raises:
        PatternError: it is no text, or longer than MAX_PATTERN_LENGTH.
    """
    _check_text(text)
    glob, prefix = wildcards.from_glob(text, ignore_case)
    engine: Engine = "string tests" if glob.is_strings else "state bits"
    return Pattern(text, "glob", bool(ignore_case), True, "" if ignore_case else prefix, engine, glob.matches)


def compile_regex(text: str, *, ignore_case: bool = False, whole: bool = False) -> Pattern:
    """Compile a regular expression in the syntax of `re`, if it can be matched in bounded time.

    Args:
        text: the expression, at most MAX_PATTERN_LENGTH characters.
        ignore_case: as IGNORECASE.
        whole: whether it has to cover the text, as in re.fullmatch; else as in re.match.

    Raises:
        PatternError: it is none, is too long, or could take too long; the message says why.
    """
    _check_text(text)
    try:
        parsed = tree.parse(text, re.IGNORECASE if ignore_case else 0)
        flags = int(parsed.state.flags)
        engine, test = _choose(text, parsed, flags, whole)
    except tree.Bad as exc:
        raise PatternError(f"the pattern {text!r} {exc}") from exc
    prefix = tree.prefix_of(parsed, flags)
    return Pattern(text, "regex", bool(ignore_case), bool(whole), prefix, engine, test)


def _choose(text: str, parsed: tree.Tree, flags: int, whole: bool) -> tuple[Engine, Callable[[str], bool]]:
    simple = wildcards.from_tree(parsed, flags, whole)
    if simple is not None:
        return "string tests" if simple.is_strings else "state bits", simple.matches
    reason = _why_unbounded(parsed, flags, whole)
    if not reason:
        compiled = re.compile(text, flags)
        match = compiled.fullmatch if whole else compiled.match
        return "re", lambda subject: match(subject) is not None
    if linear.is_installed():
        return "re2", linear.compile_linear(parsed, flags, whole)
    raise tree.Bad(f"is refused: it {reason}; write it more simply, or install gpyro[re2] where it is matched")


def _why_unbounded(parsed: tree.Tree, flags: int, whole: bool) -> str:
    """Return why `re` must not have it, as the rest of a sentence; "" if it may."""
    try:
        steps = cost.count_steps(parsed, flags, MAX_TEXT_LENGTH, whole)
    except tree.Unbounded as exc:
        return str(exc)
    if steps <= MAX_STEPS:
        return ""
    found = "over 10**12" if steps >= cost.CAP else str(steps)
    return (
        f"has repeats or branches that can share a text in many ways: {found} steps for {MAX_TEXT_LENGTH} "
        f"characters, the limit is {MAX_STEPS}"
    )


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise PatternError(f"{_shown(text)} is no pattern: it is no text but {type(text).__name__}")
    if len(text) > MAX_PATTERN_LENGTH:
        raise PatternError(
            f"the pattern {text[:40]!r}... has {len(text)} characters, the limit is {MAX_PATTERN_LENGTH}"
        )


def _shown(value: object) -> str:
    # A value that a caller sent may be of any size; its type tells enough then.
    return repr(value) if isinstance(value, (int, float, type(None))) else f"a {type(value).__name__}"
