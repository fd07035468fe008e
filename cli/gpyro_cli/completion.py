"""`gpyro completion`: let a shell complete commands, options and names; and where it gets the names from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import BashComplete, ShellComplete, get_completion_class

if TYPE_CHECKING:
    from gpyro.naming import NameServerProxy

__all__ = ["command", "complete_name"]

#: Longest time that a person waits for names, in seconds; then there are none.
NAMES_SECONDS = 0.5
#: Names of one group that are offered; nobody reads more.
MAX_NAMES = 1_000

SHELLS = ("bash", "fish", "zsh")
VARIABLE = "_GPYRO_COMPLETE"


class _Bash(BashComplete):
    """Click's way to complete, for words with colons, at which bash parts words unless it is told otherwise.

    The line is parted at blanks here, and of what is offered only what stands behind the last colon is given back.
    """

    source_template = """\
%(complete_func)s() {
    local line="${COMP_LINE:0:COMP_POINT}" IFS=$' \\t\\n' words current before="" response type value
    words=($line)
    current=$((${#words[@]} - 1))
    [[ $line == *[[:blank:]] ]] && current=$((current + 1))
    if [[ $COMP_WORDBREAKS == *:* && ${words[current]} == *:* ]]; then
        before="${words[current]%%"${words[current]##*:}"}"
    fi
    response=$(env COMP_WORDS="$line" COMP_CWORD=$current %(complete_var)s=bash_complete "$1")
    while IFS=, read -r type value; do
        case $type in
            dir) COMPREPLY=(); compopt -o dirnames ;;
            file) COMPREPLY=(); compopt -o default ;;
            plain) COMPREPLY+=("${value#"$before"}") ;;
        esac
    done <<< "$response"
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that lets SHELL complete gpyro's commands, options and names.

    \b
    bash:  gpyro completion bash > ~/.gpyro-complete; echo '. ~/.gpyro-complete' >> ~/.bashrc
    zsh:   gpyro completion zsh > ~/.gpyro-complete; echo '. ~/.gpyro-complete' >> ~/.zshrc
    fish:  gpyro completion fish > ~/.config/fish/completions/gpyro.fish

    Names come from the running name server, if it answers within half a second.
    """
    cls: type[ShellComplete] | None = _Bash if shell == "bash" else get_completion_class(shell)
    assert cls is not None
    click.echo(cls(ctx.find_root().command, {}, "gpyro", VARIABLE).source())


def complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names that begin so, of the group that the text leads to; none where nobody answers in time.

    A group that is offered ends with no dot; who wants what is in it types one.
    """
    options = ctx.parent.params if ctx.parent is not None else {}
    try:
        return [*_names(options, incomplete)]
    except Exception:
        # A shell that completes is no place for errors; the command itself tells them.
        return []


def _names(options: dict[str, Any], incomplete: str) -> Iterator[str]:
    from gpyro.context import deadline

    group, dot, part = incomplete.rpartition(".")
    start = group + dot
    if not dot and incomplete.startswith(":"):
        group, start, part = ":", ":", incomplete[1:]
    import gpyro.naming  # noqa: F401  which takes its time, too, and is no wait for the name server

    with deadline(NAMES_SECONDS):
        names = [name for name, _ in _find(options).list(group) if name.startswith(part)]
    yield from (start + name for name in names[:MAX_NAMES])


def _find(options: dict[str, Any]) -> NameServerProxy:
    """Find the name server of nsc's options, or else on this machine; nothing is broadcast."""
    from gpyro.configuration import config
    from gpyro.errors import NamingError, ProtocolError
    from gpyro.naming import NameServerLocator, NameServerProxy, read_uri_file
    from gpyro_cli.identification import read_identification

    asks = options.get("identification") == "-"
    identification = None if asks else read_identification(
        options.get("identification"), options.get("identification_file")
    )  # fmt: skip
    host, port = options.get("host"), options.get("port")
    try:
        return NameServerLocator(identification).getNS(host or config.ns_hostname or "localhost", port)
    except (NamingError, ProtocolError):
        if host is not None or port is not None:
            raise
        return NameServerProxy(read_uri_file(config.ns_urifile), identification)
