"""Objects that are passed: called back over the caller's own connection, coming home, relayed to others."""

from __future__ import annotations

import copy
import pickle
import sys
from typing import Any

import gevent
import pytest
from gevent import subprocess
from gevent.event import Event

import gpyro
from tests.support.servers import connection_of, eventually, free_port, running_daemon


class Listener(gpyro.ObjBase):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []

    def hear(self, value: Any) -> str:
        self.heard.append(value)
        return f"heard {value}"

    def bounce(self, other: Any, levels: int) -> int:
        return 0 if levels == 0 else 1 + other.bounce(self, levels - 1)

    def fail(self) -> None:
        raise LookupError("in the callback")

    def _private(self) -> None: ...


class Server(gpyro.ObjBase):
    def __init__(self) -> None:
        super().__init__()
        self.kept: Any = None

    def tell(self, listener: Any, values: list[Any]) -> list[str]:
        return [listener.hear(value) for value in values]

    def keep(self, listener: Any) -> None:
        self.kept = listener

    def kept_back(self) -> Any:
        return self.kept

    def is_kept(self, listener: Any) -> bool:
        return bool(listener == self.kept)

    def tell_kept(self, value: Any) -> str:
        return str(self.kept.hear(value))

    def bounce(self, other: Any, levels: int) -> int:
        return 0 if levels == 0 else 1 + other.bounce(self, levels - 1)

    def make(self) -> Listener:
        self.made = Listener()
        return self.made

    def provoke(self, listener: Any, name: str) -> Any:
        return getattr(listener, name)()


def test_object_that_is_passed_is_called_back_during_the_call() -> None:
    with running_daemon() as running:
        proxy, listener = running.proxy(Server()), Listener()
        assert proxy.tell(listener, [1, (2, 3)]) == ["heard 1", "heard (2, 3)"]
        assert listener.heard == [1, (2, 3)]
        assert len(running.connections) == 1


def test_object_that_was_kept_is_called_back_later() -> None:
    with running_daemon() as running:
        server, listener = Server(), Listener()
        proxy = running.proxy(server)
        proxy.keep(listener)
        assert gevent.spawn(server.tell_kept, "later").get(timeout=20) == "heard later"


def test_object_comes_home_as_itself() -> None:
    with running_daemon() as running:
        proxy, listener = running.proxy(Server()), Listener()
        proxy.keep(listener)
        assert proxy.kept_back() is listener
        assert proxy.is_kept(listener)
        assert not proxy.is_kept(Listener())


def test_object_that_a_server_returns_is_called_over_the_same_connection() -> None:
    with running_daemon() as running:
        server = Server()
        made = running.proxy(server).make()
        assert made.hear("hello") == "heard hello"
        assert server.made.heard == ["hello"]


def test_callbacks_may_call_back_again_50_levels_deep() -> None:
    with running_daemon() as running:
        server = Server()
        proxy = running.proxy(server)
        assert proxy.bounce(Listener(), 50) == 50


@pytest.mark.parametrize("name", ["_private", "GUID", "getDaemon", "delegateTo", "nothing"])
def test_callback_reaches_only_the_public_methods_of_the_object(name: str) -> None:
    with running_daemon() as running:
        with pytest.raises(AttributeError):
            running.proxy(Server()).provoke(Listener(), name)


def test_error_of_a_callback_goes_to_the_server_and_on_to_the_caller() -> None:
    with running_daemon() as running:
        proxy = running.proxy(Server())
        with pytest.raises(LookupError, match="in the callback"):
            proxy.provoke(Listener(), "fail")
        assert proxy.tell(Listener(), [1]) == ["heard 1"]


class Reporting(gpyro.CallbackObjBase, Listener):
    """Tells of its errors where they happen."""


def test_error_of_a_callback_object_is_reported_where_it_runs_and_the_connection_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running_daemon() as running:
        proxy, listener = running.proxy(Server()), Reporting()
        with pytest.raises(LookupError, match="in the callback"):
            proxy.provoke(listener, "fail")
        connection = connection_of(proxy)
        reports = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert len(reports) == 1
        assert reports[0].startswith("Callback: <Method Reporting.fail>, called by ('127.0.0.1', ")
        assert "test_callbacks.py" in reports[0] and "LookupError: in the callback" in reports[0]
        assert proxy.tell(listener, [1]) == ["heard 1"]
        assert connection_of(proxy) is connection and len(running.connections) == 1


def test_error_of_a_oneway_callback_is_reported_where_it_runs(caplog: pytest.LogCaptureFixture) -> None:
    with running_daemon() as running:
        caller = running.proxy(Reporting())
        caller._setOneway("fail")
        caller.fail()
        eventually(lambda: "LookupError: in the callback" in caplog.text)


