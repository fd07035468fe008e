"""Memory that a socket is read into and that then is the user's own object, so that nothing has to be copied.

Python has no way to write into a new bytes object; its C interface does, and says that it may be done as long as
nobody else has seen the object (PyBytes_FromStringAndSize). It is asked through ctypes, which is imported when the
first large part arrives. Where Python is not CPython, what arrives is a bytearray, and is copied once.
"""

from __future__ import annotations

import functools
import mmap
import sys
from collections.abc import Callable
from typing import Any, Union

__all__ = ["keep_freed_memory", "make_part"]

#: PyBUF_WRITE
_MAY_WRITE = 0x200
#: Parts from here on ask for huge pages, as arrays of numpy do: 64 MiB took half the time with them.
_HUGE_BYTES = 4 * 1024 * 1024
_MADV_HUGEPAGE = 14

#: A bit more than the largest frame by default.
_LARGE_BYTES = 4 * 1024 * 1024 + 64 * 1024

Part = tuple[Union[bytes, bytearray], memoryview]


def make_part(size: int, writable: bool) -> Part:
    """Return memory for `size` bytes, a bytearray or bytes, and a view to write into it.

    The view is good as long as the object lives; what the memory holds before it is written is undefined.
    """
    keep_freed_memory()
    makers = _makers()
    if makers is None:
        part = bytearray(size)
        return part, memoryview(part)
    return makers[writable](size)


@functools.cache
def keep_freed_memory() -> None:
    """Let the C library keep twice _LARGE_BYTES of what is freed, in a process that large values come to.

    glibc gives what is free at the end of its memory back to the system from 128 KiB on, and the next value pays
    for each page anew: 100 KB took 60 us longer. It keeps twice the size of the largest block that was ever mapped
    for itself and freed (mallopt(3), M_MMAP_THRESHOLD), so one such block, which nobody writes to, is enough.
    """
    bytearray(_LARGE_BYTES)


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
    place_of = declare("PyByteArray_AsString", pointer, thing)
    advise = getattr(ctypes.CDLL(None), "madvise", None) if sys.platform == "linux" else None
    page = mmap.PAGESIZE

    def want_huge_pages(address: int, size: int) -> None:
        first, last = -(-address // page) * page, (address + size) // page * page
        # What comes of it matters to nobody: the system may have been told to have none.
        assert advise is not None
        advise(pointer(first), ctypes.c_size_t(last - first), _MADV_HUGEPAGE)

    def make_bytes(size: int) -> Part:
        part = new_bytes(None, size)
        address = address_of(part)
        if size >= _HUGE_BYTES and advise is not None:
            want_huge_pages(address, size)
        return part, view_of(address, size, _MAY_WRITE)

    def make_bytearray(size: int) -> Part:
        part = new_bytearray(None, size)
        if size >= _HUGE_BYTES and advise is not None:
            want_huge_pages(place_of(part), size)
        return part, memoryview(part)

    return make_bytes, make_bytearray
