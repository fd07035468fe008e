"""`gpyro nsc`: look at and change the names in a running name server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from gpyro_cli.identification import identification_options, read_identification
from gpyro_cli.output import print_failure, print_table

if TYPE_CHECKING:
    from gpyro.naming import NameServerProxy

__all__ = ["command"]


class Contact:
    """Where the name server is, from the options; it is contacted when a command needs it."""

    def __init__(self, host: str | None, port: int | None, bcaddr: str | None, identification: object) -> None:
        self.host = host
        self.port = port
        self.bcaddr = bcaddr
        self.identification = identification

    def get(self) -> NameServerProxy:
        """Find it.

        Raises:
            NamingError: there is none. ConnectionDeniedError: it does not let us in.
        """
        from gpyro.naming import NameServerLocator

        if isinstance(self.identification, list):
            raise click.UsageError(
                "--identification-file holds accounts, which are for servers; a caller has a passphrase or a key"
            )
        return NameServerLocator(self.identification).getNS(self.host, self.port, bcaddr=self.bcaddr)


pass_contact = click.make_pass_decorator(Contact)


@click.group("nsc", no_args_is_help=True)
@click.option("-h", "--host", metavar="HOST", help="Host of the name server.  [default: it is looked for]")
@click.option("-p", "--port", type=click.IntRange(1, 65535), help="Its port.  [default: 9090]")
@click.option("-c", "--bcaddr", metavar="ADDRESS", help="Where to broadcast.  [default: 255.255.255.255]")
@identification_options("What to prove ourselves with")
@click.pass_context
def command(
    ctx: click.Context, host: str | None, port: int | None, bcaddr: str | None, identification: str | None,
    identification_file: str | None,
) -> None:  # fmt: skip
    """Look at and change the names in a running name server.

    Note that -h is the host here, as in Pyro. With it, -p is the TCP port there; without it, -p is both the UDP
    port of the broadcast and the TCP port at the other places that are tried.

    Relative names belong to the default group (ns_defaultgroup).
    """
    ctx.obj = Contact(host, port, bcaddr, read_identification(identification, identification_file))


@command.command()
@pass_contact
def ping(contact: Contact) -> None:
    """See whether the name server answers."""
    ns = contact.get()
    where = ns.URI.address if ns.URI.is_unix else f"{ns.URI.address} port {ns.URI.port}"
    click.echo(f"NS is at {where}")
    click.echo("NS is up and running!")


@command.command("list")
@click.argument("groups", nargs=-1)
@pass_contact
def list_groups(contact: Contact, groups: tuple[str, ...]) -> None:
    """List what stands in GROUPS; by default in the default group. `:` is the root."""
    ns = contact.get()

    def show(group: str) -> None:
        entries = ns.list(group)
        if len(groups) > 1:
            click.echo(f"{ns.fullName(group)} -->")
        print_table(("NAME", "KIND"), [(part, "object" if kind else "group") for part, kind in entries])

    _each(groups or ("",), show)


@command.command()
@pass_contact
def listall(contact: Contact) -> None:
    """List the full names and addresses of all objects."""
    print_table(("NAME", "ADDRESS"), contact.get().flatlist())


@command.command()
@click.argument("name")
@click.argument("uri")
@pass_contact
def register(contact: Contact, name: str, uri: str) -> None:
    """Register the address URI under NAME."""
    ns = contact.get()
    ns.register(name, uri)
    click.echo(f"{ns.fullName(name)} registered.")


@command.command()
@click.argument("names", nargs=-1, required=True)
@pass_contact
def resolve(contact: Contact, names: tuple[str, ...]) -> None:
    """Print the addresses under NAMES."""
    ns = contact.get()
    rows: list[tuple[str, str]] = []
    try:
        _each(names, lambda name: rows.append((ns.fullName(name), str(ns.resolve(name)))))
    finally:
        print_table(("NAME", "ADDRESS"), rows)


@command.command()
@click.argument("names", nargs=-1, required=True)
@pass_contact
def remove(contact: Contact, names: tuple[str, ...]) -> None:
    """Remove the NAMES of objects."""
    ns = contact.get()

    def take_out(name: str) -> None:
        ns.unregister(name)
        click.echo(f"{ns.fullName(name)} removed.")

    _each(names, take_out)


@command.command()
@click.argument("groups", nargs=-1, required=True)
@pass_contact
def creategroup(contact: Contact, groups: tuple[str, ...]) -> None:
    """Make empty GROUPS; the group that each stands in must be there."""
    ns = contact.get()

    def create(group: str) -> None:
        ns.createGroup(group)
        click.echo(f"{ns.fullName(group)} created.")

    _each(groups, create)


@command.command()
@click.argument("groups", nargs=-1, required=True)
@pass_contact
def deletegroup(contact: Contact, groups: tuple[str, ...]) -> None:
    """Delete GROUPS with all that is in them."""
    ns = contact.get()

    def delete(group: str) -> None:
        ns.deleteGroup(group)
        click.echo(f"{ns.fullName(group)} deleted.")

    _each(groups, delete)


@command.command()
@click.argument("names", nargs=-1, required=True)
@pass_contact
def showmeta(contact: Contact, names: tuple[str, ...]) -> None:
    """Show what is noted of objects or groups."""
    ns = contact.get()

    def show(name: str) -> None:
        rows = [("system", ns._getSystemMeta(name)), ("user", ns.getMeta(name))]
        if len(names) > 1:
            click.echo(f"{ns.fullName(name)} -->")
        print_table(("META", "VALUE"), rows)

    _each(names, show)


@command.command()
@click.argument("name")
@click.argument("metadata")
@pass_contact
def setmeta(contact: Contact, name: str, metadata: str) -> None:
    """Keep the text METADATA with an object or group."""
    ns = contact.get()
    ns.setMeta(name, metadata)
    click.echo(f"Metadata of {ns.fullName(name)} set.")


@command.command()
@pass_contact
def shutdown(contact: Contact) -> None:
    """End the name server; only from the machine that it runs on."""
    click.echo(f"{contact.get().shutdown()}.")


def _each(names: Sequence[str], action: Callable[[str], object]) -> None:
    """Do it for each name; those that fail are told, the others are done, and the status is 1 then."""
    from gpyro.errors import NamingError

    failed = False
    for name in names:
        try:
            action(name)
        except NamingError as exc:
            if len(names) == 1:
                raise
            print_failure(str(exc))
            failed = True
    if failed:
        raise click.exceptions.Exit(1)
