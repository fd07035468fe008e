"""`Pyro.util`."""

from __future__ import annotations

from gpyro._pyro3.helpers import (
    ArgParser,
    genguid_scripthelper,
    getEventObject,
    getLockObject,
    getRLockObject,
    supports_compression,
    supports_multithreading,
)
from gpyro.log import Log, LoggerBase, SystemLogger, UserLogger
from gpyro.pyro3 import constants
from gpyro.util import excepthook, getPyroTraceback
from gpyro.util import make_guid as getGUID

__all__ = [
    "ArgParser", "Log", "LoggerBase", "SystemLogger", "UserLogger", "constants", "excepthook",
    "genguid_scripthelper", "getEventObject", "getGUID", "getLockObject", "getPyroTraceback", "getRLockObject",
    "supports_compression", "supports_multithreading",
]  # fmt: skip
