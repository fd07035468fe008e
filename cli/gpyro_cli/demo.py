"""`gpyro demo`: the main job, done once on real input."""

from __future__ import annotations

import platform
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import click

__all__ = ["command"]


@click.command("demo")
@click.option("-v", "--verbose", is_flag=True, help="Show every value and what the servers print.")
def command(verbose: bool) -> None:
    """Start a name server and an object server, call them in every way, compare, and stop them.

    Everything runs on free ports of this machine and in a temporary directory. Values of every kind, a file, an
    exception, 1,000 blocking calls at once, a callback, attributes, a oneway call and an orderly stop are
    checked; the status is 1, with the reason, if anything differs. Nothing is left behind.
    """
    import gevent

    from gpyro import __version__
    from gpyro_cli._demo.processes import DemoError
    from gpyro_cli._demo.steps import run

    def say(line: str) -> None:
        click.echo(line)

    def tell(line: str) -> None:
        if verbose:
            click.echo(line)

    start = time.monotonic()
    say(f"gpyro {__version__}, Python {platform.python_version()}, gevent {gevent.__version__}")
    before = signal.signal(signal.SIGTERM, _end)
    try:
        with TemporaryDirectory(prefix="gpyro-demo-") as directory:
            run(Path(directory), say, tell)
    except DemoError as exc:
        raise click.ClickException(str(exc)) from exc
    finally:
        signal.signal(signal.SIGTERM, before)
    if Path(directory).exists():
        raise click.ClickException(f"{directory} is left behind")
    say(f"left behind     nothing: both processes ended, {directory} removed")
    say(f"All as it should be, in {time.monotonic() - start:.1f} s.")


def _end(number: int, frame: object) -> NoReturn:
    """Let SIGTERM unwind as ctrl-C does, so that processes and files go too."""
    sys.exit(128 + number)
