"""Who may call what, over real connections: rules of an object, of a daemon, and what they leave alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import gpyro
from gpyro.daemon import DAEMON_ID
from gpyro.errors import AccessDeniedError, DaemonError, NamingError
from tests.support.servers import Running, eventually, running_daemon
from tests.support.serving import FakeNameServer


class Press(gpyro.ObjBase):
    def __init__(self) -> None:
        super().__init__()
        self.speed = 3
        self.ran: list[str] = []

    def start(self) -> str:
        self.ran.append("start")
        return "runs"

    def stop(self, value: Any = None) -> str:
        self.ran.append("stop")
        return "stands"

    def status(self) -> str:
        self.ran.append("status")
        return "fine"

    @gpyro.oneway
    def shout(self) -> None:
        self.ran.append("shout")

    def tell(self, listener: Any) -> str:
        answer: str = listener.hear("news")
        return answer


class Listener(gpyro.ObjBase):
    def hear(self, what: str) -> str:
        return f"heard {what}"


class Trap:
    """A value whose arrival is noticed."""

    arrived = 0

    def __init__(self) -> None:
        self.value = 1


def _spring(state: Any) -> Trap:
    Trap.arrived += 1
    return Trap()


gpyro.register(Trap, name="tests.access.Trap", to_state=lambda trap: trap.value, from_state=_spring)


def call(proxy: Any, name: str, *args: Any) -> Any:
    return proxy.__dict__["_core"].call(name, args, {})


def logged_in(
    server: Running, target: object, identity: str | None = None, *roles: str, attributes: bool = False
) -> Any:
    """Return a proxy whose connection the server takes for this identity's."""
    known = set(server.connections)
    proxy = server.attr_proxy(target) if attributes else server.proxy(target)
    with suppress(AccessDeniedError, AttributeError):
        call(proxy, "no_such_method_to_open_the_connection")
    (connection,) = set(server.connections) - known
    connection.identity = identity
    connection.principals = frozenset({"*", *roles} | ({identity} if identity else set()))
    return proxy


RULES = {"operator": {"start", "stop", "shout"}, "reader": {"status", "speed"}, "press-4": {"*", "speed="}}


def test_each_caller_may_do_what_its_identity_and_its_roles_are_granted() -> None:
    with running_daemon() as server:
        press = Press()
        uri = server.connect(press, allow=RULES)
        operator, reader = logged_in(server, uri, "ann", "operator"), logged_in(server, uri, "bob", "reader")
        both, owner = logged_in(server, uri, "eve", "operator", "reader"), logged_in(server, uri, "press-4")
        assert (operator.start(), reader.status()) == ("runs", "fine")
        assert (both.stop(), both.status()) == ("stands", "fine")
        assert (owner.start(), owner.status()) == ("runs", "fine")
        press.ran.clear()
        for proxy, name in ((operator, "status"), (reader, "start"), (reader, "stop")):
            with pytest.raises(AccessDeniedError, match=f"may not call '{name}'"):
                getattr(proxy, name)()
        assert press.ran == []


def test_the_error_names_the_caller_and_the_way_out_and_comes_without_a_traceback() -> None:
    with running_daemon() as server:
        proxy = logged_in(server, server.connect(Press(), allow=RULES), "bob", "reader")
        with pytest.raises(AccessDeniedError) as error:
            proxy.stop()
        assert type(error.value) is AccessDeniedError
        assert str(error.value).startswith("access denied: 'bob' (role reader) may not call 'stop'")
        assert "allow=" in str(error.value)
        assert error.value.remote_stacktrace is None


def test_who_has_not_logged_in_may_do_what_everybody_may() -> None:
    with running_daemon() as server:
        proxy = server.proxy(server.connect(Press(), allow={"*": {"status"}}))
        assert proxy.status() == "fine"
        with pytest.raises(AccessDeniedError, match="a caller without an identity may not call 'stop'"):
            proxy.stop()


def test_rules_that_grant_nothing_let_nothing_through() -> None:
    with running_daemon() as server:
        press = Press()
        proxy = logged_in(server, server.connect(press, allow={}), "press-4", "operator")
        with pytest.raises(AccessDeniedError):
            proxy.status()
        assert press.ran == []


