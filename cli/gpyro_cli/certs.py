"""`gpyro certs`: make certificates for development."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from gpyro_cli.output import print_table

if TYPE_CHECKING:
    from gpyro_cli._certs import Authority, Folder

__all__ = ["command"]

DEFAULT_DAYS = 365
#: A daemon that is tried out is called by one of these.
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What all of them take."""
    days = click.option(
        "--days", type=click.IntRange(1, 36500), default=DEFAULT_DAYS, show_default=True,
        help="How long they are valid.",
    )  # fmt: skip
    force = click.option("--force", is_flag=True, help="Overwrite files that are there.")
    return days(force(function))


_directory = click.option("--dir", "directory", metavar="DIR", help="Where the CA is.  [default: ssl_certdir]")


@click.group("certs")
def command() -> None:
    """Make certificates for development: a CA of your own, and what it signs.

    Each NAME.pem holds a certificate and its private key. Whoever has ca.key can make more; whoever has ca.pem can
    only check them. For anything that matters let your organisation's CA sign.
    """
    if find_spec("cryptography") is None:
        raise click.ClickException(
            "certificates are made with cryptography, which is not installed; pip install 'gpyro[certs]'"
        )


@command.command()
@click.argument("directory", required=False, metavar="[DIR]")
@_options
def init(directory: str | None, days: int, force: bool) -> None:
    """Make a CA, a daemon's certificate and a caller's.

    They go to DIR, else to the setting ssl_certdir, where PYROSSL looks for them.
    """
    from gpyro_cli._certs import CA_CERTIFICATE, CA_KEY, Authority, Folder

    with Folder(_resolve(directory), create=True) as folder:
        if not force:
            folder.check_free([CA_CERTIFICATE, CA_KEY, "host.pem", "client.pem"])
        ca = Authority.create(days)
        files = ca.files()
        folder.write(CA_KEY, files.key, private=True, replace=force)
        folder.write(CA_CERTIFICATE, files.certificate, private=False, replace=force)
        # With Pyro's settings a process serves and calls with this one file.
        _make(folder, ca, "host.pem", LOCAL_NAMES[0], LOCAL_NAMES, days, force, server=True, client=True)
        _make(folder, ca, "client.pem", "client", (), days, force, client=True)
        _tell_what_was_made(folder.path, days)


@command.command()
@click.argument("names", nargs=-1, required=True)
@_directory
@_options
def server(names: tuple[str, ...], directory: str | None, days: int, force: bool) -> None:
    """Make a certificate for a daemon.

    NAMES are the hosts and addresses by which it is called; the file has the first one's name.
    """
    from gpyro_cli._certs import Authority, Folder, file_name_of

    file_name, *_ = map(file_name_of, names)
    with Folder(_resolve(directory)) as folder:
        ca = Authority.load(folder)
        _make(folder, ca, file_name, names[0], names, days, force, server=True, client=True)
        click.echo(f"{os.path.join(folder.path, file_name)} is for {', '.join(names)}.")
        click.echo("Take it to that machine together with ca.pem, but without ca.key.")


@command.command()
@click.argument("name")
@_directory
@_options
def client(name: str, directory: str | None, days: int, force: bool) -> None:
    """Make a certificate for a caller.

    Daemons that ask for certificates know it by NAME.
    """
    from gpyro_cli._certs import Authority, Folder, file_name_of

    file_name = file_name_of(name)
    with Folder(_resolve(directory)) as folder:
        ca = Authority.load(folder)
        _make(folder, ca, file_name, name, (), days, force, client=True)
        click.echo(f"{os.path.join(folder.path, file_name)} says that its owner is {name}.")
        click.echo("Take it to its owner together with ca.pem, but without ca.key.")


def _resolve(directory: str | None) -> str:
    if directory is not None:
        return os.path.abspath(directory)
    from gpyro.configuration import config

    return config.ssl_certdir


def _make(
    folder: Folder, ca: Authority, file_name: str, common_name: str, names: Sequence[str], days: int, force: bool,
    *, server: bool = False, client: bool = False,
) -> None:  # fmt: skip
    if not force:
        folder.check_free([file_name])
    signed = ca.sign(common_name, names, days, server=server, client=client)
    folder.write(file_name, signed.certificate + signed.key, private=True, replace=force)


def _tell_what_was_made(path: str, days: int) -> None:
    click.echo(f"Made in {path}, valid for {days} days:")
    print_table(("FILE", "FOR"), [
        ("ca.pem", "everybody who is to trust what this CA signs"),
        ("ca.key", "nobody else: it signs"),
        ("host.pem", f"a daemon that is called by {', '.join(LOCAL_NAMES)}"),
        ("client.pem", "a caller"),
    ])  # fmt: skip
    from gpyro.configuration import config

    if path == config.ssl_certdir:
        click.echo('gpyro.Daemon(protocol="PYROSSL") and gpyro.Proxy("PYROSSL://...") use them as they are.')
    else:
        click.echo(f"Set GPYRO_SSL_CERTDIR={path}, and PYROSSL uses them; or name them in a gpyro.TLSConfig.")
    click.echo("`gpyro certs server NAME...` makes one for another machine.")
