"""How the window looks: one theme on every system, its colours, and two small pictures."""

from __future__ import annotations

import tkinter as tk
from tkinter import font, ttk

__all__ = ["COLOURS", "GAP", "apply_style", "make_icons"]

#: Between neighbours, and half of it between what belongs together.
GAP = 8

#: Of text on its ground each has a contrast of 4.5 or more.
COLOURS = {
    "ground": "#f4f5f7", "field": "#ffffff", "text": "#1f2430", "dim": "#626b7a", "line": "#cfd4dc",
    "button": "#e7eaef", "pressed": "#d5dae2", "accent": "#1d5fc4", "pale": "#dbe7fb", "error": "#b3261e",
    "good": "#1b7a3d", "group": "#d9a13a", "object": "#4a7fd0",
}  # fmt: skip


def apply_style(root: tk.Tk) -> None:
    """Give all ttk widgets of the window the same quiet look; text sizes are the system's."""
    c = COLOURS
    style = ttk.Style(root)
    style.theme_use("clam")
    root.configure(background=c["ground"])
    style.configure(
        ".", background=c["ground"], foreground=c["text"], bordercolor=c["line"], lightcolor=c["ground"],
        darkcolor=c["ground"], troughcolor=c["button"], focuscolor=c["accent"], fieldbackground=c["field"],
        selectbackground=c["accent"], selectforeground=c["field"], insertcolor=c["text"],
    )  # fmt: skip
    style.map(".", foreground=[("disabled", "#9aa1ad")])
    button = c["button"]
    style.configure("TButton", background=button, lightcolor=button, darkcolor=button, padding=(10, 5))
    style.map(
        "TButton", background=[("disabled", c["ground"]), ("pressed", c["pressed"]), ("active", c["pressed"])],
        lightcolor=[("disabled", c["ground"]), ("active", c["pressed"])],
        darkcolor=[("disabled", c["ground"]), ("active", c["pressed"])],
    )  # fmt: skip
    for name, ground in (("Accent.TButton", c["accent"]), ("Danger.TButton", c["error"])):
        style.configure(
            name, background=ground, foreground=c["field"], bordercolor=ground, lightcolor=ground,
            darkcolor=ground, focuscolor=c["field"],
        )  # fmt: skip
        disabled = [("disabled", c["button"])]
        style.map(
            name, background=disabled, lightcolor=disabled, darkcolor=disabled, bordercolor=disabled,
            foreground=[("disabled", "#9aa1ad")],
        )  # fmt: skip
    style.configure("TEntry", padding=(6, 5), lightcolor=c["field"], darkcolor=c["field"])
    focus = [("focus", c["accent"])]
    style.map("TEntry", bordercolor=focus, lightcolor=focus, fieldbackground=[("disabled", c["ground"])])
    style.map("TCheckbutton", background=[("active", c["ground"])])
    style.configure("Dim.TLabel", foreground=c["dim"])
    style.configure("Error.TLabel", foreground=c["error"])
    style.configure("Good.TLabel", foreground=c["good"])
    bold = font.nametofont("TkHeadingFont")
    bold.configure(weight="bold")
    style.configure("Heading.TLabel", font=bold)
    row = font.nametofont("TkDefaultFont").metrics("linespace") + 8
    style.configure(
        "Treeview", background=c["field"], fieldbackground=c["field"], rowheight=row, lightcolor=c["field"],
        bordercolor=c["line"], indent=18,
    )  # fmt: skip
    style.map(
        "Treeview", background=[("selected", c["pale"])], foreground=[("selected", c["text"])],
        bordercolor=focus,
    )  # fmt: skip
    style.configure("Vertical.TScrollbar", background=c["button"], arrowcolor=c["dim"], gripcount=0)
    style.configure("Busy.Horizontal.TProgressbar", background=c["accent"], lightcolor=c["accent"], thickness=6)
    style.configure("Sash", sashthickness=GAP, gripcount=0)
    style.configure("TPanedwindow", background=c["ground"])


def make_icons(root: tk.Tk) -> tuple[str, str]:
    """Return the names of the pictures of a group and of an object; they last as long as Tk.

    They are Tk's own: the end of a PhotoImage of Python's may come in another thread and call Tk there.
    """
    # A folder with its tab; a disc, row by row.
    discs = [(8 - half, y, 8 + half, y + 1) for y, half in enumerate((2, 4, 4, 5, 5, 5, 5, 4, 4, 2), 3)]
    return _make_icon(root, "group", [(1, 3, 8, 6), (1, 5, 16, 14)]), _make_icon(root, "object", discs)


def _make_icon(root: tk.Tk, colour: str, boxes: list[tuple[int, int, int, int]]) -> str:
    name = str(root.tk.call("image", "create", "photo", "-width", 20, "-height", 16))
    for box in boxes:
        root.tk.call(name, "put", COLOURS[colour], "-to", *box)
    return name
