"""What old programs find in `Pyro.util` and `Pyro.protocol`, and `Pyro.ext.remote` on paper."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from gpyro import pyro3
from gpyro._pyro3 import remote
from gpyro._pyro3.tools import tool_with_program_name
from tests.support.servers import Bench, eventually, running_daemon


def parsed(words: Any, options: str) -> pyro3.util.ArgParser:
    parser = pyro3.util.ArgParser()
    parser.parse(words, options)
    return parser


@pytest.mark.parametrize(
    ("words", "options", "args", "ignored"),
    [
        (["-a", "-b", "value", "word"], {"a": None, "b": "value"}, ["word"], []),
        ("-bvalue -c", {"b": "value", "c": None}, [], []),
        (["-b"], {"b": None}, [], []),
        (["-z", "-a", "x"], {"a": None}, ["x"], ["z"]),
        (["-a", "-", "-c", "-b"], {"a": None}, ["-c", "-b"], []),
        (["-:", "", "-c"], {"c": None}, [""], [":"]),
    ],
)
def test_arguments_are_sorted_as_pyros_tools_do(
    words: Any, options: dict[str, str | None], args: list[str], ignored: list[str]
) -> None:
    parser = parsed(words, "ab:c")
    assert (parser.options, parser.args, parser.ignored) == (options, args, ignored)


def test_an_option_that_was_not_given_has_a_default_or_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-a", "-y", "-z"]
    parser = parsed(words, "a")
    assert (parser.hasOpt("a"), parser.hasOpt("b"), parser.getOpt("a"), parser.getOpt("b", None)) == (
        True, False, None, None,
    )  # fmt: skip
    with pytest.raises(KeyError, match="no such option: -b"):
        parser.getOpt("b")
    parser.printIgnored()
    parser.parse("", "a")
    parser.printIgnored()
    assert capsys.readouterr().out == "Ignored options: -y -z\n"
    assert words == ["-a", "-y", "-z"]


def test_hosts_and_addresses_are_looked_up_and_none_is_what_nobody_knows() -> None:
    assert pyro3.protocol.getHostname() == socket.gethostname()
    assert pyro3.protocol.getHostname("127.0.0.1") == socket.gethostbyaddr("127.0.0.1")[0]
    assert pyro3.protocol.getHostname("no address") is None
    assert pyro3.protocol.getIPAddress("localhost") == "127.0.0.1"
    assert pyro3.protocol.getIPAddress("127.1.2.3") == "127.1.2.3"
    assert pyro3.protocol.getIPAddress("no-such-host.invalid") is None


def test_locks_and_ids_are_new_ones() -> None:
    util = pyro3.util
    with util.getLockObject(), util.getRLockObject():
        assert not util.getEventObject().is_set()
    assert util.getGUID() != util.getGUID()
    assert (util.supports_multithreading(), util.supports_compression()) == (1, 0)


def test_the_program_name_before_a_tools_words_is_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    main = tool_with_program_name("genguid")
    for words in (["pyro-genguid", "--help"], ["--help"]):
        main(words)
        assert capsys.readouterr().out.startswith("Usage: gpyro genguid")
    main([])
    assert len(capsys.readouterr().out.strip()) == 32


def test_genguid_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        pyro3.util.genguid_scripthelper(["-x"])
    assert capsys.readouterr().out.startswith("Usage: genguid")


# -- the adapter of a proxy ------------------------------------------------------------------------------------


def test_an_adapter_sets_and_shows_what_its_proxy_has() -> None:
    with running_daemon() as running:
        bench = Bench()
        proxy = running.proxy(bench)
        adapter = proxy.adapter
        assert (adapter.connected(), adapter.timeout, adapter.ident) == (False, None, None)
        assert adapter.onewayMethods == []
        adapter.setTimeout(20)
        adapter.setOneway(["note"])
        adapter.setOneway("nap")
        assert (adapter.timeout, adapter.onewayMethods) == (20.0, ["nap", "note"])
        assert proxy.note(1) is None
        eventually(lambda: bench.noted == [1])
        assert (proxy.echo(2), adapter.connected()) == (2, True)
        adapter.release()
        assert not adapter.connected()
        adapter.rebindURI(tries=1)
        assert adapter.connected()
        assert repr(adapter).startswith("<Adapter of <Proxy PYRO://")
        adapter.setIdentification("secret")
        assert adapter.ident == "secret"
        with pytest.raises(TypeError, match="munge=False: give the identification itself"):
            adapter.setIdentification("secret", munge=False)
        with pytest.raises(TypeError, match="validator must be specialization of DefaultConnValidator"):
            adapter.setNewConnectionValidator(None)


# -- Pyro.ext.remote -------------------------------------------------------------------------------------------


class Thing:
    colour = "red"

    def __init__(self) -> None:
        self.size = 3

    def grow(self) -> int:
        self.size += 1
        return self.size


@pytest.fixture(autouse=True)
def no_objects_left() -> Any:
    yield
    remote.unregister_objects()
    if remote.pyro_daemon is not None:
        remote.pyro_daemon.shutdown(True)
        remote.pyro_daemon = None


def test_data_travels_by_value_and_own_objects_as_one_proxy_each() -> None:
    thing = Thing()
    values = {"a": [1, "x", None, (2.5, b"y")]}
    assert remote.wrap(values) == values
    first, second = remote.wrap([thing, thing])
    assert isinstance(first, remote.DynamicProxy)
    assert first == second
    assert remote.unwrap({"back": (first, 1)}) == {"back": (thing, 1)}
    assert len(remote.daemon_objects) == 1


def test_registered_types_and_copied_ones_travel_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    thing = Thing()
    monkeypatch.setattr(remote, "copy_types", 1)
    assert remote.wrap(thing) is thing
    monkeypatch.setattr(remote, "copy_types", 0)
    monkeypatch.setattr(remote, "daemon_types", [])
    remote.register_type(Thing)
    remote.register_type(Thing)
    assert remote.wrap(thing) is thing
    assert remote.daemon_types == [Thing]


def test_there_is_a_limit_of_provided_objects_which_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_OBJECTS", 2)
    things = [Thing() for _ in range(3)]
    for thing in things[:2]:
        remote.provide_local_object(thing)
    with pytest.raises(remote.Error, match="2 objects are provided already, which is the limit; end some"):
        remote.provide_local_object(things[2])
    remote.unregister_object(things[0])
    remote.unregister_object(things[0])
    assert remote.pyro_daemon is not None
    remote.provide_local_object(things[2])
    assert len(remote.pyro_daemon.getRegistered()) == 3


def test_a_class_of_the_ext_remote_family_is_served_itself() -> None:
    class Served(remote.ObjBase):
        def __init__(self) -> None:
            super().__init__()
            self.value = 1

        def me(self) -> Any:
            return self

    served = Served()
    proxy = remote.provide_local_object(served)
    assert remote.unwrap(proxy) is served
    assert remote.daemon_objects == [served]
    assert proxy.value == 1
    assert remote.unwrap(proxy.me()) is served
    with pytest.raises(AttributeError, match="objectGUID"):
        proxy.objectGUID = "mine"
    proxy._release()


def test_without_a_provided_object_there_is_nothing_to_serve() -> None:
    with pytest.raises(remote.Error, match=r"there is no daemon .* call provide_local_object\(\) first"):
        remote.handle_requests()
    assert str(remote.Nameserver("here", 9090)) == "here:9090"
    assert remote.Nameserver("here", 1) == remote.Nameserver("here", 1) != remote.Nameserver("there", 1)
