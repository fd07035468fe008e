"""Names of objects and groups: their rules, and what goes wrong with them.

A name is `:Group.sub.object`: a colon, then parts with dots between them. All parts but the last name
groups; `:` alone is the root group. A name without the colon is relative and belongs to the default group.

A part is one or more printable characters. Letters of any script are welcome and case counts; two names
are the same if they are the same code points. White space, control and format characters are refused, so
that no two names look alike by an invisible character, and so are these: `.` parts names, `:` begins them,
`/` would be a path in `PYRONAME://host/name`, `\\` is refused by Pyro as well.

Everything here is pure: no clock, no storage. Times come in as arguments.
Source: Pyro 3 manual, chapter 5; texts of errors as Pyro 3.16 has them.
"""

from __future__ import annotations

import re
from typing import Any

from gpyro.errors import NamingError

__all__ = [
    "DEFAULT_GROUP",
    "GROUP",
    "LEASE",
    "MAX_DEPTH",
    "MAX_MEMBERS",
    "MAX_NAMES",
    "MAX_NAME_LENGTH",
    "OBJECT",
    "ROOT",
    "FlatListing",
    "Listing",
    "Names",
    "Reason",
    "check_full_group",
    "check_full_name",
    "expand_name",
    "join_name",
    "naming_error",
    "require_text",
    "split_name",
    "validate_group",
    "validate_name",
]

#: The group of all groups.
ROOT = ":"
#: Where relative names belong. Source: Pyro's PYRO_NS_DEFAULTGROUP.
DEFAULT_GROUP = ":Default"

#: Longest full name, in characters: what a file name may have, so that storages can keep one in any index.
MAX_NAME_LENGTH = 255
#: Most parts in a name: far beyond any hierarchy that people keep in their heads, and a bound for walks.
MAX_DEPTH = 32
#: Most objects and groups in one tree: at most 1 KiB each with their address, so a GB.
MAX_NAMES = 1_000_000

#: Most addresses under one name: what is answered at one go, and kept in one record.
MAX_MEMBERS = 256

#: The two kinds in a listing. Source: Pyro's NameServer.list.
GROUP = 0
OBJECT = 1
#: The third kind of a record, which is in no listing.
LEASE = 2

#: (last part, GROUP or OBJECT). These three have names because `list` is a method here.
Listing = list[tuple[str, int]]
#: (full name, address)
FlatListing = list[tuple[str, str]]
Names = list[str]

FORM = "names look like ':Group.sub.object'"

#: Beyond what is not printable or is a blank. The `.` never gets here.
FORBIDDEN = ":/\\"

#: The usual case, checked at one go; all else takes the way that can say what is wrong.
_PLAIN_NAME = re.compile(r":?[\w\-]+(?:\.[\w\-]+)*", re.ASCII)


class Reason:
    """Pyro's texts; a NamingError's message begins with one of them and its `reason` is exactly one."""

    NAME_EXISTS = "name already exists"
    NAME_NOT_FOUND = "name not found"
    GROUP_NOT_FOUND = "group not found"
    GROUP_EXISTS = "group already exists"
    PARENT_NOT_FOUND = "(parent)group not found"
    PARENT_NO_GROUP = "parent is no group"
    NO_GROUP = "is no group"
    NO_OBJECT = "is a group, not an object"
    RESOLVED_GROUP = "attempt to resolve groupname"
    INVALID_NAME = "invalid name"
    INVALID_CHARACTERS = "invalid character(s) in name"
    INVALID_GROUP = "invalid groupname"
    ROOT_GROUP = "not allowed to delete root group"
    DEFAULT_NOT_ABSOLUTE = "default group name is not absolute"
    #: Pyro has no bound, hence no text for it.
    TOO_MANY = "too many names"
    #: Pyro has no leases.
    LEASE_EXISTS = "lease already exists"
    LEASE_OVER = "lease is over"


