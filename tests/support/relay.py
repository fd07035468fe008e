"""A line between two processes that can be cut and mended."""

from __future__ import annotations

from typing import Any

import gevent
from gevent import socket
from gevent.pool import Group
from gevent.server import StreamServer


class Relay:
    """Listens on a port of 127.0.0.1 and hands on to another one; cut, it takes callers and stays silent.

    Args:
        target: the port that it hands on to.
    """

    def __init__(self, target: int, port: int = 0) -> None:
        self.target = target
        self.is_cut = False
        self._server = StreamServer(("127.0.0.1", port), self._serve)
        self._server.start()
        self._pumps = Group()
        self._sockets: set[Any] = set()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._server.server_port
        return port

    def _serve(self, sock: Any, address: Any) -> None:
        self._sockets.add(sock)
        if self.is_cut:
            return
        try:
            other = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            sock.close()
            return
        self._sockets.add(other)
        jobs = [self._pumps.spawn(self._pump, sock, other), self._pumps.spawn(self._pump, other, sock)]
        gevent.joinall(jobs, count=1)
        if not self.is_cut:
            sock.close()
            other.close()

    def _pump(self, source: Any, target: Any) -> None:
        try:
            while not self.is_cut:
                data = source.recv(65536)
                if not data or self.is_cut:
                    return
                target.sendall(data)
        except OSError:
            pass

    def cut(self) -> None:
        """Let nothing through any more; nobody is told."""
        self.is_cut = True

    def mend(self) -> None:
        """Let new connections through; the old ones are gone."""
        self.is_cut = False
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    def close(self) -> None:
        """End."""
        self._server.stop()
        self._pumps.kill()
        for sock in self._sockets:
            sock.close()
