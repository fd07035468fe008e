"""Daemons that run for the length of a block, peers that speak the wire by hand, and a look at what is left over.

The daemon is served by a greenlet of this process, so that a test can look at both ends of a connection; where a
process has to die it is a child.
"""

from __future__ import annotations

import functools
import gc
import os
import signal
import socket as real_socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import gevent.socket
import greenlet
from gevent.event import Event

import gpyro
from gpyro import hub
from gpyro.connection import Connection
from gpyro.wire.hello import Greeting, parse_denial
from gpyro.wire.native import (
    HEADER,
    PREFACE,
    Frame,
    FrameType,
    Machine,
    Side,
    build_frame,
    build_target,
)
from tests.support.frames import next_frame

__all__ = [
    "SECONDS",
    "Bench",
    "RawPeer",
    "Running",
    "child",
    "child_server",
    "connection_of",
    "denial_in",
    "eventually",
    "fake_server",
    "free_port",
    "hello",
    "nothing_left",
    "running_daemon",
]

#: What takes longer than this hangs.
SECONDS = 20.0


class Bench(gpyro.ObjBase):
    """Methods that return at once, wait to be told, fail, and note what became of them."""

    def __init__(self) -> None:
        super().__init__()
        self.go = Event()
        self.entered = 0
        self.finished = 0
        self.unwound = 0
        self.cancelled = 0
        self.noted: list[Any] = []

    def echo(self, value: Any = None) -> Any:
        return value

    def note(self, value: Any) -> None:
        self.noted.append(value)

    def nap(self, seconds: float = 0.0, value: Any = None) -> Any:
        gevent.sleep(seconds)
        return value

    def wait(self, value: Any = None) -> Any:
        """Wait for `go`, and count how that ended."""
        self.entered += 1
        try:
            self.go.wait()
            self.finished += 1
            return value
        except gpyro.errors.CallCancelled:
            self.cancelled += 1
            raise
        finally:
            self.unwound += 1

    @gpyro.cancellable
    def wait_cancellably(self) -> None:
        self.wait()

    def watch(self) -> str:
        """Go on until the caller does not want it any more."""
        self.entered += 1
        while not gpyro.current_call.cancelled:
            gevent.sleep(0.002)
        self.finished += 1
        return "noticed"

    def fail(self, message: str = "as told") -> None:
        raise ValueError(message)

    def blob(self, size: int) -> bytes:
        return bytes(size)


class Running:
    """A daemon that is being served, and the proxies made for it."""

    def __init__(self, daemon: gpyro.Daemon) -> None:
        self.daemon = daemon
        self._proxies: list[Any] = []

    @property
    def port(self) -> int:
        return self.daemon.port

    @property
    def service(self) -> Any:
        return self.daemon._service

    @property
    def connections(self) -> list[Connection]:
        """The server's ends of its connections."""
        return list(self.service._connections)

    def is_listening(self) -> bool:
        return self.service._listener is not None

    def connect(self, obj: object, **options: Any) -> str:
        return str(self.daemon.connect(obj, **options))

    def proxy(self, target: object, **items: Any) -> Any:
        """Return a proxy for an object, connected to the daemon if it is not yet, or for an address."""
        uri = target if isinstance(target, (str, gpyro.PyroURI)) else self.connect(target)
        settings = gpyro.config.snapshot(**items) if items else None
        proxy = gpyro.Proxy(uri, config=settings)
        self._proxies.append(proxy)
        return proxy

    def attr_proxy(self, target: object) -> Any:
        uri = target if isinstance(target, (str, gpyro.PyroURI)) else self.connect(target)
        proxy = gpyro.AttrProxy(uri)
        self._proxies.append(proxy)
        return proxy

    def release(self) -> None:
        for proxy in self._proxies:
            proxy._release()

    def peer(self, greet: bool = True) -> RawPeer:
        return RawPeer(self.port, greet)


def connection_of(proxy: Any) -> Connection:
    """Return the caller's end of a proxy's connection."""
    core = proxy.__dict__["_core"]
    connection: Connection = core.calls._connection
    return connection


@contextmanager
def running_daemon(
    *, host: Any = "127.0.0.1", protocol: Any = "PYRO", tls: Any = None, allow: Any = None, pickle: Any = None,
    **items: Any,
) -> Iterator[Running]:  # fmt: skip
    """Serve on 127.0.0.1 from a greenlet; `items` are settings. Nothing may be left when the block has ended."""
    with nothing_left():
        settings = gpyro.config.snapshot(**items)
        daemon = gpyro.Daemon(
            protocol, host, 0, True, config=settings, tls=tls, allow=allow, pickle=pickle
        )
        loop = gevent.spawn(daemon.requestLoop)
        running = Running(daemon)
        service = running.service
        try:
            eventually(running.is_listening)
            yield running
        finally:
            running.release()
            daemon.shutdown(True)
            loop.get(timeout=SECONDS)
            del running, daemon, loop, service


