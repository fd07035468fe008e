"""Reads a pickle of protocol 5 as data, with a program's list of the names that it may use. It is not pickle.

Python's own unpickler asks `find_class` for names, and takes everything else on trust. That is not enough:

- extension codes (EXT1, EXT2, EXT4) find classes in a cache without asking `find_class`;
- APPENDS, SETITEMS, ADDITEMS and BUILD work on whatever lies on the stack. On an object that came by reference
  they change a served object behind its exposure, and on a proxy they call `extend`, `append` or `add` at a third
  party; on a listed class they change the class;
- REDUCE calls whatever lies on the stack;
- PUT with a large index, and bytearrays of a claimed length, take gigabytes for a few bytes;
- keys may be chosen to collide, and a tuple of tuples of tuples that are all shared takes 2^60 steps to hash.

So this machine has its own table of operations: those that Python's pickler writes in protocol 5. Of the rules:

    names            only those listed (`PickleRules.find`), from imported modules
    called           only listed names; an object's class only when it is listed
    filled, built    only what this message has made itself, and BUILD once; never a class, enum or reference
    attributes       no dunder names, no names of the class's methods (unless it has __setstate__)
    references       (int 0 to 255, bytes), resolved by the connection
    lengths          those of the codec's limits: max_items for everything that is put on the stack,
                     max_bigint_digits, max_colliding_keys; 1,000 levels

What remains possible with a listed class: its `__new__`, `__init__` (by REDUCE), `__setstate__`, `__setitem__`,
`extend`, `append`, `add`, property setters, `__hash__` and `__eq__` run with arguments that the peer chose, in
any order, and without `__init__` if it likes. A function runs with the peer's arguments. What they return may
then be filled and built, so a class that gives out shared objects shares them with the peer. What they compute
and how much memory they take is not bounded. A listed `getattr`, `functools.partial`, `operator.methodcaller`,
`type` or `importlib.import_module` leads from there to everything else.
"""

from __future__ import annotations

import enum
import struct
import types
from collections.abc import Callable
from typing import Any, Final

from ..errors import PyroError, RemoteProtocolError, SerializationError
from .keys import KEYED
from .limits import CodecLimits, References, describe
from .pickle_rules import PickleRules
from .standard import most_bits

__all__ = ["MAX_LEVELS", "PROTOCOL", "Machine", "resolve_reference"]

#: How every body begins: the operation that names the protocol, and 5.
PROTOCOL: Final = b"\x80\x05"
#: Containers and objects inside each other. Python's pickler gives up at its recursion limit, which is 1,000, and
#: hashing a tuple takes C stack for each level.
MAX_LEVELS: Final = 1000
#: Elements that hashing the keys may look at, for each one that the message may have: a key used in several dicts
#: is sent once and hashed each time.
_HASHES_EACH: Final = 10

_STOP: Final = 0x2E
_DOUBLE = struct.Struct(">d")
#: Changing one of these changes more than this message.
_NEVER_BUILT = (type, enum.Enum, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)


def resolve_reference(references: References | None, key: object) -> object:
    """Return the object for the persistent id of a pickle, which is the reference's kind and data.

    Raises:
        RemoteProtocolError: it is no reference, or there are none here.
    """
    if type(key) is not tuple or len(key) != 2 or type(key[0]) is not int or type(key[1]) is not bytes:
        raise RemoteProtocolError(f"a reference in a pickled message is {describe(key)}, not (kind, bytes)")
    if not 0 <= key[0] <= 255:
        raise RemoteProtocolError(f"a reference in a pickled message has kind {key[0]}; it is 0 to 255")
    if references is None:
        raise RemoteProtocolError("a reference to an object arrived where none can be resolved")
    return references.decode_reference(*key)


