"""What is counted for each address that callers come from: connections, and logins that failed. Pure.

A login that fails takes a token out of the address's bucket; an address without tokens is shut out for a while:
its connections are closed without a word. The table of buckets is bounded; those that are not shut out go first,
the oldest of them, so that nobody gets in again by making others fail.

Of an IPv6 address the network counts (/64), since whoever has one address there has 2**64.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

__all__ = ["Sources", "source_of"]


def source_of(host: str) -> str:
    """Return what a numeric address is counted under: itself, or the /64 network of an IPv6 one."""
    if ":" not in host:
        return host
    from ipaddress import IPv6Address, IPv6Network  # not everybody has IPv6

    address = IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((int(address) >> 64 << 64, 64)))


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
        #: Addresses with failures, those that are shut out in the second; whoever failed last stands last.
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._blocked: OrderedDict[str, _Bucket] = OrderedDict()
        self._connections: Counter[str] = Counter()
        self._unauthenticated: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Sources, {len(self._connections)} connected, {len(self)} with failed logins>"

    def __len__(self) -> int:
        """The addresses whose failures are remembered."""
        return len(self._buckets) + len(self._blocked)

    def is_blocked(self, host: str, now: float) -> bool:
        """Tell whether too many logins from there have failed."""
        bucket = self._blocked.get(host)
        return bucket is not None and bucket.blocked_until > now

    def count_blocked(self, now: float) -> int:
        """Return how many addresses are shut out."""
        return sum(bucket.blocked_until > now for bucket in self._blocked.values())

    def has_share(self, host: str) -> bool:
        """Tell whether as many from there are on the way in as may be at once."""
        return self._unauthenticated[host] >= self._max_unauthenticated

    def has_too_many(self, host: str) -> bool:
        """Tell whether more connections from there are open than may be."""
        return self._connections[host] > self._max_connections

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
        bucket = self._blocked.get(host)
        if bucket is not None and bucket.blocked_until > now:
            return False
        bucket = self._blocked.pop(host, None) or self._buckets.pop(host, None) or _Bucket(self._most, now)
        bucket.tokens = min(self._most, bucket.tokens + (now - bucket.at) * self._most / 60) - 1
        bucket.at = now
        blocks = bucket.tokens < 0
        if blocks:
            bucket.tokens = self._most
            bucket.blocked_until = now + self._block_seconds
        (self._blocked if blocks else self._buckets)[host] = bucket
        while len(self) > self._limit:
            # Not the one that has just come, or nobody new could be shut out once the table is full.
            others = len(self._buckets) > (not blocks)
            (self._buckets if others else self._blocked).popitem(last=False)
        return blocks


def _take_one(counter: Counter[str], host: str) -> None:
    counter[host] -= 1
    if counter[host] <= 0:
        del counter[host]
