"""R14: one of a pair of name servers is killed every few seconds under load, and both are parted."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import gevent

from benchmarks.reliability.report import Report
from tests.support.pairs import Callers, Findings, PairOfServers, wait_for
from tests.support.relay import Relay

__all__ = ["run_pairs"]

#: Seconds of load, by size; a server is killed every KILL_SECONDS.
RUN_SECONDS = {False: 60.0, True: 600.0}
KILL_SECONDS = 3.0
AWAY_SECONDS = 1.0
CALLERS = 10
LOOKUP_SECONDS, REGISTRATION_SECONDS, HEAL_SECONDS = 1.0, 3.0, 5.0


def run_pairs(full: bool) -> Report:
    """Kill and part a pair that keeps names in memory and one that keeps them on disk."""
    report = Report("R14", f"a pair of name servers, one killed every {KILL_SECONDS:g} s, {2 * CALLERS} callers")
    for persistent in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            _kill(report, Path(folder), persistent, RUN_SECONDS[full] / 2)
    with tempfile.TemporaryDirectory() as folder:
        _part(report, Path(folder), 10 if full else 3)
    return report


def _kill(report: Report, folder: Path, persistent: bool, seconds: float) -> None:
    where = "disk: " if persistent else "memory: "
    with PairOfServers(folder, persistent=persistent) as pair:
        load = Callers(pair, CALLERS)
        wait_for(lambda: load.findings.registrations > CALLERS * 5, "under way")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            begun = time.monotonic()
            side = load.findings.kills % 2
            pair.kill(side)
            load.findings.kills += 1
            gevent.sleep(AWAY_SECONDS)
            pair.start(side)
            pair.wait_paired()
            gevent.sleep(max(KILL_SECONDS - (time.monotonic() - begun), 0.0))
        _tell(report, where, load.stop(), pair)


def _tell(report: Report, where: str, found: Findings, pair: PairOfServers) -> None:
    report.tell(f"{where}kills", found.kills)
    report.tell(f"{where}look-ups", found.lookups)
    report.tell(f"{where}registrations and removals", found.registrations)
    report.exactly(f"{where}failed", len(found.failed), 0)
    report.at_most(f"{where}longest look-up", found.longest_lookup, LOOKUP_SECONDS, " s")
    report.at_most(f"{where}longest registration", found.longest_registration, REGISTRATION_SECONDS, " s")
    for side, name in enumerate(("primary", "secondary")):
        proxy = pair.proxy(side)
        report.exactly(f"{where}acknowledged and lost, at the {name}", len(found.lost(proxy)), 0)
        proxy._release()


def _part(report: Report, folder: Path, rounds: int) -> None:
    to_first, to_second = Relay(0), Relay(0)
    relays = (to_first, to_second)
    longest = 0.0
    with PairOfServers(folder, places=(to_second.port, to_first.port), started=False) as pair:
        to_first.target, to_second.target = pair.ports
        for side in (0, 1):
            pair.start(side)
        pair.wait_paired()
        for number in range(rounds):
            for relay in relays:
                relay.cut()
            wait_for(lambda: not any(_paired(pair)), "parted")
            for side in (0, 1):
                proxy = pair.proxy(side)
                for name in range(500):
                    proxy.register(f"part-{number}-{side}-{name}", f"PYRO://127.0.0.1:1/{side}")
                proxy.register(f"both-{number}", f"PYRO://127.0.0.1:1/{side}")
                proxy._release()
            begun = time.monotonic()
            for relay in relays:
                relay.mend()
            pair.wait_paired()
            longest = max(longest, time.monotonic() - begun)
        report.at_most(f"parted {rounds} times: longest until both are equal", longest, HEAL_SECONDS, " s")
        report.exactly("digests of the copies are equal", _equal(pair), True)
        report.exactly("conflicts told", pair.status(0)["conflicts"], rounds)
    for relay in relays:
        relay.close()


def _paired(pair: PairOfServers) -> list[bool]:
    return [str(pair.status(side)["state"]).startswith("paired") for side in (0, 1)]


def _equal(pair: PairOfServers) -> bool:
    first, second = pair.status(0), pair.status(1)
    return (first["revision"], first["digest"]) == (second["revision"], second["digest"])
