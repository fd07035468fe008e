"""Logins over real connections: who is let in, who is not, what the other side proves, and what travels where."""

from __future__ import annotations

import copy
import socket
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import gevent
import gevent.event
import gevent.socket
import pytest

import gpyro
from gpyro import auth
from gpyro._connection import login as login_room
from gpyro.errors import (
    ConnectionDeniedError,
    DaemonError,
)
from tests.support.logins import KEY, OTHER, Thing, denied, guarded_server, identified
from tests.support.servers import Running, connection_of, eventually, fake_server, running_daemon


@pytest.fixture
def server() -> Iterator[Running]:
    with guarded_server() as running:
        yield running


# -- who is let in -------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_methods_know_who_calls(server: Running) -> None:
    thing = Thing()
    assert identified(server, thing, "one").who() == ("passphrase:1", ["*", "passphrase:1"])
    assert identified(server, thing, b"two").who() == ("passphrase:2", ["*", "passphrase:2"])
    server.daemon.set_roles({"press-4": ["reader"], "press-5": ["nothing"]})
    assert identified(server, thing, KEY).who() == ("press-4", ["*", "operator", "press-4", "reader"])


@pytest.mark.parametrize(
    "ident", [None, "wrong", b"one ", OTHER, auth.Key("press-4", b"x" * 32), auth.Key("press-9", KEY.secret)]
)
def test_everybody_else_is_denied_and_reaches_nothing(server: Running, ident: Any) -> None:
    thing = Thing()
    proxy = identified(server, thing, ident)
    denied(proxy)
    denied(proxy)
    assert thing.calls == 0
    assert str(denied(proxy)).endswith("was not accepted") or ident is None
    eventually(lambda: not server.connections)


def test_all_refusals_of_a_login_read_the_same(server: Running) -> None:
    thing = Thing()
    texts = {
        str(denied(identified(server, thing, ident)))
        for ident in ("wrong", OTHER, auth.Key("press-4", b"x" * 32), auth.Key("unknown", KEY.secret))
    }
    assert texts == {"security reasons: the identification was not accepted"}


def test_an_empty_list_lets_nobody_in_and_none_lets_everybody(server: Running) -> None:
    thing = Thing()
    server.daemon.setAllowedIdentifications([])
    denied(identified(server, thing, "one"))
    server.daemon.setAllowedIdentifications(None)
    assert server.proxy(thing).who() == (None, ["*"])
    denied(identified(server, thing, "one"))


def test_a_new_list_holds_for_new_connections_and_a_refused_one_changes_nothing(server: Running) -> None:
    thing = Thing()
    proxy = identified(server, thing, "one")
    proxy.who()
    server.daemon.setAllowedIdentifications(["three"])
    assert proxy.who()[0] == "passphrase:1", "it was let in before"
    proxy._release()
    denied(proxy)
    for bad in ("three", [""], [None]):
        with pytest.raises((TypeError, ValueError)):
            server.daemon.setAllowedIdentifications(bad)
    assert identified(server, thing, "three").who()[0] == "passphrase:3"


def test_another_thread_may_change_who_is_let_in(server: Running) -> None:
    thing = Thing()
    thread = threading.Thread(target=server.daemon.setAllowedIdentifications, args=(["three", KEY],))
    thread.start()
    while thread.is_alive():
        gevent.sleep(0.001)
    assert identified(server, thing, "three").who()[0] == "passphrase:3"
    assert identified(server, thing, KEY).who()[0] == "press-4"
    denied(identified(server, thing, "one"))


def test_long_lived_objects_tell_who_it_is(server: Running) -> None:
    identified(server, Thing(), KEY).who()
    assert "(press-4) ready" in repr(server.connections[0])
    entrance = server.service.entrance
    assert repr(entrance) == (
        "<Entrance, <DefaultConnValidator, wants a passphrase or key>, 0 not let in yet>"
    )
    assert repr(entrance.sources) == "<Sources, 1 connected, 0 with failed logins>"


def test_a_passphrase_that_was_taken_out_leaves_its_rights_to_nobody(server: Running) -> None:
    thing = Thing()
    server.daemon.set_roles({"passphrase:1": ["operator"], "passphrase:2": ["reader"]})
    assert identified(server, thing, "two").who()[1] == ["*", "passphrase:2", "reader"]
    server.daemon.setAllowedIdentifications(["two", "three"])
    assert identified(server, thing, "two").who()[1] == ["*", "passphrase:2", "reader"]
    assert identified(server, thing, "three").who()[1] == ["*", "passphrase:3"]
    server.daemon.setAllowedIdentifications(["one"])
    assert identified(server, thing, "one").who()[1] == ["*", "operator", "passphrase:1"]