class Machine:
    """Reads one body; used once.

    Args:
        body: the pickle.
        limits: what one message may hold.
        rules: the names it may use.
        references: resolves what travels by reference; None refuses it.
    """

    __slots__ = (
        "_at", "_body", "_buildable", "_compared", "_foreign", "_hashed", "_hashes", "_items", "_levels",
        "_limits", "_made", "_marks", "_memo", "_names", "_references", "_rules", "_stack", "_weights",
    )  # fmt: skip

    def __init__(
        self, body: bytes, limits: CodecLimits, rules: PickleRules, references: References | None
    ) -> None:
        self._body = body
        self._limits = limits
        self._rules = rules
        self._references = references
        self._at = len(PROTOCOL)
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: list[Any] = []
        # By id(); `_made` keeps what this message has made alive, so that no id is given away twice.
        self._made: dict[int, Any] = {}
        self._buildable: set[int] = set()
        self._foreign: dict[int, Any] = {}  # listed names and references
        self._names: dict[int, str] = {}
        self._levels: dict[int, int] = {}
        self._weights: dict[int, int] = {}  # of tuples and frozensets: elements, over all levels, shared or not
        self._hashes: dict[int, dict[int, int]] = {}  # how many keys of each hash a container has
        self._items = 0
        self._hashed = 0
        self._compared = 0

    def __repr__(self) -> str:
        return f"<Machine at byte {self._at} of {len(self._body)}, {self._items} items>"

    def read(self) -> Any:
        """Read the body.

        Raises:
            RemoteProtocolError: it is not what Python's pickler writes in protocol 5, or exceeds a limit.
            NoModuleError: it names what is not listed, or not there.
            SerializationError: a listed class refuses what arrived.
        """
        try:
            return self._run()
        except PyroError:
            raise
        except Exception as exc:
            raise RemoteProtocolError(
                f"a pickled message cannot be decoded at byte {self._at}: {describe(exc, 200)}"
            ) from exc

    def _run(self) -> Any:
        body = self._body
        if body[:2] != PROTOCOL:
            raise RemoteProtocolError(f"a pickled message begins with {body[:2]!r}, not with {PROTOCOL!r}")
        while True:
            if self._at >= len(body):
                raise RemoteProtocolError(f"a pickled message ends at byte {self._at} without saying so")
            code = body[self._at]
            self._at += 1
            if code == _STOP:
                break
            step = _STEPS.get(code)
            if step is None:
                raise RemoteProtocolError(
                    f"operation {code:#04x} at byte {self._at - 1} of a pickled message; Python's pickler "
                    "does not write it in protocol 5"
                )
            step(self)
        if self._marks or len(self._stack) != 1 or self._at != len(body):
            raise RemoteProtocolError(
                f"a pickled message ends at byte {self._at} of {len(body)} with {len(self._stack)} values; "
                "it ends at the last byte with one"
            )
        return self._stack[0]

    # -- bytes -----------------------------------------------------------------------------------------------

    def _take(self, count: int) -> bytes:
        at = self._at
        data = self._body[at : at + count]
        if len(data) != count:
            raise RemoteProtocolError(
                f"{count} bytes announced at byte {at} of a pickled message, {len(data)} are there"
            )
        self._at = at + count
        return data

    def _number(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little")

    def frame(self) -> None:
        """The pickler's hint how much to read; it has no meaning for one that has all."""
        size = self._number(8)
        if size > len(self._body) - self._at:
            raise RemoteProtocolError(f"a frame of {size} bytes in a pickled message of {len(self._body)}")

    # -- the stack -------------------------------------------------------------------------------------------

    def push(self, value: Any) -> None:
        """Put a value on the stack; everything in a message passes here at least once."""
        self._count()
        self._stack.append(value)

    def mark(self) -> None:
        """Begin a group."""
        self._count()
        self._marks.append(self._stack)
        self._stack = []

    def pop_mark(self) -> list[Any]:
        """End a group and return it."""
        items, self._stack = self._stack, self._marks.pop()
        return items

    def pop(self) -> None:
        """Drop a value, or an empty group."""
        if self._stack:
            self._stack.pop()
        else:
            self.pop_mark()

    def memoize(self) -> None:
        """Remember the value on top, for `get`."""
        self._memo.append(self._stack[-1])

    def get(self, width: int) -> None:
        """Put a remembered value on the stack again."""
        index = self._number(width)
        if index >= len(self._memo):
            raise RemoteProtocolError(f"a pickled message refers to value {index} of {len(self._memo)}")
        self.push(self._memo[index])

    def _count(self) -> None:
        self._items += 1
        if self._items > self._limits.max_items:
            raise RemoteProtocolError(
                f"more than {self._limits.max_items} values in a pickled message (max_items)"
            )

    # -- plain values ----------------------------------------------------------------------------------------

    def integer(self, width: int) -> None:
        """An int of any length; `width` is that of the length."""
        size = self._number(width)
        if size > most_bits(self._limits) // 8 + 1:
            raise RemoteProtocolError(
                f"an int of {size} bytes arrived, limit is {self._limits.max_bigint_digits} digits "
                "(max_bigint_digits)"
            )
        self.push(int.from_bytes(self._take(size), "little", signed=True))

    def text(self, width: int) -> None:
        """A str; `width` is that of its length."""
        self.push(self._take(self._number(width)).decode("utf-8", "surrogatepass"))

    def plain_bytes(self, width: int) -> None:
        """Bytes; `width` is that of their length."""
        self.push(self._take(self._number(width)))

    # -- containers ------------------------------------------------------------------------------------------

    def fresh(self, value: Any) -> None:
        """Put a new container on the stack."""
        self._keep(value, 1)
        self.push(value)

    def immutable(self, value: Any) -> None:
        """Put a tuple or frozenset on the stack; its weight is exact, since it never changes."""
        if value:
            weights = self._weights
            weight = 1 + sum([weights.get(id(item), 1) for item in value])
            if weight > self._limits.max_items:
                raise RemoteProtocolError(
                    f"a {type(value).__name__} in a pickled message stands for {weight} values, since it shares "
                    f"them; limit is {self._limits.max_items} (max_items)"
                )
            self._keep(value, 1)
            weights[id(value)] = weight
            self._deepen(value, value)
        self.push(value)

    def tuple_of(self, count: int) -> None:
        """A tuple of the values on top."""
        if len(self._stack) < count:
            raise RemoteProtocolError(f"a tuple of {count} of {len(self._stack)} values in a pickled message")
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        self.immutable(items)

    def frozen(self) -> None:
        """A frozenset of the group on top."""
        items = self.pop_mark()
        self._check_keys({}, items)
        self.immutable(frozenset(items))

    def extend(self, items: list[Any]) -> None:
        """Append to the list on top, or to an object that was made here."""
        target = self._target("append")
        if type(target) is list:
            target.extend(items)
        elif hasattr(type(target), "extend"):
            self._call(type(target).extend, (target, items))
        else:
            for item in items:
                self._call(type(target).append, (target, item))
        self._deepen(target, items)

    def update(self, items: list[Any]) -> None:
        """Put pairs into the dict on top, or into an object that was made here."""
        target = self._target("__setitem__")
        if len(items) % 2:
            raise RemoteProtocolError(f"{len(items)} keys and values in a pickled message are no pairs")
        keys, values = items[::2], items[1::2]
        self._check_keys(self._hashes.setdefault(id(target), {}), keys)
        if type(target) is dict:
            target.update(zip(keys, values, strict=True))
        else:
            for key, value in zip(keys, values, strict=True):
                self._call(type(target).__setitem__, (target, key, value))
        self._deepen(target, items)

    def add(self, items: list[Any]) -> None:
        """Add to the set on top, or to an object that was made here."""
        target = self._target("add")
        self._check_keys(self._hashes.setdefault(id(target), {}), items)
        if type(target) is set:
            target.update(items)
        else:
            for item in items:
                self._call(type(target).add, (target, item))
        self._deepen(target, items)

    def _target(self, method: str) -> Any:
        target = self._stack[-1]
        if id(target) not in self._made or not hasattr(type(target), method):
            raise RemoteProtocolError(
                f"a pickled message fills a {type(target).__qualname__}; it may fill what it has made itself"
            )
        return target

    # -- bounds ----------------------------------------------------------------------------------------------

    def _keep(self, value: Any, level: int) -> None:
        self._made[id(value)] = value
        self._levels[id(value)] = max(level, self._levels.get(id(value), 0))

    def _deepen(self, container: Any, items: Any) -> None:
        levels = self._levels
        level = 1 + max([levels.get(id(item), 0) for item in items], default=0)
        if level > MAX_LEVELS:
            raise RemoteProtocolError(f"a pickled message is {level} levels deep, limit is {MAX_LEVELS}")
        if level > levels[id(container)]:
            levels[id(container)] = level

    def _check_keys(self, hashes: dict[int, int], keys: list[Any]) -> None:
        """Count what hashing and comparing these keys will cost, before they are put into their container."""
        if KEYED.issuperset(map(type, keys)):
            return
        for key in keys:
            weight = self._weights.get(id(key), 1)
            self._hashed += weight
            if self._hashed > _HASHES_EACH * self._limits.max_items:
                raise RemoteProtocolError(
                    f"keys in a pickled message stand for {self._hashed} values, since they share them; "
                    f"limit is {_HASHES_EACH * self._limits.max_items} ({_HASHES_EACH} times max_items)"
                )
            code = self._hash(key)
            before = hashes.get(code, 0)
            hashes[code] = before + 1
            self._compared += before * weight
        if self._compared > self._limits.max_colliding_keys**2 // 2:
            raise RemoteProtocolError(
                f"of {len(keys)} keys in a pickled message too many have the same hash, limit is "
                f"{self._limits.max_colliding_keys} (max_colliding_keys)"
            )

    def _hash(self, key: Any) -> int:
        try:
            return hash(key)
        except Exception as exc:
            name = type(key).__qualname__
            raise SerializationError(f"a pickled {name} cannot be a key: {describe(exc, 200)}") from exc

    # -- listed names, and what is made with them ------------------------------------------------------------

    def name(self) -> None:
        """Put a listed class or function on the stack."""
        qualname, module = self._stack.pop(), self._stack.pop()
        if type(module) is not str or type(qualname) is not str:
            raise RemoteProtocolError(f"a pickled message names {describe((module, qualname))}")
        found = self._rules.find(module, qualname)
        self._foreign[id(found)] = found
        self._names[id(found)] = f"{module}.{qualname}"
        self.push(found)

    def reference(self) -> None:
        """Put what came by reference on the stack."""
        found = resolve_reference(self._references, self._stack.pop())
        self._foreign[id(found)] = found
        self.push(found)

    def reduce(self) -> None:
        """Call a listed class or function."""
        args, function = self._stack.pop(), self._stack.pop()
        self._check_listed(function, args, {})
        self._made_by(function, self._call(function, args), args)

    def new(self, has_keywords: bool) -> None:
        """Make an object of a listed class without its `__init__`."""
        kwargs = self._stack.pop() if has_keywords else {}
        args, cls = self._stack.pop(), self._stack.pop()
        self._check_listed(cls, args, kwargs)
        if not isinstance(cls, type):
            raise RemoteProtocolError(f"a pickled message makes an object of {self._names[id(cls)]}, no class")
        self._made_by(cls, self._call(cls.__new__, (cls, *args), kwargs, cls), (args, kwargs))

    def build(self) -> None:
        """Give an object that was made here its state."""
        state, target = self._stack.pop(), self._stack[-1]
        if id(target) not in self._buildable:
            raise RemoteProtocolError(
                f"a pickled message changes a {type(target).__qualname__}; it may give their state, once, to "
                "objects it has made itself"
            )
        self._buildable.discard(id(target))
        setter = getattr(type(target), "__setstate__", None)
        if setter is not None:
            self._call(setter, (target, state), None, type(target))
        else:
            self._set_state(target, state)
        self._deepen(target, (state,))

    def _set_state(self, target: Any, state: Any) -> None:
        slots = None
        if type(state) is tuple and len(state) == 2:
            state, slots = state
        for names in (state, slots):
            if names is not None and type(names) is not dict:
                raise _misfit(type(target), f"its state is {describe(names)}, not a map of attributes")
            for name in names or ():
                _check_attribute(type(target), name)
        if state:
            if not hasattr(target, "__dict__"):
                raise _misfit(type(target), "the class has no room for attributes")
            target.__dict__.update(state)
        for name, value in (slots or {}).items():
            self._call(setattr, (target, name, value), None, type(target))

    def _check_listed(self, function: Any, args: Any, kwargs: Any) -> None:
        if id(function) not in self._names or not callable(function):
            raise RemoteProtocolError(
                f"a pickled message calls a {type(function).__qualname__}; it may call names that are allowed here"
            )
        if type(args) is not tuple or type(kwargs) is not dict:
            raise RemoteProtocolError(f"a pickled message calls {self._names[id(function)]} without a tuple")

    def _made_by(self, function: Any, value: Any, material: Any) -> None:
        if id(value) not in self._foreign and not isinstance(value, _NEVER_BUILT):
            self._keep(value, 1)
            self._buildable.add(id(value))
            self._deepen(value, material)
        self.push(value)

    def _call(
        self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any] | None = None, cls: Any = None
    ) -> Any:
        """Call the program's own code, or what may lead to it."""
        try:
            return function(*args, **(kwargs or {}))
        except PyroError:
            raise
        except Exception as exc:
            subject = cls or function
            name = self._names.get(id(subject)) or getattr(subject, "__qualname__", describe(subject))
            raise SerializationError(f"a pickled message does not fit {name}: {describe(exc, 200)}") from exc


