"""`Pyro.ext.remote_nons`."""

from __future__ import annotations

import sys

from gpyro._pyro3 import remote_nons

# Programs set its variables, so it is that module itself and no copy of its names.
sys.modules[__name__] = remote_nons
