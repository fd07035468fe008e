"""Memory that a socket is read into and that then is the user's own object, so that nothing has to be copied.

Python has no way to write into a new bytes object; its C interface does, and says that it may be done as long as
nobody else has seen the object (PyBytes_FromStringAndSize). It is asked through ctypes, which is imported when the
first large part arrives. Where Python is not CPython, what arrives is a bytearray, and is copied once.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, Union

__all__ = ["make_part"]

#: PyBUF_WRITE
_MAY_WRITE = 0x200

Part = tuple[Union[bytes, bytearray], memoryview]


def make_part(size: int, writable: bool) -> Part:
    """Return memory for `size` bytes, a bytearray or bytes, and a view to write into it.

    The view is good as long as the object lives; what the memory holds before it is written is undefined.
    """
    makers = _makers()
    if makers is None:
        part = bytearray(size)
        return part, memoryview(part)
    return makers[writable](size)


@functools.cache
def _makers() -> tuple[Callable[[int], Part], Callable[[int], Part]] | None:
    """Return what makes bytes and what makes a bytearray; None where this Python has no such interface."""
    if sys.implementation.name != "cpython":
        return None
    try:
        import ctypes
    except ImportError:  # it is left out of some builds
        return None
    api = ctypes.pythonapi
    size_t, pointer, thing = ctypes.c_ssize_t, ctypes.c_void_p, ctypes.py_object

    def declare(name: str, returns: Any, *takes: Any) -> Any:
        # A function of our own: others that use ctypes.pythonapi give its attributes types as they like.
        return ctypes.PYFUNCTYPE(returns, *takes)((name, api))

    new_bytes = declare("PyBytes_FromStringAndSize", thing, pointer, size_t)
    address_of = declare("PyBytes_AsString", pointer, thing)
    view_of = declare("PyMemoryView_FromMemory", thing, pointer, size_t, ctypes.c_int)
    new_bytearray = declare("PyByteArray_FromStringAndSize", thing, pointer, size_t)

    def make_bytes(size: int) -> Part:
        part = new_bytes(None, size)
        return part, view_of(address_of(part), size, _MAY_WRITE)

    def make_bytearray(size: int) -> Part:
        part = new_bytearray(None, size)
        return part, memoryview(part)

    return make_bytes, make_bytearray
