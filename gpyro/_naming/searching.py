"""Finds names by a pattern or by what their user meta are, page by page, and lets others go on meanwhile.

Names are gone through as `NameTree.walk` does: sorted part by part, each group before what is in it. Where the
pattern is one of full names and begins with fixed text, only that stretch is gone through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from gpyro import hub
from gpyro._naming.meta import decode_meta
from gpyro._naming.reporting import Details, details_of
from gpyro.errors import NamingError
from gpyro.namerecords import Record
from gpyro.names import GROUP, ROOT, check_full_name, split_name
from gpyro.patterns import Pattern, compile_glob, compile_regex
from gpyro.storage.base import NameStorage

#: Each with whether it is one of full names.
Patterns = list[tuple[Pattern, bool]]

__all__ = ["MAX_FOUND", "Query", "search"]

#: Most names in one answer.
MAX_FOUND = 10_000
#: An answer ends with the name that makes its addresses and metas more than this many bytes.
MAX_ANSWER_BYTES = 1024 * 1024
#: Names that one call looks at, and seconds of the hub that it takes; the caller goes on with the next call.
MAX_EXAMINED, MAX_SECONDS = 50_000, 1.0
#: Names that are taken from the storage at once: some ms of its lock.
PIECE = 500
#: Seconds after which others get their turn; a single match may take 10 ms, see `gpyro.patterns`.
TURN_SECONDS = 0.005

#: About what a name, an address and the fields beside them take in an answer.
NAME_BYTES = 200


class Query(NamedTuple):
    """What is looked for: see `NameServer.search`; `None` in `glob`, `regex` and `meta` is anything."""

    group: str = ROOT
    glob: str | None = None
    regex: str | None = None
    meta: Any = None
    after: str = ""
    limit: int = 1000


def search(
    storage: NameStorage, query: Query, may_see: Callable[[str], bool], is_stale: Callable[[str], bool]
) -> dict[str, Any]:
    """Return {"found": details of names, "after": the name to go on behind, or None at the end}.

    Args:
        may_see: tells which full names the caller may hear of; the others are as if they were not there.

    Raises:
        NamingError: there is no such group, or `after` is no name. PatternError: a pattern is none.
        ValueError: the limit cannot be.
    """
    check_query(query)
    patterns = _patterns(query)
    storage.list(query.group, 0, 0)  # raises where there is no such group
    fits, prefix = _make_filter(patterns, query.meta), _prefix_of(query.group, patterns)
    found: list[Details] = []
    size = examined = 0
    last = ""
    pacer = hub.Pacer(TURN_SECONDS)
    for record in () if prefix is None else _walk(storage, prefix, query.after):
        pacer.give()
        if not may_see(record.name):
            continue
        is_enough = len(found) >= query.limit or size > MAX_ANSWER_BYTES
        if is_enough or (examined and (examined >= MAX_EXAMINED or pacer.seconds > MAX_SECONDS)):
            return {"found": found, "after": last}
        examined += 1
        last = record.name
        if fits(record):
            found.append(details_of(record, is_stale))
            size += NAME_BYTES * (1 + len(record.members)) + len(record.meta or b"")
    return {"found": found, "after": None}


def check_query(query: Query) -> None:
    """See that it can be answered.

    Raises:
        NamingError, ValueError: it cannot.
    """
    if not (isinstance(query.limit, int) and 0 < query.limit <= MAX_FOUND):
        raise ValueError(f"limit={query.limit!r}; a page has 1 to {MAX_FOUND} names")
    if query.after != "":
        check_full_name(query.after)


# -- what fits -----------------------------------------------------------------------------------------------


def _patterns(query: Query) -> Patterns:
    patterns = []
    if query.glob is not None:
        patterns.append((compile_glob(query.glob), query.glob.startswith(ROOT)))
    if query.regex is not None:
        patterns.append((compile_regex(query.regex), True))
    return patterns


def _make_filter(patterns: Patterns, wanted: Any) -> Callable[[Record], bool]:
    def fits(record: Record) -> bool:
        for pattern, is_full in patterns:
            if not pattern.matches(record.name if is_full else split_name(record.name)[1]):
                return False
        return wanted is None or (record.meta is not None and _meta_fits(decode_meta(record.meta), wanted))

    return fits


def _meta_fits(meta: Any, wanted: Any) -> bool:
    if not isinstance(wanted, Mapping):
        return _is_equal(meta, wanted)
    return isinstance(meta, Mapping) and all(key in meta and _is_equal(meta[key], wanted[key]) for key in wanted)


def _is_equal(one: Any, other: Any) -> bool:
    # Arrays compare to arrays.
    return (one == other) is True


# -- where to look -------------------------------------------------------------------------------------------


def _prefix_of(group: str, patterns: Patterns) -> str | None:
    """Return how all names begin that can be found, at least what is in the group; None where there are none."""
    prefix = ROOT if group == ROOT else group + "."
    for pattern, is_full in patterns:
        other = pattern.prefix if is_full else ""
        if other.startswith(prefix):
            prefix = other
        elif not prefix.startswith(other):
            return None
    return prefix


def _walk(storage: NameStorage, prefix: str, after: str) -> Iterator[Record]:
    """Go through the names that begin with a prefix, behind `after`, in pieces.

    They follow each other: what comes behind the prefix itself, until the first name that does not begin so.
    """
    group, start = prefix[: prefix.rindex(".")] if "." in prefix else ROOT, prefix
    if after and _order(after) >= _order(prefix):
        if not after.startswith(prefix):
            return
        start = after
    else:
        # The scan goes on behind it.
        yield from _record(storage, prefix)
    while storage.kind(group) == GROUP:
        piece = storage.scan(group, start, PIECE)
        for record in piece:
            if not record.name.startswith(prefix):
                return
            yield record
        if len(piece) < PIECE:
            return
        start = piece[-1].name


def _record(storage: NameStorage, name: str) -> Iterator[Record]:
    """Return the record of a name that is there, and is not the root."""
    try:
        if name != ROOT and storage.kind(name) is not None:
            yield storage.record(name)
    except NamingError:
        pass  # it has gone since


def _order(name: str) -> list[str]:
    """Return what names are sorted by."""
    return name[1:].split(".")
