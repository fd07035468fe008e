"""Patterns of single characters and gaps, matched in one pass over the text.

    STOCK.*.[A-C]?      units S T O C K . (gap) . [A-C] and one that takes anything

Where all units are plain characters, string tests do it: the text begins with the first piece, ends with the
last, and holds the others in between, each found as far left as it can be. All others are matched by bits: bit n
is on while the first n units may have been matched. Each character of the text moves the bits on whose unit takes
it, and keeps those at a gap. So a text costs one shift for each character, however many gaps there are.

Without regard to case, two characters are the same if `re` says so with IGNORECASE: `ß` is `ẞ` and not `ss`, and
`s` is also the long s. It is decided one by one, so nothing changes its length.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gpyro._patterns.tree import REPEATS, UNLIMITED, Tree, flags_within

__all__ = ["ANYTHING", "LINE", "NO_GAP", "Unit", "Wildcards", "fold", "from_glob", "from_tree"]

#: What may stand in front of a unit: nothing; any run without newlines; any run.
NO_GAP, LINE, ANYTHING = range(3)
NEWLINE = ord("\n")


@dataclass(frozen=True)
class Unit:
    """Takes one character: one of these ranges, or one of all others."""

    ranges: tuple[tuple[int, int], ...]
    negated: bool = False

    @property
    def literal(self) -> str | None:
        """The one character that it takes; None when it is not one."""
        if self.negated or len(self.ranges) != 1 or self.ranges[0][0] != self.ranges[0][1]:
            return None
        return chr(self.ranges[0][0])


ANY_CHARACTER = Unit((), negated=True)
NO_NEWLINE = Unit(((NEWLINE, NEWLINE),), negated=True)


class Wildcards:
    """One pattern; it never changes.

    Args:
        units: the characters, in their order.
        gaps: one in front of each unit, and one behind the last.
        ignore_case: whether the case is of no concern.
        newline_may_follow: whether the text may go on with one newline at its end, as for `$`.
    """

    def __init__(
        self, units: Sequence[Unit], gaps: Sequence[int], ignore_case: bool, newline_may_follow: bool = False
    ) -> None:
        self._newline_may_follow = newline_may_follow
        self._is_for_one_line = LINE in gaps
        self._pieces = None if ignore_case else _pieces_of(units, gaps)
        self._bits = _Bits(units, gaps, ignore_case)

    @property
    def is_strings(self) -> bool:
        """Whether string tests do it; with `.*` in it, for texts of one line."""
        return self._pieces is not None

    def matches(self, text: str) -> bool:
        """Tell whether the whole text matches."""
        if self._is_match(text):
            return True
        return self._newline_may_follow and text.endswith("\n") and self._is_match(text[:-1])

    def _is_match(self, text: str) -> bool:
        if self._pieces is None or (self._is_for_one_line and "\n" in text):
            return self._bits.matches(text)
        return _has_pieces(text, self._pieces)


def _pieces_of(units: Sequence[Unit], gaps: Sequence[int]) -> list[str] | None:
    """Return the literal texts between gaps, the first and the last perhaps empty; None where a unit is none."""
    pieces = [""]
    for unit, gap in zip(units, gaps, strict=False):
        if unit.literal is None:
            return None
        if gap != NO_GAP:
            pieces.append("")
        pieces[-1] += unit.literal
    return pieces if gaps[-1] == NO_GAP else [*pieces, ""]


def _has_pieces(text: str, pieces: list[str]) -> bool:
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return text == first
    place, end = len(first), len(text) - len(last)
    if place > end or not text.startswith(first) or not text.endswith(last):
        return False
    for piece in pieces[1:-1]:
        place = text.find(piece, place, end)
        if place < 0:
            return False
        place += len(piece)
    return True


class _Bits:
    """The way of bits; bit n of a mask of units belongs to unit n."""

    def __init__(self, units: Sequence[Unit], gaps: Sequence[int], ignore_case: bool) -> None:
        self._ignore_case = ignore_case
        self._goal = 1 << len(units)
        self._gaps = sum(1 << n for n, gap in enumerate(gaps) if gap != NO_GAP)
        self._gaps_with_newlines = sum(1 << n for n, gap in enumerate(gaps) if gap == ANYTHING)
        self._negated = sum(1 << n for n, unit in enumerate(units) if unit.negated)
        self._same: dict[str, int] = {}
        changes: dict[int, int] = {}
        for n, unit in enumerate(units):
            for low, high in _merged(unit.ranges):
                if low == high:
                    key = self._key(chr(low))
                    self._same[key] = self._same.get(key, 0) | 1 << n
                else:
                    changes[low] = changes.get(low, 0) ^ 1 << n
                    changes[high + 1] = changes.get(high + 1, 0) ^ 1 << n
        #: From self._starts[i] on, the ranges of self._masks[i] hold.
        self._starts = sorted(changes)
        self._masks = [0]
        for start in self._starts:
            self._masks.append(self._masks[-1] ^ changes[start])

    def matches(self, text: str) -> bool:
        bits = 1
        for character in text:
            stay = self._gaps_with_newlines if character == "\n" else self._gaps
            bits = (bits & self._takers(character)) << 1 | bits & stay
            if not bits:
                return False
            if bits & self._goal & self._gaps_with_newlines:
                return True
        return bool(bits & self._goal)

    def _key(self, character: str) -> str:
        return fold(character) if self._ignore_case else character

    def _takers(self, character: str) -> int:
        """Return the mask of the units that take the character."""
        found = self._same.get(self._key(character), 0)
        if self._starts:
            for form in _forms(character) if self._ignore_case else character:
                found |= self._masks[bisect_right(self._starts, ord(form))]
        return found ^ self._negated


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges so that no two overlap; a range that ends before it begins is gone."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if low > high:
            continue
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return found


def _lower(character: str) -> str:
    """Return the one lower-case character; only the Turkish İ has two in str.lower(), of which `re` knows one."""
    low = character.lower()
    return low if len(low) == 1 else "i"


def fold(character: str) -> str:
    """Return a key that exactly those characters share which are the same without their case, as in `re`."""
    return _lower(character).upper()


def _forms(character: str) -> set[str]:
    """Return the character in its cases, as far as they are one character."""
    low = _lower(character)
    return {form for form in (character, low, low.upper(), low.upper().lower()) if len(form) == 1}


# -- globs ----------------------------------------------------------------------------------------------


def from_glob(text: str, ignore_case: bool) -> tuple[Wildcards, str]:
    """Read a glob; return it, and the characters in front of its first wildcard.

    `[` that no `]` closes is a plain character; so are `]` as the first in a set, and `-` as its first or last.
    Source: Python's fnmatch, which the shell's rules are behind.
    """
    units: list[Unit] = []
    gaps = [NO_GAP]
    prefix, place = "", 0
    while place < len(text):
        unit, place = _next_unit(text, place)
        if unit is None:
            gaps[-1] = ANYTHING
        else:
            if len(prefix) == len(units) and gaps[-1] == NO_GAP:
                prefix += unit.literal or ""
            units.append(unit)
            gaps.append(NO_GAP)
    return Wildcards(units, gaps, ignore_case), prefix


def _next_unit(text: str, place: int) -> tuple[Unit | None, int]:
    """Return the unit that begins there, None for a gap, and where the next one begins."""
    character = text[place]
    if character == "*":
        return None, place + 1
    if character == "?":
        return ANY_CHARACTER, place + 1
    if character == "[":
        begin = place + 2 if text[place + 1 : place + 2] == "!" else place + 1
        end = text.find("]", begin + 1)
        if end >= 0:
            return Unit(tuple(_glob_ranges(text[begin:end])), negated=begin == place + 2), end + 1
    return Unit(((ord(character), ord(character)),)), place + 1


def _glob_ranges(inside: str) -> Iterable[tuple[int, int]]:
    place = 0
    while place < len(inside):
        if inside[place + 1 : place + 2] == "-" and place + 2 < len(inside):
            yield ord(inside[place]), ord(inside[place + 2])
            place += 3
        else:
            yield ord(inside[place]), ord(inside[place])
            place += 1


# -- regular expressions --------------------------------------------------------------------------------


def from_tree(tree: Tree, flags: int, whole: bool) -> Wildcards | None:
    """Return the expression as wildcards; None when it is more than that."""
    if flags & (re.MULTILINE | re.ASCII):
        return None
    pieces = _flat(tree, flags)
    if pieces is None:
        return None
    if pieces and pieces[0][0].name == "AT" and pieces[0][1].name in ("AT_BEGINNING", "AT_BEGINNING_STRING"):
        del pieces[0]
    end = pieces.pop()[1].name if pieces and pieces[-1][0].name == "AT" else ""
    if end not in ("", "AT_END", "AT_END_STRING"):
        return None
    reader = _TreeReader(flags)
    if not all(reader.add(op, argument) for op, argument in pieces):
        return None
    if not whole and not end:
        reader.gaps[-1] = ANYTHING
    ignore_case = bool(flags & re.IGNORECASE)
    return Wildcards(reader.units, reader.gaps, ignore_case, end == "AT_END" and not whole)


def _flat(tree: Tree, flags: int) -> list[tuple[Any, Any]] | None:
    """Return the pieces without the groups around them; None when a group has flags of its own."""
    found: list[tuple[Any, Any]] = []
    for op, argument in tree:
        if op.name != "SUBPATTERN":
            found.append((op, argument))
            continue
        inside = _flat(argument[3], flags) if flags_within(argument, flags) == flags else None
        if inside is None:
            return None
        found += inside
    return found


class _TreeReader:
    """Collects units and gaps."""

    def __init__(self, flags: int) -> None:
        self.units: list[Unit] = []
        self.gaps = [NO_GAP]
        self._ignores_case = bool(flags & re.IGNORECASE)
        self._any, self._gap = (ANY_CHARACTER, ANYTHING) if flags & re.DOTALL else (NO_NEWLINE, LINE)

    def add(self, op: Any, argument: Any) -> bool:
        """Add one piece; False when it is neither a unit nor a gap."""
        if op.name in REPEATS:
            return self._add_repeat(*argument)
        unit = self._unit(op, argument)
        if unit is not None:
            self.units.append(unit)
            self.gaps.append(NO_GAP)
        return unit is not None

    def _add_repeat(self, low: int, high: int, body: Tree) -> bool:
        if low > 1 or high != UNLIMITED or [op.name for op, _ in body] != ["ANY"]:
            return False
        if low:
            self.add(*body[0])
        self.gaps[-1] = self._gap
        return True

    def _unit(self, op: Any, argument: Any) -> Unit | None:
        if op.name == "ANY":
            return self._any
        if op.name == "LITERAL":
            return Unit(((argument, argument),))
        if op.name == "NOT_LITERAL":
            return Unit(((argument, argument),), negated=True)
        if op.name != "IN" or self._ignores_case:
            return None
        negated = argument[0][0].name == "NEGATE"
        items = argument[1:] if negated else argument
        if any(item.name == "CATEGORY" for item, _ in items):
            return None
        return Unit(tuple(value if item.name == "RANGE" else (value, value) for item, value in items), negated)
