"""What becomes of each name when two copies that changed apart meet, and that both are equal afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpyro._naming.guard import Guard
from gpyro._naming.merging import (
    Verdict,
    decide,
    differing,
    pack_change,
    replay,
    unpack_change,
    without_lost_leases,
)
from gpyro._naming.pairing import TWIN_ID, PairState
from gpyro._naming.primary import Primary
from gpyro._naming.secondary import Secondary
from gpyro._naming.synchronising import digests, synchronise
from gpyro._naming.twin import TwinObject
from gpyro.errors import NamingError, ProtocolError, URIError
from gpyro.namerecords import Grave, Member, Record
from gpyro.names import GROUP, LEASE, OBJECT
from gpyro.nametree import NameTree
from gpyro.proxy import Proxy
from gpyro.storage.memory import MemoryStorage
from gpyro.uri import PyroURI


def thing(revision: int, *uris: str, name: str = ":x", lease: str | None = None) -> Record:
    return Record(name, OBJECT, revision, 1.0, None, tuple(Member(uri, 1.0, None, lease) for uri in uris))


GROUP_RECORD = Record(":x", GROUP, 8, 1.0)


@pytest.mark.parametrize(
    ("mine", "theirs", "my_grave", "their_grave", "expected"),
    [
        (None, None, None, None, None),
        (thing(4, "a"), None, None, None, thing(4, "a")),
        (None, thing(5, "b"), None, None, thing(5, "b")),
        # Removed there, in the version that we have, or in a later one.
        (thing(4, "a"), None, None, Grave(7, 4), None),
        (thing(4, "a"), None, None, Grave(9, 6), None),
        (None, thing(5, "b"), Grave(8, 5), None, None),
        # Removed there as the same registration, which got another revision here and was never acknowledged.
        (thing(8, "a"), None, None, Grave(9, 5, ("a",)), None),
        (thing(8, "a"), None, None, Grave(7, 5, ("a",)), thing(8, "a")),
        (thing(8, "b"), None, None, Grave(9, 5, ("a",)), thing(8, "b")),
        # Registered anew here meanwhile, which the other one did not know.
        (thing(6, "a"), None, None, Grave(7, 4), thing(6, "a")),
        (None, thing(7, "b"), Grave(8, 5), None, thing(7, "b")),
        # Both have it.
        (thing(4, "a"), thing(7, "a"), None, None, thing(7, "a")),
        (thing(8, "a"), thing(7, "a"), None, None, thing(8, "a")),
        (thing(8, "a", "b"), thing(7, "a", "c"), None, None, thing(8, "a", "b", "c")),
        (thing(8, "a"), thing(9, "b", "c"), None, None, thing(9, "b", "c", "a")),
    ],
)
def test_name_becomes_what_nobody_loses_by(
    mine: Record | None, theirs: Record | None, my_grave: Grave | None, their_grave: Grave | None,
    expected: Record | None,
) -> None:  # fmt: skip
    assert decide(mine, theirs, my_grave, their_grave, base=0) == Verdict(expected)


def test_name_that_both_gave_away_stays_with_the_later_one_and_is_told() -> None:
    record, conflict = decide(thing(8, "a"), thing(9, "b"), None, None, base=6)
    assert record == thing(9, "b")
    assert conflict == "':x' was given to two objects; it stands for b, no longer for a"


def test_version_that_both_had_is_replaced_without_a_conflict() -> None:
    assert decide(thing(6, "a"), thing(9, "b"), None, None, base=6) == Verdict(thing(9, "b"))


def test_group_stays_where_the_other_side_has_an_object_and_that_is_told() -> None:
    for pair in ((GROUP_RECORD, thing(9, "b")), (thing(9, "b"), GROUP_RECORD)):
        record, conflict = decide(*pair, None, None, base=6)
        assert record == GROUP_RECORD
        assert conflict == "':x' is a group on one side, so it no longer stands for b"


def test_addresses_of_a_lease_that_is_over_are_left_out() -> None:
    record = thing(4, "a", lease="over")
    both = record._replace(members=(*record.members, Member("b", 1.0)))
    assert without_lost_leases(record, {"over"}) is record
    assert without_lost_leases(record, set()) is None
    assert without_lost_leases(both, set()) == thing(4, "b")
    assert without_lost_leases(GROUP_RECORD, set()) is GROUP_RECORD


def test_names_that_differ_are_found_whichever_side_lacks_them() -> None:
    assert sorted(differing({":a": 1, ":b": 2, ":c": 3}, {":a": 1, ":b": 9, ":d": 4})) == [":b", ":c", ":d"]


def test_change_travels_as_plain_lists_and_what_is_none_is_refused() -> None:
    for record in (thing(4, "a", "b", lease="l"), GROUP_RECORD, Record("l", LEASE, 3, 1.0, "me", seconds=5.0)):
        assert unpack_change(pack_change(record.name, record.revision, record)) == (
            record.name, record.revision, record,
        )  # fmt: skip
    assert unpack_change(pack_change(":x", 7, None)) == (":x", 7, None)
    rest: list[Any] = [0.0, None, [], None, 0.0]
    bad: list[Any] = [[], [":x"], 5, [":x", 1, 7, *rest], [":x", 1, OBJECT, *rest]]
    for packed in bad:
        with pytest.raises(ValueError, match="is no change of a name"):
            unpack_change(packed)


def test_changes_that_do_not_fit_leave_everything_as_it_was() -> None:
    tree = NameTree()
    tree.apply_all(tree.plan_create_group(":g", created=1.0))
    before = tree.digest
    with pytest.raises(KeyError):
        replay(tree, [(":g.x", 9, thing(9, "a", name=":g.x")), (":nope.x", 11, thing(11, "a", name=":nope.x"))])
    assert tree.digest == before and tree.kind(":g.x") is None


# -- two copies, with everything but the network between them -------------------------------------------------


class Line:
    """Stands for a proxy: calls the twin's object, with what travels copied."""

    def __init__(self, twin: TwinObject) -> None:
        self._twin = twin
        self.URI = PyroURI("127.0.0.1", TWIN_ID, 1)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._twin, name)
        return method

    def _setTimeout(self, seconds: float) -> None:
        """It is never slow."""

    def _release(self) -> None:
        """Nothing is held."""


