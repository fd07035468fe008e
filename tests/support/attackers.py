"""Callers by hand: what one says until it is let in, with or without a login, and frames that are wrong.

For the tests, which count what becomes of them, and for `python -m benchmarks.reliability`, which comes with more.
"""

from __future__ import annotations

import errno
import random
import socket
import struct
from typing import Any

import gevent.socket

from gpyro.auth import Key, Seal
from gpyro.wire.frames import (
    HEADER,
    PREFACE,
    Annotation,
    FrameType,
    build_chunks,
    build_extras,
    build_frame,
    build_target,
)
from gpyro.wire.hello import Field, Greeting, Mechanism, build_denial, build_fields
from gpyro.wire.login import ClientLogin, raw_opening
from gpyro.wire.native import Machine, Side
from tests.support.frames import next_frame

__all__ = ["KEY", "WRONG", "Caller", "hello", "login_hello", "mutate", "real_frames", "request"]

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
        frame = next_frame(self.sock, self._machine, self._frames)
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


# -- frames that are wrong -----------------------------------------------------------------------------------


def real_frames(object_id: str) -> list[bytes]:
    """Return a sound frame of every type, and each kind of content that one may have."""
    target = build_target(object_id, "echo")
    greeting = Greeting(fields={Field.AGENT: b"x", Field.NONCE: bytes(32)}).build()
    call = build_frame(FrameType.REQUEST, 0, 7, target, b"\x91\x01")
    frames = [
        *(build_frame(kind, body=greeting) for kind in (FrameType.HELLO, FrameType.WELCOME, FrameType.CHALLENGE)),
        build_frame(FrameType.DENY, body=build_denial(3, "no")),
        build_frame(FrameType.PROOF, body=build_fields({Field.PROOF: bytes(32)})),
        build_frame(FrameType.REQUEST, 0, 1, target, b"\x91\x01"),
        build_frame(FrameType.ONEWAY, 0, 3, target, b"\x91\xa3abc"),
        build_frame(FrameType.REQUEST, 0, 5, target, b"\x91\xc4\x03abc", build_extras(
            {Annotation.DEADLINE: bytes((0, 0, 1, 0)), Annotation.TRACE: b"t" * 20}, [b"part", b""])),
        *(build_frame(kind, 0, 9) for kind in (FrameType.REPLY, FrameType.ERROR, FrameType.CANCEL)),
        *(build_frame(kind, 0, 9) for kind in (FrameType.PING, FrameType.PONG, FrameType.GOAWAY)),
        *(build_frame(kind) for kind in (FrameType.STREAM_ITEM, FrameType.STREAM_END, FrameType.STREAM_CREDIT)),
        *build_chunks(call, 7, 20),
    ]  # fmt: skip
    return [b"".join(frame) for frame in frames]


def mutate(frame: bytes, dice: random.Random) -> bytes:
    """Return the frame with something wrong: or untouched, which is wrong where it comes in the wrong state."""
    data = bytearray(frame)
    what = dice.randrange(8)
    if what == 0:
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
    elif what == 1:
        del data[dice.randrange(1, len(data)) :]
    elif what == 2:
        at = dice.choice((1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15))
        data[at] ^= 1 << dice.randrange(8)
    elif what == 3:
        data[0] = dice.randrange(256)
    elif what == 4:
        at = dice.randrange(len(data))
        data[at:at] = dice.randbytes(dice.randint(1, 40))
    elif what == 5:
        data = bytearray(dice.randbytes(dice.randint(1, 80)))
    elif what == 6 and len(data) > HEADER.size:
        # The lengths are right, and what they are of is not.
        data[HEADER.size :] = dice.randbytes(len(data) - HEADER.size)
    return bytes(data)
