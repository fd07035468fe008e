"""`Pyro.ext.remote`."""

from __future__ import annotations

import sys

from gpyro._pyro3 import remote

# Programs set its variables, so it is that module itself and no copy of its names.
sys.modules[__name__] = remote
