"""The primary makes both copies equal: it compares, decides what each name is, and tells the secondary.

Both sides hold back changes meanwhile. What is compared is names and digests; only records that differ travel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from gpyro import hub
from gpyro._naming.checking import check_record, check_revision
from gpyro._naming.merging import (
    decide,
    differing,
    pack_change,
    put_all,
    unpack_change,
    without_lost_leases,
)
from gpyro.errors import ProtocolError
from gpyro.log import Log
from gpyro.namerecords import Grave, Graves, Record
from gpyro.names import LEASE, ROOT, split_name
from gpyro.nametree import NameTree

if TYPE_CHECKING:
    from gpyro._naming.primary import Primary
    from gpyro.proxy import Proxy

__all__ = ["digests", "synchronise"]

T = TypeVar("T")

#: Records that are put in place, or travel, at once: some ten milliseconds of the hub, and less than a MB.
RECORDS_AT_ONCE = 2_000
#: Seconds that the twin has to say that it is there, before anything waits for it.
ANSWER_SECONDS = 0.5
#: Seconds for each step afterwards.
STEP_SECONDS = 5.0

Wanted = list[tuple[str, Record | None, bool]]


def synchronise(pair: Primary) -> None:
    """Make the copies equal, and lead from then on.

    Raises:
        ProtocolError: the twin is not there, or went away meanwhile; what is decided so far stays.
    """
    # While nothing waits for it yet.
    pair.twin_proxy(ANSWER_SECONDS).ping()
    term = pair.begin_term()
    pair.await_quiet()
    twin = pair.twin_proxy(STEP_SECONDS)
    base, revision, records, graves = twin.begin(term, pair.address)
    pair.skip_to(check_revision(revision))
    theirs = dict(_pages(twin.summary, term, records))
    their_graves = {name: Grave(*grave) for name, *grave in _pages(twin.graves, term, graves)}
    conflicts = _merge(pair, twin, term, theirs, their_graves, max(base, pair.base))
    _install(pair, twin, term, theirs)
    revision, digest = pair.storage.inspect(lambda tree: (tree.revision, tree.digest))
    if not twin.finish(term, revision, digest, conflicts):
        raise ProtocolError("the copies were not equal after they were compared; comparing anew")
    pair.note_conflicts(conflicts)
    pair.lead(term, revision)
    Log.msg("NameServer", f"both copies are equal: {len(theirs)} records there, revision {revision}")


def _pages(ask: Any, term: str, count: int) -> Iterator[Any]:
    got = 0
    while got < count:
        page = ask(term, got)
        if not page:
            raise ProtocolError(f"the twin announced {count} records and sent {got}")
        got += len(page)
        yield from page


def _in_pieces(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), RECORDS_AT_ONCE):
        yield items[start : start + RECORDS_AT_ONCE]
        hub.pause()


def _merge(
    pair: Primary, twin: Proxy, term: str, theirs: dict[str, int], their_graves: Graves, base: int
) -> list[str]:
    """Put here what becomes of each name that differs; return the conflicts."""
    mine = pair.storage.inspect(digests)
    names = differing(mine, theirs)
    fetched: dict[str, Record | None] = {}
    for piece in _in_pieces([name for name in names if name in theirs]):
        for packed in twin.fetch(term, list(piece)):
            name, _, record = unpack_change(packed)
            if record is not None:
                check_record(record)
            fetched[name] = record
    own = pair.storage.inspect(lambda tree: {name: tree.get(name) for name in names})
    wanted: Wanted = []
    conflicts = []
    for name in names:
        graves = pair.graves.get(name), their_graves.get(name)
        record, conflict = decide(own[name], fetched.get(name), *graves, base)
        if conflict:
            conflicts.append(conflict)
        if record != own[name]:
            wanted.append((name, record, record is fetched.get(name)))
    wanted = _without_needed_groups(wanted, names, own)
    leases = pair.storage.inspect(lambda tree: {lease.name for lease in tree.leases()})
    leases = (leases - {n for n, r, _ in wanted if r is None}) | {n for n, r, _ in wanted if r and r.kind == LEASE}
    for some in _in_pieces(_in_order(wanted)):
        kept = [_checked(one, leases) for one in some]
        pair.storage.adopt(partial(put_all, wanted=kept))
    return conflicts


def digests(tree: NameTree) -> dict[str, int]:
    """Return what is compared: {name: digest of its record}."""
    return {record.name: record.digest() for record in tree.records()}


def _without_needed_groups(wanted: Wanted, names: list[str], own: dict[str, Record | None]) -> Wanted:
    """Let groups stay in which something stays: that the other side removed them is no reason for it to go."""
    decided = {name: record for name, record, _ in wanted}
    needed: set[str] = set()
    for name in names:
        stays = decided[name] if name in decided else own[name]
        if stays is None or stays.kind == LEASE:
            continue
        while name != ROOT and (name := split_name(name)[0]) not in needed:
            needed.add(name)
    return [one for one in wanted if one[1] is not None or one[0] not in needed]


def _checked(one: tuple[str, Record | None, bool], leases: set[str]) -> tuple[str, Record | None, bool]:
    name, record, is_theirs = one
    if record is None:
        return one
    kept = without_lost_leases(record, leases)
    return name, kept, is_theirs and kept is record


def _in_order(wanted: Wanted) -> Wanted:
    """Leases, then what goes, the innermost first, then groups before what is in them."""

    def key(one: tuple[str, Record | None, bool]) -> tuple[int, int, int]:
        name, record, _ = one
        depth = name.count(".")
        if record is None:
            return 1, -depth, 0
        return (0, 0, 0) if record.kind == LEASE else (2, record.kind, depth)

    return sorted(wanted, key=key)


def _install(pair: Primary, twin: Proxy, term: str, theirs: dict[str, int]) -> None:
    """Send the secondary what it has to change to be equal to us."""
    mine = pair.storage.inspect(digests)
    revision = pair.storage.revision
    gone = sorted((name for name in theirs if name not in mine), key=lambda name: -name.count("."))
    for names in _in_pieces(gone):
        twin.install(term, [pack_change(name, revision, None) for name in names])
    records = pair.storage.inspect(
        lambda tree: [record for record in tree.records() if theirs.get(record.name) != mine[record.name]]
    )
    for some in _in_pieces(records):
        twin.install(term, [pack_change(record.name, record.revision, record) for record in some])
