"""`Pyro.test.echoserver`; `python -m gpyro.pyro3.test.echoserver` is `gpyro echoserver`."""

from __future__ import annotations

from gpyro._pyro3.tools import run_tool, tool
from gpyro.echoserver import EchoServer

__all__ = ["EchoServer", "main"]

main = tool("echoserver")

if __name__ == "__main__":
    run_tool("echoserver")
