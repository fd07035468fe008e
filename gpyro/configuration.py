"""The settings: what can be set, what each item means, and where its value comes from.

`config` is the process's mutable `Settings`. A value comes from the first of these that gives one:

    code           config.port = 7800
    environment    GPYRO_PORT, then Pyro's own PYRO_PORT; variables of unknown name are left alone
    file           the file that GPYRO_CONFIG_FILE (or PYRO_CONFIG_FILE) names, else `gpyro.conf` in the
                   current directory if it is a plain file of this user that nobody else may write
    default        the table below

Environment and file are read when `config` is first used, not at import: `import gpyro` never fails
because of somebody's shell, and the error names the variable, or the file and line, to mend.

`config.snapshot()` is a frozen copy for one daemon or proxy. Items marked live are not frozen in it but
read from `config` each time.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar, overload

from gpyro.errors import PyroError

T = TypeVar("T")

__all__ = ["ITEMS", "NOT_USED", "ConfigurationError", "Item", "Row", "Settings", "config"]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

#: A configuration file is some sixty short lines; more than this is not one.
MAX_FILE_BYTES = 64 * KIB

#: Read from the current directory when no file is named, if it can be trusted.
FILE_IN_CURRENT_DIRECTORY = "gpyro.conf"

#: Prefixes of an environment variable or of a line in a file, the stronger one first.
PREFIXES = ("GPYRO_", "PYRO_")

#: How a flag is written in the environment and in a file.
FLAG_WORDS = {
    "1": True, "true": True, "yes": True, "on": True,
    "0": False, "false": False, "no": False, "off": False,
}  # fmt: skip


class ConfigurationError(PyroError, ValueError):
    """A setting has a value that it cannot have; the message names item, value and what is allowed."""


# -- kinds of items -------------------------------------------------------------------------------------


class Item(Generic[T]):
    """One setting: its default, its meaning with its unit, and whether snapshots read it live.

    It is the descriptor that stands in the table below, so `config.port` is an int for mypy too.
    """

    def __init__(self, default: T, help: str, *, live: bool = False) -> None:
        self.name = ""
        self.default = default
        self.help = help
        self.live = live

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, settings: None, owner: type) -> Item[T]: ...
    @overload
    def __get__(self, settings: object, owner: type) -> T: ...
    def __get__(self, settings: Any, owner: type) -> Any:
        return self if settings is None else settings._read(self)

    def __set__(self, settings: Any, value: T) -> None:
        settings._assign(self, value)

    def __repr__(self) -> str:
        return f"<Item {self.name}: {self.allowed}, default {self.default!r}{', live' if self.live else ''}>"

    @property
    def allowed(self) -> str:
        """What may be put in, for people."""
        raise NotImplementedError

    def is_allowed(self, value: object) -> bool:
        raise NotImplementedError

    def parse(self, text: str) -> object:
        """Turn the text of a file or variable into a value; ValueError when it is none."""
        return text

    def keep(self, value: Any) -> T:
        """Return the allowed value in the form in which it is stored."""
        stored: T = value
        return stored

    def check(self, value: object) -> T:
        """Return the value to store.

        Raises:
            ConfigurationError: the value has the wrong type or is out of range.
        """
        if not self.is_allowed(value):
            raise ConfigurationError(f"{self.name} is {value!r}, but it must be {self.allowed}")
        return self.keep(value)


class Whole(Item[int]):
    """A whole number from `low` to `high`."""

    def __init__(self, default: int, help: str, *, low: int, high: int, live: bool = False) -> None:
        super().__init__(default, help, live=live)
        self.low, self.high = low, high

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def is_allowed(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def parse(self, text: str) -> int:
        return int(text)


class Seconds(Item[float]):
    """A length of time from `low` to `high` seconds."""

    def __init__(
        self, default: float, help: str, *, low: float, high: float = 86400.0, live: bool = False
    ) -> None:
        super().__init__(float(default), help, live=live)
        self.low, self.high = low, high

    @property
    def allowed(self) -> str:
        return f"a number of seconds from {self.low:g} to {self.high:g}"

    def is_allowed(self, value: object) -> bool:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and self.low <= value <= self.high  # type: ignore[operator]

    def parse(self, text: str) -> float:
        return float(text)

    def keep(self, value: Any) -> float:
        return float(value)


class Flag(Item[bool]):
    """On or off; Pyro writes 1 and 0."""

    allowed = "1 or 0 (also true, false, yes, no, on, off)"

    def is_allowed(self, value: object) -> bool:
        return isinstance(value, int) and value in (0, 1)

    def parse(self, text: str) -> bool:
        try:
            return FLAG_WORDS[text.lower()]
        except KeyError:
            raise ValueError(text) from None

    def keep(self, value: Any) -> bool:
        return bool(value)


class Text(Item[str]):
    """Text."""

    allowed = "text without control characters"

    def is_allowed(self, value: object) -> bool:
        return isinstance(value, str) and (value == "" or value.isprintable())


class OptionalText(Item["str | None"]):
    """Text, or None when it is not given."""

    allowed = "text without control characters, or None"

    def is_allowed(self, value: object) -> bool:
        return value is None or (isinstance(value, str) and value != "" and value.isprintable())


class GroupName(Text):
    """The full name of a group; `gpyro.names` has the whole of the rules."""

    allowed = "the full name of a group, like ':Default'"

    def is_allowed(self, value: object) -> bool:
        return super().is_allowed(value) and str(value).startswith(":")


class FilePath(Item[str]):
    """A path; `$STORAGE`, `$CURDIR` and a leading `~` are filled in when it is read."""

    allowed = "a path; $STORAGE and $CURDIR stand for directories"

    def is_allowed(self, value: object) -> bool:
        return isinstance(value, (str, os.PathLike)) and 0 < len(os.fspath(value)) and "\0" not in str(value)

    def keep(self, value: Any) -> str:
        return os.fsdecode(value)


class StoragePath(FilePath):
    """The storage directory; empty stands for this user's state directory."""

    allowed = "the path of a directory, in which $CURDIR may stand but $STORAGE may not"

    def is_allowed(self, value: object) -> bool:
        return super().is_allowed(value) and "$STORAGE" not in str(value)


