"""What the window knows of the names: groups read page by page, kept up to date by events. No Tk, no network.

`NameTree` and `Search` take in pages and events in any order, and return what has to change on the screen. The two
come over different connections, so an event may tell of something that a page on its way does not know yet: while
a page is asked for, events of its group are kept, and done again on top of it.

A page is asked for with the last entry that is known in front. If that one is not in it, something was removed
before it meanwhile and entries may be missing: the group is read from its beginning then.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from gpyro.names import GROUP, OBJECT, ROOT, join_name, split_name

if TYPE_CHECKING:
    from gpyro.naming import NameEvent

__all__ = [
    "PAGE", "Clear", "Delete", "Insert", "Mark", "More", "NameTree", "Page", "Screen", "Search",
    "is_stale", "parse_place",
]  # fmt: skip

#: Entries that are read at one go: more than fit on a screen, and some 10 KB.
PAGE = 500
#: Events of a group that are kept while a page of it is asked for; with more, it is read again.
MAX_HELD = 5_000

ADDING = {"registered": OBJECT, "created": GROUP}
REMOVING = ("unregistered", "deleted")
RESET = "reset"


# -- what changes on the screen ------------------------------------------------------------------------------


class Insert(NamedTuple):
    """A row at a place among the rows of its group."""

    group: str
    at: int
    name: str
    text: str
    kind: int


class Delete(NamedTuple):
    """A row goes, with all below it."""

    name: str


class Mark(NamedTuple):
    """A row is shown as stale, or not any more."""

    name: str
    stale: bool


class More(NamedTuple):
    """Whether the group's last row says that there is more, and how many rows there are."""

    group: str
    more: bool
    shown: int


class Clear(NamedTuple):
    """All rows in a group go; what is in it is not known any more."""

    group: str


Change = Union[Insert, Delete, Mark, More, Clear]
Screen = list[Change]


class Page(NamedTuple):
    """A question for a part of a group: the arguments of `NameServer.list`, and what to recognise it by."""

    group: str
    offset: int
    limit: int
    #: The entry that has to be in it, None for the beginning.
    joint: str | None
    #: No two questions are the same: the answer to an old one is older than what is known.
    number: int


class _Group:
    """What is known of one group; the parts are sorted as the server sorts them."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.kinds: dict[str, int] = {}
        self.more = True
        self.asked: Page | None = None
        self.held: list[NameEvent] = []
        #: Read from the beginning next time, and how far.
        self.again = True


class NameTree:
    """The names that were looked at, as a tree. `expect` says what to ask for, `take` and `apply` what came."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._stale: set[str] = set()
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        shown = sum(len(group.parts) for group in self._groups.values())
        return f"<NameTree {shown} names in {len(self._groups)} groups, {len(self._stale)} stale>"

    def kind(self, name: str) -> int | None:
        """Return GROUP or OBJECT; None for a name that is not shown."""
        if name == ROOT:
            return GROUP
        parent, part = split_name(name)
        group = self._groups.get(parent)
        return None if group is None else group.kinds.get(part)

    def is_read(self, name: str) -> bool:
        """Tell whether something of a group is known or asked for."""
        return name in self._groups

    def is_stale(self, name: str) -> bool:
        """Tell whether nobody stands behind the name any more."""
        return name in self._stale

    # -- pages

    def expect(self, name: str) -> Page | None:
        """Return the next page of a group to ask for; None where one is on its way, or nothing is left."""
        group = self._groups.setdefault(name, _Group())
        if group.asked is not None or not (group.more or group.again):
            return None
        known = len(group.parts)
        # One more than is shown tells whether there is more.
        if group.again or not known:
            page = Page(name, 0, max(PAGE, known) + 1, None, next(self._numbers))
        else:
            page = Page(name, known - 1, PAGE + 2, group.parts[-1], next(self._numbers))
        group.asked, group.again = page, False
        return page

    def take(self, page: Page, entries: Sequence[tuple[str, int]]) -> tuple[Screen, bool]:
        """Take in a page.

        Returns:
            What changes, and True where the group has to be asked for again.
        """
        group = self._groups.get(page.group)
        if group is None or group.asked != page:
            return [], False
        group.asked = None
        held, group.held = group.held, []
        screen: Screen = []
        if page.joint is not None and all(part != page.joint for part, _ in entries):
            group.again = True
        else:
            group.more = len(entries) >= page.limit
            shown = entries[: page.limit - 1]
            if page.joint is None:
                there = dict(shown)
                for part in [part for part in group.parts if there.get(part) != group.kinds[part]]:
                    screen += self._remove(page.group, part)
            for part, kind in shown:
                screen += self._add(page.group, part, kind, anywhere=True)
        for event in held:
            screen += self.apply(event)
        return [*screen, More(page.group, group.more, len(group.parts))], group.again

    def give_up(self, page: Page) -> Screen:
        """Forget a page that did not come; the group can be asked for again."""
        group = self._groups.get(page.group)
        if group is None or group.asked != page:
            return []
        if group.parts:
            group.asked, group.held, group.again = None, [], True
            return []
        del self._groups[page.group]
        return [Clear(page.group)]

    def reset(self) -> list[str]:
        """Note that all groups have to be read again, and return them; what is shown stays until then."""
        for group in self._groups.values():
            group.again = True
            if group.asked is not None:
                group.asked, group.held = None, []
        return sorted(self._groups)

    # -- events

    def apply(self, event: NameEvent) -> Screen:
        """Take in what happened to a name; returns what changes."""
        if event.name == ROOT:
            return []
        parent, part = split_name(event.name)
        group = self._groups.get(parent)
        if group is None:
            return []
        if group.asked is not None:
            group.held.append(event)
            if len(group.held) > MAX_HELD:
                group.held, group.again = [], True
        if event.kind in ADDING:
            return self._add(parent, part, ADDING[event.kind])
        if event.kind in REMOVING:
            return self._remove(parent, part)
        return []

    def mark(self, name: str, stale: bool) -> Screen:
        """Note whether somebody stands behind a name."""
        if stale == (name in self._stale) or self.kind(name) is None:
            return []
        (self._stale.add if stale else self._stale.discard)(name)
        return [Mark(name, stale)]

    # -- entries

    def _add(self, parent: str, part: str, kind: int, anywhere: bool = False) -> Screen:
        group = self._groups[parent]
        known = group.kinds.get(part)
        if known == kind:
            return []
        screen: Screen = [] if known is None else self._remove(parent, part)
        index = bisect_left(group.parts, part)
        if group.more and index == len(group.parts) and not anywhere:
            return screen  # It stands among those that were not read yet.
        group.parts.insert(index, part)
        group.kinds[part] = kind
        return [*screen, Insert(parent, index, join_name(parent, part), part, kind)]

    def _remove(self, parent: str, part: str) -> Screen:
        group = self._groups[parent]
        kind = group.kinds.pop(part, None)
        if kind is None:
            return []
        del group.parts[bisect_left(group.parts, part)]
        name = join_name(parent, part)
        self._stale.discard(name)
        if kind == GROUP:
            below = name + "."
            for inner in [inner for inner in self._groups if inner == name or inner.startswith(below)]:
                del self._groups[inner]
            self._stale = {stale for stale in self._stale if not stale.startswith(below)}
        return [Delete(name)]


