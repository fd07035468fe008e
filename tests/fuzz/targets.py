"""What is fuzzed: each target takes any bytes, and raises only where gpyro breaks a promise.

What a target does with its input stands at the top of its module. They are pure but for `keyfile`, which reads a
file that exists in memory only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.fuzz.codec_target import codec
from tests.fuzz.frames_target import frames
from tests.fuzz.handshake_target import handshake
from tests.fuzz.pickle_target import pickled
from tests.fuzz.text_targets import keyfile, uri

__all__ = ["TARGETS", "codec", "frames", "handshake", "keyfile", "pickled", "uri"]

TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "codec": codec,
    "frames": frames,
    "handshake": handshake,
    "keyfile": keyfile,
    "pickled": pickled,
    "uri": uri,
}
