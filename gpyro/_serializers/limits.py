"""The bounds of the codec, the wire's extension numbers, and the protocols between its parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, Union

import ormsgpack

__all__ = [
    "INLINE_BYTES",
    "MAX_BUFFERS",
    "OPTIONS",
    "Buffers",
    "CodecLimits",
    "Deferred",
    "Extension",
    "Packer",
    "References",
    "Refused",
    "Style",
    "Unpacker",
    "describe",
]

Buffers = Sequence[Union[bytes, bytearray, memoryview]]

#: Nothing that is not exact in MessagePack may pass natively. OPT_NON_STR_KEYS stays off: with it, keys of
#: several types turn silently into str.
OPTIONS = (
    ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)

#: Bytes up to this size stay in the body. Above it, a part of its own saves copies, which cost less than the
#: part's own bookkeeping below: 8,000 bytes took 25 us longer beside it. What is larger needs more than one read.
INLINE_BYTES = 63 * 1024

#: Parts beside one body. One byte holds the index; more parts than this would cost more than copying.
MAX_BUFFERS = 256


#: Three Python frames for each level have to fit below the default recursion limit of 1,000.
_DEEPEST = 200


class _Limits(NamedTuple):
    #: Extensions inside extensions (a tuple in a set in a dataclass is 3). Real data stays below 20; each
    #: level costs three Python frames and a piece of the C stack.
    max_depth: int = 64
    #: Elements, keys and values of all containers together. 1,000,000 decode in about 0.1 s.
    max_items: int = 1_000_000
    #: Decimal digits of an int or Decimal. 4,300 is CPython's own bound for int(text), where quadratic work
    #: begins to show.
    max_bigint_digits: int = 4300
    #: Keys of one hash. 1,000 Fractions that collide cost 0.1 s in one container, 10,000 cost 10 s.
    max_colliding_keys: int = 1000


class CodecLimits(_Limits):
    """What one message may hold; the same numbers bound what is sent and what is taken.

    Raises:
        ValueError: a depth that Python's own recursion limit would not let us reach.
    """

    __slots__ = ()

    def __new__(cls, *args: int, **kwargs: int) -> CodecLimits:
        limits = super().__new__(cls, *args, **kwargs)
        if not 1 <= limits.max_depth <= _DEEPEST:
            raise ValueError(f"max_depth is {limits.max_depth}; it may be 1 to {_DEEPEST}")
        return limits


class Extension:
    """MessagePack extension numbers. They are wire format: never reuse or renumber one.

    Source: docs/design/codec.md has the payload of each.
    """

    TUPLE = 1
    ROWS = 2
    SET = 3
    FROZENSET = 4
    PAIRS = 5
    TEXT = 6
    INT = 7
    BYTEARRAY = 8
    MEMORYVIEW = 9
    OUT_BYTES = 10
    OUT_BYTEARRAY = 11
    OUT_MEMORYVIEW = 12
    NDARRAY = 13
    NUMPY_SCALAR = 14
    COMPLEX = 15
    DECIMAL = 16
    FRACTION = 17
    DATE = 18
    TIME = 19
    DATETIME = 20
    TIMEDELTA = 21
    TIMEZONE = 22
    ZONEINFO = 23
    UUID = 24
    PATH = 25
    PURE_POSIX_PATH = 26
    PURE_WINDOWS_PATH = 27
    RANGE = 28
    SLICE = 29
    ORDERED_DICT = 30
    DEFAULT_DICT = 31
    DEQUE = 32
    COUNTER = 33
    OBJECT = 40
    EXCEPTION = 41
    REFERENCE = 42


class Style:
    """How the list given to `Packer.pack` came about; it names a culprit's place in an error's path."""

    ELEMENTS = 0  # in order, "[3]"
    MEMBERS = 1  # of a set, "element 'x'"
    PAIRS = 2  # key, value, key, value: "'rows'"
    INNER = 3  # has no name that the user knows


class References(Protocol):
    """Objects that travel by reference; given to each connection's codec by the room above."""

    def encode_reference(self, value: object) -> tuple[int, bytes] | None:
        """Return (kind 0 to 255, data) for an object whose class has `_gpyro_by_reference_`; None: it cannot."""

    def decode_reference(self, kind: int, data: bytes) -> object:
        """Return the object for a reference; raises an error of `gpyro.errors` when it is not valid."""


class Packer(Protocol):
    """What the encoder of one type may use."""

    limits: CodecLimits

    def pack(self, value: Any, style: int = Style.ELEMENTS) -> bytes:
        """Encode what lies one extension deeper."""


class Unpacker(Protocol):
    """What the decoder of one extension may use."""

    limits: CodecLimits

    def unpack(self, payload: bytes) -> Any:
        """Decode what lies one extension deeper."""

    def check_keys(self, keys: Any) -> None:
        """Raise RemoteProtocolError when too many of these keys have one hash."""

    def part(self, index: bytes) -> bytes | bytearray | memoryview:
        """Return the part beside the body that has this index, at most once."""

    def reference(self, kind: int, data: bytes) -> object:
        """Return the object for a reference."""

    def stranger(self, name: Any) -> Any:
        """Return an Entry for a class that is not registered, where its objects travel all the same."""

    def strange_exception(self, name: str) -> type[Exception] | None:
        """Return the class of an exception that arrives as itself without being registered, or None."""

    def defer(self) -> None:
        """Raise Deferred in the fast pass: what follows runs a user's code, or needs the state of one message."""


class Refused(Exception):
    """A value cannot be sent; collects the path to it while the walk unwinds."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str] = []

    def message(self) -> str:
        """The path, outermost first, and the reason."""
        return f"{' -> '.join(reversed(self.path))}: {self.reason}"


class Deferred(Exception):
    """Raised in a fast pass to hand the message to the careful one."""


def describe(value: object, length: int = 60) -> str:
    """Return a repr that is short and never fails."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__qualname__} whose repr fails>"
    return text if len(text) <= length else text[: length - 3] + "..."