@contextmanager
def nothing_left() -> Iterator[None]:
    """See that the block leaves neither descriptors nor greenlets nor running calls behind."""
    _look_at_new_objects_only()
    state = hub.current_state()
    gevent.sleep(0)  # The hub itself begins when it is first needed.
    gc.collect()
    descriptors, running, before = _count_descriptors(), state.in_flight, set(map(id, _greenlets()))
    yield
    deadline = time.monotonic() + 3
    while True:
        gevent.sleep(0)
        gc.collect()
        left = (_count_descriptors() - descriptors, state.in_flight - running)
        greenlets = [item for item in _greenlets() if id(item) not in before]
        if max(left) <= 0 and not greenlets:
            break
        stacks = "\n".join("".join(traceback.format_stack(item.gr_frame)) for item in greenlets)
        assert time.monotonic() < deadline, f"left over: descriptors, running calls {left}, greenlets\n{stacks}"
        gevent.sleep(0.01)
    assert not state.waiting_for_slot


@functools.cache
def _look_at_new_objects_only() -> None:
    """Leave the modules and all that was made before out of the collector's rounds, which are many here."""
    gc.collect()
    gc.freeze()


def _count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _greenlets() -> list[Any]:
    """Return those that have begun and not ended, but for workers that are kept for the next call."""
    idle = set(map(id, hub.current_state()._idle_workers))
    return [
        item for item in gc.get_objects()
        if isinstance(item, greenlet.greenlet) and item and not item.dead and id(item) not in idle
    ]  # fmt: skip


def eventually(condition: Callable[[], object], what: str = "it did not come to pass") -> None:
    """Look again and again, with the hub running, until it holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        gevent.sleep(0.001)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with real_socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


# -- peers by hand -------------------------------------------------------------------------------------------


class RawPeer:
    """A client that sends whatever bytes it is told to."""

    def __init__(self, port: int, greet: bool = True) -> None:
        # Connected by the system's own socket: gevent's asks its thread pool about the address.
        sock = real_socket.create_connection(("127.0.0.1", port))
        self.sock = gevent.socket.socket(fileno=sock.detach())
        self.sock.settimeout(SECONDS)
        self.machine = Machine(Side.CLIENT)
        self._frames: list[Frame] = []
        if greet:
            self.machine.sending(FrameType.HELLO)
            self.sock.sendall(hello())
            assert self.frame()[0] == FrameType.WELCOME

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_frame(self, kind: int, request_id: int = 0, **parts: Any) -> None:
        self.sock.sendall(b"".join(build_frame(kind, request_id=request_id, **parts)))

    def request(
        self, request_id: int, object_id: str, name: str, body: bytes = b"\x90", scope: int = 0, access: int = 0,
        kind: int = FrameType.REQUEST,
    ) -> None:  # fmt: skip
        self.send_frame(kind, request_id, target=build_target(object_id, name, scope, access), body=body)

    def frame(self) -> Frame:
        """Return the next frame.

        Raises:
            EOFError: the server has closed.
        """
        return next_frame(self.sock, self.machine, self._frames)

    def read_to_end(self) -> bytes:
        """Return all that the server says until it closes; a reset is an end too."""
        found = b""
        try:
            while data := self.sock.recv(65536):
                found += data
        except ConnectionResetError:
            pass
        return found


def hello() -> bytes:
    body = Greeting(runs=True, heartbeat_seconds=0, max_message_bytes=4 * 1024 * 1024, instance=bytes(16)).build()
    return PREFACE + HEADER.pack(FrameType.HELLO, 0, 0, 0, len(body), 0) + body


def denial_in(data: bytes) -> tuple[int, str]:
    """Return the reason that a server's DENY, after its preface, gives."""
    at = len(PREFACE)
    kind, _, _, _, size, _ = HEADER.unpack_from(data, at)
    assert kind == FrameType.DENY
    return parse_denial(data[at + HEADER.size : at + HEADER.size + size])


@contextmanager
def fake_server(answer: Callable[[Any], object]) -> Iterator[int]:
    """Listen, and let `answer(sock)` deal with each connection; yields the port."""
    listener = gevent.socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)
    greenlets = []

    def accept() -> None:
        while True:
            sock, _ = listener.accept()
            greenlets.append(gevent.spawn(_answer_and_close, answer, sock))

    acceptor = gevent.spawn(accept)
    try:
        yield listener.getsockname()[1]
    finally:
        gevent.killall([acceptor, *greenlets])
        listener.close()


def _answer_and_close(answer: Callable[[Any], object], sock: Any) -> None:
    with sock:
        answer(sock)


# -- children ------------------------------------------------------------------------------------------------


@contextmanager
def child(source: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program in a process of its own; it is ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", source, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


CHILD_SERVER = """
import gevent, gpyro
class Child(gpyro.ObjBase):
    def echo(self, value):
        return value
    def hang(self, uri):
        gpyro.Proxy(uri).note("hanging")
        gevent.sleep(3600)
daemon = gpyro.Daemon(host="127.0.0.1", port=0, norange=True)
print(daemon.connect(Child()), flush=True)
daemon.requestLoop()
"""


@contextmanager
def child_server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Serve an object from another process; yields that and the object's address."""
    with child(CHILD_SERVER) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
