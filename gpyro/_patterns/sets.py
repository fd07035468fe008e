"""What a piece of a regular expression can begin with, in few bits, never too little.

The 128 ASCII characters have a bit each; all others share four, by the classes that `re` knows; one bit is the
end of the text. So two sets that share no bit share no character, and that is the only thing that is concluded
from them.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["ALL", "END", "NEWLINE", "mask_of", "weight_of"]

#: Not ASCII: decimal digits, other word characters, white space, the rest.
DIGIT, WORD, SPACE, REST = (1 << bit for bit in range(128, 132))
OTHERS = DIGIT | WORD | SPACE | REST
END = 1 << 132
ASCII = (1 << 128) - 1
CHARACTERS = ASCII | OTHERS
#: Each character, or the end.
ALL = CHARACTERS | END
NEWLINE = 1 << ord("\n")

#: The last code that `re` keeps in a table; it walks through those behind it.
LAST_IN_TABLE = 0xFFFF


def _ascii(pattern: str, flags: int = 0) -> int:
    return sum(1 << code for code in range(128) if re.match(pattern, chr(code), flags))


#: Letters that are the same as some outside ASCII: long s, Kelvin, and Turkish i.
RELATED = _ascii("[kKsSiI]")
#: By the last part of the category's name; the second with (?a), for which some controls are no white space.
CLASSES = {
    "DIGIT": _ascii(r"\d") | DIGIT, "WORD": _ascii(r"\w") | DIGIT | WORD, "SPACE": _ascii(r"\s") | SPACE,
}  # fmt: skip
ASCII_CLASSES = {
    "DIGIT": _ascii(r"\d", re.ASCII), "WORD": _ascii(r"\w", re.ASCII), "SPACE": _ascii(r"\s", re.ASCII),
}  # fmt: skip


def mask_of(op: Any, argument: Any, flags: int) -> int:
    """Return the bits of the characters that an operation takes; there may be more, there are never less.

    Args:
        op: LITERAL, NOT_LITERAL, ANY or IN of a parse tree.
        argument: what belongs to it.
        flags: those of `re` that hold there.
    """
    if op.name == "ANY":
        return CHARACTERS if flags & re.DOTALL else CHARACTERS & ~NEWLINE
    if op.name in ("LITERAL", "NOT_LITERAL"):
        items, negated = [(op, argument)], op.name == "NOT_LITERAL"
    else:
        negated = argument[0][0].name == "NEGATE"
        items = argument[1:] if negated else argument
    most, least = 0, 0
    for item in items:
        upper, lower = _item(*item, flags)
        most, least = most | upper, least | lower
    found = CHARACTERS & ~least if negated else most
    return _with_cases(found) if flags & re.IGNORECASE else found


def weight_of(op: Any, argument: Any) -> int:
    """Return how many comparisons one character costs there."""
    if op.name != "IN":
        return 1
    return max(1, sum(_is_walked(*item) for item in argument))


def _is_walked(op: Any, argument: Any) -> bool:
    if op.name == "CATEGORY":
        return True
    if op.name == "NEGATE":
        return False
    return int(argument[1] if op.name == "RANGE" else argument) > LAST_IN_TABLE


def _item(op: Any, argument: Any, flags: int) -> tuple[int, int]:
    """Return the bits that one item of a set touches, and those that it covers."""
    if op.name in ("LITERAL", "NOT_LITERAL"):
        return (1 << argument, 1 << argument) if argument < 128 else (_class_of(chr(argument)), 0)
    if op.name == "RANGE":
        low, high = argument
        inside = ((1 << min(high, 127) + 1) - 1) & ~((1 << min(low, 128)) - 1)
        return (inside | OTHERS if high > 127 else inside), inside
    return _category(argument.name, flags)


def _category(name: str, flags: int) -> tuple[int, int]:
    whole = (ASCII_CLASSES if flags & re.ASCII else CLASSES)[name.rpartition("_")[2]]
    if "_NOT_" in name:
        whole = CHARACTERS & ~whole
    return whole, whole


def _class_of(character: str) -> int:
    for mask, pattern in ((DIGIT, r"\d"), (WORD, r"\w"), (SPACE, r"\s")):
        if re.match(pattern, character):
            return mask
    return REST


def _with_cases(mask: int) -> int:
    """Add the bits of what is the same in the other case."""
    for code in range(ord("a"), ord("z") + 1):
        both = 1 << code | 1 << code - 32
        if mask & both:
            mask |= both
    if mask & RELATED:
        mask |= WORD
    if mask & (WORD | REST):
        mask |= WORD | REST | RELATED
    return mask
