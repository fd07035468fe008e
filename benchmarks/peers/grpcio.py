"""gRPC with generic handlers: MessagePack in its messages, no generated code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc

from benchmarks.model import Work
from benchmarks.peer import Announce, Client, Peer
from benchmarks.peers._callers import call_in_threads, pace_in_threads
from benchmarks.peers._packing import choose_packing

SERVICE = "Echo"
# Channels of one process share connections otherwise.
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
# As shipped, neither side takes messages beyond 4 MiB.
NO_LIMIT = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
LIFTED = "its limit of 4 MiB is lifted"
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


def limits(work: Work) -> tuple[tuple[str, int], ...]:
    """Options of both sides."""
    return NO_LIMIT if work.family == "sizes" else ()


class GrpcClient(Client):
    def __init__(self, address: str, work: Work) -> None:
        self._address, self._work = address, work
        self._others: list[GrpcClient] = []
        self._channel = grpc.insecure_channel(address, options=OWN_CONNECTION + limits(work))
        self._echo = find_method(self._channel, "echo", work)

    def echo(self, value: Any) -> Any:
        return self._echo(value)

    def echo_together(self, value: Any, calls: int, width: int) -> None:
        call_in_threads([partial(self.echo_in_turn, value)] * width, calls)

    def echo_apart(self, value: Any, calls: int, width: int) -> None:
        while len(self._others) < width:
            self._others.append(GrpcClient(self._address, self._work))
        call_in_threads([partial(other.echo_in_turn, value) for other in self._others], calls)

    def echo_paced(self, value: Any, starts: Sequence[float], width: int) -> list[float]:
        return pace_in_threads([partial(self.echo_in_turn, value)] * width, starts)

    def close(self) -> None:
        self._channel.close()


class GrpcPeer(Peer):
    distributions = ("grpcio",)
    notes = {
        "greenlets": "a thread for each caller, one channel",
        "connections": "a thread for each",
        "sizes": LIFTED,
    }
    refused = {
        "naps": "as many at once as the pool has threads: minutes",
        "idle": "see grpcio-aio",
    }

    def serve(self, announce: Announce, work: Work) -> None:
        packing = choose_packing(work)

        def echo(message: bytes, _context: Any) -> bytes:
            # A server wants the objects, not their bytes: unpacked and packed again.
            return packing.pack(packing.unpack(message))

        handlers = [build_handler({"echo": echo})]
        server = grpc.server(ThreadPoolExecutor(POOL_SIZE), handlers=handlers, options=limits(work))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        announce(f"127.0.0.1:{port}")
        server.wait_for_termination()

    def connect(self, address: str, work: Work) -> GrpcClient:
        return GrpcClient(address, work)


def build(name: str) -> GrpcPeer:
    return GrpcPeer()
