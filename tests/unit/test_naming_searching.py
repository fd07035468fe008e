"""Searching for names: patterns, metas, pages, and the turns of others."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

import gpyro
from gpyro._naming import searching
from gpyro._naming.searching import Query
from gpyro.errors import AccessDeniedError, NamingError, PyroError
from gpyro.naming import NameServer, NameServerProxy
from gpyro.storage.memory import MemoryStorage

URI = "PYRO://localhost:7766/abc"


@pytest.fixture
def ns() -> NameServer:
    ns = NameServer()
    for group in (":Plant", ":Plant.hall", ":Plant.hall2", ":press"):
        ns.createGroup(group)
    for name in (":Plant.press", ":Plant.press-2", ":Plant.hall.press", ":Plant.hall.saw", ":Plant.hall2.saw"):
        ns.register(name, URI)
    return ns


def find(ns: NameServer, *args: Any, **query: Any) -> list[str]:
    """Search page by page, with the smallest page, and see that a single one gives the same."""
    whole = ns.search(*args, **query)
    assert whole["after"] is None
    names: list[str] = []
    after: str | None = ""
    while after is not None:
        page = ns.search(*args, **{**query, "after": after, "limit": 1})
        names += [details["name"] for details in page["found"]]
        after = page["after"]
    assert names == [details["name"] for details in whole["found"]]
    return names


# -- patterns ------------------------------------------------------------------------------------------------


def test_everything_is_found_without_a_pattern_groups_before_what_is_in_them(ns: NameServer) -> None:
    assert find(ns) == [
        ":Default", ":Plant", ":Plant.hall", ":Plant.hall.press", ":Plant.hall.saw", ":Plant.hall2",
        ":Plant.hall2.saw", ":Plant.press", ":Plant.press-2", ":Pyro", ":press",
    ]  # fmt: skip
    assert find(ns, ":Plant.hall") == [":Plant.hall.press", ":Plant.hall.saw"]


def test_glob_without_a_colon_is_of_last_parts(ns: NameServer) -> None:
    assert find(ns, glob="press*") == [":Plant.hall.press", ":Plant.press", ":Plant.press-2", ":press"]
    assert find(ns, ":Plant.hall", glob="s?w") == [":Plant.hall.saw"]


def test_glob_with_a_colon_is_of_full_names(ns: NameServer) -> None:
    assert find(ns, glob=":Plant.hall*") == [
        ":Plant.hall", ":Plant.hall.press", ":Plant.hall.saw", ":Plant.hall2", ":Plant.hall2.saw",
    ]  # fmt: skip
    assert find(ns, ":Plant.hall2", glob=":Plant.hall*") == [":Plant.hall2.saw"]
    assert find(ns, glob=":Plant.press") == [":Plant.press"]
    assert find(ns, ":press", glob=":Plant*") == []
    assert find(ns, glob=":nowhere.at.all*") == []


def test_regex_is_of_full_names_and_all_that_is_given_has_to_fit(ns: NameServer) -> None:
    assert find(ns, regex=r":Plant\.[^.]*$") == [":Plant.hall", ":Plant.hall2", ":Plant.press", ":Plant.press-2"]
    assert find(ns, regex=r":Plant\.[^.]*$", glob="*2") == [":Plant.hall2", ":Plant.press-2"]
    assert find(ns, regex=".*saw", glob=":Plant.hall.*") == [":Plant.hall.saw"]


def test_prefix_finds_what_looking_at_every_name_finds() -> None:
    ns = NameServer()
    source = random.Random(7)
    for _ in range(300):
        parts = [source.choice(["a", "b", "ab", "a-", "b0"]) for _ in range(source.randint(2, 5))]
        for depth in range(1, len(parts)):
            ns._ensure_group(":" + ".".join(parts[:depth]))
        ns.register(":" + ".".join(parts) + "x", URI, replace=True)
    everything = find(ns)
    for prefix in (":", ":a", ":a.", ":ab", ":a.b", ":a-.", ":b.a.b", ":b0.b0.b"):
        for group in (":", ":a", ":b.a"):
            below = ":" if group == ":" else group + "."
            expected = [name for name in everything if name.startswith(prefix) and name.startswith(below)]
            assert find(ns, group, glob=prefix + "*") == expected


def test_only_the_stretch_that_the_prefix_leads_to_is_looked_at(ns: NameServer) -> None:
    for number in range(2_000):
        ns.register(f":press.x{number:04}", URI)
    asked = []

    class Counting(MemoryStorage):
        def scan(self, group: str, after: str | None, limit: int) -> Any:
            records = super().scan(group, after, limit)
            asked.append(len(records))
            return records

    storage = Counting()
    storage.amend(lambda tree: _copied(ns))
    found = searching.search(storage, Query(glob=":press.x19*"), lambda name: True, lambda lease: False)
    assert len(found["found"]) == 100
    assert sum(asked) <= 2 * searching.PIECE


def _copied(ns: NameServer) -> list[Any]:
    from gpyro.namerecords import Change

    storage = ns._storage
    assert isinstance(storage, MemoryStorage)
    records = storage.inspect(lambda tree: [*tree.records()])
    return [Change(record.name, record.revision, None, record) for record in records]


# -- metas ---------------------------------------------------------------------------------------------------


def test_meta_has_to_have_each_item_or_to_equal_the_value(ns: NameServer) -> None:
    ns.setMeta(":Plant.press", {"room": "7", "load": 3, "tags": ("a", b"b")})
    ns.setMeta(":Plant.hall.saw", {"room": "7"})
    ns.setMeta(":Plant", "plain")
    ns.setMeta(":press", 3)
    assert find(ns, meta={"room": "7"}) == [":Plant.hall.saw", ":Plant.press"]
    assert find(ns, meta={"room": "7", "load": 3}) == [":Plant.press"]
    assert find(ns, meta={"tags": ("a", b"b")}) == [":Plant.press"]
    assert find(ns, meta={}) == [":Plant.hall.saw", ":Plant.press"]
    assert find(ns, meta="plain") == [":Plant"]
    assert find(ns, meta=3) == [":press"]
    assert find(ns, meta={"room": None}) == []


# -- pages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("after", "first"), [
    (":Plant.hall.press", ":Plant.hall.saw"), (":Plant.hall.q", ":Plant.hall.saw"),
    (":Plant.hall.t", ":Plant.hall2"), (":A", ":Default"), (":Plant.hall", ":Plant.hall.press"), (":q", None),
])  # fmt: skip
def test_page_goes_on_behind_any_name(ns: NameServer, after: str, first: str | None) -> None:
    found = ns.search(after=after, limit=1)["found"]
    assert [details["name"] for details in found] == ([first] if first else [])


@pytest.mark.parametrize(("after", "first"), [
    (":A", ":Plant.hall"), (":Plant", ":Plant.hall"), (":Plant.hall2", ":Plant.hall2.saw"), (":Plant.i", None),
    (":z", None),
])  # fmt: skip
def test_page_of_a_prefix_goes_on_behind_any_name(ns: NameServer, after: str, first: str | None) -> None:
    found = ns.search(glob=":Plant.ha*", after=after, limit=1)["found"]
    assert [details["name"] for details in found] == ([first] if first else [])


def test_call_that_has_looked_at_enough_tells_where_to_go_on(
    ns: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "MAX_EXAMINED", 4)
    assert ns.search(glob="nothing") == {"found": [], "after": ":Plant.hall.press"}
    monkeypatch.setattr(searching, "MAX_EXAMINED", 100)
    monkeypatch.setattr(searching, "MAX_SECONDS", -1.0)
    assert ns.search(glob="nothing") == {"found": [], "after": ":Default"}


def test_answer_with_large_metas_ends_early(ns: NameServer) -> None:
    for number in range(100):
        ns.register(f"x{number:03}", URI)
        ns.setMeta(f"x{number:03}", bytes(16_000))
    page = ns.search(":Default")
    assert 60 < len(page["found"]) < 70
    assert page["after"] == page["found"][-1]["name"]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"limit": 0}, "limit=0"), ({"limit": 10_001}, "limit=10001"), ({"limit": "1"}, "limit='1'"),
        ({"group": ":none"}, "group not found"), ({"group": ":Plant.press"}, "is no group"),
        ({"after": "relative"}, "does not begin with a colon"), ({"after": 7}, "a name is text"),
        ({"glob": 7}, "no pattern"), ({"regex": "("}, "'\\('"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused(ns: NameServer, query: dict[str, Any], text: str) -> None:
    with pytest.raises((PyroError, ValueError), match=text):
        ns.search(**query)


def test_others_get_their_turn_while_many_names_are_searched(ns: NameServer) -> None:
    for number in range(20_000):
        ns.register(f"x{number}", URI)
    turns = [0]

    def count() -> None:
        while True:
            turns[0] += 1
            gevent.sleep(0)

    other = gevent.spawn(count)
    assert len(ns.search(glob="*9999")["found"]) == 2
    other.kill()
    assert turns[0] > 3


def test_names_may_come_and_go_meanwhile(ns: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2_000):
        ns.register(f"x{number:04}", URI)
    monkeypatch.setattr(searching, "TURN_SECONDS", 0.0)

    def change() -> None:
        for number in range(0, 2_000, 2):
            ns.unregister(f"x{number:04}")
            gevent.sleep(0)

    other = gevent.spawn(change)
    names = [details["name"] for details in ns.search(":Default", limit=10_000)["found"]]
    other.get()
    assert set(names) >= {f":Default.x{number:04}" for number in range(1, 2_000, 2)}
    assert len(names) == len(set(names))


# -- over a connection, and rights ---------------------------------------------------------------------------


@pytest.fixture
def proxy() -> Iterator[NameServerProxy]:
    everybody = {"*": {"lookup"}}
    ns = NameServer(rights={":": everybody, ":secret": {"chief": {"admin"}}, ":secret.open": everybody})
    for group in (":secret", ":secret.open"):
        ns.createGroup(group)
    for number in range(2_500):
        ns.register(f"x{number:04}", URI)
    for name in (":secret.x", ":secret.open.x"):
        ns.register(name, URI)
    daemon = gpyro.Daemon(port=0, norange=True)
    proxy = NameServerProxy(daemon.connect(ns), noconnect=1)
    job = gevent.spawn(daemon.requestLoop)
    yield proxy
    proxy._release()
    daemon.shutdown(True)
    job.join()


def test_proxy_asks_for_pages_as_they_are_needed(proxy: NameServerProxy) -> None:
    names = [details["name"] for details in proxy.search("", glob="x*")]
    assert names == [f":Default.x{number:04}" for number in range(2_500)]
    found = proxy.search(glob="x*")
    assert next(found)["uris"] == [URI]
    with pytest.raises(NamingError, match="group not found"):
        proxy.search(":none")


def test_what_may_not_be_looked_up_is_not_found(
    proxy: NameServerProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [details["name"] for details in proxy.search(glob=":secret*")] == [":secret.open", ":secret.open.x"]
    with pytest.raises(AccessDeniedError, match=":secret"):
        proxy.search(":secret")
    # Nor is one of them told as the name to go on behind.
    monkeypatch.setattr(searching, "MAX_EXAMINED", 1)
    after: str | None = ""
    told = []
    while after is not None:
        after = proxy._ask("search", ":", ":s*", None, None, after, 1)["after"]
        told.append(after)
    assert told == [":secret.open", None]