def make_pair() -> tuple[Primary, Secondary]:
    """Return both sides, which know each other and have not met."""
    twins: list[TwinObject] = []

    def connect(other: int) -> Callable[[PyroURI], Any]:
        return lambda uri: Line(twins[other])

    here = PyroURI("127.0.0.1", TWIN_ID, 1)
    pairs = (
        Primary(MemoryStorage(), here, here, connect(1)),
        Secondary(MemoryStorage(), here, here, connect(0)),
    )
    for pair in pairs:
        twins.append(TwinObject(pair, Guard(None)))
        pair._become(PairState.SINGLE)
    return pairs


def part(pairs: tuple[Primary, Secondary]) -> None:
    """They lose each other."""
    for pair in pairs:
        pair._lose(pair.term, "parted")
        assert pair.state is PairState.SINGLE


def check_equal(pairs: tuple[Primary, Secondary]) -> None:
    first, second = pairs
    assert [pair.state for pair in pairs] == [PairState.LEADING, PairState.FOLLOWING]
    assert first.storage.inspect(digests) == second.storage.inspect(digests)
    assert first.storage.digest == second.storage.digest
    assert first.base == second.base == first.storage.revision == second.storage.revision


PARTS = st.sampled_from(["a", "b"])
NAMES = st.lists(PARTS, min_size=1, max_size=3).map(lambda parts: ":" + ".".join(parts))
ACTIONS = st.sampled_from(["register", "member", "unregister", "group", "delete", "meta", "lease"])
STEPS = st.tuples(st.integers(0, 1), ACTIONS, NAMES)


@settings(max_examples=300)
@given(st.lists(st.lists(STEPS, max_size=12), min_size=1, max_size=3))
def test_copies_are_equal_after_any_changes_apart(rounds: list[list[tuple[int, str, str]]]) -> None:
    pairs = make_pair()
    count = 0
    for steps in rounds:
        for side, what, name in steps:
            count += 1
            storage = pairs[side].storage
            try:
                if what in ("register", "member"):
                    storage.register(name, f"PYRO://127.0.0.1:1/{count}", created=1.0, member=what == "member")
                elif what == "unregister":
                    storage.unregister(name)
                elif what == "group":
                    storage.create_group(name, created=1.0)
                elif what == "delete":
                    storage.delete_group(name)
                elif what == "meta":
                    storage.set_meta(name, b"%d" % count)
                else:
                    storage.open_lease(f"lease{count}", seconds=5.0, created=1.0)
                    storage.register(name, f"PYRO://127.0.0.1:1/{count}", created=1.0, lease=f"lease{count}")
            except NamingError:
                continue
        synchronise(pairs[0])
        check_equal(pairs)
        part(pairs)


