"""Cap'n Proto on asyncio; the callers are tasks on one connection."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import capnp

from benchmarks.model import Work
from benchmarks.peer import Announce, Peer
from benchmarks.peers._asyncio import AsyncioClient
from benchmarks.peers._packing import Packing, choose_packing

# As shipped, a message is refused from 64 MiB on: its limit is in words of eight bytes.
MOST_WORDS = 2**40

SCHEMA = capnp.load(str(Path(__file__).with_name("echo.capnp")))


def most_words(work: Work) -> int | None:
    return MOST_WORDS if work.family == "sizes" else None


class EchoServer(SCHEMA.Echo.Server):  # type: ignore[misc, name-defined]
    def __init__(self, packing: Packing) -> None:
        self._packing = packing

    async def echo(self, value: bytes, **_context: Any) -> bytes:
        # A server wants the objects, not their bytes: unpacked and packed again.
        return self._packing.pack(self._packing.unpack(value))

    async def nap(self, seconds: float, **_context: Any) -> None:
        await asyncio.sleep(seconds)


class CapnpClient(AsyncioClient):
    def __init__(self, loop: asyncio.AbstractEventLoop, address: str, work: Work) -> None:
        super().__init__(loop)
        self._address, self._work = address, work
        self._packing = choose_packing(work)
        loop.run_until_complete(self._open(address))

    async def _open(self, address: str) -> None:
        host, port = address.split(":")
        stream = await capnp.AsyncIoStream.create_connection(host, int(port))
        self._client = capnp.TwoPartyClient(stream, traversal_limit_in_words=most_words(self._work))
        self._echo = self._client.bootstrap().cast_as(SCHEMA.Echo)

    def new_client(self) -> CapnpClient:
        return CapnpClient(self._loop, self._address, self._work)

    async def echo_async(self, value: Any) -> Any:
        answer = await self._echo.echo(self._packing.pack(value))
        return self._packing.unpack(answer.value)

    async def nap_async(self, seconds: float) -> None:
        await self._echo.nap(seconds)

    def close(self) -> None:
        self._client.close()


class CapnpPeer(Peer):
    distributions = ("pycapnp",)
    notes = {
        "greenlets": "an asyncio task for each caller, one connection",
        "naps": "10,000 asyncio tasks",
        "sizes": "its limit of 64 MiB is lifted",
    }

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        # Cap'n Proto's loop is entered for the life of the process and never left.
        self._entered = capnp.kj_loop()
        self._loop.run_until_complete(self._entered.__aenter__())

    def serve(self, announce: Announce, work: Work) -> None:
        self._loop.run_until_complete(self._serve(announce, choose_packing(work), most_words(work)))

    async def _serve(self, announce: Announce, packing: Packing, most: int | None) -> None:
        async def handle(stream: Any) -> None:
            echo = EchoServer(packing)
            await capnp.TwoPartyServer(stream, bootstrap=echo, traversal_limit_in_words=most).on_disconnect()

        server = await capnp.AsyncIoStream.create_server(handle, "127.0.0.1", 0, backlog=1024)
        announce(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with server:
            await server.serve_forever()

    def connect(self, address: str, work: Work) -> CapnpClient:
        return CapnpClient(self._loop, address, work)


def build(name: str) -> CapnpPeer:
    return CapnpPeer()
