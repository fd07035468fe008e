"""Modules of a package that are loaded when somebody first asks the package for them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

__all__ = ["submodules"]


def submodules(package: str, *names: str) -> Callable[[str], ModuleType]:
    """Return a package's `__getattr__`, which loads its modules of these names.

    What it returns raises AttributeError for other names.
    """

    def load(name: str) -> ModuleType:
        if name not in names:
            old = package.replace("gpyro.pyro3", "Pyro")
            raise AttributeError(f"module {old!r} ({package}) has no attribute {name!r}")
        return import_module(f"{package}.{name}")

    return load