def test_what_only_one_side_has_done_is_done_on_both() -> None:
    pairs = make_pair()
    first, second = (pair.storage for pair in pairs)
    first.create_group(":g", created=1.0)
    first.register(":g.both", "PYRO://127.0.0.1:1/uri", created=1.0)
    first.register(":g.gone", "PYRO://127.0.0.1:1/uri", created=1.0)
    synchronise(pairs[0])
    part(pairs)
    second.unregister(":g.gone")
    second.register(":g.new", "PYRO://127.0.0.1:1/second", created=2.0)
    second.set_meta(":g", b"note")
    first.register(":g.other", "PYRO://127.0.0.1:1/first", created=2.0)
    synchronise(pairs[0])
    check_equal(pairs)
    expected = [(":g.both", "PYRO://127.0.0.1:1/uri"), (":g.new", "PYRO://127.0.0.1:1/second"), (":g.other", "PYRO://127.0.0.1:1/first")]
    assert first.flatlist() == second.flatlist() == expected
    assert first.get_meta(":g") == second.get_meta(":g") == b"note"
    assert pairs[0].conflicts == pairs[1].conflicts == 0


def test_name_server_that_has_lost_everything_gets_it_back() -> None:
    pairs = make_pair()
    pairs[1].storage.create_group(":g", created=1.0)
    for number in range(5_000):
        pairs[1].storage.register(f":g.{number}", f"PYRO://127.0.0.1:1/{number}", created=1.0)
    synchronise(pairs[0])
    check_equal(pairs)
    assert len(pairs[0].storage.list(":g")) == 5_000
    # As it stands there: nothing had to be sent back.
    assert pairs[0].storage.record(":g.7").revision == pairs[1].storage.record(":g.7").revision


def test_conflict_is_counted_and_told_by_both() -> None:
    pairs = make_pair()
    synchronise(pairs[0])
    part(pairs)
    pairs[0].storage.register(":x", "PYRO://127.0.0.1:1/first", created=1.0)
    pairs[1].storage.register(":x", "PYRO://127.0.0.1:1/second", created=1.0)
    synchronise(pairs[0])
    check_equal(pairs)
    for pair in pairs:
        assert pair.status()["conflicts"] == 1
        assert "':x' was given to two objects" in pair.status()["recent_conflicts"][0]


def test_lease_that_ran_out_here_lives_on_where_it_was_renewed() -> None:
    pairs = make_pair()
    pairs[0].storage.open_lease("one", seconds=5.0, created=1.0)
    pairs[0].storage.register(":x", "PYRO://127.0.0.1:1/uri", created=1.0, lease="one")
    synchronise(pairs[0])
    part(pairs)
    pairs[1].storage.close_lease("one")
    pairs[1].forget_graves_of([":x", "one"])
    synchronise(pairs[0])
    check_equal(pairs)
    assert pairs[1].storage.held_by("one") == [":x"]
    part(pairs)
    # Closed by its holder it is gone.
    pairs[1].storage.close_lease("one")
    synchronise(pairs[0])
    check_equal(pairs)
    assert pairs[0].storage.leases() == [] and pairs[0].storage.kind(":x") is None


def test_word_from_another_term_is_refused() -> None:
    pairs = make_pair()
    synchronise(pairs[0])
    old = pairs[1].term
    part(pairs)
    synchronise(pairs[0])
    for say in (
        lambda: pairs[1].on_apply(old, 0, []),
        lambda: pairs[1].on_beat(old, 0, 0),
        lambda: pairs[1].on_install(pairs[1].term, []),
        lambda: pairs[0].on_change(old, "unregister", [":x"], {}),
        lambda: pairs[0].on_change(pairs[0].term, "close", [], {}),
    ):
        with pytest.raises(ProtocolError):
            say()
    check_equal(pairs)


def test_two_primaries_are_told_so() -> None:
    pairs = make_pair()
    pairs[0]._connect = lambda uri: cast(Proxy, Line(TwinObject(pairs[0], Guard(None))))
    with pytest.raises(ProtocolError, match="both name servers of the pair are primary"):
        synchronise(pairs[0])


