"""Objects as arguments and results: called back over the same connection, passed on, and what came home."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

import gpyro
from tests.support.servers import SECONDS, Bench, child, connection_of, eventually, running_daemon


class Listener(gpyro.ObjBase):
    """An object of the caller's, connected to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []
        self.public = "data"

    def hear(self, value: Any) -> str:
        self.heard.append(value)
        return f"heard {value}"

    def fail(self) -> None:
        raise LookupError("in the callback")

    def back(self, other: Any, depth: int) -> int:
        """Call the other one, which calls this one, and so on."""
        return 0 if depth == 0 else 1 + other.back(self, depth - 1)

    def _private(self) -> None: ...


class Office(Bench):
    """What a server does with objects that it is passed."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []
        self.drawer = Listener()

    def tell(self, listener: Any, value: Any) -> Any:
        return listener.hear(value)

    def keep(self, listener: Any) -> int:
        self.kept.append(listener)
        return len(self.kept)

    def kept_one(self, index: int = -1) -> Any:
        return self.kept[index]

    def open_drawer(self) -> Listener:
        return self.drawer

    def is_drawer(self, listener: Any) -> bool:
        return listener is self.drawer

    def back(self, other: Any, depth: int) -> int:
        return 0 if depth == 0 else 1 + other.back(self, depth - 1)

    def call(self, listener: Any, name: str) -> Any:
        return listener.__dict__["_core"].call(name, (), {})

    def tell_later(self, listener: Any, value: Any) -> None:
        def later() -> None:
            self.go.wait()
            self.noted.append(listener.hear(value))

        gevent.spawn(later)

    def same(self, first: Any, second: Any) -> bool:
        return bool(first == second)

    def release_kept(self) -> None:
        self.kept.clear()


def running_callbacks(proxy: Any) -> int:
    """Return how many callbacks run at the caller's end of a proxy's connection."""
    return len(connection_of(proxy).serving.running) if "not connected" not in repr(proxy) else 0


def test_unconnected_object_is_called_back_during_the_call() -> None:
    with running_daemon() as server:
        proxy, listener = server.proxy(Office()), Listener()
        assert proxy.tell(listener, "news") == "heard news"
        assert listener.heard == ["news"]
        assert len(server.connections) == 1


def test_unconnected_object_inside_containers_is_called_back_too() -> None:
    class Opener(Office):
        def tell_all(self, listeners: dict[str, list[Any]]) -> list[str]:
            return [listener.hear(key) for key, values in listeners.items() for listener in values]

    with running_daemon() as server:
        proxy, listener = server.proxy(Opener()), Listener()
        assert proxy.tell_all({"a": [listener, listener], "b": [listener]}) == ["heard a", "heard a", "heard b"]


def test_object_is_called_back_later_through_run_callbacks() -> None:
    with running_daemon() as server:
        office = Office()
        proxy, listener = server.proxy(office), Listener()
        proxy.tell_later(listener, "late")
        office.go.set()
        gpyro.run_callbacks(SECONDS)
        assert listener.heard == ["late"]
        eventually(lambda: office.noted == ["heard late"])


def test_run_callbacks_without_a_limit_waits_for_one_from_another_process() -> None:
    source = """
import gevent, gpyro, sys
class Listener(gpyro.ObjBase):
    def hear(self, value):
        print("heard", value, flush=True)
        return "thanks"
