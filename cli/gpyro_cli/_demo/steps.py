"""The steps of `gpyro demo`, each a function that compares and says what it found."""

from __future__ import annotations

import hashlib
import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent

import gpyro

# Loaded now, and not at first use with the processes running: CPython 3.11 loses a signal's exception that is
# raised while a module is being compiled.
import gpyro.naming
import gpyro.proxy
from gpyro_cli._demo.processes import Child, Children, DemoError
from gpyro_cli._demo.values import GROUP, READY, every_kind, is_same

__all__ = ["run"]

Tell = Callable[[str], object]

HOST = "127.0.0.1"
#: Larger than a frame may be, so that it travels in chunks.
FILE_BYTES = 8 * 1024 * 1024
CALLS = 1000
CALL_SECONDS = 0.5
#: All at once they take CALL_SECONDS; one after another would be 500 s, in 10 threads 50 s.
MOST_SECONDS = 10.0
CALLBACKS = 5


class Listener(gpyro.ObjBase):
    """An object of the client's, without a daemon."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers: list[int] = []
        self._callers: set[Any] = set()

    def note_number(self, number: int) -> int:
        """Take a number from the server and give its double."""
        self._numbers.append(number)
        self._callers.add(gpyro.current_call.caller.addr)
        return 2 * number


def run(directory: Path, say: Tell, tell: Tell) -> None:
    """Go through all steps.

    Args:
        directory: for the files of all processes; who made it removes it.
        say: prints a line.
        tell: prints a line that only those want who asked for more.

    Raises:
        DemoError: something differs.
    """
    (directory / "storage").mkdir(mode=0o700)
    with Children(directory, tell) as children:
        start = time.monotonic()
        ns_process = children.start("name server", ["gpyro", "ns", "-n", HOST, "-p", "0", "-r"])
        ns_uri = gpyro.PyroURI(ns_process.read_until("URI is:"))
        ns_process.read_until("Name Server started")
        say(f"name server     pid {ns_process.pid}, {ns_uri}, ready in {time.monotonic() - start:.2f} s")
        start = time.monotonic()
        words = ["gpyro_cli._demo.server", HOST, str(ns_uri.port), str(directory)]
        server = children.start("object server", words)
        server.read_until(READY)
        say(f"object server   pid {server.pid}, ready in {time.monotonic() - start:.2f} s")
        call_in_every_way(f"PYRONAME://{HOST}:{ns_uri.port}", directory, say, tell)
        stop_both(ns_process, ns_uri, server, say)


def call_in_every_way(where: str, directory: Path, say: Tell, tell: Tell) -> None:
    """Be the client, in this process."""
    name = f"{where}/{GROUP}.workshop"
    say(f"client          pid {os.getpid()}, calls {name}")
    workshop = gpyro.Proxy(name)
    compare_values(workshop, say, tell)
    send_file(workshop, directory, say)
    show_exception(workshop, say)
    call_at_once(workshop, say)
    be_called_back(workshop, say)
    use_attributes(name, say)
    call_oneway(workshop, say)
    call_plain(f"{where}/{GROUP}.plain", say)
    workshop._release()


def _expect(condition: object, what: str) -> None:
    if not condition:
        raise DemoError(what)


def compare_values(workshop: Any, say: Tell, tell: Tell) -> None:
    """Echo one value of each kind, alone and all together."""
    values = every_kind()
    for kind, value in values.items():
        back = workshop.echo(value)
        tell(f"    {kind}: {back!r}")
        _expect(is_same(value, back), f"{kind}: sent {value!r}, got {back!r}")
    # A bytearray keeps its type where it is an argument or the result itself; within a container it arrives
    # as bytes, which is documented.
    del values["bytearray"]
    together = workshop.echo(values)
    _expect(is_same(values, together), "the values differ when they travel together")
    say(f"values          {len(values) + 1} kinds came back with the same type and value")


def send_file(workshop: Any, directory: Path, say: Tell) -> None:
    """Send an archive of Python's own modules, and fetch it again."""
    path = directory / "modules.tar"
    _make_archive(path)
    content = path.read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    start = time.monotonic()
    theirs = workshop.keep("kept.tar", content)
    sent = time.monotonic()
    back = workshop.fetch("kept.tar")
    seconds = time.monotonic() - sent
    _expect(theirs == checksum, f"the server's checksum is {theirs}, here it is {checksum}")
    _expect(type(back) is bytes and hashlib.sha256(back).hexdigest() == checksum, "the file came back changed")
    size = len(content) / 1e6
    say(
        f"file            {size:.1f} MB of Python's modules there in {sent - start:.3f} s, back in "
        f"{seconds:.3f} s, SHA-256 {checksum[:16]}... the same"
    )


