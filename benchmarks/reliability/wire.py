"""A caller by hand: what it says until it is let in, with or without a login."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

import gevent.socket

from gpyro.auth import Key, Seal
from gpyro.wire.frames import PREFACE, FrameType, build_frame, build_target
from gpyro.wire.hello import Greeting, Mechanism
from gpyro.wire.login import ClientLogin, raw_opening
from gpyro.wire.native import Machine, Side

__all__ = ["KEY", "WRONG", "Caller", "hello", "login_hello", "request"]

#: The one who may log in, whose verifier the server has, and one that only pretends.
KEY = Key("bench", bytes(range(32)))
WRONG = Key("bench", bytes(32))
SECONDS = 30.0
RST = struct.pack("ii", 1, 0)


def hello() -> bytes:
    """Return preface and HELLO of a caller that brings no identification."""
    return PREFACE + b"".join(build_frame(FrameType.HELLO, body=Greeting(max_message_bytes=1 << 22).build()))


def login_hello(login: ClientLogin) -> bytes:
    """Return preface and HELLO of a caller that means to log in."""
    greeting = Greeting(
        mechanism=Mechanism.GPYRO_AUTH_1, max_message_bytes=1 << 22, fields=login.hello_fields()
    )  # fmt: skip
    return PREFACE + b"".join(build_frame(FrameType.HELLO, body=greeting.build()))


def request(object_id: str, method: str, body: bytes = b"\x91\x01", request_id: int = 1) -> bytes:
    """Return a REQUEST with one argument."""
    return b"".join(build_frame(
        FrameType.REQUEST, 0, request_id, build_target(object_id, method), body
    ))  # fmt: skip


class Caller:
    """A connection that waits through gevent and speaks by hand; `source` is the address that it comes from."""

    def __init__(self, port: int, source: str = "") -> None:
        self.sock = gevent.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.settimeout(SECONDS)
        if source:
            self.sock.bind((source, 0))
        # gevent's own connect asks its thread pool about the address.
        code = self.sock._sock.connect_ex(("127.0.0.1", port))
        if code == errno.EINPROGRESS:
            gevent.socket.wait_write(self.sock.fileno(), SECONDS)
            code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.sock.close()
            raise OSError(code, "connect failed")
        self._machine = Machine(Side.CLIENT)
        self._frames: list[Any] = []
        self.seal: Seal | None = None

    def frame(self) -> tuple[int, bytes, Any]:
        """Return type, body and all of the next frame.

        Raises:
            EOFError: the server has closed.
        """
        while not self._frames:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self._machine.receive_data(data)
            while frames := self._machine.next_frames():
                self._frames += frames
        frame = self._frames.pop(0)
        return frame[0], bytes(frame[4]), frame

    def greet(self) -> bool:
        """Say hello; tells whether that was enough to be let in."""
        self._machine.sending(FrameType.HELLO)
        self.sock.sendall(hello())
        return self.frame()[0] == FrameType.WELCOME

    def be_challenged(self, key: Key = KEY) -> bytes:
        """Say hello with the wish to log in; returns the PROOF frame that comes next."""
        login = ClientLogin(key)
        opening = login_hello(login)
        self._machine.sending(FrameType.HELLO)
        self.sock.sendall(opening)
        kind, body, frame = self.frame()
        if kind != FrameType.CHALLENGE:
            raise EOFError
        login.read_challenge(Greeting.parse(body))
        proof = login.build_proof(opening, raw_opening(frame), login.salted_key())
        self._login = login
        self._machine.sending(FrameType.PROOF)
        return b"".join(build_frame(FrameType.PROOF, body=proof))

    def log_in(self, key: Key = KEY) -> bool:
        """Log in; tells whether that was accepted."""
        self.sock.sendall(self.be_challenged(key))
        kind, body, _ = self.frame()
        if kind != FrameType.WELCOME:
            return False
        self.seal, receiving = self._login.check_welcome(body)
        self._machine.expect_seals(receiving)
        return True

    def send(self, frame: bytes) -> None:
        """Send a frame, with its code where the connection is sealed."""
        self.sock.sendall(frame + self.seal.sign(frame) if self.seal is not None else frame)

    def close(self, reset: bool = False) -> None:
        """Close; `reset` lets the server see a reset in place of an end."""
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
        self.sock.close()