def test_a_passphrase_may_have_a_name(server: Running) -> None:
    thing = Thing()
    server.daemon.setAllowedIdentifications(["one", auth.Passphrase("readers", "open sesame")])
    assert identified(server, thing, "open sesame").who()[0] == "readers"
    assert identified(server, thing, auth.Key("readers", b"x" * 32))._setIdentification("one") is None
    denied(identified(server, thing, auth.Key("readers", b"x" * 32)))


def test_nobody_waits_at_the_door_while_a_new_list_is_salted(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are known already are not salted again, and the old list holds until the new one is ready."""
    thing = Thing()
    identified(server, thing, "one").who()
    derived = []
    may_go = threading.Event()

    def derive(kdf: auth.Kdf, passphrase: bytes, salt: bytes) -> bytes:
        derived.append(passphrase)
        assert may_go.wait(20)
        return bytes(32)

    monkeypatch.setattr(auth.Kdf, "derive", derive)
    change = gevent.spawn(server.daemon.setAllowedIdentifications, ["two", "new", KEY])
    eventually(lambda: derived)
    assert identified(server, thing, "one").who()[0] == "passphrase:1"
    assert identified(server, thing, KEY).who()[0] == "press-4"
    may_go.set()
    change.get(timeout=20)
    assert derived == [b"new"]
    denied(identified(server, thing, "one"))


def test_changes_of_who_is_let_in_hold_in_the_order_in_which_they_were_made(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revocation is not undone by an earlier change whose passphrases took longer to salt."""
    derive, may_go, began = auth.Kdf.derive, threading.Event(), []

    def slow(kdf: auth.Kdf, passphrase: bytes, salt: bytes) -> bytes:
        if passphrase == b"slow":
            began.append(passphrase)
            assert may_go.wait(20)
        return derive(kdf, passphrase, salt)

    monkeypatch.setattr(auth.Kdf, "derive", slow)
    first = gevent.spawn(server.daemon.setAllowedIdentifications, ["stolen", "slow"])
    eventually(lambda: began)
    second = threading.Thread(target=server.daemon.setAllowedIdentifications, args=(["one"],))
    second.start()
    may_go.set()
    first.get(timeout=20)
    while second.is_alive():
        gevent.sleep(0.001)
    denied(identified(server, Thing(), "stolen"))
    assert identified(server, Thing(), "one").who()[0] == "passphrase:1"
    assert len(server.service.entrance._book._salted) == 1, "nothing is kept of passphrases that were taken out"


def test_a_login_that_was_begun_before_a_revocation_does_not_get_in_after_it(server: Running) -> None:
    thing = Thing()
    with fake_server(Paused(server.port)) as port:
        proxy = server.proxy(str(server.connect(thing)).replace(f":{server.port}/", f":{port}/"))
        proxy._setIdentification(KEY)
        call = gevent.spawn(proxy.who)
        eventually(lambda: Paused.proofs)
        server.daemon.setAllowedIdentifications(["one"])
        Paused.proofs.pop().set()
        with pytest.raises(ConnectionDeniedError, match="not accepted"):
            call.get(timeout=10)
    assert thing.calls == 0


class Paused:
    """Passes bytes on, and holds the PROOF back until it is told to go."""

    proofs: ClassVar[list[Any]] = []

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(self, sock: Any) -> None:
        real = socket.create_connection(("127.0.0.1", self.port))
        with gevent.socket.socket(fileno=real.detach()) as other:
            other.sendall(sock.recv(65536))
            sock.sendall(other.recv(65536))
            proof = sock.recv(65536)
            may_go = gevent.event.Event()
            self.proofs.append(may_go)
            may_go.wait()
            other.sendall(proof)
            sock.sendall(other.recv(65536))
            sock.recv(65536)


@pytest.mark.parametrize("change", ["identification", "release", "validator"])
def test_a_proxy_that_is_changed_while_it_logs_in_goes_on_as_changed(server: Running, change: str) -> None:
    class Slow(auth.DefaultConnValidator):
        def __init__(self) -> None:
            super().__init__()
            self.asked = 0
            self.may_go = gevent.event.Event()

        def acceptHost(self, daemon: Any, connection: Any) -> tuple[int, int]:
            self.asked += 1
            self.may_go.wait()
            return 1, 0

    slow = Slow()
    server.daemon.setNewConnectionValidator(slow)
    proxy = identified(server, Thing(), "one")
    call = gevent.spawn(proxy.who)
    eventually(lambda: slow.asked == 1)
    if change == "identification":
        proxy._setIdentification("two")
    elif change == "validator":
        proxy._setNewConnectionValidator(auth.DefaultConnValidator())
    else:
        proxy._release()
    slow.may_go.set()
    assert call.get(timeout=10)[0] == ("passphrase:2" if change == "identification" else "passphrase:1")
    assert slow.asked == 2, "what was begun before the change is not used"


def test_shutting_down_while_somebody_logs_in_tells_him_so() -> None:
    class Slow(auth.DefaultConnValidator):
        def acceptHost(self, daemon: Any, connection: Any) -> tuple[int, int]:
            asked.append(connection)
            never.wait()
            return 1, 0

    asked: list[Any] = []
    never = gevent.event.Event()
    with running_daemon() as running:
        running.daemon.setAllowedIdentifications(["one"])
        slow = Slow()
        running.daemon.setNewConnectionValidator(slow)
        calls = [gevent.spawn(identified(running, Thing(), ident).who) for ident in ("one", None)]
        eventually(lambda: len(asked) == 2)
        running.daemon.shutdown()
        for call in calls:
            with pytest.raises(ConnectionDeniedError, match="shutting down"):
                call.get(timeout=10)
        never.set()


def test_a_value_that_is_changed_after_a_oneway_call_has_left_as_it_was(server: Running) -> None:
    """Sealed or not: what is sent is what was passed, although the kernel does not take it at once."""

    class Taker(gpyro.ObjBase):
        def __init__(self) -> None:
            super().__init__()
            self.taken: list[tuple[int, int, int]] = []

        def take(self, value: Any) -> None:
            self.taken.append((len(value), min(value), max(value)))

    for ident in ("one", None):
        if ident is None:
            server.daemon.setAllowedIdentifications(None)
        taker = Taker()
        proxy = identified(server, taker, ident)
        proxy._setOneway("take")
        value = bytearray(3_000_000)
        for number in range(6):
            value[:] = bytes([number]) * len(value)
            proxy.take(value)
        value[:] = b"\xff" * len(value)
        eventually(lambda taker=taker: len(taker.taken) == 6)  # type: ignore[misc]
        assert sorted(taker.taken) == [(3_000_000, number, number) for number in range(6)]


def test_a_proxy_without_identification_is_told_what_is_missing(server: Running) -> None:
    assert "_setIdentification" in str(denied(server.proxy(Thing())))


def test_server_that_does_not_authenticate_is_left_before_a_call_is_sent() -> None:
    thing = Thing()
    with running_daemon() as running:
        assert "does not authenticate" in str(denied(identified(running, thing, "one")))
        assert thing.calls == 0


def test_many_greenlets_and_threads_share_one_login_each_thread(server: Running) -> None:
    proxy = identified(server, Thing(), KEY)
    jobs = [gevent.spawn(proxy.echo, number) for number in range(200)]
    assert [job.get(timeout=10) for job in jobs] == list(range(200))
    assert len(server.connections) == 1
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(proxy.who()[0]))
    thread.start()
    eventually(lambda: results)
    assert results == ["press-4"]
    while thread.is_alive():
        gevent.sleep(0.001)


