"""`Pyro.protocol`, as far as programs use it; what is behind is gpyro's own."""

from __future__ import annotations

import gpyro.errors
from gpyro._daemon.service import LocalStorage
from gpyro._pyro3.helpers import getHostname, getIPAddress
from gpyro.auth import BasicSSLValidator, DefaultConnValidator
from gpyro.connection import Connection as TCPConnection
from gpyro.daemon import Daemon as TCPServer
from gpyro.errors import *  # noqa: F403 (as in Pyro)
from gpyro.log import Log
from gpyro.proxy import Adapter as PYROAdapter
from gpyro.proxy import Adapter as PYROSSLAdapter
from gpyro.pyro3 import constants, errors, util

__all__ = [
    "BasicSSLValidator", "DefaultConnValidator", "LocalStorage", "Log", "PYROAdapter", "PYROSSLAdapter",
    "TCPConnection", "TCPServer", "constants", "errors", "getHostname", "getIPAddress", "util",
]  # fmt: skip
__all__ += gpyro.errors.__all__
