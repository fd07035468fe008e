"""What is kept of names, as plain values: records, the changes from one to the next, and what was removed.

A change is the whole record of one name before and after, so it can be written to a disk, sent to a twin, put
in place again where it already is, and taken back, without knowing what it was for. Equal revision, equal record.

Pure: no tree, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from ormsgpack import packb

__all__ = ["Change", "Changes", "Grave", "Graves", "Member", "Record", "Records", "SystemMeta"]


@dataclass(frozen=True)
class SystemMeta:
    """What the tree itself notes of a name: its kind, when it came (seconds since 1970) and whose it is."""

    kind: int
    created: float
    owner: str | None = None

    def __str__(self) -> str:
        """Return it as `nsc showmeta` prints it. Source: Pyro 3.16, transcript A3."""
        return f"[type={self.kind} timestamp={self.created} owner={self.owner}]"


class Member(NamedTuple):
    """One address under a name: whose it is, and the id of the lease that it hangs on (None: it stays)."""

    uri: str
    created: float
    owner: str | None = None
    lease: str | None = None


class Record(NamedTuple):
    """All that is kept of one name.

    `name` is a full one, or the id of a lease, which has no colon. `meta` is the user's value as bytes, `seconds`
    the length of a lease.
    """

    name: str
    kind: int
    revision: int
    created: float
    owner: str | None = None
    members: tuple[Member, ...] = ()
    meta: bytes | None = None
    seconds: float = 0.0

    def digest(self) -> int:
        """Return 64 bits that differ where anything of the record differs; 0 for a root that nobody changed."""
        if self.revision == 0:
            return 0
        name, kind, revision, created, owner, members, meta, seconds = self
        fields = (name, kind, revision, created, owner, [*map(tuple, members)], meta, seconds)
        return int.from_bytes(blake2b(packb(fields), digest_size=8).digest(), "big")


class Change(NamedTuple):
    """One name before and after; None is "not there"."""

    name: str
    revision: int
    before: Record | None
    after: Record | None

    def undone(self) -> Change:
        """Return the change back."""
        return Change(self.name, self.revision, self.after, self.before)


class Grave(NamedTuple):
    """A name was removed: in which revision, and what it was (revision and addresses) as the remover knew it."""

    revision: int
    covers: int
    uris: tuple[str, ...] = ()

    @classmethod
    def of(cls, change: Change) -> Grave:
        """Return that of a change that removes something."""
        assert change.before is not None
        return cls(change.revision, change.before.revision, tuple(m.uri for m in change.before.members))

    def holds(self, record: Record) -> bool:
        """Tell whether it is this record that was removed.

        A registration that was never acknowledged may have got another revision on the other side.
        """
        if record.revision <= self.covers:
            return True
        uris = {member.uri for member in record.members}
        return bool(uris) and uris <= set(self.uris) and record.revision < self.revision


#: By full name.
Graves = dict[str, Grave]


#: These have names because `list` is a method of those who use them.
Records = list[Record]
Changes = list[Change]
