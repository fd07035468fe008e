"""`Pyro.test`."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "echoserver":
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module 'Pyro.test' ({__name__}) has no attribute {name!r}")
