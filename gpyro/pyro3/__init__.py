"""Pyro 3's package `Pyro`, name for name, for programs that were written for it.

    import gpyro.pyro3
    gpyro.pyro3.install()                   # before all else

    import Pyro.core
    from Pyro.EventService.Clients import Subscriber

`Pyro.core` is `gpyro.pyro3.core` then, the very same module, and its classes are gpyro's own. A program that is
to stay as it is runs as `python -m gpyro.pyro3 program.py`. Modules are loaded when they are first used, so those
that Pyro's imports bring along are there, too. docs/pyro3.md has the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpyro._pyro3.installing import install
from gpyro._pyro3.lazy import submodules

if TYPE_CHECKING:
    from gpyro._pyro3.settings import config

__all__ = ["config", "install"]

_MODULES = (
    "EventService", "configuration", "constants", "core", "errors", "ext", "naming", "nsc", "protocol", "test",
    "util", "xnsc",
)  # fmt: skip

_load = submodules(__name__, *_MODULES)


def __getattr__(name: str) -> Any:
    if name != "config":
        return _load(name)
    from gpyro._pyro3.settings import config

    globals()[name] = config
    return config


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
