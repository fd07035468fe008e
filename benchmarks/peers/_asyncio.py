"""Callers that live in an asyncio loop, driven from plain code."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from benchmarks.peer import Client, split_calls


class AsyncioClient(Client):
    """A caller with a loop of its own; a whole round is one visit to the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._others: list[AsyncioClient] = []

    @abstractmethod
    def new_client(self) -> AsyncioClient:
        """Another one, with a connection of its own."""

    @abstractmethod
    async def echo_async(self, value: Any) -> Any:
        """One call."""

    async def nap_async(self, seconds: float) -> None:
        """One call that sleeps."""
        raise NotImplementedError

    def echo(self, value: Any) -> Any:
        return self._loop.run_until_complete(self.echo_async(value))

    def echo_in_turn(self, value: Any, calls: int) -> None:
        self._loop.run_until_complete(self._echo_many(value, calls))

    def echo_together(self, value: Any, calls: int, width: int) -> None:
        async def run() -> None:
            await asyncio.gather(*[self._echo_many(value, count) for count in split_calls(calls, width)])

        self._loop.run_until_complete(run())

    def echo_apart(self, value: Any, calls: int, width: int) -> None:
        while len(self._others) < width:
            self._others.append(self.new_client())

        async def run() -> None:
            shares = zip(self._others, split_calls(calls, width), strict=True)
            await asyncio.gather(*[client._echo_many(value, count) for client, count in shares])

        self._loop.run_until_complete(run())

    def echo_paced(self, value: Any, starts: Sequence[float], width: int) -> list[float]:
        return self._loop.run_until_complete(self._pace(value, starts, width))

    async def _pace(self, value: Any, starts: Sequence[float], width: int) -> list[float]:
        """As `pace_in_greenlets` does it: the loop never sleeps, and asks for the time in each of its turns."""
        coming = iter(starts)
        waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        took: list[float] = []
        begun = perf_counter()

        async def run() -> None:
            for start in coming:
                if begun + start > perf_counter():
                    turn = self._loop.create_future()
                    waiting.append((begun + start, turn))
                    await turn
                await self.echo_async(value)
                took.append(perf_counter() - begun - start)

        callers = asyncio.gather(*[run() for _ in range(width)])
        while not callers.done():
            while waiting and waiting[0][0] <= perf_counter():
                waiting.popleft()[1].set_result(None)
            await asyncio.sleep(0)
        await callers
        return took

    async def _echo_many(self, value: Any, calls: int) -> None:
        for _ in range(calls):
            await self.echo_async(value)

    def nap_together(self, calls: int, seconds: float) -> None:
        async def run() -> None:
            await asyncio.gather(*[self.nap_async(seconds) for _ in range(calls)])

        self._loop.run_until_complete(run())
