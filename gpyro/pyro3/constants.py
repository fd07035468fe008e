"""`Pyro.constants`."""

from __future__ import annotations

from gpyro.auth import DENIED_HOSTBLOCKED, DENIED_SECURITY, DENIED_SERVERTOOBUSY, DENIED_UNSPECIFIED
from gpyro.errors import ConnectionDeniedError
from gpyro.eventserver import EVENTSERVER_NAME
from gpyro.naming import NAMESERVER_NAME
from gpyro.objects import DAEMON_ID as INTERNAL_DAEMON_GUID

__all__ = [
    "DENIED_HOSTBLOCKED", "DENIED_SECURITY", "DENIED_SERVERTOOBUSY", "DENIED_UNSPECIFIED", "EVENTSERVER_NAME",
    "INTERNAL_DAEMON_GUID", "NAMESERVER_NAME", "NSROLE_PRIMARY", "NSROLE_SECONDARY", "NSROLE_SINGLE",
    "TRACEBACK_ATTRIBUTE", "VERSION", "deniedReasons",
]  # fmt: skip

#: The version of Pyro whose programs run; `gpyro.__version__` is that of gpyro.
VERSION = "3.16"

#: Where an exception has its remote traceback.
TRACEBACK_ATTRIBUTE = "remote_stacktrace"

deniedReasons = ConnectionDeniedError.REASONS

NSROLE_SINGLE, NSROLE_PRIMARY, NSROLE_SECONDARY = 0, 1, 2
