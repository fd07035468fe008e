"""Sizes that the wire shares with the proofs; by themselves, so that it loads no cryptography for them."""

from __future__ import annotations

from typing import Final

__all__ = ["SEAL_BYTES"]

#: The code behind each sealed frame: HMAC-SHA256 cut to half, as long as the tags of TLS's ciphers.
SEAL_BYTES: Final = 16
