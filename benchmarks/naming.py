"""`python -m benchmarks.naming`: a name server with a database and many names, its figures beside their goals."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from benchmarks.goals import KIB_A_NAME, LOAD_SECONDS, PAGE_SECONDS, RESOLVES_A_SECOND, RESOLVES_BESIDE_A_SECOND
from benchmarks.machine import describe_machine
from benchmarks.processes import WorkerFailed, build_environment, read_resident_kib
from benchmarks.reliability.report import Report, render
from benchmarks.stats import median
from benchmarks.table import render_machine

NAMES = 100_000
PAGE = 1000
#: Callers at a time in one client process.
RESOLVING, REGISTERING, BESIDE = 100, 50, 10
#: How long each rate is measured.
SECONDS = 4.0
GROUP = ":Many"
#: A start that takes longer hangs.
START_SECONDS = 60.0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.naming", description=__doc__)
    parser.add_argument("--names", type=int, default=NAMES, help=f"how many; else {NAMES:,}")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of each rate; else {SECONDS:g}")
    # What the processes of a run are started with.
    parser.add_argument("--role", choices=sorted(ROLES), help=argparse.SUPPRESS)
    parser.add_argument("--words", default="{}", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.role:
        print(json.dumps(ROLES[arguments.role](**json.loads(arguments.words))), flush=True)
        return 0
    machine = describe_machine({})
    try:
        report = tell(arguments.names, measure(arguments.names, arguments.seconds))
    except WorkerFailed as exc:
        raise SystemExit(str(exc)) from exc
    print(render(report), end="\n\n")
    print(render_machine(machine).strip())
    print(f"{report.missed()} figures missed")
    return int(report.missed() > 0)


class Found(NamedTuple):
    """What was measured; lists have an item for each round, rates are for a second."""

    file_mib: float
    started_seconds: float
    kib_each: float
    load_seconds: list[float]
    page_seconds: list[float]
    alone: list[float]
    busy: list[float]
    beside: list[float]
    registered: list[float]


def measure(names: int, seconds: float, rounds: int = 1) -> Found:
    """Fill a database, and measure the server that has it; each rate for so long in each round."""
    with tempfile.TemporaryDirectory() as storage:
        path = os.path.join(storage, "Pyro_NS_database", "names.sqlite")
        call("fill", storage, path=path, names=names)
        file_mib = os.stat(path).st_size / 2**20
        loads = [call("load", storage, path=path)["seconds"] for _ in range(rounds)]
        with tempfile.TemporaryDirectory() as other, serving(other) as (empty, _):
            least = read_resident_kib(empty.pid)
        with serving(storage) as (process, started):
            kib_each = (read_resident_kib(process.pid) - least) / names
            found = Found(file_mib, started, kib_each, loads, [], [], [], [], [])
            for _ in range(rounds):
                measure_round(found, storage, names, seconds)
    return found


def measure_round(found: Found, storage: str, names: int, seconds: float) -> None:
    """Add one value to each list."""
    found.page_seconds.append(call("page", storage, names=names)["seconds"])
    found.alone.append(call("resolve", storage, seconds=seconds, names=names)["rate"])
    beside = start("register", storage, seconds=seconds + 2, callers=BESIDE)
    found.busy.append(call("resolve", storage, seconds=seconds, names=names)["rate"])
    found.beside.append(finish(beside)["rate"])
    found.registered.append(call("register", storage, seconds=seconds, callers=REGISTERING)["rate"])


def tell(names: int, found: Found) -> Report:
    """Return the figures beside their goals."""
    report = Report("naming", f"a name server with {names:,} names in a database")
    report.tell("size of the file, MiB", found.file_mib)
    report.at_most("load from disk, with all checks", median(found.load_seconds), LOAD_SECONDS, " s")
    report.tell("`gpyro ns -d` from its start to its first answer, s", found.started_seconds)
    report.at_most("memory for each name", found.kib_each, KIB_A_NAME, " KiB")
    report.at_most("first page of a group with all of them", median(found.page_seconds), PAGE_SECONDS, " s")
    report.at_least(f"resolve, {RESOLVING} callers in one process", median(found.alone), RESOLVES_A_SECOND, "/s")
    report.at_least(f"the same while {BESIDE} others register", median(found.busy), RESOLVES_BESIDE_A_SECOND, "/s")
    report.tell("what those register meanwhile, /s", float(int(median(found.beside))))
    report.tell(f"registrations on the disk, {REGISTERING} callers, /s", float(int(median(found.registered))))
    return report


# -- processes -----------------------------------------------------------------------------------------------


def start(role: str, storage: str, **words: Any) -> subprocess.Popen[str]:
    """Start a process with a role."""
    command = [sys.executable, "-m", "benchmarks.naming", "--role", role, "--words", json.dumps(words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(storage))


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return what it found when it has ended."""
    output, _ = process.communicate()
    if process.returncode:
        raise WorkerFailed(f"{process.args!r} ended with status {process.returncode}")
    result: dict[str, Any] = json.loads(output)
    return result


