"""`Pyro.EventService.Server`; `python -m gpyro.pyro3.EventService.Server` is `gpyro es`."""

from __future__ import annotations

from gpyro._pyro3.tools import run_tool, tool
from gpyro.errors import *  # noqa: F403 (as in Pyro)
from gpyro.eventserver import Event, EventService, EventServiceStarter
from gpyro.log import Log

__all__ = ["Event", "EventService", "EventServiceStarter", "Log", "start"]

start = tool("es")

if __name__ == "__main__":
    run_tool("es")