listener = Listener()
proxy = gpyro.Proxy(sys.argv[1])
proxy.tell_later(listener, "late")
print("ready", flush=True)
gpyro.run_callbacks()
gpyro.run_callbacks(0)
"""
    with running_daemon() as server:
        office = Office()
        with child(source, server.connect(office)) as process:
            assert process.stdout is not None
            output = gevent.get_hub().threadpool.spawn(process.stdout.read)
            eventually(lambda: any(connection.exports is not None for connection in server.connections))
            office.go.set()
            assert output.get(timeout=SECONDS) == "ready\nheard late\n"
            eventually(lambda: office.noted == ["thanks"])
            del output
        gevent.get_hub().threadpool.kill()


def test_run_callbacks_returns_when_its_time_is_over() -> None:
    gpyro.run_callbacks(0)
    gpyro.run_callbacks(0.01)


def test_two_greenlets_in_run_callbacks_both_return() -> None:
    with running_daemon() as server:
        office = Office()
        proxy, listener = server.proxy(office), Listener()
        proxy.tell_later(listener, "late")
        waiters = [gevent.spawn(gpyro.run_callbacks) for _ in range(2)]
        gevent.sleep(0)
        office.go.set()
        gevent.joinall(waiters, timeout=SECONDS, raise_error=True)
        assert all(waiter.successful() for waiter in waiters)


def test_object_that_comes_home_is_itself() -> None:
    with running_daemon() as server:
        proxy, listener = server.proxy(Office()), Listener()
        assert proxy.echo(listener) is listener
        assert proxy.echo([listener, {"x": (listener,)}]) == [listener, {"x": (listener,)}]
        proxy.keep(listener)
        assert proxy.kept_one() is listener


def test_unconnected_result_is_called_and_goes_home_as_itself() -> None:
    with running_daemon() as server:
        office = Office()
        proxy = server.proxy(office)
        drawer = proxy.open_drawer()
        assert drawer.hear("a knock") == "heard a knock"
        assert office.drawer.heard == ["a knock"]
        assert proxy.is_drawer(drawer) is True
        assert proxy.is_drawer(proxy.open_drawer()) is True
        assert drawer == proxy.open_drawer()


def test_object_passed_twice_is_the_same_at_the_other_side() -> None:
    with running_daemon() as server:
        proxy, listener = server.proxy(Office()), Listener()
        assert proxy.same(listener, listener) is True
        assert proxy.same(listener, Listener()) is False
        assert len(connection_of(proxy).exports._by_id) == 2


@pytest.mark.parametrize("name", ["_private", "__init__", "GUID", "delegateTo", "public", "nothing"])
def test_passed_object_is_reached_through_the_same_table(name: str) -> None:
    with running_daemon() as server:
        proxy = server.proxy(Office())
        with pytest.raises(AttributeError, match=name):
            proxy.call(Listener(), name)


def test_exception_of_a_callback_travels_through_both_sides() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Office())
        with pytest.raises(LookupError, match="in the callback") as caught:
            proxy.call(Listener(), "fail")
        assert "raise LookupError" in "".join(gpyro.util.getPyroTraceback(caught.value))
        del caught


def test_callbacks_that_call_back_go_fifty_levels_deep() -> None:
    with running_daemon() as server:
        proxy, listener = server.proxy(Office()), Listener()
        assert proxy.back(listener, 50) == 50
        assert len(server.connections) == 1


def test_many_callbacks_side_by_side_do_not_wait_for_each_other() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Office())
        calls = [gevent.spawn(proxy.back, Listener(), 6) for _ in range(100)]
        gevent.joinall(calls, timeout=SECONDS, raise_error=True)
        assert [call.value for call in calls] == [6] * 100
        del calls


def test_callbacks_get_through_although_the_server_takes_no_more_calls() -> None:
    with running_daemon(max_in_flight_per_connection=2, busy_wait_seconds=SECONDS) as server:
        office = Office()
        proxy = server.proxy(office)

        class Slow(Listener):
            def hear(self, value: Any) -> str:
                office.go.wait()
                return super().hear(value)

        listener = Slow()
        calls = [gevent.spawn(proxy.tell, listener, number) for number in range(20)]
        eventually(lambda: any(connection.serving.is_full() for connection in server.connections))
        office.go.set()
        gevent.joinall(calls, timeout=SECONDS, raise_error=True)
        assert sorted(listener.heard) == list(range(20))
        del calls


def test_server_passes_a_clients_object_on_to_another_client() -> None:
    with running_daemon() as server:
        office = Office()
        uri = server.connect(office)
        first, second = server.proxy(uri), server.proxy(uri)
        listener = Listener()
        first.keep(listener)
        relayed = second.kept_one()
        assert relayed.hear("from afar") == "heard from afar"
        assert listener.heard == ["from afar"]
        assert len(server.connections) == 2
        with pytest.raises(AttributeError, match="nothing"):
            relayed.nothing()
        # It goes back to whom it came from as itself, over both legs.
        assert second.echo(relayed).hear("again") == "heard again"
        second.keep(relayed)
        assert first.kept_one() is listener


def test_names_that_a_proxy_has_for_itself_mean_the_remote_object_when_relayed() -> None:
    class Odd(Listener):
        def adapter(self) -> str:
            return "a method of mine"

    with running_daemon() as server:
        office = Office()
        uri = server.connect(office)
        first, second = server.proxy(uri), server.proxy(uri)
        first.keep(Odd())
        assert second.kept_one().__dict__["_core"].call("adapter", (), {}) == "a method of mine"
        with pytest.raises(AttributeError):
            second.kept_one().__dict__["_core"].call("objectID", (), {})


def test_passing_the_same_relayed_object_again_takes_no_more_room() -> None:
    with running_daemon(max_exports_per_connection=3) as server:
        office = Office()
        uri = server.connect(office)
        first, second = server.proxy(uri), server.proxy(uri)
        listener = Listener()
        for _ in range(10):
            first.keep(listener)
        assert all(second.kept_one(index).hear(index) == f"heard {index}" for index in range(10))


def test_relayed_object_is_gone_with_the_connection_it_came_over() -> None:
    with running_daemon() as server:
        office = Office()
        uri = server.connect(office)
        first, second = server.proxy(uri), server.proxy(uri)
        first.keep(Listener())
        relayed = second.kept_one()
        first._release()
        eventually(lambda: len(server.connections) == 1)
        with pytest.raises(gpyro.errors.ConnectionClosedError, match="has ended") as caught:
            relayed.hear("too late")
        assert caught.value.maybe_executed is False
        del caught
        assert second.echo("goes on") == "goes on"


def test_object_of_an_ended_connection_fails_at_once() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Office())
        drawer = proxy.open_drawer()
        proxy._release()
        with pytest.raises(gpyro.errors.ConnectionClosedError):
            drawer.hear("nobody there")


def test_connected_object_travels_as_its_address() -> None:
    with running_daemon() as server:
        office, other = Office(), Bench()
        uri = server.connect(other)
        proxy = server.proxy(office)
        arrived = proxy.echo(other)
        assert isinstance(arrived, gpyro.Proxy) and str(arrived.URI) == uri
        assert arrived.echo(3) == 3
        proxy.keep(other)
        assert str(proxy.kept_one().URI) == uri
        office.release_kept()
        arrived._release()


def test_proxies_travel_as_addresses_and_keep_their_kind() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Office())
        uri = server.connect(Bench())
        for kind in (gpyro.Proxy, gpyro.AttrProxy):
            arrived = proxy.echo(kind(uri))
            assert type(arrived) is kind
            assert str(arrived.URI) == uri
        assert proxy.echo(gpyro.Proxy("PYRONAME://somebody")).URI == gpyro.PyroURI("PYRONAME://somebody")
        assert proxy.echo(gpyro.PyroURI(uri)) == gpyro.PyroURI(uri)


def test_more_objects_than_the_limit_are_refused_and_earlier_ones_go_on() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Office(), max_exports_per_connection=3)
        listeners = [Listener() for _ in range(4)]
        for listener in listeners[:3]:
            proxy.tell(listener, 1)
        with pytest.raises(gpyro.errors.SerializationError, match="max_exports_per_connection"):
            proxy.tell(listeners[3], 1)
        assert proxy.tell(listeners[0], 2) == "heard 2"
        proxy._release()
        assert proxy.tell(listeners[3], 3) == "heard 3"


def test_more_results_than_the_limit_are_an_error_at_the_caller() -> None:
    class Factory(Bench):
        def make(self) -> Listener:
            return Listener()

    with running_daemon(max_exports_per_connection=2) as server:
        proxy = server.proxy(Factory())
        made = [proxy.make(), proxy.make()]
        with pytest.raises(gpyro.errors.SerializationError, match="max_exports_per_connection"):
            proxy.make()
        assert made[0].hear(1) == "heard 1"


def test_object_of_another_threads_connection_says_so() -> None:
    with running_daemon() as server:
        drawer = server.proxy(Office()).open_drawer()

        def elsewhere() -> str:
            try:
                drawer.hear(1)
            except gpyro.errors.ProtocolError as exc:
                return str(exc)
            return "no error"

        pool = gevent.get_hub().threadpool
        assert "another thread" in pool.spawn(elsewhere).get(timeout=SECONDS)
        pool.kill()


def test_slow_callback_does_not_hold_up_other_calls() -> None:
    with running_daemon() as server:
        office = Office()
        proxy = server.proxy(office)

        class Slow(Listener):
            def hear(self, value: Any) -> str:
                office.go.wait()
                return super().hear(value)

        listener = Slow()
        telling = gevent.spawn(proxy.tell, listener, "slow")
        eventually(lambda: running_callbacks(proxy))
        assert proxy.echo("quick") == "quick"
        office.go.set()
        assert telling.get(timeout=SECONDS) == "heard slow"


def test_callback_is_cancelled_with_the_call_that_it_belongs_to() -> None:
    with running_daemon() as server:
        office = Office()
        proxy = server.proxy(office)

        class Stuck(Listener):
            unwound = 0

            def hear(self, value: Any) -> str:
                try:
                    office.go.wait()
                finally:
                    self.unwound += 1
                return "not reached"

        listener = Stuck()
        telling = gevent.spawn(proxy.tell, listener, "x")
        eventually(lambda: running_callbacks(proxy))
        telling.kill()
        eventually(lambda: listener.unwound == 1)
        eventually(lambda: not running_callbacks(proxy))
