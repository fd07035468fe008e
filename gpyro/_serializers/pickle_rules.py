"""Which classes and functions a pickled message may name; pure, and without pickle itself.

A name is a pair, module and qualified name, exactly as it is written in the pickle. Lists of what is forbidden
have failed wherever they were tried, and so have patterns: what is not listed here is refused. Looking a name up
never imports anything.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ..errors import ConfigurationError, NoModuleError
from .limits import describe

__all__ = ["PickleRules"]

_TRUST = "a peer that may name anything gets PickleRules(trust_peer_completely=True), which gives it a shell"


@dataclass(frozen=True, slots=True, init=False, repr=False)
class PickleRules:
    """What one daemon or proxy takes in pickled messages; pickling is off where there are no such rules.

    Args:
        allow: classes and functions, or pairs of module and qualified name. Each can be called by the peer with
            arguments of its choice. Empty by default: only built-in values and references then arrive.
        trust_peer_completely: let the peer name anything, and import it: it can run any program here.

    Raises:
        ConfigurationError: an entry is no exact name, or both are given.
    """

    allow: frozenset[tuple[str, str]]
    trust_peer_completely: bool

    def __init__(self, allow: Iterable[Any] = (), *, trust_peer_completely: bool = False) -> None:
        if isinstance(allow, (str, bytes)):
            raise ConfigurationError(
                f"allow is the text {describe(allow)}; it is a list of classes or of pairs "
                f"(module, qualified name), and {_TRUST}"
            )
        if not isinstance(allow, Iterable) or isinstance(allow, type):
            raise ConfigurationError(f"allow is {describe(allow)}; it is a list, such as allow=[Order]")
        pairs = frozenset(_pair_of(entry) for entry in allow)
        if pairs and trust_peer_completely:
            raise ConfigurationError(
                f"allow lists {len(pairs)} names and trust_peer_completely=True lets all of them in; "
                "give one of both"
            )
        object.__setattr__(self, "allow", pairs)
        object.__setattr__(self, "trust_peer_completely", bool(trust_peer_completely))

    def __repr__(self) -> str:
        if self.trust_peer_completely:
            return "<PickleRules trust_peer_completely=True>"
        names = [f"{module}.{name}" for module, name in sorted(self.allow)]
        return f"<PickleRules allows {', '.join(names) or 'built-in values only'}>"

    def find(self, module: str, name: str) -> Any:
        """Return the class or function of that name, from the modules that are imported already.

        Raises:
            NoModuleError: it is not listed, or not there.
        """
        if (module, name) not in self.allow:
            raise NoModuleError(
                f"{describe(module, 100)}.{describe(name, 100)} is named by a pickled message and not in the "
                f"{len(self.allow)} names that are allowed here; if the peer may call it: "
                f"PickleRules(allow=[..., ({describe(module, 100)}, {describe(name, 100)})])"
            )
        return _look_up(module, name)


def _pair_of(entry: Any) -> tuple[str, str]:
    if isinstance(entry, tuple):
        return _checked_pair(entry)
    if isinstance(entry, (str, bytes, ModuleType)):
        raise ConfigurationError(
            f"allow has {describe(entry)}; an entry is a class, a function or a pair (module, qualified name), "
            f"never a pattern or a whole module, and {_TRUST}"
        )
    module, name = getattr(entry, "__module__", None), getattr(entry, "__qualname__", None)
    if not callable(entry) or type(module) is not str or type(name) is not str:
        raise ConfigurationError(
            f"allow has {describe(entry)}, which has no name of its own; an entry is a class, a function or "
            "a pair (module, qualified name)"
        )
    pair = _checked_pair((module, name))
    _check_own_name(entry, pair)
    return pair


def _checked_pair(entry: tuple[Any, ...]) -> tuple[str, str]:
    if len(entry) != 2 or any(type(part) is not str for part in entry):
        raise ConfigurationError(f"allow has {describe(entry)}; a pair is ('package.module', 'Class')")
    for part in entry:
        if not all(word.isidentifier() for word in part.split(".")):
            raise ConfigurationError(
                f"allow has {describe(entry)}, and {part!r} is no exact name; list each name in full, "
                f"without * or <locals>, and {_TRUST}"
            )
    return entry[0], entry[1]


def _check_own_name(entry: Any, pair: tuple[str, str]) -> None:
    try:
        found = _look_up(*pair)
    except NoModuleError as exc:
        raise ConfigurationError(f"allow has {describe(entry)}, which cannot be looked up: {exc}") from exc
    if found != entry:
        raise ConfigurationError(
            f"allow has {describe(entry)}, but {pair[0]}.{pair[1]} is {describe(found)}; "
            "list what that name stands for"
        )


def _look_up(module: str, name: str) -> Any:
    """Return what a listed name stands for. The module's own __getattr__, which may import, is not asked."""
    found: Any = sys.modules.get(module)
    if not isinstance(found, ModuleType):
        raise NoModuleError(f"module {module!r} is not imported here; import it where the PickleRules are made")
    first, *rest = name.split(".")
    try:
        found = vars(found)[first]
        for word in rest:
            found = getattr(found, word)
    except (KeyError, AttributeError):
        raise NoModuleError(f"module {module!r} has no {name!r} here; both sides need the same version") from None
    if isinstance(found, ModuleType):
        raise NoModuleError(f"{module}.{name} is a module here; a pickled message may name classes and functions")
    return found
