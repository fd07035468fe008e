"""Pyro 3's symbols (`tests/data/pyro3-api.tsv`), looked for in `gpyro.pyro3`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

LIST = Path(__file__).resolve().parents[1] / "data" / "pyro3-api.tsv"

#: Where Pyro's name stands for a value that a signature cannot show.
SAMPLE = object()


class Symbol(NamedTuple):
    """One line of the list."""

    name: str
    what: str


def symbols() -> list[Symbol]:
    """Return all symbols of the list."""
    lines = [line.split("\t") for line in LIST.read_text().splitlines() if not line.startswith("#")]
    return [Symbol(fields[0], fields[1]) for fields in lines[1:]]


def find(name: str) -> Any:
    """Return what `Pyro.x.y` is in gpyro.pyro3.

    Raises:
        AttributeError: it is not there.
    """
    found: Any = import_module("gpyro.pyro3")
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    return found


def fault_of(symbol: Symbol, samples: Mapping[Any, object]) -> str:
    """Return what is wrong with a symbol in gpyro.pyro3, "" where it is compatible.

    Args:
        samples: an object of each class whose instances have attributes in the list.
    """
    kind, _, rest = symbol.what.partition(": ")
    try:
        if kind == "attr":
            return _fault_of_attribute(symbol.name, samples)
        found = find(symbol.name)
    except AttributeError as exc:
        return f"not there: {exc}"
    if symbol.name.endswith("__getstate__") and found is getattr(object, "__getstate__", None):
        return "not there: it is that of object, which has one from Python 3.11 on"
    if kind == "module":
        return "" if isinstance(found, ModuleType) else f"{found!r} is no module"
    if kind in ("const", "classattr"):
        return "" if repr(found) == rest.removeprefix("= ") else f"{found!r}, it is {rest}"
    if kind == "object" and rest.startswith("instance of "):
        return "" if isinstance(found, find(rest.removeprefix("instance of "))) else f"{found!r} is no {rest}"
    if kind == "config":
        return _fault_of_setting(symbol)
    if kind in ("object", "re-export"):
        return ""
    return _fault_of_call(found, symbol.what)


def _fault_of_setting(symbol: Symbol) -> str:
    """Compare the default, which is what settings have that nobody has touched."""
    value = getattr(find("Pyro.configuration.Config")(), symbol.name.rpartition(".")[2])
    shown = re.fullmatch(r"config: default (.*) \(type \w+\)", symbol.what)
    if shown and repr(value) != shown[1]:
        return f"default {value!r}, it was {shown[1]}"
    return ""


def _fault_of_attribute(name: str, samples: Mapping[Any, object]) -> str:
    owner, _, attribute = name.rpartition(".")
    cls = find(owner)
    if cls not in samples:
        return f"no sample of {owner}"
    getattr(samples[cls], attribute)
    return ""


def _fault_of_call(found: Any, what: str) -> str:
    """Try the signature with the old arguments: all by position, all by name, and only those that are needed."""
    if not callable(found):
        return f"{found!r} cannot be called"
    old = _parameters(what)
    if old is None:
        return ""
    try:
        signature = inspect.signature(found)
    except ValueError as exc:
        return str(exc)
    method = inspect.isclass(found) is False and "(self" in what
    own = [SAMPLE] if method and _takes_self(signature) else []
    needed = {name for name, optional in old if not optional}
    # Nobody calls those with underscores by hand.
    by_name = [] if found.__name__.startswith("__") else [[name for name, _ in old], needed]
    for args, names in (
        ([SAMPLE] * len(old), ()), ([SAMPLE] * len(needed), ()), *(([], names) for names in by_name)
    ):  # fmt: skip
        try:
            signature.bind(*own, *args, **dict.fromkeys(names, SAMPLE))
        except TypeError as exc:
            return f"{exc}: {signature} for {what}"
    return ""


def _takes_self(signature: inspect.Signature) -> bool:
    return next(iter(signature.parameters), "") == "self"


def _parameters(what: str) -> list[tuple[str, bool]] | None:
    """Return name and "is optional" of each parameter of a signature; None where it takes anything."""
    found = re.search(r"\((self)?(?:, )?([^()]*(?:\([^()]*\)[^()]*)*)\)(?: ->.*)?$", _call_part(what))
    assert found, what
    if not found[1] and what.startswith("class"):
        return None
    parts = [part.strip() for part in _split(found[2])]
    return [(part.partition("=")[0], "=" in part) for part in parts if not part.startswith("*")]


def _call_part(what: str) -> str:
    what = re.sub(r"  \(defined in .*\)$", "", what)
    return what[what.index("__init__") :] if what.startswith("class") else what


def _split(text: str) -> Iterator[str]:
    """Split at commas outside of brackets."""
    for part in re.split(r", (?![^\[\]{}<>]*[\]}>])", text):
        if part.strip():
            yield part
