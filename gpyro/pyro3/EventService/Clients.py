"""`Pyro.EventService.Clients`."""

from __future__ import annotations

from gpyro.errors import *  # noqa: F403 (as in Pyro)
from gpyro.eventserver import Event, Publisher, Subscriber

__all__ = ["Event", "Publisher", "Subscriber"]
