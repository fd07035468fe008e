"""Pickled arguments and values, for a daemon and a proxy that asked for it: the only module that imports pickle.

Nothing else of gpyro imports this module, unless `pickle=PickleRules(...)` was given. Whoever may send a pickle
may call whatever the rules list; docs/pickle.md says what that means. Errors travel as data, as without pickling.

    body of arguments    pickle, protocol 5, of (tuple of the positional ones, dict of those by keyword)
    body of a value      pickle, protocol 5
    body of an error     extension 41, as `gpyro.serializers` has it

Objects that travel by reference have the persistent id (kind, data), as in extension 42. Nothing travels beside
the body. With a list of names, a body is read by `pickle_machine`, about 15 times slower than Python's own
unpickler, which cannot be made to keep to a list; that one reads for `trust_peer_completely`.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, Protocol

from ..errors import NoModuleError, PyroError, RemoteProtocolError, SerializationError
from .buffers import Part
from .limits import Buffers, CodecLimits, References, describe
from .pickle_machine import PROTOCOL, Machine, resolve_reference
from .pickle_rules import PickleRules
from .registry import BY_CLASS
from .standard import find_encoder

__all__ = ["DataCodec", "PickleCodec"]

Encoded = tuple[bytes, list[Part]]


class DataCodec(Protocol):
    """What is needed of `gpyro.serializers.Codec`, which is a room above."""

    limits: CodecLimits
    references: References | None

    def encode_error(self, exc: BaseException, traceback_lines: list[str] | None) -> Encoded:
        """Encode an exception as data."""

    def decode_error(self, body: bytes | bytearray | memoryview, buffers: Buffers = ()) -> BaseException:
        """Decode an exception."""


class PickleCodec:
    """Encodes and decodes the messages of one connection whose both sides want pickles; as `Codec`.

    It may be used by any number of greenlets and threads at once.

    Args:
        data: the connection's own codec; it has the limits and the references, and does the errors.
        rules: what this side takes. What it sends is judged by the rules of the other side.
    """

    __slots__ = ("_data", "limits", "references", "rules")

    def __init__(self, data: DataCodec, rules: PickleRules) -> None:
        self._data = data
        self.limits = data.limits
        self.references = data.references
        self.rules = rules

    def __repr__(self) -> str:
        return f"<PickleCodec {self.rules}>"

    # Sending

    def encode_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Encoded:
        """Encode the arguments of a call.

        Returns:
            The body, and no parts.

        Raises:
            SerializationError: an argument cannot be pickled; the message names it, counted from 1.
        """
        named = kwargs or {}
        if any(type(name) is not str for name in named):
            raise SerializationError("the name of a keyword argument is no str; it must be exactly that")
        try:
            return self._dump((tuple(args), named)), []
        except PyroError:
            raise
        except Exception as exc:
            raise self._refusal(exc, [*enumerate(args, 1), *named.items()]) from exc

    def encode_value(self, value: Any) -> Encoded:
        """Encode a result, or any one value; as `encode_arguments`."""
        try:
            return self._dump(value), []
        except PyroError:
            raise
        except Exception as exc:
            raise SerializationError(f"result: {_why(value, exc)}") from exc

    def encode_error(self, exc: BaseException, traceback_lines: list[str] | None) -> Encoded:
        """Encode an exception, as data and never as a pickle."""
        return self._data.encode_error(exc, traceback_lines)

    # Receiving

    def decode_arguments(
        self, body: bytes | bytearray | memoryview, buffers: Buffers = ()
    ) -> tuple[list[Any], dict[str, Any]]:
        """Decode the arguments of a call: the positional ones and those by keyword.

        Raises:
            RemoteProtocolError: this is no pickle of protocol 5, or exceeds a limit.
            NoModuleError: it names what is not allowed, or not there.
            SerializationError: a listed class refuses what arrived.
        """
        pair = self._load(body, buffers)
        if type(pair) is tuple and len(pair) == 2 and type(pair[0]) is tuple and type(pair[1]) is dict:
            if all(type(name) is str for name in pair[1]):
                return [*pair[0]], pair[1]
        raise RemoteProtocolError(f"a call's pickled arguments are {describe(pair)}, not (tuple, dict)")

    def decode_value(self, body: bytes | bytearray | memoryview, buffers: Buffers = ()) -> Any:
        """Decode one value; as `decode_arguments`."""
        return self._load(body, buffers)

    def decode_error(self, body: bytes | bytearray | memoryview, buffers: Buffers = ()) -> BaseException:
        """Decode an exception, which is data and never a pickle."""
        return self._data.decode_error(body, buffers)

    # Parts

    def _dump(self, value: Any) -> bytes:
        file = io.BytesIO()
        _Pickler(file, self.references).dump(value)
        return file.getvalue()

    def _refusal(self, exc: Exception, arguments: list[tuple[object, Any]]) -> SerializationError:
        """Return the error for arguments that could not be pickled: that of the first that cannot alone."""
        for name, argument in arguments:
            try:
                self._dump(argument)
            except Exception as own:
                return SerializationError(f"argument {name!r}: {_why(argument, own)}")
        return SerializationError(f"arguments: {describe(exc, 300)}")

    def _load(self, body: bytes | bytearray | memoryview, buffers: Buffers) -> Any:
        if buffers:
            raise RemoteProtocolError(f"{len(buffers)} parts arrived beside a pickled message, which has none")
        data = bytes(body)
        if data[:2] != PROTOCOL:
            raise RemoteProtocolError(f"a pickled message begins with {data[:2]!r}, not with {PROTOCOL!r}")
        if self.rules.trust_peer_completely:
            return self._load_trusting(data)
        return Machine(data, self.limits, self.rules, self.references).read()

    def _load_trusting(self, data: bytes) -> Any:
        try:
            return _TrustingUnpickler(io.BytesIO(data), self.references).load()
        except PyroError:
            raise
        except (ImportError, AttributeError) as exc:
            raise NoModuleError(f"a pickled message names what is not here: {describe(exc, 200)}") from exc
        except Exception as exc:  # pickle lets out whatever occurs to it, and the code it runs anything at all
            raise RemoteProtocolError(f"a pickled message cannot be decoded: {describe(exc, 200)}") from exc


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, references: References | None) -> None:
        super().__init__(file, PROTOCOL[1])
        self._references = references

    def persistent_id(self, value: Any) -> tuple[int, bytes] | None:
        """Let the objects that the data codec sends by reference travel so here too."""
        kind = type(value)
        if getattr(kind, "_gpyro_by_reference_", False) is not True or _travels_by_value(value, kind):
            return None
        known = None if self._references is None else self._references.encode_reference(value)
        if known is None:
            raise SerializationError(
                f"a {kind.__qualname__} travels by reference, which this connection cannot do"
            )
        return known


def _travels_by_value(value: Any, kind: type) -> bool:
    """The order of the data codec's walk: what it knows, what is registered, exceptions; then references."""
    return kind in BY_CLASS or isinstance(value, BaseException) or find_encoder(kind) is not None


class _TrustingUnpickler(pickle.Unpickler):
    """Python's own: it imports and calls whatever the peer names."""

    def __init__(self, file: io.BytesIO, references: References | None) -> None:
        super().__init__(file)
        self._references = references

    def persistent_load(self, key: Any) -> object:
        return resolve_reference(self._references, key)


def _why(value: Any, exc: Exception) -> str:
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(exc, RecursionError):
        return f"a {name} is nested deeper than Python's recursion limit"
    return f"a {name} cannot be pickled: {describe(exc, 300)}"
