"""`gpyro nsc`: look at and change the names in a running name server.

Here are Pyro's commands; `_nsc_look` has those that look further, `_nsc_transfer` export and import.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from gpyro_cli import _nsc_look, _nsc_transfer
from gpyro_cli._nsc_contact import Contact, each, json_option, name_argument, pass_contact
from gpyro_cli.identification import identification_options, read_own_identification
from gpyro_cli.output import json_list, print_json, print_pages, print_table

if TYPE_CHECKING:
    from gpyro.naming import NameServerProxy

__all__ = ["command"]

#: Names that are asked for at once: the first lines are there soon.
PAGE = 1_000
KINDS = ("group", "object")
EPILOG = """\b
Exit status:
  0  done
  1  an error, also for one of several names: not found, denied, no server
  2  wrong usage
A reader that closes the pipe is no error."""


@click.group("nsc", no_args_is_help=True, epilog=EPILOG)
@click.option("-h", "--host", metavar="HOST", help="Host of the name server.  [default: it is looked for]")
@click.option("-p", "--port", type=click.IntRange(1, 65535), help="Its port.  [default: 9090]")
@click.option("-c", "--bcaddr", metavar="ADDRESS", help="Where to broadcast.  [default: 255.255.255.255]")
@identification_options("What to prove ourselves with")
@click.option(
    "--timeout", metavar="SECONDS", type=click.FloatRange(0, min_open=True),
    help="Longest time to find it, and for each answer.  [default: no limit]",
)
@click.pass_context
def command(
    ctx: click.Context, host: str | None, port: int | None, bcaddr: str | None, identification: str | None,
    identification_file: str | None, timeout: float | None,
) -> None:  # fmt: skip
    """Look at and change the names in a running name server.

    Note that -h is the host here, as in Pyro. With it, -p is the TCP port there; without it, -p is both the UDP
    port of the broadcast and the TCP port at the other places that are tried.

    Relative names belong to the default group (ns_defaultgroup).
    """
    ctx.obj = Contact(host, port, bcaddr, read_own_identification(identification, identification_file), timeout)


for _command in (*_nsc_look.COMMANDS, *_nsc_transfer.COMMANDS):
    command.add_command(_command)


# -- looking -------------------------------------------------------------------------------------------------


@command.command()
@json_option
@pass_contact
def ping(contact: Contact, as_json: bool) -> None:
    """See whether the name server answers."""
    uri = contact.get().URI
    port = None if uri.is_unix else uri.port
    if as_json:
        print_json({"uri": str(uri), "host": uri.address, "port": port})
        return
    click.echo(f"NS is at {uri.address}" + ("" if port is None else f" port {port}"))
    click.echo("NS is up and running!")


@command.command("list")
@json_option
@name_argument("groups", nargs=-1, required=False)
@pass_contact
def list_groups(contact: Contact, groups: tuple[str, ...], as_json: bool) -> None:
    """List what stands in GROUPS; by default in the default group. `:` is the root."""
    ns = contact.get()

    def show(group: str) -> None:
        pages = _list_pages(ns, group)
        if len(groups) > 1:
            click.echo(f"{ns.fullName(group)} -->")
        print_pages(("NAME", "KIND"), ([(part, KINDS[kind]) for part, kind in page] for page in pages))

    if not as_json:
        each(groups or ("",), show)
        return
    with json_list() as items:
        each(groups or ("",), lambda group: _list_as_json(ns, group, items))


def _list_as_json(ns: NameServerProxy, group: str, items: Any) -> None:
    from gpyro.names import join_name

    full_name = ns.fullName(group)
    for page in _list_pages(ns, group):
        items.add({"name": join_name(full_name, part), "kind": KINDS[kind]} for part, kind in page)


def _list_pages(ns: NameServerProxy, group: str) -> Iterator[list[tuple[str, int]]]:
    """Return what stands in a group, page by page; the first, which fails where there is no group, at once."""
    first = ns.list(group, 0, PAGE)

    def go_on(page: list[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
        offset = 0
        while page:
            yield page
            offset += len(page)
            page = ns.list(group, offset, PAGE) if len(page) == PAGE else []

    return go_on(first)


@command.command()
@json_option
@pass_contact
def listall(contact: Contact, as_json: bool) -> None:
    """List the full names of all objects, each with its address or addresses."""
    found = (details for details in contact.get().search() if details["kind"] == "object")
    if as_json:
        with json_list() as items:
            for page in _nsc_look.in_pages(found, PAGE):
                items.add({"name": details["name"], "uris": details["uris"]} for details in page)
        return
    pages = _nsc_look.in_pages(found, PAGE)
    print_pages(("NAME", "ADDRESS"), ([(d["name"], uri) for d in page for uri in d["uris"]] for page in pages))


@command.command()
@json_option
@name_argument("names", nargs=-1)
@pass_contact
def resolve(contact: Contact, names: tuple[str, ...], as_json: bool) -> None:
    """Print the addresses under NAMES; of several under one name the first."""
    ns = contact.get()
    if as_json:
        with json_list() as items:
            each(names, lambda name: items.add([_resolved(ns, name)]))
        return
    rows: list[tuple[str, str]] = []
    try:
        each(names, lambda name: rows.append((ns.fullName(name), str(ns.resolve(name)))))
    finally:
        print_table(("NAME", "ADDRESS"), rows)


def _resolved(ns: NameServerProxy, name: str) -> dict[str, object]:
    return {"name": ns.fullName(name), "uris": [str(uri) for uri in ns.resolve(name, "all")]}


@command.command()
@json_option
@name_argument("names", nargs=-1)
@pass_contact
def showmeta(contact: Contact, names: tuple[str, ...], as_json: bool) -> None:
    """Show what is noted of objects or groups."""
    ns = contact.get()

    def show(name: str) -> None:
        rows = [("system", ns._getSystemMeta(name)), ("user", ns.getMeta(name))]
        if len(names) > 1:
            click.echo(f"{ns.fullName(name)} -->")
        print_table(("META", "VALUE"), rows)

    if not as_json:
        each(names, show)
        return
    with json_list() as items:
        each(names, lambda name: items.add([_metas(ns, name)]))


def _metas(ns: NameServerProxy, name: str) -> dict[str, object]:
    system = ns._getSystemMeta(name)
    return {
        "name": ns.fullName(name), "kind": KINDS[system.kind], "created": system.created, "owner": system.owner,
        "meta": ns.getMeta(name),
    }  # fmt: skip


# -- changing ------------------------------------------------------------------------------------------------


@command.command()
@name_argument("name")
@click.argument("uri")
@pass_contact
def register(contact: Contact, name: str, uri: str) -> None:
    """Register the address URI under NAME."""
    ns = contact.get()
    ns.register(name, uri)
    click.echo(f"{ns.fullName(name)} registered.")


@command.command()
@name_argument("names", nargs=-1)
@pass_contact
def remove(contact: Contact, names: tuple[str, ...]) -> None:
    """Remove the NAMES of objects."""
    ns = contact.get()

    def take_out(name: str) -> None:
        ns.unregister(name)
        click.echo(f"{ns.fullName(name)} removed.")

    each(names, take_out)


@command.command()
@name_argument("groups", nargs=-1)
@pass_contact
def creategroup(contact: Contact, groups: tuple[str, ...]) -> None:
    """Make empty GROUPS; the group that each stands in must be there."""
    ns = contact.get()

    def create(group: str) -> None:
        ns.createGroup(group)
        click.echo(f"{ns.fullName(group)} created.")

    each(groups, create)


@command.command()
@name_argument("groups", nargs=-1)
@pass_contact
def deletegroup(contact: Contact, groups: tuple[str, ...]) -> None:
    """Delete GROUPS with all that is in them."""
    ns = contact.get()

    def delete(group: str) -> None:
        ns.deleteGroup(group)
        click.echo(f"{ns.fullName(group)} deleted.")

    each(groups, delete)


@command.command()
@click.option("--json-value", is_flag=True, help="METADATA is JSON, and its value is kept; null takes it away.")
@name_argument("name")
@click.argument("metadata")
@pass_contact
def setmeta(contact: Contact, name: str, metadata: str, json_value: bool) -> None:
    """Keep the text METADATA with an object or group."""
    value = _nsc_look.read_json(metadata, "METADATA") if json_value else metadata
    ns = contact.get()
    ns.setMeta(name, value)
    click.echo(f"Metadata of {ns.fullName(name)} set.")


@command.command()
@pass_contact
def resync(contact: Contact) -> None:
    """Have both name servers of a pair compare their names anew."""
    contact.get().resync()
    click.echo("NS has compared its names with its twin's.")


@command.command()
@pass_contact
def shutdown(contact: Contact) -> None:
    """End the name server; only from the machine that it runs on."""
    click.echo(f"{contact.get().shutdown()}.")
