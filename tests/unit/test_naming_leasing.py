"""Leases on paper, with times as arguments, and what the name server's object does with them."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpyro import hub, naming
from gpyro._naming.expiring import Leases
from gpyro._naming.leasing import ANSWER_SECONDS, LATE_SECONDS, LOOK_SECONDS, MAX_LEASES, LeaseBook, check_length
from gpyro._naming.rights import is_owner
from gpyro.context import Call, enter_scope
from gpyro.errors import AccessDeniedError, NamingError
from gpyro.namerecords import Member
from gpyro.objects import ObjBase
from gpyro.storage.memory import MemoryStorage

URI = "PYRO://localhost:7766/abc"
OTHER = "PYRO://localhost:7767/def"
#: The promise: names are gone this much after the length of their lease.
SLACK_SECONDS = 2.0
#: What sums of a few thousand times lose at most: a look that comes this close to a bound may fall on either side.
ROUNDING_SECONDS = 1e-6


class Caller:
    """A connection, as far as the book looks at it."""

    def __init__(self) -> None:
        self.open = True

    def is_open(self) -> bool:
        return self.open


class Watched:
    """A book that is looked at each second from 0.0 on, as the wheel does."""

    def __init__(self, *leases: float) -> None:
        self.book = LeaseBook()
        self.now = 0.0
        self.over: dict[str, float] = {}
        self.events: list[tuple[str, str]] = []
        self.book.listeners.append(lambda event, lease: self.events.append((event, lease)))
        for number, seconds in enumerate(leases):
            self.book.add(str(number), seconds, self.now)

    def look(self) -> None:
        for lease in self.book.look(self.now):
            assert self.book.begin_closing(lease, self.now)
            self.book.remove(lease)
            self.over[lease] = self.now

    def run(self, until: float, step: float = LOOK_SECONDS) -> None:
        while self.now + step <= until:
            self.now += step
            self.look()


def reason_of(error: pytest.ExceptionInfo[NamingError]) -> Any:
    return error.value.reason


# -- the book ------------------------------------------------------------------------------------------------


def test_lease_is_live_then_stale_then_over() -> None:
    watched = Watched(30.0)
    watched.run(19.0)
    assert not watched.book.is_stale("0")
    watched.run(20.0)
    assert watched.book.is_stale("0")
    assert watched.book.stale == 1
    watched.run(30.0)
    assert watched.over == {}
    watched.run(40.0)
    assert watched.over == {"0": 31.0}
    assert len(watched.book) == 0
    assert watched.events == [("stale", "0")]


def test_renewal_begins_anew_and_makes_a_stale_lease_alive() -> None:
    watched = Watched(3.0)
    watched.run(2.0)
    assert watched.book.is_stale("0")
    watched.book.renew("0", watched.now)
    assert not watched.book.is_stale("0")
    watched.run(5.0)
    assert watched.over == {}
    watched.run(7.0)
    assert watched.over == {"0": 6.0}
    assert watched.events == [("stale", "0"), ("alive", "0"), ("stale", "0")]
    assert watched.book.renewals == 1


def test_renewal_of_a_lease_that_is_over_is_refused() -> None:
    watched = Watched(1.0)
    watched.run(5.0)
    with pytest.raises(NamingError, match="lease is over: '0'; open a new one") as error:
        watched.book.renew("0", watched.now)
    assert reason_of(error) == "lease is over"


def test_renewal_that_comes_while_names_are_removed_is_refused_unless_that_fails() -> None:
    book = LeaseBook()
    book.add("a", 1.0, 0.0)
    assert book.begin_closing("a", 1.2) is False
    assert book.begin_closing("a", 1.3) is True
    with pytest.raises(NamingError, match="lease is over"):
        book.renew("a", 1.3)
    book.stop_closing("a")
    book.renew("a", 1.4)
    assert book.begin_closing("a", 1.5) is False


@given(
    seconds=st.floats(1.0, 60.0),
    gaps=st.lists(st.floats(0.0, 1.0), max_size=40),
    offset=st.floats(0.0, 1.0),
    lateness=st.lists(st.floats(0.0, LATE_SECONDS - ROUNDING_SECONDS), min_size=1, max_size=20),
)
def test_lease_is_never_over_before_its_length_and_always_within_two_seconds(
    seconds: float, gaps: list[float], offset: float, lateness: list[float]
) -> None:
    """Whatever the renewals' times are, and however busy the hub is within the bound."""
    watched = Watched(seconds)
    watched.now = last = 0.0
    renewals = []
    for gap in gaps:
        last += gap * seconds
        renewals.append(last)
    watched.now = -1.0 + offset
    late = itertools.cycle(lateness)
    while not watched.over:
        following = watched.now + LOOK_SECONDS + next(late)
        while renewals and renewals[0] <= following:
            watched.book.renew("0", renewals.pop(0))
        watched.now = following
        watched.look()
    assert last + seconds <= watched.over["0"] <= last + seconds + SLACK_SECONDS


