"""`Pyro.ext`."""

from __future__ import annotations

from gpyro._pyro3.lazy import submodules

__getattr__ = submodules(__name__, "remote", "remote_nons")
