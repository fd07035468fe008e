"""What a name server tells of a name, and of itself: dicts of plain values, as they travel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpyro._naming.meta import decode_meta
from gpyro._version import __version__
from gpyro.namerecords import Member, Record
from gpyro.names import OBJECT
from gpyro.storage.base import NameStorage
from gpyro.storage.tree import TreeStorage

__all__ = ["Details", "details_of", "storage_report"]

#: What is told of one name; `NameServer.details` says what is in it.
Details = dict[str, Any]


def details_of(record: Record, is_stale: Callable[[str], bool]) -> Details:
    """Return all that callers may know of a name; not the ids of leases, as who knows one may end it.

    Args:
        is_stale: tells of the id of a lease whether its holder has not been heard of for a while.
    """
    return {
        "name": record.name,
        "kind": "object" if record.kind == OBJECT else "group",
        "uris": [member.uri for member in record.members],
        "members": [_details_of_member(member, is_stale) for member in record.members],
        "created": record.created,
        "owner": record.owner,
        "revision": record.revision,
        "meta": decode_meta(record.meta),
    }


def _details_of_member(member: Member, is_stale: Callable[[str], bool]) -> Details:
    leased = member.lease is not None
    return {
        "uri": member.uri,
        "owner": member.owner,
        "created": member.created,
        "leased": leased,
        "stale": leased and is_stale(str(member.lease)),
    }


def storage_report(storage: NameStorage, is_stale: Callable[[str], bool]) -> dict[str, Any]:
    """Return the entries of a status that a storage has the answers to."""
    groups, digest = None, None
    if isinstance(storage, TreeStorage):
        groups, digest = storage.inspect(lambda tree: (tree.count_groups(), f"{tree.digest:016x}"))
    leases = storage.leases()
    return {
        "version": __version__,
        "names": len(storage) - (groups or 0),
        "groups": groups,
        "leases": len(leases),
        "stale_leases": sum(is_stale(lease.name) for lease in leases),
        "revision": storage.revision,
        "digest": digest,
        "storage": type(storage).__name__,
    }
