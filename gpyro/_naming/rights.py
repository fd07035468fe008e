"""Who may look up, register and remove names: the rights of a name server, group by group.

    :Plant        operator,press-4   lookup,register
    :Plant.safety safety             admin
    :             *                  lookup

The nearest group with rules decides, on the way up from the name itself to the root `:`; what it does not grant
is denied, whatever groups further up grant. Callers are known by their principals, as in `gpyro.access`.

    lookup    resolve, list, getMeta, get_system_meta, details, changes, search; status, if in the root; what
              shows several names leaves out those that may not be looked up
    register  register, createGroup
    remove    unregister
    admin     all of these, setMeta and deleteGroup; shutdown, if in the root

Who registered a name, under an identity, may also remove it and set its meta. Pure: no clock, no storage.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet

from gpyro.access import describe_caller
from gpyro.errors import AccessDeniedError, ConfigurationError, NamingError
from gpyro.names import ROOT, check_full_group, split_name

__all__ = [
    "ADMIN",
    "LOOKUP",
    "REGISTER",
    "REMOVE",
    "RIGHTS",
    "GroupRights",
    "Rights",
    "is_owner",
    "make_rights",
    "parse_rights",
]

LOOKUP, REGISTER, REMOVE, ADMIN = "lookup", "register", "remove", "admin"
RIGHTS = (LOOKUP, REGISTER, REMOVE, ADMIN)

LINE_FORM = "a line looks like `:Group.sub  who[,who]  right[,right]`"
FORM = 'rights look like {":Group": {"identity or role": {"lookup", "register"}}}'
#: In the address that is noted for callers without an identity, and so in no owner that has rights.
ADDRESS_CHARACTERS = frozenset(": ")
#: How the identities begin that gpyro gives to callers with a passphrase or a certificate.
GIVEN_BY_GPYRO = ("passphrase:", "certificate:")

#: What a program gives as the rights of one group.
GroupRights = Mapping[str, AbstractSet[str] | list[str] | tuple[str, ...]]


class Rights:
    """The rights of one name server; nothing in it changes any more.

    Args:
        groups: {group: {identity or role: {rights}}}. Without any group, everything is denied.

    Raises:
        ConfigurationError: a group, principal or right cannot be one.
    """

    __slots__ = ("_groups",)

    def __init__(self, groups: Mapping[str, GroupRights]) -> None:
        if not isinstance(groups, Mapping):
            raise ConfigurationError(f"rights={groups!r} is of type {type(groups).__name__}; {FORM}")
        self._groups = {_group(group): _grants(group, grants) for group, grants in groups.items()}

    def __repr__(self) -> str:
        return f"<Rights in {', '.join(sorted(self._groups)) or 'no group'}>"

    def names_somebody(self) -> bool:
        """Tell whether anybody but everybody has rights."""
        return any(set(grants) - {"*"} for grants in self._groups.values())

    def nearest(self, name: str) -> str | None:
        """Return the group whose rules decide about a full name, or None: nothing is granted."""
        while name not in self._groups:
            if name == ROOT:
                return None
            name = split_name(name)[0]
        return name

    def may(self, principals: Collection[str], right: str, name: str) -> bool:
        """Tell whether a caller has a right to a name, a group's or an object's."""
        group = self.nearest(name)
        return group is not None and self._grants(group, principals, right)

    def may_somewhere(self, principals: Collection[str], right: str) -> bool:
        """Tell whether a caller has a right in any group."""
        return any(self._grants(group, principals, right) for group in self._groups)

    def visible_groups(self, principals: Collection[str]) -> frozenset[str]:
        """Return the groups with rules in which a caller may look up."""
        return frozenset(group for group in self._groups if self._grants(group, principals, LOOKUP))

    def hidden_in(self, group: str, principals: Collection[str]) -> frozenset[str]:
        """Return the last parts of what stands in a group and has rules that do not let a caller look it up."""
        visible = self.visible_groups(principals)
        places = (split_name(name) for name in self._groups if name != ROOT and name not in visible)
        return frozenset(part for parent, part in places if parent == group)

    def below(self, group: str) -> list[str]:
        """Return the groups with rules that stand in a group, at any depth."""
        start = ROOT if group == ROOT else group + "."
        return sorted(name for name in self._groups if name != group and name.startswith(start))

    def denial(
        self, identity: str | None, principals: Collection[str], right: str, name: str
    ) -> AccessDeniedError:
        """Make the error for a right that a caller does not have to a name."""
        who = describe_caller(identity, principals)
        group = self.nearest(name)
        reason = (
            "no rights are given there or further up" if group is None
            else f"the rights of {group!r} decide there and do not include it"
        )  # fmt: skip
        return AccessDeniedError(
            f"access denied: {who} lacks the right {right!r} to {name!r}; {reason}; "
            "whoever runs the name server grants it (`gpyro ns --rights FILE`, or rights=)"
        )

    def _grants(self, group: str, principals: Collection[str], right: str) -> bool:
        grants = self._groups[group]
        return any(not grants.get(who, _NOTHING).isdisjoint((right, ADMIN)) for who in principals)


_NOTHING: frozenset[str] = frozenset()


def make_rights(rights: Rights | Mapping[str, GroupRights] | None) -> Rights | None:
    """Return what a program gave as `rights=` as Rights; None stays None: everybody may do everything.

    Raises:
        ConfigurationError: it cannot be that.
    """
    return rights if rights is None or isinstance(rights, Rights) else Rights(rights)


def is_owner(identity: str | None, owner: str | None) -> bool:
    """Tell whether an identity is the owner that was noted of a registration.

    What is noted of callers without an identity is their address, so what could be one owns nothing. Those that
    gpyro itself gives could not.
    """
    if identity is None or identity != owner:
        return False
    return identity.startswith(GIVEN_BY_GPYRO) or ADDRESS_CHARACTERS.isdisjoint(identity)


def _group(group: object) -> str:
    try:
        return check_full_group(group)  # type: ignore[arg-type]
    except NamingError as exc:
        raise ConfigurationError(f"rights for {group!r}, which cannot be a group: {exc}") from exc


def _grants(group: str, grants: GroupRights) -> dict[str, frozenset[str]]:
    if not isinstance(grants, Mapping):
        raise ConfigurationError(f"rights of {group!r} are {grants!r} of type {type(grants).__name__}; {FORM}")
    return {_principal(group, who): _rights(group, who, rights) for who, rights in grants.items()}


def _principal(group: str, who: object) -> str:
    if not isinstance(who, str) or not who or who != who.strip():
        raise ConfigurationError(f"rights of {group!r} for {who!r}, which is no identity or role; {FORM}")
    return who


def _rights(group: str, who: str, rights: object) -> frozenset[str]:
    if isinstance(rights, str):
        raise ConfigurationError(
            f"rights of {group!r} give {who!r} the text {rights!r} in place of a set; write {{{rights!r}}}"
        )
    if not isinstance(rights, (AbstractSet, list, tuple)):
        raise ConfigurationError(f"rights of {group!r} give {who!r} {rights!r}, not a set; {FORM}")
    for right in rights:
        if right not in RIGHTS:
            raise ConfigurationError(
                f"rights of {group!r} give {who!r} {right!r}, which is no right; there are {', '.join(RIGHTS)}"
            )
    return frozenset(rights)


# -- as text -------------------------------------------------------------------------------------------------


def parse_rights(text: str, source: str = "rights") -> Rights:
    """Make rights of lines `:Group.sub  who[,who]  right[,right]`.

    Lines for the same group add up. `#` begins a comment, at the start of a line or behind a blank.

    Args:
        text: the lines.
        source: the file's name, for errors.

    Raises:
        ConfigurationError: a line is not of that form, or there is none; the message has file and line.
    """
    groups: dict[str, dict[str, set[str]]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        fields = re.sub(r"(^|\s)#.*", "", line).split()
        if fields:
            _add_line(groups, fields, f"{source}, line {number}")
    if not groups:
        raise ConfigurationError(f"{source} grants nothing, so everybody would be denied everything; {LINE_FORM}")
    return Rights(groups)


def _add_line(groups: dict[str, dict[str, set[str]]], fields: list[str], where: str) -> None:
    if len(fields) != 3:
        raise ConfigurationError(
            f"{where}: {len(fields)} fields in {' '.join(fields)[:100]!r}, but three are needed, with no blanks "
            f"beside the commas; {LINE_FORM}"
        )
    group, callers, rights = fields[0], fields[1].split(","), fields[2].split(",")
    try:
        Rights({group: {who: rights for who in callers}})
    except ConfigurationError as exc:
        raise ConfigurationError(f"{where}: {exc}") from exc
    for who in callers:
        groups.setdefault(group, {}).setdefault(who, set()).update(rights)
