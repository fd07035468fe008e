"""The kinds of settings, and the table of them all: defaults, meanings, units, limits."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar, overload

from gpyro.errors import ConfigurationError

__all__ = [
    "ITEMS",
    "NOT_USED",
    "PREFIXES",
    "PROGRAM",
    "CertificateFile",
    "FilePath",
    "Flag",
    "GroupName",
    "Item",
    "KeyFile",
    "ModuleNames",
    "OptionalText",
    "OwnItems",
    "PyroItems",
    "Seconds",
    "StoragePath",
    "Text",
    "Whole",
    "did_you_mean",
    "old_name",
    "plain_name",
    "variables_of",
]

T = TypeVar("T")

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

#: Among names of modules: the main script and the modules whose files lie under its directory.
PROGRAM = "<program>"

#: Prefixes of an environment variable or of a line in a file, the stronger one first.
PREFIXES = ("GPYRO_", "PYRO_")

#: Of Pyro's items for TLS the prefix stands in the name: PYROSSL_CERT is ssl_cert.
SSL_PREFIX = "PYROSSL_"

#: Modules of these packages are nobody's program.
OUR_PACKAGES = frozenset(("gpyro", "gpyro_cli"))

#: How a flag is written in the environment and in a file.
FLAG_WORDS = {
    "1": True, "true": True, "yes": True, "on": True,
    "0": False, "false": False, "no": False, "off": False,
}  # fmt: skip


# -- kinds of items -------------------------------------------------------------------------------------


class Item(ABC, Generic[T]):
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
    @abstractmethod
    def allowed(self) -> str:
        """What may be put in, for people."""

    @abstractmethod
    def is_allowed(self, value: object) -> bool:
        """Tell whether a value may be put in."""

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


def is_path(value: object) -> bool:
    return isinstance(value, (str, os.PathLike)) and 0 < len(os.fspath(value)) and "\0" not in str(value)


class FilePath(Item[str]):
    """A path; `$STORAGE`, `$CURDIR` and a leading `~` are filled in when it is read."""

    allowed = "a path; $STORAGE and $CURDIR stand for directories"

    def is_allowed(self, value: object) -> bool:
        return is_path(value)

    def keep(self, value: Any) -> str:
        return os.fsdecode(value)


class StoragePath(FilePath):
    """The storage directory; empty stands for this user's state directory."""

    allowed = "the path of a directory, in which $CURDIR may stand but $STORAGE may not"

    def is_allowed(self, value: object) -> bool:
        return super().is_allowed(value) and "$STORAGE" not in str(value)


class CertificateFile(FilePath):
    """The path of a certificate; a relative one is taken below ssl_certdir, as in Pyro."""

    allowed = "a path, relative ones below ssl_certdir; $STORAGE and $CURDIR stand for directories"


class KeyFile(OptionalText):
    """The path of a private key, below ssl_certdir too, or None when it is in the certificate's file."""

    allowed = "a path, relative ones below ssl_certdir, or None: the key is in the file ssl_cert"

    def parse(self, text: str) -> str | None:
        # As Pyro's own listing of its settings prints it.
        return None if text == "None" else text

    def is_allowed(self, value: object) -> bool:
        return value is None or is_path(value)

    def keep(self, value: Any) -> str | None:
        return None if value is None else os.fsdecode(value)


class ModuleNames(Item["tuple[str, ...]"]):
    """Names of the program's own modules; in text they stand between commas."""

    allowed = (
        f"a list of full names of the program's own modules, among them {PROGRAM!r} for all under the main "
        "script's directory, and none of the standard library or of gpyro"
    )

    def is_allowed(self, value: object) -> bool:
        return isinstance(value, (list, tuple, set, frozenset)) and all(map(is_own_module_name, value))

    def parse(self, text: str) -> tuple[str, ...]:
        return tuple(name for part in text.split(",") if (name := part.strip()))

    def keep(self, value: Any) -> tuple[str, ...]:
        return tuple(dict.fromkeys(value))


