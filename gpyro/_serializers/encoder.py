"""Objects to bytes: the fast pass, and the walk that follows when it cannot do it.

The fast pass gives the whole value to ormsgpack, which calls `default` for what MessagePack does not have. It has
no state at all: there is one `default` for each depth, made once and shared by all codecs of the same limits, so
a call that needs none costs nothing for it, and an encode within an encode cannot disturb the first.

ormsgpack answers anything it does not like with a TypeError. The walk then takes the value apart in Python. It
does what the fast pass leaves: dicts with other keys than str, lone surrogates, the user's own to_state,
references, exceptions, parts beside the body; and it names the path to what cannot be sent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import ormsgpack

from ..errors import PyroError
from . import buffers, faults
from .buffers import BUFFER_TYPES, Part
from .keys import comparisons
from .limits import (
    INLINE_BYTES,
    OPTIONS,
    CodecLimits,
    Deferred,
    Extension,
    References,
    Refused,
    Style,
    describe,
)
from .registry import BY_CLASS, Entry
from .standard import ENCODERS, encode_rows, find_encoder, flatten

__all__ = ["NOT_REGISTERED", "FastPacker", "Uncounted", "Walk", "fast_packer", "raise_interrupt"]

Default = Callable[[Any], Any]
Ext = ormsgpack.Ext
packb = ormsgpack.packb

#: Stands in the error for an object of a class that nobody has registered.
NOT_REGISTERED = "its class is not registered"

#: ormsgpack swallows what `default` raises. A KeyboardInterrupt that happens to fall into one is kept here.
_interrupts: list[BaseException] = []


def keep_interrupt(exc: BaseException) -> None:
    """Keep a KeyboardInterrupt or its like that ormsgpack is about to swallow."""
    _interrupts.append(exc)


def raise_interrupt() -> None:
    """Raise what was kept, if anything; called on the way into the careful pass."""
    if _interrupts:
        raise _interrupts.pop()


class FastPacker:
    """What encoders use in the fast pass: one for each depth, without state."""

    __slots__ = ("_deeper", "default", "limits")

    def __init__(self, limits: CodecLimits, deeper: Default) -> None:
        self.limits = limits
        self._deeper = deeper
        self.default = _make_default(self, deeper)

    def pack(self, value: Any, style: int = Style.ELEMENTS) -> bytes:
        """Encode what lies one extension deeper."""
        payload = packb(value, self._deeper, OPTIONS)
        if len(payload) > INLINE_BYTES and buffers.holds_large_bytes(value, payload):
            raise Deferred
        if style == Style.MEMBERS or style == Style.PAIRS:
            if comparisons(value if style == Style.MEMBERS else value[::2]) > len(value):
                raise Deferred
        return payload


@lru_cache(maxsize=16)
def fast_packer(limits: CodecLimits) -> FastPacker:
    """Return the packer of the outermost level for these limits."""
    default: Default = _too_deep
    packer = FastPacker(limits, default)
    for _ in range(limits.max_depth):
        packer = FastPacker(limits, default)
        default = packer.default
    return packer


def _too_deep(value: Any) -> Any:
    raise Deferred


def _make_default(packer: FastPacker, deeper: Default) -> Default:
    encoders, by_class = ENCODERS, BY_CLASS
    object_extension, tuple_extension = Extension.OBJECT, Extension.TUPLE

    def default(value: Any) -> Any:
        try:
            kind = type(value)
            if kind is tuple:
                # As `pack`, written out: most extensions are tuples.
                payload = packb([*value], deeper, OPTIONS)
                if len(payload) > INLINE_BYTES and buffers.holds_large_bytes(value, payload):
                    raise Deferred
                return Ext(tuple_extension, payload)
            encoder = encoders.get(kind)
            if encoder is not None:
                return encoder(value, packer)
            entry = by_class.get(kind)
            if entry is not None:
                if entry.own_code:
                    raise Deferred
                state = entry.state(value)
                payload = packb([entry.name, state], deeper, OPTIONS)
                if len(payload) > INLINE_BYTES and buffers.holds_large_bytes(state, payload):
                    raise Deferred
                return Ext(object_extension, payload)
            encoder = find_encoder(kind)
            if encoder is not None:
                return encoder(value, packer)
            raise Deferred
        except Exception:
            raise
        except BaseException as exc:
            keep_interrupt(exc)
            raise

    return default


class Uncounted(Exception):
    """Parts of a message were not counted, and together they are so long that they have to be."""


class Walk:
    """Encodes one message in Python; its `pack` makes it the Packer of the encoders.

    With `counts_all`, each element is counted, where else what is native to the last is packed unseen.
    """

    __slots__ = (
        "_by_value",
        "_counts_all",
        "_depth",
        "_open",
        "_strangers",
        "_unseen",
        "compared",
        "exceptions",
        "items",
        "limits",
        "parts",
        "references",
    )

    def __init__(
        self,
        limits: CodecLimits,
        references: References | None,
        counts_all: bool = False,
        by_value: Any = None,
    ) -> None:
        self.limits = limits
        self._by_value = by_value
        self._strangers: dict[type, Entry] = {}  # entries of classes that are not registered
        self._counts_all = counts_all
        self.references = references
        self.parts: list[Part] = []
        self.items = 0
        self._unseen = 0  # bytes that were packed without a walk; they hold no more elements than that
        self.compared = 0
        self.exceptions: dict[int, BaseException] = {}
        self._depth = 0
        self._open: set[int] = set()

    # What encoders call

    def pack(self, value: Any, style: int = Style.ELEMENTS) -> bytes:
        """Encode what lies one extension deeper."""
        if self._depth >= self.limits.max_depth:
            self._refuse_depth()
        self._depth += 1
        try:
            return self._packb(self._elements(value, style))
        finally:
            self._depth -= 1

    def sends_whole(self, kind: type) -> bool:
        """Say whether all attributes of an exception travel, not only the public ones."""
        return self._by_value is not None and self._by_value.sends_exception(kind)

    def deeper(self, make: Callable[[], Any]) -> Any:
        """Call `make` one level deeper."""
        if self._depth >= self.limits.max_depth:
            self._refuse_depth()
        self._depth += 1
        try:
            return make()
        finally:
            self._depth -= 1

    def attempt(self, value: Any) -> bytes | None:
        """Encode a value by itself, or return None and leave no trace when it cannot be sent."""
        parts, items = len(self.parts), self.items
        try:
            return self.pack(value, Style.INNER)
        except (Refused, RecursionError, PyroError):
            del self.parts[parts:]
            self.items = items
            return None

    def at(self, place: str, value: Any) -> Any:
        """Walk an argument or a result: the places where bytearray and memoryview keep their type."""
        if type(value) in BUFFER_TYPES:
            return buffers.encode_buffer(value, self.parts)
        try:
            return self.walk(value)
        except Refused as refused:
            refused.path.append(place)
            raise

    def body(self, tree: Any) -> bytes:
        """Pack what `at` or `walk` made."""
        return self._packb(tree)

    # The walk

    def walk(self, value: Any) -> Any:
        """Return what ormsgpack packs exactly."""
        kind = type(value)
        if kind is str:
            return value if value.isascii() else _exact_text(value)
        if kind is int:
            return value if -0x8000000000000000 <= value <= 0xFFFFFFFFFFFFFFFF else ENCODERS[int](value, self)
        if value is None or kind is bool or kind is float:
            return value
        if kind in BUFFER_TYPES:
            return buffers.encode_nested(value, self.parts)
        mark = id(value)
        if mark in self._open:
            raise Refused(f"the {kind.__qualname__} contains itself")
        self._open.add(mark)
        try:
            if kind is list:
                return self._list(value, Style.ELEMENTS)
            if kind is dict:
                return self._dict(value)
            return self._extension(value, kind)
        finally:
            self._open.discard(mark)

    def _elements(self, value: Any, style: int) -> Any:
        if type(value) is not list:
            return self.walk(value)
        if style == Style.MEMBERS or style == Style.PAIRS:
            keys = value if style == Style.MEMBERS else value[::2]
            self._compare(keys)
            if self._by_value is not None:
                self._by_value.refuse_in_keys_to_send(keys)
        return self._list(value, style)

    def _list(self, value: list[Any], style: int) -> list[Any]:
        if len(value) > _SHORT and self._is_native(value):
            return value
        self._count(len(value))
        walked: list[Any] = []
        try:
            for element in value:
                walked.append(self.walk(element))
        except Refused as refused:
            name = _place(value, len(walked), style)
            if name:
                refused.path.append(name)
            raise
        return walked

    def _dict(self, value: dict[Any, Any]) -> Any:
        if not _STR.issuperset(map(type, value)) or not _is_sound("".join(value)):
            return Ext(Extension.PAIRS, self.pack(flatten(value), Style.PAIRS))
        if self._is_native(value):
            return value
        self._count(2 * len(value))
        walked = {}
        key = None
        try:
            for key, element in value.items():
                walked[key] = self.walk(element)
        except Refused as refused:
            refused.path.append(describe(key))
            raise
        return walked

    def _extension(self, value: Any, kind: type) -> Ext:
        encoder = find_encoder(kind)
        if encoder is not None:
            return encoder(value, self)
        entry = BY_CLASS.get(kind)
        if entry is not None:
            return self._object(value, entry)
        if isinstance(value, BaseException):
            return faults.encode_exception(value, self, None)
        if buffers.is_array(value):
            return buffers.encode_array(value, self, self.parts)
        if getattr(kind, "_gpyro_by_reference_", False) is True:
            return self._reference(value)
        if self._by_value is not None and kind.__module__ != "builtins" and not isinstance(value, type):
            return self._object(value, self._stranger(kind))
        raise Refused(_why_not(value, kind))

    def _object(self, value: Any, entry: Entry) -> Ext:
        try:
            state = entry.state(value)
        except Refused:
            raise
        except Exception as exc:
            raise Refused(f"taking apart a {entry.name} failed: {describe(exc, 200)}") from exc
        return Ext(Extension.OBJECT, self.pack([entry.name, state], Style.INNER))

    def _stranger(self, kind: type) -> Entry:
        entry = self._strangers.get(kind)
        if entry is None:
            entry = self._strangers[kind] = self._by_value.entry_to_send(kind)
        return entry

    def _reference(self, value: Any) -> Ext:
        known = None if self.references is None else self.references.encode_reference(value)
        if known is None:
            raise Refused(f"a {_name(type(value))} travels by reference, which this connection cannot do")
        return Ext(Extension.REFERENCE, bytes((known[0],)) + known[1])

    def _refuse_depth(self) -> None:
        raise Refused(f"more than {self.limits.max_depth} extensions inside each other (max_depth)")

    def _packb(self, tree: Any) -> bytes:
        try:
            return packb(tree, None, OPTIONS)
        except TypeError as exc:
            # Everything in the tree is something that ormsgpack packs; what remains is its own depth, 254.
            raise Refused(f"lists and dicts are nested too deep ({exc})") from exc

    def _count(self, more: int) -> None:
        self.items += more
        if self.items + self._unseen > self.limits.max_items:
            if self._unseen:
                raise Uncounted
            raise Refused(f"more than {self.limits.max_items} elements in one message (max_items)")

    def _is_native(self, value: Any) -> bool:
        """Say whether ormsgpack packs all of a list or dict exactly: 20 times as fast as walking over it."""
        if self._counts_all:
            return False
        try:
            packed = packb(value, None, OPTIONS)
        except TypeError:
            return False
        size = len(packed)
        if size > INLINE_BYTES and buffers.holds_large_bytes(value, packed):
            return False
        self._unseen += size
        self._count(0)
        return True

    def _compare(self, keys: list[Any]) -> None:
        self.compared += max(0, comparisons(keys) - len(keys))
        if self.compared > self.limits.max_colliding_keys**2 // 2:
            raise Refused(
                f"of {len(keys)} keys too many have the same hash, limit is {self.limits.max_colliding_keys} "
                "(max_colliding_keys)"
            )


def encode_rows_or_none(value: list[Any], packer: FastPacker) -> Ext | None:
    """Return a list of equal tuples packed as columns, or None when it is another list or has to be walked."""
    try:
        return encode_rows(value, packer)
    except (TypeError, Deferred, Refused):
        return None


_STR = frozenset((str,))
#: Walking a list of up to this many elements is quicker than trying to pack it.
_SHORT = 8


def _is_sound(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _exact_text(text: str) -> str | Ext:
    return text if _is_sound(text) else Ext(Extension.TEXT, text.encode("utf-8", "surrogatepass"))


def _place(elements: list[Any], index: int, style: int) -> str:
    """Return how the user would name the place of this element."""
    if index >= len(elements) or style == Style.INNER:
        return ""
    if style == Style.PAIRS:
        return f"key {describe(elements[index])}" if index % 2 == 0 else describe(elements[index - 1])
    return f"element {describe(elements[index])}" if style == Style.MEMBERS else f"[{index}]"


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _why_not(value: Any, kind: type) -> str:
    if isinstance(value, type):
        return f"the class {_name(value)} itself cannot travel; send its name, or an object of it"
    if callable(value) and kind.__module__ == "builtins":
        return f"the {kind.__qualname__} {describe(value)} cannot travel; send an object that has the method"
    if kind.__module__ == "builtins":
        return f"a {kind.__qualname__} cannot travel"
    way_out = f"gpyro.register({kind.__qualname__}) on both sides"
    return f"a {_name(kind)} cannot travel: {NOT_REGISTERED}; {way_out}"