def test_what_is_remembered_of_one_callers_method_is_not_another_callers() -> None:
    with running_daemon() as server:
        uri = server.connect(Press(), allow=RULES)
        operator, reader = logged_in(server, uri, "ann", "operator"), logged_in(server, uri, "bob", "reader")
        for _ in range(3):
            assert operator.start() == "runs"
            with pytest.raises(AccessDeniedError):
                reader.start()
        assert any(method.name == "start" for method in server.service.methods.values())


def test_arguments_of_a_denied_call_are_not_looked_at() -> None:
    with running_daemon() as server:
        press = Press()
        uri = server.connect(press, allow=RULES)
        Trap.arrived = 0
        with pytest.raises(AccessDeniedError):
            logged_in(server, uri, "bob", "reader").stop(Trap())
        assert (Trap.arrived, press.ran) == (0, [])
        logged_in(server, uri, "ann", "operator").stop(Trap())
        assert (Trap.arrived, press.ran) == (1, ["stop"])


def test_a_large_argument_of_a_denied_call_disturbs_no_other_call() -> None:
    with running_daemon() as server:
        proxy = logged_in(server, server.connect(Press(), allow=RULES), "bob", "reader")
        for _ in range(3):
            with pytest.raises(AccessDeniedError):
                proxy.stop(bytes(6_000_000))
            assert proxy.status() == "fine"


def test_who_may_call_nothing_here_is_not_told_what_there_is() -> None:
    with running_daemon() as server:
        stranger = logged_in(server, server.connect(Press(), allow=RULES), "eve")
        texts = []
        for name in ("stop", "nothing", "getProxy", "_ran"):
            with pytest.raises(AccessDeniedError) as error:
                call(stranger, name)
            texts.append(str(error.value).replace(repr(name), "NAME"))
        assert len(set(texts)) == 1
        assert "Press" not in texts[0]


def test_who_may_call_something_is_told_of_a_name_that_is_not_there() -> None:
    with running_daemon() as server:
        with pytest.raises(AttributeError, match="no method 'nothing'"):
            call(logged_in(server, server.connect(Press(), allow=RULES), "bob", "reader"), "nothing")


# -- attributes ----------------------------------------------------------------------------------------------


def test_attributes_are_read_and_written_by_those_who_may() -> None:
    with running_daemon() as server:
        press = Press()
        uri = server.connect(press, allow=RULES)
        reader = logged_in(server, uri, "bob", "reader", attributes=True)
        owner = logged_in(server, uri, "press-4", attributes=True)
        assert (reader.speed, reader.status()) == (3, "fine")
        with pytest.raises(AccessDeniedError, match=r"may not write 'speed'.*grant 'speed='"):
            reader.speed = 9
        with pytest.raises(AccessDeniedError, match="may not read 'ran'"):
            _ = reader.ran
        with pytest.raises(AccessDeniedError, match="may not read 'start'"):
            reader.start()
        with pytest.raises(AccessDeniedError, match="may not read 'speed'"):
            _ = owner.speed  # Writing does not imply reading, and "*" is for methods.
        owner.speed = 5
        assert press.speed == 5
        with pytest.raises(AccessDeniedError, match="may not write 'start'"):
            owner.start = 1


def test_attributes_of_a_plain_object_are_granted_by_name() -> None:
    class Plain:
        level = 7

    with running_daemon() as server:
        with pytest.raises(DaemonError, match=r"'level'.*'Plain' object has no such method or data attribute"):
            server.connect(Plain(), allow={"*": {"level"}})
        uri = server.connect(Plain(), attributes=["level"], allow={"*": {"level"}})
        assert server.attr_proxy(uri).level == 7


# -- oneway --------------------------------------------------------------------------------------------------


def test_a_denied_oneway_call_is_logged_and_not_run(caplog: pytest.LogCaptureFixture) -> None:
    with running_daemon() as server:
        press = Press()
        proxy = logged_in(server, server.connect(press, allow=RULES), "bob", "reader")
        proxy._setOneway("stop")
        with caplog.at_level(logging.INFO, "gpyro.calls"):
            assert proxy.stop() is None
            assert proxy.status() == "fine"  # On the same connection, so behind it.
        denied = [record for record in caplog.records if "denied" in record.getMessage()]
        assert len(denied) == 1 and "'bob' (role reader) may not call 'stop'" in denied[0].getMessage()
        assert press.ran == ["status"]


