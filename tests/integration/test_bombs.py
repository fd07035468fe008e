"""What is meant to cost a server much: it is refused or bounded, in little memory, and others are served.

reliability.md R24. The times belong to the benchmarks; `tests/support/bombs.py` makes the bombs for both.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

import gpyro
from gpyro.wire.native import HEADER, FrameType, build_target
from tests.support.bombs import BOMBS, CLOSED, ERROR, SERVED, build_bomb
from tests.support.servers import SECONDS, RawPeer, child_server, hello

MEGABYTE = 1024 * 1024
#: Beside what is received: the largest is a body of 4 MB that builds a million empty maps before it is refused.
MAX_GROWTH_BYTES = 96 * MEGABYTE
#: A body is received, copied out of a buffer, and decoded.
MAX_GROWTH_EACH_BYTE = 6


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[subprocess.Popen[str], gpyro.PyroURI]]:
    with child_server() as (process, uri):
        yield process, gpyro.PyroURI(uri)


def port_of(uri: gpyro.PyroURI) -> int:
    assert uri.port is not None
    return uri.port


def peak_bytes(process: subprocess.Popen[str]) -> int:
    """Return the most memory that a process has had since `forget_peak`."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def forget_peak(process: subprocess.Popen[str]) -> None:
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def explode(port: int, data: bytes) -> str:
    """Send a bomb behind a greeting, and say what became of it."""
    with RawPeer(port) as peer:
        sender = gevent.spawn(send_all, peer, data)
        try:
            with gevent.Timeout(SECONDS):
                while True:
                    kind, _, request_id, *_ = peer.frame()
                    if request_id == 1 and kind in (FrameType.REPLY, FrameType.ERROR):
                        return still_open(peer, SERVED if kind == FrameType.REPLY else ERROR)
        except (EOFError, ConnectionResetError):
            return CLOSED
        finally:
            sender.kill()


def send_all(peer: RawPeer, data: bytes) -> None:
    try:
        peer.send(data)
    except OSError:
        pass  # the server has closed


def still_open(peer: RawPeer, outcome: str) -> str:
    peer.send_frame(FrameType.PING, 77)
    while peer.frame()[:3] != (FrameType.PONG, 0, 77):
        pass
    return outcome


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_refused_or_bounded_and_others_are_served(
    name: str, server: tuple[subprocess.Popen[str], gpyro.PyroURI]
) -> None:
    process, uri = server
    bomb = build_bomb(name, build_target(uri.objectID, "echo"))
    proxy = gpyro.Proxy(uri)
    assert proxy.echo("before") == "before"
    forget_peak(process)
    before = peak_bytes(process)
    outcome = explode(port_of(uri), bomb.data)
    grown = peak_bytes(process) - before
    print(f"{name}: {len(bomb.data) / MEGABYTE:.1f} MB, {outcome}, {grown / MEGABYTE:.1f} MB more")
    assert outcome == bomb.outcome
    assert grown < MAX_GROWTH_BYTES + MAX_GROWTH_EACH_BYTE * len(bomb.data)
    assert proxy.echo("after") == "after" and process.poll() is None
    proxy._release()


@pytest.mark.parametrize("greeted", [False, True])
def test_peer_that_asks_and_never_reads_is_held_back(
    greeted: bool, server: tuple[subprocess.Popen[str], gpyro.PyroURI]
) -> None:
    process, uri = server
    forget_peak(process)
    before = peak_bytes(process)
    with RawPeer(port_of(uri), greeted) as peer:
        ping = HEADER.pack(FrameType.PING, 0, 0, 0, 0, 0) * 65536
        left = 40
        with gevent.Timeout(SECONDS, False):
            try:
                if not greeted:
                    peer.send(hello())
                while left:
                    peer.send(ping)
                    left -= 1
            except OSError:
                pass
        grown = peak_bytes(process) - before
        print(f"{40 - left} MB taken, {grown / MEGABYTE:.1f} MB more")
        # Eight megabytes of answers of 16 bytes, each an object of its own.
        assert grown < 64 * MEGABYTE
    proxy = gpyro.Proxy(uri)
    assert proxy.echo("after") == "after"
    proxy._release()
