"""Regular expressions made at random, for tests of patterns, and how tests ask for one."""

from __future__ import annotations

import pytest
from hypothesis import assume
from hypothesis import strategies as st

from gpyro.errors import PatternError
from gpyro.patterns import Pattern, compile_regex

__all__ = ["TEXTS", "compiled", "pieces", "refusal"]

TEXTS = st.text("abc1. \né", max_size=9)


def pieces() -> st.SearchStrategy[str]:
    """Regular expressions over few characters, so that much of them can match the same."""
    characters = ["a", "b", "c", "1", ".", r"\.", r"\w", r"\d", r"\s"]
    atoms = st.sampled_from([*characters, "ab", "", "[ab]", "[^a]", "[b-d]", r"[^\w]", r"[\d.]"])
    counts = st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,3}", "{2,}", "*?", "+?", "??", "{1,2}?"])

    def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.builds("{}{}".format, inner, inner),
            st.builds("(?:{}|{})".format, inner, inner),
            st.builds("({}){}".format, inner, counts),
        )

    ends = st.sampled_from(["", "$", r"\Z", "a"])
    return st.builds("{}{}{}".format, st.sampled_from(["", "^"]), st.recursive(atoms, grow, max_leaves=8), ends)


def compiled(regex: str, **options: bool) -> Pattern:
    """Compile, or have the test take another example."""
    try:
        return compile_regex(regex, **options)
    except PatternError:
        assume(False)
        raise


def refusal(text: str, **options: bool) -> str:
    """Return the message with which it is refused."""
    with pytest.raises(PatternError) as caught:
        compile_regex(text, **options)
    return str(caught.value)
