"""Two copies of the names that changed apart become one: what each name is afterwards.

    only one side has the name            it stays, unless the other side removed just that version, or a later one
    both have it, with other addresses    the later one stays; where there are several addresses, all of them do
    a group and an object                 the group stays

What is removed because its lease ran out leaves no grave: a lease that the other side still saw renewed lives on.
A name that both sides gave to different objects since they last agreed is a conflict; it is counted and told.

Pure: both copies come in as records and revisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any, NamedTuple

from gpyro.namerecords import Change, Changes, Grave, Member, Record
from gpyro.names import GROUP, LEASE, MAX_MEMBERS, OBJECT
from gpyro.nametree import NameTree

__all__ = [
    "Verdict",
    "decide",
    "differing",
    "pack_change",
    "put_all",
    "replay",
    "unpack_change",
    "without_lost_leases",
]


class Verdict(NamedTuple):
    """What a name is after the merge, and what was in conflict (empty: nothing)."""

    record: Record | None
    conflict: str = ""


def differing(mine: Mapping[str, int], theirs: Mapping[str, int]) -> list[str]:
    """Return the names whose records are not the same on both sides, those that one side lacks included.

    Args:
        mine, theirs: {name: digest of its record}.
    """
    names = [name for name, digest in theirs.items() if mine.get(name) != digest]
    return names + [name for name in mine if name not in theirs]


def decide(
    mine: Record | None, theirs: Record | None, my_grave: Grave | None, their_grave: Grave | None, base: int
) -> Verdict:
    """Return what becomes of one name.

    Args:
        base: the latest revision that both sides are known to have had.
    """
    if mine is None or theirs is None:
        only, grave = (mine, their_grave) if theirs is None else (theirs, my_grave)
        gone = only is None or (grave is not None and grave.holds(only))
        return Verdict(None if gone else only)
    if mine.kind != theirs.kind:
        group = mine if mine.kind == GROUP else theirs
        other = theirs if group is mine else mine
        lost = ", ".join(member.uri for member in other.members)
        return Verdict(group, f"{mine.name!r} is a group on one side, so it no longer stands for {lost}")
    # Equal ones were given before the two became a pair.
    later, earlier = (mine, theirs) if mine.revision >= theirs.revision else (theirs, mine)
    if mine.kind != OBJECT:
        return Verdict(later)
    return _decide_addresses(later, earlier, base)


def _decide_addresses(later: Record, earlier: Record, base: int) -> Verdict:
    if earlier.revision <= base:
        return Verdict(later)
    if max(len(later.members), len(earlier.members)) > 1:
        known = {member.uri for member in later.members}
        added = tuple(member for member in earlier.members if member.uri not in known)
        return Verdict(later._replace(members=(later.members + added)[:MAX_MEMBERS]))
    kept, lost = later.members[0].uri, earlier.members[0].uri
    if kept == lost or earlier.revision <= base:
        return Verdict(later)
    return Verdict(later, f"{later.name!r} was given to two objects; it stands for {kept}, no longer for {lost}")


def without_lost_leases(record: Record, leases: Set[str]) -> Record | None:
    """Return a record without the addresses whose lease is over; None where none is left."""
    if record.kind != OBJECT:
        return record
    members = tuple(m for m in record.members if m.lease is None or m.lease in leases)
    if len(members) == len(record.members):
        return record
    return record._replace(members=members) if members else None


def replay(tree: NameTree, changes: Iterable[tuple[str, int, Record | None]]) -> Changes:
    """Put what the other side has decided in place, and return the changes as they were here.

    Raises:
        KeyError: they do not fit what is here; nothing is changed then.
    """
    done: Changes = []
    try:
        for name, revision, record in changes:
            change = Change(name, revision, tree.get(name), record)
            tree.apply(change)
            done.append(change)
    except BaseException:
        tree.apply_all([change.undone() for change in reversed(done)])
        raise
    return done


def put_all(tree: NameTree, wanted: Iterable[tuple[str, Record | None, bool]]) -> Changes:
    """Make names what was decided, and return the changes.

    Args:
        wanted: name, record, and whether that is the other side's as it stands, revision and all.
    """
    done: Changes = []
    try:
        for name, record, is_theirs in wanted:
            done += tree.apply_all(tree.plan_replace(name, record, keep_revision=is_theirs))
    except BaseException:
        tree.apply_all([change.undone() for change in reversed(done)])
        raise
    return done


# -- as they travel ------------------------------------------------------------------------------------------


def pack_change(name: str, revision: int, record: Record | None) -> list[Any]:
    """Return a change as plain lists."""
    if record is None:
        return [name, revision]
    members = [list(member) for member in record.members]
    return [name, revision, record.kind, record.created, record.owner, members, record.meta, record.seconds]


def unpack_change(packed: Any) -> tuple[str, int, Record | None]:
    """Return what `pack_change` was given.

    Raises:
        ValueError: it is not of that form.
    """
    try:
        name, revision, *rest = packed
        if not rest:
            return str(name), int(revision), None
        kind, created, owner, members, meta, seconds = rest
        if kind not in (GROUP, OBJECT, LEASE) or (kind == OBJECT and not members):
            raise ValueError(f"kind {kind!r} with {len(members)} addresses")
        read = tuple(Member(*member) for member in members)
        return name, revision, Record(name, kind, revision, created, owner, read, meta, seconds)
    except (TypeError, ValueError) as exc:
        raise ValueError(f"{str(packed)[:100]} is no change of a name: {exc}") from exc
