"""Small functions that old programs find in `Pyro.protocol` and `Pyro.util`."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

from gpyro import hub
from gpyro.errors import ProtocolError
from gpyro.util import make_guid

__all__ = [
    "ArgParser", "genguid_scripthelper", "getEventObject", "getHostname", "getIPAddress", "getLockObject",
    "getRLockObject", "supports_compression", "supports_multithreading",
]  # fmt: skip

#: Seconds that a resolver gets; Pyro waits without limit.
LOOK_UP_SECONDS = 5.0


def getHostname(ip: str | None = None) -> str | None:
    """Return the name of this machine, or of the one at an address; None where nobody knows one.

    Source: Pyro.protocol.getHostname.
    """
    return hub.name_of_host(ip) if ip else os.uname().nodename or None


def getIPAddress(host: str | None = None) -> str | None:
    """Return the address of a host, by default of this machine; None where nobody knows one.

    Source: Pyro.protocol.getIPAddress.
    """
    try:
        return hub.resolve(host or os.uname().nodename, LOOK_UP_SECONDS)[0]
    except ProtocolError:
        return None


# From threading when they are called, as the process may be patched after this module was loaded.


def getLockObject() -> Any:
    """Return a new lock."""
    return threading.Lock()


def getRLockObject() -> Any:
    """Return a new lock that its holder may take again."""
    return threading.RLock()


def getEventObject() -> Any:
    """Return a new event that threads and greenlets can wait for."""
    return threading.Event()


def supports_multithreading() -> int:
    """Return 1: calls always run side by side."""
    return 1


def supports_compression() -> int:
    """Return 0: nothing is compressed on the way."""
    return 0


class ArgParser:
    """Takes the options out of a command's words, as Pyro's tools did; new programs have argparse.

    Attributes:
        options: what was given, option to value; None for one without.
        args: the other words.
        ignored: options that are not on the list.

    Source: Pyro.util.ArgParser.
    """

    def __init__(self) -> None:
        self.options: dict[str, str | None] = {}
        self.args: list[str] = []
        self.ignored: list[str] = []

    def __repr__(self) -> str:
        return f"<ArgParser {self.options}, {self.args}>"

    def parse(self, args: str | Sequence[str], optionlist: str) -> None:
        """Sort the words.

        Args:
            args: the words, or a text of them.
            optionlist: "ab:c" stands for the options -a, -b with a value, and -c. A "-" ends the options.
        """
        self.__init__()  # type: ignore[misc]  # it starts anew, whatever it was used for
        words = args.split() if isinstance(args, str) else list(args)
        while words:
            word = words.pop(0)
            if word == "-":
                self.args.extend(words)
                return
            if not word.startswith("-"):
                self.args.append(word)
                continue
            option, value = word[1], word[2:] or None
            if option == ":" or option not in optionlist:
                self.ignored.append(option)
            elif f"{option}:" not in optionlist:
                self.options[option] = None
            else:
                self.options[option] = value or (words.pop(0) if words else None)

    def hasOpt(self, option: str) -> bool:
        """Tell whether an option was given."""
        return option in self.options

    def getOpt(self, option: str, default: Any = Exception) -> Any:
        """Return the value of an option.

        Raises:
            KeyError: it was not given, and there is no default.
        """
        if option not in self.options and default is Exception:
            raise KeyError(f"no such option: -{option}")
        return self.options.get(option, default)

    def printIgnored(self) -> None:
        """Print the options that are not on the list."""
        if self.ignored:
            print("Ignored options:", *(f"-{option}" for option in self.ignored))


def genguid_scripthelper(argv: Sequence[str]) -> None:
    """Print a new object id. Source: Pyro.util.genguid_scripthelper."""
    if argv:
        print("Usage: genguid  (no arguments)\nThis tool generates object ids.")
        raise SystemExit
    print(make_guid())
