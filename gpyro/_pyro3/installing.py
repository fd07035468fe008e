"""Makes `import Pyro` work: the modules `Pyro.x` are those of `gpyro.pyro3`, the very same objects."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

from gpyro.errors import PyroError

__all__ = ["install", "install_finder"]

OLD, NEW = "Pyro", "gpyro.pyro3"

WAY_OUT = (
    "call gpyro.pyro3.install() in the first line of the program, before its other imports, or run it with "
    "`python -m gpyro.pyro3 program.py`; install(patch=False) does without"
)


#: What has been told already, as `install` may be called often.
_told: list[str] = []


def install(patch: bool = True, by_value: bool = True) -> None:
    """Let programs import `Pyro` and its modules; call it before all else, once or as often as you like.

    Args:
        patch: patch the process with gevent first, so that what blocks in the program (sockets, `time.sleep`,
            threads, `input()`) lets other calls go on meanwhile. Without it, methods that block hold up everybody,
            see docs/usage.md.
        by_value: let objects of the program's own classes travel by value, as Pyro does: those of the main script
            and of modules in its directory (the setting `by_value`, unless that is set already).

    Raises:
        ConfigurationError: what the settings come from is not right, `Pyro.conf` in the current directory, too.
        PyroError: a real package `Pyro` is loaded already, or it is too late to patch: threads run, or gevent has
            been used. Nothing has been changed then.

    Warns:
        RuntimeWarning: modules that were imported before have taken what is patched, and go on blocking.
    """
    there = sys.modules.get(OLD)
    if there is not None and there.__name__ != NEW:
        raise PyroError(
            f"a package Pyro is loaded already, {getattr(there, '__file__', None) or there}; call "
            "gpyro.pyro3.install() before anything imports it, or take it out of this Python"
        )
    if patch:
        _patch()
    _set_up(by_value)
    install_finder()


def install_finder() -> None:
    """Let `import Pyro` find gpyro's, and nothing else."""
    if not any(isinstance(finder, PyroFinder) for finder in sys.meta_path):
        # First: a Pyro that is installed here must not win.
        sys.meta_path.insert(0, PyroFinder())


def _patch() -> None:
    # Not through gpyro.hub, which is better loaded when the process is patched.
    from gpyro._hub import patching

    if patching.is_patched():
        _wait_for_input()
        return
    reason = patching.obstacle()
    if reason:
        raise PyroError(f"too late to patch this process: {reason}; {WAY_OUT}")
    patching.patch_process()
    taken = patching.taken_before()
    if taken:
        more = f" and {len(taken) - 5} more" if len(taken) > 5 else ""
        warnings.warn(
            f"taken from the standard library before it was patched: {', '.join(taken[:5])}{more}; what they do "
            f"holds up all calls of this process; {WAY_OUT}",
            RuntimeWarning, stacklevel=3,
        )  # fmt: skip
    _wait_for_input()


def _wait_for_input() -> None:
    from gpyro._hub.stdin import wait_through_hub  # now that the process is patched

    wait_through_hub()


def _set_up(by_value: bool) -> None:
    from gpyro._pyro3.settings import read_pyro_conf  # now that the process is patched
    from gpyro.configuration import PROGRAM, config

    note = read_pyro_conf()
    if note and note not in _told and sys.stderr is not None:
        _told.append(note)
        print(f"WARNING: {note}", file=sys.stderr, flush=True)
    if by_value and config.origin("by_value") == "default":
        config.by_value = (PROGRAM,)
    if config.origin("as_pyro3") == "default":
        config.as_pyro3 = True


class PyroFinder(MetaPathFinder):
    """Finds `Pyro.x` in `gpyro.pyro3.x`."""

    def __repr__(self) -> str:
        return f"<PyroFinder: {OLD} is {NEW}>"

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where the module is.

        Raises:
            ModuleNotFoundError: it is one of Pyro's, and gpyro has none of that name.
        """
        if fullname != OLD and not fullname.startswith(f"{OLD}."):
            return None
        real = NEW + fullname[len(OLD) :]
        found = find_spec(real)
        if found is None:
            raise ModuleNotFoundError(
                f"No module named {fullname!r}: {NEW} does not have it; docs/pyro3.md lists what is left out",
                name=fullname,
            )
        is_package = found.submodule_search_locations is not None
        return ModuleSpec(fullname, _AliasLoader(real), origin=found.origin, is_package=is_package)


class _AliasLoader(Loader):
    """Gives a module that is loaded under its own name a second one, without running it again."""

    def __init__(self, real: str) -> None:
        self._real = real
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module."""
        module = import_module(self._real)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give it back its own spec, which the import system has just replaced."""
        module.__spec__ = self._spec