def test_a_method_marked_as_oneway_at_the_server_is_denied_aloud_to_who_waits() -> None:
    with running_daemon() as server:
        press = Press()
        uri = server.connect(press, allow=RULES)
        with pytest.raises(AccessDeniedError):
            logged_in(server, uri, "bob", "reader").shout()
        assert logged_in(server, uri, "ann", "operator").shout() is None
        eventually(lambda: press.ran == ["shout"])


def test_a_denied_call_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with running_daemon() as server:
        proxy = logged_in(server, server.connect(Press(), allow=RULES), "bob", "reader")
        with caplog.at_level(logging.INFO, "gpyro"), pytest.raises(AccessDeniedError):
            proxy.stop()
        assert sum("may not call 'stop'" in record.getMessage() for record in caplog.records) == 1


# -- rules of a daemon ---------------------------------------------------------------------------------------


@contextmanager
def daemon_with(**grants: set[str]) -> Iterator[Running]:
    with running_daemon(allow=grants) as server:
        yield server


def test_the_daemons_rules_hold_for_objects_without_their_own() -> None:
    with daemon_with(operator={"start", "stop", "of_another_object"}) as server:
        common, special = server.connect(Press()), server.connect(Press(), allow={"operator": {"status"}})
        assert logged_in(server, common, "ann", "operator").start() == "runs"
        with pytest.raises(AccessDeniedError):
            logged_in(server, common, "ann", "operator").status()
        assert logged_in(server, special, "ann", "operator").status() == "fine"
        with pytest.raises(AccessDeniedError):
            logged_in(server, special, "ann", "operator").start()


def test_a_role_of_the_daemon_that_can_do_nothing_with_an_object_is_told_nothing_of_it() -> None:
    with daemon_with(clerk={"of_another_object"}) as server:
        with pytest.raises(AccessDeniedError):
            call(logged_in(server, server.connect(Press()), "cid", "clerk"), "nothing")


def test_malformed_rules_of_a_daemon_are_refused_before_it_listens() -> None:
    with pytest.raises(DaemonError, match=r"write \{'stop'\}"):
        gpyro.Daemon(port=0, norange=True, allow={"alice": "stop"})  # type: ignore[dict-item]


def test_the_daemons_own_object_resolves_for_everybody_and_lists_for_who_may() -> None:
    with daemon_with(admin={"getRegistered"}) as server:
        press = Press()
        server.daemon.connect(press, "press", allow=RULES)
        everybody = server.proxy(f"PYRO://127.0.0.1:{server.port}/{DAEMON_ID}")
        assert (everybody.ping(), everybody.resolve("press")) == (None, press.GUID())
        with pytest.raises(AccessDeniedError, match="getRegistered"):
            everybody.getRegistered()
        admin = logged_in(server, f"PYRO://127.0.0.1:{server.port}/{DAEMON_ID}", "root", "admin")
        assert admin.getRegistered()[press.GUID()] == "press"


def test_an_address_by_the_daemons_own_name_is_followed_under_rules() -> None:
    with daemon_with(operator={"start"}) as server:
        server.daemon.connect(Press(), "press", allow={"*": {"status"}})
        assert server.proxy(f"PYROLOC://127.0.0.1:{server.port}/press").status() == "fine"


def test_without_rules_of_the_daemon_its_own_object_is_as_open_as_ever() -> None:
    with running_daemon() as server:
        server.connect(Press(), allow=RULES)
        assert DAEMON_ID in server.proxy(f"PYRO://127.0.0.1:{server.port}/{DAEMON_ID}").getRegistered()


# -- connecting ----------------------------------------------------------------------------------------------


def test_an_object_that_is_connected_again_keeps_its_rules_unless_others_are_given() -> None:
    with running_daemon() as server:
        press = Press()
        uri = server.connect(press, allow={"reader": {"status"}})
        reader = logged_in(server, uri, "bob", "reader")
        server.connect(press)
        assert reader.status() == "fine"
        with pytest.raises(AccessDeniedError):
            reader.start()
        server.connect(press, allow={"reader": {"start"}})
        assert reader.start() == "runs"
        with pytest.raises(AccessDeniedError):
            reader.status()


