"""The window's widgets, their places and their keys; what they do is the `Window`'s."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from functools import partial
from tkinter import ttk
from typing import TYPE_CHECKING, Any

from gpyro.names import GROUP
from gpyro_cli._xnsc.actions import ACTIONS
from gpyro_cli._xnsc.style import COLOURS, GAP, apply_style, make_icons
from gpyro_cli._xnsc.views import DetailsPane, MessagePane, NamesPane

if TYPE_CHECKING:
    from gpyro_cli._xnsc.window import Window

__all__ = ["TITLE", "Face"]

TITLE = "gpyro names"
#: Some lines of each pane.
MIN_HEIGHT = 480
#: After the last key before what was typed is searched for.
TYPING_MS = 350


class Face:
    """What is to be seen of a window.

    Args:
        root: Tk's.
        window: whose methods the buttons and keys call.
        has_key: tell that there is a key, so that nothing has to be typed.
    """

    def __init__(self, root: tk.Tk, window: Window, has_key: bool) -> None:
        self.root = root
        self._window = window
        self._has_key = has_key
        apply_style(root)
        self._lay_out()
        self._bind_keys()

    def __repr__(self) -> str:
        return f"<Face {self.root.title()!r}>"

    def _lay_out(self) -> None:
        self.root.geometry("1000x660")
        self.root.rowconfigure(0, weight=1)
        self.root.columnconfigure(0, weight=1)
        self.frame = ttk.Frame(self.root, padding=(12, 12, 12, 8))
        self.frame.grid(sticky="nsew")
        self.frame.columnconfigure(0, weight=1)
        self.frame.rowconfigure(2, weight=1)
        bars = [self._lay_out_contact(), self._lay_out_actions()]
        self._lay_out_panes()
        self._lay_out_status()
        self.root.update_idletasks()
        # No button is cut off, whatever the fonts; the margins are those of the frame.
        self.root.minsize(max(bar.winfo_reqwidth() for bar in bars) + 24, MIN_HEIGHT)

    def _lay_out_contact(self) -> ttk.Frame:
        bar = ttk.Frame(self.frame)
        bar.grid(row=0, sticky="ew")
        bar.columnconfigure(1, weight=3)
        bar.columnconfigure(3, weight=2)
        ttk.Label(bar, text="Host", underline=0).grid(row=0, column=0, padx=(0, GAP))
        self.host = ttk.Entry(bar, width=28)
        self.host.grid(row=0, column=1, sticky="ew")
        words = "Identification" if not self._has_key else "Identification (key given)"
        ttk.Label(bar, text=words, underline=0).grid(row=0, column=2, padx=(2 * GAP, GAP))
        self.identification = ttk.Entry(bar, show="•", width=20)
        self.identification.grid(row=0, column=3, sticky="ew")
        connect = ttk.Button(bar, text="Connect", underline=0, command=self._window.connect)
        connect.configure(style="Accent.TButton")
        connect.grid(row=0, column=4, padx=(2 * GAP, GAP))
        discover = ttk.Button(bar, text="Auto Discover", underline=0, command=self._window.discover)
        discover.grid(row=0, column=5)
        for entry in (self.host, self.identification):
            entry.bind("<Return>", lambda _: self._window.connect())
        return bar

    def _lay_out_actions(self) -> ttk.Frame:
        bar = ttk.Frame(self.frame)
        bar.grid(row=1, sticky="ew", pady=(12, GAP))
        self.buttons: dict[str, ttk.Button] = {}
        for column, (words, underline, method, _) in enumerate(ACTIONS):
            command = getattr(self._window.actions, method)
            button = ttk.Button(bar, text=words, underline=underline, command=command)
            # Two belong together: objects, groups, meta.
            button.grid(row=0, column=column, padx=(0, GAP // 2 if column % 2 == 0 else 2 * GAP))
            self.buttons[method] = button
        return bar

    def _lay_out_panes(self) -> None:
        upright = ttk.PanedWindow(self.frame, orient="vertical")
        upright.grid(row=2, sticky="nsew")
        panes = ttk.PanedWindow(upright, orient="horizontal")
        left = ttk.Frame(panes)
        left.rowconfigure(1, weight=1)
        left.columnconfigure(1, weight=1)
        self._lay_out_search(left)
        icons = make_icons(self.root)
        finder, note = self._window.finder, self._window.note_selection
        self.names = NamesPane(left, icons, self._window.read, note)
        self.found = NamesPane(left, icons, finder.go_on, note, flat=True)
        for pane in (self.names, self.found):
            pane.grid(row=1, column=0, columnspan=2, sticky="nsew")
            pane.tree.bind("<Delete>", lambda _: self._press_delete())
        self.found.grid_remove()
        self.details = DetailsPane(panes)
        panes.add(left, weight=3)
        panes.add(self.details, weight=4)
        self.messages = MessagePane(upright)
        upright.add(panes, weight=1)
        upright.add(self.messages, weight=0)

    def _lay_out_search(self, left: ttk.Frame) -> None:
        finder = self._window.finder
        ttk.Label(left, text="Search", underline=0).grid(row=0, column=0, padx=(0, GAP))
        self.pattern = ttk.Entry(left, width=16)
        self.pattern.grid(row=0, column=1, sticky="ew", pady=(0, GAP // 2))
        self.pattern.bind("<KeyRelease>", lambda _: self._window.later("search", TYPING_MS, finder.start))
        self.pattern.bind("<Return>", lambda _: finder.start())
        self.pattern.bind("<Escape>", lambda _: finder.end())

    def _lay_out_status(self) -> None:
        bar = ttk.Frame(self.frame)
        bar.grid(row=3, sticky="ew", pady=(GAP, 0))
        bar.columnconfigure(2, weight=1)
        self.state = ttk.Label(bar)
        self.state.grid(row=0, column=0)
        self.status = ttk.Label(bar, style="Dim.TLabel")
        self.status.grid(row=0, column=1, padx=(2 * GAP, 0))
        self.busy = ttk.Label(bar, style="Dim.TLabel", anchor="e")
        self.busy.grid(row=0, column=2, sticky="ew", padx=GAP)
        self.progress = ttk.Progressbar(
            bar, mode="indeterminate", length=110, style="Busy.Horizontal.TProgressbar"
        )  # fmt: skip
        self.progress.grid(row=0, column=3)
        self.progress.grid_remove()

    def _bind_keys(self) -> None:
        keys: dict[str, Callable[[], object]] = {
            "<Control-l>": self.host.focus_set, "<Alt-h>": self.host.focus_set,
            "<Alt-i>": self.identification.focus_set, "<Control-f>": self.pattern.focus_set,
            "<Alt-s>": self.pattern.focus_set, "<F5>": self._window.read_again, "<Alt-c>": self._window.connect,
            "<Alt-a>": self._window.discover, "<Control-q>": self._window.close,
        }  # fmt: skip
        for words, underline, method, key in ACTIONS:
            for sequence in (f"<Alt-{words[underline].lower()}>", key):
                if sequence:
                    keys[sequence] = self.buttons[method].invoke
        for sequence, function in keys.items():
            self.root.bind(sequence, partial(_call, function))
        self.root.protocol("WM_DELETE_WINDOW", self._window.close)

    def _press_delete(self) -> None:
        selected = self._window.selected()
        groups = [name for name in selected if self._window.kind(name) == GROUP]
        self.buttons["delete_group" if groups and len(groups) == len(selected) else "remove"].invoke()

    def set_state(self, words: str, tone: str, usable: bool) -> None:
        """Tell how it stands with the server, in the title too; `usable` enables the buttons that need one."""
        where = f"{TITLE} - {words}"
        if self.root.title() != where:
            self.root.title(where)
        self.state.configure(text=f"● {words[:1].upper()}{words[1:]}", foreground=COLOURS[tone])
        for button in self.buttons.values():
            button.state(["!disabled" if usable else "disabled"])
        self.pattern.state(["!disabled" if usable else "disabled"])

    def set_busy(self, words: str) -> None:
        """Show that something is waited for; empty for nothing."""
        shown = f"{words} …" if words else ""
        if str(self.busy.cget("text")) == shown:
            return
        self.busy.configure(text=shown)
        if words:
            self.progress.grid()
            self.progress.start(30)
        else:
            self.progress.stop()
            self.progress.grid_remove()

    def show_search(self, searching: bool) -> None:
        """Show what was found in place of the tree, or the tree."""
        hidden, shown = (self.names, self.found) if searching else (self.found, self.names)
        hidden.grid_remove()
        shown.grid()

    def say(self, words: str, error: bool = False) -> None:
        """Tell something in the messages."""
        self.messages.add(words, error)


def _call(function: Callable[[], object], _: tk.Event[Any]) -> None:
    function()
