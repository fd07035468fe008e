"""Classes that travel by value: what their state is, and how an object is built from it.

Each registered class has a wire name, and decoding looks the name up here and nowhere else. An object arrives
with the state it had: it is made with `__new__` of its built-in base and its state is put in place, and neither
`__init__` nor `__post_init__` runs. So an object whose `__init__` opens a file does not open one at the
receiver, and what `__init__` would check is not checked: a class that must check what arrives is registered
with `from_state`.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, overload

from ..errors import SerializationError
from .limits import describe

__all__ = [
    "BASE_VALUES",
    "BY_CLASS",
    "BY_NAME",
    "EXCEPTIONS",
    "EXCEPTION_NAMES",
    "Entry",
    "builtin_base",
    "filled",
    "is_registered",
    "misfit",
    "register",
]

C = TypeVar("C", bound=type)
ToState = Callable[[Any], Any]
FromState = Callable[[Any], Any]
#: Gives a field's default for an object; None for fields that may have no value.
Default = Callable[[Any], Any]

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE of CPython: made by a class statement

#: How a subclass's built-in part is copied out as exactly the base, without the subclass's own methods.
BASE_VALUES: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__pos__,
    float: float.__pos__,
    complex: complex.__pos__,
    bytes: lambda value: bytes(memoryview(value)),
    bytearray: lambda value: bytes(memoryview(value)),
    list: list.copy,
    tuple: lambda value: tuple.__getitem__(value, slice(None)),
    dict: dict.copy,
    set: lambda value: set().union(value),
    frozenset: lambda value: frozenset(set().union(value)),
    OrderedDict: lambda value: OrderedDict(OrderedDict.items(value)),
}


_FILL: dict[Any, Callable[[Any, Any], None]] = {
    list: list.extend,
    dict: dict.update,
    set: set.update,
    bytearray: bytearray.extend,
}


class Entry:
    """One registered class under one wire name."""

    __slots__ = ("build", "cls", "name", "own_code", "state")

    def __init__(self, cls: type, name: str, state: ToState, build: FromState, own_code: bool) -> None:
        self.cls = cls
        self.name = name
        self.state = state
        self.build = build
        #: True when state or build are functions of the user's: they may block, raise anything, be interrupted.
        self.own_code = own_code

    def __repr__(self) -> str:
        return f"<Entry {self.name!r} for {self.cls!r}>"


BY_CLASS: dict[type, Entry] = {}
BY_NAME: dict[str, Entry] = {}
#: Exceptions that may be raised at the receiver as themselves, by wire name.
EXCEPTIONS: dict[str, type[BaseException]] = {}
EXCEPTION_NAMES: dict[type[BaseException], str] = {}


@overload
def register(
    cls: C, *, name: str | None = None, to_state: ToState | None = None, from_state: FromState | None = None
) -> C: ...
@overload
def register(
    cls: None = None,
    *,
    name: str | None = None,
    to_state: ToState | None = None,
    from_state: FromState | None = None,
) -> Callable[[C], C]: ...
def register(
    cls: C | None = None,
    *,
    name: str | None = None,
    to_state: ToState | None = None,
    from_state: FromState | None = None,
) -> C | Callable[[C], C]:
    """Let objects of this class travel by value; do it on both sides, at import time.

    Works for dataclasses, attrs classes, plain classes, enums, named tuples, exceptions and subclasses of str,
    int, float, complex, bytes, bytearray, list, tuple, dict, set, frozenset and OrderedDict. It is for exactly
    this class, not for its subclasses. Also a decorator, with or without arguments.

    Args:
        cls: the class.
        name: its name on the wire, the same on both sides; module and qualified name when not given.
        to_state: makes of an object something that can travel. It may be called more than once for one message.
        from_state: makes the object again; raise anything to refuse what arrived.

    Returns:
        The class.

    Raises:
        TypeError: this is no class, or one whose objects cannot be taken apart without `to_state`.
        ValueError: another class has this name.
    """
    if cls is None:
        return lambda cls: register(cls, name=name, to_state=to_state, from_state=from_state)
    if not isinstance(cls, type):
        raise TypeError(f"{describe(cls)} is not a class; register the class, not an object of it")
    if (to_state is None) != (from_state is None):
        raise TypeError(f"{cls.__qualname__}: to_state and from_state are given both or neither")
    wire_name = name or f"{cls.__module__}.{cls.__qualname__}"
    if to_state is not None and from_state is not None:
        _store(Entry(cls, wire_name, to_state, from_state, True))
    elif issubclass(cls, BaseException):
        _register_exception(cls, wire_name)
    else:
        _store(_make_entry(cls, wire_name))
    return cls


def is_registered(cls: type) -> bool:
    """Say whether objects of exactly this class travel because it, or an exception of Python's, is registered."""
    return cls in BY_CLASS or cls in EXCEPTION_NAMES


