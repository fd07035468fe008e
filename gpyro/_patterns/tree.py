"""The parse tree of a regular expression: read by Python's own parser, checked, and told in words.

A tree is what `re` makes of a text before it compiles it: a list of (operation, argument). Its module has a
private name, but trees have been the same from Python 2 on; an operation that is not known here is refused
rather than guessed at.

Everything that looks at a tree may rely on what `parse` has refused: long texts, many parentheses, large counts,
wide sets.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

try:
    if sys.version_info >= (3, 11):
        from re import _parser as parser
    else:
        import sre_parse as parser
except ImportError as exc:  # pragma: no cover
    raise ImportError(
        f"Python {sys.version.split()[0]} has no parser of regular expressions where gpyro looks for it "
        "(re._parser, or sre_parse in 3.10); patterns need one that is known to gpyro"
    ) from exc

__all__ = [
    "MAX_COUNT", "MAX_GROUPS", "MAX_SET_CHARACTERS", "REPEATS", "UNLIMITED", "Bad", "Tree", "Unbounded",
    "children", "flags_within", "parse", "prefix_of",
]  # fmt: skip

#: A parsed expression: [(operation, argument), ...], and what hangs on the arguments.
Tree = Any

#: Most opening parentheses, escaped ones too: Python's parser and ours call themselves for each that is open,
#: three deep at most, and have a thousand calls in all.
MAX_GROUPS = 32
#: Largest count in `{n,m}`. Source: re2 takes no more.
MAX_COUNT = 1_000
#: Characters in all sets together: `re` looks at each of them once when it compiles, 0.08 us each, so 5 ms.
MAX_SET_CHARACTERS = 65_536

#: The upper count of a repeat that has none.
UNLIMITED = int(parser.MAXREPEAT)
#: At most one of them holds.
TYPE_FLAGS = re.ASCII | re.UNICODE
REPEATS = ("MAX_REPEAT", "MIN_REPEAT")
KNOWN = frozenset({*REPEATS, "LITERAL", "NOT_LITERAL", "ANY", "IN", "AT", "SUBPATTERN", "BRANCH"})
#: What no engine bounds, or not all Pythons have.
REFUSED = {
    "ASSERT": "looks ahead or behind",
    "ASSERT_NOT": "looks ahead or behind",
    "FAILURE": "looks ahead or behind",
    "GROUPREF": "refers to what another group has matched",
    "GROUPREF_EXISTS": "asks whether another group has matched",
    "ATOMIC_GROUP": "has an atomic group, which Python 3.10 does not know,",
    "POSSESSIVE_REPEAT": "has a possessive repeat, which Python 3.10 does not know,",
}

#: `(?i)` for everything; Python 3.11 takes it at the beginning only, so all do here.
GLOBAL_FLAGS = re.compile(r"\(\?[aiLmsux]+\)")
#: Group 1 is the inside of a set, which may lack its end.
ESCAPES_AND_SETS = re.compile(r"\\.|\[\^?(\]?(?:\\.|[^\\\]])*)\]?", re.DOTALL)
FUTURE_PAIRS = ("--", "&&", "~~", "||")
LATE_FLAGS = "has flags for everything behind its beginning; write them first, or as (?i:...)"


class Bad(Exception):
    """The text is no pattern, or one that is never taken; the message is the rest of a sentence."""


class Unbounded(Exception):
    """No bound for the steps of `re` was found; the message is the rest of a sentence."""


def parse(text: str, flags: int) -> Tree:
    """Parse a regular expression and check its counts, sets and operations.

    Args:
        text: the expression, not longer than a pattern may be.
        flags: those of `re`.

    Raises:
        Bad: it is none, or is never taken.
    """
    if text.count("(") > MAX_GROUPS:
        raise Bad(f"has {text.count('(')} opening parentheses, the limit is {MAX_GROUPS}")
    if GLOBAL_FLAGS.search(text, 1):
        raise Bad(LATE_FLAGS)
    _check_sets(text)
    try:
        tree = parser.parse(text, flags)
    except re.error as exc:
        raise Bad(f"is no regular expression: {exc}") from exc
    # Counts beyond C's; and warnings, where they are errors, of which `_check_sets` leaves none that is known.
    except (OverflowError, RecursionError, Warning) as exc:
        raise Bad(f"is not taken as a regular expression: {exc}") from exc
    if _check(tree) > MAX_SET_CHARACTERS:
        raise Bad(f"has more than {MAX_SET_CHARACTERS} characters in its sets; write them with ^ or \\w, \\d, \\s")
    return tree


def _check_sets(text: str) -> None:
    """Refuse the sets about which `re` warns: it would write to the server's stderr what a caller sent."""
    for found in ESCAPES_AND_SETS.finditer(text):
        inside = found[1] or ""
        if inside.startswith("[") or any(pair in inside for pair in FUTURE_PAIRS):
            raise Bad(f"has the set {found[0]!r}, which later Pythons may read otherwise; write \\[ or \\-")


def _check(tree: Tree) -> int:
    """Refuse operations and counts; return how many characters its sets have."""
    characters = 0
    for op, argument in tree:
        if op.name in REFUSED:
            raise Bad(f"{REFUSED[op.name]} and cannot be bounded; write it without")
        if op.name not in KNOWN:
            raise Bad(f"uses {op.name}, which gpyro does not know; write it without")
        if op.name in REPEATS:
            _check_counts(argument[0], argument[1])
        if op.name == "IN":
            characters += sum(_width(item) for item in argument)
        characters += sum(_check(child) for child in children(op, argument))
    return characters


def _check_counts(low: int, high: int) -> None:
    largest = low if high == UNLIMITED else high
    if largest > MAX_COUNT:
        raise Bad(f"repeats something {largest} times, the limit is {MAX_COUNT}")


def _width(item: Tree) -> int:
    op, argument = item
    return int(argument[1] - argument[0] + 1) if op.name == "RANGE" else 1


def children(op: Any, argument: Any) -> Iterator[Tree]:
    """Yield the trees right below an operation."""
    if op.name in REPEATS:
        yield argument[2]
    elif op.name == "SUBPATTERN":
        yield argument[3]
    elif op.name == "BRANCH":
        yield from argument[1]


def flags_within(argument: Any, flags: int) -> int:
    """Return the flags that hold within a SUBPATTERN, where `flags` hold around it."""
    _, added, removed, _ = argument
    if added & TYPE_FLAGS:
        flags &= ~TYPE_FLAGS
    return int((flags | added) & ~removed)


def prefix_of(tree: Tree, flags: int) -> str:
    """Return the characters that each match begins with, as far as they stand there as such."""
    return _prefix(tree, flags)[0]


def _prefix(tree: Tree, flags: int) -> tuple[str, bool]:
    found = ""
    for op, argument in tree:
        if op.name == "LITERAL" and not flags & re.IGNORECASE:
            found += chr(argument)
        elif op.name == "SUBPATTERN":
            more, is_whole = _prefix(argument[3], flags_within(argument, flags))
            found += more
            if not is_whole:
                return found, False
        elif op.name != "AT":
            return found, False
    return found, True
