"""Callers that come and go by the thousand, some with a reset; nothing of them stays."""

from __future__ import annotations

import gc
import socket
from typing import Any

import gevent
import pytest

import gpyro
from gpyro import hub
from gpyro._daemon.entrance import Attempt
from gpyro._hub.stream import Stream
from gpyro.connection import Connection
from tests.support.attackers import KEY, RST
from tests.support.certificates import authority
from tests.support.servers import SECONDS, Bench, connection_of, eventually, nothing_left, running_daemon

CALLERS = 8


def count_of(*kinds: type) -> dict[str, int]:
    """Return how many objects of these classes there are."""
    gc.collect()
    objects = gc.get_objects()
    return {kind.__name__: sum(type(item) is kind for item in objects) for kind in kinds}


class Churn:
    """Callers in greenlets that connect, call once, and go."""

    def __init__(self, uri: str, login: bool, resets: bool, tls: Any = None) -> None:
        self._uri, self._login, self._resets, self._tls = uri, login, resets, tls
        self.done = 0

    def run(self, count: int) -> None:
        jobs = [gevent.spawn(self._call, count // CALLERS) for _ in range(CALLERS)]
        gevent.joinall(jobs, timeout=SECONDS * 2, raise_error=True)

    def _call(self, count: int) -> None:
        for number in range(count):
            proxy = gpyro.Proxy(self._uri, tls=self._tls) if self._tls is not None else gpyro.Proxy(self._uri)
            if self._login:
                proxy._setIdentification(KEY)
            assert proxy.echo(number) == number
            if self._resets and number % 5 == 0:
                connection_of(proxy).sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
                connection_of(proxy).close()
            proxy._release()
            self.done += 1


def check_nothing_stays(service: Any, churn: Churn, count: int) -> None:
    """Run, and see that what there is of each kind is what there was after the first few."""
    churn.run(CALLERS * 2)
    state = hub.current_state()
    eventually(lambda: not service._connections and not state.closing)
    kinds = (Connection, Stream, Attempt)
    before, scheduled = count_of(*kinds), state._scheduled
    churn.run(count)
    assert churn.done == count + CALLERS * 2
    eventually(lambda: not service._connections and not state.closing)
    eventually(lambda: state._scheduled <= scheduled)
    # Of the last few one may be held yet by a frame that a switch between greenlets made an object of, and threads
    # of other tests in this process may be about to let go of theirs.
    eventually(lambda: all(number <= before[kind] + 2 for kind, number in count_of(*kinds).items()))
    entrance = service.entrance
    assert not entrance._waiting and not entrance.sources._connections and not entrance.sources._unauthenticated
    assert len(entrance.sources) == 0


@pytest.mark.parametrize("resets", [False, True], ids=["closed", "some reset"])
@pytest.mark.parametrize("login", [False, True], ids=["open", "with a login"])
def test_a_thousand_callers_leave_nothing_behind(login: bool, resets: bool) -> None:
    with running_daemon() as server:
        if login:
            server.daemon.setAllowedIdentifications([KEY.verifier()])
        uri = server.connect(Bench())
        check_nothing_stays(server.service, Churn(uri, login, resets), 1000)


def test_a_hundred_callers_inside_tls_leave_nothing_behind() -> None:
    made = authority().make("localhost", "localhost", "127.0.0.1")
    tls = gpyro.TLSConfig(certificate=made.both)
    with nothing_left():
        daemon = gpyro.Daemon("PYROSSL", host="127.0.0.1", port=0, norange=True, tls=tls)
        loop = gevent.spawn(daemon.requestLoop)
        try:
            uri = str(daemon.connect(Bench()))
            client = gpyro.TLSConfig(ca=authority().pem)
            check_nothing_stays(daemon._service, Churn(uri, False, True, client), 104)
        finally:
            daemon.shutdown(True)
            loop.get(timeout=SECONDS)
        del daemon, loop
