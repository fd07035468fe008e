"""`gpyro nsc export` and `import`: names as lines of JSON.

The first line tells the format; each other one is a name, groups before what is in them:

    {"format": "gpyro names", "version": 1, "exported": "2026-01-31T12:00:00+00:00", "group": ":"}
    {"name": ":Plant", "kind": "group", "members": [], "meta": null, "meta_encoded": null}
    {"name": ":Plant.press", "kind": "object", "members": [{"uri": "PYRO://...", "leased": false}], ...}

`meta` is for reading. `meta_encoded` is the user's meta as base64 of the codec's bytes, and it is what is
imported, so that all values come back as they were.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import click

from gpyro_cli._nsc_contact import Contact, name_argument, pass_contact
from gpyro_cli.output import make_plain, print_failure

if TYPE_CHECKING:
    from gpyro.naming import NameServerProxy

__all__ = ["COMMANDS"]

FORMAT, VERSION = "gpyro names", 1
#: Longest line that is read: 256 addresses and a meta of 16 KiB, in both forms, fit with room to spare.
MAX_LINE = 1024 * 1024


class Refused(ValueError):
    """A line is not of the format, or not to be put where it belongs."""


# -- export --------------------------------------------------------------------------------------------------


@click.command("export")
@name_argument("group", required=False)
@pass_contact
def export_names(contact: Contact, group: str | None) -> None:
    """Print GROUP and all that is in it, by default everything, as lines of JSON for `import`.

    The name server's own name is left out. Leased addresses are marked.
    """
    from datetime import datetime, timezone

    ns = contact.get()
    full_name = ns.fullName(group or ":")
    top, below = ns.details(full_name), ns.search(full_name)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    click.echo(json.dumps({"format": FORMAT, "version": VERSION, "exported": now, "group": full_name}))
    if full_name != ":" or top["meta"] is not None:
        click.echo(_line_of(top))
    for details in below:
        if not _is_own_name(details["name"]):
            click.echo(_line_of(details))


def _is_own_name(name: str) -> bool:
    from gpyro.naming import NAMESERVER_NAME

    return name == NAMESERVER_NAME


def _line_of(details: dict[str, Any]) -> str:
    from gpyro.naming import encode_meta

    body = encode_meta(details["meta"])
    return json.dumps({
        "name": details["name"],
        "kind": details["kind"],
        "members": [{"uri": member["uri"], "leased": member["leased"]} for member in details["members"]],
        "meta": make_plain(details["meta"]),
        "meta_encoded": None if body is None else base64.b64encode(body).decode(),
    })  # fmt: skip


# -- import --------------------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """One name of a file."""

    name: str
    is_group: bool
    uris: list[str]
    meta: Any


@click.command("import")
@click.option("--replace", is_flag=True, help="Take the place of what is there under these names.")
@click.option("--leased", is_flag=True, help="Also addresses that were leased; they stay then until removed.")
@click.option("--dry-run", is_flag=True, help="Only tell what would fail.")
@click.argument("file", type=click.File(encoding="utf-8"))
@pass_contact
def import_names(contact: Contact, file: TextIO, replace: bool, leased: bool, dry_run: bool) -> None:
    """Put the names in FILE, which `export` has printed, into the name server; - is stdin.

    Groups that are missing are made. What fails is told, the others are done, and the status is 1 then.
    """
    lines = _lines(file)
    _check_header(next(lines, ""), file.name)
    importing = (_Trial if dry_run else _Importing)(contact.get(), replace)
    done = skipped = failed = 0
    for number, line in enumerate(lines, 2):
        try:
            entry = _read_entry(line, leased)
            if _is_own_name(entry.name) or not (entry.is_group or entry.uris):
                skipped += 1
                continue
            importing.put(entry)
            done += 1
        except Exception as exc:
            if _ends_all(exc):
                raise
            print_failure(f"line {number}: {exc}")
            failed += 1
    verb = "would be imported" if dry_run else "imported"
    click.echo(f"{done} {verb}, {skipped} left out, {failed} failed.")
    if failed:
        raise click.exceptions.Exit(1)


def _ends_all(exc: Exception) -> bool:
    """Tell whether the others would fail likewise: the server is gone, or there is a bug here."""
    from gpyro.errors import ProtocolError, PyroError

    return isinstance(exc, ProtocolError) or not isinstance(exc, (PyroError, Refused))


class _Importing:
    """Puts entries into a name server."""

    def __init__(self, ns: NameServerProxy, replace: bool) -> None:
        self._ns = ns
        self._replace = replace

    def put(self, entry: Entry) -> None:
        """Make a group, or register the addresses of an object; with its meta, and with what it stands in.

        Raises:
            Refused, PyroError: it cannot be.
        """
        if entry.is_group:
            is_there = not self._make_group(entry.name)
            if is_there and not self._replace:
                _check_meta(self._ns, entry)
        else:
            for index, uri in enumerate(entry.uris):
                self._register(entry.name, uri, replace=self._replace and index == 0, member=index > 0)
        if self._replace or entry.meta is not None:
            self._ns.setMeta(entry.name, entry.meta)

    def _register(self, name: str, uri: str, *, replace: bool, member: bool) -> None:
        self._with_parents(name, lambda: self._ns.register(name, uri, replace=replace, member=member))

    def _make_group(self, name: str) -> bool:
        """Make a group; return False where it is there already."""
        from gpyro.errors import NamingError
        from gpyro.names import ROOT, Reason

        if name == ROOT:
            return False
        try:
            self._with_parents(name, lambda: self._ns.createGroup(name))
        except NamingError as exc:
            if exc.reason == Reason.GROUP_EXISTS:
                return False
            raise
        return True

    def _with_parents(self, name: str, action: Callable[[], object]) -> None:
        from gpyro.errors import NamingError
        from gpyro.names import Reason

        try:
            action()
        except NamingError as exc:
            if exc.reason != Reason.PARENT_NOT_FOUND:
                raise
            for parent in _parents(name):
                self._make_group(parent)
            action()


class _Trial(_Importing):
    """Only looks whether entries could be put there, as far as that can be seen beforehand."""

    def __init__(self, ns: NameServerProxy, replace: bool) -> None:
        super().__init__(ns, replace)
        #: What would be there by now of the entries that were looked at.
        self._kinds: dict[str, str] = {}

    def put(self, entry: Entry) -> None:
        from gpyro.names import Reason, naming_error
        from gpyro.uri import PyroURI

        for parent in _parents(entry.name):
            if self._kind(parent) == "object":
                raise naming_error(Reason.PARENT_NO_GROUP, entry.name)
            self._kinds.setdefault(parent, "group")
        for uri in entry.uris:
            PyroURI(uri)
        there = self._kind(entry.name)
        if there is not None and (there == "object" or not entry.is_group):
            if entry.is_group or there == "group" or not self._replace:
                raise naming_error(Reason.NAME_EXISTS, entry.name)
        if there == "group" and not self._replace and entry.name not in self._kinds:
            _check_meta(self._ns, entry)
        self._kinds[entry.name] = "group" if entry.is_group else "object"

    def _kind(self, name: str) -> str | None:
        from gpyro.errors import NamingError
        from gpyro.names import Reason

        if name in self._kinds:
            return self._kinds[name]
        try:
            kind: str = self._ns.details(name)["kind"]
            return kind
        except NamingError as exc:
            if exc.reason == Reason.NAME_NOT_FOUND:
                return None
            raise


def _check_meta(ns: NameServerProxy, entry: Entry) -> None:
    """See that a group that is there has no meta, or the same as an entry, or that the entry has none.

    Raises:
        Refused: it has another one.
    """
    from gpyro.naming import encode_meta

    meta = None if entry.meta is None else ns.getMeta(entry.name)
    if meta is not None and encode_meta(meta) != encode_meta(entry.meta):
        raise Refused(f"group {entry.name!r} is there with another meta; --replace takes its place")


def _parents(name: str) -> list[str]:
    """Return the groups that a name stands in, the outermost first, without the root."""
    parts = name[1:].split(".")
    return [":" + ".".join(parts[:end]) for end in range(1, len(parts))]


# -- reading -------------------------------------------------------------------------------------------------


def _lines(file: TextIO) -> Iterator[str]:
    """Return the lines of a file without the empty ones.

    Raises:
        click.ClickException: it is no text, or a line is too long for any name.
    """
    try:
        while line := file.readline(MAX_LINE + 1):
            if len(line) > MAX_LINE:
                raise click.ClickException(f"{file.name}: a line has more than {MAX_LINE} characters")
            if line.strip():
                yield line
    except UnicodeDecodeError as exc:
        raise click.ClickException(f"{file.name} is no UTF-8 text: {exc}") from exc


def _check_header(line: str, name: str) -> None:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise click.ClickException(f"{name} was not printed by `gpyro nsc export`: line 1 is not of {FORMAT!r}")
    if header.get("version") != VERSION:
        raise click.ClickException(
            f"{name} has version {header.get('version')!r} of the format, and this gpyro reads {VERSION}"
        )


def _read_entry(line: str, leased: bool) -> Entry:
    """Return the name on a line, with the addresses that are wanted.

    Raises:
        Refused: the line is not of the format. NamingError: its name is none.
    """
    from gpyro.names import ROOT, check_full_name

    try:
        fields = json.loads(line)
        name, kind, members = fields["name"], fields["kind"], fields["members"]
        uris = [str(member["uri"]) for member in members if leased or not member["leased"]]
        body = fields["meta_encoded"]
        meta = None if body is None else _decode(body)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise Refused(f"no name of the format: {type(exc).__name__} {exc}: {line.strip()[:80]!r}") from exc
    if kind not in ("object", "group") or (kind == "group" and members) or (kind == "object" and not members):
        raise Refused(f"kind {kind!r} with {len(members)} members is none: {line.strip()[:80]!r}")
    return Entry(name if name == ROOT else check_full_name(name), kind == "group", uris, meta)


def _decode(body: str) -> Any:
    from gpyro.naming import decode_meta

    return decode_meta(base64.b64decode(body, validate=True))


COMMANDS = (export_names, import_names)
