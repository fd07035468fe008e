"""`Pyro.EventService.Event`."""

from __future__ import annotations

from gpyro.eventserver import Event

__all__ = ["Event"]
