"""Objects of plain classes that nobody has registered, of modules that this side has listed (`by_value`).

Loaded only where a daemon or proxy has such a list. They travel as registered objects do, under module and
qualified name, so one side may register what the other one lists. What is registered is not this room's business.

A name that arrives is looked up in listed modules that are imported already, by dicts alone: no import, no
getattr, no call. A class qualifies if it is plain all the way up:

    module          it and all its bases but the built-in ones are classes of listed modules; an exception's
                    bases may be known exceptions too, and those of the standard library that arrive as themselves
    metaclass       type
    does not have   any of `HOOKS`, which would run when an object of it is rebuilt, compared or dropped

An object is rebuilt from its built-in part and its `__dict__`, without any code of its class, and is never a key.
When the program calls its methods, they run on what the peer chose: that danger is left.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from types import FunctionType, GetSetDescriptorType
from typing import Any

from ..configuration import PROGRAM
from ..errors import NoModuleError, SerializationError
from .library_errors import is_library_error
from .limits import Refused, describe
from .program import find_module, is_listed, module_space
from .registry import BASE_VALUES, BY_CLASS, EXCEPTION_NAMES, Entry, builtin_base, filled, misfit

__all__ = ["HOOKS", "ByValue", "attribute_fault"]

#: What no class on the way up may define. The last three hide what an object is or holds.
HOOKS = (
    "__del__", "__new__", "__setattr__", "__getattribute__", "__eq__", "__hash__", "__slots__", "__reduce__",
    "__reduce_ex__", "__setstate__", "__getstate__", "__dict__", "__class__",
)  # fmt: skip

#: Longest name that is looked up; each dot in it may end a module's name.
_MAX_NAME = 500
_MAX_PARTS = 32

_BUILT_IN = frozenset(
    cls for cls in vars(builtins).values() if isinstance(cls, type) and cls.__module__ == "builtins"
)
#: As `cls.__dict__` and so on, whatever a metaclass says.
_space_of: Callable[[type], dict[str, Any]] = type.__dict__["__dict__"].__get__
_module_of: Callable[[type], str] = type.__dict__["__module__"].__get__
_path_of: Callable[[type], str] = type.__dict__["__qualname__"].__get__
_METHODS = (FunctionType, staticmethod, classmethod)

_NOT_LISTED = "is not in by_value, or is none of the program's own"
_NO_KEY = "travels by value (by_value), so it cannot be a key of a dict or an element of a set"
_ELSEWHERE = (
    "only between programs on one machine, or with a peer that has proved who it is (setAllowedIdentifications, "
    "_setIdentification, or TLS with certificates on both sides)"
)


class ByValue:
    """What one connection sends and takes without registration.

    Args:
        modules: names of modules, as the setting `by_value` has them.
        is_trusted: says whether the peer is on this machine, or has proved who it is.
    """

    __slots__ = ("_is_trusted", "_modules")

    def __init__(self, modules: tuple[str, ...], is_trusted: Callable[[], bool]) -> None:
        self._modules = modules
        self._is_trusted = is_trusted

    def __repr__(self) -> str:
        return f"<ByValue {', '.join(self._modules)}, {'' if self._is_trusted() else 'not '}with this peer>"

    def entry_to_send(self, cls: type) -> Entry:
        """Return how objects of a class that is not registered are taken apart.

        Raises:
            Refused: they do not travel; why not, and the way out.
        """
        reason = self._fault_of(cls)
        if reason:
            raise Refused(f"a {_name(cls)} cannot travel: {reason}; {_way_out(cls)}")
        if not self._is_trusted():
            raise Refused(f"a {_name(cls)} travels by value (by_value) {_ELSEWHERE}; or {_way_out(cls)}")
        return _entry(cls)

    def entry_to_take(self, name: object) -> Entry:
        """Return how objects of the class that a peer names are rebuilt.

        Raises:
            NoModuleError: no listed module has this class.
            SerializationError: its objects do not travel by value, or not over this connection.
        """
        if not self._is_trusted():
            raise SerializationError(
                f"a {describe(name, 200)} arrived; objects of classes that are not registered travel by value "
                f"(by_value) {_ELSEWHERE}; or gpyro.register the class on both sides"
            )
        cls = self._find(name)
        if cls is None:
            raise NoModuleError(self._unknown(name))
        reason = self._fault_of(cls)
        if not reason and issubclass(cls, BaseException):
            reason = "it is an exception, and came as something else"
        if reason:
            raise SerializationError(f"a {_name(cls)} arrived that may not be rebuilt: {reason}; {_way_out(cls)}")
        return _entry(cls)

    def exception(self, name: str) -> type[Exception] | None:
        """Return the class of an exception that arrives as itself by its name; None where it does not."""
        cls = self._find(name) if self._is_trusted() else None
        return cls if cls is not None and not self._fault_of(cls) and issubclass(cls, Exception) else None

    def sends_exception(self, cls: type) -> bool:
        """Say whether an exception's private attributes travel as well: its class is the program's own."""
        return self._is_trusted() and not self._fault_of(cls)

    def refuse_in_keys_to_send(self, keys: Iterable[Any]) -> None:
        """See that no key is, or holds, an object that would travel by value.

        Raises:
            Refused: one does.
        """
        for cls in _kinds_in(keys):
            if cls not in BY_CLASS and cls not in EXCEPTION_NAMES and is_listed(_module_of(cls), self._modules):
                if getattr(cls, "_gpyro_by_reference_", False) is not True:
                    raise Refused(f"a {_name(cls)} {_NO_KEY}")

    def refuse_in_keys(self, keys: Iterable[Any], rebuilt: set[type]) -> None:
        """See that no key is, or holds, an object of these classes, which were rebuilt by value.

        Raises:
            SerializationError: one does.
        """
        for cls in _kinds_in(keys) & rebuilt:
            raise SerializationError(f"a {_name(cls)} that arrived {_NO_KEY}")

    # Looking up

    def _find(self, name: object) -> type | None:
        """Return the class of this dotted name in a listed module; the longest name of a module wins."""
        if type(name) is not str or len(name) > _MAX_NAME or name.count(".") > _MAX_PARTS:
            return None
        parts = name.split(".")
        for count in range(len(parts) - 1, 0, -1):
            cls = self._find_in(".".join(parts[:count]), parts[count:])
            if cls is not None:
                return cls
        return None

    def _find_in(self, module: str, path: list[str]) -> type | None:
        loaded = find_module(module) if is_listed(module, self._modules) else None
        if loaded is None:
            return None
        space: Any = module_space(loaded)
        found: Any = None
        for part in path:
            found = space.get(part)
            if not issubclass(type(found), type):
                return None
            space = _space_of(found)
        # A name under which another module's class was imported is not that class's own.
        own = space.get("__module__") == module and _path_of(found) == ".".join(path)
        return found if own else None

    def _unknown(self, name: object) -> str:
        text = f"a {describe(name, 200)} arrived, and no class is registered under that name here; "
        way_out = "gpyro.register(cls) on both sides"
        if type(name) is not str or "." not in name:
            return text + way_out
        module = name.rpartition(".")[0]
        if is_listed(module, self._modules):
            hint = f"the module {module!r}, which is listed (by_value), has no such class on this side"
            if module == "__main__":
                hint += ": put classes that both sides need into a module that both import"
        elif find_module(module) is None:
            hint = f"its module {describe(module, 200)} is not imported on this side: import it here"
            if module not in self._modules:
                own = PROGRAM in self._modules
                hint += ", if it is one of the program's own" if own else " and list it (by_value)"
        else:
            hint = f"its module {describe(module, 200)} {_NOT_LISTED}"
        return f"{text}{hint}; or {way_out}"

    def _fault_of(self, cls: type) -> str:
        """Say why objects of a class do not travel by value; empty where they do."""
        if type(cls) is not type:
            return f"its metaclass is {_name(type(cls))}, and only plain classes travel by value (by_value)"
        if not is_listed(cls.__module__, self._modules):
            return f"its class is not registered, and its module {cls.__module__!r} {_NOT_LISTED}"
        if cls in BY_CLASS or cls in EXCEPTION_NAMES:
            known = BY_CLASS[cls].name if cls in BY_CLASS else EXCEPTION_NAMES[cls]
            return f"it is registered on this side, as {known!r}, and travels under that name only"
        if any("_gpyro_by_reference_" in _space_of(base) for base in cls.__mro__):
            return "it travels by reference, never by value"
        if issubclass(cls, BaseException) and not issubclass(cls, Exception):
            return "it is no Exception: raised at a caller it would end programs"
        if self._find(f"{cls.__module__}.{cls.__qualname__}") is not cls:
            return f"its module has something else, or nothing, under the name {cls.__qualname__!r}"
        return next(filter(None, map(self._fault_in, cls.__mro__)), "") or _base_fault(cls)

    def _fault_in(self, base: type) -> str:
        if base in _BUILT_IN or is_library_error(base):
            return ""
        if base not in EXCEPTION_NAMES and not is_listed(base.__module__, self._modules):
            return f"its base {_name(base)} is of a module that {_NOT_LISTED}"
        space = _space_of(base)
        hook = next((hook for hook in HOOKS if hook in space and not _is_own_dict(space[hook])), None)
        return "" if hook is None else f"{_name(base)} defines {hook}, so it is no plain class (by_value)"


def _is_own_dict(member: object) -> bool:
    """A class without `__slots__` has a `__dict__` of this kind by itself."""
    return type(member) is GetSetDescriptorType and member.__name__ == "__dict__"


def _base_fault(cls: type) -> str:
    base = builtin_base(cls)
    if base is object or base in BASE_VALUES or issubclass(cls, Exception):
        return ""
    return f"it is built on {_name(base)}, whose state gpyro does not know"


def _name(cls: type) -> str:
    return f"{_module_of(cls)}.{_path_of(cls)}"


def _way_out(cls: type) -> str:
    return f"gpyro.register({_path_of(cls)}) on both sides"


def _kinds_in(keys: Iterable[Any]) -> set[type]:
    """Return the types of the keys, and of what is in those that are tuples and the like."""
    kinds: set[type] = set()
    seen: set[int] = set()
    level = list(keys)
    while level:
        here = set(map(type, level))
        kinds |= here
        nests = {kind for kind in here if issubclass(kind, tuple | frozenset | slice)}
        if not nests:
            break
        # Each once, as they may share what they hold.
        new = {id(key): key for key in level if type(key) in nests and id(key) not in seen}
        seen.update(new)
        level = [part for key in new.values() for part in _parts_of(key)]
    return kinds


def _parts_of(key: Any) -> Iterable[Any]:
    return (key.start, key.stop, key.step) if isinstance(key, slice) else key


# Taking apart and rebuilding


def attribute_fault(cls: type, name: object) -> str:
    """Say why an attribute may not be put into an object's `__dict__`; empty where it may."""
    if type(name) is not str or not name.isidentifier() or (name.startswith("__") and name.endswith("__")):
        return f"its attribute {describe(name)} is no plain name"
    member = next((_space_of(base)[name] for base in cls.__mro__ if name in _space_of(base)), None)
    if isinstance(member, _METHODS) or callable(member):
        return f"its attribute {name!r} would hide a method of the class"
    return ""


