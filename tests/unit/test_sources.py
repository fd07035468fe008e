"""What is counted for each address: the daemon's tables of connections and failed logins."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gpyro._daemon.sources import Sources, source_of

HOSTS = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"])


def make(failures: int = 3, block: float = 60.0, limit: int = 100, most: int = 10, waiting: int = 5) -> Sources:
    return Sources(failures, block, limit, most, waiting)


def test_address_is_shut_out_by_the_failure_that_is_one_too_many_and_only_for_its_time() -> None:
    sources = make(failures=3, block=60.0)
    assert [sources.failed("a", 100.0) for _ in range(4)] == [False, False, False, True]
    assert sources.is_blocked("a", 159.9)
    assert not sources.is_blocked("a", 160.0)
    assert not sources.is_blocked("b", 100.0)


def test_failures_that_come_while_it_is_shut_out_do_not_make_that_longer() -> None:
    sources = make(failures=3, block=60.0)
    for _ in range(4):
        sources.failed("a", 100.0)
    assert not any(sources.failed("a", 101.0) for _ in range(50))
    assert not sources.is_blocked("a", 160.0)


def test_tokens_come_back_with_time() -> None:
    sources = make(failures=6)
    for second in range(0, 600, 10):
        assert not sources.failed("a", float(second))
    assert not sources.is_blocked("a", 600.0)


def test_table_is_bounded_and_those_that_are_not_shut_out_go_first() -> None:
    sources = make(failures=1, limit=3)
    for name in "ab":
        sources.failed(name, 1.0)
        sources.failed(name, 1.0)
    for name in "cdefg":
        sources.failed(name, 2.0)
        assert len(sources) <= 3
    assert [sources.is_blocked(name, 2.0) for name in "ab"] == [True, True], "others' failures let nobody in again"
    for name in "hijk":
        sources.failed(name, 3.0)
        sources.failed(name, 3.0)
        assert len(sources) <= 3
    assert [sources.is_blocked(name, 3.0) for name in "abhijk"] == [False, False, False, True, True, True]


def test_address_has_its_share_until_one_is_let_in_and_too_many_until_one_ends() -> None:
    sources = make(most=2, waiting=2)
    sources.arrived("a")
    assert not sources.has_share("a")
    sources.arrived("a")
    assert sources.has_share("a") and not sources.has_share("b")
    sources.admitted("a")
    assert not sources.has_share("a") and not sources.has_too_many("a")
    sources.arrived("a")
    assert sources.has_too_many("a")
    sources.left("a", True)
    assert not sources.has_too_many("a")


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("10.1.2.3", "10.1.2.3"), ("", ""), ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"), ("fe80::1%eth0", "fe80::/64"),
    ],
)  # fmt: skip
def test_network_of_an_ipv6_address_is_what_counts(host: str, source: str) -> None:
    assert source_of(host) == source


class Model(RuleBasedStateMachine):
    """Sources beside lists that say the same in the simplest way."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.sources = make(failures=3, block=20.0, limit=3, most=4, waiting=2)
        self.unknown: list[str] = []
        self.known: list[str] = []
        #: Of each address that is remembered: tokens, the time they are of, the end of its block; oldest first.
        self.failures: dict[str, tuple[float, float, float]] = {}

    @rule(seconds=st.sampled_from([0.5, 1.0, 7.0, 30.0, 200.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(host=HOSTS)
    def arrive(self, host: str) -> None:
        self.sources.arrived(host)
        self.unknown.append(host)

    @precondition(lambda self: self.unknown)
    @rule(data=st.data())
    def let_in(self, data: st.DataObject) -> None:
        host = self.unknown.pop(data.draw(st.integers(0, len(self.unknown) - 1)))
        self.sources.admitted(host)
        self.known.append(host)

    @precondition(lambda self: self.unknown or self.known)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.unknown) + len(self.known) - 1))
        admitted = at >= len(self.unknown)
        host = self.known.pop(at - len(self.unknown)) if admitted else self.unknown.pop(at)
        self.sources.left(host, admitted)

    @rule(host=HOSTS)
    def fail(self, host: str) -> None:
        if self.failures.get(host, (0, 0, 0.0))[2] > self.now:
            assert not self.sources.failed(host, self.now)
            return
        tokens, at, _ = self.failures.pop(host, (3.0, self.now, 0.0))
        tokens = min(3.0, tokens + (self.now - at) * 3 / 60) - 1
        blocks = tokens < 0
        self.failures[host] = (3.0, self.now, self.now + 20.0) if blocks else (tokens, self.now, 0.0)
        while len(self.failures) > 3:
            free = [name for name, entry in self.failures.items() if not entry[2] and name != host]
            shut_out = [name for name, entry in self.failures.items() if entry[2]]
            del self.failures[(free or shut_out)[0]]
        assert self.sources.failed(host, self.now) == blocks

    @invariant()
    def agrees(self) -> None:
        assert len(self.sources) == len(self.failures) <= 3
        assert self.sources.count_blocked(self.now) == sum(row[2] > self.now for row in self.failures.values())
        of_all, waiting = Counter(self.unknown + self.known), Counter(self.unknown)
        for host in ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"):
            blocked = self.failures.get(host, (0, 0, 0.0))[2] > self.now
            assert self.sources.is_blocked(host, self.now) == blocked
            assert self.sources.has_share(host) == (waiting[host] >= 2)
            assert self.sources.has_too_many(host) == (of_all[host] > 4)
        # Asking leaves nothing behind, and neither do those who have gone.
        assert len(self.sources._connections) == len(of_all)
        assert len(self.sources._unauthenticated) == len(waiting)


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSourcesAgainstAModel = Model.TestCase