@given(stops=st.lists(st.tuples(st.floats(0.0, 29.0), st.floats(2.0, 5000.0)), min_size=1, max_size=5))
def test_hub_that_is_stopped_leaves_each_lease_what_it_had(stops: list[tuple[float, float]]) -> None:
    """Nobody could be heard meanwhile, so a holder that is there has as long to be heard as without the stop."""
    watched = Watched(30.0)
    for runs, stopped in stops:
        watched.run(watched.now + runs)
        left = 30.0 - (watched.now - watched.book._held)
        watched.now += stopped
        watched.look()
        assert watched.over == {}
        assert 30.0 - (watched.now - watched.book._held) >= left - LOOK_SECONDS - ROUNDING_SECONDS
        watched.book.renew("0", watched.now)


def test_stopped_hub_hears_a_waiting_renewal_before_anything_is_over() -> None:
    watched = Watched(1.0)
    watched.run(1.0)
    watched.now += 3600.0
    # The turn that comes late, and the one that follows at once, as timers do; the renewal is read between them.
    watched.look()
    watched.book.renew("0", watched.now + 0.001)
    watched.now += 0.002
    watched.look()
    assert watched.over == {}


def test_holder_that_vanished_is_over_after_a_stop_when_its_rest_is() -> None:
    watched = Watched(10.0)
    watched.run(4.0)
    watched.now += 1000.0
    watched.look()
    watched.run(1020.0)
    assert 1009.0 <= watched.over["0"] <= 1009.0 + SLACK_SECONDS


def test_renewal_that_is_read_before_the_late_look_counts_once() -> None:
    watched = Watched(10.0)
    watched.run(1.0)
    watched.now += 100.0
    watched.book.renew("0", watched.now)
    watched.run(150.0)
    assert 111.0 <= watched.over["0"] <= 111.0 + SLACK_SECONDS


def test_lease_after_a_time_without_any_is_not_thought_late() -> None:
    book = LeaseBook()
    book.add("early", 1.0, 0.0)
    book.remove("early")
    book.add("a", 5.0, 1000.0)
    assert book.look(1001.0) == []
    assert book.look(1002.0) == book.look(1003.0) == book.look(1004.0) == book.look(1005.0) == []
    assert book.look(1006.0) == ["a"]


def test_restart_gives_all_their_length_anew() -> None:
    watched = Watched(6.0, 3.0)
    watched.run(2.0)
    watched.book.restart(watched.now)
    assert watched.events == [("stale", "1"), ("alive", "1")]
    watched.run(12.0)
    assert watched.over == {"1": 6.0, "0": 9.0}


def test_lease_that_is_known_is_not_added_again() -> None:
    book = LeaseBook()
    book.add("a", 5.0, 0.0, "ann")
    book.add("a", 5.0, 4.0, "bob")
    assert book.owner_of("a") == "ann"
    assert book.begin_closing("a", 5.0 + ANSWER_SECONDS)


def test_what_hangs_on_a_lease_is_abandoned_when_it_is_stale_or_its_connection_has_ended() -> None:
    watched = Watched(3.0)
    book, caller = watched.book, Caller()
    assert book.is_abandoned("unknown")
    assert not book.is_abandoned("0")
    book.renew("0", 0.0, caller)
    assert not book.is_abandoned("0")
    caller.open = False
    assert book.is_abandoned("0")
    caller = Caller()
    book.renew("0", 0.0, caller)
    assert not book.is_abandoned("0")
    del caller
    gc.collect()
    assert book.is_abandoned("0")
    book.renew("0", 0.0)
    assert not book.is_abandoned("0")
    watched.run(2.0)
    assert book.is_abandoned("0")


@pytest.mark.parametrize("seconds", [0, 0.99, 3600.1, -1, float("nan"), float("inf"), True, None, "30"])
def test_length_out_of_bounds_is_refused(seconds: Any) -> None:
    with pytest.raises(ValueError, match=r"a lease of .* seconds; it lasts from 1 to 3600 seconds"):
        check_length(seconds)


def test_book_tells_its_state() -> None:
    watched = Watched(3.0, 30.0)
    watched.run(2.0)
    assert repr(watched.book) == "<LeaseBook of 2 leases, 1 stale>"


# -- the name server's object --------------------------------------------------------------------------------


