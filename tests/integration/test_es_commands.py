"""`gpyro es` and its commands as processes of their own: what they print, their status, their end."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import gpyro
from gpyro.errors import EventError, NamingError
from gpyro.eventserver import Event, Publisher, Subscriber
from gpyro.naming import NameServerProxy
from tests.support.programs import (
    PROGRAMS,
    SECONDS,
    Ended,
    Program,
    complete,
    free_port,
    make_environment,
    run,
    run_in_shell,
)

NAME = ":Pyro.EventService"
STARTED, STOPPED = "Event Server started.", "Event Server gracefully stopped."


class Place:
    """A machine with a name server or without one, and a directory of its own."""

    def __init__(self, storage: Path, ns_port: int, **settings: object) -> None:
        self.storage = storage
        self.ns_port = ns_port
        self.environment = make_environment(
            storage, ns_port=ns_port, ns_hostname="127.0.0.1", ns_broadcast=0, **settings
        )

    def program(self, *words: str) -> Program:
        return Program(["-m", "gpyro", "es", *words], self.environment)

    def server(self, *words: str) -> Program:
        """Start an event server; it is ready."""
        program = self.program(*(words if "-p" in words else ("-p", "0", *words)))
        program.read_until(STARTED)
        return program

    def es(self, *words: str) -> Ended:
        return run(["-m", "gpyro", "es", *words], self.environment)

    def lines(self, *words: str) -> list[str]:
        """Return what it prints when it succeeds."""
        ended = self.es(*words)
        assert (ended.status, ended.stderr) == (0, "")
        return ended.stdout.splitlines()

    def error(self, *words: str) -> str:
        """Return its line on stderr when it fails."""
        ended = self.es(*words)
        assert ended.status == 1
        return ended.stderr

    def shell(self, text: str) -> subprocess.CompletedProcess[str]:
        return run_in_shell(text, self.environment)

    def file(self) -> Path:
        return self.storage / "Pyro_ES_URI"

    def uri(self) -> str:
        return self.file().read_text().strip()


@pytest.fixture(scope="module")
def ns_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a name server in a process of its own."""
    port = free_port()
    environment = make_environment(tmp_path_factory.mktemp("names"), ns_port=port)
    with Program(["-m", "gpyro", "ns", "-r"], environment) as program:
        program.read_until("Name Server started.")
        yield port
        ended = program.stop()
        assert (ended.status, ended.stderr) == (0, "")


@pytest.fixture
def place(ns_port: int, tmp_path: Path) -> Place:
    """A place with a name server, in which no event server runs."""
    return Place(tmp_path, ns_port)


@pytest.fixture
def lonely(tmp_path: Path) -> Place:
    """A place without a name server."""
    return Place(tmp_path, free_port())


@pytest.fixture
def ns(ns_port: int) -> Iterator[NameServerProxy]:
    proxy = gpyro.naming.NameServerLocator().getNS("127.0.0.1", ns_port)
    yield proxy
    proxy._release()


