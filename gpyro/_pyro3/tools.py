"""Pyro's tools: `Pyro.nsc.main(argv)` and `python -m gpyro.pyro3.nsc` are the command `gpyro nsc`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gpyro._pyro3.installing import install_finder
from gpyro._pyro3.settings import read_pyro_conf
from gpyro.errors import ConfigurationError
from gpyro.util import run_command

__all__ = ["run_tool", "tool", "tool_with_program_name"]


def run_tool(*words: str, arguments: Sequence[str] | None = None) -> None:
    """Run the `gpyro` command with these words, and the arguments, as `gpyro.util.run_command` does.

    Raises:
        SystemExit: always; with a text, which Python prints, where `Pyro.conf` is not right.
    """
    # Before security plugins are loaded, which were written for Pyro.
    install_finder()
    try:
        read_pyro_conf()
    except ConfigurationError as exc:
        raise SystemExit(f"Error: {exc}") from None
    run_command(*words, arguments=arguments)


def tool(*words: str) -> Callable[[Sequence[str]], None]:
    """Return Pyro's function for a command: it takes the words behind it.

    What it returns raises SystemExit where the command fails, with its exit status.
    """

    def main(argv: Sequence[str]) -> None:
        try:
            run_tool(*words, arguments=argv)
        except SystemExit as ended:
            if ended.code:
                raise

    main.__doc__ = f"Run `gpyro {' '.join(words)}` with these words behind it; Pyro's function of that name."
    return main


def tool_with_program_name(*words: str) -> Callable[[Sequence[str]], None]:
    """As `tool`, for a function that Pyro calls with `sys.argv` whole; the first word may be left out."""
    main = tool(*words)

    def main_of_argv(argv: Sequence[str]) -> None:
        main(argv if not argv or argv[0].startswith("-") else argv[1:])

    main_of_argv.__doc__ = main.__doc__
    return main_of_argv
