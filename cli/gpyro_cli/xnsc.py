"""`gpyro xnsc`: the names in a running name server, in a window."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from gpyro_cli.identification import identification_options, read_own_identification

__all__ = ["command"]

#: What the threads get to end when the window is closed; a request that hangs is left behind then.
END_SECONDS = 0.3

NO_TK = (
    "gpyro xnsc needs Tk, and this Python has none; install it (Debian and Ubuntu: python3-tk, Fedora: "
    "python3-tkinter, macOS: brew install python-tk), or use `gpyro nsc`"
)


@click.command("xnsc")
@click.option("-h", "--host", metavar="HOST", help="Host of the name server, to connect to at once.")
@click.option("-p", "--port", type=click.IntRange(1, 65535), help="Its TCP port.  [default: 9090]")
@click.option("-c", "--bcaddr", metavar="ADDRESS", help="Where Auto Discover broadcasts to.")
@identification_options("What to prove ourselves with")
def command(
    host: str | None, port: int | None, bcaddr: str | None, identification: str | None,
    identification_file: str | None,
) -> None:  # fmt: skip
    """Show and change the names in a running name server, in a window.

    Type the host, or host:port, and press Enter; or press Auto Discover. A passphrase goes into its box before
    that, and is gone from it once connected. Buttons have keys, Alt and the underlined letter; F5 reads all again.

    Note that -h is the host here, as in Pyro.
    """
    given = read_own_identification(identification, identification_file)
    root = _open_tk()
    from gpyro_cli._xnsc.window import Window

    window = Window(root, _place(host, port), port, bcaddr, given)
    try:
        root.mainloop()
    except KeyboardInterrupt:
        pass
    if not window.desk.close(END_SECONDS):
        # A thread that wakes up in its request while the interpreter ends would crash it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _place(host: str | None, port: int | None) -> str:
    """Return what the host box shows."""
    if not host or port is None:
        return host or ""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _open_tk() -> Any:
    """Return Tk's root window.

    Raises:
        click.ClickException: there is no Tk, or nowhere to show a window.
    """
    try:
        import tkinter
    except ImportError as exc:
        raise click.ClickException(NO_TK) from exc
    try:
        return tkinter.Tk(className="gpyro")
    except tkinter.TclError as exc:
        where = os.environ.get("DISPLAY")
        if where or sys.platform in ("darwin", "win32"):
            reason = f"the window cannot be opened on display {where!r}: {exc}" if where else str(exc)
        else:
            reason = "there is no display: DISPLAY is not set"
        raise click.ClickException(f"{reason}; log in with a desktop, or use `gpyro nsc`") from exc