def test_callback_that_is_cancelled_or_not_there_is_no_error_to_report(caplog: pytest.LogCaptureFixture) -> None:
    class Waiting(gpyro.CallbackObjBase):
        def __init__(self) -> None:
            super().__init__()
            self.entered = self.ended = False

        def wait(self) -> None:
            self.entered = True
            try:
                Event().wait()
            finally:
                self.ended = True

    with running_daemon() as running:
        waiting = Waiting()
        proxy = running.proxy(waiting)
        with pytest.raises(AttributeError):
            proxy.nothing()
        proxy._setTimeout(0.1)
        with pytest.raises(gpyro.errors.TimeoutError):
            proxy.wait()
        eventually(lambda: waiting.entered and waiting.ended and not running.connections[0].serving.running)
        assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_program_without_a_log_shows_the_error_of_its_callback_on_stderr() -> None:
    program = """
import sys, gpyro
class Listener(gpyro.CallbackObjBase):
    def hear(self, value):
        raise LookupError("nobody caught this")
try:
    gpyro.Proxy(sys.argv[1]).tell(Listener(), [1])
except LookupError as exc:
    print("came back:", exc)
"""
    with running_daemon() as running:
        client = subprocess.Popen(
            [sys.executable, "-c", program, running.connect(Server())],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        stdout, stderr = client.communicate(timeout=30)
        assert stdout == "came back: nobody caught this\n"
        assert "Callback: <Method Listener.hear>" in stderr and "LookupError: nobody caught this" in stderr


def test_object_passed_on_to_another_client_is_reached_through_the_server_while_its_connection_lives() -> None:
    with running_daemon() as running:
        uri = running.connect(Server())
        owner, other, listener = running.proxy(uri), running.proxy(uri), Listener()
        owner.keep(listener)
        relayed = other.kept_back()
        assert relayed.hear("over two connections") == "heard over two connections"
        connection_of(owner).close()
        with pytest.raises(gpyro.errors.ConnectionClosedError):
            relayed.hear("too late")
        assert listener.heard == ["over two connections"]


def test_connected_object_travels_as_its_address() -> None:
    with running_daemon() as running:
        server, listener = Server(), Listener()
        uri = running.connect(listener)
        proxy = running.proxy(server)
        proxy.keep(listener)
        assert str(proxy.kept_back().URI) == uri
        assert proxy.tell_kept("by address") == "heard by address"
        server.kept._release()


def test_number_of_objects_of_a_connection_is_bounded() -> None:
    with running_daemon() as running:
        proxy = running.proxy(Server(), max_exports_per_connection=3)
        for _ in range(3):
            proxy.keep(Listener())
        with pytest.raises(gpyro.errors.SerializationError, match="max_exports_per_connection"):
            proxy.keep(Listener())
        assert proxy.tell_kept("still") == "heard still"


def test_unpatched_client_serves_callbacks_in_run_callbacks() -> None:
    program = """
import sys, gpyro
class Listener(gpyro.ObjBase):
    def hear(self, value):
        print("heard", value, flush=True)
proxy = gpyro.Proxy(sys.argv[1])
proxy.keep(Listener())
proxy._setOneway("tell_kept")
for number in range(3):
    proxy.tell_kept(number)
    gpyro.run_callbacks(10)
"""
    with running_daemon() as running:
        uri = running.connect(Server())
        client = subprocess.Popen(
            [sys.executable, "-c", program, uri], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        stdout, stderr = client.communicate(timeout=30)
        assert stderr == ""
        assert stdout.split("\n")[:3] == ["heard 0", "heard 1", "heard 2"]


def test_run_callbacks_tells_whether_something_was_served_since_it_last_returned() -> None:
    with running_daemon() as running:
        proxy = running.proxy(Server())
        gpyro.run_callbacks(0)
        assert gpyro.run_callbacks(0) is False
        proxy.tell(Listener(), [1])
        assert gpyro.run_callbacks(0) is True, "during the call"
        assert gpyro.run_callbacks(0.01) is False
        proxy.keep(Listener())
        telling = gevent.spawn(running.proxy(proxy.URI).tell_kept, 2)
        assert gpyro.run_callbacks(20) is True
        assert telling.get(timeout=20) == "heard 2"


def test_received_and_unconnected_proxies_do_nothing_on_their_own() -> None:
    proxy = gpyro.Proxy(f"PYRO://127.0.0.1:{free_port()}/abc")
    twin = gpyro.Proxy(proxy.URI)
    assert bool(proxy) and proxy == twin and hash(proxy) == hash(twin) and proxy != 1
    assert "not connected" in repr(proxy) and "abc" in str(proxy)
    assert copy.copy(proxy) == proxy and copy.deepcopy(proxy) == proxy
    assert pickle.loads(pickle.dumps(proxy)) == proxy
    for name in ("__array__", "__fspath__", "__index__", "__len__", "__iter__", "__call__", "_hidden"):
        assert not hasattr(proxy, name)
    assert hasattr(proxy, "anything")
    for action in (iter, len, list, int, "x".__contains__):
        with pytest.raises(TypeError):
            action(proxy)  # type: ignore[operator]
    with pytest.raises(gpyro.errors.ProtocolError, match="connection failed"):
        proxy.anything()


def test_attribute_proxy_reads_writes_and_calls() -> None:
    class Summing(gpyro.ObjBase):
        fixed = 7

        def __init__(self) -> None:
            super().__init__()
            self.sum = 0
            self.items = [1]
            self._secret = 1

        def double(self) -> int:
            return self.sum * 2

    with running_daemon() as running:
        obj = Summing()
        att = running.attr_proxy(obj)
        att.sum = att.sum + 21
        assert (obj.sum, att.double(), att.fixed) == (21, 42, 7)
        att.items.append(2)
        assert att.items == [1], "what is read is a copy"
        att.fresh = "new"
        assert obj.__dict__["fresh"] == "new"
        for name in ("_secret", "objectGUID", "delegate", "missing"):
            with pytest.raises(AttributeError):
                getattr(att, name)
        for name in ("double", "objectGUID", "_secret"):
            with pytest.raises(AttributeError):
                setattr(att, name, 1)
        assert obj.double() == 42