def naming_error(reason: str, name: Any, detail: str = "") -> NamingError:
    """Make the error: `name not found: ':Default.x'` and, if there is one, the detail behind it.

    `error.reason` is Pyro's text and `error.name` the name, for programs.
    """
    error = NamingError(f"{reason}: {name!r}{detail}")
    error.reason, error.name = reason, name
    return error


# -- rules ----------------------------------------------------------------------------------------------


def validate_name(name: str) -> str:
    """Return the name if it can be that of an object, absolute or relative.

    Raises:
        NamingError: it cannot; the message says at which position and why.
    """
    return _validate(name, Reason.INVALID_NAME)


def validate_group(name: str) -> str:
    """Return the name if it can be that of a group other than the root, absolute or relative.

    Raises:
        NamingError: it cannot.
    """
    return _validate(name, Reason.INVALID_GROUP)


def require_text(name: object, reason: str = Reason.INVALID_NAME) -> str:
    """Return the name if it is text at all.

    Raises:
        NamingError: it is something else.
    """
    if not isinstance(name, str):
        raise naming_error(reason, name, f" is of type {type(name).__name__}, but a name is text; {FORM}")
    return name


def check_full_name(name: str) -> str:
    """Return the name if it is a full one, with a colon in front."""
    return _check_full(name, Reason.INVALID_NAME)


def check_full_group(name: str) -> str:
    """Return the name if it is the full one of a group; the root is one."""
    return name if name == ROOT else _check_full(name, Reason.INVALID_GROUP)


def expand_name(name: str, default_group: str = DEFAULT_GROUP) -> str:
    """Return the full name: a relative one gets the default group in front.

    As in Pyro the empty name is the default group itself and `:` is the root.

    Raises:
        NamingError: the name, or the default group, is not right.
    """
    if not default_group.startswith(":"):
        raise naming_error(Reason.DEFAULT_NOT_ABSOLUTE, default_group, f"; {FORM}")
    if name == ROOT:
        return ROOT
    if name == "":
        return check_full_group(default_group)
    validate_name(name)
    if name.startswith(":"):
        return name
    return check_full_name(join_name(default_group, name))


def split_name(full_name: str) -> tuple[str, str]:
    """Return the full name of the group and the last part: `:a.b` gives `:a` and `b`.

    The name must be a full one that has been checked, and not the root.
    """
    group, dot, last = full_name.rpartition(".")
    return (group, last) if dot else (ROOT, full_name[1:])


def join_name(group: str, name: str) -> str:
    """Return the full name of what stands in a group."""
    return ROOT + name if group == ROOT else f"{group}.{name}"


def _check_full(name: str, reason: str) -> str:
    _validate(name, reason)
    if not name.startswith(":"):
        raise naming_error(reason, name, f" does not begin with a colon; {FORM}")
    return name


def _validate(name: str, reason: str) -> str:
    require_text(name, reason)
    if len(name) > MAX_NAME_LENGTH:
        short = name[:40] + "..."
        raise naming_error(reason, short, f" has {len(name)} characters, the limit is {MAX_NAME_LENGTH}")
    if not _PLAIN_NAME.fullmatch(name):
        _find_fault(name, reason)
    depth = name.count(".") + 1
    if depth > MAX_DEPTH:
        raise naming_error(reason, name, f" has {depth} parts, the limit is {MAX_DEPTH}")
    return name


def _find_fault(name: str, reason: str) -> None:
    position = 1 if name.startswith(":") else 0
    if name in ("", ROOT):
        what = "is the root group" if name else "is empty"
        raise naming_error(reason, name, f" {what}; {FORM}")
    for part in name[position:].split("."):
        if not part:
            raise naming_error(reason, name, f" has an empty part at position {position}; {FORM}")
        for offset, character in enumerate(part):
            if character in FORBIDDEN or not character.isprintable() or character.isspace():
                where = f" has {character!r} at position {position + offset}; "
                raise naming_error(
                    Reason.INVALID_CHARACTERS, name,
                    where + "a part has printable characters without blanks and none of . : / \\",
                )  # fmt: skip
        position += len(part) + 1
