"""The three panes of the window: the names, what is known of one, and what has happened."""

from __future__ import annotations

import pprint
import time
import tkinter as tk
from collections.abc import Callable
from tkinter import font, ttk
from typing import Any

from gpyro.names import GROUP, ROOT
from gpyro_cli._xnsc.model import Clear, Delete, Insert, Mark, More, Screen
from gpyro_cli._xnsc.style import COLOURS, GAP

__all__ = ["DetailsPane", "MessagePane", "NamesPane", "scrolled"]

#: Lines of the messages that are kept.
MAX_LINES = 1_000
#: Ends of the ids of rows that are no names: names have no "/".
MORE, WAIT = "/more", "/wait"


def scrolled(frame: ttk.Frame, widget: Any) -> None:
    """Lay a widget out in a frame of its own, with a scrollbar beside it while there is more than fits."""
    bar = ttk.Scrollbar(frame, orient="vertical", command=widget.yview)

    def scroll(first: str, last: str) -> None:
        bar.set(float(first), float(last))
        if float(first) <= 0 and float(last) >= 1:
            bar.grid_remove()
        else:
            bar.grid()

    widget.configure(yscrollcommand=scroll)
    widget.grid(row=0, column=0, sticky="nsew")
    bar.grid(row=0, column=1, sticky="ns")
    frame.rowconfigure(0, weight=1)
    frame.columnconfigure(0, weight=1)


