"""What is counted for each address that callers come from: connections, and logins that failed. Pure.

A login that fails takes a token out of the address's bucket; an address without tokens is shut out for a while:
its connections are closed without a word. The table of buckets is bounded; the oldest go first.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

__all__ = ["Sources"]


class _Bucket:
    """One address's tokens, as of a time, and until when it is shut out."""

    __slots__ = ("at", "blocked_until", "tokens")

    def __init__(self, tokens: float, at: float) -> None:
        self.tokens = tokens
        self.at = at
        self.blocked_until = 0.0


class Sources:
    """Counts by address; times come from a monotonic clock, in seconds.

    Args:
        failures_per_minute: logins that may fail before an address is shut out, and how many a minute gives back.
        block_seconds: for how long it is.
        limit: addresses whose failures are remembered.
        max_connections, max_unauthenticated: of one address.
    """

    def __init__(
        self, failures_per_minute: int, block_seconds: float, limit: int, max_connections: int,
        max_unauthenticated: int,
    ) -> None:  # fmt: skip
        self._most = float(failures_per_minute)
        self._block_seconds = block_seconds
        self._limit = limit
        self._max_connections = max_connections
        self._max_unauthenticated = max_unauthenticated
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._connections: Counter[str] = Counter()
        self._unauthenticated: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Sources, {len(self._connections)} connected, {len(self._buckets)} with failed logins>"

    def __len__(self) -> int:
        """The addresses whose failures are remembered."""
        return len(self._buckets)

    def refuses(self, host: str, now: float) -> bool:
        """Tell whether a new connection from there is closed at once."""
        return (
            self.is_blocked(host, now)
            or self._unauthenticated[host] >= self._max_unauthenticated
            or self._connections[host] >= self._max_connections
        )

    def is_blocked(self, host: str, now: float) -> bool:
        """Tell whether too many logins from there have failed."""
        bucket = self._buckets.get(host)
        return bucket is not None and bucket.blocked_until > now

    def arrived(self, host: str) -> None:
        """A connection came from there; nobody knows who it is."""
        self._connections[host] += 1
        self._unauthenticated[host] += 1

    def admitted(self, host: str) -> None:
        """One of them was let in."""
        _take_one(self._unauthenticated, host)

    def left(self, host: str, admitted: bool) -> None:
        """One of them has ended."""
        _take_one(self._connections, host)
        if not admitted:
            _take_one(self._unauthenticated, host)

    def failed(self, host: str, now: float) -> bool:
        """A login from there has failed; returns True when that shuts the address out."""
        bucket = self._buckets.get(host)
        if bucket is None:
            bucket = self._buckets[host] = _Bucket(self._most, now)
            while len(self._buckets) > self._limit:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(host)
        bucket.tokens = min(self._most, bucket.tokens + (now - bucket.at) * self._most / 60)
        bucket.at = now
        bucket.tokens -= 1
        if bucket.tokens >= 0 or bucket.blocked_until > now:
            return False
        bucket.tokens = self._most
        bucket.blocked_until = now + self._block_seconds
        return True


def _take_one(counter: Counter[str], host: str) -> None:
    counter[host] -= 1
    if counter[host] <= 0:
        del counter[host]
