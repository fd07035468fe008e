"""The tree that names form, and the changes from one of its states to the next.

    tree.plan_register(":Default.x", uri, created=now)    checks, and returns changes; nothing is in place yet
    tree.apply(change)                                    puts one in place
    tree.apply(change.undone())                           and takes it back

Changes of one plan belong together: all of them are kept, or none.

Every change has a revision of its own, higher than all before it. The two of a pair of name servers number with
different remainders of two, so that a revision is never given twice: equal revision, equal record.

Pure: times come in as arguments. Not made for several threads at once; its owner sees to that.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator

from gpyro.namerecords import Change, Changes, Member, Record, Records
from gpyro.names import (
    GROUP,
    LEASE,
    MAX_MEMBERS,
    MAX_NAMES,
    OBJECT,
    ROOT,
    FlatListing,
    Listing,
    Names,
    Reason,
    check_full_group,
    check_full_name,
    join_name,
    naming_error,
    split_name,
)

__all__ = ["NameTree", "check_page"]

DIGEST_MODULUS = 1 << 64


class _Children:
    """The last parts of the names in one group.

    `order` is None until somebody lists the group; from then on it is kept sorted, so that filling a group
    costs no sorting and a page of a large one costs only the page.
    """

    __slots__ = ("kinds", "order")

    def __init__(self) -> None:
        self.kinds: dict[str, int] = {}
        self.order: list[str] | None = None

    def add(self, part: str, kind: int) -> None:
        if self.order is not None and part not in self.kinds:
            insort(self.order, part)
        self.kinds[part] = kind

    def remove(self, part: str) -> None:
        del self.kinds[part]
        if self.order is not None:
            del self.order[bisect_left(self.order, part)]

    def sorted(self) -> list[str]:
        if self.order is None:
            self.order = sorted(self.kinds)
        return self.order

    def page(self, offset: int, limit: int | None) -> Listing:
        end = None if limit is None else offset + limit
        return [(part, self.kinds[part]) for part in self.sorted()[offset:end]]


class NameTree:
    """A tree of groups and objects in memory; every name given to it is a full one.

    Records by full name: what is asked most (`members`) is one look-up however deep the name is.

    Args:
        created: of the root group, in seconds since 1970.
        max_names: most objects and groups.
        parity: 0 or 1, the remainder of the revisions that this tree gives.
    """

    def __init__(self, *, created: float = 0.0, max_names: int = MAX_NAMES, parity: int = 0) -> None:
        self.max_names = max_names
        self.parity = parity
        #: The highest revision that was ever put in place.
        self.revision = 0
        #: The sum of all records' digests but the root's: equal trees have equal ones.
        self.digest = 0
        self._records: dict[str, Record] = {ROOT: Record(ROOT, GROUP, 0, created)}
        self._children: dict[str, _Children] = {ROOT: _Children()}
        self._leases: dict[str, Record] = {}
        #: Lease: the names with a member that hangs on it.
        self._held: dict[str, set[str]] = {}

    def __len__(self) -> int:
        """Return the number of objects and groups, without the root."""
        return len(self._records) - 1

    def __repr__(self) -> str:
        groups = len(self._children)
        return f"<NameTree {len(self._records) - groups} objects in {groups} groups>"

    # -- asking ----------------------------------------------------------------------------------------------

    def record(self, name: str) -> Record:
        """Return the record of an object or group.

        Raises:
            NamingError: there is no such name.
        """
        record = self._records.get(name)
        if record is None:
            raise naming_error(Reason.NAME_NOT_FOUND, check_full_name(name))
        return record

    def get(self, name: str) -> Record | None:
        """Return the record of a name or of a lease, or None."""
        return self._records.get(name) or self._leases.get(name)

    def members(self, name: str) -> tuple[Member, ...]:
        """Return the addresses under a name, the one that came first at the front; there is one at least.

        Raises:
            NamingError: there is no such name, or it is that of a group.
        """
        record = self._records.get(name)
        if record is None:
            raise naming_error(Reason.NAME_NOT_FOUND, check_full_name(name))
        if record.kind == GROUP:
            raise naming_error(Reason.RESOLVED_GROUP, name)
        return record.members

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
        """Return (full name, address) of every object, sorted by name; of several addresses the first."""
        return sorted((r.name, r.members[0].uri) for r in self._records.values() if r.kind == OBJECT)

    def walk(self, group: str = ROOT, after: str | None = None) -> Iterator[Record]:
        """Go through all that is under a group: each group before what is in it, each level sorted by parts.

        The tree may change meanwhile: what was there all the time is met once.

        Args:
            group: a full name; the group itself is not met.
            after: go on behind this full name, whether it is there (still) or not; None begins at the front.

        Raises:
            NamingError: there is no such group.
        """
        self._group(group)
        rest = [] if after is None else _parts_below(group, after)
        yield from self._walk(group, rest)

    def _walk(self, group: str, rest: Names) -> Iterator[Record]:
        children = self._children.get(group)
        if children is None:
            return
        parts = children.sorted().copy()
        start = 0
        if rest:
            start = bisect_right(parts, rest[0])
            inside = join_name(group, rest[0])
            if inside in self._children:
                yield from self._walk(inside, rest[1:])
        for part in parts[start:]:
            name = join_name(group, part)
            record = self._records.get(name)
            if record is not None:
                yield record
                if record.kind == GROUP:
                    yield from self._walk(name, [])

    def records(self) -> Iterator[Record]:
        """Go through all records, leases included, groups before what is in them; the tree must not change.

        The root is among them once it was changed.
        """
        yield from self._leases.values()
        # Sorted by depth: a group has fewer parts than what is in it.
        groups = sorted(self._children, key=lambda name: (name != ROOT, name.count(".")))
        yield from (record for record in map(self._records.__getitem__, groups) if record.revision)
        yield from (record for record in self._records.values() if record.kind == OBJECT)

    def kind(self, name: str) -> int | None:
        """Return GROUP or OBJECT, or None where there is nothing of that name."""
        record = self._records.get(name)
        return None if record is None else record.kind

    def count_groups(self) -> int:
        """Return how many groups there are, without the root."""
        return len(self._children) - 1

    def leases(self) -> Records:
        """Return the records of all leases."""
        return list(self._leases.values())

    def held_by(self, lease: str) -> Names:
        """Return the names that hang on a lease, sorted."""
        return sorted(self._held.get(lease, ()))

    # -- planning --------------------------------------------------------------------------------------------

    def plan_register(
        self, name: str, uri: str, *, created: float, owner: str | None = None, lease: str | None = None,
        replace: bool = False, member: bool = False, instead_of: tuple[Member, ...] | None = None,
    ) -> Changes:  # fmt: skip
        """Put an object's address under a name.

        Args:
            name: the full name.
            uri: the address; it is not looked at here.
            created: seconds since 1970.
            owner: who registers it.
            lease: the id of the lease that it hangs on; None stays until it is removed.
            replace: take the place of an object of that name; its user meta stays, as that is the name's.
            member: stand beside the addresses that are there already.
            instead_of: replace them if they are exactly these, or are gone; otherwise the name is taken.

        Raises:
            NamingError: the name is not right, is taken, its group is not there, or there is no such lease.
        """
        check_full_name(name)
        if lease is not None:
            self._lease(lease)
        old = self._records.get(name)
        new = Member(uri, created, owner, lease)
        if old is None:
            self._check_place(name)
            return [self._change(name, Record(name, OBJECT, self._next(), created, owner, (new,)))]
        replace = replace or (instead_of is not None and old.members == instead_of)
        if old.kind == GROUP or not (replace or member):
            raise naming_error(Reason.NAME_EXISTS, name)
        members: tuple[Member, ...] = (new,)
        if member:
            members = (*(m for m in old.members if m.uri != uri), new)
            if len(members) > MAX_MEMBERS:
                raise naming_error(Reason.TOO_MANY, name, f" has {MAX_MEMBERS} addresses, which is the limit")
        first = members[0]
        record = old._replace(
            revision=self._next(), created=first.created, owner=first.owner, members=members
        )
        return [self._change(name, record)]

    def plan_unregister(self, name: str, uri: str | None = None) -> Changes:
        """Remove an object's name, or only one of the addresses under it.

        Raises:
            NamingError: there is no such name or no such address under it, or it is that of a group.
        """
        check_full_name(name)
        record = self._records.get(name)
        if record is None:
            raise naming_error(Reason.NAME_NOT_FOUND, name)
        if record.kind == GROUP:
            raise naming_error(Reason.NO_OBJECT, name)
        left: tuple[Member, ...] = ()
        if uri is not None:
            left = tuple(member for member in record.members if member.uri != uri)
            if len(left) == len(record.members):
                raise naming_error(Reason.NAME_NOT_FOUND, name, f" does not stand for {uri}")
        return [self._with_members(record, left, 0)]

    def plan_create_group(self, name: str, *, created: float, owner: str | None = None) -> Changes:
        """Make an empty group; the group that it stands in must be there.

        Raises:
            NamingError: the name is not right, is taken, or its parent is no group.
        """
        if name == ROOT:
            raise naming_error(Reason.INVALID_GROUP, name, " is the root group, which is always there")
        check_full_group(name)
        old = self._records.get(name)
        if old is not None:
            raise naming_error(Reason.GROUP_EXISTS if old.kind == GROUP else Reason.NAME_EXISTS, name)
        self._check_place(name)
        return [self._change(name, Record(name, GROUP, self._next(), created, owner))]

    def plan_delete_group(self, name: str) -> Changes:
        """Remove a group with all that is in it, the innermost first.

        Raises:
            NamingError: there is no such group, or it is the root.
        """
        if name == ROOT:
            raise naming_error(Reason.ROOT_GROUP, name)
        self._group(name)
        gone = [self._records[name], *self.walk(name)][::-1]
        return [self._change(record.name, None, index) for index, record in enumerate(gone)]

    def plan_set_meta(self, name: str, meta: bytes | None) -> Changes:
        """Keep a value of the user's, as bytes, with an object or group; None takes it away.

        Raises:
            NamingError: there is no such name.
        """
        record = self.record(name)
        return [self._change(name, record._replace(revision=self._next(), meta=meta))]

    def plan_open_lease(
        self, lease: str, *, seconds: float, created: float, owner: str | None = None
    ) -> Changes:
        """Begin a lease, on which addresses may hang.

        Raises:
            NamingError: there is one with that id.
        """
        if lease in self._leases:
            raise naming_error(Reason.LEASE_EXISTS, lease)
        record = Record(lease, LEASE, self._next(), created, owner, seconds=seconds)
        return [self._change(lease, record)]

    def plan_close_lease(self, lease: str) -> Changes:
        """End a lease, and with it the addresses that hang on it.

        Raises:
            NamingError: there is none with that id.
        """
        self._lease(lease)
        changes = []
        for index, name in enumerate(self.held_by(lease)):
            record = self._records[name]
            left = tuple(member for member in record.members if member.lease != lease)
            changes.append(self._with_members(record, left, index))
        return [*changes, self._change(lease, None, len(changes))]

    def plan_replace(self, name: str, record: Record | None, *, keep_revision: bool = False) -> Changes:
        """Make a name or lease what it is elsewhere; for merging two copies.

        Its group is made where it is missing, with all groups above it; what stands in the way goes.

        Args:
            keep_revision: it is the record of the other copy, under which it has the same revision; otherwise it
                gets one of our own.
        """
        changes: Changes = []
        if record is None:
            old = self.get(name)
            if old is None:
                return []
            if old.kind == LEASE:
                return self.plan_close_lease(name)
            return self.plan_delete_group(name) if old.kind == GROUP else [self._change(name, None)]
        if record.kind != LEASE:
            changes += self._make_way(record)
        if not keep_revision:
            record = record._replace(revision=self._next(len(changes)))
        return [*changes, self._change(name, record)]

    def _make_way(self, record: Record) -> Changes:
        changes: Changes = []
        missing = []
        group = split_name(record.name)[0]
        while group not in self._children:
            missing.append(group)
            group = split_name(group)[0]
        for group in reversed(missing):
            new = Record(group, GROUP, self._next(len(changes)), record.created, record.owner)
            changes.append(self._change(group, new))
        old = self._records.get(record.name)
        if old is not None and old.kind != record.kind:
            below = [*self.walk(record.name)][::-1] if old.kind == GROUP else []
            for inner in below:
                changes.append(self._change(inner.name, None, len(changes)))
            changes.append(self._change(record.name, None, len(changes)))
        return changes

    # -- putting in place ------------------------------------------------------------------------------------

    def apply(self, change: Change) -> None:
        """Put a change in place, of whatever origin; that of a plan, of a disk, or of a twin."""
        old = self.get(change.name)
        new = change.after
        if old is not None and (new is None or old.kind != new.kind):
            self._remove(old)
            old = None
        elif old is not None:
            self.digest -= old.digest()
            self._let_go(old)
        if new is not None:
            self._put(new, is_new=old is None)
        self.digest %= DIGEST_MODULUS
        self.revision = max(self.revision, change.revision)

    def apply_all(self, changes: Changes) -> Changes:
        """Put changes in place, in order, and return them."""
        for change in changes:
            self.apply(change)
        return changes

    def load(self, records: Iterable[Record], revision: int) -> None:
        """Fill an empty tree with what was kept of another one, and check all of it; faster than `apply`.

        Args:
            records: each group before what is in it.
            revision: the highest that the other tree ever had.

        Raises:
            NamingError: a record cannot be where it is; the tree is of no use then.
        """
        digest, known, children = 0, self._records, self._children
        group, inside = ROOT, children[ROOT].kinds
        for record in records:
            name, kind, own_revision = record.name, record.kind, record.revision
            if own_revision > revision or own_revision < 0:
                raise naming_error("invalid revision", name, f" has {own_revision}, the highest is {revision}")
            digest += record.digest()
            if kind == LEASE:
                self._check_lease(record)
                self._leases[name] = record
                self._held.setdefault(name, set())
                continue
            if name == ROOT:
                known[ROOT] = _checked(record)
                continue
            _checked(record)
            parent, part = split_name(check_full_name(name))
            if parent != group:
                self._group(parent)
                group, inside = parent, children[parent].kinds
            if name in known:
                raise naming_error(Reason.NAME_EXISTS, name)
            known[name] = record
            inside[part] = kind
            if kind == GROUP:
                children[name] = _Children()
            for member in record.members:
                if member.lease is not None:
                    self._held.setdefault(member.lease, set()).add(name)
        self.digest = digest % DIGEST_MODULUS
        self.revision = revision

    def _check_lease(self, record: Record) -> None:
        if record.name.startswith(":") or record.name in self._leases or record.members:
            raise naming_error("invalid lease", record.name)

    def _put(self, record: Record, is_new: bool) -> None:
        parent = None
        if is_new and record.kind != LEASE and record.name != ROOT:
            # A KeyError comes before anything is changed.
            parent = self._children[split_name(record.name)[0]]
        self.digest += record.digest()
        if record.kind == LEASE:
            self._leases[record.name] = record
            self._held.setdefault(record.name, set())
            return
        self._records[record.name] = record
        if parent is not None:
            parent.add(split_name(record.name)[1], record.kind)
            if record.kind == GROUP:
                self._children[record.name] = _Children()
        for member in record.members:
            if member.lease is not None:
                self._held.setdefault(member.lease, set()).add(record.name)

    def _remove(self, record: Record) -> None:
        self.digest -= record.digest()
        self._let_go(record)
        if record.kind == LEASE:
            del self._leases[record.name]
            if not self._held.get(record.name):
                self._held.pop(record.name, None)
            return
        del self._records[record.name]
        if record.kind == GROUP:
            del self._children[record.name]
        group, part = split_name(record.name)
        self._children[group].remove(part)

    def _let_go(self, record: Record) -> None:
        for member in record.members:
            held = self._held.get(member.lease) if member.lease is not None else None
            if held is not None:
                held.discard(record.name)
                if not held and member.lease not in self._leases:
                    del self._held[member.lease]  # type: ignore[arg-type]

    # -- parts -----------------------------------------------------------------------------------------------

    def _next(self, index: int = 0) -> int:
        """Return the revision of the plan's change with this index."""
        first = self.revision + 1
        return first + (first % 2 != self.parity) + 2 * index

    def _change(self, name: str, after: Record | None, index: int = 0) -> Change:
        revision = self._next(index) if after is None else after.revision
        return Change(name, revision, self.get(name), after)

    def _with_members(self, record: Record, members: tuple[Member, ...], index: int) -> Change:
        """Return the change to these addresses; without any, the name goes."""
        if not members:
            return self._change(record.name, None, index)
        first = members[0]
        return self._change(
            record.name,
            record._replace(
                revision=self._next(index), created=first.created, owner=first.owner, members=members
            ),
        )

    def _group(self, name: str) -> _Children:
        children = self._children.get(name)
        if children is not None:
            return children
        if name in self._records:
            raise naming_error(Reason.NO_GROUP, name)
        raise naming_error(Reason.GROUP_NOT_FOUND, check_full_group(name))

    def _lease(self, lease: str) -> Record:
        record = self._leases.get(lease)
        if record is None:
            raise naming_error(Reason.LEASE_OVER, lease)
        return record

    def _check_place(self, name: str) -> None:
        group = split_name(name)[0]
        if group not in self._children:
            reason = Reason.PARENT_NO_GROUP if group in self._records else Reason.PARENT_NOT_FOUND
            raise naming_error(reason, name, f"; {group!r} would have to be a group")
        if len(self) >= self.max_names:
            raise naming_error(Reason.TOO_MANY, name, f" would be one more than {self.max_names} (max_names)")


def _checked(record: Record) -> Record:
    """Return a group or object that can be one.

    Raises:
        NamingError: it cannot.
    """
    if record.kind == OBJECT and record.members and record.name != ROOT:
        return record
    if record.kind == GROUP and not record.members:
        return record
    raise naming_error(
        "invalid record", record.name, f" is of kind {record.kind} and has {len(record.members)} addresses"
    )


def _parts_below(group: str, name: str) -> Names:
    """Return the parts of a name below a group; none where it does not stand in it, which begins at the front."""
    start = ROOT if group == ROOT else group + "."
    return name[len(start) :].split(".") if name.startswith(start) and name != ROOT else []


def check_page(offset: int, limit: int | None) -> None:
    """Refuse a page that cannot be: ValueError names it."""
    if offset < 0 or (limit is not None and limit < 0):
        raise ValueError(f"a page has offset {offset} and limit {limit}, but neither may be negative")