class NamesPane(ttk.Frame):
    """Rows of names, as a tree or as a flat list; ids of rows are full names.

    Args:
        icons: of a group and of an object.
        on_more: called with a group that more is wanted of: it was opened, or its last row was chosen.
        on_select: called when other names are selected.
        flat: groups cannot be opened.
    """

    def __init__(
        self, parent: tk.Misc, icons: tuple[str, str], on_more: Callable[[str], object],
        on_select: Callable[[], object], flat: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(parent)
        self._icons = icons
        self._on_more = on_more
        self._flat = flat
        self.tree = ttk.Treeview(self, show="tree", selectmode="extended", height=10)
        self.tree.column("#0", width=320, minwidth=160)
        scrolled(self, self.tree)
        self.tree.tag_configure("stale", foreground="#9aa1ad")
        self.tree.tag_configure("more", foreground=COLOURS["accent"])
        self.tree.tag_configure("wait", foreground=COLOURS["dim"])
        self.tree.bind("<<TreeviewOpen>>", self._opened)
        self.tree.bind("<<TreeviewSelect>>", lambda _: on_select())
        self.tree.bind("<Return>", self._entered)
        self.tree.bind("<space>", self._entered)
        self.tree.bind("<ButtonRelease-1>", self._clicked)

    def names(self) -> list[str]:
        """Return the names that are selected."""
        return [row for row in self.tree.selection() if not row.endswith((MORE, WAIT))]

    def rows(self, group: str = ROOT) -> list[str]:
        """Return the texts of the rows in a group, top to bottom."""
        return [str(self.tree.item(row, "text")) for row in self.tree.get_children(self._row(group))]

    def is_stale(self, name: str) -> bool:
        """Tell whether the name is shown as stale."""
        return self.tree.tag_has("stale", name) if self.tree.exists(name) else False

    def select(self, names: list[str]) -> None:
        """Select those of the names that are shown."""
        there = [name for name in names if self.tree.exists(name)]
        if there and there != list(self.tree.selection()):
            self.tree.selection_set(*there)

    def clear(self) -> None:
        """Take all rows away."""
        self.tree.delete(*self.tree.get_children(""))

    def show(self, screen: Screen) -> None:
        """Do what has changed."""
        for change in screen:
            if isinstance(change, Insert):
                self._insert(change)
            elif isinstance(change, Delete):
                self._delete(change.name)
            elif isinstance(change, Mark):
                self._mark(change)
            elif isinstance(change, More):
                self._show_more(change)
            else:
                self._forget(change)

    def _row(self, group: str) -> str:
        return "" if group == ROOT or self._flat else group

    def _insert(self, change: Insert) -> None:
        parent = self._row(change.group)
        if self.tree.exists(change.name) or (parent and not self.tree.exists(parent)):
            return
        icon = self._icons[0 if change.kind == GROUP else 1]
        self.tree.insert(parent, change.at, iid=change.name, text=f" {change.text}", image=icon)
        if change.kind == GROUP and not self._flat:
            self.tree.insert(change.name, "end", iid=change.name + WAIT, text="…", tags=("wait",))
        if self.tree.exists(change.group + WAIT):
            self.tree.delete(change.group + WAIT)

    def _delete(self, name: str) -> None:
        if self.tree.exists(name):
            if name in self.tree.selection() or self.tree.focus() == name:
                # The keyboard goes on where it was.
                self.tree.focus(self.tree.next(name) or self.tree.prev(name) or self.tree.parent(name))
            self.tree.delete(name)

    def _mark(self, change: Mark) -> None:
        if self.tree.exists(change.name):
            text = str(self.tree.item(change.name, "text")).removesuffix("  (stale)")
            self.tree.item(
                change.name, tags=("stale",) if change.stale else (),
                text=text + "  (stale)" if change.stale else text,
            )  # fmt: skip

    def _show_more(self, change: More) -> None:
        parent = self._row(change.group)
        if parent and not self.tree.exists(parent):
            return
        for end in (MORE, WAIT):
            if self.tree.exists(change.group + end):
                self.tree.delete(change.group + end)
        if change.more:
            text = f"more…   ({change.shown:,} shown)"
            self.tree.insert(parent, "end", iid=change.group + MORE, text=text, tags=("more",))
        elif not change.shown:
            text = "nothing found" if self._flat else "(empty)"
            self.tree.insert(parent, "end", iid=change.group + WAIT, text=text, tags=("wait",))

    def _forget(self, change: Clear) -> None:
        parent = self._row(change.group)
        if parent and not self.tree.exists(parent):
            return
        self.tree.delete(*self.tree.get_children(parent))
        if parent:
            self.tree.insert(parent, "end", iid=change.group + WAIT, text="…", tags=("wait",))
            self.tree.item(parent, open=False)

    def _opened(self, _: object) -> None:
        row = self.tree.focus()
        if row and not self._flat and self.tree.exists(row + WAIT):
            self._on_more(row)

    def _entered(self, _: object) -> str | None:
        row = self.tree.focus()
        if row.endswith(MORE):
            self._on_more(row.removesuffix(MORE))
        elif row and self.tree.get_children(row):
            self.tree.item(row, open=not self.tree.item(row, "open"))
            self._opened(None)
        else:
            self.tree.selection_set(*([row] if row else []))
        return "break"

    def _clicked(self, event: tk.Event[Any]) -> None:
        row = self.tree.identify_row(event.y)
        if row.endswith(MORE):
            self._on_more(row.removesuffix(MORE))


class _TextPane(ttk.Frame):
    """Text to read and to copy, not to change."""

    def __init__(self, parent: tk.Misc, height: int, width: int) -> None:
        super().__init__(parent)
        self.text = tk.Text(
            self, height=height, width=width, wrap="word", state="disabled", relief="flat", borderwidth=0,
            takefocus=0, highlightthickness=1, highlightbackground=COLOURS["line"],
            highlightcolor=COLOURS["accent"], background=COLOURS["field"], foreground=COLOURS["text"], padx=10,
            pady=8, font="TkDefaultFont", spacing1=2, spacing3=2, cursor="arrow",
        )  # fmt: skip
        scrolled(self, self.text)
        heading = font.nametofont("TkHeadingFont")
        self.text.tag_configure("heading", font=heading, spacing3=6)
        self.text.tag_configure("dim", foreground=COLOURS["dim"])
        self.text.tag_configure("error", foreground=COLOURS["error"])
        self.text.tag_configure("fixed", font="TkFixedFont")

    def write(self, *pieces: tuple[str, str]) -> None:
        """Add pieces of text, each with its tag."""
        self.text.configure(state="normal")
        for piece, tag in pieces:
            self.text.insert("end", piece, tag)
        self.text.configure(state="disabled")

    def content(self) -> str:
        """Return all that stands there."""
        return self.text.get("1.0", "end-1c")

    def clear(self) -> None:
        """Take all text away."""
        self.text.configure(state="normal")
        self.text.delete("1.0", "end")
        self.text.configure(state="disabled")


class DetailsPane(_TextPane):
    """What is known of one name."""

    def __init__(self, parent: tk.Misc) -> None:
        super().__init__(parent, height=10, width=46)
        width = max(font.nametofont("TkDefaultFont").measure(word) for word in ("Addresses", "Revision")) + 2 * GAP
        self.text.tag_configure("value", lmargin2=width)
        self.text.configure(tabs=(width,))
        self.show_hint("Select a name to see what is known of it.")

    def show_hint(self, words: str) -> None:
        """Show a line in place of details."""
        self.clear()
        self.write((words, "dim"))

    def show(self, details: dict[str, Any]) -> None:
        """Show what `NameServer.details` returned."""
        self.clear()
        self.write((f"{details['name']}\n", "heading"))
        self._line("Kind", str(details["kind"]))
        for index, member in enumerate(details.get("members") or ()):
            words = "Addresses" if len(details["members"]) > 1 else "Address"
            self._line("" if index else words, str(member["uri"]))
            if len(details["members"]) > 1:
                self._line("", f"by {_owner(member)}, {when(member['created'])}", "dim")
            if member["stale"]:
                self._line("", "stale: its process has not been heard of for a while", "error")
            elif member["leased"]:
                self._line("", "as long as its process lives (lease)", "dim")
        self._line("Owner", _owner(details))
        self._line("Created", when(details["created"]))
        self._line("Revision", str(details["revision"]))
        self._line("Meta", "none" if details["meta"] is None else as_text(details["meta"]))

    def _line(self, words: str, value: str, tag: str = "value") -> None:
        for line in value.split("\n"):
            self.write((words, "dim"), ("\t", "value"), (f"{line}\n", tag))
            words = ""


class MessagePane(_TextPane):
    """What was done and what went wrong, the newest at the end."""

    def __init__(self, parent: tk.Misc) -> None:
        super().__init__(parent, height=4, width=40)

    def add(self, words: str, error: bool = False) -> None:
        """Add a line with the time."""
        end = "\n" if self.content() else ""
        self.write((f"{end}{time.strftime('%H:%M:%S')}  ", "dim"), (words, "error" if error else ""))
        lines = int(self.text.index("end-1c").split(".")[0])
        if lines > MAX_LINES:
            self.text.configure(state="normal")
            self.text.delete("1.0", f"{lines - MAX_LINES + 1}.0")
            self.text.configure(state="disabled")
        self.text.see("end")


def when(seconds: float) -> str:
    """Return a time in seconds since 1970 as this machine's clock shows it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def as_text(value: Any) -> str:
    """Return a value of meta: a text as it is, all else as Python writes it."""
    return value if isinstance(value, str) else pprint.pformat(value, width=60)


def _owner(entry: dict[str, Any]) -> str:
    return str(entry["owner"]) if entry["owner"] else "the name server itself"
