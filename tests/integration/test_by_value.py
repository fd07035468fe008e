"""Objects of listed modules between daemons and callers: over which connections, and what never comes through."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gpyro
from gpyro import auth
from gpyro._hub.stream import Stream
from gpyro.configuration import PROGRAM
from gpyro.errors import ConfigurationError, NoModuleError, RemoteError, SerializationError
from tests.support.certificates import authority
from tests.support.programs import PROGRAMS, make_environment
from tests.support.servers import Running, connection_of, eventually, running_daemon
from tests.support.tls_pair import client_config, server_config

KEY = auth.Key("press-4", bytes(range(32)))
LISTED = (__name__,)


class Order:
    """A class that nobody has registered."""

    def __init__(self, amount: int) -> None:
        self.amount = amount


class SoldOut(Exception):
    def __init__(self, article: str) -> None:
        super().__init__(article)
        self._article = article

    def article(self) -> str:
        return self._article


class Shop(gpyro.ObjBase):
    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Any] = []
        self.last: Any = Order(0)

    def take(self, value: Any) -> Any:
        self.taken.append(value)
        return value

    def make(self) -> Order:
        return Order(9)

    def fail(self) -> None:
        raise SoldOut("bolts")

    def call(self, callback: Any) -> Any:
        return callback.take(Order(7)).amount


def proxy_of(server: Running, target: Any, ident: Any = None, **options: Any) -> Any:
    uri = target if isinstance(target, str) else server.connect(target)
    proxy = gpyro.Proxy(uri, **{"by_value": LISTED, **options})
    if ident is not None:
        proxy._setIdentification(ident)
    server._proxies.append(proxy)
    return proxy


@pytest.mark.smoke
def test_objects_travel_both_ways_and_are_copies() -> None:
    with running_daemon(by_value=LISTED) as server:
        shop = Shop()
        proxy = proxy_of(server, shop)
        order = Order(5)
        got = proxy.take([order])[0]
        assert (type(got), got.amount) == (Order, 5)
        assert type(shop.taken[0][0]) is Order and shop.taken[0][0] is not order
        assert copy.copy(proxy).make().amount == 9
        with pytest.raises(SoldOut) as info:
            proxy.fail()
        assert (info.value.args, info.value.article()) == (("bolts",), "bolts")
        assert info.value.remote_stacktrace  # type: ignore[attr-defined]
        assert f"by value {__name__}" in repr(server.daemon)


def test_attributes_and_callbacks_carry_them() -> None:
    with running_daemon(by_value=LISTED) as server:
        shop, mine = Shop(), Shop()
        proxy = proxy_of(server, shop)
        assert proxy.call(mine) == 7 and mine.taken[0].amount == 7
        attributes = gpyro.AttrProxy(server.connect(shop), by_value=LISTED)
        server._proxies.append(attributes)
        attributes.last = Order(3)
        assert type(shop.last) is Order and attributes.last.amount == 3


def test_an_answer_that_is_read_after_the_connection_has_ended_is_still_one_of_this_machine() -> None:
    with running_daemon(by_value=LISTED) as server:
        proxy = proxy_of(server, Shop())
        answer = connection_codec(proxy).encode_value(Order(5))
        codec = connection_codec(proxy)
        proxy._release()
        eventually(lambda: not server.connections)
        assert codec.decode_value(*answer).amount == 5


def connection_codec(proxy: Any) -> Any:
    proxy.take(1)
    return connection_of(proxy).codec


def test_what_the_setting_lists_holds_for_daemons_and_proxies_without_a_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpyro.config, "by_value", LISTED)
    with running_daemon() as server:
        shop = Shop()
        assert server.proxy(shop).take(Order(5)).amount == 5
        with pytest.raises(SerializationError, match=r"its class is not registered; gpyro\.register\(Order\)"):
            proxy_of(server, shop, by_value=()).take(Order(5))
        with gpyro.Daemon(port=0, norange=True, by_value=[]) as closed:
            assert "by value" not in repr(closed)


def test_native_programs_keep_the_strict_registry() -> None:
    assert gpyro.config.by_value == ()
    with running_daemon() as server:
        shop = Shop()
        with pytest.raises(NoModuleError, match=r"no class is registered under that name here"):
            proxy_of(server, shop).take(Order(5))
        with pytest.raises(SerializationError, match=r"gpyro\.register\(Order\) on both sides"):
            proxy_of(server, shop).make()
        with pytest.raises(RemoteError, match="bolts"):
            proxy_of(server, shop, by_value=()).fail()
        assert shop.taken == []


def test_each_side_judges_by_its_own_list() -> None:
    with running_daemon(by_value=LISTED) as server:
        shop = Shop()
        proxy = proxy_of(server, shop, by_value=())
        with pytest.raises(NoModuleError, match="no class is registered"):
            proxy.make()
        with pytest.raises(RemoteError, match="bolts"):
            proxy.fail()
        assert proxy.take(5) == 5


def test_lists_of_anything_but_own_modules_are_refused_where_they_are_given() -> None:
    for bad in ("shop", ["os"], ["gpyro.errors"], [5]):
        with pytest.raises(ConfigurationError, match="by_value is"):
            gpyro.Daemon(port=0, norange=True, by_value=bad)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="by_value is"):
            gpyro.Proxy("PYRO://127.0.0.1:1/x", by_value=bad)  # type: ignore[arg-type]


# Over which connections. Every peer of a test is on this machine, so it is said here that none is.


@pytest.fixture
def distant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stream, "is_local", lambda self: False)


@pytest.mark.usefixtures("distant")
def test_a_caller_from_elsewhere_without_a_login_neither_brings_nor_gets_any() -> None:
    with running_daemon(by_value=LISTED) as server:
        shop = Shop()
        proxy = proxy_of(server, shop)
        for call in (lambda: proxy.take(Order(5)), proxy.make):
            with pytest.raises(SerializationError, match=r"Order travels by value .* _setIdentification"):
                call()
        with pytest.raises(RemoteError, match="bolts"):
            proxy.fail()
        assert shop.taken == []
        # The caller's own care is not what the server relies on.
        connection_of(proxy).codec._by_value._is_trusted = lambda: True
        with pytest.raises(SerializationError, match=r"Order' arrived; .* with a peer that has proved"):
            proxy.take(Order(5))
        assert shop.taken == []


@pytest.mark.usefixtures("distant")
def test_after_a_login_they_travel() -> None:
    with running_daemon(by_value=LISTED) as server:
        server.daemon.setAllowedIdentifications([KEY])
        proxy = proxy_of(server, Shop(), KEY)
        assert proxy.take(Order(5)).amount == 5
        with pytest.raises(SoldOut):
            proxy.fail()


@pytest.mark.usefixtures("distant")
def test_with_the_servers_certificate_alone_they_do_not_travel_either_way() -> None:
    with running_daemon(protocol="PYROSSL", tls=server_config(), by_value=LISTED) as server:
        proxy = proxy_of(server, Shop(), tls=client_config())
        for call in (lambda: proxy.take(Order(5)), proxy.make):
            with pytest.raises(SerializationError, match="TLS with certificates on both sides"):
                call()


@pytest.mark.usefixtures("distant")
def test_with_certificates_on_both_sides_they_travel() -> None:
    ca = authority()
    mine = ca.make("press-4", server=False, client=True)
    wants = server_config(ca=ca.own.pem, client_certificates="required")
    with running_daemon(protocol="PYROSSL", tls=wants, by_value=LISTED) as server:
        proxy = proxy_of(server, Shop(), tls=client_config(certificate=mine.both))
        assert proxy.take(Order(5)).amount == 5


@pytest.mark.usefixtures("distant")
def test_what_a_validator_says_without_protection_on_the_way_is_not_enough() -> None:
    class Naming(auth.DefaultConnValidator):
        def acceptHost(self, daemon: Any, connection: Any) -> tuple[int, int]:
            connection.identity = "somebody"
            return 1, 0

    with running_daemon(by_value=LISTED) as server:
        server.daemon.setNewConnectionValidator(Naming())
        proxy = proxy_of(server, Shop())
        with pytest.raises(SerializationError, match="travels by value"):
            proxy.make()


# Programs


def run(path: Path, *arguments: str, seconds: float = 80) -> str:
    answer = subprocess.run(
        [sys.executable, str(path), *arguments], capture_output=True, text=True, timeout=seconds,
        env=make_environment(path.parent),
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


SERVER = """\
import sys, gpyro, model
class Shop(gpyro.ObjBase):
    def take(self, order):
        return model.Receipt(order)
