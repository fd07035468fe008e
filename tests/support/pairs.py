"""A pair of real name servers, and callers who use it while one of the two is killed and comes back."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import gevent

from gpyro.errors import NamingError, PyroError
from gpyro.naming import NameServerProxy
from tests.support.programs import Program, free_port, make_environment

#: For everything that takes as long as it takes.
PATIENCE_SECONDS = 30.0


class PairOfServers:
    """`gpyro ns -1` and `gpyro ns -2`, each at a port of its own, which it keeps when it comes back.

    Args:
        places: the ports at which each looks for the other one, where that is not straight.
        started: begin with both running and paired.

    Leaving the block ends both.
    """

    def __init__(
        self, folder: Path, *options: str, persistent: bool = False, places: tuple[int, int] | None = None,
        started: bool = True, identification: str | None = None,
    ) -> None:  # fmt: skip
        self.ports = (free_port(), free_port())
        #: At which port each of them looks for the other one.
        self.places = (self.ports[1], self.ports[0]) if places is None else places
        self._folder = folder
        self._options = options
        self._persistent = persistent
        self._started = started
        self._identification = identification
        self.programs: list[Program | None] = [None, None]

    def __enter__(self) -> PairOfServers:
        if self._started:
            self.start(0)
            self.start(1)
            self.wait_paired()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in self.programs:
            if program is not None:
                program.__exit__(kind, exc, trace)

    def start(self, side: int) -> None:
        """Start one of them, 0 the primary or 1 the secondary."""
        place = f"127.0.0.1:{self.places[side]}"
        words = ["-m", "gpyro", "ns", "-p", str(self.ports[side]), "-1" if side == 0 else "-2", place, "-r"]
        if self._persistent:
            words += ["-d", f"database{side}"]
        program = Program([*words, *self._options], make_environment(self._folder))
        self.programs[side] = program
        program.__enter__()
        program.read_until(("Primary", "Secondary")[side] + " Name Server started.")

    def kill(self, side: int) -> None:
        """Kill one of them without a word."""
        program = self.programs[side]
        assert program is not None
        program.stop(signal.SIGKILL)
        program.__exit__(None, None, None)
        self.programs[side] = None

    def proxy(self, side: int) -> NameServerProxy:
        """Return a proxy whose home is one of them."""
        uri = f"PYRO://127.0.0.1:{self.ports[side]}/:Pyro.NameServer"
        return NameServerProxy(uri, self._identification, noconnect=1)

    def status(self, side: int) -> dict[str, object]:
        """Return what one of them says of the pair."""
        proxy = self.proxy(side)
        try:
            return proxy.pair_status() or {}
        finally:
            proxy._release()

    def wait_paired(self) -> None:
        """Wait until both have the same names."""
        wait_for(lambda: all(str(self.status(side)["state"]).startswith("paired") for side in (0, 1)), "paired")


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Look again and again, as only the state of another process tells."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if condition():
                return
        except PyroError:
            pass
        assert time.monotonic() < until, f"not {what} within {PATIENCE_SECONDS:g} s"
        gevent.sleep(0.02)


@dataclass
class Findings:
    """What callers met."""

    lookups: int = 0
    registrations: int = 0
    kills: int = 0
    longest_lookup: float = 0.0
    longest_registration: float = 0.0
    failed: list[str] = field(default_factory=list)
    acknowledged: dict[str, str] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)

    def lost(self, proxy: NameServerProxy) -> list[str]:
        """Return the acknowledged names that are not there, or are back."""
        found = proxy.resolve_many(list(self.acknowledged)) if self.acknowledged else {}
        gone = [name for name, uri in self.acknowledged.items() if str(found[name]) != uri]
        back = proxy.resolve_many(list(self.removed)) if self.removed else {}
        return gone + [f"{name} (back)" for name, uri in back.items() if uri is not None]


class Callers:
    """Greenlets with connections of their own that look up and register all the time; half at home with each."""

    def __init__(self, pair: PairOfServers, count: int) -> None:
        self.findings = Findings()
        self._over = False
        self._pair = pair
        pair.proxy(0).register(":Default.wellknown", "PYRO://127.0.0.1:1/wellknown")
        self._jobs = [gevent.spawn(self._look_up, number) for number in range(count)]
        self._jobs += [gevent.spawn(self._register, number) for number in range(count)]

    def _look_up(self, number: int) -> None:
        proxy = self._pair.proxy(number % 2)
        while not self._over:
            began = time.monotonic()
            try:
                proxy.resolve(":Default.wellknown")
                self.findings.lookups += 1
            except (NamingError, PyroError) as exc:
                self.findings.failed.append(f"look-up: {exc!r}")
            self.findings.longest_lookup = max(self.findings.longest_lookup, time.monotonic() - began)
            gevent.sleep(0.002)
        proxy._release()

    def _register(self, number: int) -> None:
        proxy = self._pair.proxy(number % 2)
        count = 0
        while not self._over:
            name = f":Default.name-{number}-{count}"
            uri = f"PYRO://127.0.0.1:1/{number}-{count}"
            began = time.monotonic()
            try:
                proxy.register(name, uri)
                self.findings.acknowledged[name] = uri
                if count % 5 == 4:
                    proxy.unregister(name)
                    del self.findings.acknowledged[name]
                    self.findings.removed.add(name)
                self.findings.registrations += 1
            except (NamingError, PyroError) as exc:
                self.findings.failed.append(f"registration: {exc!r}")
            self.findings.longest_registration = max(self.findings.longest_registration, time.monotonic() - began)
            count += 1
            gevent.sleep(0.005)
        proxy._release()

    def stop(self) -> Findings:
        """Let them end, and return what they met."""
        self._over = True
        gevent.joinall(self._jobs, timeout=PATIENCE_SECONDS, raise_error=True)
        return self.findings


def kill_in_turn(pair: PairOfServers, kills: int, callers: int, away_seconds: float) -> Findings:
    """Kill one after the other under load; each comes back and is paired again before the next is killed."""
    load = Callers(pair, callers)
    for number in range(kills):
        side = number % 2
        before = load.findings.registrations
        wait_for(lambda before=before: load.findings.registrations > before + 50, "under way")  # type: ignore[misc]
        pair.kill(side)
        load.findings.kills += 1
        gevent.sleep(away_seconds)
        pair.start(side)
        pair.wait_paired()
    return load.stop()
