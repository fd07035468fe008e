"""What a program's surroundings say about its settings: environment variables and a configuration file."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gpyro._configuration.items import ITEMS, NOT_USED, Item, did_you_mean, plain_name, variables_of
from gpyro.errors import ConfigurationError

__all__ = ["Given", "Surroundings", "current_directory", "nothing", "read_one_file", "read_surroundings"]

#: A configuration file is some sixty short lines; more than this is not one.
MAX_FILE_BYTES = 64 * 1024

#: Read from the current directory when no file is named, if it can be trusted.
FILE_IN_CURRENT_DIRECTORY = "gpyro.conf"


class Given(NamedTuple):
    """One value that a file or the environment gives."""

    name: str
    value: Any
    origin: str


class Surroundings(NamedTuple):
    """What was read outside the program: values, weakest first, and what a person should know about them."""

    given: list[Given]
    notes: list[str]
    current_directory: str
    #: The path of the file that was read, "" where there was none.
    file: str = ""


def current_directory() -> str:
    """Return the current directory; the root when it has been removed under our feet."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return os.sep


def nothing() -> Surroundings:
    """Return surroundings that say nothing."""
    return Surroundings([], [], current_directory())


# -- environment and file -------------------------------------------------------------------------------


def read_surroundings(environ: Mapping[str, str], directory: str, file: str | None = None) -> Surroundings:
    """Read the configuration file and the environment.

    Args:
        environ: the variables, `os.environ` for `config`.
        directory: the current directory, where `gpyro.conf` may lie.
        file: the path of the configuration file, "" for none; by default it is looked for.

    Raises:
        ConfigurationError: a file that was named is not there, or a line or variable is wrong.
    """
    notes: list[str] = []
    if file is None:
        path, body = _find_file(environ, directory, notes)
    else:
        path, body = file, _read_named_file(file) if file else None
    given = [] if body is None else list(_parse_file(body, path, notes))
    given += _read_environment(environ, notes)
    return Surroundings(given, notes, directory, path if body is not None else "")


def _parse_given(item: Item[Any], text: str, where: str, origin: str) -> Given:
    try:
        return Given(item.name, item.check(item.parse(text)), origin)
    except ValueError:
        raise ConfigurationError(f"{where} is {text!r}, but {item.name} must be {item.allowed}") from None


def _read_environment(environ: Mapping[str, str], notes: list[str]) -> Iterator[Given]:
    for name, item in ITEMS.items():
        for variable in variables_of(name):
            # As in Pyro, an empty value means that nothing is given.
            text = environ.get(variable, "").strip()
            if text:
                yield _parse_given(item, text, f"environment variable {variable}", f"environment {variable}")
                break
    for variable in environ:
        # GPYRO_ is our own prefix, so an unknown one is likely a slip; PYRO_ is shared with other programs.
        name = plain_name(variable)
        if variable.startswith("GPYRO_") and name not in ITEMS and name != "config_file":
            notes.append(f"environment variable {variable} is no setting{did_you_mean(name)}")


def _find_file(environ: Mapping[str, str], directory: str, notes: list[str]) -> tuple[str, bytes | None]:
    for variable in ("GPYRO_CONFIG_FILE", "PYRO_CONFIG_FILE"):
        if environ.get(variable):
            path = os.path.join(directory, environ[variable])
            return path, _read_named_file(path, f", named by {variable},")
    return find_in_directory(directory, FILE_IN_CURRENT_DIRECTORY, notes)


def find_in_directory(directory: str, name: str, notes: list[str]) -> tuple[str, bytes | None]:
    """Return the path and the content of a file that nobody has named; None where there is none to be trusted."""
    path = os.path.join(directory, name)
    return path, _read_trusted_file(path, notes)


def read_one_file(directory: str, name: str) -> Surroundings:
    """Read a file of this name in a directory, if it is there and can be trusted.

    Raises:
        ConfigurationError: a line is wrong.
    """
    notes: list[str] = []
    path, body = find_in_directory(directory, name, notes)
    given = [] if body is None else list(_parse_file(body, path, notes))
    return Surroundings(given, notes, directory, path if body is not None else "")


def _read_named_file(path: str, by: str = "") -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise ConfigurationError(
            f"configuration file {path!r}{by} cannot be read: {exc.strerror or exc}"
        ) from exc


def _read_trusted_file(path: str, notes: list[str]) -> bytes | None:
    """Read a file that nobody asked for, if it cannot be somebody else's work; None when there is none.

    A program may be started in /tmp, so a symbolic link, a file of another user and one that everybody may
    write are passed over, with a note. GPYRO_CONFIG_FILE reads such a file.
    """
    try:
        # Not blocking: a pipe of that name must not hold the program up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as exc:
        notes.append(f"{path} is not read: {exc.strerror or exc}")
        return None
    try:
        reason = _reason_for_distrust(os.fstat(descriptor))
        if reason:
            notes.append(f"{path} is not read: {reason}; name it in GPYRO_CONFIG_FILE if you trust it")
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)


def _reason_for_distrust(state: os.stat_result) -> str:
    if not stat.S_ISREG(state.st_mode):
        return "it is no plain file"
    if state.st_uid != os.geteuid():
        return f"it belongs to user {state.st_uid}, not to user {os.geteuid()} who runs this program"
    if state.st_mode & stat.S_IWOTH:
        return "everybody may write it"
    return ""


#: `item = value`; a blank and a # begin a remark, as in an old Pyro.conf where a value ends at a blank.
LINE = re.compile(r"(?P<name>\w+)\s*=\s*(?P<value>.*?)(?:\s+#.*)?")


def _parse_file(body: bytes, path: str, notes: list[str]) -> Iterator[Given]:
    if len(body) > MAX_FILE_BYTES:
        raise ConfigurationError(f"configuration file {path!r} is larger than {MAX_FILE_BYTES} bytes")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"configuration file {path!r} is not UTF-8 text: {exc}") from exc
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        found = LINE.fullmatch(line)
        if not found:
            raise ConfigurationError(f"{path}, line {number}: {line!r} is not of the form 'item = value'")
        yield from _parse_line(found["name"], found["value"], path, number, notes)


def _parse_line(name: str, value: str, path: str, number: int, notes: list[str]) -> Iterator[Given]:
    plain = plain_name(name)
    where = f"{path}, line {number}: {name}"
    if plain in NOT_USED:
        notes.append(f"{where} is not used by gpyro: {NOT_USED[plain]}")
    elif plain not in ITEMS:
        raise ConfigurationError(f"{where} is no setting{did_you_mean(plain)}")
    elif value:
        yield _parse_given(ITEMS[plain], value, where, f"file {path}")