# -- the table ------------------------------------------------------------------------------------------


class PyroItems:
    """The items that Pyro 3 has. Names and defaults are Pyro's unless a comment says why not.

    Source: Pyro 3 manual, chapter 3; `python -m Pyro.configuration`.
    """

    port = Whole(7766, "TCP port of a daemon; the first one tried", low=1, high=65535)
    port_range = Whole(100, "number of ports that a daemon tries, from port upwards", low=1, high=65535)
    # Pyro listens on the address of the machine's name; loopback is what a program may open unasked.
    host = Text("", "address that daemons listen on; empty means loopback only")
    publishhost = OptionalText(None, "host in the addresses of objects, where it is not that of host")

    ns_hostname = OptionalText(None, "host of the name server; without it the locator searches", live=True)
    ns_port = Whole(9090, "TCP port of the name server", low=1, high=65535, live=True)
    ns_bc_port = Whole(9090, "UDP port where a name server hears broadcasts", low=1, high=65535, live=True)
    ns_bc_addr = OptionalText(None, "broadcast address to look for a name server", live=True)
    ns2_hostname = OptionalText(None, "host of the second name server", live=True)
    ns2_port = Whole(9091, "TCP port of the second name server", low=1, high=65535, live=True)
    ns2_bc_port = Whole(9091, "UDP port of the second name server", low=1, high=65535, live=True)
    ns2_bc_addr = OptionalText(None, "broadcast address to look for the second name server", live=True)
    ns_urifile = FilePath("$STORAGE/Pyro_NS_URI", "file in which a name server leaves its address")
    ns_defaultgroup = GroupName(":Default", "group of names that do not begin with a colon")
    bc_retries = Whole(1, "number of times that a broadcast is sent again", low=0, high=100)
    bc_timeout = Seconds(0.75, "seconds to wait for an answer to a broadcast", low=0.01, high=60)

    # Pyro keeps its files in the current directory; anybody may own that, so it is the state directory here.
    storage = StoragePath("", "directory for logs, databases and the like; empty: the user's state directory")
    logfile = FilePath("$STORAGE/Pyro_log", "file of the system log, written when tracelevel is not 0")
    user_logfile = FilePath("$STORAGE/Pyro_userlog", "file of the user log, written by user_tracelevel")
    stdlogging = Flag(False, "1: no log files, only the loggers gpyro and gpyro.user of standard logging")
    tracelevel = Whole(0, "system log: 0 nothing, 1 errors, 2 and warnings, 3 all", low=0, high=3, live=True)
    user_tracelevel = Whole(
        0, "user log: 0 nothing, 1 errors, 2 and warnings, 3 all", low=0, high=3, live=True
    )
    detailed_traceback = Flag(False, "1: remote tracebacks show the values of local variables", live=True)

    # Pyro has 200, one thread each. A parked connection costs at most 16 KiB (DESIGN, section 5), so these
    # are 250 MiB; a daemon takes 80 % of the descriptor limit where that is less.
    maxconnections = Whole(16000, "connections that a daemon holds", low=1, high=1_000_000)
    # Pyro has 200. A burst of clients that start together must fit; Linux caps it at net.core.somaxconn.
    tcp_listen_backlog = Whole(1024, "connections that may wait to be accepted", low=1, high=65535)
    dns_uri = Flag(False, "1: addresses of objects carry the host's name, 0: its IP address")
    sock_keepalive = Flag(True, "1: the system probes idle connections (TCP keepalive)")
    oneway_threaded = Flag(True, "1: oneway calls run beside the calls that follow, 0: one after another")
    es_queuesize = Whole(
        1000, "events that wait for one slow subscriber", low=1, high=10_000_000, live=True
    )
    es_blockqueue = Flag(True, "1: a publisher waits while a queue is full, 0: it drops the event", live=True)


