"""`gpyro ns`: run a name server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gpyro_cli.identification import identification_options, read_identification

__all__ = ["command"]


@click.command("ns", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-n", "--hostname", metavar="HOST", help="Address to listen on.  [default: this machine only]")
@click.option("-p", "--port", type=click.IntRange(0, 65535), help="TCP port; 0 for a free one.  [default: 9090]")
@click.option(
    "-b", "--bcport", metavar="PORT", type=click.IntRange(0, 65535),
    help="UDP port to hear broadcasts on; 0 for a free one.  [default: 9090]",
)
@click.option(
    "-c", "--bcaddr", metavar="ADDRESS",
    help="Address to hear broadcasts on.  [default: all, but none if only this machine can connect]",
)
@click.option("-x", "--no-broadcast", is_flag=True, help="Do not hear broadcasts.")
@click.option("-m", "--multiple", is_flag=True, help="Start although others are running on this network.")
@click.option("-k", "--keep-running", is_flag=True, help="Do not respond to shutdown requests.")
@click.option("-r", "--no-lookup", is_flag=True, help="Do not look whether a name server is running already.")
@click.option(
    "-s", "--security", metavar="MODULE", help="Python module with security plugins: NSGuard() and BCGuard()."
)
@identification_options("What callers have to prove themselves with")
@click.option(
    "-1", "--primary", metavar="[HOST:PORT]", is_flag=False, flag_value="",
    help="Be the primary of a pair; where the secondary is.  [default: the settings ns2_hostname, ns2_port]",
)
@click.option(
    "-2", "--secondary", metavar="[HOST:PORT]", is_flag=False, flag_value="",
    help="Be the secondary of a pair; where the primary is.  [default: the settings ns_hostname, ns_port]",
)
@click.option(
    "--pair-identification-file", metavar="FILE", type=click.Path(dir_okay=False),
    help="What to prove ourselves with to the other one, where --identification-file holds accounts.",
)
@click.option("-v", "--verbose", is_flag=True, help="Tell more.")
@click.option("--insecure", is_flag=True, help="Listen beyond this machine although anybody may change names.")
@click.option(
    "--rights", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Who may do what: lines `:Group  who[,who]  right[,right]`; rights are lookup, register, remove, admin.",
)
@click.option(
    "-d", "--database", "dbdir", metavar="[DIR]", is_flag=False, flag_value="",
    help="Keep names in a database, in this directory below the setting storage.  [default: Pyro_NS_database]",
)
def command(
    hostname: str | None, port: int | None, bcport: int | None, bcaddr: str | None, no_broadcast: bool,
    multiple: bool, keep_running: bool, no_lookup: bool, security: str | None, verbose: bool, insecure: bool,
    rights: Path | None, dbdir: str | None, primary: str | None, secondary: str | None,
    pair_identification_file: str | None,
    identification: str | None, identification_file: str | None,
) -> None:  # fmt: skip
    """Run a name server until SIGTERM, ctrl-C or `gpyro nsc shutdown`.

    Names are kept in memory and end with it, unless -d keeps them in a database. It leaves its address in the
    file of the setting ns_urifile, where programs of this user on this machine find it. If others than this
    machine can connect, they find it by broadcast.
    """
    if no_broadcast and (bcport is not None or bcaddr is not None):
        raise click.UsageError("-x says not to hear broadcasts, and -b or -c where to; give one or the other")
    from gevent import monkey

    monkey.patch_all()
    from gpyro.naming import NameServerStarter, load_guards

    guards = (None, None) if security is None else load_guards(security)
    given = None if rights is None else _read_rights(rights)
    if primary is not None and secondary is not None:
        raise click.UsageError("-1 and -2 are the two roles of a pair; a name server has one of them")
    role = (1, primary) if primary is not None else (2, secondary) if secondary is not None else None
    click.echo("*** gpyro Name Server ***")
    NameServerStarter(read_identification(identification, identification_file)).start(
        hostname, port, keep=keep_running, dontlookupother=no_lookup, verbose=verbose, insecure_no_auth=insecure,
        rights=given, persistent=dbdir is not None, dbdir=dbdir or None, bcport=bcport,
        bcaddr=bcaddr, nobroadcast=no_broadcast, allowmultiple=multiple, Guards=guards, role=role,
        pair_identification=read_identification(None, pair_identification_file),
    )  # fmt: skip


def _read_rights(path: Path) -> Any:
    """Return the rights that a file gives.

    Raises:
        ConfigurationError: it is not as it should be, others may change it, or it cannot be read.
    """
    from gpyro.auth import read_trusted
    from gpyro.naming import parse_rights

    return parse_rights(read_trusted(path), str(path))
