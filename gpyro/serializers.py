"""Objects to bytes and back: the codec of every connection, and the classes that may travel by value.

The wire format is MessagePack, written by ormsgpack, with extensions for what MessagePack does not have. Nothing
in it can name code: classes are looked up among those registered here. A message is a body and, beside it, parts:
large bytes that are not copied into the body.

    body of arguments    an array of the positional ones; with keyword arguments a map of those, in which the
                         key "" holds the array
    body of a value      the value
    body of an error     extension 41

    1 tuple           9 memoryview          16 Decimal      24 UUID                 32 deque
    2 list of tuples  10 bytes beside       17 Fraction     25 Path                 33 Counter
    3 set             11 bytearray beside   18 date         26 PurePosixPath        40 registered object
    4 frozenset       12 memoryview beside  19 time         27 PureWindowsPath      41 exception
    5 dict, any keys  13 numpy array        20 datetime     28 range                42 reference
    6 lone surrogates 14 numpy scalar       21 timedelta    29 slice
    7 large int       15 complex            22 timezone     30 OrderedDict
    8 bytearray                             23 ZoneInfo     31 defaultdict

docs/design/codec.md has each payload, the rules for keys, the limits, and what is refused and why. Pure: no
sockets, clocks, greenlets or threads here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ormsgpack

from ._serializers import buffers, faults
from ._serializers.decoder import FAST_BYTES, Reading, count_body, fast_hook
from ._serializers.encoder import (
    NOT_REGISTERED,
    Uncounted,
    Walk,
    encode_rows_or_none,
    fast_packer,
    raise_interrupt,
)
from ._serializers.limits import OPTIONS, Buffers, CodecLimits, References, Refused, describe
from ._serializers.registry import is_registered, register
from ._serializers.scan import unpackb
from .errors import PyroError, RemoteProtocolError, SerializationError

if TYPE_CHECKING:
    from ._serializers.byvalue import ByValue

__all__ = ["NOT_REGISTERED", "Buffers", "Codec", "CodecLimits", "References", "is_registered", "register"]

packb = ormsgpack.packb

Encoded = tuple[bytes, list[buffers.Part]]

#: Arguments and results of these types are looked at before they are packed: large bytes go beside the
#: body, bytearray and memoryview would become bytes, and a list of tuples has a shape of its own.
_LOOK_AT = buffers.BUFFER_TYPES | {list}

#: In the map of keyword arguments, the key of the positional ones. No parameter has this name.
_POSITIONAL = ""


class Codec:
    """Encodes and decodes the messages of one connection; keeps nothing from one message to the next.

    It may be used by any number of greenlets and threads at once, also from within a `to_state`.

    Args:
        limits: what one message may hold, sent or received.
        references: turns objects that travel by reference into bytes and back; None refuses them.
        by_value: a `ByValue` that says which objects of classes that are not registered travel; None refuses them.
    """

    __slots__ = ("_by_value", "_default", "_hook", "_most_items", "_packer", "limits", "references")

    def __init__(
        self,
        limits: CodecLimits = CodecLimits(),  # noqa: B008
        references: References | None = None,
        by_value: ByValue | None = None,
    ) -> None:
        self._by_value = by_value
        self.limits = limits
        self.references = references
        self._packer = fast_packer(limits)
        self._default = self._packer.default
        self._hook = fast_hook(limits)
        self._most_items = limits.max_items

    def __repr__(self) -> str:
        return f"<Codec {self.limits}, {'no references' if self.references is None else self.references}>"

    # Sending

    def encode_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Encoded:
        """Encode the arguments of a call.

        Returns:
            The body, and the parts that travel beside it: views of the caller's own objects, which it must not
            change before they are sent.

        Raises:
            SerializationError: an argument cannot travel; the message has the path to the culprit, arguments
                counted from 1.
        """
        if kwargs:
            return self._encode_keywords(args, kwargs)
        for arg in args:
            kind = type(arg)
            if kind in _LOOK_AT and (kind is not list or (arg and type(arg[0]) is tuple)):
                return self._encode_looked_at(args)
        try:
            body = packb([*args], self._default, OPTIONS)
        except TypeError:
            return self._walk_arguments(args, {})
        if len(body) > self._most_items:
            self._check_items(body)
        return body, []

    def encode_value(self, value: Any, what: str = "result") -> Encoded:
        """Encode a result, or any one value; as `encode_arguments`. Errors call it `what`."""
        parts: list[buffers.Part] = []
        packed = value
        if type(value) in _LOOK_AT:
            packed = self._look_at(value, parts)
        try:
            body = packb(packed, self._default, OPTIONS)
        except TypeError:
            return self._walk_value(value, what)
        if len(body) > self._most_items:
            self._check_items(body)
        return body, parts

    def encode_error(self, exc: BaseException, traceback_lines: list[str] | None) -> Encoded:
        """Encode an exception that is to be raised at the other side; never fails for what is in it.

        Args:
            exc: the exception; arguments and attributes that cannot travel are replaced or left out.
            traceback_lines: its traceback at this side, oldest call first; the lines that came with it from a
                further side are added. None sends neither.
        """
        try:
            return self._walk_error(exc, traceback_lines)
        except Exception as failure:
            text = f"{describe(exc, 500)} (it could not be sent whole: {describe(failure, 500)})"
            return self._walk_error(RuntimeError(text), None)

    # Receiving

    def decode_arguments(
        self, body: bytes | bytearray | memoryview, buffers: Buffers = ()
    ) -> tuple[list[Any], dict[str, Any]]:
        """Decode the arguments of a call: the positional ones and those by keyword.

        Args:
            body: may be a view of a receive buffer; nothing of it is kept.
            buffers: the parts beside the body, likewise.

        Raises:
            RemoteProtocolError: this is not what an encoder writes, or exceeds a limit.
            NoModuleError: it holds an object of a class that is not registered here.
            SerializationError: it holds state that does not fit a registered class.
        """
        # As decode_value, written out: this runs for each call.
        arguments = None  # which arguments never are
        if not buffers and len(body) <= FAST_BYTES and len(body) <= self._most_items:
            try:
                arguments = unpackb(body, ext_hook=self._hook)
            except Exception:
                raise_interrupt()
        if arguments is None:
            # Outside the except clause, so that an error does not show the fast pass's as its context.
            arguments = Reading(self.limits, buffers, self.references, self._by_value).read(body)
        if type(arguments) is list:
            return arguments, {}
        if type(arguments) is dict:
            args = arguments.pop(_POSITIONAL, None)
            if type(args) is list:
                return args, arguments
        raise RemoteProtocolError(f"a call's arguments are {describe(arguments)}, not an array or a map")

    def decode_value(self, body: bytes | bytearray | memoryview, buffers: Buffers = ()) -> Any:
        """Decode one value; as `decode_arguments`."""
        if not buffers and len(body) <= FAST_BYTES and len(body) <= self._most_items:
            try:
                return unpackb(body, ext_hook=self._hook)
            except Exception:
                raise_interrupt()
        return Reading(self.limits, buffers, self.references, self._by_value).read(body)

    def decode_error(self, body: bytes | bytearray | memoryview, buffers: Buffers = ()) -> BaseException:
        """Decode an exception, ready to raise; `remote_stacktrace` is set. As `decode_arguments`."""
        exc = Reading(self.limits, buffers, self.references, self._by_value).read(body)
        if not isinstance(exc, BaseException):
            raise RemoteProtocolError(f"an error's body is {describe(exc)}, not an exception")
        if not hasattr(exc, "remote_stacktrace"):
            exc.__dict__["remote_stacktrace"] = None
        return exc

    # Parts of encoding

    def _look_at(self, value: Any, parts: list[buffers.Part]) -> Any:
        """Return what is to be packed for an argument or result of one of the types in _LOOK_AT."""
        if type(value) is not list:
            return buffers.encode_buffer(value, parts)
        if value and type(value[0]) is tuple:
            return encode_rows_or_none(value, self._packer) or value
        return value

    def _encode_looked_at(self, args: tuple[Any, ...]) -> Encoded:
        parts: list[buffers.Part] = []
        packed = [self._look_at(arg, parts) if type(arg) in _LOOK_AT else arg for arg in args]
        try:
            body = packb(packed, self._default, OPTIONS)
        except TypeError:
            return self._walk_arguments(args, {})
        if len(body) > self._most_items:
            self._check_items(body)
        return body, parts

    def _encode_keywords(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Encoded:
        if _POSITIONAL in kwargs:
            raise SerializationError("a keyword argument has an empty name; give it one")
        parts: list[buffers.Part] = []
        packed: dict[str, Any] = {_POSITIONAL: [*args], **kwargs}
        for arg in args:
            if type(arg) in _LOOK_AT:
                packed[_POSITIONAL] = [self._look_at(arg, parts) if type(arg) in _LOOK_AT else arg for arg in args]
                break
        for name, arg in kwargs.items():
            if type(arg) in _LOOK_AT:
                packed[name] = self._look_at(arg, parts)
        try:
            body = packb(packed, self._default, OPTIONS)
        except TypeError:
            return self._walk_arguments(args, kwargs)
        if len(body) > self._most_items:
            self._check_items(body)
        return body, parts

    def _check_items(self, body: bytes) -> None:
        """Each element takes a byte at least, so only a body longer than the limit has to be counted."""
        count = count_body(body)
        if count > self._most_items:
            raise SerializationError(f"{count} elements in one message, limit is {self._most_items} (max_items)")

    # The walk

    def _walk_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Encoded:
        def encode(walk: Walk) -> bytes:
            positional = [walk.at(f"argument {number}", arg) for number, arg in enumerate(args, 1)]
            if not kwargs:
                return walk.body(positional)
            for name in kwargs:
                if type(name) is not str or not name.isprintable():
                    raise Refused(f"{describe(name)} cannot be the name of a keyword argument")
            named = {name: walk.at(f"argument {name!r}", arg) for name, arg in kwargs.items()}
            return walk.body({_POSITIONAL: positional, **named})

        return self._walk(encode, "arguments")

    def _walk_value(self, value: Any, what: str) -> Encoded:
        return self._walk(lambda walk: walk.body(walk.at(what, value)), what)

    def _walk_error(self, exc: BaseException, traceback_lines: list[str] | None) -> Encoded:
        return self._walk(lambda walk: walk.body(faults.encode_exception(exc, walk, traceback_lines)), "error")

    def _walk(self, encode: Callable[[Walk], bytes], what: str, counts_all: bool = False) -> Encoded:
        raise_interrupt()
        walk = Walk(self.limits, self.references, counts_all, self._by_value)
        try:
            body = encode(walk)
        except Uncounted:
            return self._walk(encode, what, True)
        except Refused as refused:
            if not refused.path:
                refused.path.append(what)
            raise SerializationError(refused.message()) from refused.__cause__
        except RecursionError:
            raise SerializationError(f"{what}: nested deeper than Python's recursion limit") from None
        except PyroError:
            raise
        except Exception as exc:  # of the user's own code, or a dict that changes while it is read
            raise SerializationError(f"{what}: {describe(exc, 200)}") from exc
        return body, walk.parts
