"""The main window: where the name server is, its names, what is known of one, and what has happened.

All of it runs in Tk's thread and waits for nothing: requests go to the `Desk`, whose answers a timer fetches.
"""

from __future__ import annotations

import time
import tkinter as tk
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gpyro.names import ROOT
from gpyro.uri import PyroURI
from gpyro_cli._xnsc.actions import Actions
from gpyro_cli._xnsc.face import Face
from gpyro_cli._xnsc.finder import Finder
from gpyro_cli._xnsc.jobs import look_after, read_page, read_status
from gpyro_cli._xnsc.model import RESET, NameTree, Page, parse_place
from gpyro_cli._xnsc.worker import Desk, Handlers, Place

if TYPE_CHECKING:
    from gpyro.naming import NameEvent, NameServerProxy

__all__ = ["Window"]

#: How often answers are fetched: nobody sees the difference to at once.
FETCH_MS = 20
#: How often the window looks after what events made doubtful.
TIDY_MS = 250
#: Between two looks at the server's status: when nothing happens, and when something does.
STATUS_SECONDS, LIVELY_SECONDS = 5.0, 1.0
#: What takes longer is shown as busy.
BUSY_SECONDS = 0.3
#: After the last key or click before details are asked for.
PAUSE_MS = 80
#: After these nobody's staleness is in doubt.
QUIET_KINDS = ("registered", "unregistered", "created", "deleted")
#: Names whose staleness is asked for at one go.
MAX_DOUBTFUL = 500


