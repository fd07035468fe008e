"""Whether callers of a daemon have to identify themselves, and how; checked before it listens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpyro.configuration import Settings
from gpyro.errors import DaemonError
from gpyro.log import Log

if TYPE_CHECKING:
    from gpyro.auth import DefaultConnValidator, Means

__all__ = ["checked_pickle", "checked_tls", "checked_validator", "is_guarded", "warn_of_pickle"]


def checked_tls(protocol: str, tls: Any, settings: Settings, unix_path: str) -> Any:
    """Return the TLSConfig of a daemon, None for a plain one.

    Raises:
        DaemonError: protocol and tls do not fit each other. ConfigurationError: its files are not right.
    """
    if protocol == "PYRO":
        if tls is not None:
            raise DaemonError("couldn't start the daemon: tls= is for protocol='PYROSSL', and this is 'PYRO'")
        return None
    if protocol != "PYROSSL":
        raise DaemonError(f"couldn't start the daemon: unsupported protocol {protocol!r}; use PYRO or PYROSSL")
    if unix_path:
        raise DaemonError("couldn't start the daemon: a unix socket has no TLS; use protocol='PYRO' there")
    from gpyro.hub import TLSConfig  # only daemons with TLS need it

    if tls is None:
        tls = TLSConfig.from_settings(settings)
    check_tls_type(tls)
    tls.server_context()
    return tls


def check_tls_type(tls: object) -> None:
    """See that this is a TLSConfig.

    Raises:
        TypeError: it is not.
    """
    from gpyro.hub import TLSConfig

    if not isinstance(tls, TLSConfig):
        raise TypeError(f"tls={tls!r}; it takes gpyro.TLSConfig(...), see docs/tls.md")


def checked_validator(
    validator: DefaultConnValidator | None, identifications: Sequence[object] | None
) -> DefaultConnValidator | None:
    """Return what decides about new connections, None where everybody is let in.

    Raises:
        TypeError, ValueError: this is no validator, or these are no identifications.
    """
    if validator is None and identifications is None:
        return None
    from gpyro.auth import DefaultConnValidator  # only daemons with somebody at the door need the cryptography

    if validator is None:
        validator = DefaultConnValidator()
    elif not isinstance(validator, DefaultConnValidator):
        raise TypeError(f"validator must be specialization of DefaultConnValidator, not {validator!r}")
    if identifications is not None:
        validator.setAllowedIdentifications(identifications)
    return validator


def checked_pickle(pickle: Any) -> Any:
    """Return what the pickles of callers may name, None where none are taken.

    Raises:
        TypeError: these are no PickleRules.
    """
    if pickle is None:
        return None
    from gpyro._serializers.pickle_rules import PickleRules  # only where somebody wants pickles

    if not isinstance(pickle, PickleRules):
        raise TypeError(f"pickle={pickle!r}; it takes gpyro.PickleRules(allow=[...]), see docs/pickle.md")
    return pickle


def warn_of_pickle(hostname: str, pickle: Any) -> None:
    """Say at each start that somebody may do more here than call methods."""
    if pickle is not None:
        Log.warn("Daemon", f"{hostname} takes pickles from callers that have logged in: {pickle!r}")


def is_guarded(means: Means | None, tls: Any) -> bool:
    """Tell whether every caller has to prove who it is, by TLS or by a login that nobody on the way can use."""
    if tls is not None and tls.client_certificates == "required":
        return True
    if means is None:
        return False
    from gpyro.auth import Means

    return means is Means.LOGIN or (means is Means.CUSTOM and tls is not None)
