"""What the buttons do: ask for what is needed, have it done, and say what became of it."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpyro.configuration import config
from gpyro.names import GROUP, ROOT, expand_name, split_name, validate_group, validate_name
from gpyro.uri import PyroURI
from gpyro_cli._xnsc.dialogs import Field, Form, Reader, Values
from gpyro_cli._xnsc.jobs import each
from gpyro_cli._xnsc.views import as_text, when

if TYPE_CHECKING:
    from gpyro.naming import NameServerProxy
    from gpyro_cli._xnsc.window import Window

__all__ = ["ACTIONS", "Actions"]

#: Words on the button, place of the underlined letter (Alt and it press the button), method, other key.
ACTIONS = (
    ("Register…", 0, "register", "<Control-n>"),
    ("Remove…", 4, "remove", ""),
    ("New group…", 4, "create_group", "<Control-g>"),
    ("Delete group…", 0, "delete_group", ""),
    ("Set meta…", 4, "set_meta", "<Control-m>"),
    ("Show meta", 2, "show_meta", ""),
)

#: Names that a question about several shows.
MAX_SHOWN = 8


class Actions:
    """One method for each button; they work on what is selected, or on the names that are typed."""

    def __init__(self, window: Window) -> None:
        self._window = window
        #: What was typed into a form whose request failed, for the next try.
        self._drafts: dict[str, Values] = {}

    # -- objects

    def register(self) -> None:
        """Register an address."""
        given = self._drafts.get("register") or {"name": self._here()}

        def check(values: Values) -> None:
            validate_name(values["name"])
            PyroURI(values["uri"])

        def done(values: Values) -> None:
            name, uri = _full_name(values), values["uri"]
            options = {"replace": values["replace"], "member": values["member"]}
            self._change(
                "register", values, f"registering {name}", f"{name} registered.",
                lambda ns: ns.register(name, uri, **options), name,
            )  # fmt: skip

        Form(
            self._window.face.frame, "Register a name", "The name stands for the address until it is removed.",
            [
                Field("name", "Name", given["name"]),
                Field("uri", "Address", given.get("uri", "")),
                Field("replace", "Take the place of addresses that are there", given.get("replace"), "check"),
                Field("member", "Stand beside addresses that are there", given.get("member"), "check"),
            ],
            "Register", done, check,
        )  # fmt: skip

    def remove(self) -> None:
        """Remove the selected objects, or one that is typed."""
        names = [name for name in self._window.selected() if self._window.kind(name) != GROUP]
        self._take_away(
            names, "Remove a name", "Remove", "removing", "removed",
            "Nobody finds it any more; the object itself goes on.", lambda ns, name: ns.unregister(name),
        )  # fmt: skip

    # -- groups

    def create_group(self) -> None:
        """Make an empty group."""

        def done(values: Values) -> None:
            name = _full_name(values)
            self._change(
                "create_group", values, f"creating {name}", f"Group {name} created.",
                lambda ns: ns.createGroup(name), name,
            )  # fmt: skip

        given = self._drafts.get("create_group") or {"name": self._here()}
        Form(
            self._window.face.frame, "New group", "The group that it stands in must be there.",
            [Field("name", "Name", given["name"])], "Create", done, lambda values: validate_group(values["name"]),
        )  # fmt: skip

    def delete_group(self) -> None:
        """Delete the selected groups, or one that is typed."""
        names = [name for name in self._window.selected() if self._window.kind(name) == GROUP]
        self._take_away(
            names, "Delete a group", "Delete", "deleting", "deleted",
            "All names and groups in it go with it. There is no way back.", lambda ns, name: ns.deleteGroup(name),
        )  # fmt: skip

    # -- either

    def set_meta(self) -> None:
        """Change what is noted of a name; first it is asked for what is there."""
        name = self._only()
        draft = self._drafts.get("set_meta")
        if draft is not None and draft["name"] == name:
            self._edit_meta(name, draft["meta"], draft["python"])
        elif not name:
            self._edit_meta("", "", False)
        else:
            self._window.ask(
                f"reading the meta of {name}", lambda ns: ns.getMeta(name),
                lambda meta: self._edit_meta(
                    name, "" if meta is None else as_text(meta), not (meta is None or isinstance(meta, str))
                ),
            )  # fmt: skip

    def _edit_meta(self, name: str, text: str, python: bool) -> None:
        def check(values: Values) -> None:
            validate_name(values["name"])
            _meta_of(values)

        def done(values: Values) -> None:
            name, meta = _full_name(values), _meta_of(values)
            self._change(
                "set_meta", values, f"setting the meta of {name}",
                f"Meta of {name} {'taken away' if meta is None else 'set'}.", lambda ns: ns.setMeta(name, meta),
            )  # fmt: skip

        Form(
            self._window.face.frame, "Set meta", "Kept with the name, for whoever asks. Empty takes it away.",
            [
                Field("name", "Name", name), Field("meta", "Meta", text, "text"),
                Field("python", "It is a Python value, such as {'room': 4}", python, "check"),
            ],
            "Set", done, check,
        )  # fmt: skip

    def show_meta(self) -> None:
        """Show what the server and what its users note of a name."""
        name = self._only()

        def ask(name: str) -> None:
            self._window.ask(f"reading the meta of {name}", lambda ns: ns.details(name), show)

        def show(details: dict[str, Any]) -> None:
            meta = details["meta"]
            lines = [
                f"Kind      {details['kind']}", f"Owner     {details['owner'] or 'the name server itself'}",
                f"Created   {when(details['created'])}", f"Revision  {details['revision']}", "",
                "No meta is set." if meta is None else as_text(meta),
            ]  # fmt: skip
            Reader(self._window.face.frame, f"Meta of {details['name']}", "\n".join(lines))

        if name:
            ask(name)
            return
        Form(
            self._window.face.frame, "Show meta", "", [Field("name", "Name")], "Show",
            lambda values: ask(_full_name(values)), lambda values: validate_name(values["name"]),
        )  # fmt: skip

    # -- what they share

    def _here(self) -> str:
        """Return how names begin in the group that is selected, or that the selected object stands in."""
        name = self._only()
        group = name if self._window.kind(name) == GROUP else split_name(name)[0] if name else ROOT
        return group if group == ROOT else group + "."

    def _only(self) -> str:
        selected = self._window.selected()
        return selected[0] if len(selected) == 1 else ""

    def _change(
        self, draft: str, values: Values, busy: str, success: str, function: Any, reveal: str = "",
    ) -> None:  # fmt: skip
        def done(_: object) -> None:
            self._drafts.pop(draft, None)
            self._window.face.say(success)
            if reveal:
                self._window.reveal(reveal)

        self._drafts[draft] = values
        self._window.ask(busy, function, done)

    def _take_away(
        self, names: Sequence[str], title: str, action: str, doing: str, did: str, text: str, function: Any
    ) -> None:
        def run(names: Sequence[str]) -> None:
            def job(ns: NameServerProxy) -> list[tuple[str, str]]:
                return each(names, lambda name: function(ns, name))

            words = names[0] if len(names) == 1 else f"{len(names):,} names"
            self._window.ask(f"{doing} {words}", job, done)

        def done(results: Sequence[tuple[str, str]]) -> None:
            for name, fault in results:
                self._window.face.say(fault or f"{name} {did}.", error=bool(fault))

        if len(names) <= 1:
            field = Field("name", "Name", names[0] if names else "")
            Form(
                self._window.face.frame, title, text, [field], action, lambda values: run([_full_name(values)]),
                lambda values: validate_name(values["name"]), danger=True,
            )  # fmt: skip
            return
        shown = "\n".join(names[:MAX_SHOWN])
        if len(names) > MAX_SHOWN:
            shown += f"\nand {len(names) - MAX_SHOWN:,} more"
        Form(
            self._window.face.frame, f"{action} {len(names):,} names", f"{shown}\n\n{text}", [], action,
            lambda _: run(names), danger=True,
        )  # fmt: skip


def _full_name(values: Values) -> str:
    """Return the name that was typed; a relative one belongs to the default group."""
    return expand_name(values["name"], config.ns_defaultgroup)


def _meta_of(values: Values) -> Any:
    text: str = values["meta"]
    if not text.strip():
        return None
    if not values["python"]:
        return text
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError) as exc:
        raise ValueError(f"this is no plain Python value: {exc}; untick the box to keep it as text") from exc
