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


def make_icons(root: tk.Tk) -> tuple[tk.PhotoImage, tk.PhotoImage]:
    """Return the pictures of a group and of an object; they last as long as somebody keeps them."""
    folder = tk.PhotoImage(master=root, width=20, height=16)
    folder.put(COLOURS["group"], to=(1, 3, 8, 6))
    folder.put(COLOURS["group"], to=(1, 5, 16, 14))
    dot = tk.PhotoImage(master=root, width=20, height=16)
    # A disc, row by row.
    for y, half in enumerate((3, 4, 5, 5, 5, 5, 5, 5, 4, 3), 3):
        dot.put(COLOURS["object"], to=(8 - half, y, 8 + half, y + 1))
    return folder, dot
