"""What `gpyro xnsc` knows of the names, on paper: pages and events in every order."""

from __future__ import annotations

import random
from bisect import bisect_left
from typing import Any

import pytest
from gpyro_cli._xnsc.model import (
    MAX_HELD,
    PAGE,
    Clear,
    Delete,
    Insert,
    Mark,
    More,
    NameTree,
    Page,
    Search,
    is_stale,
    parse_place,
)

from gpyro.names import GROUP, OBJECT, split_name
from gpyro.naming import NameEvent


def event(kind: str, name: str) -> NameEvent:
    return NameEvent(kind, name, [], 0.0)


class Server:
    """A name server with one group of objects, :g."""

    def __init__(self, *parts: str) -> None:
        self.parts = sorted(parts)

    def page(self, page: Page) -> list[tuple[str, int]]:
        return [(part, OBJECT) for part in self.parts[page.offset : page.offset + page.limit]]

    def add(self, part: str) -> NameEvent:
        self.parts.insert(bisect_left(self.parts, part), part)
        return event("registered", f":g.{part}")

    def remove(self, part: str) -> NameEvent:
        self.parts.remove(part)
        return event("unregistered", f":g.{part}")


class Shown:
    """The rows that a window would show of :g, made from the changes alone."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.more = False

    def take(self, screen: Any) -> None:
        for change in screen:
            if isinstance(change, Insert):
                self.rows.insert(change.at, change.text)
            elif isinstance(change, Delete):
                self.rows.remove(split_name(change.name)[1])
            elif isinstance(change, More):
                assert change.shown == len(self.rows)
                self.more = change.more
            elif isinstance(change, Clear):
                self.rows.clear()


def ask(tree: NameTree) -> Page:
    page = tree.expect(":g")
    assert page is not None
    return page


def test_group_is_read_page_by_page() -> None:
    server, tree, shown = Server(*(f"{n:04}" for n in range(2 * PAGE + 1))), NameTree(), Shown()
    for read, more in ((PAGE, True), (2 * PAGE, True), (2 * PAGE + 1, False)):
        page = ask(tree)
        assert tree.expect(":g") is None  # one at a time
        screen, again = tree.take(page, server.page(page))
        shown.take(screen)
        assert (shown.rows, shown.more, again) == (server.parts[:read], more, False)
    assert tree.expect(":g") is None  # all is there


def test_group_of_exactly_one_page_has_no_more() -> None:
    server, tree, shown = Server(*(f"{n:04}" for n in range(PAGE))), NameTree(), Shown()
    page = ask(tree)
    shown.take(tree.take(page, server.page(page))[0])
    assert (len(shown.rows), shown.more) == (PAGE, False)


def test_event_that_overtakes_a_page_is_done_again_on_top_of_it() -> None:
    server, tree, shown = Server("a", "b"), NameTree(), Shown()
    page = ask(tree)
    old = server.page(page)
    shown.take(tree.apply(server.remove("a")))
    shown.take(tree.apply(server.add("c")))
    shown.take(tree.take(page, old)[0])
    assert shown.rows == ["b", "c"]


def test_page_without_its_joint_is_read_again_from_the_beginning() -> None:
    server, tree, shown = Server(*(f"{n:04}" for n in range(PAGE + 10))), NameTree(), Shown()
    page = ask(tree)
    shown.take(tree.take(page, server.page(page))[0])
    page = ask(tree)
    # Some at the front go before the page is made, and of that nobody has heard yet.
    events = [server.remove(part) for part in server.parts[:3]]
    screen, again = tree.take(page, server.page(page))
    shown.take(screen)
    assert again
    page = ask(tree)
    assert page.offset == 0
    shown.take(tree.take(page, server.page(page))[0])
    for late in events:
        shown.take(tree.apply(late))
    assert shown.rows == server.parts[: len(shown.rows)]
    page = ask(tree)
    shown.take(tree.take(page, server.page(page))[0])
    assert (shown.rows, shown.more) == (server.parts, False)


def test_name_beyond_what_was_read_is_not_shown() -> None:
    server, tree, shown = Server(*(f"{n:04}" for n in range(PAGE + 1))), NameTree(), Shown()
    page = ask(tree)
    shown.take(tree.take(page, server.page(page))[0])
    assert tree.apply(server.add("9999")) == []
    assert tree.apply(event("registered", ":other.name")) == []


@pytest.mark.parametrize("seed", range(30))
def test_tree_is_the_server_in_the_end_however_pages_and_events_meet(seed: int) -> None:
    dice = random.Random(seed)
    server, tree, shown = Server(*(f"{dice.randrange(10**6):06}" for _ in range(PAGE * 2))), NameTree(), Shown()
    server.parts = sorted(set(server.parts))
    on_its_way: list[NameEvent] = []
    asked: list[Page] = []
    answer: list[tuple[str, int]] | None = None
    for _ in range(400):
        what = dice.randrange(6)
        if what == 0:
            on_its_way.append(server.add(f"{dice.randrange(10**6):06}x{dice.random()}".replace(".", "")))
        elif what == 1 and server.parts:
            on_its_way.append(server.remove(dice.choice(server.parts)))
        elif what in (2, 3) and on_its_way:
            shown.take(tree.apply(on_its_way.pop(0)))
        elif what == 4:
            page = tree.expect(":g")
            asked += [] if page is None else [page]
            if asked and answer is None:
                answer = server.page(asked[0])
        elif asked and answer is not None:
            shown.take(tree.take(asked.pop(), answer)[0])
            answer = None
        if dice.random() < 0.01:
            tree.reset()
            asked, answer = [], None
    if asked:
        shown.take(tree.take(asked[0], server.page(asked[0]))[0])
    for late in on_its_way:
        shown.take(tree.apply(late))
    while (page := tree.expect(":g")) is not None:
        shown.take(tree.take(page, server.page(page))[0])
    assert shown.rows == server.parts


def test_answer_from_before_a_reset_is_not_taken() -> None:
    tree = NameTree()
    page = ask(tree)
    assert tree.reset() == [":g"]
    assert tree.take(page, [("a", OBJECT)]) == ([], False)
    page = ask(tree)
    assert tree.take(page, [("a", OBJECT)])[0][0] == Insert(":g", 0, ":g.a", "a", OBJECT)


def test_page_that_did_not_come_can_be_asked_for_again() -> None:
    tree = NameTree()
    assert tree.give_up(ask(tree)) == [Clear(":g")]
    assert not tree.is_read(":g")
    page = ask(tree)
    tree.take(page, [("a", OBJECT)])
    tree.reset()
    assert tree.give_up(ask(tree)) == []  # what is shown stays
    assert ask(tree).offset == 0


def test_events_beyond_the_bound_have_the_group_read_again() -> None:
    tree = NameTree()
    page = ask(tree)
    for number in range(MAX_HELD + 1):
        tree.apply(event("registered", f":g.{number}"))
    assert tree.take(page, [])[1]


def test_group_that_goes_takes_along_what_is_known_of_it() -> None:
    tree = NameTree()
    for name, entries in ((":", [("g", GROUP)]), (":g", [("h", GROUP), ("x", OBJECT)]), (":g.h", [("y", OBJECT)])):
        page = tree.expect(name)
        assert page is not None
        tree.take(page, entries)
    tree.mark(":g.h.y", True)
    assert tree.apply(event("deleted", ":g")) == [Delete(":g")]
    assert repr(tree) == "<NameTree 0 names in 1 groups, 0 stale>"
    assert tree.apply(event("registered", ":g.x")) == []


def test_object_that_becomes_a_group_is_another_row() -> None:
    tree = NameTree()
    page = ask(tree)
    tree.take(page, [("a", OBJECT)])
    assert tree.apply(event("created", ":g.a")) == [Delete(":g.a"), Insert(":g", 0, ":g.a", "a", GROUP)]
    assert tree.kind(":g.a") == GROUP


def test_stale_names_are_marked_once_and_only_where_they_are_shown() -> None:
    tree = NameTree()
    tree.take(ask(tree), [("a", OBJECT)])
    assert tree.mark(":g.a", True) == [Mark(":g.a", True)]
    assert (tree.mark(":g.a", True), tree.mark(":g.b", True)) == ([], [])
    assert tree.is_stale(":g.a")
    assert tree.mark(":g.a", False) == [Mark(":g.a", False)]


@pytest.mark.parametrize(
    ("stale", "result"), [([], False), ([True], True), ([True, False], False), ([True, True], True)]
)
def test_name_is_stale_when_all_its_addresses_are(stale: list[bool], result: bool) -> None:
    assert is_stale({"members": [{"stale": one} for one in stale]}) is result


def details(name: str, kind: str = "object") -> dict[str, Any]:
    return {"name": name, "kind": kind, "members": []}


def test_search_goes_on_behind_the_last_name() -> None:
    search = Search("*")
    search.take("", [details(":a"), details(":b", "group"), details(":c")], 2)
    assert (list(search.names), search.more, search.last) == ([":a", ":b"], True, ":b")
    assert search.take(":b", [details(":c")], 2) == [Insert(":", 2, ":c", ":c", OBJECT), More(":", False, 3)]
    assert search.take(":a", [details(":b")], 2) == []  # behind a name that is not the last any more
    assert repr(search) == "<Search '*', 3 names>"


def test_search_is_made_again_where_something_came() -> None:
    search = Search("*")
    search.take("", [details(":a")], 2)
    assert search.apply(event("unregistered", ":a")) == [Delete(":a")]
    assert not search.dirty
    assert search.apply(event("registered", ":b")) == []
    assert search.dirty


@pytest.mark.parametrize(("text", "place"), [
    ("here", ("here", None)), (" here:9191 ", ("here", 9191)), ("::1", ("::1", None)),
    ("[::1]:9191", ("::1", 9191)), ("[::1]", ("::1", None)),
    ("./u:/run/ns", ("./u:/run/ns", None)), ("10.0.0.1:1", ("10.0.0.1", 1)),
])  # fmt: skip
def test_place_is_read_as_it_is_typed(text: str, place: tuple[str, int | None]) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize("text", ["", ":", "a b", "a:0", "a:65536", "a:b", "a:", ":9090"])
def test_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no (host|port)"):
        parse_place(text)