def test_wrong_rules_leave_the_object_as_it_was() -> None:
    with running_daemon() as server:
        press = Press()
        with pytest.raises(DaemonError, match=r"'stpo'.*did you mean stop"):
            server.connect(press, allow={"operator": {"stpo"}})
        assert press.getDaemon() is None
        proxy = logged_in(server, server.connect(press, allow=RULES), "ann", "operator")
        with pytest.raises(DaemonError):
            server.connect(press, allow={"reader": {"stpo"}})
        assert proxy.stop() == "stands"


def test_rules_do_not_change_when_the_name_is_taken() -> None:
    names = FakeNameServer()
    names.register(":taken", gpyro.PyroURI("PYRO://localhost:1/x"))
    with running_daemon() as server:
        press = Press()
        proxy = logged_in(server, server.connect(press, allow=RULES), "bob", "reader")
        server.daemon.useNameServer(names)
        with pytest.raises(NamingError):
            server.daemon.connect(press, ":taken", allow={"reader": {"start"}})
        assert proxy.status() == "fine"
        server.daemon.connectPersistent(press, ":free", allow={"reader": {"start"}})
        assert proxy.start() == "runs"


# -- what rules leave alone ----------------------------------------------------------------------------------


def test_objects_passed_over_a_connection_are_called_back_whatever_the_daemons_rules() -> None:
    with daemon_with(operator={"tell"}) as server:
        proxy = logged_in(server, server.connect(Press()), "ann", "operator")
        assert proxy.tell(Listener()) == "heard news"


def test_objects_of_the_daemon_that_are_handed_out_keep_their_rules() -> None:
    class Shop(gpyro.ObjBase):
        def __init__(self, press: Press) -> None:
            super().__init__()
            self.press = press

        def find(self) -> Press:
            return self.press

    with running_daemon() as server:
        press = Press()
        server.connect(press, allow={"*": {"status"}})
        found = server.proxy(Shop(press)).find()
        try:
            assert found.status() == "fine"
            with pytest.raises(AccessDeniedError):
                found.start()
        finally:
            found._release()


def test_rights_of_a_name_server_hold_for_its_callers() -> None:
    ns = gpyro.naming.NameServer(rights={":": {"*": {"lookup"}}, ":Default": {"press-4": {"lookup", "register"}}})
    with running_daemon() as server:
        uri = server.connect(ns)
        press, other = logged_in(server, uri, "press-4"), logged_in(server, uri, "bob")
        press.register(":Default.mine", "PYRO://localhost:1/x")
        with pytest.raises(AccessDeniedError, match=r"'bob' lacks the right 'lookup' to ':Default.mine'"):
            other.resolve(":Default.mine")
        assert other.list(":") == [("Pyro", 0)]
        assert press.get_system_meta(":Default.mine")[2] == "press-4"
        press.unregister(":Default.mine")


# -- any rules -----------------------------------------------------------------------------------------------

METHODS = ["start", "stop", "status"]
PRINCIPALS = st.sampled_from(["*", "ann", "bob", "operator"])


@given(
    st.dictionaries(PRINCIPALS, st.frozensets(st.sampled_from([*METHODS, "*"]))),
    st.dictionaries(PRINCIPALS, st.frozensets(st.sampled_from(METHODS))) | st.none(),
    st.sampled_from([(), ("operator",), ("reader",)]),
)
@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_no_rule_grants_never_runs(
    allow: dict[str, frozenset[str]], again: dict[str, frozenset[str]] | None, roles: tuple[str, ...]
) -> None:
    press = Press()
    with daemon_with(operator={"start"}) as server:
        uri = server.connect(press, allow=allow)
        ann, bob = logged_in(server, uri, "ann", *roles), logged_in(server, uri, "bob", *roles)
        for holding in (allow, again):
            if holding is None:
                break
            server.connect(press, allow=holding)
            for proxy, identity in ((ann, "ann"), (bob, "bob")):
                granted = frozenset().union(*(holding.get(who, frozenset()) for who in ("*", identity, *roles)))
                for name in METHODS:
                    press.ran.clear()
                    if granted & {"*", name}:
                        call(proxy, name)
                    else:
                        with pytest.raises(AccessDeniedError):
                            call(proxy, name)
                    assert press.ran == ([name] if granted & {"*", name} else [])
