"""Pyro's system log and user log, on standard logging.

Each line goes to two places:

    the loggers "gpyro" and "gpyro.user", always. gpyro puts no handler on them, so a program that sets up
    logging decides; in one that does not, warnings and errors appear on stderr.

    a file, `config.logfile` and `config.user_logfile`, in Pyro's own form, when the level admits it:
    `config.tracelevel` and `config.user_tracelevel` are 0 nothing, 1 errors, 2 and warnings, 3 all.
    `config.stdlogging` turns the files off.

A text may come from the other side of a connection, so one entry can never look like two: line ends within
it are shown as continuation lines, other control characters as escapes.

Source: Pyro 3 manual, chapter 11 and chapter 4; the form of a line from Pyro 3.16, transcript C8.
"""

from __future__ import annotations

import logging
import os
import re
from abc import ABC, abstractmethod
from typing import ClassVar

from gpyro.configuration import Settings, config
from gpyro.util import escape_controls, make_private_directory

__all__ = ["Log", "LoggerBase", "SystemLogger", "UserLogger", "logger", "system_log"]

#: For the other rooms' own debug lines, and the parent of all of gpyro's loggers.
logger = logging.getLogger("gpyro")

#: Pyro's levels: an entry goes to the file when the trace level is at least this.
LEVEL_ERROR = 1
LEVEL_WARN = 2
LEVEL_NOTE = 3

#: Pyro's word in a line, and standard logging's level.
KINDS = {
    LEVEL_ERROR: ("ERR!", logging.ERROR),
    LEVEL_WARN: ("WARN", logging.WARNING),
    LEVEL_NOTE: ("NOTE", logging.INFO),
}

LINE = logging.Formatter("%(asctime)s [%(process)d:%(threadName)s] %(message)s", "%Y-%m-%d %H:%M:%S")

#: A log tells who called and what was asked: readable for this user alone.
FILE_MODE = 0o600

#: Never through a symbolic link that somebody laid in our way, and never waiting for the reader of a pipe.
FILE_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK

#: What stands before the second and later lines of an entry.
CONTINUATION = "\n | "

_LINE_ENDS = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


class LoggerBase(ABC):
    """One log: a logger of standard logging and a file.

    The file is opened for each entry, so that it may be moved away at any time and no descriptor stays open;
    nobody has to close anything. A file that cannot be written is told once on the logger; no error of it
    ever reaches the code that logs.
    """

    #: Name of the logger in standard logging.
    logger_name: ClassVar[str]

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = config if settings is None else settings
        self._logger = logging.getLogger(self.logger_name)
        #: The file that could not be written last, so that it is told once and not with each entry.
        self._failed_file: str | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} level {self._level()} to {self._logfile()}>"

    def msg(self, source: object, *args: object) -> None:
        """Log a note: who says it, then anything, joined by blanks."""
        self._entry(LEVEL_NOTE, source, args)

    def warn(self, source: object, *args: object) -> None:
        """Log a warning."""
        self._entry(LEVEL_WARN, source, args)

    def error(self, source: object, *args: object) -> None:
        """Log an error."""
        self._entry(LEVEL_ERROR, source, args)

    def raw(self, str: object) -> None:
        """Log a text as it is, without time and source, when the level is not 0."""
        shown = _safe(f"{str}")
        self._logger.info("%s", shown)
        self._write_file(LEVEL_ERROR, shown)

    # -- what differs between the two logs

    @abstractmethod
    def _level(self) -> int:
        """Return how much is logged."""

    @abstractmethod
    def _logfile(self) -> str:
        """Return the path of the file that is written to."""

    # -- the way of an entry

    def _entry(self, level: int, source: object, args: tuple[object, ...]) -> None:
        # As in Pyro: who gives one argument only has said what, not who.
        who, text = (_safe(str(source)), " ".join(map(str, args))) if args else ("N/A", str(source))
        shown = _safe(text)
        kind, standard_level = KINDS[level]
        # 3: past this method and msg, so that standard logging names the line that logs.
        self._logger.log(standard_level, "%s: %s", who, shown, stacklevel=3)
        if self._wants_file(level):
            message = f"** {kind} ** {who} ** {shown}"
            record = self._logger.makeRecord(
                self._logger.name, standard_level, "(gpyro)", 0, message, (), None
            )
            self._write_file(level, LINE.format(record))

    def _wants_file(self, level: int) -> bool:
        return self._level() >= level and not self.settings.stdlogging

    def _write_file(self, level: int, text: str) -> None:
        if not self._wants_file(level):
            return
        path = self._logfile()
        try:
            _append(path, text + "\n")
            self._failed_file = None
        except OSError as exc:
            if self._failed_file != path:
                self._failed_file = path
                self._logger.warning("log file %r cannot be written: %s", path, exc.strerror or exc)


class SystemLogger(LoggerBase):
    """gpyro's own log: `config.logfile`, `config.tracelevel`, logger "gpyro"."""

    logger_name = "gpyro"

    def _level(self) -> int:
        return self.settings.tracelevel

    def _logfile(self) -> str:
        return self.settings.logfile


class UserLogger(LoggerBase):
    """The program's log: `config.user_logfile`, `config.user_tracelevel`, logger "gpyro.user"."""

    logger_name = "gpyro.user"

    def _level(self) -> int:
        return self.settings.user_tracelevel

    def _logfile(self) -> str:
        return self.settings.user_logfile


def _safe(text: str) -> str:
    return escape_controls(_LINE_ENDS.sub(CONTINUATION, text))


def _append(path: str, text: str) -> None:
    """Write an entry in one go: with O_APPEND, entries of several processes do not mix."""
    try:
        file = open(path, "ab", opener=_open_private)
    except FileNotFoundError:
        make_private_directory(os.path.dirname(path))
        file = open(path, "ab", opener=_open_private)
    with file:
        file.write(text.encode("utf-8", "backslashreplace"))


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | FILE_FLAGS, FILE_MODE)


#: The system log. `Log` is Pyro's name for it.
Log = system_log = SystemLogger()
