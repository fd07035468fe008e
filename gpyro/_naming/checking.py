"""What comes from the twin, or from who says that it is the twin, is looked at before it gets into a storage.

Pure. A pair without identifications takes the word of whoever can reach it, as `register` does; but nobody's word
may be what a storage cannot keep, or what others cannot read.
"""

from __future__ import annotations

from typing import Any

from gpyro._naming.leasing import check_length
from gpyro._naming.meta import MAX_META_BYTES
from gpyro.errors import NamingError, ProtocolError
from gpyro.namerecords import Member, Record
from gpyro.names import GROUP, LEASE, MAX_MEMBERS, MAX_NAME_LENGTH, OBJECT, ROOT, check_full_group, check_full_name
from gpyro.uri import PyroURI

__all__ = ["MAX_REVISION", "check_change", "check_record", "check_removal", "check_revision", "check_twin_address"]

#: Far beyond what a server gives out in its life, and far below what a database can keep.
MAX_REVISION = 1 << 53

#: Of each method of a storage that a follower hands on: what its arguments are.
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "register": ("name", "uri"),
    "unregister": ("name", "uri or none"),
    "create_group": ("name",),
    "delete_group": ("name",),
    "set_meta": ("name or root", "meta"),
    "open_lease": ("lease",),
    "close_lease": ("lease",),
    "close_leases": ("leases",),
}
_OPTIONS = {
    "created": "time", "owner": "text or none", "lease": "lease or none", "replace": "flag", "member": "flag",
    "seconds": "length", "instead_of": "members or none",
}  # fmt: skip


def check_change(method: str, args: list[Any], options: dict[str, Any]) -> None:
    """See that a change that was handed on is one.

    Raises:
        ProtocolError: it is not. NamingError, ValueError: one of its values cannot be.
    """
    kinds = _ARGUMENTS.get(method)
    if kinds is None:
        raise ProtocolError(f"{method!r} is no change of names")
    if not 1 <= len(args) <= len(kinds) or not options.keys() <= _OPTIONS.keys():
        raise ProtocolError(f"{method} with {len(args)} arguments and {sorted(options)} is no change of names")
    for kind, value in zip(kinds, args, strict=False):
        _check(kind, value)
    for name, value in options.items():
        _check(_OPTIONS[name], value)


def _check(kind: str, value: Any) -> None:
    if kind.endswith(" or none") and value is None:
        return
    kind = kind.removesuffix(" or none")
    if kind == "name" or (kind == "name or root" and value != ROOT):
        check_full_name(value)
    elif kind == "uri":
        _check_uri(value)
    elif kind == "lease":
        _check_lease(value)
    elif kind == "leases":
        for lease in value:
            _check_lease(lease)
    elif kind == "meta":
        _check_meta(value)
    elif kind == "time" and not isinstance(value, (int, float)):
        raise ProtocolError(f"{value!r} is no time")
    elif kind == "text" and not isinstance(value, str):
        raise ProtocolError(f"{value!r} is no owner")
    elif kind == "flag" and not isinstance(value, bool):
        raise ProtocolError(f"{value!r} is neither true nor false")
    elif kind == "length":
        check_length(value)
    elif kind == "members":
        for member in value:
            _check_member(Member(*member))


def check_revision(revision: Any) -> int:
    """Return a revision.

    Raises:
        ProtocolError: it is none, or out of bounds.
    """
    if not isinstance(revision, int) or isinstance(revision, bool) or not 0 <= revision < MAX_REVISION:
        raise ProtocolError(f"{revision!r} is no revision; they go up to {MAX_REVISION}")
    return revision


def check_record(record: Record) -> None:
    """See that a record is one that a storage can keep.

    Raises:
        ProtocolError, NamingError, ValueError: it is not.
    """
    check_revision(record.revision)
    _check("time", record.created)
    _check("text or none", record.owner)
    _check_meta(record.meta)
    if record.kind == LEASE:
        _check_lease(record.name)
        check_length(record.seconds)
    elif record.kind == GROUP:
        check_full_group(record.name)
    elif record.kind == OBJECT:
        check_full_name(record.name)
    else:
        raise ProtocolError(f"{record.kind!r} is no kind of a record")
    if len(record.members) > MAX_MEMBERS or bool(record.members) != (record.kind == OBJECT):
        raise ProtocolError(f"{record.name!r} of kind {record.kind} with {len(record.members)} addresses")
    for member in record.members:
        _check_member(member)


def check_removal(name: Any) -> None:
    """See that this is something that can be removed: a lease, an object, or a group that is not the root.

    Raises:
        ProtocolError, NamingError: it is not.
    """
    if isinstance(name, str) and not name.startswith(":"):
        _check_lease(name)
    else:
        check_full_name(name)


def _check_member(member: Member) -> None:
    _check_uri(member.uri)
    _check("time", member.created)
    _check("text or none", member.owner)
    _check("lease or none", member.lease)


def _check_uri(uri: Any) -> None:
    if not isinstance(uri, str):
        raise ProtocolError(f"{uri!r} is no address as text")
    PyroURI(uri)


def _check_lease(lease: Any) -> None:
    if not isinstance(lease, str) or not lease or ":" in lease or len(lease) > MAX_NAME_LENGTH:
        raise ProtocolError(f"{str(lease)[:100]!r} is no id of a lease")


def _check_meta(meta: Any) -> None:
    if meta is not None and not (isinstance(meta, bytes) and len(meta) <= MAX_META_BYTES):
        raise ProtocolError(f"meta of type {type(meta).__name__}; it is at most {MAX_META_BYTES} bytes")


def check_twin_address(address: Any, object_id: str) -> PyroURI:
    """Return the address at which somebody says that the other name server is.

    Raises:
        NamingError: it is none.
    """
    if not isinstance(address, PyroURI) or address.protocol != "PYRO" or address.objectID != object_id:
        raise NamingError(f"{address!r} is no address of a twin; it is PYRO://host:port/{object_id}")
    return address
