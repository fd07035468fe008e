"""Callers that live in an asyncio loop, driven from plain code."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Any

from benchmarks.peer import Client, split_calls


class AsyncioClient(Client):
    """A caller with a loop of its own; a whole round is one visit to the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

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

    async def _echo_many(self, value: Any, calls: int) -> None:
        for _ in range(calls):
            await self.echo_async(value)

    def nap_together(self, calls: int, seconds: float) -> None:
        async def run() -> None:
            await asyncio.gather(*[self.nap_async(seconds) for _ in range(calls)])

        self._loop.run_until_complete(run())
