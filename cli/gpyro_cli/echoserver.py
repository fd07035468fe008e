"""`gpyro echoserver`: run the built-in echo server."""

from __future__ import annotations

import click

from gpyro_cli.identification import identification_options, read_identification

__all__ = ["command"]


@click.command("echoserver", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-H", "--host", metavar="HOST", help="Hostname to bind the server on.  [default: localhost]")
@click.option("-p", "--port", type=click.IntRange(0, 65535), help="Port to bind on.  [default: 7766 up]")
@click.option("-n", "--naming", is_flag=True, help="Register with a name server that is running.")
@click.option("-N", "--nameserver", is_flag=True, help="Also start a name server, in the same process.")
@identification_options("What callers have to prove themselves with")
@click.option("-v", "--verbose", is_flag=True, help="Print each call.")
@click.option("--insecure", is_flag=True, help="Listen beyond this machine although anybody may call.")
def command(
    host: str | None, port: int | None, naming: bool, nameserver: bool, verbose: bool, insecure: bool,
    identification: str | None, identification_file: str | None,
) -> None:  # fmt: skip
    """Run the built-in echo server until SIGTERM or ctrl-C.

    It has two methods: echo(x) returns x, error() raises ZeroDivisionError.
    """
    from gevent import monkey

    monkey.patch_all()
    from gpyro.echoserver import serve

    serve(
        host, port, naming=naming, nameserver=nameserver, verbose=verbose, insecure_no_auth=insecure,
        identification=read_identification(identification, identification_file),
    )  # fmt: skip
