"""Thousands of frames that are wrong, in every state of a connection, while an honest client calls."""

from __future__ import annotations

import random
from typing import Any

import gevent
import pytest

import gpyro
from gpyro.wire.native import State
from tests.support.attackers import KEY, Caller, hello, mutate, real_frames, request
from tests.support.servers import SECONDS, eventually, running_daemon

FRAMES, CALLERS = 2500, 25


class Target(gpyro.ObjBase):
    """Counts the calls of those who were let in, and of those who were not."""

    def __init__(self, wants_login: bool) -> None:
        super().__init__()
        self._wants_login = wants_login
        self.honest = self.executed = self.early = 0

    def echo(self, value: Any = None) -> Any:
        caller = gpyro.current_call.caller
        self.executed += 1
        if caller.machine.state not in (State.READY, State.LEAVING) or (self._wants_login and not caller.identity):
            self.early += 1
        return value

    def note(self) -> None:
        self.honest += 1


class Attack:
    """Callers that speak garbage until all of it has been sent."""

    def __init__(self, port: int, object_id: str, login: bool) -> None:
        self._port, self._object_id, self._login = port, object_id, login
        self._dice = random.Random(7)
        self._alphabet = real_frames(object_id)
        self.sent = self.connections = 0

    def call_on(self, number: int) -> None:
        while self.sent < FRAMES:
            caller = Caller(self._port)
            self.connections += 1
            try:
                self._open(caller, number % 2 == 0)
                self._speak(caller)
            except (OSError, EOFError):
                pass
            finally:
                caller.close(reset=self._dice.random() < 0.2)

    def _open(self, caller: Caller, greets: bool) -> None:
        if greets and self._login:
            caller.log_in()
        elif greets:
            caller.greet()
        elif self._dice.random() < 0.5:
            caller.sock.sendall(hello()[:6])
        elif self._login and self._dice.random() < 0.5:
            caller.be_challenged()

    def _speak(self, caller: Caller) -> None:
        dice = self._dice
        for _ in range(10):
            burst = [mutate(dice.choice(self._alphabet), dice) for _ in range(dice.choice((1, 1, 2, 5)))]
            if dice.random() < 0.2:
                burst.insert(dice.randrange(len(burst) + 1), request(self._object_id, "echo"))
            self.sent += len(burst)
            for frame in burst:
                caller.send(frame)
            gevent.sleep(0)


@pytest.mark.parametrize("login", [True, False], ids=["with a login", "without"])
def test_garbage_harms_nobody_but_who_sends_it(login: bool) -> None:
    with running_daemon() as server:
        if login:
            server.daemon.setAllowedIdentifications([KEY.verifier()])
        target = Target(login)
        proxy = server.proxy(target)
        if login:
            proxy._setIdentification(KEY)
        attack = Attack(server.port, target.GUID(), login)
        jobs = [gevent.spawn(attack.call_on, number) for number in range(CALLERS)]
        calls = 0
        while not all(job.ready() for job in jobs):
            proxy.note()
            calls += 1
        gevent.joinall(jobs, timeout=SECONDS, raise_error=True)
        assert attack.sent >= FRAMES and attack.connections > CALLERS
        assert target.honest >= calls > 0
        assert target.early == 0
        assert target.executed > 0, "none of the frames was sound enough to try"
        eventually(lambda: len(server.connections) == 1)
        entrance = server.service.entrance
        assert not entrance._waiting and not entrance.sources._unauthenticated
        assert len(entrance.sources._connections) == 1
        proxy.note()
        del jobs
