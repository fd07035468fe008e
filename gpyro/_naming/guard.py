"""Whether the caller of the running call may do what it asks the name server for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gpyro._naming.rights import LOOKUP, GroupRights, Rights, is_owner, make_rights
from gpyro.context import current_call
from gpyro.errors import AccessDeniedError
from gpyro.namerecords import Member, Record
from gpyro.names import ROOT

__all__ = ["Guard", "owner_of_call"]


class Guard:
    """The rights of one name server, asked for the running call.

    Without rights everybody may do everything. Calls from this process itself are not restricted; those that it
    makes while it serves a caller count as that caller's.
    """

    def __init__(self, rights: Rights | Mapping[str, GroupRights] | None) -> None:
        self.rights = make_rights(rights)

    def __repr__(self) -> str:
        return f"<Guard {'without rights' if self.rights is None else self.rights}>"

    @property
    def is_open(self) -> bool:
        """True where the running call may do everything."""
        return self.rights is None or current_call.caller is None

    def require(self, right: str, *names: str) -> None:
        """See that the caller has a right to all these names.

        Raises:
            AccessDeniedError: to one of them it has not.
        """
        caller = current_call.caller
        if self.rights is None or caller is None:
            return
        for name in names:
            if not self.rights.may(caller.principals, right, name):
                raise self.rights.denial(caller.identity, caller.principals, right, name)

    def require_unless_owner(self, right: str, name: str, record: Record | None, uri: str | None = None) -> None:
        """Like `require`, but who registered all that it is about needs no right.

        Args:
            record: what stands under the name, None for nothing.
            uri: the one address that it is about; None is all of them.
        """
        if self.rights is not None and record is not None:
            members = record.members or (Member("", record.created, record.owner),)
            concerned = [member for member in members if uri is None or member.uri == uri]
            if concerned and all(is_owner(current_call.identity, member.owner) for member in concerned):
                return
        self.require(right, name)

    def may_unless_owner(self, right: str, name: str, record: Record) -> bool:
        """Tell whether `require_unless_owner` would pass."""
        try:
            self.require_unless_owner(right, name, record)
        except AccessDeniedError:
            return False
        return True

    def require_anywhere(self, right: str) -> None:
        """See that the caller has a right in any group at all.

        Raises:
            AccessDeniedError: it has it nowhere.
        """
        rights, caller = self.rights, current_call.caller
        if rights is not None and caller is not None and not rights.may_somewhere(caller.principals, right):
            raise rights.denial(caller.identity, caller.principals, right, ROOT)

    def is_callers_own(self, owner: str | None) -> bool:
        """Tell whether the caller may use what it knows the unguessable id of, by who is noted as its owner.

        Where there are rights and the owner is an identity, it has to be the caller's.
        """
        return self.is_open or not is_owner(owner, owner) or is_owner(current_call.identity, owner)

    def require_below(self, right: str, group: str) -> None:
        """See that the caller has a right to a group, and to the groups in it that have rights of their own."""
        if self.rights is not None:
            self.require(right, group, *self.rights.below(group))

    def hidden_in(self, group: str) -> frozenset[str]:
        """Return the last parts of what stands in a group and is not for the caller's eyes."""
        caller = current_call.caller
        if self.rights is None or caller is None:
            return frozenset()
        return self.rights.hidden_in(group, caller.principals)

    def sight(self) -> Callable[[str], bool]:
        """Return what tells whether the caller may look up a full name; for many names at once."""
        caller = current_call.caller
        if self.rights is None or caller is None:
            return lambda name: True
        rights, visible = self.rights, self.rights.visible_groups(caller.principals)
        return lambda name: rights.nearest(name) in visible

    def may_look_up(self, name: str) -> bool:
        """Tell whether the caller may look up a full name."""
        caller = current_call.caller
        return self.rights is None or caller is None or self.rights.may(caller.principals, LOOKUP, name)


def owner_of_call() -> str | None:
    """Return who calls, for the system meta: an identity, "host:port", or None for this process itself."""
    caller = current_call.caller
    if caller is None:
        return None
    if caller.identity is not None:
        return str(caller.identity)
    return ":".join(map(str, caller.addr[:2])) if isinstance(caller.addr, tuple) else str(caller.addr)