def call(role: str, storage: str, **words: Any) -> dict[str, Any]:
    return finish(start(role, storage, **words))


def environment(storage: str) -> dict[str, str]:
    return {**build_environment(), "GPYRO_STORAGE": storage, "GPYRO_NS_URIFILE": os.path.join(storage, "uri")}


@contextmanager
def serving(storage: str) -> Iterator[tuple[subprocess.Popen[str], float]]:
    """Run a name server; yields its process and the seconds until it answered."""
    import gpyro

    begun = time.perf_counter()
    command = [sys.executable, "-m", "gpyro", "ns", "-r", "-d", "-p", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(storage))
    try:
        assert process.stdout is not None
        address = ""
        while "Name Server started." not in (line := process.stdout.readline()):
            if not line:
                raise WorkerFailed("the name server did not start")
            address = line.partition("URI is: ")[2].strip() or address
        proxy = gpyro.Proxy(address)
        proxy.ping()
        started = time.perf_counter() - begun
        proxy._release()
        yield process, started
    finally:
        process.terminate()
        process.wait(START_SECONDS)
        process.stdout.close()  # type: ignore[union-attr]


# -- what they do --------------------------------------------------------------------------------------------


def fill(path: str, names: int) -> dict[str, Any]:
    import gevent

    from gpyro.storage.sqlite import SqliteStorage

    with SqliteStorage(path) as storage:
        storage.create_group(GROUP, created=time.time())

        def register(first: int, step: int = 500) -> None:
            for number in range(first, names, step):
                uri = f"PYRO://192.168.10.20:7766/{number:032x}"
                storage.register(name_of(number), uri, created=time.time(), owner="192.168.10.20:40000")

        gevent.joinall([gevent.spawn(register, first) for first in range(500)], raise_error=True)
    return {}


def load(path: str) -> dict[str, Any]:
    from gpyro.storage.sqlite import SqliteStorage

    begun = time.perf_counter()
    storage = SqliteStorage(path)
    seconds = time.perf_counter() - begun
    storage.close()
    return {"seconds": seconds}


def name_of(number: int) -> str:
    return f"{GROUP}.object-{number:06}"


def name_server() -> Any:
    """Return a proxy of the one that the file tells of."""
    import gpyro

    return gpyro.naming.NameServerLocator().getNS()


def page(names: int) -> dict[str, Any]:
    ns = name_server()
    begun = time.perf_counter()
    assert len(ns.list(GROUP, 0, PAGE)) == min(PAGE, names)
    return {"seconds": time.perf_counter() - begun}


def resolve(seconds: float, names: int) -> dict[str, Any]:
    ns = name_server()
    return rate(RESOLVING, seconds, lambda caller, count: ns.resolve(name_of((caller * 7919 + count) % names)))


def register(seconds: float, callers: int) -> dict[str, Any]:
    ns = name_server()
    pid = os.getpid()

    def one(caller: int, count: int) -> None:
        ns.register(f"{GROUP}.new-{pid}-{caller}-{count}", f"PYRO://192.168.10.20:7766/{pid}-{caller}-{count}")

    return rate(callers, seconds, one)


def rate(callers: int, seconds: float, act: Callable[[int, int], object]) -> dict[str, Any]:
    """Let callers act at a time, and return how often in a second."""
    import gevent

    done = [0] * callers
    until = time.perf_counter() + seconds

    def work(caller: int) -> None:
        while time.perf_counter() < until:
            act(caller, done[caller])
            done[caller] += 1

    begun = time.perf_counter()
    gevent.joinall([gevent.spawn(work, caller) for caller in range(callers)], raise_error=True)
    return {"rate": sum(done) / (time.perf_counter() - begun)}


ROLES: dict[str, Callable[..., dict[str, Any]]] = {
    "fill": fill, "load": load, "page": page, "resolve": resolve, "register": register,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