class Window:
    """The window of `gpyro xnsc`.

    Args:
        root: Tk's, which is the window's alone.
        host: what stands in the host box at first; if it is not empty, it is connected to.
        port, bcaddr: for Auto Discover.
        identification: a passphrase, which is put into its box, or a key.

    Resources: `close` ends it; the process may end then even if a request hangs.
    """

    def __init__(
        self, root: tk.Tk, host: str = "", port: int | None = None, bcaddr: str | None = None,
        identification: object = None,
    ) -> None:  # fmt: skip
        self.root = root
        self.desk = Desk(Handlers(self._connected, self._not_connected, self._happened, self._not_watching))
        self.actions = Actions(self)
        self.finder = Finder(self)
        self._port, self._bcaddr = port, bcaddr
        self._key = None if isinstance(identification, str) else identification
        self.tree = NameTree()
        self._uri = ""
        self._connecting = False
        self._silent = False
        self._busy_since: float | None = None
        self._status_at = 0.0
        self._status_asked = self._lively = False
        self._doubtful: set[str] = set()
        self._awaited = ""
        self._timers: dict[str, str] = {}
        self.face = Face(root, self, self._key is not None)
        self.face.set_state("not connected", "dim", False)
        self.face.host.insert(0, host)
        if isinstance(identification, str):
            self.face.identification.insert(0, identification)
        self.face.host.focus_set()
        self._fetch()
        self._tidy()
        if host:
            self.connect()

    def __repr__(self) -> str:
        return f"<Window {self.root.title()!r}, {self.tree!r}>"

    # -- the contact -----------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Contact the name server at the host that is typed."""
        try:
            host, port = parse_place(self.face.host.get())
        except ValueError as exc:
            self.face.say(str(exc), error=True)
            self.face.host.focus_set()
            return
        self._contact(Place(host, port, self._bcaddr, self._identification()))

    def discover(self) -> None:
        """Look for a name server wherever one may be."""
        self._contact(Place(None, self._port, self._bcaddr, self._identification()))

    def _identification(self) -> object:
        return self.face.identification.get() or self._key

    def _contact(self, place: Place) -> None:
        self._forget()
        self._connecting = True
        self.face.set_state("looking for a name server", "accent", False)
        self.face.say(f"Looking for a name server {'' if place.host is None else 'at '}{place}.")
        self.desk.connect(place)

    def _forget(self) -> None:
        self._uri, self._silent, self._status_asked, self._awaited = "", False, False, ""
        self.tree, self._doubtful = NameTree(), set()
        self.face.names.clear()
        self.face.details.show_hint("Select a name to see what is known of it.")
        self.face.status.configure(text="")
        self.finder.end()

    def _connected(self, uri: str) -> None:
        self._uri, self._connecting = uri, False
        self.face.identification.delete(0, "end")
        self._where = where_is(uri)
        self.face.set_state(f"connected to {self._where}", "good", True)
        self.face.say(f"Connected to {uri}.")
        self.read(ROOT)
        self._ask_status()

    def _not_connected(self, why: str) -> None:
        self._connecting = False
        self.desk.leave()
        self.face.set_state("not connected", "error", False)
        self.face.say(why, error=True)

    def close(self) -> None:
        """Close the window."""
        for timer in self._timers.values():
            self.root.after_cancel(timer)
        self._timers.clear()
        self.root.destroy()

    # -- names -----------------------------------------------------------------------------------------------

    def selected(self) -> list[str]:
        """Return the names that are selected, of the tree or of what was found."""
        return (self.face.found if self.finder.is_on else self.face.names).names()

    def kind(self, name: str) -> int | None:
        """Return GROUP or OBJECT; None for a name that is not shown."""
        if not name:
            return None
        known = self.tree.kind(name)
        return self.finder.kind(name) if known is None else known

    def reveal(self, name: str) -> None:
        """Select a name, now or when it comes."""
        if not self.finder.is_on and self.face.names.tree.exists(name):
            self._awaited = ""
            self.face.names.tree.selection_set(name)
            self.face.names.tree.focus(name)
            self.face.names.tree.see(name)
        else:
            self._awaited = name

    def read_again(self) -> None:
        """Read all that is shown again."""
        if not self._uri:
            return
        for group in self.tree.reset():
            self.read(group)
        self.finder.look_again()
        self.note_selection()

    def read(self, group: str) -> None:
        """Read the next page of a group."""
        page = self.tree.expect(group)
        if page is None:
            return

        def failed(why: str) -> None:
            self.face.names.show(self.tree.give_up(page))
            self.face.say(why, error=True)

        words = f"reading {group}"
        if not self.ask(words, lambda ns: read_page(ns, page), lambda came: self._take(page, came), failed):
            self.face.names.show(self.tree.give_up(page))

    def _take(self, page: Page, came: tuple[list[tuple[str, int]], dict[str, bool]]) -> None:
        entries, stale = came
        screen, again = self.tree.take(page, entries)
        self.face.names.show(screen)
        for name in stale:
            self.face.names.show(self.tree.mark(name, True))
        if again:
            self.read(page.group)
        if self._awaited:
            self.reveal(self._awaited)

    # -- one name --------------------------------------------------------------------------------------------

    def note_selection(self) -> None:
        """Other names are selected: show what is known of them, when no other follows at once."""
        self.later("details", PAUSE_MS, self._show_details)

    def _show_details(self) -> None:
        names = self.selected()
        if len(names) != 1 or not self._uri:
            many = f"{len(names):,} names are selected."
            self.face.details.show_hint(many if names else "Select a name to see what is known of it.")
            return
        name = names[0]

        def show(details: dict[str, Any]) -> None:
            if self.selected() == [name]:
                self.face.details.show(details)

        def failed(why: str) -> None:
            if self.selected() == [name]:
                self.face.details.show_hint(why)

        self.desk.ask(f"reading {name}", lambda ns: ns.details(name), show, failed, quiet=True)

    # -- what happens at the server --------------------------------------------------------------------------

    def _happened(self, event: NameEvent) -> None:
        self._lively = True
        if event.kind == RESET:
            self.face.say("Some changes were missed; the names are read again.")
            self.read_again()
            return
        self.face.names.show(self.tree.apply(event))
        self.finder.apply(event)
        if event.kind not in QUIET_KINDS and self.kind(event.name) is not None:
            self._doubtful.add(event.name)
        if [event.name] == self.selected():
            self.note_selection()
        if event.name == self._awaited:
            self.reveal(event.name)

    def _not_watching(self, why: str) -> None:
        self.face.say(f"Changes of others are not shown until F5: {why}", error=True)

    def _ask_status(self) -> None:
        self._status_asked = self.desk.ask(
            "reading the status", read_status, self._show_status, self._lost, quiet=True
        )
        self._lively = False

    def _show_status(self, came: tuple[str, dict[str, Any]]) -> None:
        self._status_asked, self._status_at = False, time.monotonic()
        uri, status = came
        if uri != self._uri:
            # Of a pair the other one answers.
            self._uri, self._where = uri, where_is(uri)
            self.face.say(f"Connected to {uri} now.")
        if self._silent:
            self._silent = False
            self.face.say(f"{self._where} answers again.")
        self.face.set_state(f"connected to {self._where}", "good", True)
        self.face.status.configure(text=status_line(status))

    def _lost(self, why: str) -> None:
        self._status_asked, self._status_at = False, time.monotonic()
        if not self._silent:
            self._silent = True
            self.face.say(why, error=True)
        self.face.set_state(f"no answer from {self._where}", "error", True)

    # -- time ------------------------------------------------------------------------------------------------

    def ask(
        self, words: str, function: Callable[[NameServerProxy], Any], done: Callable[[Any], object],
        failed: Callable[[str], object] | None = None,
    ) -> bool:  # fmt: skip
        """Have something done with the name server, see `Desk.ask`; what goes wrong is told in the messages."""
        accepted = self.desk.ask(words, function, done, failed or self._tell_failure)
        if not accepted:
            self.face.say(f"Not done ({words}): too much waits for this name server; connect again.", error=True)
        return accepted

    def _tell_failure(self, why: str) -> None:
        self.face.say(why, error=True)

    def later(self, what: str, milliseconds: int, function: Callable[[], object]) -> None:
        """Call it soon; of several calls for the same thing only the last counts."""
        if what in self._timers:
            self.root.after_cancel(self._timers[what])

        def run() -> None:
            self._timers.pop(what, None)
            function()

        self._timers[what] = self.root.after(milliseconds, run)

    def _fetch(self) -> None:
        more = self.desk.poll()
        self._show_busy()
        self.later("fetch", 1 if more else FETCH_MS, self._fetch)

    def _show_busy(self) -> None:
        words = "looking for a name server" if self._connecting else self.desk.busy
        now = time.monotonic()
        if not words:
            self._busy_since = None
        elif self._busy_since is None:
            self._busy_since = now
        shown = self._busy_since is not None and now - self._busy_since >= BUSY_SECONDS
        self.face.set_busy(words if shown else "")

    def _tidy(self) -> None:
        """Look after what events made doubtful, and after the server itself."""
        self.later("tidy", TIDY_MS, self._tidy)
        if not self._uri:
            return
        since = time.monotonic() - self._status_at
        if not self._status_asked and since > (LIVELY_SECONDS if self._lively else STATUS_SECONDS):
            self._ask_status()
        self.finder.tidy()
        if self._doubtful:
            some = [self._doubtful.pop() for _ in range(min(len(self._doubtful), MAX_DOUBTFUL))]
            self.desk.ask(
                "looking after names", lambda ns: look_after(ns, some), self._mark, lambda _: None, quiet=True
            )

    def _mark(self, stale: dict[str, bool]) -> None:
        for name, is_stale in stale.items():
            self.face.names.show(self.tree.mark(name, is_stale))
            self.finder.mark(name, is_stale)


def where_is(uri: str) -> str:
    """Return the place of an address in short."""
    parsed = PyroURI(uri)
    return str(parsed.address) if parsed.is_unix else f"{parsed.address}:{parsed.port}"


def status_line(status: dict[str, Any]) -> str:
    """Return what is worth knowing of a server at a glance; empty where it may not be known."""
    if not status:
        return ""
    parts = [f"{status['names']:,} {'name' if status['names'] == 1 else 'names'}"]
    if status.get("groups") is not None:
        parts.append(f"{status['groups']:,} {'group' if status['groups'] == 1 else 'groups'}")
    if status.get("stale_leases"):
        parts.append(f"{status['stale_leases']:,} stale")
    pair = status.get("pair")
    parts.append("no twin" if not pair else f"{pair['role']}: {pair['state']}")
    if pair and pair.get("conflicts"):
        parts.append(f"{pair['conflicts']:,} conflicts")
    return "   ·   ".join(parts)
