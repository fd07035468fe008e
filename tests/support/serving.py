"""A daemon in a background thread, an object with methods of each kind, a name server that only remembers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent

import gpyro
import gpyro.configuration

__all__ = [
    "SECONDS",
    "FakeNameServer",
    "Served",
    "Thing",
    "count_descriptors",
    "count_threads",
    "serve",
    "settings",
    "wait_until",
]

#: What takes longer than this hangs.
SECONDS = 20.0


class FakeNameServer:
    """Keeps names, and the order in which they came and went."""

    def __init__(self) -> None:
        self.names: dict[str, gpyro.PyroURI] = {}
        self.history: list[str] = []

    def register(self, name: str, uri: gpyro.PyroURI) -> None:
        if name in self.names:
            raise gpyro.errors.NamingError(f"name already exists: {name}")
        self.names[name] = uri
        self.history.append(f"+{name}")

    def unregister(self, name: str) -> None:
        if name not in self.names:
            raise gpyro.errors.NamingError(f"name not found: {name}")
        del self.names[name]
        self.history.append(f"-{name}")

    def resolve(self, name: str) -> gpyro.PyroURI:
        if name not in self.names:
            raise gpyro.errors.NamingError(f"name not found: {name}")
        return self.names[name]


class Thing(gpyro.ObjBase):
    """Methods that return at once, that wait through gevent, that wait in a thread, and that hold the hub."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.calls = 0
        self.finished: list[str] = []

    def echo(self, value: Any) -> Any:
        self.calls += 1
        return value

    def nap(self, seconds: float) -> str:
        self.entered.set()
        gevent.sleep(seconds)
        self.finished.append("nap")
        return "slept"

    @gpyro.offload
    def block(self, seconds: float) -> str:
        self.entered.set()
        time.sleep(seconds)  # blocks its thread: that is what the tests look at
        self.finished.append("block")
        return "blocked"

    def hold(self, seconds: float) -> str:
        time.sleep(seconds)  # blocks its thread: that is what the tests look at
        return "held"

    def ask(self, uri: str, value: Any) -> Any:
        other = gpyro.Proxy(uri)
        try:
            return other.echo(value)
        finally:
            other._release()

    @gpyro.offload
    def ask_in_thread(self, uri: str, value: Any) -> Any:
        return self.ask(uri, value)

    def end(self) -> str:
        daemon = self.getDaemon()
        assert daemon is not None
        daemon.shutdown()
        return "ending"


class Served:
    """What `serve` gives."""

    def __init__(self, daemon: gpyro.Daemon, thing: Thing, thread: threading.Thread) -> None:
        self.daemon = daemon
        self.thing = thing
        self.thread = thread
        self.uri = str(daemon.uri_of(thing))
        self.port = daemon.port

    def proxy(self) -> Any:
        return gpyro.Proxy(self.uri)


def settings(**items: object) -> gpyro.configuration.Settings:
    """Return the process's settings with these changed."""
    return gpyro.config.snapshot(**items)


@contextmanager
def serve(
    name_server: object = None, name: str | None = None, port: int = 0, host: str = "",
    loop: Callable[[gpyro.Daemon], None] | None = None, **items: Any,
) -> Iterator[Served]:  # fmt: skip
    """Serve a Thing from a background thread; everything has ended when the block is left."""
    daemon = gpyro.Daemon(host=host, port=port, norange=True, config=settings(**items))
    if name_server is not None:
        daemon.useNameServer(name_server)
    thing = Thing()
    daemon.connect(thing, name)
    run = loop or (lambda daemon: daemon.requestLoop())
    thread = threading.Thread(target=run, args=(daemon,), name="server", daemon=True)
    thread.start()
    try:
        yield Served(daemon, thing, thread)
    finally:
        daemon.shutdown(True)
        thread.join(SECONDS)
        assert not thread.is_alive()


def wait_until(condition: Callable[[], object]) -> None:
    """Look again and again, with this thread's hub running, until it holds; an error after SECONDS."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        gevent.sleep(0.005)


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def count_threads() -> int:
    return len(os.listdir("/proc/self/task"))
