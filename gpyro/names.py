"""Names of objects and groups, and the tree that they form.

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
from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import Any

from gpyro.errors import NamingError

__all__ = [
    "DEFAULT_GROUP",
    "GROUP",
    "MAX_DEPTH",
    "MAX_NAMES",
    "MAX_NAME_LENGTH",
    "OBJECT",
    "ROOT",
    "FlatListing",
    "Listing",
    "NameTree",
    "Names",
    "Reason",
    "SystemMeta",
    "check_full_group",
    "check_full_name",
    "expand_name",
    "naming_error",
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
#: Most objects and groups in one tree: measured at 480 bytes each with their address, so half a GB.
MAX_NAMES = 1_000_000

#: The two kinds in a listing. Source: Pyro's NameServer.list.
GROUP = 0
OBJECT = 1

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


def naming_error(reason: str, name: str, detail: str = "") -> NamingError:
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
    return check_full_name(_join(default_group, name))


def split_name(full_name: str) -> tuple[str, str]:
    """Return the full name of the group and the last part: `:a.b` gives `:a` and `b`.

    The name must be a full one that has been checked, and not the root.
    """
    group, dot, last = full_name.rpartition(".")
    return (group, last) if dot else (ROOT, full_name[1:])


def _join(group: str, name: str) -> str:
    return ROOT + name if group == ROOT else f"{group}.{name}"


def _check_full(name: str, reason: str) -> str:
    _validate(name, reason)
    if not name.startswith(":"):
        raise naming_error(reason, name, f" does not begin with a colon; {FORM}")
    return name


def _validate(name: str, reason: str) -> str:
    if not isinstance(name, str):
        raise naming_error(reason, name, f" is of type {type(name).__name__}, but a name is text; {FORM}")
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


# -- the tree -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SystemMeta:
    """What the tree itself notes of a name: its kind, when it came (seconds since 1970) and whose it is."""

    kind: int
    created: float
    owner: str | None = None

    def __str__(self) -> str:
        """Return it as `nsc showmeta` prints it. Source: Pyro 3.16, transcript A3."""
        return f"[type={self.kind} timestamp={self.created} owner={self.owner}]"


class _Object:
    """One registered object."""

    __slots__ = ("meta", "system", "uri_text")

    def __init__(self, uri_text: str, system: SystemMeta) -> None:
        self.uri_text = uri_text
        self.system = system
        self.meta: Any = None


class _Group:
    """One group and the last parts of the names in it.

    `order` is None until somebody lists the group; from then on it is kept sorted, so that filling a group
    costs no sorting and a page of a large one costs only the page.
    """

    __slots__ = ("children", "meta", "order", "system")

    def __init__(self, system: SystemMeta) -> None:
        self.system = system
        self.meta: Any = None
        self.children: dict[str, int] = {}
        self.order: list[str] | None = None

    def add(self, part: str, kind: int) -> None:
        if self.order is not None and part not in self.children:
            insort(self.order, part)
        self.children[part] = kind

    def remove(self, part: str) -> None:
        del self.children[part]
        if self.order is not None:
            del self.order[bisect_left(self.order, part)]

    def page(self, offset: int, limit: int | None) -> Listing:
        if self.order is None:
            self.order = sorted(self.children)
        end = None if limit is None else offset + limit
        return [(part, self.children[part]) for part in self.order[offset:end]]


class NameTree:
    """A tree of groups and objects in memory; every name given to it is a full one.

    Two dicts, by full name: what is asked most (`resolve`) is one look-up however deep the name is.
    Not made for several threads at once; its owner sees to that.
    """

    def __init__(self, *, created: float = 0.0, max_names: int = MAX_NAMES) -> None:
        self.max_names = max_names
        self._objects: dict[str, _Object] = {}
        self._groups: dict[str, _Group] = {ROOT: _Group(SystemMeta(GROUP, created))}

    def __len__(self) -> int:
        """Return the number of objects and groups, without the root."""
        return len(self._objects) + len(self._groups) - 1

    def __repr__(self) -> str:
        return f"<NameTree {len(self._objects)} objects in {len(self._groups)} groups>"

    # -- objects

    def register(
        self, name: str, uri_text: str, *, created: float, owner: str | None = None, replace: bool = False
    ) -> None:
        """Put an object's address under a name.

        Args:
            name: the full name.
            uri_text: the address; it is not looked at here.
            created: seconds since 1970.
            owner: who registers it, for `get_system_meta`.
            replace: take the place of an object of that name; its user meta stays, as that is the name's.

        Raises:
            NamingError: the name is not right, is taken, or its group is not there.
        """
        check_full_name(name)
        old = self._objects.get(name)
        if name in self._groups or (old is not None and not replace):
            raise naming_error(Reason.NAME_EXISTS, name)
        if old is None:
            self._add_to_parent(name, OBJECT)
        entry = self._objects[name] = _Object(uri_text, SystemMeta(OBJECT, created, owner))
        if old is not None:
            entry.meta = old.meta

    def unregister(self, name: str) -> str:
        """Remove an object's name and return the address that it had.

        Raises:
            NamingError: there is no such name, or it is that of a group.
        """
        check_full_name(name)
        if name in self._groups:
            raise naming_error(Reason.NO_OBJECT, name)
        if name not in self._objects:
            raise naming_error(Reason.NAME_NOT_FOUND, name)
        group, part = split_name(name)
        self._groups[group].remove(part)
        return self._objects.pop(name).uri_text

    def resolve(self, name: str) -> str:
        """Return the address under a name.

        Raises:
            NamingError: there is no such name, or it is that of a group.
        """
        entry = self._objects.get(name)
        if entry is not None:
            return entry.uri_text
        if name in self._groups:
            raise naming_error(Reason.RESOLVED_GROUP, name)
        raise naming_error(Reason.NAME_NOT_FOUND, check_full_name(name))

    # -- groups

    def create_group(self, name: str, *, created: float, owner: str | None = None) -> None:
        """Make an empty group; the group that it stands in must be there.

        Raises:
            NamingError: the name is not right, is taken, or its parent is no group.
        """
        if name == ROOT:
            raise naming_error(Reason.INVALID_GROUP, name, " is the root group, which is always there")
        check_full_group(name)
        if name in self._groups:
            raise naming_error(Reason.GROUP_EXISTS, name)
        if name in self._objects:
            raise naming_error(Reason.NAME_EXISTS, name)
        self._add_to_parent(name, GROUP)
        self._groups[name] = _Group(SystemMeta(GROUP, created, owner))

    def delete_group(self, name: str) -> Names:
        """Remove a group with all that is in it; return the full names of the objects that went, sorted.

        Raises:
            NamingError: there is no such group, or it is the root.
        """
        if name == ROOT:
            raise naming_error(Reason.ROOT_GROUP, name)
        self._group(name)
        parent, part = split_name(name)
        self._groups[parent].remove(part)
        return sorted(self._drop(name))

    def list(self, group: str, offset: int = 0, limit: int | None = None) -> Listing:
        """Return (last part, GROUP or OBJECT) of what stands in a group, sorted by the part.

        Args:
            group: its full name.
            offset: how many to pass over.
            limit: how many to return at most; None returns the rest.

        Raises:
            NamingError: there is no such group.
            ValueError: `offset` or `limit` is negative.
        """
        check_page(offset, limit)
        return self._group(group).page(offset, limit)

    def flatlist(self) -> FlatListing:
        """Return (full name, address) of every object, sorted by name."""
        return sorted((name, entry.uri_text) for name, entry in self._objects.items())

    # -- either

    def kind(self, name: str) -> int | None:
        """Return GROUP or OBJECT, or None where there is nothing of that name."""
        if name in self._objects:
            return OBJECT
        return GROUP if name in self._groups else None

    def set_meta(self, name: str, meta: Any) -> None:
        """Keep a value of the user's with an object or group; None takes it away.

        Raises:
            NamingError: there is no such name.
        """
        self._node(name).meta = meta

    def get_meta(self, name: str) -> Any:
        """Return the value that `set_meta` gave, or None.

        Raises:
            NamingError: there is no such name.
        """
        return self._node(name).meta

    def get_system_meta(self, name: str) -> SystemMeta:
        """Return what the tree notes of an object or group.

        Raises:
            NamingError: there is no such name.
        """
        return self._node(name).system

    # -- parts

    def _node(self, name: str) -> _Object | _Group:
        node = self._objects.get(name) or self._groups.get(name)
        if node is None:
            raise naming_error(Reason.NAME_NOT_FOUND, check_full_name(name))
        return node

    def _group(self, name: str) -> _Group:
        group = self._groups.get(name)
        if group is not None:
            return group
        if name in self._objects:
            raise naming_error(Reason.NO_GROUP, name)
        raise naming_error(Reason.GROUP_NOT_FOUND, check_full_group(name))

    def _add_to_parent(self, name: str, kind: int) -> None:
        group, part = split_name(name)
        parent = self._groups.get(group)
        if parent is None:
            reason = Reason.PARENT_NO_GROUP if group in self._objects else Reason.PARENT_NOT_FOUND
            raise naming_error(reason, name, f"; {group!r} would have to be a group")
        if len(self) >= self.max_names:
            raise naming_error(Reason.TOO_MANY, name, f" would be one more than {self.max_names} (max_names)")
        parent.add(part, kind)

    def _drop(self, group: str) -> Names:
        """Forget a group and what is under it; no deeper than MAX_DEPTH, which bounds the recursion."""
        gone: Names = []
        for part, kind in self._groups.pop(group).children.items():
            name = _join(group, part)
            if kind == GROUP:
                gone += self._drop(name)
            else:
                del self._objects[name]
                gone.append(name)
        return gone


def check_page(offset: int, limit: int | None) -> None:
    """Refuse a page that cannot be: ValueError names it."""
    if offset < 0 or (limit is not None and limit < 0):
        raise ValueError(f"a page has offset {offset} and limit {limit}, but neither may be negative")
