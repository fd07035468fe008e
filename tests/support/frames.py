"""How a peer that is no gpyro reads frames from a socket; its machine takes them apart."""

from __future__ import annotations

from typing import Any

from gpyro.wire.native import Frame, Machine

__all__ = ["next_frame"]


def next_frame(sock: Any, machine: Machine, waiting: list[Frame]) -> Frame:
    """Return the next frame; those that came along with it are put in `waiting`.

    Raises:
        EOFError: the other side has closed.
    """
    while not waiting:
        data = sock.recv(65536)
        if not data:
            raise EOFError
        machine.receive_data(data)
        while frames := machine.next_frames():
            waiting += frames
    return waiting.pop(0)
