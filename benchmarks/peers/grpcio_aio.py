"""gRPC's asyncio side, which can have many calls waiting in one server."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import ormsgpack

from benchmarks.model import Work
from benchmarks.peer import Announce, Peer
from benchmarks.peers._asyncio import AsyncioClient
from benchmarks.peers._packing import choose_packing
from benchmarks.peers.grpcio import LIFTED, OWN_CONNECTION, build_handler, find_method, limits

# Beyond 1,000 requests that Python has not yet taken, the server cancels some, beyond 3,000 all.
ROOM = (
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 20_000),
)


async def nap(message: bytes, _context: Any) -> bytes:
    await asyncio.sleep(ormsgpack.unpackb(message))
    return message


class GrpcAioClient(AsyncioClient):
    def __init__(self, loop: asyncio.AbstractEventLoop, address: str, work: Work) -> None:
        super().__init__(loop)
        self._address, self._work = address, work
        loop.run_until_complete(self._open(address, work))

    async def _open(self, address: str, work: Work) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=OWN_CONNECTION + limits(work))
        self._echo = find_method(self._channel, "echo", work)
        self._nap = find_method(self._channel, "nap", work)

    def new_client(self) -> GrpcAioClient:
        return GrpcAioClient(self._loop, self._address, self._work)

    async def echo_async(self, value: Any) -> Any:
        return await self._echo(value)

    async def nap_async(self, seconds: float) -> None:
        await self._nap(seconds)

    def close(self) -> None:
        self._loop.run_until_complete(self._channel.close())


class GrpcAioPeer(Peer):
    distributions = ("grpcio",)
    notes = {
        "greenlets": "an asyncio task for each caller, one channel",
        "naps": "10,000 asyncio tasks",
        "sizes": LIFTED,
    }

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)

    def serve(self, announce: Announce, work: Work) -> None:
        self._loop.run_until_complete(self._serve(announce, work))

    async def _serve(self, announce: Announce, work: Work) -> None:
        packing = choose_packing(work)

        async def echo(message: bytes, _context: Any) -> bytes:
            # Packed here and not by a response_serializer: grpc.aio hands that one bytes for a str.
            return packing.pack(packing.unpack(message))

        handlers = [build_handler({"echo": echo, "nap": nap})]
        server = grpc.aio.server(handlers=handlers, options=ROOM + limits(work))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        announce(f"127.0.0.1:{port}")
        await server.wait_for_termination()

    def connect(self, address: str, work: Work) -> GrpcAioClient:
        return GrpcAioClient(self._loop, address, work)


def build(name: str) -> GrpcAioPeer:
    return GrpcAioPeer()
