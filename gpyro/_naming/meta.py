"""The user's meta, as bytes: what a storage keeps of it."""

from __future__ import annotations

from typing import Any

from gpyro.errors import SerializationError
from gpyro.serializers import Codec

__all__ = ["MAX_META_BYTES", "decode_meta", "encode_meta"]

#: A note beside a name, not a store of files: with it, the memory that one caller can fill stays in proportion to
#: the number of names.
MAX_META_BYTES = 16 * 1024

_codec = Codec()


def encode_meta(meta: Any) -> bytes | None:
    """Return a value of data types as bytes; None stays None.

    Raises:
        SerializationError: it cannot be kept, or is too large.
    """
    if meta is None:
        return None
    # In a dict, so that large bytes stand in the body and not beside it.
    body, parts = _codec.encode_value({"": meta})
    if parts or len(body) > MAX_META_BYTES:
        size = len(body) + sum(len(part) for part in parts)
        raise SerializationError(f"meta of {size} bytes, limit is {MAX_META_BYTES} for each name")
    return body


def decode_meta(body: bytes | None) -> Any:
    """Return the value that `encode_meta` was given, or one equal to it."""
    return None if body is None else _codec.decode_value(body)[""]
