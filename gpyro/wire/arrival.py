"""Large messages under way: in chunks, and with parts that are received where they stay.

A part that a receive buffer holds has to be copied out of it. Where the beginning of a message tells the sizes of
its parts, the objects that the user gets are made at once, and what comes is written there. Pure: what makes them
is given.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container
from typing import Final, NamedTuple, Union

from gpyro.errors import RemoteProtocolError
from gpyro.wire.frames import (
    CALLS,
    CLAIM_FACTOR,
    HEADER,
    HEADER_BYTES,
    MAX_BUFFERS,
    MAX_OPEN_MESSAGES,
    MAX_TARGET_BYTES,
    STAYING_BYTES,
    Annotation,
    Arrived,
    Buffer,
    Flag,
    Frame,
    parse_annotations,
)

__all__ = ["NEVER", "Arrival", "MakePart", "Messages", "WireLimits", "make_bytearray"]

_MORE: Final = int(Flag.MORE)
#: No number of bytes is enough.
NEVER: Final = 1 << 62

#: Makes memory for a part of so many bytes, for an object that may be changed or not: the object, and a view to
#: write into it, which is good as long as the object lives.
MakePart = Callable[[int, bool], tuple[Union[bytes, bytearray], memoryview]]


def make_bytearray(size: int, writable: bool) -> tuple[bytearray, memoryview]:
    """Make memory for a part that may always be changed; who wants bytes has to copy it."""
    part = bytearray(size)
    return part, memoryview(part)


class Arrival:
    """One message under way. `left` is how many of its bytes are still to come, `size` how many it has in all."""

    __slots__ = ("_at", "_frame", "_index", "_parts", "_views", "left", "size")

    def __init__(
        self, frame: Frame, size: int, sizes: tuple[int, ...], writable: bytes, make_part: MakePart
    ) -> None:
        self._frame = frame
        self._parts: list[bytes | bytearray] = []
        self._views: list[memoryview] = []
        for index, part_bytes in enumerate(sizes):
            may_change = index >> 3 < len(writable) and bool(writable[index >> 3] >> (index & 7) & 1)
            part, view = make_part(part_bytes, may_change)
            self._parts.append(part)
            self._views.append(view)
        self._index = self._at = 0
        self.left = sum(sizes)
        self.size = size

    def __repr__(self) -> str:
        return f"<Arrival of {len(self._parts)} parts, {self.left} of {self.size} bytes to come>"

    @classmethod
    def begin(cls, data: Buffer, make_part: MakePart) -> Arrival | int:
        """Begin with a message's first bytes, which are taken as far as they go.

        Returns:
            A number where it cannot: so many bytes have to be there before it is worth trying again. That is NEVER
            where it has no parts worth it, or its table of parts does not add up.
        """
        if len(data) < HEADER_BYTES:
            return HEADER_BYTES
        kind, flags, target_bytes, request_id, body_bytes, extras_bytes = HEADER.unpack_from(data)
        table_at: int = HEADER_BYTES + target_bytes + body_bytes
        size: int = table_at + extras_bytes
        if extras_bytes < STAYING_BYTES:
            return NEVER
        enough = max(table_at + 4, -(-size // CLAIM_FACTOR))
        if len(data) < enough:
            return enough
        with memoryview(data) as view:
            notes_bytes, count = struct.unpack_from("!HH", view, table_at)
            sizes_at: int = table_at + 4 + notes_bytes
            parts_at: int = sizes_at + 4 * count
            if not count or count > MAX_BUFFERS or extras_bytes < count * STAYING_BYTES:
                return NEVER
            if len(data) < parts_at:
                return parts_at
            sizes = struct.unpack_from(f"!{count}I", view, sizes_at)
            if parts_at + sum(sizes) != size:
                return NEVER
            head, table = bytes(view[HEADER_BYTES:table_at]), bytes(view[table_at:parts_at])
        try:
            annotations = parse_annotations(table)
        except RemoteProtocolError:
            return NEVER  # whoever decodes it says what is wrong
        writable = annotations.get(Annotation.WRITABLE, b"")
        extras = Arrived(annotations, [], extras_bytes)
        frame = (kind, flags, request_id, head[:target_bytes], head[target_bytes:], extras, None)
        arrival = cls(frame, size, sizes, writable, make_part)
        arrival.feed(data, parts_at)
        return arrival

    def view(self, most: int) -> memoryview:
        """Return where the next bytes belong, at most so many; there are some to come."""
        view = self._views[self._index]
        while self._at == len(view):
            self._index, self._at = self._index + 1, 0
            view = self._views[self._index]
        return view[self._at : self._at + most]

    def advance(self, count: int) -> None:
        """Note that `count` bytes were written into the view."""
        self._at += count
        self.left -= count

    def feed(self, data: Buffer, at: int = 0) -> None:
        """Take bytes that were read elsewhere, from `at` on, no more than are to come."""
        # All views are released, not only forgotten: a profiler that looks at frames may keep them for a while.
        with memoryview(data) as rest:
            while at < len(rest):
                with self.view(len(rest) - at) as view:
                    count = len(view)
                    view[:] = rest[at : at + count]
                self.advance(count)
                at += count

    def frame(self) -> Frame:
        """Return the frame, when all has come."""
        arrived = self._frame[5]
        assert isinstance(arrived, Arrived) and not self.left
        arrived.parts.extend(self._parts)
        for view in self._views:
            view.release()
        self._views.clear()
        return self._frame


class WireLimits(NamedTuple):
    """What a machine accepts; the settings of the same names hold the reasons."""

    max_message_bytes: int = 4 * 1024 * 1024
    max_value_bytes: int = 256 * 1024 * 1024
    chunk_bytes: int = 1024 * 1024


class Messages:
    """The messages in chunks that are under way on one connection."""

    __slots__ = ("_bytes", "_limits", "_make_part", "open")

    def __init__(self, limits: WireLimits, make_part: MakePart) -> None:
        self._limits = limits
        self._make_part = make_part
        #: By request id, how many bytes each has in all, what has come of it, and when to look for its parts.
        self.open: dict[int, tuple[int, bytearray | Arrival, int]] | None = None
        self._bytes = 0

    def __repr__(self) -> str:
        return f"<Messages, {len(self)} of {self._bytes} bytes>"

    def __len__(self) -> int:
        return len(self.open) if self.open else 0

    def held_bytes(self) -> int:
        """Return how many bytes of them have come."""
        held = self.open.values() if self.open else ()
        return sum(size - part.left if isinstance(part, Arrival) else len(part) for size, part, _ in held)

    def announced_bytes(self) -> int:
        """Return how many bytes they will have when all have come."""
        return self._bytes

    def oldest(self) -> int | None:
        """Return the id of the one that has been under way longest, None where there is none."""
        return next(iter(self.open), None) if self.open else None

    def arrival(self, request_id: int) -> Arrival | None:
        """Return a message whose parts are received where they stay, None for any other."""
        held = self.open.get(request_id, (0, None, 0))[1] if self.open else None
        return held if isinstance(held, Arrival) else None

    def forget(self, request_id: int, arrival: Arrival) -> None:
        """Note that all of a message has come; harmless for one that did not come in chunks."""
        if self.open and self.arrival(request_id) is arrival:
            del self.open[request_id]
            self._bytes -= arrival.size

    def drop(self) -> None:
        """Forget all of them."""
        self.open, self._bytes = None, 0

    def collect(self, frame: Frame, accepts: Container[int]) -> Frame | None:
        """Add a CHUNK to its message; returns the message when it is whole.

        Args:
            accepts: the types of frames that may come now.

        Raises:
            RemoteProtocolError: the chunk does not fit.
        """
        _, flags, request_id, target, piece, extras, _ = frame
        if self.open is None:
            self.open = {}
        if target or extras or not piece:
            raise RemoteProtocolError(
                f"chunk of message {request_id} has {len(target)} bytes of target, {len(piece)} of body and "
                f"{len(extras)} of extras; it needs a body and nothing else"
            )
        if request_id not in self.open:
            self._begin(request_id, piece, accepts)
        size, held, enough = self.open[request_id]
        received = 0
        if type(held) is bytearray and held and len(held) + len(piece) < enough:
            held += piece  # most pieces of what comes in small ones
            received = len(held)
        elif isinstance(held, Arrival):
            received = size - held.left + len(piece)
            if len(piece) <= held.left:
                held.feed(piece)
        else:
            received, is_first = len(held) + len(piece), not held
            if not is_first:
                held += piece
            # Looked at a few times in all, however many pieces there are.
            begun = Arrival.begin(piece if is_first else held, self._make_part) if received >= enough else enough
            if isinstance(begun, int):
                enough = begun
                if is_first:
                    held += piece
            else:
                held = begun
            self.open[request_id] = size, held, enough
        more = flags & _MORE
        if received < size and more:
            return None
        del self.open[request_id]
        self._bytes -= size
        if received != size or more:
            raise RemoteProtocolError(
                f"message {request_id} in chunks has {received} bytes, announced were {size}"
            )
        return held.frame() if isinstance(held, Arrival) else _cut_message(held)

    def _begin(self, request_id: int, piece: Buffer, accepts: Container[int]) -> None:
        assert self.open is not None
        if len(piece) < HEADER_BYTES:
            raise RemoteProtocolError(
                f"first chunk of message {request_id} has {len(piece)} bytes, needs {HEADER_BYTES}"
            )
        kind, _, target_bytes, inner_id, body_bytes, extras_bytes = HEADER.unpack_from(piece)
        size = HEADER_BYTES + target_bytes + body_bytes + extras_bytes
        if kind not in CALLS or kind not in accepts or inner_id != request_id:
            raise RemoteProtocolError(
                f"message {request_id} in chunks starts with type {kind} and id {inner_id}"
            )
        if target_bytes > MAX_TARGET_BYTES:
            raise RemoteProtocolError(f"frame target is {target_bytes} bytes, limit is {MAX_TARGET_BYTES}")
        if len(self.open) >= MAX_OPEN_MESSAGES:
            raise RemoteProtocolError(
                f"{len(self.open)} messages in chunks are open, limit is {MAX_OPEN_MESSAGES}"
            )
        if self._bytes + size > self._limits.max_value_bytes:
            raise RemoteProtocolError(
                f"message is {size} bytes beside {self._bytes} under way, "
                f"limit is {self._limits.max_value_bytes} (max_value_bytes)"
            )
        self._bytes += size
        self.open[request_id] = size, bytearray(), 0


def _cut_message(held: bytearray) -> Frame:
    kind, flags, target_bytes, request_id, body_bytes, _ = HEADER.unpack_from(held)
    body_at = HEADER_BYTES + target_bytes
    extras_at = body_at + body_bytes
    view = memoryview(held).toreadonly()
    return (
        kind, flags, request_id, bytes(view[HEADER_BYTES:body_at]), view[body_at:extras_at],
        view[extras_at:], None,
    )
