"""`Pyro.ext`."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("remote", "remote_nons"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module 'Pyro.ext' ({__name__}) has no attribute {name!r}")
