"""`Pyro.config`: the settings in Pyro's spelling.

`Pyro.config.PYRO_PORT` is `gpyro.config.port`, the same value, to read and to set. Items that have no meaning in
gpyro (`gpyro.configuration.NOT_USED`) keep what they are given; whoever asks one of them for something that he
will not get is warned, once. Other names may be set too, as in Pyro, and are warned of, as they are likely slips.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

from gpyro.configuration import ITEMS, NOT_USED, Settings, current_directory, old_name, read_surroundings
from gpyro.configuration import config as process_settings

__all__ = ["NAMES", "UNUSED", "Config", "config", "read_pyro_conf"]

#: Pyro's spelling of each item that gpyro has: PYRO_PORT is port, PYROSSL_CERT is ssl_cert.
NAMES = {old: name for name in ITEMS for old in [old_name(name)] if old}

#: Pyro's items that gpyro does not have, with Pyro's defaults. Source: `python -m Pyro.configuration`.
UNUSED: dict[str, Any] = {
    "PYRO_MULTITHREADED": 1,
    "PYRO_BROKEN_MSGWAITALL": 0,
    "PYRO_PICKLE_FORMAT": 2,
    "PYRO_XML_PICKLE": None,
    "PYRO_GNOSIS_PARANOIA": 0,
    "PYRO_MOBILE_CODE": 0,
    "PYRO_COMPRESSION": 0,
    "PYRO_CHECKSUM": 0,
    "PYRO_STDLOGGING_CFGFILE": "logging.cfg",
}

#: Those that say how something is done, not that it is; nobody misses anything.
HARMLESS = ("PYRO_BROKEN_MSGWAITALL", "PYRO_PICKLE_FORMAT", "PYRO_GNOSIS_PARANOIA")

CONFIG_FILE = "PYRO_CONFIG_FILE"


class Config:
    """Settings in Pyro's spelling.

    Args:
        settings: those behind it; by default some of its own, with all defaults, as `Pyro.configuration.Config()`.

    Raises:
        AttributeError: there is no such item.
        ConfigurationError: a value is not allowed, or what the environment or the file says is not.
    """

    _settings: Settings
    _warned: set[str]

    def __init__(self, settings: Settings | None = None) -> None:
        self.__dict__["_settings"] = Settings() if settings is None else settings
        self.__dict__["_warned"] = set()

    def __repr__(self) -> str:
        return f"<Config in Pyro's spelling of {self._settings!r}>"

    def __dir__(self) -> list[str]:
        return sorted({*NAMES, *UNUSED, CONFIG_FILE, "setup", *(name for name in vars(self) if name[0] != "_")})

    def __getattr__(self, name: str) -> Any:
        if name in NAMES:
            value = getattr(self._settings, NAMES[name])
            # Pyro's flags are 1 and 0.
            return int(value) if isinstance(value, bool) else value
        if name in UNUSED:
            return UNUSED[name]
        if name == CONFIG_FILE:
            return self._settings.file_read()
        raise AttributeError(f"Pyro.config has no item {name!r}; dir(Pyro.config) lists them")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in NAMES:
            setattr(self._settings, NAMES[name], _in_our_form(ITEMS[NAMES[name]].default, value))
            return
        self.__dict__[name] = value
        if name in UNUSED and name not in HARMLESS and value != UNUSED[name]:
            reason = NOT_USED[name[len("PYRO_") :].lower()]
            self._warn(name, f"{name}={value!r} has no effect in gpyro: {reason}")
        elif name.startswith("PYRO") and name not in UNUSED:
            self._warn(name, f"{name} is no setting; dir(Pyro.config) lists them")

    def _warn(self, name: str, text: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            warnings.warn(text, RuntimeWarning, stacklevel=3)

    def setup(self, configFile: str | None) -> None:
        """Take what a file says, and what the environment does, which is stronger; "" or None is no file.

        Raises:
            ConfigurationError: the file is not there, or a line or variable is wrong.
        """
        path = os.path.abspath(configFile) if configFile else ""
        for given in read_surroundings(os.environ, current_directory(), path).given:
            setattr(self._settings, given.name, given.value)
        self.__dict__[CONFIG_FILE] = path


def _in_our_form(default: object, value: Any) -> Any:
    """Return what old programs put into an item, in the form in which it is kept here."""
    if isinstance(value, bool):
        return int(value)
    if value == "" and default is None:
        return None
    return "" if value is None and isinstance(default, str) else value


#: The process's settings.
config = Config(process_settings)


def read_pyro_conf() -> str:
    """Read `Pyro.conf` in the current directory, as Pyro does, where no other file is named or `gpyro.conf` there.

    Returns:
        Why the one that is there is not read; "" otherwise.

    Raises:
        ConfigurationError: a line of it is wrong, or what the settings come from otherwise.
    """
    return process_settings.look_for("Pyro.conf")
