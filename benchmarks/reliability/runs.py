"""One function for each figure: starts the server, the attackers and the honest clients, and makes the table."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any

from benchmarks.processes import WorkerProcess
from benchmarks.reliability.exactly import run_exactly
from benchmarks.reliability.frozen import run_frozen
from benchmarks.reliability.leases import run_leases
from benchmarks.reliability.pairs import run_pairs
from benchmarks.reliability.report import Report
from benchmarks.reliability.stage import RECOVERY_SECONDS, START_SECONDS, Stage, ask, begin

__all__ = ["RUNS"]

MIB = 1024


def tell_callers(report: Report, figures: dict[str, Any], kind: str, name: str, p99: float | None) -> None:
    """Add what became of honest clients."""
    found = figures[kind]
    report.exactly(f"{name}: calls that failed", len(found["failures"]), 0)
    for text in found["failures"][:3]:
        report.tell("  such as", text)
    report.tell(f"{name}: calls", found["calls"])
    if not found["calls"]:
        return
    if p99 is None:
        report.tell(f"{name}: p99", f"{found['p99']:.1f} ms")
    else:
        report.at_most(f"{name}: p99", found["p99"], p99, " ms")
    report.tell(f"{name}: p50, max", f"{found['p50']:.1f}, {found['max']:.1f} ms")


# -- R2 ------------------------------------------------------------------------------------------------------


def run_garbage(full: bool) -> Report:
    frames = 1_000_000 if full else 100_000
    report = Report("R2", f"{frames:,} wrong frames over 1,000 connections at a time")
    with Stage() as stage:
        callers, attacker = stage.actor("callers"), stage.actor("garbage")
        ask(callers, "start", kinds=["held"])
        ask(attacker, "run", frames=frames // 20, callers=1000)
        ask(callers, "stop")
        # Modules that are loaded, and pools that fill, with the first of each kind do not count.
        sleep(1.0)
        before = stage.status()
        ask(callers, "start", kinds=["held"])
        done = ask(attacker, "run", frames=frames, callers=1000)
        good = ask(callers, "stop")
        after, took = stage.settled(before, ("descriptors", "greenlets"))
    report.at_least("frames sent", done["frames"] - frames // 20, frames)
    report.tell("connections that they came over", done["connections"])
    tell_callers(report, good, "held", "honest client", 50.0)
    report.exactly("methods run for callers who were not let in", after["early"], 0)
    for name in ("descriptors", "greenlets", "connections"):
        report.exactly(f"{name} left over", max(after[name] - before[name], 0), 0)
    report.at_most("seconds until then", took, RECOVERY_SECONDS, " s")
    report.at_most("server's memory grew by", (after["resident_kib"] - before["resident_kib"]) / MIB, 20.0, " MiB")
    report.tell("not let in at a time, most", after["most_not_let_in"])
    return report


# -- R3 ------------------------------------------------------------------------------------------------------


def run_dribble(full: bool) -> Report:
    count = 5000
    report = Report("R3", f"{count:,} sockets that send a byte a second")
    with Stage() as stage:
        held, anew, attacker = stage.actor("callers"), stage.actor("callers"), stage.actor("dribble")
        ask(held, "start", kinds=["held"])
        ask(anew, "start", kinds=["anew"], pause=0.05)
        sleep(1.0)
        ask(held, "stop")
        ask(anew, "stop")
        before = stage.status()
        ask(held, "start", kinds=["held"])
        ask(anew, "start", kinds=["anew"], pause=0.05)
        states = ask(attacker, "run", count=count)
        good, coming = ask(held, "stop"), ask(anew, "stop")
        after, _ = stage.settled(before, ("descriptors", "greenlets"))
    for state, found in states.items():
        report.exactly(f"{state}: not closed", found["open"], 0)
        if state.startswith("in a "):
            report.at_most(f"{state}: longest life", found["longest"], 11.0, " s")
        else:
            report.tell(f"{state}: longest life, with the wait to be accepted", f"{found['longest']:.2f} s")
    report.at_most("not let in, longest, since it was accepted", after["longest_not_let_in"], 6.0, " s")
    report.at_most("not let in at a time, most", after["most_not_let_in"], 128)
    report.tell("callers that came to the server", after["came"] - before["came"])
    tell_callers(report, good, "held", "client that keeps its connection", 20.0)
    tell_callers(report, coming, "anew", "client that connects anew", 20.0)
    report.exactly("descriptors left over", max(after["descriptors"] - before["descriptors"], 0), 0)
    report.exactly("greenlets left over", max(after["greenlets"] - before["greenlets"], 0), 0)
    return report


# -- R5 ------------------------------------------------------------------------------------------------------


def run_churn(full: bool) -> Report:
    count = 1_000_000 if full else 100_000
    report = Report("R5", f"{count:,} times connect, log in, call, close; a fifth of them with a reset")
    with tempfile.TemporaryDirectory() as folder, Stage() as stage:
        attackers = [stage.actor("churn") for _ in range(2)]
        begin_rate = ask(attackers[0], "run", count=5000, callers=1, resets=0.0)
        one = ask(attackers[0], "run", count=10_000, callers=8, resets=0.0)
        churn(attackers, 2000)
        before = stage.status()
        first = churn(attackers, count // 2)
        half = stage.status()
        second = churn(attackers, count - count // 2)
        used = stage.status(collect=False)["cpu"] / (count - count // 2)
        after, _ = stage.settled(before, ("descriptors", "greenlets", "objects"))
        report.exactly("cycles that failed", first["failures"] + second["failures"], 0)
        for text in (*first["first"], *second["first"])[:3]:
            report.tell("  such as", text)
        rate = count / (first["seconds"] + second["seconds"])
        report.at_least("cycles, key, two callers' processes", rate, 3000, "/s")
        report.tell("  server's CPU for each", f"{1e6 * used:.0f} us")
        report.tell("one process calls, one greenlet", f"{5000 / begin_rate['seconds']:,.0f}/s")
        report.at_least("one process calls, 8 greenlets", 10_000 / one["seconds"], 2000, "/s")
        for name in ("descriptors", "greenlets", "objects", "connections", "sources_connected"):
            report.exactly(f"{name} more than before", max(after[name] - before[name], 0), 0)
        grown = (after["resident_kib"] - half["resident_kib"]) / MIB
        report.at_most("server's memory grew by, after the first half", grown, 10.0, " MiB")
        report.rows += run_tls_churn(folder, 20_000 if full else 4000).rows
    return report


def churn(attackers: list[WorkerProcess], count: int, tls: bool = False) -> dict[str, Any]:
    """Let all attackers make their share at once."""
    each = count // len(attackers)
    waits = [begin(one, "run", count=each, callers=8, resets=0.2, tls=tls) for one in attackers]
    found = [wait() for wait in waits]
    return {
        "failures": sum(one["failures"] for one in found),
        "first": [text for one in found for text in one["first"]],
        "seconds": max(one["seconds"] for one in found),
    }


def run_tls_churn(folder: str, count: int) -> Report:
    report = Report("R5", "the same inside TLS")
    from tests.support.certificates import Authority

    authority = Authority(Path(folder))
    made = authority.make("localhost", "localhost", "127.0.0.1")
    stage = Stage()
    stage.options = {"certificate": str(made.both), "ca": str(authority.pem)}
    with stage:
        attackers = [stage.actor("churn", ca=str(authority.pem))]
        churn(attackers, 500, tls=True)
        before = stage.status()
        found = churn(attackers, count, tls=True)
        after, _ = stage.settled(before, ("descriptors", "greenlets", "objects"))
    report.exactly("TLS: cycles that failed", found["failures"], 0)
    for text in found["first"][:3]:
        report.tell("  such as", text)
    report.at_least(f"TLS 1.3: {count:,} cycles, one caller's process", count / found["seconds"], 500, "/s")
    for name in ("descriptors", "greenlets", "objects"):
        report.exactly(f"TLS: {name} more than before", max(after[name] - before[name], 0), 0)
    return report


# -- R23 -----------------------------------------------------------------------------------------------------


def run_guessing(full: bool) -> Report:
    count, sources, rate = 50_000, 100, 2000.0
    report = Report("R23", f"{count:,} bad logins from {sources} addresses, {rate:,.0f} a second")
    with Stage(ration_loopback=True) as stage:
        callers, attacker = stage.actor("callers"), stage.actor("guessing")
        ask(callers, "start", kinds=["held", "anew"], pause=0.02)
        sleep(1.0)
        calm = ask(callers, "stop")
        quiet = stage.status()
        ask(callers, "start", kinds=["held", "anew"], pause=0.02)
        sleep(2.0)
        ask(callers, "stop")
        quiet = stage.status()
        ask(callers, "start", kinds=["held", "anew"], pause=0.02)
        done = ask(attacker, "run", count=count, sources=sources, rate=rate)
        good = ask(callers, "stop")
        after = stage.status()
        flood = ask(attacker, "run", count=count // 5, sources=sources, rate=0.0)
        flooded = stage.status()
    tried = sum(done.get(name, 0) for name in ("denied", "shut out", "refused", "let in"))
    report.at_least("logins tried", tried, count)
    report.exactly("let in", done.get("let in", 0), 0)
    report.tell("denied after the proof", done.get("denied", 0))
    report.tell("shut out without a word", done.get("shut out", 0))
    report.exactly("addresses shut out", after["blocked"], sources)
    report.tell("tried in a second", tried / done["seconds"])
    tell_callers(report, good, "anew", "honest login and call", 100.0)
    tell_callers(report, good, "held", "client that keeps its connection", None)
    report.tell("  the login's p99 without an attack", f"{calm['anew']['p99']:.1f} ms")
    report.at_most("server's CPU", 100 * after["cpu"] / after["seconds"], 30.0, " %")
    honest = quiet["cpu"] / quiet["seconds"]
    report.tell("  of it for the honest clients, without an attack", f"{100 * honest:.1f} %")
    each = (after["cpu"] - honest * after["seconds"]) / tried
    report.tell("  for each bad login", f"{1e6 * each:.0f} us")
    report.tell("  as fast as one process tries", f"{count // 5 / flood['seconds']:,.0f}/s, "
                f"{100 * flooded['cpu'] / flooded['seconds']:.0f} % CPU")
    report.at_most("addresses in the table", after["sources"], 10_000)
    return report


# -- R24 -----------------------------------------------------------------------------------------------------


def run_bombs(full: bool) -> Report:
    report = Report("R24", "bombs: server's CPU and memory for each")
    with Stage() as stage:
        attacker = stage.actor("bombs")
        while prepared := ask(attacker, "prepare"):
            before = stage.server.request({"do": "forget_peak"}, START_SECONDS)
            outcome = ask(attacker, "throw")["outcome"]
            after = stage.status(collect=False)
            name = f"{prepared['name']}, {prepared['bytes'] / 1e6:.1f} MB"
            report.at_most(f"{name}: {outcome}: CPU", 1e3 * after["cpu"], 50.0, " ms")
            grown = (after["peak_kib"] - before["resident_kib"]) / MIB
            # What is larger travels in chunks: max_message_bytes and max_value_bytes as they are shipped.
            limit = 4.0 if prepared["bytes"] <= 4 * 1024 * 1024 else 256.0
            report.at_most("  memory", grown, limit + 1.0, " MiB")
    return report


RUNS: dict[str, Callable[[bool], Report]] = {
    "R2": run_garbage,
    "R3": run_dribble,
    "R5": run_churn,
    "R14": run_pairs,
    "R15": run_leases,
    "R19": run_frozen,
    "R20": run_exactly,
    "R23": run_guessing,
    "R24": run_bombs,
}
