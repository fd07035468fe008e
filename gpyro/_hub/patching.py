"""Patching of the process by gevent, for programs that ask for it (`gpyro.pyro3.install`).

It imports nothing of gpyro, so that it can come before everything else.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from types import ModuleType

from gevent import monkey
from gevent._hub_local import get_hub_if_exists
from gevent.hub import Hub

__all__ = ["is_patched", "obstacle", "patch_process", "taken_before"]

#: Modules whose names from before the patch do no harm: gevent's own, ours, and what gevent mends itself.
_CARED_FOR = ("gevent", "greenlet", "gpyro", "gpyro_cli", *sys.stdlib_module_names)


def is_patched() -> bool:
    """Tell whether this process is patched already, by whomever."""
    return all(map(monkey.is_module_patched, ("socket", "threading")))


def obstacle() -> str:
    """Return what is in the way of a patch now; "" where nothing is."""
    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if threading.current_thread() is not threading.main_thread():
        return f"this is the thread {threading.current_thread().name!r}, and not the main thread"
    if others:
        return f"other threads run already ({', '.join(others[:5])}), which would keep locks of their own kind"
    if get_hub_if_exists() is not None:
        return "gevent or gpyro has been used in this process already"
    return ""


def patch_process() -> None:
    """Let what blocks in the standard library wait in the hub instead; a second time does nothing."""
    with warnings.catch_warnings():
        # That names of ssl were taken before is one of the things that `taken_before` tells.
        warnings.simplefilter("ignore", monkey.MonkeyPatchWarning)
        monkey.patch_all()  # noqa: TID251 (the program has asked for it)
    if KeyboardInterrupt not in Hub.NOT_ERROR:
        # It is raised where the main greenlet waits. gevent prints it as well, as if something were broken.
        Hub.NOT_ERROR = (*Hub.NOT_ERROR, KeyboardInterrupt)


def taken_before() -> list[str]:
    """Return what modules of the program took from the standard library before it was patched: `module.name`."""
    originals = {
        id(item): item for items in monkey.saved.values() for item in items.values() if callable(item)
    }  # fmt: skip
    return sorted(
        f"{module.__name__}.{name}" for module in _modules_of_the_program() for name, value in vars(module).items()
        if id(value) in originals
    )  # fmt: skip


def _modules_of_the_program() -> Iterator[ModuleType]:
    for name, module in list(sys.modules.items()):
        if isinstance(module, ModuleType) and (name == "__main__" or name.partition(".")[0] not in _CARED_FOR):
            yield module