def builtin_base(cls: type) -> type:
    """Return the nearest class that decides the memory layout and was not made by a class statement."""
    while cls.__flags__ & _HEAP_TYPE and cls.__base__ is not None:
        cls = cls.__base__
    return cls


def _store(entry: Entry) -> None:
    known = BY_NAME.get(entry.name) or EXCEPTIONS.get(entry.name)
    _refuse_second(known.cls if isinstance(known, Entry) else known, entry.cls, entry.name)
    EXCEPTIONS.pop(entry.name, None)
    BY_CLASS[entry.cls] = entry
    BY_NAME[entry.name] = entry


def _register_exception(cls: type[BaseException], name: str) -> None:
    if not issubclass(cls, Exception):
        raise TypeError(f"{cls.__qualname__} is not an Exception: raised at a caller it would end programs")
    known = BY_NAME.get(name)
    _refuse_second(known.cls if known else EXCEPTIONS.get(name), cls, name)
    EXCEPTIONS[name] = cls
    EXCEPTION_NAMES[cls] = name


def _refuse_second(known: type | None, cls: type, name: str) -> None:
    """A module that is loaded again brings the same class anew; anything else is a clash."""
    if known is None or known is cls:
        return
    if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"the name {name!r} is taken by {known!r}; give {cls!r} another with name=")


def _make_entry(cls: type, name: str) -> Entry:
    if issubclass(cls, enum.Enum):
        return Entry(cls, name, _enum_state, _enum_builder(cls), False)
    base = builtin_base(cls)
    if base is tuple and isinstance(getattr(cls, "_fields", None), tuple):
        return Entry(cls, name, list, _namedtuple_builder(cls), False)
    if base in BASE_VALUES and cls is not base:
        return Entry(cls, name, _subclass_state(cls, base), _subclass_builder(cls, base), False)
    if base is not object or cls is object:
        raise TypeError(
            f"{cls!r} is built on {base!r}, whose state gpyro does not know; give to_state and from_state"
        )
    if dataclasses.is_dataclass(cls):
        return _fields_entry(cls, name, _dataclass_defaults(cls))
    if isinstance(cls.__dict__.get("__attrs_attrs__"), tuple):
        return _fields_entry(cls, name, _attrs_defaults(cls))
    return Entry(cls, name, _attributes(cls), _plain_builder(cls), False)


def misfit(cls: type, problem: str) -> SerializationError:
    """Return the error for state that arrived and does not fit the class here."""
    return SerializationError(f"a {cls.__module__}.{cls.__qualname__} arrived that does not fit: {problem}")


# Enums: the member's name; for flags without a name of their own the int.


def _enum_state(value: Any) -> str | int:
    name = value._name_
    if type(value).__members__.get(name) is value:
        return str(name)
    return int(value._value_)


def _enum_builder(cls: type[enum.Enum]) -> FromState:
    def build(state: Any) -> Any:
        if type(state) is str and state in cls.__members__:
            return cls.__members__[state]
        if type(state) is int and issubclass(cls, enum.Flag):
            try:
                return cls(state)
            except ValueError as exc:
                raise misfit(cls, str(exc)) from exc
        raise misfit(cls, f"{describe(state)} is not a member")

    return build


# Named tuples: the list of their values.


def _namedtuple_builder(cls: type) -> FromState:
    count = len(cls._fields)  # type: ignore[attr-defined]

    def build(state: Any) -> Any:
        if type(state) is not list or len(state) != count:
            raise misfit(cls, f"{describe(state)} is not {count} values")
        return tuple.__new__(cls, state)

    return build


# Dataclasses and attrs classes: a map of their declared fields.


def _fields_entry(cls: type, name: str, defaults: dict[str, Default | None]) -> Entry:
    names = defaults.keys()
    in_dict = _all_in_dict(cls, names)

    def state(value: Any) -> dict[str, Any]:
        if in_dict:
            own: dict[str, Any] = value.__dict__
            if own.keys() == names:
                return own
        # Not `in` or `==`, which would ask the values. A field with init=False may have none yet.
        return {name: getattr(value, name) for name in names if hasattr(value, name)}

    def build(state: Any) -> Any:
        if type(state) is not dict:
            raise misfit(cls, f"{describe(state)} is not a map of fields")
        value: Any = object.__new__(cls)
        if not state.keys() <= names:
            raise misfit(cls, f"it has no field {describe(min(state.keys() - names, key=str))}")
        if in_dict:
            value.__dict__.update(state)
        else:
            for name in state:
                object.__setattr__(value, name, state[name])
        if len(state) < len(names):
            _fill_in(value, [(name, default) for name, default in defaults.items() if name not in state])
        return value

    return Entry(cls, name, state, build, False)


def _all_in_dict(cls: type, names: Iterable[str]) -> bool:
    """Say whether these fields are plain entries of the instance's __dict__: no slots, no properties."""
    has_dict = any("__dict__" in vars(owner) for owner in cls.__mro__)
    return has_dict and not any(hasattr(getattr(cls, name, None), "__set__") for name in names)


