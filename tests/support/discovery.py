"""Name servers that are found by broadcast on loopback, and who asks for them or answers by hand."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import gevent.socket
import pytest

import gpyro
from gpyro import hub, naming
from gpyro._naming.broadcast import (
    NONCE_BYTES,
    QUESTION_BYTES,
    BroadcastServer,
    Kind,
    build_answer,
    build_question,
    parse_answer,
    parse_question,
)
from gpyro.configuration import Settings
from tests.support.programs import free_port
from tests.support.settings import use_in_naming

__all__ = [
    "BROADCAST", "SECONDS", "URI", "Asker", "answer_to", "answering", "bc_port_of", "locate", "name_server",
    "own_settings", "responder", "tcp_port_of",
]  # fmt: skip

#: What only this machine hears.
BROADCAST = "127.255.255.255"
#: What takes longer than this hangs.
SECONDS = 20.0
URI = gpyro.PyroURI("PYRO://127.0.0.1:7766/:Pyro.NameServer")


def own_settings(path: Path, patch: pytest.MonkeyPatch) -> Settings:
    """Settings of one test alone: nobody is at the local places, and answers may take long on a busy machine."""
    settings = Settings(
        storage=str(path / "storage"), ns_port=free_port(), ns_bc_addr=BROADCAST, ns_bc_port=free_port(),
        ns2_bc_addr=BROADCAST, ns2_bc_port=free_port(), bc_timeout=SECONDS, bc_retries=0,
    )  # fmt: skip
    return use_in_naming(settings, patch)


@contextmanager
def name_server(identification: object = None, **options: Any) -> Iterator[naming.NameServerStarter]:
    """Run a name server in a thread of its own, at a free port, heard on loopback's broadcast address."""
    one = naming.NameServerStarter(identification)
    arguments: dict[str, Any] = {"port": 0, "bcaddr": BROADCAST, "dontlookupother": True, **options}
    thread = threading.Thread(target=one.start, kwargs=arguments)
    thread.start()
    try:
        assert one.waitUntilStarted(SECONDS)
        # Found by its broadcast or not at all.
        assert one._file is not None
        Path(one._file.path).unlink()
        yield one
    finally:
        one.shutdown()
        thread.join(SECONDS)
        assert not thread.is_alive()


@contextmanager
def responder(port: int, answers: Callable[[bytes], list[bytes]]) -> Iterator[list[bytes]]:
    """Hear questions and send what `answers(question)` returns; yields the questions."""
    heard: list[bytes] = []
    sock = gevent.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((BROADCAST, port))

    def respond() -> None:
        while True:
            data, address = sock.recvfrom(2048)
            heard.append(data)
            for answer in answers(data):
                sock.sendto(answer, address)

    greenlet = gevent.spawn(respond)
    try:
        yield heard
    finally:
        greenlet.kill()
        sock.close()


def answer_to(question: bytes, text: str, kind: Kind = Kind.ADDRESS) -> bytes:
    """Build the answer to the bytes of a question."""
    answer = build_answer(parse_question(question), kind, text)
    assert answer is not None
    return answer


@contextmanager
def answering(uri: object = URI, **options: Any) -> Iterator[BroadcastServer]:
    """Answer in this thread's hub."""
    one = BroadcastServer(gpyro.PyroURI(uri), BROADCAST, 0, **options)  # type: ignore[arg-type]
    one.start()
    try:
        yield one
    finally:
        one.close()


class Asker:
    """Sends whatever bytes to a broadcast server, and hears what comes back."""

    def __init__(self, port: int) -> None:
        self._endpoint = hub.ask_udp()
        self._port = port
        self.sent = self.received = 0

    def close(self) -> None:
        self._endpoint.close()

    def send(self, data: bytes) -> None:
        self.sent += len(data)
        self._endpoint.send(data, BROADCAST, self._port)

    def hear(self, seconds: float = SECONDS) -> bytes | None:
        datagram = self._endpoint.receive(seconds)
        if datagram is None:
            return None
        self.received += len(datagram.data)
        return datagram.data

    def ask(self, kind: Kind = Kind.LOCATION, size: int = QUESTION_BYTES) -> str | None:
        """Return the text of the answer, None if there is none before the next question's."""
        nonce = bytes(NONCE_BYTES - 1) + bytes([self.sent % 256])
        self.send(build_question(kind, nonce)[:size])
        data = self.hear(SECONDS if size == QUESTION_BYTES else 0.1)
        return None if data is None else parse_answer(data, nonce).text


def locate(**arguments: Any) -> naming.NameServerProxy:
    return naming.NameServerLocator().getNS(**arguments)


def tcp_port_of(one: naming.NameServerStarter) -> int:
    assert one.uri is not None
    assert one.uri.port is not None
    return one.uri.port


def bc_port_of(one: naming.NameServerStarter) -> int:
    assert one.bcserver is not None
    return one.bcserver.port