class OwnItems:
    """The items that Pyro 3 has no name for: the bounds of queues, buffers, tables and waits.

    Where a comment gives a cost, it was measured on the machine that gpyro was built on.
    """

    # gRPC's limit too. To pack or unpack such a frame takes 4 ms, so one peer cannot hold the hub for long.
    max_message_bytes = Whole(
        4 * MIB, "bytes of the largest frame; larger values travel in chunks", low=64, high=1 * GIB
    )
    # What one value may make this process hold: a quarter of a small server's 1 GiB.
    max_value_bytes = Whole(
        256 * MIB, "bytes of the largest value, all its chunks together", low=64, high=64 * GIB
    )
    # A quarter of the largest frame: other calls get in between after about a millisecond.
    chunk_bytes = Whole(1 * MIB, "bytes in each chunk of a large value", low=16, high=64 * MIB)
    # Honest data is rarely 10 deep; CPython's own recursion ends near 1,000.
    max_depth = Whole(64, "depth of containers in containers", low=1, high=1000)
    # A million empty dicts are 72 MB in memory and 1 MB on the wire.
    max_items = Whole(1_000_000, "items in one message, all containers together", low=1, high=1_000_000_000)
    # CPython's own limit between int and text, whose cost grows with the square.
    max_bigint_digits = Whole(4300, "digits of a whole number beyond 64 bits", low=20, high=1_000_000)
    # Keys made to collide cost n*n: 1,000 whole numbers take 5 ms, 20,000 take 1.6 s. Honest data has a few.
    max_colliding_keys = Whole(1000, "keys of one mapping or set that share a hash", low=1, high=1_000_000)

    # A waiting greenlet costs 5 KiB: 80 MiB for one connection, 160 MiB in all.
    max_in_flight_per_connection = Whole(
        16384, "calls of one connection that run at once", low=1, high=10_000_000
    )
    max_in_flight = Whole(32768, "calls in this process that run at once", low=1, high=10_000_000)
    # A caller would rather hear "busy" while its own user still waits.
    busy_wait_seconds = Seconds(5, "seconds that a call waits for its turn before ServerBusyError", low=0)
    # A peer that passes objects and never lets them go must not fill the table of all.
    max_exports_per_connection = Whole(
        10_000, "objects that may be passed by reference over one connection", low=1, high=100_000_000
    )

    # Redis cuts its subscribers at 8 MB for a while or 32 MB at once. Two of our largest frames keep a link
    # busy; four times that leaves room for answers that cannot wait.
    output_soft_bytes = Whole(
        8 * MIB, "unsent bytes of one connection at which its callers wait", low=64, high=64 * GIB
    )
    output_hard_bytes = Whole(
        32 * MIB, "unsent bytes of one connection at which it is cut", low=64, high=64 * GIB
    )
    # NATS has the same.
    write_timeout_seconds = Seconds(10, "seconds in which nothing could be sent, then cut", low=0.01)
    # A lost SYN is sent again after 1 and 3 seconds; both attempts fit.
    connect_timeout_seconds = Seconds(5, "seconds to set up a connection", low=0.01)
    # scrypt takes 35 ms on each side; the rest is room for a busy server.
    handshake_timeout_seconds = Seconds(5, "seconds to agree on a protocol and log in", low=0.01)
    # Below the half minute after which the meanest NAT boxes forget a connection.
    heartbeat_seconds = Seconds(15, "seconds of silence before a sign of life is asked for; 0: never", low=0)
    liveness_seconds = Seconds(45, "seconds of silence that mean a dead peer: three heartbeats", low=0.05)
    # The largest frame in 10 s is 400 KiB/s; slower than that is more likely a slow-loris than a link.
    frame_timeout_seconds = Seconds(10, "seconds from the first to the last byte of a frame", low=0.01)
    # gunicorn and Kubernetes send SIGKILL 30 s after SIGTERM.
    drain_timeout_seconds = Seconds(30, "seconds that running calls get to finish in a shutdown", low=0)
    # A hub that is held for a second is noticed by every peer.
    watchdog_seconds = Seconds(1, "seconds that a method may hold the hub unnamed; 0: for ever", low=0)
    # The default size of gevent's own thread pool.
    offload_threads = Whole(10, "threads for methods that block outside gevent", low=1, high=10_000)
    # A hundred for each thread: at 10 ms a call the last one waits a second.
    offload_queue = Whole(1000, "offloaded calls that wait for a thread", low=1, high=10_000_000)
    # Kept for the next burst at 5 KiB each: 320 KiB.
    idle_workers = Whole(64, "worker greenlets kept for the next call", low=0, high=100_000)
    # Without these three, four pipelining peers starved a polite one for 3.5 s (DESIGN, section 4).
    turn_frames = Whole(32, "frames that one connection handles in its turn", low=1, high=100_000)
    turn_bytes = Whole(64 * KIB, "bytes that one connection handles in its turn", low=64, high=1 * GIB)
    turn_seconds = Seconds(0.002, "seconds that one connection's turn lasts", low=0.0001, high=10)
    # sshd lets in 100 at the most.
    max_unauthenticated = Whole(128, "connections that are not logged in yet", low=1, high=1_000_000)
    # Spares the name server most questions, and a moved object is soon found again.
    resolve_cache_seconds = Seconds(
        30, "seconds that a proxy trusts the address behind a name; 0: ask each time", low=0
    )