@pytest.fixture
def ns() -> Iterator[naming.NameServer]:
    ns = naming.NameServer()
    yield ns
    ns._storage.close()


def test_names_go_with_the_lease_that_they_hang_on(ns: naming.NameServer) -> None:
    lease, other = ns.open_lease(30), ns.open_lease(30)
    for name in ("a", "b"):
        ns.register(name, URI, lease=lease)
    ns.register("b", OTHER, member=True, lease=other)
    ns.register("stays", URI)
    assert ns.renew_lease(lease) == 2
    ns.close_lease(lease)
    assert [(name, str(uri)) for name, uri in ns.flatlist()] == [(":Default.b", OTHER), (":Default.stays", URI)]
    for use in (ns.renew_lease, ns.close_lease, lambda lease: ns.register("c", URI, lease=lease)):
        with pytest.raises(NamingError, match="lease is over") as error:
            use(lease)
        assert reason_of(error) == "lease is over"


def test_ids_of_leases_are_long_and_differ(ns: naming.NameServer) -> None:
    leases = {ns.open_lease(30) for _ in range(100)}
    assert len(leases) == 100
    assert {len(lease) for lease in leases} == {24}


def test_leases_are_bounded_in_number(ns: naming.NameServer) -> None:
    for number in range(MAX_LEASES):
        ns._leases.book.add(str(number), 30.0, time.monotonic())
    with pytest.raises(NamingError, match=r"too many names.*20000 leases already, which is the limit"):
        ns.open_lease(30)


def test_same_address_under_the_same_lease_may_be_registered_again(ns: naming.NameServer) -> None:
    lease = ns.open_lease(30)
    ns.register("a", URI, lease=lease)
    revision = ns._storage.revision
    ns.register("a", URI, lease=lease)
    assert ns._storage.revision == revision
    with pytest.raises(NamingError, match="name already exists"):
        ns.register("a", OTHER, lease=lease)
    with pytest.raises(NamingError, match="name already exists"):
        ns.register("a", URI, lease=ns.open_lease(30))
    with pytest.raises(NamingError, match="name already exists"):
        ns.register("a", URI)


def test_name_is_taken_over_only_when_all_who_hold_it_seem_gone(ns: naming.NameServer) -> None:
    callers = [Caller(), Caller()]
    leases = [ns.open_lease(30) for _ in callers]
    for lease, caller, uri in zip(leases, callers, (URI, OTHER), strict=True):
        ns._leases.renew(lease, caller)
        ns.register("a", uri, member=True, lease=lease)
    ns.setMeta("a", "kept")
    third = "PYRO://localhost:7768/third"
    for caller in callers:
        with pytest.raises(NamingError, match="name already exists"):
            ns.register("a", third, lease=ns.open_lease(30))
        caller.open = False
    ns.register("a", third, lease=ns.open_lease(30))
    assert [str(uri) for uri in ns.resolve("a", "all")] == [third]
    assert ns.getMeta("a") == "kept"
    assert [ns.renew_lease(lease) for lease in leases] == [0, 0]


def test_name_that_stays_is_never_taken_over(ns: naming.NameServer) -> None:
    caller = Caller()
    lease = ns.open_lease(30)
    ns._leases.renew(lease, caller)
    ns.register("a", URI, lease=lease)
    ns.register("a", OTHER, member=True)
    caller.open = False
    with pytest.raises(NamingError, match="name already exists"):
        ns.register("a", "PYRO://localhost:7768/third")


def test_stale_name_goes_to_exactly_one_of_two_who_want_it(ns: naming.NameServer) -> None:
    """Whoever comes second finds others there than those that it has seen."""
    lease = ns.open_lease(30)
    ns.register("a", URI, lease=lease)
    seen = ns._storage.members(":Default.a")
    ns._storage.register(":Default.a", OTHER, created=1.0, instead_of=seen)
    with pytest.raises(NamingError, match="name already exists"):
        ns._storage.register(":Default.a", "PYRO://localhost:7768/third", created=1.0, instead_of=seen)
    assert str(ns.resolve("a")) == OTHER


def test_local_hold_is_a_plain_registration_and_let_go_its_end(ns: naming.NameServer) -> None:
    ns.hold("a", URI)
    ns.hold("a", OTHER, member=True)
    assert ns._storage.members(":Default.a")[0].lease is None
    ns.let_go("a", URI)
    ns.let_go("a", URI)
    assert str(ns.resolve("a")) == OTHER
    ns.let_go("a", OTHER)
    ns.let_go("a", OTHER)
    assert ns.list() == []