class Search:
    """The names that a pattern finds, in the server's order, page by page."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.names: dict[str, int] = {}
        self.more = False
        #: True where an event may have changed what is found.
        self.dirty = False

    def __repr__(self) -> str:
        return f"<Search {self.pattern!r}, {len(self.names)} names{' and more' if self.more else ''}>"

    @property
    def last(self) -> str:
        """The name to go on after; empty for the beginning."""
        return next(reversed(self.names), "")

    def take(self, after: str, found: Sequence[dict[str, Any]], limit: int) -> Screen:
        """Take in the answer to a search after a name, asked for with one more than the limit."""
        screen: Screen = []
        if not after:
            screen.append(Clear(ROOT))
            self.names, self.dirty = {}, False
        elif after != self.last:
            return []
        self.more = len(found) > limit
        for entry in found[:limit]:
            name, kind = entry["name"], GROUP if entry["kind"] == "group" else OBJECT
            screen.append(Insert(ROOT, len(self.names), name, name, kind))
            self.names[name] = kind
            if is_stale(entry):
                screen.append(Mark(name, True))
        return [*screen, More(ROOT, self.more, len(self.names))]

    def apply(self, event: NameEvent) -> Screen:
        """Take in what happened to a name; what came may have to be searched for again."""
        if event.kind in ADDING or event.kind == RESET:
            self.dirty = True
        if event.kind in REMOVING and self.names.pop(event.name, None) is not None:
            return [Delete(event.name)]
        return []


def is_stale(details: dict[str, Any]) -> bool:
    """Tell of the details of a name whether nobody stands behind any of its addresses."""
    members: Iterable[dict[str, Any]] = details.get("members") or ()
    stale = [bool(member.get("stale")) for member in members]
    return bool(stale) and all(stale)


def parse_place(text: str) -> tuple[str, int | None]:
    """Return host and port of what was typed: `host`, `host:port`, `::1`, `[::1]:port` or `./u:/path`.

    Raises:
        ValueError: it is none of these.
    """
    text = text.strip()
    if text.startswith("./u:"):
        return text, None
    host, colon, port = text.rpartition(":")
    if not colon or (host.count(":") and not host.endswith("]")):
        host, port = text, ""
        colon = ""
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host or any(character.isspace() for character in host):
        raise ValueError(f"{text!r} is no host; type a host, or host:port")
    if not colon:
        return host, None
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ValueError(f"{port!r} is no port; ports are 1 to 65535, as in host:9090")
    return host, int(port)
