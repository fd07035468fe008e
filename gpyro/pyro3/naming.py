"""`Pyro.naming`; `python -m gpyro.pyro3.naming` is `gpyro ns`."""

from __future__ import annotations

from gpyro._pyro3.tools import run_tool, tool
from gpyro.errors import *  # noqa: F403 (as in Pyro)
from gpyro.log import Log
from gpyro.naming import (
    BCReqValidator,
    BroadcastServer,
    NameServer,
    NameServerLocator,
    NameServerProxy,
    NameServerStarter,
    PersistentNameServer,
)
from gpyro.pyro3 import constants, core, errors, protocol, util

__all__ = [
    "BCReqValidator", "BroadcastServer", "Log", "NameServer", "NameServerLocator", "NameServerProxy",
    "NameServerStarter", "PersistentNameServer", "constants", "core", "errors", "main", "protocol", "util",
]  # fmt: skip

main = tool("ns")

if __name__ == "__main__":
    run_tool("ns")
