"""Pyro's tools: `Pyro.nsc.main(argv)` and `python -m gpyro.pyro3.nsc` are the command `gpyro nsc`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gpyro._pyro3.settings import read_pyro_conf
from gpyro.util import run_command

__all__ = ["run_tool", "tool"]


def run_tool(*words: str, arguments: Sequence[str] | None = None) -> None:
    """Run the `gpyro` command with these words, and the arguments, as `gpyro.util.run_command` does.

    Raises:
        SystemExit: always. ConfigurationError: `Pyro.conf` is not right.
    """
    read_pyro_conf()
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
