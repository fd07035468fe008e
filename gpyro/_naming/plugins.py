"""Pyro's security plugins: a module that says who may connect to a name server, and who may know where it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from gpyro._naming.broadcast import BCReqValidator
from gpyro.errors import ConfigurationError

if TYPE_CHECKING:
    from gpyro.auth import DefaultConnValidator

__all__ = ["Guards", "check_guards", "describe_guards", "load_guards"]


class Guards(NamedTuple):
    """Who decides about connections, and about questions by broadcast, in Pyro's order; None for the usual."""

    connections: DefaultConnValidator | None
    broadcasts: BCReqValidator | None


NO_GUARDS = Guards(None, None)


def load_guards(module_name: str) -> Guards:
    """Import a plugin and ask it for its validators.

    The module is looked for in the current directory, too. It has a function `NSGuard()`, which returns a
    `gpyro.auth.DefaultConnValidator`, or `BCGuard()`, which returns a `gpyro.naming.BCReqValidator`, or both.

    Raises:
        ConfigurationError: there is no such module, it fails, it has neither, or they return something else.

    Source: Pyro 3 manual, chapter 9; Pyro 3.16, transcript A5.
    """
    with _current_directory_importable():
        try:
            module = import_module(module_name)
        except Exception as exc:
            raise ConfigurationError(
                f"security plugin {module_name!r} cannot be imported: {type(exc).__name__}: {exc}; "
                "give the name of a module in the current directory or on Python's path (-s)"
            ) from exc
        made = {name: _call(module_name, name, getattr(module, name, None)) for name in ("NSGuard", "BCGuard")}
    if not any(hasattr(module, name) for name in made):
        raise ConfigurationError(
            f"security plugin {module_name!r} ({getattr(module, '__file__', 'built in')}) has neither NSGuard() "
            "nor BCGuard(); it needs at least one of these functions"
        )
    return check_guards((made["NSGuard"], made["BCGuard"]), f"of security plugin {module_name!r} ")


def check_guards(guards: Any, where: str = "") -> Guards:
    """Return Pyro's pair of validators.

    Raises:
        ConfigurationError: one of them is none.
    """
    if not isinstance(guards, (tuple, list)) or len(guards) != 2:
        raise ConfigurationError(
            f"Guards is {guards!r}, but it must be a pair: (NSGuard(), BCGuard()), each of which may be None"
        )
    connections, broadcasts = guards
    if (connections, broadcasts) == (None, None):
        return NO_GUARDS
    from gpyro.auth import DefaultConnValidator  # only name servers with plugins need the cryptography

    if connections is not None and not isinstance(connections, DefaultConnValidator):
        raise ConfigurationError(
            f"NSGuard() {where}returned {connections!r}, but it must return a gpyro.auth.DefaultConnValidator"
        )
    if broadcasts is not None and not isinstance(broadcasts, BCReqValidator):
        raise ConfigurationError(
            f"BCGuard() {where}returned {broadcasts!r}, but it must return a gpyro.naming.BCReqValidator"
        )
    return Guards(connections, broadcasts)


def describe_guards(guards: Guards) -> list[str]:
    """Return the lines that Pyro prints about plugins, none where there are none."""
    if guards == NO_GUARDS:
        return []
    named = (("NS new conn validator", guards.connections), ("BC request validator", guards.broadcasts))
    return [
        "Using security plugins:",
        *(f"  default {what}" if one is None else f"  {what:<21} = {_origin(one)}" for what, one in named),
    ]


def _origin(validator: object) -> str:
    kind = type(validator)
    file = getattr(sys.modules.get(kind.__module__), "__file__", None) or "built in"
    return f"{kind.__name__} from {kind.__module__}  [{file}]"


def _call(module_name: str, name: str, function: Callable[[], object] | None) -> object:
    if function is None:
        return None
    try:
        made = function()
    except Exception as exc:
        raise ConfigurationError(
            f"{name}() of security plugin {module_name!r} failed: {type(exc).__name__}: {exc}"
        ) from exc
    if made is None:
        raise ConfigurationError(
            f"{name}() of security plugin {module_name!r} returned None; it must return a validator, or be absent"
        )
    return made


@contextmanager
def _current_directory_importable() -> Iterator[None]:
    """Have it first on the path, as `python -m` has, and last afterwards: the plugin may import more later."""
    here = os.getcwd()
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        yield
    finally:
        if added:
            sys.path.remove(here)
            sys.path.append(here)