#: Items of Pyro 3 that gpyro does not have, each with the reason. They are passed over in the environment
#: and in a file, so that an old Pyro.conf can be read as it is.
NOT_USED: dict[str, str] = {
    "multithreaded": "every connection has its greenlets; there is no single-threaded mode",
    "broken_msgwaitall": "reads never ask the system to wait for a whole message",
    "pickle_format": "values travel as data; pickle is an opt-in of one daemon and one proxy",
    "xml_pickle": "values travel as data; there is no XML pickler",
    "gnosis_paranoia": "values travel as data; there is no XML pickler",
    "mobile_code": "code never travels; that is left out on purpose",
    "compression": "not there yet",
    "checksum": "TCP and TLS check what they carry",
    "stdlogging_cfgfile": "the program configures standard logging itself",
    "ssl_ca_cert": "certificates are given to a daemon or proxy as a TLSConfig",
    "ssl_cert": "certificates are given to a daemon or proxy as a TLSConfig",
    "ssl_certdir": "certificates are given to a daemon or proxy as a TLSConfig",
    "ssl_key": "certificates are given to a daemon or proxy as a TLSConfig",
    "ssl_postconncheck": "certificates are checked by TLS itself, always",
}


def _items_of(table: type) -> dict[str, Item[Any]]:
    return {name: item for name, item in vars(table).items() if isinstance(item, Item)}