def _misfit(cls: type, problem: str) -> SerializationError:
    return SerializationError(f"a pickled {cls.__module__}.{cls.__qualname__} does not fit: {problem}")


def _check_attribute(cls: type, name: Any) -> None:
    if type(name) is not str or (name.startswith("__") and name.endswith("__")):
        raise _misfit(cls, f"{describe(name)} may not be set")
    if callable(getattr(cls, name, None)):
        raise _misfit(cls, f"{describe(name)} is a method, which state may not hide")


_STEPS: Final[dict[int, Callable[[Machine], None]]] = {
    # Plain values
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("J"): lambda m: m.push(int.from_bytes(m._take(4), "little", signed=True)),
    ord("K"): lambda m: m.push(m._number(1)),
    ord("M"): lambda m: m.push(m._number(2)),
    0x8A: lambda m: m.integer(1),
    0x8B: lambda m: m.integer(4),
    ord("G"): lambda m: m.push(_DOUBLE.unpack(m._take(8))[0]),
    0x8C: lambda m: m.text(1),
    ord("X"): lambda m: m.text(4),
    0x8D: lambda m: m.text(8),
    ord("C"): lambda m: m.plain_bytes(1),
    ord("B"): lambda m: m.plain_bytes(4),
    0x8E: lambda m: m.plain_bytes(8),
    0x96: lambda m: m.push(bytearray(m._take(m._number(8)))),
    # Containers
    ord("]"): lambda m: m.fresh([]),
    ord("}"): lambda m: m.fresh({}),
    0x8F: lambda m: m.fresh(set()),
    ord(")"): lambda m: m.push(()),
    0x85: lambda m: m.tuple_of(1),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    ord("t"): lambda m: m.immutable(tuple(m.pop_mark())),
    0x91: lambda m: m.frozen(),
    ord("a"): lambda m: m.extend([m._stack.pop()]),
    ord("e"): lambda m: m.extend(m.pop_mark()),
    ord("s"): lambda m: m.update([m._stack.pop(-2), m._stack.pop()]),
    ord("u"): lambda m: m.update(m.pop_mark()),
    0x90: lambda m: m.add(m.pop_mark()),
    # The stack and the memo
    ord("("): Machine.mark,
    ord("0"): Machine.pop,
    ord("1"): lambda m: m.pop_mark().clear(),
    0x94: Machine.memoize,
    ord("h"): lambda m: m.get(1),
    ord("j"): lambda m: m.get(4),
    0x95: Machine.frame,
    # Names, objects, references
    0x93: Machine.name,
    ord("Q"): Machine.reference,
    ord("R"): Machine.reduce,
    0x81: lambda m: m.new(False),
    0x92: lambda m: m.new(True),
    ord("b"): Machine.build,
}