def _entry(cls: type) -> Entry:
    base = builtin_base(cls)
    if base is object:
        return Entry(cls, _name(cls), _attributes_of, _plain_builder(cls), False)
    return Entry(cls, _name(cls), _subclass_state(base), _subclass_builder(cls, base), False)


def _attributes_of(value: Any) -> dict[str, Any]:
    own: dict[str, Any] = dict(value.__dict__)
    for name in own:
        fault = attribute_fault(type(value), name)
        if fault:
            raise Refused(f"a {_name(type(value))} cannot travel: {fault}; {_way_out(type(value))}, with to_state")
    return own


def _put(value: Any, cls: type, state: Any) -> Any:
    if type(state) is not dict:
        raise misfit(cls, f"{describe(state)} is not a map of attributes")
    for name in state:
        fault = attribute_fault(cls, name)
        if fault:
            raise misfit(cls, fault)
    # A property of the same name is passed by.
    value.__dict__.update(state)
    return value


def _plain_builder(cls: type) -> Callable[[Any], Any]:
    return lambda state: _put(object.__new__(cls), cls, state)


def _subclass_state(base: type) -> Callable[[Any], Any]:
    copy = BASE_VALUES[base]
    return lambda value: [copy(value), _attributes_of(value)]


def _subclass_builder(cls: type, base: type) -> Callable[[Any], Any]:
    make = filled(cls, base)
    travels_as = bytes if base is bytearray else base

    def build(state: Any) -> Any:
        if type(state) is not list or len(state) != 2 or type(state[0]) is not travels_as:
            raise misfit(cls, f"{describe(state)} is not a {base.__name__} and a map of attributes")
        return _put(make(state[0]), cls, state[1])

    return build
