"""The tree of names and its changes.

What every storage does is in `storage/conformance.py`, which runs against `NameTree` through MemoryStorage.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpyro.errors import NamingError
from gpyro.namerecords import Change, Changes, Member, Record, SystemMeta
from gpyro.names import GROUP, LEASE, MAX_DEPTH, MAX_MEMBERS, OBJECT
from gpyro.nametree import NameTree


def tree_of(*names: str) -> NameTree:
    """Return a tree with these names; one that ends with a dot is a group."""
    tree = NameTree()
    for name in names:
        if name.endswith("."):
            tree.apply_all(tree.plan_create_group(name[:-1], created=0))
        else:
            tree.apply_all(tree.plan_register(name, "uri", created=0))
    return tree


def state_of(tree: NameTree) -> object:
    return sorted(tree.records()), tree.digest, sorted(record.name for record in tree.walk()), len(tree)


def test_case_counts_and_composition_of_letters_too() -> None:
    assert len(tree_of(":a", ":A", ":\u00e9", ":e\u0301")) == 4


def test_system_meta_prints_as_pyro_prints_it() -> None:
    assert str(SystemMeta(OBJECT, 1795340977.39)) == "[type=1 timestamp=1795340977.39 owner=None]"
    assert str(SystemMeta(GROUP, 1.0, "me")) == "[type=0 timestamp=1.0 owner=me]"


def test_repr_of_tree_tells_how_much_is_in_it() -> None:
    assert repr(tree_of(":a.", ":a.x")) == "<NameTree 1 objects in 2 groups>"


def test_listing_of_100_000_names_stays_sorted_and_cheap_while_names_come_and_go() -> None:
    tree = tree_of(*(f":{number:06}" for number in range(100_000)))
    assert tree.list(":", 99_998, 10) == [("099998", OBJECT), ("099999", OBJECT)]
    order = tree._children[":"].order
    tree.apply_all(tree.plan_register(":000000x", "uri", created=0))
    tree.apply_all(tree.plan_unregister(":000001"))
    tree.apply_all(tree.plan_register(":zz", "uri", created=0))
    # The one sorted list was kept up to date, not made again.
    assert tree._children[":"].order is order
    assert tree.list(":", 0, 3) == [("000000", OBJECT), ("000000x", OBJECT), ("000002", OBJECT)]
    assert tree.list(":", 99_999) == [("099999", OBJECT), ("zz", OBJECT)]


def test_deleting_the_deepest_group_chain_works() -> None:
    groups = [":" + ".".join("g" * depth) for depth in range(1, MAX_DEPTH)]
    tree = tree_of(*(f"{group}." for group in groups), f"{groups[-1]}.x")
    changes = tree.apply_all(tree.plan_delete_group(":g"))
    assert [change.name for change in changes] == [f"{groups[-1]}.x", *reversed(groups)]
    assert len(tree) == 0 and tree.digest == 0


def test_planning_changes_nothing_and_undoing_takes_everything_back() -> None:
    tree = tree_of(":a.", ":a.b.", ":a.b.x", ":a.y")
    tree.apply_all(tree.plan_open_lease("lease", seconds=30, created=1.0))
    tree.apply_all(tree.plan_register(":a.y", "other", created=1.0, member=True, lease="lease"))
    before = state_of(tree)
    plans: list[Callable[[], Changes]] = [
        lambda: tree.plan_delete_group(":a"),
        lambda: tree.plan_close_lease("lease"),
        lambda: tree.plan_register(":z", "uri", created=2.0),
        lambda: tree.plan_set_meta(":a", b"m"),
        lambda: tree.plan_set_meta(":", b"m"),
        lambda: tree.plan_unregister(":a.y", "uri"),
        lambda: tree.plan_replace(":a.b", Record(":a.b", OBJECT, 900, 3.0, None, (Member("uri", 3.0),))),
        lambda: tree.plan_replace(":n.m.o", Record(":n.m.o", GROUP, 900, 3.0)),
        lambda: tree.plan_replace(":a.y.z", Record(":a.y.z", GROUP, 900, 3.0)),
    ]
    for plan in plans:
        changes = plan()
        assert state_of(tree) == before
        tree.apply_all(changes)
        assert state_of(tree) != before
        revisions = [change.revision for change in changes]
        assert len(set(revisions)) == len(revisions)
        tree.apply_all([change.undone() for change in reversed(changes)])
        assert state_of(tree) == before


def test_changes_put_in_place_elsewhere_make_an_equal_copy() -> None:
    tree, copy = NameTree(created=1.0), NameTree(created=2.0)
    plans: list[Callable[[], Changes]] = [
        lambda: tree.plan_create_group(":g", created=1.0, owner="me"),
        lambda: tree.plan_open_lease("lease", seconds=30, created=1.0),
        lambda: tree.plan_register(":g.x", "uri", created=2.0, lease="lease"),
        lambda: tree.plan_register(":g.x", "other", created=3.0, member=True),
        lambda: tree.plan_set_meta(":g", b"note"),
        lambda: tree.plan_close_lease("lease"),
    ]
    for plan in plans:
        changes = tree.apply_all(plan())
        copy.apply_all(changes)
        copy.apply_all(changes)  # Again changes nothing.
        assert state_of(copy) == state_of(tree)
        assert copy.revision == tree.revision
    assert [member.uri for member in copy.members(":g.x")] == ["other"]


def test_digest_tells_every_difference() -> None:
    records = [
        Record(":x", OBJECT, 2, 1.0, None, (Member("uri", 1.0),)),
        Record(":x", OBJECT, 4, 1.0, None, (Member("uri", 1.0),)),
        Record(":x", OBJECT, 2, 1.5, None, (Member("uri", 1.0),)),
        Record(":x", OBJECT, 2, 1.0, "me", (Member("uri", 1.0),)),
        Record(":x", OBJECT, 2, 1.0, None, (Member("other", 1.0),)),
        Record(":x", OBJECT, 2, 1.0, None, (Member("uri", 1.0, None, "lease"),)),
        Record(":x", OBJECT, 2, 1.0, None, (Member("uri", 1.0),), b"meta"),
        Record(":y", OBJECT, 2, 1.0, None, (Member("uri", 1.0),)),
        Record(":x", GROUP, 2, 1.0),
        Record("x", LEASE, 2, 1.0, seconds=30.0),
    ]
    digests = set()
    for record in records:
        tree = NameTree()
        tree.apply(Change(record.name, record.revision, None, record))
        digests.add(tree.digest)
    assert len(digests) == len(records)
    assert NameTree(created=7.0).digest == NameTree().digest == 0


def test_the_two_of_a_pair_never_give_one_revision_twice() -> None:
    first, second = NameTree(parity=0), NameTree(parity=1)
    given: list[int] = []
    for number in range(10):
        for tree in (first, second):
            for changes in (
                tree.apply_all(tree.plan_create_group(f":{number}", created=0)),
                tree.apply_all(tree.plan_delete_group(f":{number}")),
            ):
                given += [change.revision for change in changes]
    for tree, parity in ((first, 0), (second, 1)):
        assert tree.revision % 2 == parity
    assert len(set(given)) == 40
    second.apply_all(first.plan_create_group(":new", created=0))
    assert second.plan_create_group(":newer", created=0)[0].revision > first.revision


def test_several_addresses_under_one_name_come_and_go_one_by_one() -> None:
    tree = tree_of(":x")
    for uri in ("second", "third", "second"):
        tree.apply_all(tree.plan_register(":x", uri, created=2.0, owner=uri, member=True))
    assert [member.uri for member in tree.members(":x")] == ["uri", "third", "second"]
    tree.apply_all(tree.plan_unregister(":x", "uri"))
    assert tree.record(":x").owner == "third"
    with pytest.raises(NamingError, match="name not found: ':x' does not stand for uri"):
        tree.plan_unregister(":x", "uri")
    tree.apply_all(tree.plan_unregister(":x", "second"))
    tree.apply_all(tree.plan_unregister(":x", "third"))
    assert tree.kind(":x") is None


def test_number_of_addresses_under_one_name_is_bounded() -> None:
    tree = tree_of(":x")
    for number in range(MAX_MEMBERS - 1):
        tree.apply_all(tree.plan_register(":x", f"uri{number}", created=0, member=True))
    message = rf"^too many names: ':x' has {MAX_MEMBERS} addresses, which is the limit$"
    with pytest.raises(NamingError, match=message):
        tree.plan_register(":x", "one more", created=0, member=True)
    tree.apply_all(tree.plan_register(":x", "uri7", created=1, member=True))


def test_end_of_a_lease_takes_its_addresses_and_nothing_else() -> None:
    tree = tree_of(":kept", ":both")
    tree.apply_all(tree.plan_open_lease("one", seconds=30, created=0))
    tree.apply_all(tree.plan_register(":both", "leased", created=0, lease="one", member=True))
    tree.apply_all(tree.plan_register(":gone", "leased", created=0, lease="one"))
    assert tree.held_by("one") == [":both", ":gone"]
    changes = tree.apply_all(tree.plan_close_lease("one"))
    assert [change.name for change in changes] == [":both", ":gone", "one"]
    assert [record.name for record in tree.walk()] == [":both", ":kept"]
    assert tree.members(":both") == (Member("uri", 0),)
    assert tree.leases() == [] and tree.held_by("one") == [] and tree._held == {}
    with pytest.raises(NamingError, match=r"^lease is over: 'one'"):
        tree.plan_close_lease("one")
    with pytest.raises(NamingError, match=r"^lease is over: 'one'"):
        tree.plan_register(":new", "uri", created=0, lease="one")


def test_walk_meets_groups_before_what_is_in_them_and_goes_on_behind_any_name() -> None:
    names = [":a", ":b.", ":b.c.", ":b.c.x", ":b.d", ":b-", ":e.", ":f"]
    tree = tree_of(*names)
    order = [":a", ":b", ":b.c", ":b.c.x", ":b.d", ":b-", ":e", ":f"]
    assert [record.name for record in tree.walk()] == order
    for index, name in enumerate(order):
        assert [record.name for record in tree.walk(after=name)] == order[index + 1 :]
    assert [record.name for record in tree.walk(":b")] == [":b.c", ":b.c.x", ":b.d"]
    assert [record.name for record in tree.walk(":b", ":b.c.gone")] == [":b.c.x", ":b.d"]
    assert [record.name for record in tree.walk(":b", ":b.c.y")] == [":b.d"]
    assert [record.name for record in tree.walk(":b", ":b.gone.y")] == []


PARTS = st.sampled_from(["a", "b", "a-"])
NAMES = st.lists(PARTS, min_size=1, max_size=3).map(lambda parts: ":" + ".".join(parts))


STEPS = st.lists(st.tuples(NAMES, st.booleans()), max_size=12)


@given(STEPS, STEPS)
def test_replacing_makes_any_tree_equal_to_any_other(
    mine: list[tuple[str, bool]], theirs: list[tuple[str, bool]]
) -> None:
    trees = []
    for parity, steps in enumerate((mine, theirs)):
        tree = NameTree(parity=parity)
        for name, is_group in steps:
            record = Record(name, GROUP, 0, 0.0)
            if not is_group:
                record = Record(name, OBJECT, 0, 0.0, None, (Member("uri", 0.0),))
            tree.apply_all(tree.plan_replace(name, record))
        trees.append(tree)
    first, second = trees
    # What the other has not, the innermost first; then what it has.
    for name in sorted((record.name for record in first.walk()), reverse=True):
        if second.kind(name) is None:
            first.apply_all(first.plan_replace(name, None))
    for record in list(second.records()):
        first.apply_all(first.plan_replace(record.name, record))
    assert [(r.name, r.kind, r.members) for r in first.walk()] == [
        (r.name, r.kind, r.members) for r in second.walk()
    ]
    again = NameTree()
    for record in first.records():
        again.apply(Change(record.name, record.revision, None, record))
    assert again.digest == first.digest


def test_page_after_page_of_a_walk_is_the_walk_while_names_come_and_go() -> None:
    tree = tree_of(":g.", *(f":g.{number:03}" for number in range(50)))
    seen: list[str] = []
    after: str | None = None
    while True:
        page = []
        for record in tree.walk(":g", after):
            page.append(record.name)
            if len(page) == 7:
                break
        if not page:
            break
        seen += page
        after = page[-1]
        tree.apply_all(tree.plan_unregister(after))
    assert seen == [f":g.{number:03}" for number in range(50)]


def loaded(records: list[Record], revision: int = 100) -> NameTree:
    tree = NameTree()
    tree.load(records, revision)
    return tree


def test_loaded_tree_is_the_one_that_was_kept() -> None:
    tree = tree_of(":g.", ":g.x", ":g.sub.", ":g.sub.y", ":z")
    tree.apply_all(tree.plan_open_lease("lease", seconds=5.0, created=1.0))
    tree.apply_all(tree.plan_register(":held", "uri", created=2.0, lease="lease"))
    tree.apply_all(tree.plan_set_meta(":", b"meta"))
    again = loaded(sorted({tree.record(":"), *tree.records()}), tree.revision)
    assert (again.digest, again.revision, len(again)) == (tree.digest, tree.revision, len(tree))
    assert [*again.walk()] == [*tree.walk()]
    assert again.list(":g") == tree.list(":g")
    assert again.held_by("lease") == [":held"]
    # It goes on as the other one would.
    for each in (tree, again):
        each.apply_all(each.plan_delete_group(":g"))
        each.apply_all(each.plan_close_lease("lease"))
    assert again.digest == tree.digest


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([Record(":x", OBJECT, 1, 1.0)], "invalid record: ':x' is of kind 1 and has 0 addresses"),
        ([Record(":x", GROUP, 1, 1.0, None, (Member("uri", 1.0),))], "invalid record: ':x' is of kind 0"),
        ([Record(":x", 7, 1, 1.0)], "invalid record: ':x' is of kind 7"),
        ([Record(":", OBJECT, 1, 1.0, None, (Member("uri", 1.0),))], "invalid record: ':'"),
        ([Record(":g.x", OBJECT, 1, 1.0, None, (Member("uri", 1.0),))], "group not found: ':g'"),
        ([Record("relative", GROUP, 1, 1.0)], "invalid name: 'relative' does not begin with a colon"),
        ([Record(":a b", GROUP, 1, 1.0)], "invalid character"),
        ([Record(":g", GROUP, 1, 1.0), Record(":g", GROUP, 2, 1.0)], "name already exists: ':g'"),
        ([Record(":g", GROUP, 101, 1.0)], "invalid revision: ':g' has 101, the highest is 100"),
        ([Record(":g", GROUP, -1, 1.0)], "invalid revision: ':g' has -1"),
        ([Record(":lease", LEASE, 1, 1.0)], "invalid lease: ':lease'"),
        ([Record("lease", LEASE, 1, 1.0), Record("lease", LEASE, 1, 1.0)], "invalid lease: 'lease'"),
    ],
)
def test_records_that_cannot_be_are_not_loaded(records: list[Record], message: str) -> None:
    with pytest.raises(NamingError, match=f"^{message}"):
        loaded(records)
