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
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.reliability.report import Report, render
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
    report = measure(arguments.names, arguments.seconds)
    print(render(report), end="\n\n")
    print(render_machine(machine).strip())
    print(f"{report.missed()} figures missed")
    return int(report.missed() > 0)


def measure(names: int, seconds: float) -> Report:
    """Run everything, and return the figures."""
    report = Report("naming", f"a name server with {names:,} names in a database")
    with tempfile.TemporaryDirectory() as storage:
        path = os.path.join(storage, "Pyro_NS_database", "names.sqlite")
        call("fill", storage, path=path, names=names)
        report.tell("size of the file, MiB", os.stat(path).st_size / 2**20)
        loaded = call("load", storage, path=path)
        report.at_most("load from disk, with all checks", loaded["seconds"], 1.0, " s")
        with tempfile.TemporaryDirectory() as other, serving(other) as (empty, _):
            least = resident_kib(empty.pid)
        with serving(storage) as (process, started):
            report.tell("`gpyro ns -d` from its start to its first answer, s", started)
            report.at_most("memory for each name", (resident_kib(process.pid) - least) / names, 1.0, " KiB")
            paged = call("page", storage)
            report.at_most("first page of a group with all of them", paged["seconds"], 0.3, " s")
            alone = call("resolve", storage, seconds=seconds, names=names)
            report.at_least(f"resolve, {RESOLVING} callers in one process", alone["rate"], 20_000, "/s")
            beside = start("register", storage, seconds=seconds + 2, callers=BESIDE)
            busy = call("resolve", storage, seconds=seconds, names=names)
            report.at_least(f"the same while {BESIDE} others register", busy["rate"], 15_000, "/s")
            report.tell("what those register meanwhile, /s", float(int(finish(beside)["rate"])))
            registered = call("register", storage, seconds=seconds, callers=REGISTERING)
            report.tell(f"registrations on the disk, {REGISTERING} callers, /s", float(int(registered["rate"])))
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
        raise SystemExit(f"{process.args} ended with status {process.returncode}")
    result: dict[str, Any] = json.loads(output)
    return result


def call(role: str, storage: str, **words: Any) -> dict[str, Any]:
    return finish(start(role, storage, **words))


def environment(storage: str) -> dict[str, str]:
    return {**os.environ, "GPYRO_STORAGE": storage, "GPYRO_NS_URIFILE": os.path.join(storage, "uri")}


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
                raise SystemExit("the name server did not start")
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


def resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


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


def page() -> dict[str, Any]:
    ns = name_server()
    begun = time.perf_counter()
    assert len(ns.list(GROUP, 0, PAGE)) == PAGE
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