#: Every item by name, Pyro's first.
ITEMS: Mapping[str, Item[Any]] = {**_items_of(PyroItems), **_items_of(OwnItems)}

#: Pairs of items of which the first must not be larger than the second; looked at when a snapshot is taken.
ORDERED_PAIRS = (
    ("output_soft_bytes", "output_hard_bytes"),
    ("heartbeat_seconds", "liveness_seconds"),
)


# -- settings -------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One line of `gpyro config`."""

    name: str
    value: object
    origin: str
    help: str


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


def _current_directory() -> str:
    """Return the current directory; the root when it has been removed under our feet."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return os.sep


def _nothing() -> Surroundings:
    return Surroundings([], [], _current_directory())


class Settings(PyroItems, OwnItems):
    """A set of values for all items; `snapshot()` gives a frozen one.

    `Settings(port=7800)` starts from the defaults alone and looks neither at the environment nor at a file.

    Raises:
        AttributeError: there is no such item, or the settings are frozen.
        ConfigurationError: a value is not allowed; from `config` also: the environment or the file is wrong.
    """

    __slots__ = ("_current_directory", "_frozen", "_notes", "_origins", "_parent", "_surroundings", "_values")

    _values: dict[str, Any]
    _origins: dict[str, str]
    _notes: list[str]
    _parent: Settings | None
    _frozen: bool
    _surroundings: Callable[[], Surroundings] | None
    _current_directory: str

    def __init__(self, **values: object) -> None:
        self._begin(surroundings=_nothing)
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
            "_surroundings": surroundings, "_current_directory": current_directory,
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
        object.__setattr__(self, "_surroundings", None)

    def _read(self, item: Item[Any]) -> Any:
        if self._surroundings is not None:
            self._load()
        if item.name in self._values:
            value = self._values[item.name]
        elif self._parent is not None and item.live:
            return self._parent._read(item)
        else:
            value = item.default
        return self._expand(item, value) if isinstance(item, FilePath) else value

    def _expand(self, item: FilePath, path: str) -> str:
        if isinstance(item, StoragePath) and not path:
            from platformdirs import user_state_path  # 4 ms, and only some programs need it

            return str(user_state_path("gpyro"))
        path = path.replace("$CURDIR", self._current_directory)
        if "$STORAGE" in path:
            path = path.replace("$STORAGE", self.storage)
        return os.path.join(self._current_directory, os.path.expanduser(path))

    def _assign(self, item: Item[Any], value: object) -> None:
        if self._frozen:
            raise AttributeError(
                f"{item.name} cannot be set to {value!r}: these settings are a snapshot; set it on "
                f"gpyro.config before the snapshot is taken, or give it to snapshot({item.name}=...)"
            )
        self._load()
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
    plain = _plain_name(name)
    if plain in ITEMS and plain != name:
        return f"there is no setting {name!r}; it is spelled {plain!r} here"
    if plain in NOT_USED:
        return f"there is no setting {name!r} in gpyro: {NOT_USED[plain]}"
    return f"there is no setting {name!r}{_did_you_mean(plain)}"


def _did_you_mean(name: str) -> str:
    from difflib import get_close_matches  # only on the way to an error

    close = get_close_matches(name, ITEMS, n=1)
    return f"; did you mean {close[0]!r}?" if close else "; `gpyro config` lists them all"


def _plain_name(name: str) -> str:
    """Return the item's name for `PYRO_PORT`, `GPYRO_PORT`, `PYROSSL_CERT` or `port`."""
    upper = name.upper()
    if upper.startswith("PYROSSL_"):
        return "ssl_" + name[len("PYROSSL_") :].lower()
    for prefix in PREFIXES:
        if upper.startswith(prefix):
            return name[len(prefix) :].lower()
    return name.lower()