def _make_archive(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for module in sorted(Path(os.__file__).parent.rglob("*.py")):
            archive.add(module, module.name)
            if archive.offset > FILE_BYTES:
                return


def show_exception(workshop: Any, say: Tell) -> None:
    """Let the server fail, with a class that both have and with one that only it has."""
    try:
        workshop.divide(1, 0)
    except ZeroDivisionError as exc:
        lines = "".join(exc.remote_stacktrace).splitlines()  # type: ignore[attr-defined]
    else:
        raise DemoError("dividing by zero raised nothing")
    _expect(any("_divide" in line for line in lines), f"the remote traceback lacks the failing function: {lines}")
    say("exception       ZeroDivisionError; where it happened, in the server:")
    for line in lines:
        say(f"                | {line}")
    try:
        workshop.break_tool()
    except gpyro.errors.RemoteError as exc:
        say(f"                a class that only the server has: {type(exc).__name__}, a RemoteError: {exc}")
    else:
        raise DemoError("break_tool raised nothing")


def call_at_once(workshop: Any, say: Tell) -> None:
    """Make many blocking calls at once over one proxy."""
    start = time.monotonic()
    greenlets = [gevent.spawn(workshop.wait, CALL_SECONDS, number) for number in range(CALLS)]
    gevent.joinall(greenlets, timeout=MOST_SECONDS, raise_error=True)
    seconds = time.monotonic() - start
    numbers = [greenlet.value for greenlet in greenlets]
    _expect(numbers == list(range(CALLS)), f"some calls have no or a wrong answer after {seconds:.2f} s")
    most, connections = workshop.waited()
    _expect(connections == 1, f"one proxy used {connections} connections")
    say(
        f"at once         {CALLS:,} calls that each block {CALL_SECONDS:g} s, one proxy, one connection: all "
        f"{CALLS:,} answers after {seconds:.3f} s; {most:,} ran at the same time"
    )


def be_called_back(workshop: Any, say: Tell) -> None:
    """Pass an object of ours; the server calls it over the connection that we opened."""
    listener = Listener()
    total = workshop.count_for(listener, CALLBACKS)
    _expect(listener._numbers == list(range(1, CALLBACKS + 1)), f"called back with {listener._numbers}")
    _expect(total == CALLBACKS * (CALLBACKS + 1), f"the answers of the callbacks came to {total}")
    _expect(len(listener._callers) == 1, f"called back over {len(listener._callers)} connections")
    say(f"callback        the server called our object {CALLBACKS} times over the same connection, sum {total}")


def use_attributes(name: str, say: Tell) -> None:
    """Read and write an attribute."""
    workshop = gpyro.AttrProxy(name)
    before = workshop.sum
    workshop.sum = workshop.sum + 1
    _expect((before, workshop.sum) == (41, 42), f"sum was {before} and is {workshop.sum}")
    say(f"attribute       workshop.sum = workshop.sum + 1: {before} became {workshop.sum}")
    workshop._release()


def call_oneway(workshop: Any, say: Tell) -> None:
    """Make a call without waiting for it."""
    workshop._setOneway("note")
    start = time.monotonic()
    workshop.note("no hurry")
    seconds = time.monotonic() - start
    _expect(workshop.notes() == [], "the oneway call was waited for")
    deadline = time.monotonic() + MOST_SECONDS
    while workshop.notes() != ["no hurry"]:
        _expect(time.monotonic() < deadline, "the oneway call was never made")
        gevent.sleep(0.02)
    say(f"oneway          a call that takes 0.2 s was sent in {seconds * 1e6:.0f} µs and made later")


def call_plain(name: str, say: Tell) -> None:
    """Call an object of a class that knows nothing of gpyro."""
    counter = gpyro.Proxy(name)
    _expect([counter.count(), counter.count()] == [1, 2], "the plain object counts wrongly")
    say("plain object    a class without gpyro's base was called twice")
    counter._release()


def stop_both(ns_process: Child, ns_uri: Any, server: Child, say: Tell) -> None:
    """End both in order, and see that nothing of them is left."""
    ns = gpyro.naming.NameServerLocator().getNS(HOST, ns_uri.port)
    before = [name for name, _ in ns.flatlist() if name.startswith(GROUP)]
    seconds = server.stop()
    after = [name for name, _ in ns.flatlist() if name.startswith(GROUP)]
    _expect(len(before) == 2 and not after, f"names before the stop {before}, after it {after}")
    say(f"stop            object server: SIGTERM, status 0 after {seconds:.2f} s; its 2 names are gone")
    ns._release()
    seconds = ns_process.stop()
    try:
        gpyro.naming.NameServerLocator().getNS(HOST, ns_uri.port)
    except gpyro.errors.NamingError:
        pass
    else:
        raise DemoError(f"a name server still answers at {ns_uri}")
    say(f"                name server: SIGTERM, status 0 after {seconds:.2f} s; nobody listens there any more")
