"""The search: what is typed, the names that it finds, and what happens to them meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpyro_cli._xnsc.jobs import search
from gpyro_cli._xnsc.model import PAGE, Mark, Search

if TYPE_CHECKING:
    from gpyro.naming import NameEvent
    from gpyro_cli._xnsc.window import Window

__all__ = ["Finder"]


class Finder:
    """Shows what is found in place of the tree, as long as something is typed; all in Tk's thread."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._search: Search | None = None
        self._asking = False

    def __repr__(self) -> str:
        return f"<Finder {'idle' if self._search is None else repr(self._search)}>"

    @property
    def is_on(self) -> bool:
        """True while what is found is shown."""
        return self._search is not None

    def kind(self, name: str) -> int | None:
        """Return GROUP or OBJECT; None for a name that was not found."""
        return None if self._search is None else self._search.names.get(name)

    def start(self) -> None:
        """Show the names that fit what is typed; the tree again where nothing is."""
        pattern = self._window.face.pattern.get().strip()
        if not pattern:
            self.end()
        elif self._search is None or self._search.pattern != pattern:
            self._search = Search(pattern)
            self._window.face.show_search(True)
            self._window.face.found.clear()
            self._look("")
            self._window.note_selection()

    def go_on(self, _: str) -> None:
        """Show the next page of what is found."""
        if self._search is not None and not self._asking:
            self._look(self._search.last)

    def look_again(self) -> None:
        """Search again, soon."""
        if self._search is not None:
            self._search.dirty = True

    def end(self) -> None:
        """Show the tree."""
        self._window.face.pattern.delete(0, "end")
        if self._search is not None:
            self._search, self._asking = None, False
            self._window.face.show_search(False)
            self._window.note_selection()

    def _look(self, after: str) -> None:
        wanted = self._search
        if wanted is None:
            return
        limit = PAGE if after else max(PAGE, len(wanted.names))

        def take(found: list[dict[str, Any]]) -> None:
            if wanted is self._search:
                self._asking = False
                selected = self._window.selected()
                self._window.face.found.show(wanted.take(after, found, limit))
                self._window.face.found.select(selected)

        def failed(why: str) -> None:
            if wanted is self._search:
                self._asking = False
            self._window.face.say(why, error=True)

        wanted.dirty = False
        self._asking = self._window.ask(
            f"searching {wanted.pattern}", lambda ns: search(ns, wanted.pattern, after, limit), take, failed
        )

    # -- what happens meanwhile

    def apply(self, event: NameEvent) -> None:
        """Take in what happened to a name."""
        if self._search is not None:
            self._window.face.found.show(self._search.apply(event))

    def mark(self, name: str, stale: bool) -> None:
        """Show whether somebody stands behind a name."""
        if self.kind(name) is not None:
            self._window.face.found.show([Mark(name, stale)])

    def tidy(self) -> None:
        """Search again where something came that may fit; called now and then."""
        if self._search is not None and self._search.dirty and not self._asking:
            self._look("")