# -- environment and file -------------------------------------------------------------------------------


def read_surroundings(environ: Mapping[str, str], directory: str) -> Surroundings:
    """Read the configuration file and the environment.

    Args:
        environ: the variables, `os.environ` for `config`.
        directory: the current directory, where `gpyro.conf` may lie.

    Raises:
        ConfigurationError: a file that was named is not there, or a line or variable is wrong.
    """
    notes: list[str] = []
    given = list(_read_file(environ, directory, notes))
    given += _read_environment(environ, notes)
    return Surroundings(given, notes, directory)


def _parse_given(item: Item[Any], text: str, where: str, origin: str) -> Given:
    try:
        return Given(item.name, item.check(item.parse(text)), origin)
    except ValueError:
        raise ConfigurationError(f"{where} is {text!r}, but {item.name} must be {item.allowed}") from None


def _read_environment(environ: Mapping[str, str], notes: list[str]) -> Iterator[Given]:
    for name, item in ITEMS.items():
        # The old spelling only for items that Pyro 3 has: PYRO_MAX_DEPTH may be somebody else's.
        prefixes = PREFIXES if name in vars(PyroItems) else PREFIXES[:1]
        for prefix in prefixes:
            variable = prefix + name.upper()
            # As in Pyro, an empty value means that nothing is given.
            text = environ.get(variable, "").strip()
            if text:
                yield _parse_given(item, text, f"environment variable {variable}", f"environment {variable}")
                break
    for variable in environ:
        # GPYRO_ is our own prefix, so an unknown one is likely a slip; PYRO_ is shared with other programs.
        name = _plain_name(variable)
        if variable.startswith("GPYRO_") and name not in ITEMS and name != "config_file":
            notes.append(f"environment variable {variable} is no setting{_did_you_mean(name)}")


def _read_file(environ: Mapping[str, str], directory: str, notes: list[str]) -> Iterable[Given]:
    for variable in ("GPYRO_CONFIG_FILE", "PYRO_CONFIG_FILE"):
        if environ.get(variable):
            path = os.path.join(directory, environ[variable])
            return _parse_file(_read_named_file(path, variable), path, notes)
    path = os.path.join(directory, FILE_IN_CURRENT_DIRECTORY)
    body = _read_trusted_file(path, notes)
    return [] if body is None else _parse_file(body, path, notes)


def _read_named_file(path: str, variable: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise ConfigurationError(
            f"configuration file {path!r}, named by {variable}, cannot be read: {exc.strerror or exc}"
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
    plain = _plain_name(name)
    where = f"{path}, line {number}: {name}"
    if plain in NOT_USED:
        notes.append(f"{where} is not used by gpyro: {NOT_USED[plain]}")
    elif plain not in ITEMS:
        raise ConfigurationError(f"{where} is no setting{_did_you_mean(plain)}")
    elif value:
        yield _parse_given(ITEMS[plain], value, where, f"file {path}")


#: The process's settings.
config = Settings.reading(lambda: read_surroundings(os.environ, _current_directory()))