def test_leases_of_before_begin_anew_with_a_new_server() -> None:
    storage = MemoryStorage()
    storage.create_group(":Default", created=1.0)
    storage.open_lease("before", seconds=30.0, created=1.0, owner="ann")
    storage.register(":Default.a", URI, created=1.0, lease="before")
    ns = naming.NameServer(storage)
    assert ns._leases.book.owner_of("before") == "ann"
    assert ns.renew_lease("before") == 1
    # And such that a twin opens and closes are known too.
    storage.open_lease("twin's", seconds=30.0, created=1.0)
    assert ns.renew_lease("twin's") == 0
    storage.close_lease("before")
    with pytest.raises(NamingError, match="lease is over"):
        ns.renew_lease("before")


def test_leases_tell_their_state_and_who_was_renewed(ns: naming.NameServer) -> None:
    leases, renewed = ns._leases, list[str]()
    leases.on_renewed = renewed.append
    assert repr(leases) == "<Leases <LeaseBook of 0 leases, 0 stale>, not watched>"
    lease = ns.open_lease(30)
    assert repr(leases) == "<Leases <LeaseBook of 1 leases, 0 stale>, watched>"
    ns.renew_lease(lease)
    assert renewed == [lease]
    ns.close_lease(lease)
    assert leases.tick() == 0
    assert repr(leases) == "<Leases <LeaseBook of 0 leases, 0 stale>, not watched>"


def test_server_that_may_not_expire_does_not_look() -> None:
    storage = MemoryStorage()
    leases = Leases(storage, lambda: False)
    leases.open(1.0, None, 1.0)
    leases.may_expire = lambda: False
    leases.book._looked = leases.book._leases.popitem()[1].renewed
    leases.open(1.0, None, 1.0)
    assert leases.tick() == 1
    assert leases.book.stale == 0


def test_rights_decide_who_opens_a_lease_and_whose_it_is() -> None:
    ns = naming.NameServer(rights={":Plant": {"ann": {"register"}, "bob": {"register"}}, ":": {"*": {"lookup"}}})
    ns._storage.create_group(":Plant", created=1.0)
    with calling_as("eve"), pytest.raises(AccessDeniedError, match="lacks the right 'register'"):
        ns.open_lease(30)
    with calling_as("ann"):
        lease = ns.open_lease(30)
        ns.register(":Plant.a", URI, lease=lease)
    with calling_as("bob"):
        for use in (ns.renew_lease, ns.close_lease, lambda lease: ns.register(":Plant.b", URI, lease=lease)):
            with pytest.raises(NamingError, match=r"lease is over: .* for this caller, who has not opened it"):
                use(lease)
    with calling_as("ann"):
        assert ns.renew_lease(lease) == 1
    assert is_owner("ann", ns._leases.book.owner_of(lease))


def test_stale_name_is_only_for_its_owner_where_there_are_rights() -> None:
    everybody = {"ann": {"register"}, "bob": {"register"}, "root": {"register", "remove"}}
    ns = naming.NameServer(rights={":": everybody})
    with calling_as("ann"):
        lease = ns.open_lease(30)
        ns.register("a", URI, lease=lease)
    # Nobody knows the lease any more, so that what hangs on it is abandoned.
    ns._leases.book.remove(lease)
    with calling_as("bob"), pytest.raises(NamingError, match="name already exists"):
        ns.register("a", OTHER)
    with calling_as("ann"):
        ns.register("a", OTHER, lease=ns.open_lease(30))
    ns._leases.book.remove(ns._storage.members(":Default.a")[0].lease or "")
    with calling_as("root"):
        ns.register("a", URI)
    (member,) = ns._storage.members(":Default.a")
    assert member == Member(URI, member.created, "root")


class calling_as:
    """Inside, the running call is that of a caller with this identity."""

    def __init__(self, identity: str) -> None:
        class Peer(Caller):
            addr = ("127.0.0.1", 1)
            state = hub.current_state()

        peer: Any = Peer()
        peer.identity, peer.principals = identity, frozenset({identity, "*"})
        self._call = Call(peer, 1, "method", False, None)

    def __enter__(self) -> None:
        enter_scope(self._call)

    def __exit__(self, *exc_info: object) -> None:
        enter_scope(None)


def test_ended_server_leaves_the_wheel() -> None:
    ns = naming.NameServer()
    ns.open_lease(30)
    assert ns._leases.tick() == 1
    ns._has_ended()

    class Ended(ObjBase):
        def is_ending(self) -> bool:
            return True

    # An object refers to its daemon weakly.
    daemon = ns.daemon = Ended()
    assert daemon.is_ending()
    assert ns._leases.tick() == 0
    ns.daemon = None
    ns._leases.watch()
    assert ns._leases.tick() == 0
