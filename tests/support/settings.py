"""Settings of one test alone."""

from __future__ import annotations

import sys

import pytest

import gpyro.naming  # noqa: F401  (loads the rooms whose settings are exchanged)
from gpyro.configuration import Settings

__all__ = ["use_in_naming"]


def use_in_naming(settings: Settings, patch: pytest.MonkeyPatch) -> Settings:
    """Let all rooms of the name server, on both sides, read these settings in place of the process's."""
    rooms = [module for name, module in sys.modules.items() if name.startswith("gpyro._naming.")]
    for room in rooms:
        if hasattr(room, "config"):
            patch.setattr(room, "config", settings)
    return settings
