"""gRPC with generic handlers: MessagePack in its messages, no generated code."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from benchmarks.model import Work
from benchmarks.peer import Announce, Client, Peer
from benchmarks.peers._callers import call_in_threads
from benchmarks.peers._packing import choose_packing

SERVICE = "Echo"
# Channels of one process share connections otherwise.
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
# 10 threads gave more calls/s than 100 on two cores.
POOL_SIZE = 10


def build_handler(methods: dict[str, Callable[[Any, Any], Any]]) -> Any:
    """Handlers that take and return the bytes of a message."""
    handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def find_method(channel: Any, name: str, work: Work) -> Any:
    packing = choose_packing(work)
    return channel.unary_unary(
        f"/{SERVICE}/{name}", request_serializer=packing.pack, response_deserializer=packing.unpack
    )


class GrpcClient(Client):
    def __init__(self, address: str, work: Work) -> None:
        self._channel = grpc.insecure_channel(address, options=OWN_CONNECTION)
        self._echo = find_method(self._channel, "echo", work)

    def echo(self, value: Any) -> Any:
        return self._echo(value)

    def echo_together(self, value: Any, calls: int, width: int) -> None:
        def run(count: int) -> None:
            for _ in range(count):
                self._echo(value)

        call_in_threads([run] * width, calls)

    def close(self) -> None:
        self._channel.close()


class GrpcPeer(Peer):
    distributions = ("grpcio",)
    notes = {"greenlets": "100 threads on one channel"}
    refused = {
        "naps": "as many at once as the pool has threads: minutes",
        "idle": "see grpcio-aio",
    }

    def serve(self, announce: Announce, work: Work) -> None:
        packing = choose_packing(work)

        def echo(message: bytes, _context: Any) -> bytes:
            # A server wants the objects, not their bytes: unpacked and packed again.
            return packing.pack(packing.unpack(message))

        server = grpc.server(ThreadPoolExecutor(POOL_SIZE), handlers=[build_handler({"echo": echo})])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        announce(f"127.0.0.1:{port}")
        server.wait_for_termination()

    def connect(self, address: str, work: Work) -> GrpcClient:
        return GrpcClient(address, work)


def build(name: str) -> GrpcPeer:
    return GrpcPeer()
