"""The command line's entrance: which commands there are, and what happens to errors."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from gpyro import __version__

__all__ = ["COMMANDS", "LazyGroup", "cli", "main"]

#: Name: the module that has it, and the line in `gpyro --help`, kept here so that help loads none of them.
COMMANDS = {
    "certs": ("certs", "Make certificates for development."),
    "completion": ("completion", "Print the script that lets a shell complete gpyro's commands."),
    "config": ("config", "Show the active settings and where each comes from."),
    "demo": ("demo", "Start servers, call them in every way, compare, and stop them."),
    "echoserver": ("echoserver", "Run the built-in echo server."),
    "es": ("es", "Run an event server; publish events, follow them, and look at it."),
    "genguid": ("genguid", "Print a new object id."),
    "keygen": ("keygen", "Make a key that a caller proves itself with."),
    "ns": ("ns", "Run a name server."),
    "nsc": ("nsc", "Look at and change the names in a running name server."),
    "xnsc": ("xnsc", "Show and change the names in a name server, in a window."),
}


class LazyGroup(click.Group):
    """A group whose commands are loaded when they are run, and that tells errors in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"gpyro_cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return commands and options that begin so; like help, it loads no command."""
        names = (name for name in self.list_commands(ctx) if name.startswith(incomplete))
        items = [CompletionItem(name, help=COMMANDS[name][1]) for name in names]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            # Whoever read what is printed has seen enough; an error of a connection would be one of gpyro's.
            from gpyro_cli.output import silence_stdout

            silence_stdout()
            raise click.exceptions.Exit(0) from None
        except Exception as exc:
            if ctx.params.get("debug"):
                _print_traceback(exc)
            raise click.ClickException(_one_line(exc)) from exc


def _print_traceback(exc: Exception) -> None:
    from gpyro.util import getPyroTraceback

    click.echo("".join(getPyroTraceback(exc)), err=True, nl=False)


def _one_line(exc: Exception) -> str:
    from gpyro.errors import PyroError

    text = " ".join(str(exc).split())
    if isinstance(exc, (PyroError, OSError)):
        return text
    # Nobody wrote this one for people; it is most likely a bug.
    return f"{type(exc).__name__}: {text} (`gpyro --debug ...` shows where)"


@click.group(cls=LazyGroup, epilog="gpyro COMMAND --help tells more about a command.")
@click.version_option(__version__, prog_name="gpyro", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Remote Python objects for gevent: servers and tools.

    Settings come from the environment (GPYRO_NS_PORT=9090 ...) or the file that GPYRO_CONFIG_FILE names;
    `gpyro config` shows them.
    """


def main(args: list[str] | None = None) -> None:
    """Run the command and end the process: status 0 on success, 1 on failure, 2 when it was called wrongly."""
    cli.main(args, prog_name="gpyro")


if __name__ == "__main__":
    main(sys.argv[1:])
