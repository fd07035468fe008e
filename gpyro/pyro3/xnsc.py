"""`Pyro.xnsc`; `python -m gpyro.pyro3.xnsc` is `gpyro xnsc`."""

from __future__ import annotations

from gpyro._pyro3.tools import run_tool, tool_with_program_name

__all__ = ["main"]

main = tool_with_program_name("xnsc")

if __name__ == "__main__":
    run_tool("xnsc")
