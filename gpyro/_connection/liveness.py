"""Whether the peer is still there and keeps up: looked at by the wheel every few seconds.

No clock is read for each call. The wheel compares counters with those of its last look, so a hub that did not
run for a minute has looked once, not failed its peer twelve times.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Liveness"]

#: Seconds between two looks, less where heartbeats are closer together.
TICK_SECONDS = 5
#: Bytes that a frame has to bring each second once it takes longer than frame_timeout_seconds.
MIN_BYTES_PER_SECOND = 64 * 1024


class Liveness:
    """What one connection's last looks saw."""

    __slots__ = ("_connection", "_idle", "_progress", "_quiet", "_served", "_slow", "_stuck", "bytes_in")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.bytes_in = 0
        self._progress = self._served = 0
        self._quiet = self._idle = self._slow = self._stuck = 0.0

    def __repr__(self) -> str:
        return f"<Liveness quiet {self._quiet:g} s, idle {self._idle:g} s>"

    def look(self) -> tuple[int, str]:
        """Return the seconds until the next look, and why the connection should end, empty if it should not."""
        tuning = self._connection.tuning
        seconds = min(TICK_SECONDS, max(int(tuning.heartbeat_seconds), 1))
        return seconds, self._look_at_input(seconds) or self._look_at_output(seconds)

    def _look_at_input(self, seconds: int) -> str:
        connection = self._connection
        tuning = connection.tuning
        new_bytes, self.bytes_in = self.bytes_in, 0
        # Only a peer whose hub runs by itself can answer; for others the kernel's keepalive has to do.
        runs = connection.peer is not None and connection.peer.runs
        self._quiet = 0.0 if new_bytes else self._quiet + seconds
        if runs and tuning.heartbeat_seconds:
            if self._quiet >= tuning.liveness_seconds:
                return f"no sign of life from {connection.addr} for {self._quiet:g} s (liveness_seconds)"
            if self._quiet >= tuning.heartbeat_seconds:
                connection.ping()
        waits = connection.machine.is_mid_frame() and not connection.paused
        slow = waits and new_bytes < MIN_BYTES_PER_SECOND * seconds
        self._slow = self._slow + seconds if slow else 0.0
        if self._slow > tuning.frame_timeout_seconds:
            return (
                f"a frame from {connection.addr} is not whole after {self._slow:g} s (frame_timeout_seconds)"
            )
        if runs:
            self._look_at_idleness(seconds)
        return ""

    def _look_at_idleness(self, seconds: int) -> None:
        connection = self._connection
        serving = connection.serving
        new_calls, self._served = serving.served - self._served, serving.served
        busy = bool(new_calls or serving.running or connection.calls.pending)
        self._idle = 0.0 if busy else self._idle + seconds
        limit = connection.handler.idle_seconds()
        if limit and self._idle >= limit:
            connection.leave("idle")

    def _look_at_output(self, seconds: int) -> str:
        connection = self._connection
        stream, tuning = connection.stream, connection.tuning
        stuck = bool(stream.out) and stream.progress == self._progress
        self._progress = stream.progress
        self._stuck = self._stuck + seconds if stuck else 0.0
        if self._stuck >= tuning.write_timeout_seconds:
            return f"{connection.addr} took nothing for {self._stuck:g} s (write_timeout_seconds)"
        if stuck and stream.out_bytes > tuning.output_hard_bytes:
            return f"{stream.out_bytes} bytes wait for {connection.addr} (output_hard_bytes)"
        return ""
