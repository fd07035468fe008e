"""Regular expressions that only re2 can match in bounded time: the optional package google-re2.

re2 never goes back in the text, so its time grows with the text and with the size of what it made of the
pattern. The pattern is not handed on as it is, but written anew from Python's parse tree, because the two read
some things differently: `\\w`, `\\d` and `\\s` are Unicode's here, `$` may be before a last newline. What has no
equal in re2 is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from gpyro._patterns.tree import REPEATS, UNLIMITED, Bad, Tree, flags_within

__all__ = ["MAX_MEMORY_BYTES", "compile_linear", "is_installed"]

#: What re2 may use for one pattern; it refuses those that need more. At 16 bytes for an instruction it also
#: bounds a match in its slow way: about 10,000 instructions for each byte of the text.
MAX_MEMORY_BYTES = 256 * 1024

#: Inside a set. Python's \\w is what str.isalnum() says, and the underscore.
CLASSES = {
    "CATEGORY_DIGIT": r"\p{Nd}",
    "CATEGORY_NOT_DIGIT": r"\P{Nd}",
    "CATEGORY_WORD": r"\p{L}\p{N}_",
    "CATEGORY_SPACE": r"\t-\r\x1c- \x85\p{Zs}\x{2028}\x{2029}",
}
#: The same as a set of its own, for those that cannot be inside one.
OPPOSITES = {"CATEGORY_NOT_WORD": r"\p{L}\p{N}_", "CATEGORY_NOT_SPACE": CLASSES["CATEGORY_SPACE"]}
BEGINNINGS = ("AT_BEGINNING", "AT_BEGINNING_STRING")


def is_installed() -> bool:
    """Tell whether re2 can be imported; nothing imports it before a pattern needs it."""
    try:
        import re2  # noqa: F401
    except ImportError:
        return False
    return True


def compile_linear(tree: Tree, flags: int, whole: bool) -> Callable[[str], bool]:
    """Compile with re2, which has to be installed.

    Args:
        tree: of an expression that `tree.parse` took.
        flags: those of `re` that hold for all of it.
        whole: whether the match has to reach the text's end.

    Returns:
        A test that tells whether a text matches; one with half a surrogate pair never does.

    Raises:
        Bad: re2 cannot do it, or not within MAX_MEMORY_BYTES.
    """
    import re2

    options = re2.Options()
    options.max_mem = MAX_MEMORY_BYTES
    options.log_errors = False
    options.never_capture = True
    written = write(tree, flags, whole)
    try:
        compiled = re2.compile(written, options)
    except re2.error as exc:
        reason = exc.args[0].decode("utf-8", "replace") if isinstance(exc.args[0], bytes) else str(exc)
        raise Bad(f"is refused by re2: {reason}") from exc
    match = compiled.fullmatch if whole else compiled.match

    def matches(text: str) -> bool:
        try:
            return match(text.encode()) is not None
        except UnicodeEncodeError:
            return False

    return matches


def write(tree: Tree, flags: int, whole: bool) -> str:
    """Write a tree in re2's syntax, so that it means what it means in Python."""
    pieces = list(tree)
    end = ""
    if pieces and pieces[-1][0].name == "AT" and pieces[-1][1].name == "AT_END" and not flags & re.MULTILINE:
        del pieces[-1]
        end = r"\z" if whole else r"\n?\z"
    return _sequence(pieces, flags) + end


def _sequence(pieces: Tree, flags: int) -> str:
    return "".join(_piece(op, argument, flags) for op, argument in pieces)


def _piece(op: Any, argument: Any, flags: int) -> str:
    if op.name == "SUBPATTERN":
        return f"(?:{_sequence(argument[3], flags_within(argument, flags))})"
    if op.name == "BRANCH":
        return f"(?:{'|'.join(_sequence(branch, flags) for branch in argument[1])})"
    if op.name in REPEATS:
        return _repeat(argument, flags) + ("?" if op.name == "MIN_REPEAT" else "")
    if op.name == "AT":
        return _place(argument.name, flags)
    if op.name == "ANY":
        return "(?s:.)" if flags & re.DOTALL else r"[^\n]"
    return _in_case(_set(op, argument, flags), flags)


def _repeat(argument: Any, flags: int) -> str:
    low, high, body = argument
    most = "" if high == UNLIMITED else str(int(high))
    counts = {(0, ""): "*", (1, ""): "+", (0, "1"): "?"}.get((low, most), f"{{{low},{most}}}")
    return f"(?:{_sequence(body, flags)}){counts}"


def _place(name: str, flags: int) -> str:
    if name == "AT_END_STRING":
        return r"\z"
    if name == "AT_BEGINNING_STRING" or (name in BEGINNINGS and not flags & re.MULTILINE):
        return r"\A"
    raise Bad("has \\b, \\B, a $ that is not its end, or (?m), which mean something else in re2; write it without")


def _in_case(text: str, flags: int) -> str:
    return f"(?i:{text})" if flags & re.IGNORECASE else text


def _set(op: Any, argument: Any, flags: int) -> str:
    if op.name == "LITERAL":
        return _character(argument)
    if op.name == "NOT_LITERAL":
        return f"[^{_character(argument)}]"
    if flags & re.ASCII:
        raise Bad("has (?a), which re2 does not know; write the characters themselves")
    negated = argument[0][0].name == "NEGATE"
    items = argument[1:] if negated else argument
    opposites = [value.name for item, value in items if item.name == "CATEGORY" and value.name in OPPOSITES]
    if not opposites:
        inside = "".join(_item(*item) for item in items)
        return f"[^{inside}]" if negated else f"[{inside}]"
    if len(items) > 1:
        raise Bad("has \\W or \\S within a set, which re2 cannot take; write the characters themselves")
    return f"[{OPPOSITES[opposites[0]]}]" if negated else f"[^{OPPOSITES[opposites[0]]}]"


def _item(op: Any, argument: Any) -> str:
    if op.name == "CATEGORY":
        return CLASSES[argument.name]
    if op.name == "RANGE":
        return f"{_character(argument[0])}-{_character(argument[1])}"
    return _character(argument)


def _character(code: int) -> str:
    return f"\\x{{{code:x}}}"