class Mine: pass
daemon = gpyro.Daemon(port=0, norange=True, by_value=[%r])
print(daemon.connect(Shop()), flush=True)
daemon.requestLoop()
"""

CLIENT = """\
import sys, gpyro, model
class Mine: pass
class Gone: pass
shop = gpyro.Proxy(sys.argv[1], by_value=[%r])
print(type(shop.take(model.Order(5)).order) is model.Order, shop.take(Mine()).order.__class__ is Mine)
try:
    shop.take(Gone())
except gpyro.errors.NoModuleError as exc:
    print(exc)
"""

MODEL = """\
class Order:
    def __init__(self, amount): self.amount = amount
class Receipt:
    def __init__(self, order): self.order = order
"""


def test_two_programs_share_a_module_and_find_scripts_classes_by_name(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "server.py").write_text(SERVER % PROGRAM)
    (tmp_path / "client.py").write_text(CLIENT % PROGRAM)
    server = subprocess.Popen(
        [sys.executable, str(tmp_path / "server.py")], stdout=subprocess.PIPE, text=True,
        env=make_environment(tmp_path),
    )  # fmt: skip
    try:
        assert server.stdout is not None
        lines = run(tmp_path / "client.py", server.stdout.readline().strip()).splitlines()
    finally:
        server.kill()
        server.communicate(timeout=20)
    assert lines[0] == "True True"
    assert "the module '__main__', which is listed (by_value), has no such class on this side" in lines[1]
    assert "put classes that both sides need into a module that both import" in lines[1]


def test_no_class_of_the_standard_library_is_ever_rebuilt(tmp_path: Path) -> None:
    told = json.loads(run(PROGRAMS / "by_value_standard_library.py", str(tmp_path)))
    assert told["classes"] > 1500
    assert (told["rebuilt"], told["sent"]) == ([], [])
    assert told["canary is there"]
    assert told["a canary dies of a rebuilt object"], "then this test would have seen nothing"
