"""`Pyro.core`."""

from __future__ import annotations

import gpyro.core
from gpyro.core import *  # noqa: F403 (all that is there)
from gpyro.errors import *  # noqa: F403 (as in Pyro)
from gpyro.log import Log
from gpyro.proxy import AttrProxy as DynamicProxyWithAttrs
from gpyro.proxy import Proxy as DynamicProxy
from gpyro.pyro3 import constants, errors, protocol, util

__all__ = ["DynamicProxy", "DynamicProxyWithAttrs", "Log", "constants", "errors", "protocol", "util"]
__all__ += gpyro.core.__all__
__all__ += gpyro.errors.__all__
