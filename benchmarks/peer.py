"""What a peer offers: a server in one process, callers in another.

A peer's file is imported in the worker processes only; a library that is not
installed is therefore an ImportError there, and a line in the table here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.model import Work

Announce = Callable[[str], None]


class NotOffered(Exception):
    """The peer cannot do this work; the text says why."""


class Client(ABC):
    """One caller: a proxy and its connection, or several where a peer cannot share one.

    Attributes:
        connection_each: whether `echo_together` has a connection for each caller.
    """

    connection_each = False

    @abstractmethod
    def echo(self, value: Any) -> Any:
        """Call the server's echo as a user of this library would write it."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; called once."""

    def echo_in_turn(self, value: Any, calls: int) -> None:
        """Call `calls` times, one after another."""
        for _ in range(calls):
            self.echo(value)

    def echo_together(self, value: Any, calls: int, width: int) -> None:
        """Call `calls` times in all, from `width` callers at once."""
        raise NotOffered("one call at a time")

    def echo_apart(self, value: Any, calls: int, width: int) -> None:
        """As `echo_together`, with a connection for each of the callers."""
        if not self.connection_each:
            raise NotOffered("one connection")
        self.echo_together(value, calls, width)

    def echo_paced(self, value: Any, starts: Sequence[float], width: int) -> list[float]:
        """Call at each of `starts`, in seconds from now, from `width` callers; those that are late call at once.

        Comes after `echo_together` with the same width.

        Returns:
            The seconds from the start that was meant to the end of each call.
        """
        raise NotOffered("one call at a time")

    def nap_together(self, calls: int, seconds: float) -> None:
        """Call a method that sleeps `calls` times, all at once."""
        raise NotOffered("one call at a time")


class Peer(ABC):
    """A library for remote calls, seen by the benchmark.

    Attributes:
        distributions: names on PyPI, for the version line.
        notes: for the family of a work, how this peer does it.
        refused: for the family of a work, why it is not measured.
    """

    distributions: tuple[str, ...] = ()
    notes: Mapping[str, str] = {}
    refused: Mapping[str, str] = {}

    @abstractmethod
    def serve(self, announce: Announce, work: Work) -> None:
        """Listen on 127.0.0.1, port 0; tell the address; serve until the process is ended."""

    @abstractmethod
    def connect(self, address: str, work: Work) -> Client:
        """A new caller of the server at `address`."""

    def connect_together(self, address: str, work: Work, value: Any, calls: int) -> None:
        """Connect, call once and close `calls` times in all, from `work.width` callers at once."""
        raise NotOffered("connections one after another")


def split_calls(calls: int, width: int) -> list[int]:
    """Share `calls` among `width` callers as evenly as it goes."""
    each, rest = divmod(calls, width)
    return [each + (index < rest) for index in range(width)]