def is_own_module_name(value: object) -> bool:
    if not isinstance(value, str):
        return False
    top = value.partition(".")[0]
    is_name = all(part.isidentifier() for part in value.split("."))
    return value == PROGRAM or (is_name and top not in sys.stdlib_module_names and top not in OUR_PACKAGES)


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
    ns_lease_seconds = Seconds(
        30, "seconds from the last sign of life of a process to the end of its names, from 1; 0: never", low=0,
        high=3600,
    )  # fmt: skip
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
    # Pyro turns the names that it is told into IP addresses where this is 0, and so loses what publishhost is for.
    dns_uri = Flag(False, "1: addresses of objects carry the host's name also where only its IP address was given")
    sock_keepalive = Flag(True, "1: the system probes idle connections (TCP keepalive)")
    oneway_threaded = Flag(True, "1: oneway calls run beside what follows, 0: that waits, on the same connection")
    es_queuesize = Whole(
        1000, "events that wait for one slow subscriber", low=1, high=10_000_000, live=True
    )
    es_blockqueue = Flag(True, "1: a publisher waits while a queue is full, 0: it drops the event", live=True)

    # Pyro writes PYROSSL_CERT for ssl_cert, and so on. They are what PYROSSL uses without a TLSConfig.
    ssl_certdir = FilePath("$STORAGE/certs", "directory of the certificates; `gpyro certs` makes them there")
    ssl_cert = CertificateFile("host.pem", "certificate of this machine")
    ssl_key = KeyFile(None, "its private key, where that is not in the same file")
    ssl_ca_cert = CertificateFile("ca.pem", "certificate of the CA that vouches for the other side")
    ssl_postconncheck = Flag(True, "1: a daemon's certificate must be for the host in its address")


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
    # InnoDB waits as long for a row (innodb_lock_wait_timeout). Rings within one process are found at once.
    synchronized_wait_seconds = Seconds(
        50, "seconds that a call waits for its turn on a SynchronizedObjBase", low=0.01
    )
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
    offload_threads = Whole(
        10, "threads for methods that block outside gevent; four times as many more may wait in remote calls",
        low=1, high=10_000,
    )  # fmt: skip
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
    # An eighth of those: one address cannot take all the slots.
    max_unauthenticated_per_source = Whole(
        16, "connections of one address that are not logged in yet", low=1, high=1_000_000
    )
    # A quarter of all: four such addresses, each perhaps an office behind one router, fill a server.
    max_connections_per_source = Whole(4000, "connections of one address", low=1, high=1_000_000)
    # Whoever mistypes gets along with ten; a guesser gets 10 in 70 s of the 2**29 guesses that 30 bits want.
    max_failed_logins = Whole(10, "failed logins a minute before an address is shut out", low=1, high=1_000_000)
    block_seconds = Seconds(60, "seconds that an address is shut out", low=0.01)
    # 10,000 entries are 2 MB.
    max_sources = Whole(10_000, "addresses whose failed logins are remembered", low=1, high=10_000_000)
    # All programs of a machine share one address, so one that fails would shut out the others.
    ration_loopback = Flag(False, "1: the limits of one address hold for this machine's own ones too")
    # A peer that is quiet is asked once in 5 s at most; gRPC closes after two pings too many in 5 minutes.
    max_pings_per_second = Whole(1, "pings that a peer may send, beside a burst of 10", low=1, high=1000)
    # Where a network shall not be asked, or the places are all given. Pyro always asks.
    ns_broadcast = Flag(True, "1: look for name servers by broadcast", live=True)
    # Spares the name server most questions, and a moved object is soon found again.
    resolve_cache_seconds = Seconds(
        30, "seconds that a proxy trusts the address behind a name; 0: ask each time", low=0
    )

    # Pyro pickles whatever it is given. What is rebuilt here is the program's choice, and nothing by default.
    by_value = ModuleNames((), "modules whose plain classes travel without being registered; see docs/by_value.md")

    # Old programs rely on both. Natively ctrl-C is an orderly end, and a delegate shows its methods only.
    as_pyro3 = Flag(
        False,
        "1: as in Pyro 3 ctrl-C comes out of requestLoop as KeyboardInterrupt, and public attributes of delegates "
        "are reachable; gpyro.pyro3.install() sets it",
    )

    # Beside es_queuesize, which does not say how large an event is: four of our largest frames.
    es_queue_bytes = Whole(
        16 * MIB, "bytes of the events that wait for one slow subscriber", low=64, high=64 * GIB, live=True
    )
    # A publisher waits no longer for a slow subscriber than a call waits for its turn (busy_wait_seconds).
    es_block_seconds = Seconds(
        5, "seconds that a publisher waits for a full queue at the most", low=0, live=True
    )
    # Longer than liveness_seconds, after which a dead connection is noticed, and some attempts to come back.
    es_resume_seconds = Seconds(60, "seconds that an unreachable subscriber's events are kept", low=0)
    # One for each of maxconnections, and some that share a connection.
    es_max_subscribers = Whole(20_000, "subscribers of one event server", low=1, high=10_000_000)
    # What es_queuesize holds for one subscriber is what one that comes late can have.
    es_history = Whole(1000, "past events that an event server keeps; 0: none", low=0, high=10_000_000)
    es_history_bytes = Whole(16 * MIB, "bytes of the past events that it keeps", low=0, high=64 * GIB)
    # As ns_urifile, which Pyro has.
    es_urifile = FilePath("$STORAGE/Pyro_ES_URI", "file in which an event server leaves its address")


