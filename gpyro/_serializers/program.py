"""Which modules are the program's own: neither the standard library's, nor installed, nor gpyro's.

Told by where their files lie, and asked when it matters, as modules are imported later. Nothing is imported here
for an answer; a path is looked at only to follow its links, and directories for the marks of installed packages.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable
from functools import lru_cache
from types import ModuleType
from typing import Any

from ..configuration import PROGRAM

__all__ = ["belongs_to_program", "find_module", "is_listed", "lies_under", "module_space"]

#: Directories of this name hold installed packages, whichever Python they are for.
_INSTALLED = frozenset(("site-packages", "dist-packages"))
#: How the directories end that tell of an installed distribution beside them.
_MARKS = (".dist-info", ".egg-info")
#: Where this package lies; in a checkout that may be below somebody's main script.
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_MAIN = "__main__"


def is_listed(module: str, modules: Iterable[str]) -> bool:
    """Say whether a module is among those of a setting `by_value`, and is the program's own.

    Args:
        module: its full name.
        modules: full names; `PROGRAM` stands for the main script and all modules under its directory.
    """
    if module not in modules and PROGRAM not in modules:
        return False
    loaded = find_module(module)
    if loaded is None or module.partition(".")[0] in sys.stdlib_module_names:
        return False
    file = _file_of(loaded)
    if module in modules:
        return file is None or not _is_library(file)
    main = find_module(_MAIN)
    return belongs_to_program(module, file, None if main is None else _file_of(main))


def belongs_to_program(
    module: str, file: str | None, main_file: str | None, libraries: Iterable[str] | None = None
) -> bool:
    """Say whether a module is the main script, or its file lies under the main script's directory.

    What was installed below that directory, as far as it has marks of that, is not the program's.

    Args:
        module: its full name.
        file: the path of its file; None where it has none, as `__main__` in an interactive session.
        main_file: the path of the main script, None where there is none.
        libraries: directories of which nothing is ever the program's, besides all that are named site-packages
            or dist-packages; None are those of this Python, and gpyro's own.
    """
    if main_file is not None and _is_library(main_file, libraries):
        return False
    if module == _MAIN:
        return file is None or not _is_library(file, libraries)
    if file is None or main_file is None or _is_library(file, libraries):
        return False
    # Python takes the directory of a script behind its links; a module that is a link itself lies where it is.
    places = [
        (path, main) for path in _both(file) for main in _both(main_file)
        if lies_under(path, os.path.dirname(main))
    ]  # fmt: skip
    return bool(places) and not any(_is_vendored(path, main) for path, main in places)


def lies_under(path: str, directory: str) -> bool:
    """Say whether an absolute path is within a directory, without looking at the disk."""
    path, directory = os.path.normcase(path), os.path.normcase(directory)
    return path.startswith(directory if directory.endswith(os.sep) else directory + os.sep)


def find_module(name: str) -> ModuleType | None:
    """Return a module that is imported already; what else may stand in its place is none."""
    module = sys.modules.get(name)
    return module if module is not None and issubclass(type(module), ModuleType) else None


def module_space(module: ModuleType) -> dict[str, Any]:
    """Return what a module holds, without running what it may do when it is asked for a name."""
    space: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return space


def _file_of(module: ModuleType) -> str | None:
    file = module_space(module).get("__file__")
    return file if type(file) is str and file else None


def _is_library(file: str, libraries: Iterable[str] | None = None) -> bool:
    if libraries is None:
        return _is_library_here(file)
    return any(
        not _INSTALLED.isdisjoint(path.split(os.sep)) or any(lies_under(path, place) for place in libraries)
        for path in _both(file)
    )


@lru_cache(maxsize=1000)
def _is_vendored(file: str, main_file: str) -> bool:
    """Say whether a file under the main script's directory was installed there (a wheel, a venv)."""
    top = os.path.dirname(main_file)
    if os.path.relpath(file, top).split(os.sep)[0] in _installed_beside(main_file):
        return True
    place = os.path.dirname(file)
    while lies_under(place, top):
        if _holds_installed(place):
            return True
        place = os.path.dirname(place)
    return False


@lru_cache(maxsize=1000)
def _holds_installed(directory: str) -> bool:
    return any(name == "pyvenv.cfg" or name.endswith(_MARKS) for name in _names_in(directory))


@lru_cache(maxsize=10)
def _installed_beside(main_file: str) -> frozenset[str]:
    """Return the top names of what was installed into the main script's own directory, by its lists of files.

    A list with the script itself is the program's own. So is an `*.egg-info` there: an editable install leaves it.
    """
    top, script = os.path.split(main_file)
    found: set[str] = set()
    for name in _names_in(top):
        if name.endswith(".dist-info"):
            try:
                with open(os.path.join(top, name, "RECORD"), encoding="utf-8", errors="replace") as record:
                    names = {line.lstrip('"').partition(",")[0].rstrip('"').partition("/")[0] for line in record}
            except OSError:
                continue
            if script not in names:
                found |= names
    return frozenset(found)


def _names_in(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []  # A zip file, or nothing at all.


# Programs have few modules, and following links takes system calls.
@lru_cache(maxsize=1000)
def _is_library_here(file: str) -> bool:
    return _is_library(file, _libraries())


@lru_cache(maxsize=1000)
def _both(path: str) -> frozenset[str]:
    return frozenset((os.path.abspath(path), os.path.realpath(path)))


@lru_cache(maxsize=1)
def _libraries() -> tuple[str, ...]:
    """Return the directories of this Python's libraries, and gpyro's own."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    places = {sysconfig.get_path(name) for name in names} | {os.path.dirname(os.__file__), _OURS}
    return tuple(sorted({form for place in places if place for form in _both(place)}))
