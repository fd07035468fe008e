"""The settings that connections look at, read once for each daemon and proxy."""

from __future__ import annotations

import functools
from typing import NamedTuple

from gpyro.configuration import Settings
from gpyro.serializers import CodecLimits
from gpyro.wire.native import WireLimits

__all__ = ["Tuning"]


class Tuning(NamedTuple):
    """A frozen copy of settings; `gpyro.configuration` has their meaning and the reasons for the defaults."""

    wire: WireLimits
    codec: CodecLimits
    connect_timeout_seconds: float
    handshake_timeout_seconds: float
    heartbeat_seconds: float
    liveness_seconds: float
    frame_timeout_seconds: float
    write_timeout_seconds: float
    output_soft_bytes: int
    output_hard_bytes: int
    max_in_flight_per_connection: int
    max_in_flight: int
    busy_wait_seconds: float
    oneway_threaded: bool
    synchronized_wait_seconds: float
    max_exports: int
    turn_frames: int
    turn_bytes: int
    turn_seconds: float
    max_pings_per_second: int
    keepalive: bool
    detailed_traceback: bool

    @classmethod
    def of(cls, settings: Settings) -> Tuning:
        """Read the settings as they are now."""
        # That one is read live, so a snapshot may give another value next time.
        return _kept(settings.snapshot(), settings.detailed_traceback)

    @classmethod
    def _read(cls, settings: Settings) -> Tuning:
        return cls(
            wire=WireLimits(settings.max_message_bytes, settings.max_value_bytes, settings.chunk_bytes),
            codec=CodecLimits(
                settings.max_depth, settings.max_items, settings.max_bigint_digits, settings.max_colliding_keys
            ),
            connect_timeout_seconds=settings.connect_timeout_seconds,
            handshake_timeout_seconds=settings.handshake_timeout_seconds,
            heartbeat_seconds=settings.heartbeat_seconds,
            liveness_seconds=settings.liveness_seconds,
            frame_timeout_seconds=settings.frame_timeout_seconds,
            write_timeout_seconds=settings.write_timeout_seconds,
            output_soft_bytes=settings.output_soft_bytes,
            output_hard_bytes=settings.output_hard_bytes,
            max_in_flight_per_connection=settings.max_in_flight_per_connection,
            max_in_flight=settings.max_in_flight,
            busy_wait_seconds=settings.busy_wait_seconds,
            oneway_threaded=settings.oneway_threaded,
            synchronized_wait_seconds=settings.synchronized_wait_seconds,
            max_exports=settings.max_exports_per_connection,
            turn_frames=settings.turn_frames,
            turn_bytes=settings.turn_bytes,
            turn_seconds=settings.turn_seconds,
            max_pings_per_second=settings.max_pings_per_second,
            keepalive=bool(settings.sock_keepalive),
            detailed_traceback=bool(settings.detailed_traceback),
        )


@functools.lru_cache(maxsize=16)
def _kept(settings: Settings, detailed_traceback: bool) -> Tuning:
    """Read a snapshot once, however many proxies are made with it."""
    return Tuning._read(settings)
