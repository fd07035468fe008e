"""Proxies as Pyro 3's manual describes them: attributes, addresses, copies, errors, and talk back and forth.

Docs: docs/pyro3-rules.md, which says for each rule of Pyro 3 what gpyro does.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest

import gpyro
from gpyro.errors import (
    ConnectionClosedError,
    ConnectionDeniedError,
    NamingError,
    ProtocolError,
    SerializationError,
    UnknownObjectError,
    URIError,
)
from gpyro.objects import build_table
from gpyro.proxy import RemoteMethod
from tests.support.logins import Thing, denied, guarded_server, identified
from tests.support.servers import SECONDS, Bench, Running, eventually, free_port, running_daemon
from tests.support.serving import FakeNameServer


@gpyro.register
class Person:
    def __init__(self, name: str) -> None:
        self.name = name

    def getName(self) -> str:
        return self.name


class House(gpyro.ObjBase):
    storeys = 2

    def __init__(self) -> None:
        super().__init__()
        self.rooms = ["hall", "kitchen"]
        self.owner = Person("Jan")
        self.sum = 1
        self.reads = 0

    @property
    def lock(self) -> str:
        self.reads += 1
        return "shut"

    @property
    def cellar(self) -> str:
        raise ValueError("there is no cellar")

    def add(self, number: int) -> int:
        return self.sum + number

    def protocol_error(self) -> None:
        raise ProtocolError("raised by the method itself")


def calls_of(server: Running, action: Callable[[], object]) -> int:
    """Return how many calls come to the server while something is done over its only connection."""
    (connection,) = server.connections
    before = connection.serving.served
    action()
    return int(connection.serving.served - before)


def stack_of(error: Any) -> Any:
    return error.remote_stacktrace


# -- plain proxies


def test_plain_proxy_has_every_public_name_as_a_method_and_keeps_what_is_assigned() -> None:
    with running_daemon() as server:
        house = House()
        proxy = server.proxy(house)
        assert hasattr(proxy, "whatever") and not hasattr(proxy, "_private")
        assert type(proxy.sum) is RemoteMethod
        with pytest.raises(AttributeError, match="'House' object has no method 'sum' for the outside"):
            proxy.sum()
        proxy.colour = "red"
        assert proxy.colour == "red" and not hasattr(house, "colour")
        with pytest.raises(TypeError):
            len(proxy)


# -- proxies with attributes


class Annex:
    floors = 2

    def __init__(self) -> None:
        self.rooms = 3
        self._key = "never"
        self.module = time
        self.open = print


class Wing(gpyro.ObjBase):
    def __init__(self) -> None:
        super().__init__()
        self.rooms = 4


def delegating(subject: object) -> gpyro.ObjBase:
    front = gpyro.ObjBase()
    front.delegateTo(subject)
    return front


def test_delegate_shows_its_public_data_where_programs_of_pyro_3_run() -> None:
    with running_daemon(as_pyro3=True) as server:
        proxy = server.attr_proxy(delegating(Annex()))
        assert (proxy.rooms, proxy.floors) == (3, 2)
        proxy.rooms = 5
        assert proxy.rooms == 5
        for name in ("module", "open", "objectGUID", "delegate", "daemon", "missing"):
            with pytest.raises(AttributeError):
                getattr(proxy, name)
        with pytest.raises(AttributeError, match="private"):
            build_table(delegating(Annex()), open_delegate=True).read("_key")
        wing = server.attr_proxy(delegating(Wing()))
        assert wing.rooms == 4
        for name in ("objectGUID", "delegate", "daemon"):
            with pytest.raises(AttributeError, match="for the outside"):
                getattr(wing, name)


@pytest.mark.parametrize("as_pyro3", [False, True])
def test_data_of_a_plain_object_needs_to_be_named_and_the_error_says_how(as_pyro3: bool) -> None:
    with running_daemon(as_pyro3=as_pyro3) as server:
        for obj in [Annex()] if as_pyro3 else [Annex(), delegating(Annex())]:
            with pytest.raises(AttributeError) as caught:
                server.attr_proxy(obj).rooms  # noqa: B018
            assert str(caught.value) == (
                "'Annex' object has no data attribute 'rooms' for the outside; its server names those that are: "
                "connect(obj, attributes=['rooms'])"
            )


def test_attribute_is_read_and_written_with_one_call_each() -> None:
    with running_daemon() as server:
        house = House()
        proxy = server.attr_proxy(house)
        assert proxy.lock == "shut"
        assert calls_of(server, lambda: proxy.lock) == 1
        assert house.reads == 2
        assert calls_of(server, lambda: setattr(proxy, "sum", 5)) == 1
        assert (proxy.sum, proxy.storeys, proxy.add(1)) == (5, 2, 6)
        # What a name stands for is remembered for methods only.
        assert calls_of(server, lambda: proxy.add) == 0


def test_missing_attribute_is_asked_for_anew_each_time_and_its_error_has_a_remote_traceback() -> None:
    with running_daemon() as server:
        house = House()
        proxy = server.attr_proxy(house)
        with pytest.raises(AttributeError, match="'House' object has no attribute 'garden'") as caught:
            _ = proxy.garden
        assert "AttributeError" in "".join(stack_of(caught.value))
        assert not hasattr(proxy, "garden")
        house.garden = "large"  # type: ignore[attr-defined]
        assert proxy.garden == "large"
        with pytest.raises(ValueError, match="no cellar"):
            _ = proxy.cellar


def test_assigning_a_new_name_creates_it_at_the_object_and_a_method_is_no_attribute() -> None:
    with running_daemon() as server:
        house = House()
        proxy = server.attr_proxy(house)
        proxy.colour = "red"
        assert house.colour == "red"
        with pytest.raises(AttributeError, match="not an attribute: 'add'"):
            proxy.add = 5
        with pytest.raises(AttributeError, match="sum"):
            del proxy.sum
        assert house.add(1) == 2


def test_nested_values_of_attributes_are_copies() -> None:
    with running_daemon() as server:
        house = House()
        proxy = server.attr_proxy(house)
        proxy.owner.name = "Piet"
        proxy.rooms.append("attic")
        assert (proxy.owner.getName(), proxy.rooms) == ("Jan", ["hall", "kitchen"])
        owner = proxy.owner
        owner.name = "Piet"
        proxy.owner = owner
        assert house.owner.name == "Piet"


# -- what a proxy is


def test_proxies_are_compared_by_the_id_of_the_object_whatever_their_kind() -> None:
    with running_daemon() as server:
        house = House()
        proxy, with_attributes = server.proxy(house), server.attr_proxy(house)
        assert proxy == with_attributes and hash(proxy) == hash(with_attributes)
        assert {proxy: 1}[with_attributes] == 1
        assert proxy != server.proxy(House()) and proxy != 5 and proxy is not None


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copy_of_a_proxy_has_a_connection_of_its_own_and_all_controls(
    duplicate: Callable[[Any], Any],
) -> None:
    with guarded_server() as server:
        proxy = gpyro.AttrProxy(server.connect(Thing()))
        proxy._setIdentification("one")
        proxy._setTimeout(SECONDS)
        twin = duplicate(proxy)
        assert "not connected" in repr(twin)
        assert (proxy.who()[0], twin.who()[0], type(twin)) == ("passphrase:1", "passphrase:1", gpyro.AttrProxy)
        assert len(server.connections) == 2
        for each in (proxy, twin):
            each._release()


def test_location_becomes_the_address_of_the_object_with_the_first_call() -> None:
    with running_daemon() as server:
        house = House()
        uri = server.connect(house, name="house")
        location = f"PYROLOC://127.0.0.1:{server.port}/house"
        proxy = server.proxy(location)
        assert proxy.URI == location
        assert proxy.add(1) == 2
        assert proxy.URI == proxy.adapter.URI == uri
        # It hashes as it did before, so it is not equal to a proxy of the same object.
        assert proxy.objectID == "house" and proxy != server.proxy(uri)
        with pytest.raises(NamingError, match="exactly this name") as caught:
            server.proxy(f"PYROLOC://127.0.0.1:{server.port}/:Default.house").add(1)
        assert (caught.value.reason, caught.value.name) == ("name not found", ":Default.house")


def test_location_is_looked_up_again_when_another_object_has_the_name() -> None:
    with running_daemon() as server:
        first, second = House(), House()
        server.connect(first, name="house")
        proxy = server.proxy(f"PYROLOC://127.0.0.1:{server.port}/house")
        assert proxy.add(1) == 2
        server.daemon.disconnect(first)
        second.sum = 10
        uri = server.connect(second, name="house")
        with pytest.raises(UnknownObjectError):
            proxy.add(1)
        assert (proxy.add(1), proxy.URI) == (11, uri)


def test_address_is_not_looked_up_when_it_is_made_and_has_to_have_an_id() -> None:
    assert str(gpyro.PyroURI("PYRO://no.such.host.invalid:1/abc")) == "PYRO://no.such.host.invalid:1/abc"
    with pytest.raises(URIError, match="empty object id"):
        gpyro.PyroURI("PYRO://localhost:1/")


# -- errors


def test_remote_stacktrace_is_there_for_errors_of_the_users_code_and_none_for_gpyros() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Bench())
        with pytest.raises(ValueError) as caught:
            proxy.fail()
        lines = stack_of(caught.value)
        assert lines[0] == "Traceback (most recent call last):\n" and "in fail" in lines[1]
        unknown = server.proxy(f"PYRO://127.0.0.1:{server.port}/nobody")
        for action in (proxy.nothing, unknown.echo, lambda: proxy.echo(threading.Lock())):
            with pytest.raises((AttributeError, UnknownObjectError, SerializationError)) as refused:
                action()
            assert stack_of(refused.value) is None


def test_unknown_object_and_protocol_error_of_a_method_leave_the_connection_as_it_is() -> None:
    with running_daemon() as server:
        proxy = server.proxy(House())
        with pytest.raises(ProtocolError, match="raised by the method itself") as caught:
            proxy.protocol_error()
        assert type(caught.value) is ProtocolError
        (connection,) = server.connections
        assert proxy.add(1) == 2
        unknown = server.proxy(f"PYRO://127.0.0.1:{server.port}/nobody")
        for _ in range(3):
            with pytest.raises(UnknownObjectError):
                unknown.add(1)
        assert len(server.connections) == 2 and connection in server.connections


def test_class_that_the_server_does_not_know_is_refused_before_it_leaves() -> None:
    class Stranger:
        pass

    with running_daemon() as server:
        proxy = server.proxy(Bench())
        assert proxy.echo(1) == 1
        (connection,) = server.connections
        served = connection.serving.served
        with pytest.raises(SerializationError, match="Stranger"):
            proxy.echo(Stranger())
        assert connection.serving.served == served
        assert proxy.echo(2) == 2


def test_name_that_is_taken_within_a_daemon_is_told_with_pyros_reason() -> None:
    with running_daemon() as server:
        server.daemon.useNameServer(FakeNameServer())
        server.connect(House(), name="house")
        with pytest.raises(NamingError, match=r"^name already exists: 'house'") as caught:
            server.connect(House(), name="house")
        assert (caught.value.reason, caught.value.name) == ("name already exists", "house")


def test_resolving_through_a_name_that_is_no_group_is_a_naming_error() -> None:
    ns = gpyro.naming.NameServer()
    ns.register(":Default.leaf", "PYRO://127.0.0.1:1/leaf")
    with pytest.raises(NamingError) as caught:
        ns.resolve(":Default.leaf.below")
    assert caught.value.name == ":Default.leaf.below"


def test_oneway_methods_add_up_and_are_given_as_text_list_or_tuple() -> None:
    with running_daemon() as server:
        bench = Bench()
        proxy = server.proxy(bench)
        for methods in ("note", ["wait"], ("fail", "unknown")):
            proxy._setOneway(methods)
        assert [proxy.wait(), proxy.note(1), proxy.fail(), proxy.unknown()] == [None] * 4
        bench.go.set()
        assert proxy.echo(1) == 1
        eventually(lambda: (bench.noted, bench.finished) == ([1], 1))


# -- connections that end, and servers that come back


@pytest.mark.slow
def test_idle_connection_is_closed_after_the_daemons_timeout_and_opened_again_in_silence() -> None:
    with running_daemon() as server:
        bench = Bench()
        server.daemon.setTimeout(1)
        proxy, busy = server.proxy(bench), server.proxy(bench)
        waiting = gevent.spawn(busy.wait, "as long as it takes")
        assert proxy.echo(1) == 1
        eventually(lambda: len(server.connections) == 1, "the idle connection stays")
        assert proxy.echo(2) == 2
        bench.go.set()
        assert waiting.get(timeout=SECONDS) == "as long as it takes"


def test_rebinding_gives_up_after_its_tries_and_says_so() -> None:
    proxy = gpyro.Proxy(f"PYRO://127.0.0.1:{free_port()}/abc")
    with pytest.raises(gpyro.errors.TimeoutError, match=r"^connection lost: .* could not be reached in 3 tries"):
        proxy.adapter.rebindURI(tries=3, wait=0.01)
    with pytest.raises(ProtocolError, match=r"^connection failed: ") as caught:
        proxy.echo()
    assert type(caught.value) is ProtocolError
    assert issubclass(gpyro.errors.TimeoutError, ConnectionClosedError)


def test_rebinding_waits_for_the_server_that_comes_back_at_its_place() -> None:
    def serve(port: int) -> tuple[gpyro.Daemon, Any]:
        daemon = gpyro.Daemon(host="127.0.0.1", port=port, norange=True)
        bench = Bench()
        bench.setGUID("bench")
        daemon.connect(bench)
        return daemon, gevent.spawn(daemon.requestLoop)

    first, serving = serve(0)
    proxy: Any = gpyro.Proxy(f"PYRO://127.0.0.1:{first.port}/bench")
    assert proxy.echo(1) == 1
    first.shutdown(True)
    serving.join()
    with pytest.raises(ProtocolError):
        proxy.echo(2)
    rebinding = gevent.spawn(proxy.adapter.rebindURI, tries=1000, wait=0.01)
    second, serving = serve(first.port)
    rebinding.get(timeout=SECONDS)
    assert proxy.echo(3) == 3
    proxy._release()
    second.shutdown(True)
    serving.join()


def test_rebinding_does_not_try_again_where_the_identification_is_refused() -> None:
    with guarded_server() as server:
        proxy = identified(server, Thing(), "wrong")
        with pytest.raises(ConnectionDeniedError):
            proxy.adapter.rebindURI()


def test_changed_identification_holds_for_the_next_call() -> None:
    with guarded_server() as server:
        proxy = identified(server, Thing(), "one")
        assert proxy.who()[0] == "passphrase:1"
        proxy._setIdentification("two")
        assert proxy.who()[0] == "passphrase:2"
        proxy._setIdentification("wrong")
        denied(proxy)
        with pytest.raises(TypeError, match="ids must be a list"):
            server.daemon.setAllowedIdentifications("one")


# -- talk that goes back and forth


class Bouncer(gpyro.ObjBase):
    """Plays a ball to whoever it is told, and counts its own bounces."""

    def __init__(self) -> None:
        super().__init__()
        self.others: list[Any] = []
        self.bounces = 0

    def introduce(self, other: Any) -> None:
        self.others.append(other)

    def bounce(self, sender: Any, left: int) -> int:
        """Return how often the ball was played from here on."""
        self.bounces += 1
        return 0 if not left else 1 + int(sender.bounce(self.getProxy(), left - 1))

    def pass_on(self, left: int) -> int:
        self.bounces += 1
        return 0 if not left else 1 + int(self.others[0].pass_on(left - 1))


def test_two_programs_that_serve_bounce_a_ball_with_the_proxies_that_they_are_given() -> None:
    with running_daemon() as left, running_daemon() as right:
        one, other = Bouncer(), Bouncer()
        proxies = left.proxy(one), right.proxy(other)
        games = [gevent.spawn(proxies[0].bounce, proxies[1], 50), gevent.spawn(proxies[1].bounce, proxies[0], 50)]
        assert [game.get(timeout=SECONDS) for game in games] == [50, 50]
        assert one.bounces + other.bounces == 102
        # Before the other server's block ends, which looks for what is left over.
        left.release()


def test_circle_of_three_servers_goes_round_for_fifty_hops() -> None:
    with running_daemon() as first, running_daemon() as second, running_daemon() as third:
        servers, players = (first, second, third), [Bouncer() for _ in range(3)]
        proxies = [server.proxy(player) for server, player in zip(servers, players, strict=True)]
        for number, proxy in enumerate(proxies):
            proxy.introduce(proxies[(number + 1) % 3])
        assert proxies[0].pass_on(50) == 50
        assert [player.bounces for player in players] == [17, 17, 17]
        for player in players:
            # The copies that travelled have connections of their own.
            player.others.pop()._release()
        for server in servers:
            server.release()


def test_object_without_an_address_is_played_with_over_the_callers_own_connection() -> None:
    class Player(gpyro.ObjBase):
        def __init__(self) -> None:
            super().__init__()
            self.bounces = 0

        def bounce(self, sender: Any, left: int) -> int:
            self.bounces += 1
            return 0 if not left else 1 + int(sender.bounce(self, left - 1))

    with running_daemon() as server:
        player, bouncer = Player(), Bouncer()
        assert server.proxy(bouncer).bounce(player, 50) == 50
        assert (player.bounces, bouncer.bounces) == (25, 26)
        assert len(server.connections) == 1


def test_proxies_travel_in_results_and_inside_of_containers_and_stay_usable() -> None:
    class Guide(gpyro.ObjBase):
        def __init__(self, houses: list[House]) -> None:
            super().__init__()
            self.houses = houses

        def tour(self) -> dict[str, Any]:
            return {"first": self.houses[0], "all": [house.getAttrProxy() for house in self.houses]}

    with running_daemon() as server:
        houses = [House(), House()]
        for house in houses:
            server.connect(house)
        tour = server.proxy(Guide(houses)).tour()
        assert type(tour["first"]) is gpyro.Proxy and tour["first"].add(1) == 2
        assert [type(proxy) for proxy in tour["all"]] == [gpyro.AttrProxy] * 2
        tour["all"][1].sum = 7
        assert houses[1].sum == 7
        assert tour["all"][0] == tour["first"]
        for proxy in (tour["first"], *tour["all"]):
            proxy._release()


def test_what_a_proxy_was_told_stays_with_it_when_it_is_passed_on() -> None:
    class Keeper(gpyro.ObjBase):
        def told(self, proxy: Any) -> tuple[Any, ...]:
            core = proxy.__dict__["_core"]
            return core.timeout, sorted(core.oneway), core.identification

    with running_daemon() as server:
        proxy = server.proxy(Keeper())
        passed = gpyro.Proxy(proxy.URI)
        passed._setTimeout(3)
        passed._setOneway("told")
        assert proxy.told(passed) == (None, [], None)
