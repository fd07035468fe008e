"""`Pyro.nsc`; `python -m gpyro.pyro3.nsc` is `gpyro nsc`."""

from __future__ import annotations

from gpyro._pyro3.tools import run_tool, tool

__all__ = ["main"]

main = tool("nsc")

if __name__ == "__main__":
    run_tool("nsc")