def test_tracebacks_and_errors_travel_over_a_sealed_connection(server: Running) -> None:
    proxy = identified(server, Thing(), KEY)
    with pytest.raises(ValueError, match="as told") as info:
        proxy.fail()
    assert info.value.remote_stacktrace  # type: ignore[attr-defined]


@pytest.mark.smoke
@pytest.mark.parametrize("size", [0, 100, 20_000, 40_000, 1_000_000, 5_000_000, 13_000_000])
def test_values_of_every_size_are_sealed_and_arrive(server: Running, size: int) -> None:
    proxy = identified(server, Thing(), KEY)
    value = (bytes(range(256)) * (size // 256 + 1))[:size]
    assert proxy.echo(value) == value
    assert proxy.echo(bytearray(value)) == value
    jobs = [gevent.spawn(proxy.echo, value[:number]) for number in range(0, size, max(size // 7, 1))]
    assert [len(job.get(timeout=20)) for job in jobs] == list(range(0, size, max(size // 7, 1)))
    assert connection_of(proxy).stream.seal is not None


def test_callbacks_go_over_the_sealed_connection_too(server: Running) -> None:
    thing = Thing()
    proxy = identified(server, thing, KEY)
    mine = Thing()
    proxy.keep(mine)
    assert proxy.use()[0] is None, "the server has proved itself, but has no identity of its own here"
    assert mine.calls == 1


def test_passphrase_is_salted_without_holding_the_hub(server: Running) -> None:
    """Counts turns of the loop while scrypt runs; a proxy of a daemon with another salt has to compute anew."""
    turns = 0

    def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            gevent.sleep(0)

    counter = gevent.spawn(count)
    with running_daemon() as other:
        other.daemon.setAllowedIdentifications(["one"])
        turns = 0
        identified(other, Thing(), "one").who()
        assert turns > 20
    counter.kill()


def test_passphrase_is_salted_once_for_all_connections_to_a_server(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    thing = Thing()
    identified(server, thing, "one").who()
    monkeypatch.setattr(auth.Kdf, "derive", lambda *args: pytest.fail("salted again"))
    for _ in range(3):
        assert identified(server, thing, "one").who()[0] == "passphrase:1"
    assert len(login_room._salted) <= login_room.KEPT_KEYS


# -- what travels --------------------------------------------------------------------------------------------


def test_identification_stays_with_a_proxy_and_its_copies(server: Running) -> None:
    proxy = identified(server, Thing(), "one")
    assert copy.copy(proxy).who()[0] == "passphrase:1"
    passed = proxy.itself()
    denied(passed)
    passed._setIdentification("two")
    assert passed.who()[0] == "passphrase:2"
    passed._release()


def test_identification_never_travels_in_a_passed_proxy(server: Running) -> None:
    thing = Thing()
    proxy = identified(server, thing, "one")
    target = identified(server, Thing(), "two")
    proxy.keep(target)
    assert thing.kept.__dict__["_core"].identification is None
    assert thing.kept.__dict__["_core"].validator is None
    with pytest.raises(ConnectionDeniedError):
        proxy.use()


def test_rebinding_stops_where_the_identification_is_not_accepted(server: Running) -> None:
    proxy = identified(server, Thing(), "wrong")
    with pytest.raises(ConnectionDeniedError, match="not accepted"):
        proxy.adapter.rebindURI()


def test_what_is_proved_is_asked_again_of_each_connection(server: Running) -> None:
    proxy = identified(server, Thing(), "one")
    proxy.who()
    proxy._setIdentification("wrong")
    denied(proxy)
    proxy._setIdentification("two")
    assert proxy.who()[0] == "passphrase:2"


def test_proxy_logs_in_anew_at_the_server_that_took_the_place_of_the_old_one() -> None:
    """It has another salt, so the old salted key does not fit."""
    with running_daemon() as first:
        first.daemon.setAllowedIdentifications(["one"])
        thing = Thing()
        proxy = identified(first, thing, "one")
        assert proxy.who()[0] == "passphrase:1"
        port = first.port
    settings = gpyro.config.snapshot()
    with gpyro.Daemon(
        host="127.0.0.1", port=port, norange=True, config=settings, identifications=["one"]
    ) as daemon:
        loop = gevent.spawn(daemon.requestLoop)
        second = Thing()
        second.setGUID(proxy.objectID)
        daemon.connect(second)
        assert proxy.who()[0] == "passphrase:1"
        proxy._release()
        daemon.shutdown()
        loop.get(timeout=10)


# -- beyond this machine ---------------------------------------------------------------------------------------


def test_daemon_open_to_others_starts_with_identifications_and_keeps_them() -> None:
    with pytest.raises(DaemonError, match=r"identifications=\[\.\.\.\]") as info:
        gpyro.Daemon(host="0.0.0.0", port=0, norange=True)
    for way_out in ("PYROSSL", "127.0.0.1", "unix socket", "insecure_no_auth=True"):
        assert way_out in str(info.value)
    with gpyro.Daemon(host="0.0.0.0", port=0, norange=True, identifications=[KEY]) as daemon:
        with pytest.raises(DaemonError, match="nobody would have to identify himself"):
            daemon.setAllowedIdentifications(None)
        daemon.setNewConnectionValidator(auth.DefaultConnValidator())
        with pytest.raises(DaemonError, match="nobody would have to identify himself"):
            daemon.setAllowedIdentifications(None)
        daemon.setAllowedIdentifications([])
        loop = gevent.spawn(daemon.requestLoop)
        proxy = gpyro.Proxy(f"PYRO://127.0.0.1:{daemon.port}/{daemon.connect(Thing()).objectID}")
        denied(proxy)
        daemon.shutdown()
        loop.get(timeout=10)
    with gpyro.Daemon(host="0.0.0.0", port=0, norange=True, insecure_no_auth=True) as daemon:
        daemon.setAllowedIdentifications([KEY])
        daemon.setAllowedIdentifications(None)