@pytest.fixture(scope="module")
def shared(ns_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A place in which an event server runs without a name, for tests that only use it."""
    place = Place(tmp_path_factory.mktemp("shared"), ns_port)
    with place.server("-N") as program:
        yield place
        ended = program.stop()
        assert (ended.status, ended.stderr) == (0, "")


def has_name(ns: NameServerProxy) -> bool:
    try:
        ns.resolve(NAME)
    except NamingError:
        return False
    return True


def stop(program: Program, number: int = signal.SIGTERM) -> list[str]:
    """End a server in order and return all that it printed."""
    ended = program.stop(number)
    assert (ended.status, ended.stderr) == (0, "")
    return ended.stdout.splitlines()


# -- the server ------------------------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_server_prints_what_pyros_does_and_leaves_nothing_behind(
    place: Place, ns: NameServerProxy, number: int
) -> None:
    port = free_port()
    with place.server("-n", "127.0.0.1", "-p", str(port)) as program:
        uri = f"PYRO://127.0.0.1:{port}/{NAME}"
        assert str(ns.resolve(NAME)) == uri
        assert place.uri() == uri
        assert stop(program, number) == [
            "*** gpyro Event Server ***", f"URI= {uri}", STARTED, "Shutting down on a signal.", STOPPED,
        ]  # fmt: skip
    assert not has_name(ns)
    assert not place.file().exists()


def test_default_port_is_the_first_free_one_of_the_range(lonely: Place) -> None:
    lonely.environment["GPYRO_PORT"] = str(port := free_port())
    with lonely.program("-N") as one, lonely.program("-N") as two:
        one.read_until(STARTED)
        two.read_until(STARTED)
        ports = {gpyro.PyroURI(stop(program)[1].removeprefix("URI= ")).port or 0 for program in (one, two)}
    assert min(ports) >= port
    assert len(ports) == 2


def test_port_that_is_in_use_is_told(lonely: Place) -> None:
    with lonely.server("-N"):
        port = gpyro.PyroURI(lonely.uri()).port
        text = lonely.error("-N", "-p", str(port))
    assert text == (
        f"Error: Event Server was not started: port {port} of localhost is in use, perhaps by another event "
        "server; choose another port with -p\n"
    )


def test_group_of_the_name_is_made_where_it_is_missing(tmp_path: Path) -> None:
    port = free_port()
    other = Place(tmp_path, port)
    with Program(["-m", "gpyro", "ns", "-r"], other.environment) as names:
        names.read_until("Name Server started.")
        ns = gpyro.naming.NameServerLocator().getNS("127.0.0.1", port)
        ns.deleteGroup(":Pyro")
        with other.server() as program:
            assert str(ns.resolve(NAME)) == other.uri()
            stop(program)
        ns._release()


def test_without_a_name_server_it_says_how_to_do_without(lonely: Place) -> None:
    text = lonely.error("-p", "0")
    assert text.startswith("Error: could not find a name server")
    assert text.endswith("or do without (-N, useNameServer=0)\n")


def test_second_server_is_refused_and_the_first_one_stays(place: Place, ns: NameServerProxy) -> None:
    with place.server() as first:
        uri = place.uri()
        ended = place.es("-p", "0")
        assert ended.status == 1
        assert ended.stdout.splitlines() == [
            "*** gpyro Event Server ***", "The Event Server appears to be already running.",
            "You cannot start multiple Event Servers.",
        ]  # fmt: skip
        assert ended.stderr.startswith(f"Error: Event Server was not started: one is running already, {uri}; ")
        assert "--force" in ended.stderr
        assert str(ns.resolve(NAME)) == place.uri() == uri
        stop(first)


def test_second_server_takes_the_place_of_the_first_with_force(place: Place, ns: NameServerProxy) -> None:
    with place.server() as first, place.server("--force") as second:
        uri = place.uri()
        assert str(ns.resolve(NAME)) == uri
        stop(first)
        # The end of the first one leaves alone what is not its own any more.
        assert str(ns.resolve(NAME)) == place.uri() == uri
        stop(second)
    assert not has_name(ns)


@pytest.mark.parametrize(("answer", "starts"), [("y\n", True), ("n\n", False), ("\n", False), ("\x04", False)])
def test_person_at_a_terminal_is_asked(place: Place, ns: NameServerProxy, answer: str, starts: bool) -> None:
    with place.server() as first:
        before = place.uri()
        ours, theirs = pty.openpty()
        second = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "gpyro", "es", "-p", "0"], stdin=theirs, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=place.environment, text=True,
        )  # fmt: skip
        try:
            os.close(theirs)
            os.write(ours, answer.encode())
            assert second.stdout is not None
            assert second.stderr is not None
            if starts:
                line = next(line for line in second.stdout if "URI= " in line)
                assert line.startswith("Start new Event Server anyway [y/N]: URI= ")
                assert str(ns.resolve(NAME)) == line.partition("URI= ")[2].strip() != before
                assert any(STARTED in line for line in second.stdout)
                second.send_signal(signal.SIGTERM)
                assert second.wait(SECONDS) == 0
            else:
                assert second.wait(SECONDS) == 1
                assert str(ns.resolve(NAME)) == before
        finally:
            second.kill()
            second.communicate()
            os.close(ours)
        stop(first)


@pytest.mark.parametrize("lease", [0, 30])
def test_server_in_the_place_of_a_killed_one_starts_at_once(ns: NameServerProxy, place: Place, lease: int) -> None:
    place.environment["GPYRO_NS_LEASE_SECONDS"] = str(lease)
    with place.server() as first:
        before = place.uri()
        first.kill()
    with place.server() as second:
        assert str(ns.resolve(NAME)) == place.uri() != before
        stop(second)
    assert not has_name(ns)


def test_identification_is_for_clients_and_for_the_name_server(tmp_path: Path) -> None:
    place = Place(tmp_path, free_port())
    with Program(["-m", "gpyro", "ns", "-r", "-i", "pw"], place.environment) as names:
        names.read_until("Name Server started.")
        with place.server("-i", "pw") as server:
            assert place.lines("publish", "-i", "pw", "a", "1") == ["1 event published."]
            for words in ((), ("--uri", place.uri())):
                assert "wants an identification" in place.error("publish", *words, "a", "1")
                assert "security reasons" in place.error("publish", "-i", "wrong", *words, "a", "1")
                assert place.lines("status", "-i", "pw", *words)
            assert "security reasons" in place.error("-p", "0", "-i", "wrong")
            ends = [server.stop(), names.stop()]
    for ended in ends:
        assert ended.status == 0
        assert "Requiring connection authentication." in ended.stdout.splitlines()
        # Logins that fail are told, and nothing else.
        assert all("a login from" in line for line in ended.stderr.splitlines())


def test_accounts_of_a_file_let_clients_in(lonely: Place) -> None:
    key, accounts = lonely.storage / "press-4.key", lonely.storage / "accounts"
    accounts.write_text(run(["-m", "gpyro", "keygen", "press-4", "-o", str(key)], lonely.environment).stdout)
    accounts.chmod(0o600)
    with lonely.server("-N", "--identification-file", str(accounts)) as server:
        assert lonely.lines("publish", "--identification-file", str(key), "a", "1") == ["1 event published."]
        wrong = lonely.es("publish", "--identification-file", str(accounts), "a", "1")
        assert wrong.status == 2
        assert "holds accounts, which are for servers" in wrong.stderr
        stop(server)


def test_server_beyond_this_machine_needs_identification_or_insecure(lonely: Place) -> None:
    assert "--insecure" in lonely.error("-N", "-p", "0", "-n", "0.0.0.0")
    with lonely.server("-N", "-n", "0.0.0.0", "--insecure") as server:
        ended = server.stop()
    assert ended.status == 0
    assert "0.0.0.0 is open to everybody who can reach it" in ended.stderr


def test_module_runs_the_command(lonely: Place) -> None:
    help_text = run(["-m", "gpyro.eventserver", "-h"], lonely.environment)
    assert (help_text.status, help_text.stderr) == (0, "")
    assert help_text.stdout.startswith("Usage: gpyro es [OPTIONS]")


def test_database_keeps_events_over_a_restart(lonely: Place) -> None:
    with lonely.server("-N", "-d", "here") as server:
        lonely.lines("publish", "kept.x", "first")
        assert f"Persistent mode, database is in {lonely.storage}/here" in stop(server)
    with lonely.server("-N", "-d", "here") as server:
        lonely.lines("publish", "kept.x", "second")
        lines = lonely.lines("tail", "--history", "5", "--count", "2")
        stop(server)
    assert [line.split("  ")[1:] for line in lines] == [["kept.x", "first"], ["kept.x", "second"]]


def test_database_that_is_in_use_is_told(lonely: Place) -> None:
    with lonely.server("-N", "-d"):
        assert "another event server uses this database" in lonely.error("-N", "-p", "0", "-d")


def test_event_server_in_a_loop_of_the_programs_own(lonely: Place) -> None:
    program = subprocess.Popen(
        [sys.executable, "-W", "error", str(PROGRAMS / "event_server_in_foreign_loop.py")], env=lonely.environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline().startswith("URI= ")
        uri = program.stdout.readline().split()[1]
        assert lonely.lines("publish", "--uri", uri, "x.y", "[1, 2]") == ["1 event published."]
        (line,) = lonely.lines("tail", "--history", "1", "--count", "1")
        assert line.endswith("  x.y  [1, 2]")
        program.stdin.write("end\n")
        program.stdin.flush()
        rest = program.stdout.read()
        assert f"ended <EventServiceStarter ended, was {uri}>" in rest
        assert program.wait(SECONDS) == 0
    finally:
        program.kill()
        program.communicate()
    assert not lonely.file().exists()


# -- publish and tail --------------------------------------------------------------------------------------------


def published(place: Place, *words: str) -> list[Any]:
    """Publish, and return subject and message of each event that came of it."""
    lines = place.lines("publish", *words)
    count = int(lines[-1].split()[0])
    found = place.lines("tail", "--json", "--history", str(count), "--count", str(count))
    return [(event["subject"], event["message"]) for event in map(json.loads, found)]


def test_value_travels_as_json_or_text(shared: Place) -> None:
    assert published(shared, "plant.temp", '{"value": 21.5, "ok": true}') == [
        ("plant.temp", {"value": 21.5, "ok": True})
    ]
    assert published(shared, "plant.temp", "-5") == [("plant.temp", -5)]
    assert published(shared, "plant.temp", "--text", "-5") == [("plant.temp", "-5")]
    assert published(shared, "plant.temp", "valve open") == [("plant.temp", "valve open")]


def test_value_is_published_under_several_subjects(shared: Place) -> None:
    assert published(shared, "one", "1", "-s", "two", "-s", "three") == [("one", 1), ("two", 1), ("three", 1)]


def test_each_line_of_stdin_is_an_event(shared: Place) -> None:
    ended = shared.shell("printf '1\\n\\ntwo words\\n[3]' | gpyro es publish lines -")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "4 events published.\n", "")
    found = shared.lines("tail", "--json", "--history", "4", "--count", "4", "lines")
    assert [json.loads(line)["message"] for line in found] == [1, "", "two words", [3]]


@pytest.mark.parametrize("subject", ["a\nb", "x" * 100_000])
def test_subject_that_is_none_is_told(shared: Place, subject: str) -> None:
    ended = shared.es("publish", subject, "1")
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr.startswith("Error: ")
    assert ended.stderr.count("\n") == 1


def test_no_server_is_told_with_the_way_out(lonely: Place) -> None:
    for words in (["publish", "a", "1"], ["tail"], ["status"], ["remove", "q"]):
        text = lonely.error(*words)
        assert "no event server was found: " in text
        assert "gpyro es" in text
        assert text.count("\n") == 1
    assert "Error: address 'rubbish'" in lonely.error("status", "--uri", "rubbish")


class Tail:
    """`gpyro es tail` at work."""

    def __init__(self, place: Place, *words: str) -> None:
        self.place = place
        self.program = place.program("tail", *words)

    def __enter__(self) -> Tail:
        self.program.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.program.__exit__(None, None, None)

    def await_subscription(self, publisher: Publisher, subject: str) -> None:
        """Publish until something comes: then it has subscribed."""
        ready = threading.Event()

        def publish() -> None:
            while not ready.wait(0.05):
                publisher.publish(subject, "are you there?")

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            self.program.read_until("")
        finally:
            ready.set()
            thread.join()


def test_tail_prints_what_matches_until_it_is_interrupted(shared: Place) -> None:
    publisher = Publisher(None, shared.uri())
    for number in (signal.SIGINT, signal.SIGTERM):
        with Tail(shared, "plant", "(?:lab|office)/.*") as tail:
            tail.await_subscription(publisher, "plant.ready")
            publisher.publish(["other.plant", "PLANT.temp", "Lab/1"], {"a": 1})
            publisher.publish("plant\u2603", "esc \x1b[31m\nnew line")
            while "new line" not in tail.program.read_until(""):
                pass
            ended = tail.program.stop(number)
        assert (ended.status, ended.stderr) == (0, "")
        found = [line.split("  ", 2)[1:] for line in ended.stdout.splitlines()]
        assert [row for row in found if row[1] != "are you there?"] == [
            ["PLANT.temp", "{'a': 1}"], ["Lab/1", "{'a': 1}"], ["plant\u2603", "esc \\x1b[31m\\nnew line"],
        ]  # fmt: skip


def test_tail_of_plain_subjects_ends_after_its_count(shared: Place) -> None:
    publisher = Publisher(None, shared.uri())
    for subject in ("exact.*", "exact.a", "EXACT.*"):
        publisher.publish(subject, subject)
    found = shared.lines("tail", "--exact", "--history", "10", "--count", "2", "exact.*")
    assert [line.split("  ")[2] for line in found] == ["exact.*", "EXACT.*"]


def test_tail_ends_when_nobody_reads_it_any_more(shared: Place) -> None:
    Publisher(None, shared.uri()).publish("pipe", "first")
    ended = shared.shell("gpyro es tail --history 1 pipe | head -1")
    assert ended.returncode in (0, 141)
    assert ended.stderr == ""
    assert ended.stdout.endswith("  pipe  first\n")


@pytest.mark.parametrize("as_json", [False, True])
def test_tail_that_is_too_slow_tells_how_many_events_it_lost(lonely: Place, as_json: bool) -> None:
    lonely.environment["GPYRO_ES_QUEUESIZE"] = "50"
    many = 1_500
    with lonely.server("-N") as server:
        with Tail(lonely, "x", *(["--json"] if as_json else [])) as tail:
            publisher = Publisher(None, lonely.uri())
            tail.await_subscription(publisher, "x.before")
            # More than the pipe between us has room for.
            for number in range(many):
                publisher.publish("x.flood", f"{number} {'-' * 100}")
            while f"{many - 1} -" not in tail.program.read_until(""):
                pass
            ended = tail.program.stop(signal.SIGINT)
        stop(server)
    lines = ended.stdout.splitlines()
    if as_json:
        lost = sum(event.get("lost", 0) for event in map(json.loads, lines))
        assert ended.stderr == ""
    else:
        lost = sum(int(line.removesuffix(" events were lost.")) for line in ended.stderr.splitlines())
    assert 0 < lost == many - sum("x.flood" in line for line in lines)


def test_pattern_that_is_none_is_told(shared: Place) -> None:
    text = shared.error("tail", "(")
    assert text.startswith("Error: ")
    assert "'('" in text


@pytest.mark.parametrize("named", [True, False])
def test_tail_goes_on_when_the_server_is_started_again(place: Place, named: bool) -> None:
    words = [] if named else ["-N", "-p", str(free_port())]
    with place.server(*words) as first:
        with Tail(place, "x") as tail:
            tail.await_subscription(Publisher(None, place.uri()), "x.before")
            stop(first)
            with place.server(*words) as second:
                tail.await_subscription(Publisher(None, place.uri()), "x.after")
                ended = tail.program.stop(signal.SIGINT)
                stop(second)
    assert ended.status == 0
    assert ended.stderr.count("the event server is lost, trying again: ") == 1
    assert "x.after" in ended.stdout


# -- looking ----------------------------------------------------------------------------------------------------


class Listener(Subscriber):
    """Listens in a thread of its own until the block is left."""

    def __init__(self, uri: str, subjects: Sequence[str], **options: Any) -> None:
        super().__init__(None, uri, **options)
        self.seen: list[Event] = []
        self._subjects = subjects
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.subscribe(list(self._subjects))
        self._ready.set()
        try:
            self.listen()
        except EventError as exc:
            # Its queue was removed before it noticed that the block is left.
            assert "was removed" in str(exc)

    def event(self, event: Event) -> None:
        self.seen.append(event)

    def __enter__(self) -> Listener:
        self._thread.start()
        assert self._ready.wait(SECONDS)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.abort()
        self._thread.join(SECONDS)


def test_status_tells_of_server_subscribers_and_queues(lonely: Place) -> None:
    with lonely.server("-N") as server:
        with Listener(lonely.uri(), ["Plain.one"]), Listener(lonely.uri(), ["jobs"], queue="work"):
            lonely.lines("publish", "plain.ONE", "1")
            found = json.loads("\n".join(lonely.lines("status", "--json")))
            assert sorted(found) == ["queues", "server", "subscribers"]
            assert found["server"]["events"] == 1
            assert found["server"]["storage"] == "memory"
            assert sorted(one["kind"] for one in found["subscribers"]) == ["mailbox", "queue"]
            plain = next(one for one in found["subscribers"] if one["kind"] == "mailbox")
            assert (plain["subjects"], plain["state"]) == (["Plain.one"], "listening")
            assert [(one["name"], one["consumers"]) for one in found["queues"]] == [("work", 1)]
            server_rows, subscriber_rows, queue_rows = "\n".join(lonely.lines("status")).split("\n\n")
            assert dict(line.split(maxsplit=1) for line in server_rows.splitlines())["subscribers"] == "2"
            assert len(subscriber_rows.splitlines()) == 2
            assert queue_rows.startswith("work  -  1  0+0/")
        stop(server)


def test_queue_is_removed(lonely: Place) -> None:
    with lonely.server("-N") as server:
        with Listener(lonely.uri(), ["jobs"], queue="work"):
            pass
        assert lonely.lines("remove", "work") == ["work removed."]
        assert json.loads("\n".join(lonely.lines("status", "--json")))["queues"] == []
        assert "there is no queue 'work'" in lonely.error("remove", "work")
        stop(server)


def test_shell_completes_commands_and_options(lonely: Place) -> None:
    assert complete(lonely.environment, "gpyro e") == ["echoserver", "es"]
    assert complete(lonely.environment, "gpyro es ") == ["publish", "remove", "status", "tail"]
    assert complete(lonely.environment, "gpyro es tail --h") == ["--history", "--help"]
    assert complete(lonely.environment, "gpyro es --f") == ["--force"]
