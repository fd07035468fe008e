"""`Pyro.errors`."""

from __future__ import annotations

import gpyro.errors
from gpyro.errors import *  # noqa: F403 (all of them)

__all__: list[str] = []
__all__ += gpyro.errors.__all__
