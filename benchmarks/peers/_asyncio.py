"""Callers that live in an asyncio loop, driven from plain code."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from benchmarks.peer import Client, split_calls
from benchmarks.peers._callers import TICK_SECONDS


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
        due: asyncio.Queue[float | None] = asyncio.Queue()
        took: list[float] = []
        begun = perf_counter()

        async def run() -> None:
            while (start := await due.get()) is not None:
                await self.echo_async(value)
                took.append(perf_counter() - begun - start)

        tasks = [asyncio.ensure_future(run()) for _ in range(width)]
        for start in starts:
            while (ahead := begun + start - perf_counter()) > 0:
                await asyncio.sleep(max(ahead - TICK_SECONDS, 0) if ahead > 2 * TICK_SECONDS else 0)
            due.put_nowait(start)
        for _ in tasks:
            due.put_nowait(None)
        await asyncio.gather(*tasks)
        return took

    async def _echo_many(self, value: Any, calls: int) -> None:
        for _ in range(calls):
            await self.echo_async(value)

    def nap_together(self, calls: int, seconds: float) -> None:
        async def run() -> None:
            await asyncio.gather(*[self.nap_async(seconds) for _ in range(calls)])

        self._loop.run_until_complete(run())
