"""Whether the peer is still there, keeps up, and keeps within bounds: looked at by the wheel every few seconds.

No clock is read for each call. The wheel compares counters with those of its last look. The clock is the hub's
own, which stands still while the hub is held, so a peer is not given up because nobody listened to it.

Where a turn leaves part of a frame over, the time is noted, and the wheel looks each second until it is whole.
Pings are counted; a clock is read only by the peer that has used up what it may send at once.
"""

from __future__ import annotations

from typing import Any

from gpyro.errors import RemoteProtocolError

__all__ = ["Liveness"]

#: Seconds between two looks, less where heartbeats are closer together.
TICK_SECONDS = 5
#: Bytes that a frame has to bring each second once it takes longer than frame_timeout_seconds.
MIN_BYTES_PER_SECOND = 64 * 1024
#: Pings that a peer may send at once, as the setting max_pings_per_second says.
PING_BURST = 10
#: Frames that mean nothing, a PONG without a PING, that a peer may send beside those that mean something.
MAX_UNASKED = 1000
#: Seconds of silence whose pings may come all at once: who was held up that long hears what was sent meanwhile.
PING_BACKLOG_SECONDS = 60.0


class Liveness:
    """What one connection's last looks saw."""

    __slots__ = (
        "_bytes_at_part", "_bytes_seen", "_connection", "_idle", "_looked", "_message", "_ping_refill",
        "_pings_left", "_progress", "_quiet", "_served", "_soon", "_stuck", "began", "bytes_in", "part_since",
        "pongs_left",
    )  # fmt: skip

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.bytes_in = self._bytes_seen = 0
        self._progress = self._served = 0
        self._quiet = self._idle = self._stuck = 0
        self.began: float = connection.state.clock()
        self._looked = self.began
        #: Since when part of a frame, or of a message in chunks, waits for the rest; None where none does.
        self.part_since: float | None = None
        self._bytes_at_part = 0
        self._message: int | None = None
        #: True while the next look is a second away at most.
        self._soon = True
        self._pings_left = float(PING_BURST)
        #: Answers to our pings that may still come, and some for nothing.
        self.pongs_left = MAX_UNASKED
        self._ping_refill = self.began + connection.state.held

    def __repr__(self) -> str:
        return f"<Liveness quiet {self._quiet} s, idle {self._idle} s>"

    # -- noted while reading ---------------------------------------------------------------------------------

    def note_part(self, fresh: bool, more: bool) -> None:
        """A turn has ended with part of a frame, or of a message in chunks, left over.

        Args:
            fresh: frames became whole in this turn, so that the part belongs to another one.
            more: behind them whole ones wait for the next turn, so that the peer has not to be waited for.
        """
        message = self._connection.machine.oldest_message()
        # Small frames between the chunks of a message do not make it younger.
        if self.part_since is not None and message == self._message and (message is not None or not fresh):
            return
        if more:
            self.part_since = None
            return
        if not self._soon:
            self._soon = True
            self._connection.state.unwatch(self._connection)
            self._connection.state.watch(self._connection, 1)
        self._restart_part(message)

    def _restart_part(self, message: int | None) -> None:
        self.part_since = self._connection.state.clock()
        self._bytes_at_part = self.bytes_in
        self._message = message

    def count_ping(self) -> None:
        """The peer has sent a PING.

        Raises:
            RemoteProtocolError: it sends more than it may.
        """
        self._pings_left -= 1
        if self._pings_left >= 0:
            return
        state, rate = self._connection.state, self._connection.tuning.max_pings_per_second
        # The peer's clock goes on while this hub is held.
        now = state.clock() + state.held
        self._pings_left += rate * min(now - self._ping_refill, PING_BACKLOG_SECONDS)
        self._ping_refill = now
        if self._pings_left < 0:
            raise RemoteProtocolError(
                f"{self._connection.addr} sends more than {rate} pings a second, beside {PING_BURST} at once "
                "(max_pings_per_second)"
            )

    def count_pong(self) -> None:
        """The peer has sent a PONG.

        Raises:
            RemoteProtocolError: it sends many more than it was asked for.
        """
        self.pongs_left -= 1
        if self.pongs_left < 0:
            raise RemoteProtocolError(
                f"{self._connection.addr} has sent {MAX_UNASKED} PONGs that nobody asked for, which is the limit"
            )

    # -- looked at -------------------------------------------------------------------------------------------

    def look(self) -> tuple[int, str, float | None]:
        """Return the seconds until the next look, and why the connection should end, empty if it should not.

        The third is how long a frame that is not whole has yet, None where none is.
        """
        tuning = self._connection.tuning
        now = self._connection.state.clock()
        # In whole seconds, as the wheel turns: 14.999 s of silence are 15.
        seconds = round(now - self._looked)
        self._looked += seconds
        reason = self._look_at_input(seconds) or self._look_at_output(seconds)
        left = self._time_for_part(now)
        self._soon = left is not None
        if left is None:
            return min(TICK_SECONDS, max(int(tuning.heartbeat_seconds), 1)), reason, None
        if left <= 0 and not reason:
            reason = f"a frame from {self._connection.addr} is not whole in time (frame_timeout_seconds)"
        return 1, reason, left

    def _look_at_input(self, seconds: int) -> str:
        connection = self._connection
        tuning = connection.tuning
        new_bytes, self._bytes_seen = self.bytes_in - self._bytes_seen, self.bytes_in
        # Only a peer whose hub runs by itself can answer; for others the kernel's keepalive has to do.
        runs = connection.peer is not None and connection.peer.runs
        self._quiet = 0 if new_bytes else self._quiet + seconds
        if runs and tuning.heartbeat_seconds:
            if self._quiet >= tuning.liveness_seconds:
                return f"no sign of life from {connection.addr} for {self._quiet} s (liveness_seconds)"
            if self._quiet >= tuning.heartbeat_seconds:
                connection.ping()
        if runs:
            self._look_at_idleness(seconds)
        return ""

    def _time_for_part(self, now: float) -> float | None:
        if self.part_since is None:
            return None
        if self._connection.paused:
            # We do not read, so the peer cannot get on.
            self._restart_part(self._message)
        brought = (self.bytes_in - self._bytes_at_part) / MIN_BYTES_PER_SECOND
        return float(self._connection.tuning.frame_timeout_seconds + brought - (now - self.part_since))

    def _look_at_idleness(self, seconds: int) -> None:
        connection = self._connection
        serving = connection.serving
        new_calls, self._served = serving.served - self._served, serving.served
        busy = bool(new_calls or serving.running or connection.calls.pending)
        self._idle = 0 if busy else self._idle + seconds
        limit = connection.handler.idle_seconds()
        if limit and self._idle >= limit:
            connection.leave("idle")

    def _look_at_output(self, seconds: int) -> str:
        connection = self._connection
        stream, tuning = connection.stream, connection.tuning
        stuck = bool(stream.out) and stream.progress == self._progress
        self._progress = stream.progress
        self._stuck = self._stuck + seconds if stuck else 0
        if self._stuck >= tuning.write_timeout_seconds:
            return f"{connection.addr} took nothing for {self._stuck} s (write_timeout_seconds)"
        if stuck and stream.out_bytes > tuning.output_hard_bytes:
            return f"{stream.out_bytes} bytes wait for {connection.addr} (output_hard_bytes)"
        return ""
