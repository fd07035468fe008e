"""Pickle between a daemon and a proxy: only where both were told so, both are known, and nobody is in between."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import gevent
import pytest

import gpyro
from gpyro import auth
from gpyro.errors import ConnectionDeniedError, NoModuleError
from tests.support.certificates import authority
from tests.support.servers import Running, connection_of, eventually, running_daemon
from tests.support.tls_pair import client_config, server_config

KEY = auth.Key("press-4", bytes(range(32)))


class Order:
    """A class that nobody has registered."""

    def __init__(self, amount: int) -> None:
        self.amount = amount


RULES = gpyro.PickleRules(allow=[Order])


class Shop(gpyro.ObjBase):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def take(self, value: Any) -> Any:
        self.calls += 1
        return value

    def fail(self) -> None:
        raise ValueError("as told")

    def call(self, callback: Any) -> Any:
        return callback.take(Order(7)).amount


def proxy_of(server: Running, target: Any, pickle: Any = RULES, ident: Any = KEY, tls: Any = None) -> Any:
    uri = target if isinstance(target, str) else server.connect(target)
    proxy = gpyro.Proxy(uri, pickle=pickle, tls=tls)
    proxy._setIdentification(ident)
    server._proxies.append(proxy)
    return proxy


def denial(proxy: Any, *args: Any) -> str:
    with pytest.raises(ConnectionDeniedError) as info:
        proxy.take(*(args or (Order(5),)))
    assert info.value.code == ConnectionDeniedError.SECURITY
    return str(info.value)


@pytest.mark.smoke
def test_listed_objects_travel_both_ways_after_a_login() -> None:
    with running_daemon(pickle=RULES) as server:
        server.daemon.setAllowedIdentifications([KEY])
        shop = Shop()
        proxy = proxy_of(server, shop)
        answer = proxy.take(Order(5))
        assert (type(answer), answer.amount) == (Order, 5)
        assert proxy.take({"tuple": (1, 2), "big": bytes(300_000)}) == {"tuple": (1, 2), "big": bytes(300_000)}
        jobs = [gevent.spawn(proxy.take, number) for number in range(100)]
        assert [job.get(timeout=10) for job in jobs] == list(range(100))
        with pytest.raises(ValueError, match="as told"):
            proxy.fail()
        assert "speaks pickle" in repr(server.daemon)


def test_objects_that_travel_by_reference_are_called_back() -> None:
    with running_daemon(pickle=RULES) as server:
        server.daemon.setAllowedIdentifications([KEY])
        mine = Shop()
        assert proxy_of(server, Shop()).call(mine) == 7
        assert mine.calls == 1


def test_what_is_not_listed_is_refused_for_that_call_only() -> None:
    with running_daemon(pickle=RULES) as server:
        server.daemon.setAllowedIdentifications([KEY])
        shop = Shop()
        proxy = proxy_of(server, shop)
        with pytest.raises(NoModuleError, match=r"datetime"):
            proxy.take(datetime.date(2026, 1, 1))
        assert shop.calls == 0
        assert proxy.take(Order(5)).amount == 5


def test_each_side_judges_by_its_own_list() -> None:
    with running_daemon(pickle=RULES) as server:
        server.daemon.setAllowedIdentifications([KEY])
        proxy = proxy_of(server, Shop(), gpyro.PickleRules())
        with pytest.raises(NoModuleError, match="Order"):
            proxy.take(Order(5))


@pytest.mark.parametrize(("server_rules", "client_rules"), [(RULES, None), (None, RULES)])
def test_one_side_alone_does_not_speak_it_and_nothing_is_negotiated(
    server_rules: Any, client_rules: Any
) -> None:
    with running_daemon(pickle=server_rules) as server:
        shop = Shop()
        server.daemon.setAllowedIdentifications([KEY])
        for argument in (5, {"a": 1}):
            assert "pickle" in denial(proxy_of(server, shop, client_rules), argument)
        server.daemon.setAllowedIdentifications(None)
        assert "pickle" in denial(proxy_of(server, shop, client_rules, ident=None), 5)
        assert shop.calls == 0


def test_callers_nobody_knows_send_no_pickles() -> None:
    with running_daemon(pickle=RULES) as server:
        shop = Shop()
        assert "proved who they are" in denial(proxy_of(server, shop, ident=None))
        server.daemon.setAllowedIdentifications([KEY])
        assert "_setIdentification" in denial(proxy_of(server, shop, ident=None))
        assert shop.calls == 0
        eventually(lambda: not server.connections)


def test_a_client_sends_no_pickle_to_a_server_that_only_says_that_it_speaks_it() -> None:
    """Without a login: the request that would travel with the HELLO elsewhere is not sent."""
    with running_daemon(pickle=RULES) as server:
        heard: list[bytes] = []
        original = server.service.admit

        def admit(connection: Any, *rest: Any) -> None:
            heard.append(connection.machine._data)
            original(connection, *rest)

        server.service.admit = admit
        denial(proxy_of(server, Shop(), ident=None))
        assert heard == [b""]


def test_a_validators_own_token_is_not_enough() -> None:
    class Token(auth.DefaultConnValidator):
        def createAuthToken(self, authid: Any, challenge: bytes, peeraddr: Any, URI: Any, daemon: Any) -> bytes:
            return b"token"

        def acceptIdentification(
            self, daemon: Any, connection: Any, token: bytes, challenge: bytes
        ) -> tuple[int, int]:
            connection.identity = "somebody"
            return 1, 0

    with running_daemon(pickle=RULES) as server:
        server.daemon.setNewConnectionValidator(Token())
        proxy = proxy_of(server, Shop(), ident=None)
        proxy._setNewConnectionValidator(Token())
        assert "nobody on the way" in denial(proxy)


def test_certificates_on_both_sides_are_enough() -> None:
    ca = authority()
    mine = ca.make("press-4", server=False, client=True)
    wants = server_config(ca=ca.own.pem, client_certificates="required")
    with running_daemon(protocol="PYROSSL", tls=wants, pickle=RULES) as server:
        proxy = proxy_of(server, Shop(), ident=None, tls=client_config(certificate=mine.both))
        assert proxy.take(Order(5)).amount == 5
        assert connection_of(proxy).stream.tls is not None


def test_the_servers_certificate_alone_is_not() -> None:
    with running_daemon(protocol="PYROSSL", tls=server_config(), pickle=RULES) as server:
        assert "proved who they are" in denial(proxy_of(server, Shop(), ident=None, tls=client_config()))


def test_a_unix_socket_of_the_same_user_is_enough(tmp_path: Path) -> None:
    with running_daemon(host=f"./u:{tmp_path}/shop", pickle=RULES) as server:
        assert proxy_of(server, Shop(), ident=None).take(Order(5)).amount == 5


def test_what_are_no_rules_is_refused() -> None:
    for bad in (True, ["shop.Order"], "*"):
        with pytest.raises(TypeError, match=r"gpyro.PickleRules\(allow="):
            gpyro.Daemon(port=0, norange=True, pickle=bad)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"gpyro.PickleRules\(allow="):
            gpyro.Proxy("PYRO://127.0.0.1:1/x", pickle=bad)  # type: ignore[arg-type]


def test_each_start_is_logged_as_a_warning(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with gpyro.Daemon(port=0, norange=True, pickle=RULES):
        pass
    assert "takes pickles" in caplog.text + capsys.readouterr().err
