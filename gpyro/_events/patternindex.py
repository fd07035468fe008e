"""Patterns that subscribers gave, filed so that a subject is shown only to those that it may match.

Each text is compiled once, however many subscribed to it, and gets a serial number. It is filed under the
characters that all its matches begin with, in a key that does not know case: `^Stock\\.[a-m]` under `STOCK.`.
A subject is looked up with each length that such a key has, so patterns that begin otherwise cost nothing.

Keys are made character by character as `re.IGNORECASE` compares: what matches a beginning has a key that begins
with the beginning's key. The other way round it need not be: `ß` has the key of `ss`, and is asked in vain.

Pure, and not made for several threads at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile
from typing import Generic, NamedTuple, TypeVar

from gpyro._patterns import tree, wildcards
from gpyro.patterns import Pattern, compile_regex

__all__ = ["CompiledPattern", "IndexedPattern", "PatternIndex", "case_key", "compile_pattern"]

T = TypeVar("T")

#: What takes microseconds for a subject; all else may take as long as patterns.MAX_STEPS allows.
CHEAP_ENGINES = ("string tests", "state bits")


def case_key(text: str) -> str:
    """Return a key that is equal for texts of which `re.IGNORECASE` takes one for the other."""
    return text.upper() if text.isascii() else "".join(map(wildcards.fold, text))


class CompiledPattern(NamedTuple):
    """A pattern that can be filed, and the key of what all its matches begin with."""

    pattern: Pattern
    key: str

    @property
    def text(self) -> str:
        """As it was given."""
        return self.pattern.text


def compile_pattern(text: str) -> CompiledPattern:
    """Make a pattern of a text; that may take some ms.

    Raises:
        PatternError: it is no pattern, or could take too long.
    """
    pattern = compile_regex(text, ignore_case=True)
    return CompiledPattern(pattern, _beginning_key(pattern))


class IndexedPattern(Generic[T]):
    """One pattern and who subscribed to it.

    `serial` grows from 1 with each pattern that comes, `targets` are the subscribers by their numbers and `key`
    is that of the beginning; one that has no targets any more is no longer filed.
    """

    __slots__ = ("is_cheap", "key", "pattern", "serial", "targets")

    def __init__(self, compiled: CompiledPattern, serial: int) -> None:
        self.pattern, self.key = compiled
        self.serial = serial
        self.targets: dict[int, T] = {}
        self.is_cheap = self.pattern.engine in CHEAP_ENGINES

    def __repr__(self) -> str:
        text = self.pattern.text
        return f"<IndexedPattern {self.serial} {text!r}, begins {self.key!r}, {len(self.targets)} targets>"


class PatternIndex(Generic[T]):
    """All patterns that somebody subscribed to; `newest` is the highest serial that was given."""

    def __init__(self) -> None:
        self.newest = 0
        self._by_text: dict[str, IndexedPattern[T]] = {}
        #: Key of the beginning -> serial -> pattern; the serials of each grow, as none is filed twice.
        self._by_key: dict[str, dict[int, IndexedPattern[T]]] = {}
        #: Length of a key -> how many keys have it.
        self._lengths: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._by_text)

    def __repr__(self) -> str:
        return f"<PatternIndex of {len(self)} patterns with {len(self._by_key)} beginnings>"

    def get(self, text: str) -> IndexedPattern[T] | None:
        """Return the pattern of that very text, None where there is none."""
        return self._by_text.get(text)

    def add(self, compiled: CompiledPattern) -> IndexedPattern[T]:
        """File a pattern whose text is not there yet; the caller gives it its first target at once."""
        filed: IndexedPattern[T] = IndexedPattern(compiled, self.newest + 1)
        self.newest = filed.serial
        self._by_text[compiled.text] = filed
        if filed.key not in self._by_key:
            self._by_key[filed.key] = {}
            self._lengths[len(filed.key)] = self._lengths.get(len(filed.key), 0) + 1
        self._by_key[filed.key][filed.serial] = filed
        return filed

    def remove(self, filed: IndexedPattern[T]) -> None:
        """Take out a pattern that has no targets any more."""
        del self._by_text[filed.pattern.text]
        bucket = self._by_key[filed.key]
        del bucket[filed.serial]
        if bucket:
            return
        del self._by_key[filed.key]
        length = len(filed.key)
        self._lengths[length] -= 1
        if not self._lengths[length]:
            del self._lengths[length]

    def has_later(self, subject: str, serial: int) -> bool:
        """Tell whether a pattern that came after that serial may match the subject."""
        return any(next(reversed(bucket)) > serial for bucket in self._buckets_for(subject))

    def later(self, subject: str, serial: int) -> list[IndexedPattern[T]]:
        """Return the patterns that came after that serial and may match the subject, by their serials."""
        found = []
        for bucket in self._buckets_for(subject):
            for number in reversed(bucket):
                if number <= serial:
                    break
                found.append(bucket[number])
        return sorted(found, key=lambda filed: filed.serial)

    def _buckets_for(self, subject: str) -> Iterator[dict[int, IndexedPattern[T]]]:
        key = case_key(subject)
        for length in self._lengths:
            bucket = self._by_key.get(key[:length]) if length <= len(key) else None
            if bucket is not None:
                yield bucket


def _beginning_key(pattern: Pattern) -> str:
    # Read once more, as if case counted: with IGNORECASE no beginning is known.
    parsed = tree.parse(pattern.text, re.IGNORECASE)
    beginning = tree.prefix_of(parsed, int(parsed.state.flags) & ~re.IGNORECASE)
    if pattern.engine == "re2":
        # It has a table of cases of its own, perhaps of another Unicode; about ASCII they agree.
        beginning = "".join(takewhile(str.isascii, beginning))
    return case_key(beginning)