def test_pair_tells_its_state() -> None:
    pairs = make_pair()
    assert "<Primary, degraded, single copy, twin PYRO://127.0.0.1:1/" in repr(pairs[0])
    synchronise(pairs[0])
    assert "<Secondary, paired, following" in repr(pairs[1])
    assert pairs[0].status()["degraded_seconds"] == 0.0


def test_group_stays_where_something_new_stands_in_it_though_the_other_side_has_removed_it() -> None:
    for remover in (0, 1):
        pairs = make_pair()
        pairs[0].storage.create_group(":g", created=1.0)
        pairs[0].storage.register(":g.old", "PYRO://127.0.0.1:1/old", created=1.0)
        synchronise(pairs[0])
        part(pairs)
        pairs[remover].storage.delete_group(":g")
        pairs[1 - remover].storage.register(":g.new", "PYRO://127.0.0.1:1/new", created=2.0)
        synchronise(pairs[0])
        check_equal(pairs)
        for pair in pairs:
            assert pair.storage.flatlist() == [(":g.new", "PYRO://127.0.0.1:1/new")]


def test_address_that_was_removed_while_the_twin_was_away_does_not_come_back() -> None:
    for side in (0, 1):
        pairs = make_pair()
        for name in ("dead", "alive"):
            pairs[0].storage.register(":x", f"PYRO://127.0.0.1:1/{name}", created=1.0, member=True)
        synchronise(pairs[0])
        part(pairs)
        pairs[side].storage.unregister(":x", "PYRO://127.0.0.1:1/dead")
        synchronise(pairs[0])
        check_equal(pairs)
        assert [member.uri for member in pairs[0].storage.members(":x")] == ["PYRO://127.0.0.1:1/alive"]


@pytest.mark.parametrize(
    ("method", "args", "options"),
    [
        ("close", [], {}),
        ("register", [":x", None], {"created": 0.0}),
        ("register", [":x", "not an address"], {"created": 0.0}),
        ("register", [":a..b", "PYRO://127.0.0.1:1/x"], {"created": 0.0}),
        ("register", [":x", "PYRO://127.0.0.1:1/x"], {"created": "now"}),
        ("register", [":x", "PYRO://127.0.0.1:1/x"], {"created": 0.0, "owner": 5}),
        ("register", [":x", "PYRO://127.0.0.1:1/x"], {"created": 0.0, "more": 5}),
        ("register", [":x", "PYRO://127.0.0.1:1/x"], {"created": 0.0, "instead_of": [("x", 0.0)]}),
        ("set_meta", [":", "text"], {}),
        ("open_lease", ["l"], {"seconds": 1e9, "created": 0.0}),
        ("open_lease", [":name"], {"seconds": 5.0, "created": 0.0}),
        ("close_leases", [[5]], {}),
        ("unregister", [], {}),
    ],
)
def test_change_that_is_none_is_refused_and_nothing_is_kept(
    method: str, args: list[Any], options: dict[str, Any]
) -> None:
    pairs = make_pair()
    synchronise(pairs[0])
    with pytest.raises((ProtocolError, NamingError, URIError, ValueError)):
        pairs[0].on_change(pairs[0].term, method, args, options)
    assert len(pairs[0].storage) == 0 and pairs[0].storage.leases() == []


def test_record_revision_or_address_that_is_none_is_refused() -> None:
    pairs = make_pair()
    pairs[1].on_begin("term", PyroURI("127.0.0.1", TWIN_ID, 1))
    for packed in (
        [":x", 1 << 60],
        [":", 3],
        [":x", 3, OBJECT, 0.0, None, [["no address", 0.0, None, None]], None, 0.0],
        [":a b", 3, GROUP, 0.0, None, [], None, 0.0],
        [":x", 3, GROUP, 0.0, None, [], "text", 0.0],
    ):
        with pytest.raises((ProtocolError, NamingError, URIError)):
            pairs[1].on_install("term", [packed])
    with pytest.raises(ProtocolError, match="is no revision"):
        pairs[1].on_finish("term", 2**63 - 2, 0, [])
    for address in (5, "text", PyroURI("127.0.0.1", ":other", 1)):
        with pytest.raises(NamingError, match="is no address of a twin"):
            pairs[0].on_hello(address)  # type: ignore[arg-type]
        with pytest.raises(NamingError, match="is no address of a twin"):
            pairs[1].on_begin("term", address)  # type: ignore[arg-type]
    assert len(pairs[1].storage) == 0
