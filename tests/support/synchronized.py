"""Synchronized objects that wait inside where they are told to, and others that pass calls on to them."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event

import gpyro
from gpyro._connection.synchronizing import _lock_of
from tests.support.servers import SECONDS

__all__ = [
    "FOR_EVER",
    "OTHER_PROCESS",
    "Account",
    "Hop",
    "Relay",
    "error_of",
    "is_free",
    "spawn",
    "value_of",
    "waiting",
]

#: Longer than any test may last: what is told of is told of because it was found, and not when time was up.
FOR_EVER = 3600.0


class Account(gpyro.SynchronizedObjBase):
    """Notes how many are inside at once, and waits inside where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = 0
        self.inside = 0
        self.most = 0
        self.started: list[Any] = []
        self.go = Event()
        self.gate = Event()
        self.gate.set()
        self.hops = 0

    def deposit(self, amount: int) -> int:
        self.started.append(amount)
        self.inside += 1
        self.most = max(self.most, self.inside)
        before = self.sum
        self.gate.wait()
        for _ in range(3):
            gevent.sleep(0)
        self.sum = before + amount
        self.inside -= 1
        return self.sum

    def note(self, value: Any) -> None:
        self.started.append(value)

    def wait(self, value: Any = None) -> Any:
        self.started.append(value)
        self.go.wait()
        return value

    @gpyro.cancellable
    def wait_cancellably(self) -> None:
        self.wait("cancellably")

    def fail(self) -> None:
        raise LookupError("as told")

    def transfer(self, other: str, amount: int) -> int:
        """Take it from here, wait for `go`, and put it there."""
        self.sum -= amount
        self.started.append("transfer")
        self.go.wait()
        return int(gpyro.Proxy(other).deposit(amount))

    def fan_out(self, relay: str, home: str, count: int) -> int:
        """Have so many deposits made here at once, each by way of another object."""

        def one() -> None:
            gpyro.Proxy(relay).relay(home, "deposit", 1)

        greenlets = [gevent.spawn(contextvars.copy_context().run, one) for _ in range(count)]
        gevent.joinall(greenlets, raise_error=True)
        return self.sum

    def through(self, relay: str, home: str, method: str, *args: Any) -> Any:
        return gpyro.Proxy(relay).relay(home, method, *args)

    def hop(self, ring: list[str], left: int) -> int:
        """Call the next one in the ring, until nothing is left."""
        self.hops += 1
        if left == 0:
            return 0
        return 1 + int(gpyro.Proxy(ring[0]).hop([*ring[1:], ring[0]], left - 1))


class Relay(gpyro.ObjBase):
    """Passes calls on."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: list[tuple[bytes, ...]] = []
        self.go = Event()
        self.greenlets: list[Any] = []

    def relay(self, uri: str, method: str, *args: Any) -> Any:
        return getattr(gpyro.Proxy(uri), method)(*args)

    def relay_without_context(self, uri: str, method: str, *args: Any) -> Any:
        return gevent.spawn(self.relay, uri, method, *args).get()

    def relay_oneway(self, uri: str, method: str, *args: Any) -> None:
        proxy = gpyro.Proxy(uri)
        proxy._setOneway(method)
        getattr(proxy, method)(*args)
        proxy._release()

    def relay_and_return(self, uri: str, method: str, *args: Any) -> None:
        """Return while the call goes on in a greenlet that descends from this one."""
        run = contextvars.copy_context().run
        self.greenlets.append(gevent.spawn(run, self.relay, uri, method, *args))
        self.go.wait()

    def remember(self, *ignored: Any) -> None:
        call = gpyro.current_call._call()
        assert call is not None
        self.paths.append(call.path)
        self.go.wait()


class Hop(gpyro.ObjBase):
    def hop(self, ring: list[str], left: int) -> int:
        return 0 if left == 0 else 1 + int(gpyro.Proxy(ring[0]).hop([*ring[1:], ring[0]], left - 1))


def waiting(account: object) -> int:
    return len(_lock_of(account).queue)


def is_free(account: object) -> bool:
    lock = _lock_of(account)
    return not lock.inside and not lock.queue


def spawn(function: Callable[..., Any], *args: Any) -> Any:
    """Call it in a greenlet whose error is for whoever asks, and not for stderr."""

    def run() -> Any:
        try:
            return function(*args), None
        except Exception as exc:
            return None, exc

    return gevent.spawn(run)


def value_of(greenlet: Any) -> Any:
    value, error = greenlet.get(timeout=SECONDS)
    assert error is None, repr(error)
    return value


def error_of(greenlet: Any) -> Exception:
    value, error = greenlet.get(timeout=SECONDS)
    assert isinstance(error, Exception), f"it returned {value!r}"
    return error


#: A process with such an object; it prints its address.
OTHER_PROCESS = """
import gevent, gpyro
from gevent.event import Event
class Other(gpyro.SynchronizedObjBase):
    def hop(self, ring, left):
        return 0 if left == 0 else 1 + gpyro.Proxy(ring[1]).hop(ring[::-1], left - 1)
    def deposit(self, amount):
        return amount
    def transfer(self, uri, amount):
        proxy = gpyro.Proxy(uri)
        proxy.is_there()
        return proxy.deposit(amount)
daemon = gpyro.Daemon(port=0, norange=True, config=gpyro.config.snapshot(synchronized_wait_seconds=0.3))
print(daemon.connect(Other()), flush=True)
daemon.requestLoop()
"""
