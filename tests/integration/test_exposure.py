"""What of an object can be reached from outside, over a real connection."""

from __future__ import annotations

import json
from typing import Any

import pytest

import gpyro
from gpyro.daemon import DAEMON_ID
from tests.support.servers import running_daemon


class Account(gpyro.ObjBase):
    bank = "of the class"

    def __init__(self) -> None:
        super().__init__()
        self.balance = 10
        self.on_change = print
        self.format = json
        self._pin = 1234

    def pay(self, amount: int) -> int:
        self.balance += amount
        return self.balance

    @staticmethod
    def currency() -> str:
        return "EUR"

    @classmethod
    def kind(cls) -> str:
        return cls.__name__

    @property
    def rounded(self) -> int:
        return self.balance // 10 * 10

    def _steal(self) -> None: ...


class Savings(Account):
    def pay(self, amount: int) -> int:
        return super().pay(amount * 2)


class Guarded(Account):
    @gpyro.expose
    def audit(self) -> str:
        return "fine"

    def pay(self, amount: int) -> int:
        raise AssertionError("overridden without being exposed")


class Plain:
    def __init__(self) -> None:
        self.count = 0
        self.secret = "x"

    def step(self) -> int:
        self.count += 1
        return self.count


def call(proxy: Any, name: str, *args: Any) -> Any:
    """Call a method by a name that a proxy would not let through."""
    return proxy.__dict__["_core"].call(name, args, {})


def read(proxy: Any, name: str) -> Any:
    return proxy._gpyro_read_(name)


def test_methods_of_all_kinds_are_called() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Savings())
        assert (proxy.pay(5), proxy.currency(), proxy.kind()) == (20, "EUR", "Savings")


@pytest.mark.parametrize("name", ["_steal", "_pin", "balance", "rounded", "bank", "on_change", "format", "GUID"])
def test_what_is_no_public_method_cannot_be_called(name: str) -> None:
    with running_daemon() as server:
        with pytest.raises(AttributeError):
            call(server.proxy(Account()), name)


def test_class_that_uses_expose_shows_its_own_exposed_methods_and_its_bases() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Guarded())
        assert (proxy.audit(), proxy.currency()) == ("fine", "EUR")
        with pytest.raises(AttributeError, match="pay"):
            proxy.pay(1)
        with pytest.raises(AttributeError):
            read(server.attr_proxy(proxy.URI), "balance")


def test_public_data_is_read_and_written_through_an_attribute_proxy() -> None:
    with running_daemon() as server:
        account = Account()
        proxy = server.attr_proxy(account)
        assert (proxy.balance, proxy.bank, proxy.rounded) == (10, "of the class", 10)
        proxy.balance = 27
        proxy.owner = "me"
        assert (account.balance, proxy.rounded, proxy.owner) == (27, 20, "me")
        assert proxy.pay(3) == 30
        for name in ("pay", "rounded", "on_change", "format", "objectGUID", "daemon", "delegate", "GUID", "_pin"):
            with pytest.raises(AttributeError):
                setattr(proxy, name, 1)
        assert account.on_change is print and account.format is json


@pytest.mark.parametrize(
    "name", ["_pin", "__dict__", "__class__", "on_change", "format", "objectGUID", "delegate", "daemon", "nothing"]
)
def test_what_is_no_public_data_cannot_be_read(name: str) -> None:
    with running_daemon() as server:
        with pytest.raises(AttributeError):
            read(server.attr_proxy(Account()), name)


def test_plain_object_shows_its_methods_and_only_the_data_that_was_named() -> None:
    with running_daemon() as server:
        plain, other = Plain(), Plain()
        assert server.proxy(plain).step() == 1
        with pytest.raises(AttributeError):
            read(server.attr_proxy(server.connect(plain)), "count")
        named = server.attr_proxy(server.connect(other, attributes=["count"]))
        named.count = 5
        assert named.step() == 6
        with pytest.raises(AttributeError):
            read(named, "secret")


def test_delegate_is_reached_in_place_of_the_object() -> None:
    with running_daemon() as server:
        front = Account()
        front.delegateTo(Plain())
        proxy = server.proxy(front)
        assert proxy.step() == 1
        with pytest.raises(AttributeError, match="pay"):
            proxy.pay(1)


def test_function_put_into_an_object_after_it_was_connected_is_not_reachable() -> None:
    with running_daemon() as server:
        account = Account()
        proxy = server.proxy(account)
        account.added = lambda: "no"  # type: ignore[attr-defined]
        account.currency = lambda: "no"  # type: ignore[method-assign]
        assert proxy.currency() == "EUR"
        with pytest.raises(AttributeError, match="added"):
            proxy.added()


def test_the_daemons_own_object_shows_what_it_means_to_and_nothing_else() -> None:
    with running_daemon() as server:
        account = Account()
        server.connect(account)
        proxy = server.proxy(f"PYRO://127.0.0.1:{server.port}/{DAEMON_ID}")
        assert account.GUID() in proxy.getRegistered()
        assert proxy.ping() is None
        with pytest.raises(AttributeError):
            read(proxy, "objectGUID")
