"""Bytes to objects: the fast pass, and the careful one.

The fast pass is for small bodies without parts beside them: again a chain of functions without state, one for
each depth. All else, and whatever fails there, is decoded by a `Reading`, which knows the message: its parts, its
limits, the connection's references, and the error that ormsgpack swallows. Code of the user's runs only there.

Two things protect the C stack. ormsgpack takes up to 1,023 arrays inside each other, at about 0.7 KiB of stack
each, and begins anew in each extension: 20 extensions with 1,000 arrays between them end the process. The
fast pass takes only bodies that are too short for that; a Reading keeps account.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ..errors import NoModuleError, PyroError, RemoteProtocolError
from .encoder import keep_interrupt
from .keys import comparisons
from .limits import Buffers, CodecLimits, Deferred, Extension, References, Unpacker, describe
from .registry import BY_NAME, misfit
from .scan import NATIVE_NESTING, items_of, nesting_of, unpackb
from .standard import DECODERS, broken, decodes

__all__ = ["FAST_BYTES", "Reading", "count_body", "fast_hook"]

Hook = Callable[[int, bytes], Any]

#: Longest body for the fast pass; it cannot nest deeper than it is long: 4,096 * 0.7 KiB of the C stack.
FAST_BYTES = 4096
#: Arrays and maps inside each other, over all extensions: the same bound for longer bodies.
_MAX_NESTING = 4096
#: ormsgpack copies the payload of each extension, so one inside another 64 times over is 64 copies at once. As
#: much is always allowed: 64 copies of 1 MB.
_FREE_COPY_BYTES = 64 * 1024 * 1024
#: Beyond that, so many times the message itself; real data has its bulk below fewer extensions.
_MAX_COPIES = 4


@decodes(Extension.OBJECT)
def _decode_object(payload: bytes, level: Unpacker) -> Any:
    parts = level.unpack(payload)
    if type(parts) is not list or len(parts) != 2:
        raise broken("object", parts)
    entry = BY_NAME.get(parts[0])
    if entry is None:
        entry = level.stranger(parts[0])
    if entry.own_code:
        level.defer()
    try:
        return entry.build(parts[1])
    except PyroError:
        raise
    except Exception as exc:
        raise misfit(entry.cls, describe(exc, 200)) from exc


@decodes(Extension.REFERENCE)
def _decode_reference(payload: bytes, level: Unpacker) -> object:
    if not payload:
        raise broken("reference", payload)
    return level.reference(payload[0], payload[1:])


class _FastLevel:
    """What decoders use in the fast pass: one for each depth, without state."""

    __slots__ = ("_deeper", "hook", "limits")

    def __init__(self, limits: CodecLimits, deeper: Hook) -> None:
        self.limits = limits
        self._deeper = deeper
        self.hook = _make_hook(self, deeper)

    def unpack(self, payload: bytes) -> Any:
        return unpackb(payload, ext_hook=self._deeper)

    def check_keys(self, keys: Any) -> None:
        if comparisons(keys) > len(keys):
            raise Deferred

    def part(self, index: bytes) -> bytes | bytearray | memoryview:
        raise Deferred

    def reference(self, kind: int, data: bytes) -> object:
        raise Deferred

    def stranger(self, name: Any) -> Any:
        raise Deferred

    def strange_exception(self, name: str) -> type[Exception] | None:
        raise Deferred

    def defer(self) -> None:
        raise Deferred


@lru_cache(maxsize=16)
def fast_hook(limits: CodecLimits) -> Hook:
    """Return the ext_hook of the outermost level for these limits."""
    hook: Hook = _too_deep
    for _ in range(limits.max_depth):
        hook = _FastLevel(limits, hook).hook
    return hook


def _too_deep(kind: int, payload: bytes) -> Any:
    raise Deferred


def _make_hook(level: _FastLevel, deeper: Hook) -> Hook:
    decoders, tuple_extension = DECODERS, Extension.TUPLE

    def hook(kind: int, payload: bytes) -> Any:
        try:
            if kind == tuple_extension:
                items = unpackb(payload, ext_hook=deeper)
                if type(items) is list:
                    return tuple(items)
            return decoders[kind](payload, level)
        except Exception:
            raise
        except BaseException as exc:
            keep_interrupt(exc)
            raise

    return hook


class Reading:
    """Decodes one message with care; it is the Unpacker of the decoders."""

    __slots__ = (
        "_bounds",
        "_by_value",
        "_compared",
        "_copied",
        "_counted",
        "_counting",
        "_depth",
        "_error",
        "_items",
        "_measured",
        "_most_copied",
        "_nesting",
        "_open",
        "_parts",
        "_rebuilt",
        "_references",
        "_strangers",
        "limits",
    )

    def __init__(
        self, limits: CodecLimits, parts: Buffers, references: References | None, by_value: Any = None
    ) -> None:
        self.limits = limits
        self._by_value = by_value
        self._strangers: dict[str, Any] = {}  # entries of classes that are not registered, by name
        self._rebuilt: set[type] = set()  # those classes
        self._parts: list[Any] = list(parts)
        self._references = references
        self._error: BaseException | None = None
        self._depth = 0
        self._open: list[Any] = []  # payloads around the one being decoded, outermost first
        self._bounds: list[int] = []  # how deep each of them may nest
        self._measured = 0  # for so many of them, exactly how deep
        self._nesting = 0
        self._copied = 0  # bytes of the open payloads
        self._most_copied = 0
        self._items = 0
        self._compared = 0
        self._counting = False
        self._counted: dict[int, Any] = {}  # lists and dicts that were counted as the payload of an extension

    def read(self, body: bytes | bytearray | memoryview) -> Any:
        """Decode the body.

        Raises:
            RemoteProtocolError: it is not what an encoder writes, or exceeds a limit.
            NoModuleError: it holds an object of a class that is not registered here.
            SerializationError: it holds state that does not fit the registered class.
        """
        # Each element takes a byte at least, so a body this short cannot hold too many.
        self._counting = len(body) > self.limits.max_items
        self._most_copied = _FREE_COPY_BYTES + _MAX_COPIES * len(body)
        try:
            return self._unpack(body)
        except PyroError:
            raise
        except Exception as exc:
            raise RemoteProtocolError(f"a message cannot be decoded: {describe(exc, 200)}") from exc

    # What decoders call

    def unpack(self, payload: bytes) -> Any:
        """Decode what lies one extension deeper."""
        if self._depth >= self.limits.max_depth:
            raise RemoteProtocolError(
                f"more than {self.limits.max_depth} extensions inside each other in a message (max_depth)"
            )
        self._depth += 1
        try:
            return self._unpack(payload)
        finally:
            self._depth -= 1

    def check_keys(self, keys: Any) -> None:
        """Count the comparisons that putting these keys into one container will take."""
        if self._rebuilt:
            self._by_value.refuse_in_keys(keys, self._rebuilt)
        self._compared += max(0, comparisons(keys) - len(keys))
        if self._compared > self.limits.max_colliding_keys**2 // 2:
            raise RemoteProtocolError(
                f"of {len(keys)} keys in a message too many have the same hash, limit is "
                f"{self.limits.max_colliding_keys} (max_colliding_keys)"
            )

    def part(self, index: bytes) -> bytes | bytearray | memoryview:
        """Return a part beside the body; each can be had once, or few bytes would order many copies.

        A view is of a buffer that is used again; all else is the caller's.
        """
        if len(index) != 1 or index[0] >= len(self._parts):
            raise broken("index of a part", index)
        part = self._parts[index[0]]
        if part is None:
            raise RemoteProtocolError(f"part {index[0]} of a message is used twice")
        self._parts[index[0]] = None
        return part  # type: ignore[no-any-return]

    def reference(self, kind: int, data: bytes) -> object:
        """Return the object for a reference."""
        if self._references is None:
            raise RemoteProtocolError("a reference to an object arrived where none can be resolved")
        return self._references.decode_reference(kind, data)

    def stranger(self, name: Any) -> Any:
        """Return the entry of a class that travels by value without being registered."""
        if self._by_value is None:
            raise NoModuleError(
                f"a {describe(name, 200)} arrived, and no class is registered under that name here; "
                "gpyro.register(cls) on both sides"
            )
        entry = self._strangers.get(name)
        if entry is None:
            entry = self._strangers[name] = self._by_value.entry_to_take(name)
            self._rebuilt.add(entry.cls)
        return entry

    def strange_exception(self, name: str) -> type[Exception] | None:
        """Return the class of an exception that arrives as itself without being registered, or None."""
        cls: type[Exception] | None = None if self._by_value is None else self._by_value.exception(name)
        if cls is not None:
            self._rebuilt.add(cls)
        return cls

    def defer(self) -> None:
        """Nothing: this is the pass that is deferred to."""

    # ormsgpack

    def _unpack(self, data: bytes | bytearray | memoryview) -> Any:
        if len(data) > self.limits.max_items:
            self._check_claims(data)
        self._enter(data)
        value, failure = None, None
        try:
            value = unpackb(data, ext_hook=self._hook)
        except Exception as exc:
            failure = exc
        finally:
            self._leave()
        if failure is not None:
            # Outside the except clause, so that a decoder's error keeps its own cause and context.
            error, self._error = self._error, None
            raise error or RemoteProtocolError(f"a message is not MessagePack: {failure}")
        if self._counting:
            self._count(value)
        return value

    def _hook(self, kind: int, payload: bytes) -> Any:
        try:
            decoder = DECODERS.get(kind)
            if decoder is None:
                raise RemoteProtocolError(f"unknown extension {kind} in a message")
            value = decoder(payload, self)
            if self._counting and type(value) in _CONTAINERS:
                self._counted[id(value)] = value
            return value
        except BaseException as exc:
            if self._error is None:
                self._error = exc
            raise

    def _enter(self, data: bytes | bytearray | memoryview) -> None:
        """Add to the account how deep `data` may nest, by its length as long as that suffices."""
        bound = min(len(data), NATIVE_NESTING)
        self._open.append(data)
        self._copied += len(data)
        self._bounds.append(bound)
        self._nesting += bound
        if self._copied > self._most_copied:
            raise RemoteProtocolError(
                f"{len(self._open) - 1} extensions inside each other hold {self._copied} bytes in a message, "
                f"limit is {self._most_copied}; put fewer containers around what is large"
            )
        if self._nesting <= _MAX_NESTING:
            return
        for level in range(self._measured, len(self._open)):
            self._bounds[level] = nesting_of(bytes(self._open[level]), _MAX_NESTING)
        self._measured = len(self._open)
        self._nesting = sum(self._bounds)
        if self._nesting > _MAX_NESTING:
            raise RemoteProtocolError(
                f"lists and dicts are {self._nesting} deep in a message, limit is {_MAX_NESTING}"
            )

    def _leave(self) -> None:
        self._copied -= len(self._open.pop())
        self._nesting -= self._bounds.pop()
        self._measured = min(self._measured, len(self._open))

    def _check_claims(self, data: bytes | bytearray | memoryview) -> None:
        """Count before anything is built, as far as it takes: a byte can be an empty dict, which takes 72."""
        claimed = items_of(bytes(data), self.limits.max_items)
        if claimed > self.limits.max_items:
            raise RemoteProtocolError(
                f"{claimed} elements in a message, limit is {self.limits.max_items} (max_items)"
            )

    def _count(self, value: Any) -> None:
        self._items += count_items(value, self._counted)
        if self._items > self.limits.max_items:
            raise RemoteProtocolError(
                f"{self._items} elements in a message, limit is {self.limits.max_items} (max_items)"
            )


_CONTAINERS = frozenset((list, dict))
_ARRAYS = frozenset(
    (
        Extension.TUPLE,
        Extension.ROWS,
        Extension.SET,
        Extension.FROZENSET,
        Extension.PAIRS,
        Extension.ORDERED_DICT,
        Extension.DEFAULT_DICT,
        Extension.DEQUE,
        Extension.COUNTER,
        Extension.OBJECT,
    )
)


def count_body(body: bytes) -> int:
    """Return how many elements the receiver of this body, which was just made here, will count."""
    total = 0

    def hook(kind: int, payload: bytes) -> None:
        nonlocal total
        if kind in _ARRAYS:
            total += count_items(unpackb(payload, ext_hook=hook), {})

    value = unpackb(body, ext_hook=hook)
    return total + count_items(value, {})


def count_items(value: Any, counted: dict[int, Any]) -> int:
    """Return how many elements, keys and values the lists and dicts of one payload have, but for those counted."""
    if type(value) not in _CONTAINERS or id(value) in counted:
        return 0
    count, level = 0, [value]
    while level:
        deeper: list[Any] = []
        for container in level:
            elements = container
            if type(container) is dict:
                elements = container.values()
                count += len(container)
            count += len(container)
            if not _CONTAINERS.isdisjoint(map(type, elements)):
                deeper += [e for e in elements if type(e) in _CONTAINERS and id(e) not in counted]
        level = deeper
    return count
