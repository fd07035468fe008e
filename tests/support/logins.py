"""Logins in tests: a key, an object that tells who calls, a daemon that wants to know, proxies that say it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import gpyro
from gpyro import auth
from gpyro.errors import ConnectionDeniedError
from tests.support.servers import Running, running_daemon

__all__ = ["KEY", "OTHER", "Thing", "denied", "guarded_server", "identified"]

KEY = auth.Key("press-4", bytes(range(32)))
OTHER = auth.Key("press-5", b"5" * 32)


class Thing(gpyro.ObjBase):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.kept: Any = None

    def who(self) -> tuple[str | None, list[str]]:
        self.calls += 1
        caller = gpyro.current_call.caller
        return gpyro.current_call.identity, sorted(caller.principals)

    def echo(self, value: Any) -> Any:
        self.calls += 1
        return value

    def keep(self, proxy: Any) -> None:
        self.kept = proxy

    def use(self) -> Any:
        return self.kept.who()

    def itself(self) -> Any:
        return self.getProxy()

    def fail(self) -> None:
        raise ValueError("as told")


@contextmanager
def guarded_server() -> Iterator[Running]:
    """Serve those who know one of two passphrases, or have KEY."""
    with running_daemon() as running:
        running.daemon.setAllowedIdentifications(["one", "two", KEY.verifier(["operator"])])
        yield running


def denied(proxy: Any) -> ConnectionDeniedError:
    with pytest.raises(ConnectionDeniedError) as info:
        proxy.who()
    assert str(info.value).startswith("security reasons")
    assert info.value.code == ConnectionDeniedError.SECURITY
    return info.value


def identified(server: Running, thing: Any, ident: Any) -> Any:
    proxy = server.proxy(thing)
    proxy._setIdentification(ident)
    return proxy
