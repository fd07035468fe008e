"""R3: thousands of peers that send a byte a second, each stuck in another state of a connection."""

from __future__ import annotations

import errno
import select
import socket
import time
from typing import Any

from gpyro.uri import PyroURI
from gpyro.wire.frames import HEADER, FrameType, build_frame
from gpyro.wire.hello import Field, build_fields
from gpyro.wire.login import ClientLogin
from tests.support.attackers import KEY, hello, login_hello, request

__all__ = ["STATES", "Dribble"]

#: Where a peer gets stuck: name, whether the daemon wants a login.
STATES = {"nothing said": True, "in HELLO": True, "in PROOF": True, "in a header": False, "in a body": False}
#: Seconds between two bytes.
PAUSE_SECONDS = 1.0
#: Seconds after which those that are still open are counted as never closed.
PATIENCE_SECONDS = 40.0


class Peer:
    """One socket; `first` is said at once, `rest` byte by byte."""

    __slots__ = ("awaits", "closed", "first", "opened", "rest", "sock", "spoken", "state")

    def __init__(self, state: str, port: int, object_id: str) -> None:
        self.state = state
        self.opened = self.closed = 0.0
        self.spoken = False
        self.first, self.rest, self.awaits = b"", b"", False
        call = request(object_id, "echo", b"\x91\xc6\x00\x00\x10\x00" + bytes(4096))
        if state == "in HELLO":
            self.rest = hello()
        elif state == "in PROOF":
            self.first, self.awaits = login_hello(ClientLogin(KEY)), True
            self.rest = b"".join(build_frame(FrameType.PROOF, body=build_fields({Field.PROOF: bytes(32)})))
        elif state == "in a header":
            self.first, self.awaits, self.rest = hello(), True, call
        elif state == "in a body":
            self.first, self.awaits, self.rest = hello(), True, call[HEADER.size :]
        self.sock = socket.socket()
        self.sock.setblocking(False)
        code = self.sock.connect_ex(("127.0.0.1", port))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, "connect failed")


class Dribble:
    """All peers of one process, on one poll."""

    def __init__(self, uris: list[str]) -> None:
        self._places = {True: PyroURI(uris[0]), False: PyroURI(uris[1])}

    def run(self, count: int) -> dict[str, Any]:
        """Open so many sockets and wait until the server has closed them all."""
        poll = select.epoll()
        peers: dict[int, Peer] = {}
        done: list[Peer] = []
        names = list(STATES)
        began = time.monotonic()
        spoken = began
        opened = 0
        while opened < count or (peers and time.monotonic() - began < PATIENCE_SECONDS):
            for _ in range(min(100, count - opened)):
                state = names[opened % len(names)]
                place = self._places[STATES[state]]
                peer = Peer(state, place.port, place.objectID)
                peers[peer.sock.fileno()] = peer
                poll.register(peer.sock, select.EPOLLIN | select.EPOLLOUT)
                opened += 1
            for fd, events in poll.poll(0.01 if opened == count else 0.0):
                self._look(poll, peers[fd], events)
                if peers[fd].closed:
                    done.append(peers.pop(fd))
            if time.monotonic() - spoken >= PAUSE_SECONDS:
                spoken += PAUSE_SECONDS
                for peer in list(peers.values()):
                    self._say_one(peer)
        return self._figures(names, done, list(peers.values()))

    def _look(self, poll: Any, peer: Peer, events: int) -> None:
        if not peer.opened and events & select.EPOLLOUT:
            peer.opened = time.monotonic()
            poll.modify(peer.sock, select.EPOLLIN)
            if peer.first:
                self._send(peer, peer.first)
        if events & (select.EPOLLIN | select.EPOLLERR | select.EPOLLHUP):
            try:
                data = peer.sock.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data and peer.awaits:
                # Let in, or challenged: the time of what is stuck from here on begins.
                peer.awaits, peer.opened = False, time.monotonic()
                if peer.state == "in a body":
                    self._send(peer, self._header(peer))
            elif not data:
                peer.closed = time.monotonic()
                poll.unregister(peer.sock)
                peer.sock.close()

    def _header(self, peer: Peer) -> bytes:
        call = request(self._places[False].objectID, "echo", b"\x91\xc6\x00\x00\x10\x00" + bytes(4096))
        return call[: HEADER.size]

    def _send(self, peer: Peer, data: bytes) -> None:
        try:
            peer.sock.send(data)
        except OSError:
            pass  # It is closed, which the poll tells next.

    def _say_one(self, peer: Peer) -> None:
        if peer.opened and not peer.awaits and peer.rest:
            if peer.state == "in a header" and not peer.spoken:
                # The frame begins now.
                peer.spoken, peer.opened = True, time.monotonic()
            self._send(peer, peer.rest[:1])
            peer.rest = peer.rest[1:]

    def _figures(self, names: list[str], done: list[Peer], left: list[Peer]) -> dict[str, Any]:
        return {
            name: {
                "closed": sum(peer.state == name for peer in done),
                "open": sum(peer.state == name for peer in left),
                "longest": max((peer.closed - (peer.opened or peer.closed) for peer in done if peer.state == name),
                               default=0.0),
            }
            for name in names
        }  # fmt: skip