#: Items of Pyro 3 that gpyro does not have, each with the reason. They are passed over in the environment
#: and in a file, so that an old Pyro.conf can be read as it is.
NOT_USED: dict[str, str] = {
    "multithreaded": "calls always run side by side; a SynchronizedObjBase takes one at a time",
    "broken_msgwaitall": "reads never ask the system to wait for a whole message",
    "pickle_format": "values travel as data; pickle is an opt-in of one daemon and one proxy",
    "xml_pickle": "values travel as data; there is no XML pickler",
    "gnosis_paranoia": "values travel as data; there is no XML pickler",
    "mobile_code": "code never travels; that is left out on purpose",
    "compression": "frames are never compressed: what unfolds is a bomb, and lengths would tell of secrets",
    "checksum": "TCP checks what it carries; after a login each frame has a code, and TLS has its own",
    "stdlogging_cfgfile": "the program configures standard logging itself",
}


def _items_of(table: type) -> dict[str, Item[Any]]:
    return {name: item for name, item in vars(table).items() if isinstance(item, Item)}


#: Every item by name, Pyro's first.
ITEMS: Mapping[str, Item[Any]] = {**_items_of(PyroItems), **_items_of(OwnItems)}


def did_you_mean(name: str) -> str:
    """Return the end of a message about a name that is no item."""
    from difflib import get_close_matches  # only on the way to an error

    close = get_close_matches(name, ITEMS, n=1)
    return f"; did you mean {close[0]!r}?" if close else "; `gpyro config` lists them all"


def plain_name(name: str) -> str:
    """Return the item's name for `PYRO_PORT`, `GPYRO_PORT`, `PYROSSL_CERT` or `port`."""
    upper = name.upper()
    if upper.startswith(SSL_PREFIX):
        return "ssl_" + name[len(SSL_PREFIX) :].lower()
    for prefix in PREFIXES:
        if upper.startswith(prefix):
            return name[len(prefix) :].lower()
    return name.lower()


def old_name(name: str) -> str:
    """Return how Pyro spells an item: PYRO_PORT, PYROSSL_CERT; "" where Pyro does not have it."""
    if name not in vars(PyroItems):
        return ""
    if name.startswith("ssl_"):
        return SSL_PREFIX + name[len("ssl_") :].upper()
    return PREFIXES[1] + name.upper()


def variables_of(name: str) -> tuple[str, ...]:
    """Return the environment variables that give an item, the stronger one first."""
    ours, old = PREFIXES[0] + name.upper(), old_name(name)
    # Not PYRO_MAX_DEPTH and the like, which may be somebody else's.
    return (ours, old) if old else (ours,)
