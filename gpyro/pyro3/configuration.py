"""`Pyro.configuration`; `python -m gpyro.pyro3.configuration` is `gpyro config`."""

from __future__ import annotations

from gpyro._pyro3.settings import Config
from gpyro._pyro3.tools import run_tool

__all__ = ["Config"]

if __name__ == "__main__":
    run_tool("config")
