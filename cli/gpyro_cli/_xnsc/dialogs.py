"""Small windows before the main one: a form to fill in, and text to read."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from tkinter import ttk
from typing import Any, NamedTuple

from gpyro_cli._xnsc.style import COLOURS, GAP
from gpyro_cli._xnsc.views import scrolled

__all__ = ["Field", "Form", "Reader"]

Values = dict[str, Any]


class Field(NamedTuple):
    """One thing to fill in: a line of text, several ("text"), or a box to tick ("check")."""

    key: str
    label: str
    value: Any = ""
    kind: str = "line"


class _Dialog(tk.Toplevel):
    """A window that has to be answered or closed before the main one goes on; the network does meanwhile."""

    def __init__(self, parent: tk.Misc, title: str) -> None:
        super().__init__(
            parent, background=COLOURS["ground"], highlightthickness=1, highlightbackground=COLOURS["line"],
            highlightcolor=COLOURS["line"],
        )  # fmt: skip
        self.withdraw()
        self.title(title)
        owner = parent.winfo_toplevel()
        assert isinstance(owner, (tk.Tk, tk.Toplevel))
        self.transient(owner)
        self._before = owner.focus_get()
        self.body = ttk.Frame(self, padding=2 * GAP)
        self.body.grid(sticky="nsew")
        self.rowconfigure(0, weight=1)
        self.columnconfigure(0, weight=1)
        self.bind("<Escape>", lambda _: self.close())
        self.protocol("WM_DELETE_WINDOW", self.close)

    def open(self, first: tk.Misc) -> None:
        """Show it in the middle of the main window, with the keyboard at `first`."""
        self.update_idletasks()
        owner = self.master.winfo_toplevel()
        x = owner.winfo_rootx() + (owner.winfo_width() - self.winfo_reqwidth()) // 2
        y = owner.winfo_rooty() + (owner.winfo_height() - self.winfo_reqheight()) // 3
        self.geometry(f"+{max(x, 0)}+{max(y, 0)}")
        self.minsize(self.winfo_reqwidth(), self.winfo_reqheight())
        self.deiconify()
        # Only what is to be seen can keep clicks from the main window; nothing is waited for here.
        self.bind("<Visibility>", self._take_over)
        first.focus_set()

    def _take_over(self, _: object) -> None:
        self.unbind("<Visibility>")
        self.grab_set()

    def close(self) -> None:
        """Close it; the keyboard is back where it was."""
        # None where another program has it, and keeps it.
        has_keyboard = self.focus_get() is not None
        self.grab_release()
        self.destroy()
        if has_keyboard and self._before is not None and self._before.winfo_exists():
            # Where no window manager does it, nobody gives the keyboard to the main window by itself.
            self._before.focus_force()


class Form(_Dialog):
    """Something to fill in and to confirm.

    Args:
        title: what is done. text: what that means, below it; empty for nothing.
        fields: what to fill in.
        action: the words on its button.
        on_done: called with {key: value} once the window is closed.
        check: called with them before; a ValueError or PyroError of it is shown, and the window stays.
        danger: something is lost by it.
    """

    def __init__(
        self, parent: tk.Misc, title: str, text: str, fields: Sequence[Field], action: str,
        on_done: Callable[[Values], object], check: Callable[[Values], object] = lambda values: None,
        danger: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(parent, title)
        self._on_done = on_done
        self._check = check
        self._readers: dict[str, Callable[[], Any]] = {}
        self.widgets: dict[str, Any] = {}
        self.body.columnconfigure(1, weight=1)
        ttk.Label(self.body, text=title, style="Heading.TLabel").grid(columnspan=2, sticky="w")
        if text:
            label = ttk.Label(self.body, text=text, style="Dim.TLabel", wraplength=440, justify="left")
            label.grid(columnspan=2, sticky="w", pady=(GAP // 2, 0))
        for row, field in enumerate(fields, 2):
            self._add(row, field)
        self.fault = ttk.Label(self.body, style="Error.TLabel", wraplength=440, justify="left")
        self.fault.grid(row=len(fields) + 2, columnspan=2, sticky="w", pady=(GAP, 0))
        buttons = ttk.Frame(self.body)
        buttons.grid(row=len(fields) + 3, columnspan=2, sticky="e", pady=(GAP, 0))
        ttk.Button(buttons, text="Cancel", command=self.close).grid(row=0, column=0, padx=(0, GAP))
        style = "Danger.TButton" if danger else "Accent.TButton"
        self.button = ttk.Button(buttons, text=action, command=self.submit, style=style)
        self.button.grid(row=0, column=1)
        self.bind("<Return>", self._on_return)
        self.bind("<Control-Return>", lambda _: self.submit())
        unfinished = [self.widgets[field.key] for field in fields if _is_unfinished(field)]
        boxes = [self.widgets[field.key] for field in fields if field.kind != "check"]
        self.open(unfinished[0] if unfinished else self.button if danger or not boxes else boxes[-1])

    def _add(self, row: int, field: Field) -> None:
        widget: Any
        if field.kind == "check":
            # Without a Variable of Python's, whose end may come in another thread and call Tk there.
            widget = ttk.Checkbutton(self.body, text=field.label)
            widget.state(["!alternate", "selected" if field.value else "!selected"])
            widget.grid(row=row, column=1, sticky="w", pady=(GAP, 0))
            self._readers[field.key] = lambda: widget.instate(["selected"])
        else:
            ttk.Label(self.body, text=field.label).grid(
                row=row, column=0, sticky="nw", padx=(0, 2 * GAP), pady=(GAP + 5, 0)
            )
            if field.kind == "text":
                widget = tk.Text(
                    self.body, height=6, width=52, wrap="word", font="TkFixedFont", relief="flat", padx=6, pady=5,
                    highlightthickness=1, highlightbackground=COLOURS["line"], highlightcolor=COLOURS["accent"],
                )  # fmt: skip
                widget.insert("1.0", field.value)
                widget.bind("<Tab>", _go_on)
                self._readers[field.key] = lambda: widget.get("1.0", "end-1c")
            else:
                widget = ttk.Entry(self.body, width=52)
                widget.insert(0, field.value)
                self._readers[field.key] = lambda: widget.get().strip()
            widget.grid(row=row, column=1, sticky="nsew", pady=(GAP, 0))
        self.widgets[field.key] = widget

    def _on_return(self, event: tk.Event[Any]) -> None:
        if isinstance(event.widget, tk.Text):
            return
        if isinstance(event.widget, ttk.Button) and event.widget is not self.button:
            event.widget.invoke()
        else:
            self.submit()

    def submit(self) -> None:
        """Hand the values on, or show what is wrong with them."""
        from gpyro.errors import PyroError

        values = {key: read() for key, read in self._readers.items()}
        try:
            self._check(values)
        except (ValueError, PyroError) as exc:
            self.fault.configure(text=str(exc))
            return
        self.close()
        self._on_done(values)


class Reader(_Dialog):
    """Text to read and to copy."""

    def __init__(self, parent: tk.Misc, title: str, content: str) -> None:
        super().__init__(parent, title)
        ttk.Label(self.body, text=title, style="Heading.TLabel").grid(sticky="w")
        frame = ttk.Frame(self.body)
        frame.grid(row=1, sticky="nsew", pady=GAP)
        self.body.rowconfigure(1, weight=1)
        self.body.columnconfigure(0, weight=1)
        text = tk.Text(
            frame, height=min(max(content.count("\n") + 2, 6), 24), width=64, wrap="word", font="TkFixedFont",
            relief="flat", padx=10, pady=8, highlightthickness=1, highlightbackground=COLOURS["line"],
        )  # fmt: skip
        text.insert("1.0", content)
        text.configure(state="disabled")
        scrolled(frame, text)
        button = ttk.Button(self.body, text="Close", command=self.close, style="Accent.TButton")
        button.grid(row=2, sticky="e")
        self.bind("<Return>", lambda _: self.close())
        self.text = text
        self.open(button)


def _is_unfinished(field: Field) -> bool:
    return field.kind != "check" and (not field.value or field.value.endswith((".", ":")))


def _go_on(event: tk.Event[Any]) -> str:
    event.widget.tk_focusNext().focus_set()
    return "break"
