"""The settings: what can be set, what each item means, and where its value comes from.

`config` is the process's mutable `Settings`. A value comes from the first of these that gives one:

    code           config.port = 7800
    environment    GPYRO_PORT, then Pyro's own PYRO_PORT; variables of unknown name are left alone
    file           the file that GPYRO_CONFIG_FILE (or PYRO_CONFIG_FILE) names, else `gpyro.conf` in the
                   current directory if it is a plain file of this user that not everybody may write;
                   for programs of Pyro 3 (`gpyro.pyro3`) also `Pyro.conf`
    default        the table below

Environment and file are read when `config` is first used, not at import: `import gpyro` never fails
because of somebody's shell, and the error names the variable, or the file and line, to mend.

`config.snapshot()` is a frozen copy for one daemon or proxy. Items marked live are not frozen in it but
read from `config` each time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from gpyro._configuration.items import (
    ITEMS,
    NOT_USED,
    PROGRAM,
    CertificateFile,
    FilePath,
    Item,
    KeyFile,
    OwnItems,
    PyroItems,
    StoragePath,
    did_you_mean,
    old_name,
    plain_name,
)
from gpyro._configuration.sources import (
    Surroundings,
    current_directory,
    nothing,
    read_one_file,
    read_surroundings,
)
from gpyro.errors import ConfigurationError

__all__ = [
    "ITEMS", "NOT_USED", "PROGRAM", "ConfigurationError", "Item", "Row", "Settings", "config", "current_directory",
    "old_name", "read_surroundings",
]  # fmt: skip

#: Pairs of items of which the first must not be larger than the second; looked at when a snapshot is taken.
ORDERED_PAIRS = (
    ("output_soft_bytes", "output_hard_bytes"),
    ("heartbeat_seconds", "liveness_seconds"),
)


#: Kinds of items whose value is a path that is filled in when it is read.
PATHS = (FilePath, KeyFile)


class Row(NamedTuple):
    """One line of `gpyro config`."""

    name: str
    value: object
    origin: str
    help: str


class Settings(PyroItems, OwnItems):
    """A set of values for all items; `snapshot()` gives a frozen one.

    `Settings(port=7800)` starts from the defaults alone and looks neither at the environment nor at a file.

    Raises:
        AttributeError: there is no such item, or the settings are frozen.
        ConfigurationError: a value is not allowed; from `config` also: the environment or the file is wrong.
    """

    __slots__ = (
        "_current_directory", "_file", "_frozen", "_notes", "_origins", "_parent", "_snapshot", "_surroundings",
        "_values",
    )  # fmt: skip

    _values: dict[str, Any]
    _origins: dict[str, str]
    _notes: list[str]
    _parent: Settings | None
    _frozen: bool
    _surroundings: Callable[[], Surroundings] | None
    _current_directory: str
    #: The configuration file that was read.
    _file: str
    #: The last plain snapshot, as long as nothing is assigned: each proxy takes one.
    _snapshot: Settings | None

    def __init__(self, **values: object) -> None:
        self._begin(surroundings=nothing)
        for name, value in values.items():
            setattr(self, name, value)

    @classmethod
    def reading(cls, surroundings: Callable[[], Surroundings]) -> Settings:
        """Make settings that ask `surroundings` for file and environment when they are first used."""
        settings = cls.__new__(cls)
        settings._begin(surroundings=surroundings)
        return settings

    def _begin(
        self,
        *,
        surroundings: Callable[[], Surroundings] | None = None,
        parent: Settings | None = None,
        frozen: bool = False,
        current_directory: str = "",
    ) -> None:
        fields: dict[str, object] = {
            "_values": {}, "_origins": {}, "_notes": [], "_parent": parent, "_frozen": frozen,
            "_surroundings": surroundings, "_current_directory": current_directory, "_snapshot": None, "_file": "",
        }  # fmt: skip
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    # -- reading and assigning

    def _load(self) -> None:
        """Read file and environment, once; a failure is raised again at each use until it is mended."""
        if self._surroundings is None:
            return
        found = self._surroundings()
        for given in found.given:
            self._values[given.name] = given.value
            self._origins[given.name] = given.origin
        self._notes.extend(found.notes)
        object.__setattr__(self, "_current_directory", found.current_directory)
        object.__setattr__(self, "_file", found.file)
        object.__setattr__(self, "_surroundings", None)

    def look_for(self, name: str) -> str:
        """Read a file of this name in the current directory too, where no other one was read; code and
        environment are stronger. It has to be one that can be trusted, as `gpyro.conf`.

        Returns:
            Why one that is there is not read; "" otherwise.

        Raises:
            ConfigurationError: a line of it is wrong.
        """
        self._load()
        if self._file:
            return ""
        found = read_one_file(self._current_directory, name)
        for given in found.given:
            if given.name not in self._values:
                self._values[given.name] = given.value
                self._origins[given.name] = given.origin
        self._notes.extend(note for note in found.notes if note not in self._notes)
        object.__setattr__(self, "_file", found.file)
        object.__setattr__(self, "_snapshot", None)
        return "" if found.file else "; ".join(found.notes)

    def _read(self, item: Item[Any]) -> Any:
        if self._surroundings is not None:
            self._load()
        if item.name in self._values:
            value = self._values[item.name]
        elif self._parent is not None and item.live:
            return self._parent._read(item)
        else:
            value = item.default
        return self._expand(item, value) if isinstance(item, PATHS) and value is not None else value

    def _expand(self, item: Item[Any], path: str) -> str:
        if isinstance(item, StoragePath) and not path:
            from platformdirs import user_state_path  # 4 ms, and only some programs need it

            return str(user_state_path("gpyro"))
        path = path.replace("$CURDIR", self._current_directory)
        if "$STORAGE" in path:
            path = path.replace("$STORAGE", self.storage)
        base = self.ssl_certdir if isinstance(item, (CertificateFile, KeyFile)) else self._current_directory
        return os.path.join(base, os.path.expanduser(path))

    def _assign(self, item: Item[Any], value: object) -> None:
        if self._frozen:
            raise AttributeError(
                f"{item.name} cannot be set to {value!r}: these settings are a snapshot; set it on "
                f"gpyro.config before the snapshot is taken, or give it to snapshot({item.name}=...)"
            )
        self._load()
        object.__setattr__(self, "_snapshot", None)
        self._values[item.name] = item.check(value)
        self._origins[item.name] = "code"

    def __setattr__(self, name: str, value: object) -> None:
        if name not in ITEMS:
            raise AttributeError(_no_such_item(name))
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name} cannot be deleted; assign Settings.{name}.default to it instead")

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(_no_such_item(name))

    # -- copies

    def snapshot(self, **overrides: object) -> Settings:
        """Return a frozen copy in which the overrides hold; live items that are not overridden stay live.

        Raises:
            AttributeError: an override is no item.
            ConfigurationError: a value is not allowed, or two of them do not fit together.
        """
        self._load()
        if self._frozen and not overrides:
            return self
        if self._snapshot is not None and not overrides:
            return self._snapshot
        copy = Settings.__new__(Settings)
        copy._begin(parent=self, frozen=True, current_directory=self._current_directory)
        for name, value in self._values.items():
            if not ITEMS[name].live:
                copy._values[name] = value
                copy._origins[name] = self._origins[name]
        for name, value in overrides.items():
            if name not in ITEMS:
                raise AttributeError(_no_such_item(name))
            copy._values[name] = ITEMS[name].check(value)
            copy._origins[name] = "code"
        copy._check_pairs()
        if not overrides:
            object.__setattr__(self, "_snapshot", copy)
        return copy

    def _check_pairs(self) -> None:
        for low, high in ORDERED_PAIRS:
            if getattr(self, low) > getattr(self, high):
                raise ConfigurationError(
                    f"{low} is {getattr(self, low)}, but it must not be more than {high}, "
                    f"which is {getattr(self, high)}"
                )

    # -- showing

    def origin(self, name: str) -> str:
        """Return where the value comes from: "default", "file PATH", "environment NAME" or "code".

        Raises:
            AttributeError: there is no such item.
        """
        if name not in ITEMS:
            raise AttributeError(_no_such_item(name))
        self._load()
        if name not in self._origins and self._parent is not None and ITEMS[name].live:
            return self._parent.origin(name)
        return self._origins.get(name, "default")

    def file_read(self) -> str:
        """Return the path of the configuration file that was read; "" where there was none."""
        self._load()
        return self._file if self._parent is None else self._parent.file_read()

    def notes(self) -> list[str]:
        """Return what a person should know: files that were not trusted, items that are passed over."""
        self._load()
        return list(self._notes) if self._parent is None else self._parent.notes()

    def dump(self) -> list[Row]:
        """Return every item with its value and where that comes from, in the order of the table."""
        return [Row(name, getattr(self, name), self.origin(name), item.help) for name, item in ITEMS.items()]

    def __repr__(self) -> str:
        kind = "frozen" if self._frozen else "mutable"
        if self._surroundings is not None:
            return f"<Settings {kind}, not read yet>"
        changed = "".join(f" {name}={self._values[name]!r}" for name in ITEMS if name in self._values)
        return f"<Settings {kind}{changed or ', all defaults'}>"


def _no_such_item(name: str) -> str:
    plain = plain_name(name)
    if plain in ITEMS and plain != name:
        return f"there is no setting {name!r}; it is spelled {plain!r} here"
    if plain in NOT_USED:
        return f"there is no setting {name!r} in gpyro: {NOT_USED[plain]}"
    return f"there is no setting {name!r}{did_you_mean(plain)}"


#: The process's settings.
config = Settings.reading(lambda: read_surroundings(os.environ, current_directory()))

if __name__ == "__main__":
    from gpyro.util import run_command

    run_command("config")
