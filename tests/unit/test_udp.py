"""A UDP endpoint by itself: asking, serving, what is too long, errors of others, its end."""

from __future__ import annotations

import errno
import gc
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import gevent.event
import pytest

from gpyro import hub
from gpyro.errors import DaemonError, ProtocolError

BROADCAST = "127.255.255.255"
SECONDS = 20.0


@contextmanager
def pair() -> Iterator[tuple[hub.UdpEndpoint, hub.UdpEndpoint]]:
    """A serving endpoint on the broadcast address of loopback, and an asking one."""
    serving, asking = hub.serve_udp(BROADCAST, 0), hub.ask_udp()
    try:
        yield serving, asking
    finally:
        serving.close()
        asking.close()


def test_broadcast_is_heard_and_answered() -> None:
    with pair() as (serving, asking):
        assert asking.send(b"where?", BROADCAST, serving.port)
        heard = serving.receive(SECONDS)
        assert heard is not None
        assert (heard.data, heard.host) == (b"where?", "127.0.0.1")
        serving.send(b"here", heard.host, heard.port)
        answer = asking.receive(SECONDS)
        assert answer is not None
        assert (answer.data, answer.port) == (b"here", serving.port)


def test_datagrams_are_delivered_to_a_callback_in_the_hub() -> None:
    with pair() as (serving, asking):
        heard: list[bytes] = []
        done = gevent.event.Event()

        def note(datagram: hub.Datagram) -> None:
            assert hub.is_hub_greenlet()
            heard.append(datagram.data)
            if len(heard) == 40:
                done.set()

        serving.deliver(note)
        for number in range(40):
            asking.send(b"%d" % number, BROADCAST, serving.port)
        assert done.wait(SECONDS)
        assert heard == [b"%d" % number for number in range(40)]


def test_callback_that_raises_is_reported_and_the_next_datagram_comes(capfd: pytest.CaptureFixture[str]) -> None:
    with pair() as (serving, asking):
        heard: list[bytes] = []
        done = gevent.event.Event()

        def fail(datagram: hub.Datagram) -> None:
            heard.append(datagram.data)
            if len(heard) == 1:
                raise ValueError("as told")
            done.set()

        serving.deliver(fail)
        for data in (b"1", b"2"):
            asking.send(data, BROADCAST, serving.port)
        assert done.wait(SECONDS)
    assert "ValueError: as told" in capfd.readouterr().err


def test_nothing_comes_and_the_time_is_over() -> None:
    with pair() as (serving, _):
        assert serving.receive(0) is None
        assert serving.receive(0.01) is None


def test_datagram_that_is_too_long_is_dropped_and_the_next_one_is_taken() -> None:
    with pair() as (serving, _), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        plain.sendto(bytes(hub.MAX_DATAGRAM_BYTES + 1), (BROADCAST, serving.port))
        plain.sendto(bytes(hub.MAX_DATAGRAM_BYTES), (BROADCAST, serving.port))
        heard = serving.receive(SECONDS)
        assert heard is not None
        assert len(heard.data) == hub.MAX_DATAGRAM_BYTES
        assert serving.dropped == 1


def test_an_error_that_an_earlier_datagram_caused_does_not_end_it() -> None:
    with pair() as (_, asking):
        # Only a connected socket is told; the one that listened there is gone.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            asking._sock.connect(other.getsockname())
            gone = other.getsockname()[1]
        asking.send(b"anybody?", "127.0.0.1", gone)
        assert asking.receive(0.05) is None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", gone))
            asking.send(b"again", "127.0.0.1", gone)
            data, address = other.recvfrom(100)
            other.sendto(data, address)
            heard = asking.receive(SECONDS)
            assert heard is not None
            assert heard.data == b"again"


def test_second_server_on_a_port_is_refused_unless_both_share_it() -> None:
    first = hub.serve_udp(BROADCAST, 0)
    for shared in (False, True):
        with pytest.raises(OSError, match="Address already in use") as error:
            hub.serve_udp(BROADCAST, first.port, shared=shared)
        assert error.value.errno == errno.EADDRINUSE
    first.close()
    first = hub.serve_udp(BROADCAST, 0, shared=True)
    second = hub.serve_udp(BROADCAST, first.port, shared=True)
    asking = hub.ask_udp()
    try:
        asking.send(b"all?", BROADCAST, first.port)
        for one in (first, second):
            heard = one.receive(SECONDS)
            assert heard is not None
            assert heard.data == b"all?"
    finally:
        for one in (first, second, asking):
            one.close()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "::1"])
def test_host_without_an_ipv4_address_is_refused(host: str) -> None:
    with pytest.raises(ProtocolError, match=host):
        hub.serve_udp(host, 0)


def test_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(OSError, match="Cannot assign"):
        hub.serve_udp("192.0.2.77", 0)


def test_repr_tells_its_state() -> None:
    endpoint = hub.serve_udp(BROADCAST, 0)
    where = f"<UdpEndpoint {BROADCAST}:{endpoint.port}"
    assert repr(endpoint) == f"{where}, open, 0 dropped>"
    endpoint.deliver(lambda datagram: None)
    assert repr(endpoint) == f"{where}, delivering, 0 dropped>"
    endpoint.close()
    assert repr(endpoint) == f"{where}, closed, 0 dropped>"


def test_closed_endpoint_neither_sends_receives_nor_delivers() -> None:
    endpoint = hub.ask_udp()
    endpoint.close()
    endpoint.close()
    assert endpoint.receive(1) is None
    with pytest.raises(OSError, match="closed"):
        endpoint.send(b"x", BROADCAST, 9)
    with pytest.raises(DaemonError, match="cannot deliver"):
        endpoint.deliver(lambda datagram: None)


def test_the_hub_itself_may_not_wait_for_a_datagram() -> None:
    endpoint = hub.ask_udp()
    seen: list[object] = []

    def wait() -> None:
        try:
            endpoint.receive(1)
        except ProtocolError as exc:
            seen.append(str(exc))

    hub.current_state().soon(wait)
    hub.run_pending()
    endpoint.close()
    assert seen == ["cannot wait for a datagram inside a callback of the hub; spawn a greenlet for it"]


def test_endpoint_that_delivers_ends_with_the_thread_of_its_hub() -> None:
    endpoint = hub.serve_udp(BROADCAST, 0)
    thread = threading.Thread(target=endpoint.deliver, args=[lambda datagram: None])
    thread.start()
    thread.join(SECONDS)
    gc.collect()
    assert ", closed," in repr(endpoint)
    hub.serve_udp(BROADCAST, endpoint.port).close()


def test_endpoint_is_closed_from_another_thread() -> None:
    endpoint = hub.serve_udp(BROADCAST, 0)
    endpoint.deliver(lambda datagram: None)
    thread = threading.Thread(target=endpoint.close)
    thread.start()
    thread.join(SECONDS)
    hub.run_pending()
    assert ", closed," in repr(endpoint)


@pytest.mark.parametrize("delivers", [False, True])
def test_forked_child_has_let_go_and_the_parent_goes_on(delivers: bool) -> None:
    with pair() as (serving, asking):
        heard: list[bytes] = []
        if delivers:
            serving.deliver(lambda datagram: heard.append(datagram.data))
        child = os.fork()
        if child == 0:
            os._exit(0 if ", closed," in repr(serving) and ", closed," in repr(asking) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        asking.send(b"still?", BROADCAST, serving.port)
        if delivers:
            with gevent.Timeout(SECONDS):
                while not heard:
                    gevent.sleep(0.001)
        else:
            assert serving.receive(SECONDS) is not None
