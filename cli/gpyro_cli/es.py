"""`gpyro es`: run an event server; with a command behind it, use the one that runs."""

from __future__ import annotations

import sys

import click

from gpyro_cli._es_look import remove, status
from gpyro_cli._es_publish import publish
from gpyro_cli._es_tail import tail
from gpyro_cli.identification import identification_options, read_identification

__all__ = ["command"]


@click.group("es", invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-n", "--hostname", metavar="HOST", help="Address to listen on.  [default: this machine only]")
@click.option(
    "-p", "--port", type=click.IntRange(0, 65535), help="TCP port; 0 for a free one.  [default: 7766 up]"
)
@click.option("-N", "--no-nameserver", is_flag=True, help="Do not register with the name server.")
@identification_options("What clients have to prove themselves with, and what a name server may want")
@click.option("-f", "--force", is_flag=True, help="Take the place of an event server that is running.")
@click.option("--insecure", is_flag=True, help="Listen beyond this machine although anybody may use it.")
@click.option(
    "-d", "--database", "dbdir", metavar="[DIR]", is_flag=False, flag_value="",
    help="Keep events in a database, in this directory below the setting storage.  [default: Pyro_ES_database]",
)
@click.pass_context
def command(
    ctx: click.Context, hostname: str | None, port: int | None, no_nameserver: bool, force: bool, insecure: bool,
    dbdir: str | None, identification: str | None, identification_file: str | None,
) -> None:  # fmt: skip
    """Run an event server until SIGTERM or ctrl-C; with a COMMAND, use the one that runs.

    Events are kept in memory and end with it, unless -d keeps them in a database. It registers as
    :Pyro.EventService with the name server, and leaves its address in the file of the setting es_urifile, where
    programs of this user on this machine find it.
    """
    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx)
        return
    wanted = read_identification(identification, identification_file)
    from gevent import monkey

    monkey.patch_all()
    from gpyro.eventserver import EventServiceStarter

    click.echo("*** gpyro Event Server ***")
    EventServiceStarter(wanted).start(
        hostname or "", port, not no_nameserver, port is not None, insecure_no_auth=insecure,
        persistent=dbdir is not None, dbdir=dbdir or None, anyway=force or _ask,
    )  # fmt: skip


def _ask() -> bool:
    """Ask a person whether one shall be started anyway; a script has --force."""
    if not sys.stdin.isatty():
        return False
    answer: bool = click.confirm("Start new Event Server anyway")
    return answer


def _refuse_options(ctx: click.Context) -> None:
    """Options before the name of a command are the server's, which does not run then.

    Raises:
        click.UsageError: there are some.
    """
    for param in ctx.command.params:
        if param.name and ctx.get_parameter_source(param.name) == click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"{param.opts[0]} before {ctx.invoked_subcommand!r} is for running a server; what `gpyro es "
                f"{ctx.invoked_subcommand}` takes stands behind it"
            )


for _command in (publish, tail, status, remove):
    command.add_command(_command)
