"""R2: frames that are malformed, cut short, out of order, in every state of a connection."""

from __future__ import annotations

import random
from typing import Any

import gevent

from benchmarks.reliability.wire import Caller, hello, request
from gpyro.uri import PyroURI
from gpyro.wire.frames import (
    HEADER,
    Annotation,
    FrameType,
    build_chunks,
    build_extras,
    build_frame,
    build_target,
)
from gpyro.wire.hello import Field, Greeting, build_denial, build_fields

__all__ = ["Garbage", "mutate", "real_frames"]

#: Connections begun and frames sent by one caller before it connects anew, if it is let.
FRAMES_EACH = 20


def real_frames(object_id: str) -> list[bytes]:
    """Return a sound frame of every type, and each kind of content that one may have."""
    target = build_target(object_id, "echo")
    greeting = Greeting(fields={Field.AGENT: b"x", Field.NONCE: bytes(32)}).build()
    call = build_frame(FrameType.REQUEST, 0, 7, target, b"\x91\x01")
    frames = [
        *([build_frame(kind, body=greeting) for kind in (FrameType.HELLO, FrameType.WELCOME, FrameType.CHALLENGE)]),
        build_frame(FrameType.DENY, body=build_denial(3, "no")),
        build_frame(FrameType.PROOF, body=build_fields({Field.PROOF: bytes(32)})),
        build_frame(FrameType.REQUEST, 0, 1, target, b"\x91\x01"),
        build_frame(FrameType.ONEWAY, 0, 3, target, b"\x91\xa3abc"),
        build_frame(FrameType.REQUEST, 0, 5, target, b"\x91\xc4\x03abc", build_extras(
            {Annotation.DEADLINE: bytes((0, 0, 1, 0)), Annotation.TRACE: b"t" * 20}, [b"part", b""])),
        *([build_frame(kind, 0, 9) for kind in (FrameType.REPLY, FrameType.ERROR, FrameType.CANCEL)]),
        *([build_frame(kind, 0, 9) for kind in (FrameType.PING, FrameType.PONG, FrameType.GOAWAY)]),
        *([build_frame(kind) for kind in (FrameType.STREAM_ITEM, FrameType.STREAM_END, FrameType.STREAM_CREDIT)]),
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


class Garbage:
    """Many callers in one process; `uris` of the daemon with a login and the one without."""

    def __init__(self, uris: list[str]) -> None:
        self._places = [PyroURI(uri) for uri in uris[:2]]
        self._dice = random.Random(20)
        self._left = self.frames = self.connections = self.refused = 0
        self._alphabet = {uri: real_frames(uri.objectID) for uri in self._places}

    def run(self, frames: int, callers: int) -> dict[str, Any]:
        """Send so many frames from so many callers at once."""
        self._left = frames
        jobs = [gevent.spawn(self._call_on, number) for number in range(callers)]
        gevent.joinall(jobs, raise_error=True)
        return {"frames": self.frames, "connections": self.connections, "refused": self.refused}

    def _call_on(self, number: int) -> None:
        place, greets = self._places[number % 2], number // 2 % 2
        while self._left > 0:
            self.connections += 1
            try:
                caller = Caller(place.port)
            except OSError:
                self.refused += 1
                continue
            try:
                self._speak(caller, place, bool(greets), login=number % 2 == 0)
            except (OSError, EOFError):
                pass
            finally:
                caller.close(reset=self._dice.random() < 0.2)

    def _speak(self, caller: Caller, place: Any, greets: bool, login: bool) -> None:
        dice, alphabet = self._dice, self._alphabet[place]
        if greets and login:
            caller.log_in()
        elif greets:
            caller.greet()
        elif dice.random() < 0.5:
            # Half of those who do not greet properly open properly, so that it is a frame that is wrong.
            caller.sock.sendall(hello()[:6])
        elif login and dice.random() < 0.5:
            caller.be_challenged()
        for _ in range(FRAMES_EACH):
            if self._left <= 0:
                return
            burst = [mutate(dice.choice(alphabet), dice) for _ in range(dice.choice((1, 1, 1, 2, 5)))]
            if dice.random() < 0.1:
                burst.append(request(place.objectID, "echo"))
            self._left -= len(burst)
            self.frames += len(burst)
            for frame in burst:
                # Without the code a sealed connection would take none of them apart.
                if dice.random() < 0.9:
                    caller.send(frame)
                else:
                    caller.sock.sendall(frame)
            gevent.sleep(0)
            caller.sock.settimeout(0.0)
            try:
                while caller.sock.recv(65536):
                    pass
                return
            except BlockingIOError:
                pass
            finally:
                caller.sock.settimeout(20.0)