def _fill_in(value: Any, missing: list[tuple[str, Default | None]]) -> None:
    """Give their defaults to fields that a peer with another version of the class did not send."""
    for name, default in missing:
        if default is not None:
            object.__setattr__(value, name, default(value))


def _constant(value: Any) -> Default:
    return lambda _: value


def _required(cls: type, name: str) -> Default:
    def refuse(_: Any) -> Any:
        raise misfit(cls, f"its field {name!r} is missing")

    return refuse


def _dataclass_defaults(cls: type) -> dict[str, Default | None]:
    """Return each field's default, for peers whose class does not have the field yet."""
    defaults: dict[str, Default | None] = {}
    for field in dataclasses.fields(cls):
        defaults[field.name] = _required(cls, field.name) if field.init else None
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = _constant(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            factory = field.default_factory
            defaults[field.name] = lambda _, factory=factory: factory()  # type: ignore[misc]
    return defaults


def _attrs_defaults(cls: type) -> dict[str, Default | None]:
    nothing = sys.modules["attr"].NOTHING
    defaults: dict[str, Default | None] = {}
    for attribute in cls.__attrs_attrs__:  # type: ignore[attr-defined]
        default = attribute.default
        if default is nothing:
            defaults[attribute.name] = _required(cls, attribute.name) if attribute.init else None
        elif isinstance(default, sys.modules["attr"].Factory):
            defaults[attribute.name] = _attrs_factory(default)
        else:
            defaults[attribute.name] = _constant(default)
    return defaults


def _attrs_factory(default: Any) -> Default:
    return default.factory if default.takes_self else lambda _: default.factory()


# Plain classes: a map of what is in the instance and its slots.


def _slots(cls: type) -> Iterator[tuple[str, Any]]:
    """Give the name and descriptor of each slot, mangled names as the class has them."""
    for owner in cls.__mro__:
        names = owner.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name in ("__dict__", "__weakref__"):
                continue
            if name.startswith("__") and not name.endswith("__"):
                name = f"_{owner.__name__.lstrip('_')}{name}"
            descriptor = owner.__dict__.get(name)
            if descriptor is not None:
                yield name, descriptor


def _attributes(cls: type) -> ToState:
    slots = tuple(_slots(cls))

    def state(value: Any) -> dict[str, Any]:
        found = dict(getattr(value, "__dict__", ()))
        for name, descriptor in slots:
            try:
                found[name] = descriptor.__get__(value)
            except AttributeError:
                continue
        return found

    return state


def _set_attributes(cls: type) -> Callable[[Any, Any], None]:
    slots = dict(_slots(cls))

    def put(value: Any, state: Any) -> None:
        if type(state) is not dict:
            raise misfit(cls, f"{describe(state)} is not a map of attributes")
        own = getattr(value, "__dict__", None)
        for name, part in state.items():
            if type(name) is not str or (name.startswith("__") and name.endswith("__")):
                raise misfit(cls, f"{describe(name)} may not be set")
            if name in slots:
                slots[name].__set__(value, part)
            elif own is None or callable(getattr(cls, name, None)):
                raise misfit(cls, f"{describe(name)} is a method, or the class has no room for it")
            else:
                own[name] = part

    return put


def _plain_builder(cls: type) -> FromState:
    put = _set_attributes(cls)

    def build(state: Any) -> Any:
        value: Any = object.__new__(cls)
        put(value, state)
        return value

    return build


# Subclasses of built-in types: the built-in part, and the map of attributes.


def _subclass_state(cls: type, base: type) -> ToState:
    copy = BASE_VALUES[base]
    attributes = _attributes(cls)

    def state(value: Any) -> list[Any]:
        return [copy(value), attributes(value)]

    return state


def _subclass_builder(cls: type, base: type) -> FromState:
    make = filled(cls, base)
    put = _set_attributes(cls)
    travels_as = bytes if base is bytearray else base

    def build(state: Any) -> Any:
        if type(state) is not list or len(state) != 2 or type(state[0]) is not travels_as:
            raise misfit(cls, f"{describe(state)} is not a {base.__name__} and a map of attributes")
        value = make(state[0])
        put(value, state[1])
        return value

    return build


def filled(cls: Any, base: Any) -> FromState:
    """Return what makes an object of the subclass around a plain value, by the base's methods only."""

    def ordered(part: Any) -> Any:
        value: Any = OrderedDict.__new__(cls)
        for key in part:
            OrderedDict.__setitem__(value, key, part[key])
        return value

    def mutable(part: Any) -> Any:
        value = base.__new__(cls)
        _FILL[base](value, part)
        return value

    if base is OrderedDict:
        return ordered
    return mutable if base in _FILL else lambda part: base.__new__(cls, part)
