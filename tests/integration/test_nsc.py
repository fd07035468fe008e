"""`gpyro nsc` as a process of its own against `gpyro ns` as another: what it prints, its status, its end."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

import gpyro
from gpyro.naming import NameServerProxy
from tests.support.programs import (
    SECONDS,
    Ended,
    Program,
    complete,
    free_port,
    make_environment,
    run,
    run_in_shell,
)

URI = "PYRO://127.0.0.1:1234/abc"
OTHER = "PYRO://127.0.0.1:1234/def"
MANY = 20_000

#: Values of every kind that a meta may be.
METAS: dict[str, Any] = {
    "text": "plain \u2603 \x00\n\"quoted\"",
    "number": 2**80,
    "float": float("inf"),
    "bytes": b"\x00\xff",
    "nothing": {"none": None, "false": False, "empty": ()},
    "nested": {"tuple": (1, [2.5, (3,)], {4, 5}), 6: b"six", ("a", 1): frozenset({"x"})},
}
NAMES = [":Default.plain", ":weiß.日本.Ünïcode", ":a.b-c_d.e%20f", ":x.quote\"'<&>$`;|*?[]{}", ":x.-dash"]


class Server:
    """A name server process that can be stopped and started again at its port; leaving the block ends it."""

    def __init__(self, storage: Path, *options: str) -> None:
        self.port = free_port()
        self.environment = make_environment(storage, ns_port=self.port, ns_hostname="127.0.0.1")
        self.options = options
        self.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.program.__exit__(None, None, None)

    def start(self) -> None:
        self.program = Program(["-m", "gpyro", "ns", "-r", *self.options], self.environment)
        self.program.read_until("Name Server started.")

    def stop(self) -> None:
        with self.program:
            ended = self.program.stop()
        assert (ended.status, ended.stderr) == (0, "")

    def words(self, *words: str) -> list[str]:
        return ["-m", "gpyro", "nsc", *words]

    def nsc(self, *words: str) -> Ended:
        return run(self.words(*words), self.environment)

    def lines(self, *words: str) -> list[str]:
        """Return what it prints when it succeeds."""
        ended = self.nsc(*words)
        assert (ended.status, ended.stderr) == (0, "")
        return ended.stdout.splitlines()

    def json(self, *words: str) -> Any:
        ended = self.nsc(*words, "--json")
        assert (ended.status, ended.stderr) == (0, "")
        return json.loads(ended.stdout)

    def proxy(self) -> NameServerProxy:
        return gpyro.naming.NameServerLocator().getNS("127.0.0.1", self.port)

    def shell(self, text: str) -> subprocess.CompletedProcess[str]:
        return run_in_shell(text, self.environment)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("storage")) as one:
        yield one
        one.stop()


@pytest.fixture
def ns(shared: Server) -> Iterator[NameServerProxy]:
    """The name server, emptied afterwards."""
    proxy = shared.proxy()
    yield proxy
    for name, kind in proxy.list(":"):
        if name != "Pyro":
            (proxy.unregister if kind else proxy.deleteGroup)(f":{name}")
    proxy.createGroup(":Default")
    proxy.setMeta(":", None)
    proxy._release()


# -- commands ------------------------------------------------------------------------------------------------


def test_life_of_a_name(shared: Server, ns: NameServerProxy) -> None:
    assert shared.lines("creategroup", ":g", ":g.sub") == [":g created.", ":g.sub created."]
    assert shared.lines("register", ":g.x", URI) == [":g.x registered."]
    assert shared.lines("list", ":g") == ["sub  group", "x    object"]
    assert shared.lines("resolve", ":g.x") == [f":g.x  {URI}"]
    assert shared.lines("setmeta", ":g.x", "text") == ["Metadata of :g.x set."]
    assert shared.lines("setmeta", ":g", '{"a": [1, null]}', "--json-value") == ["Metadata of :g set."]
    assert shared.lines("showmeta", ":g.x")[1] == "user    text"
    assert ns.getMeta(":g") == {"a": [1, None]}
    assert shared.lines("remove", ":g.x") == [":g.x removed."]
    assert shared.lines("deletegroup", ":g") == [":g deleted."]
    assert shared.lines("list", ":") == ["Default  group", "Pyro     group"]


def test_json_of_each_listing_command(shared: Server, ns: NameServerProxy) -> None:
    ns.createGroup(":g")
    ns.register(":g.x", URI)
    ns.register(":g.x", OTHER, member=True)
    ns.setMeta(":g.x", {"room": "7", "raw": b"\x00", 3: (1,)})
    own = f"PYRO://127.0.0.1:{shared.port}/:Pyro.NameServer"
    assert shared.json("ping") == {"uri": own, "host": "127.0.0.1", "port": shared.port}
    groups = [{"name": name, "kind": "group"} for name in (":Default", ":Pyro", ":g")]
    assert shared.json("list", ":g", ":") == [{"name": ":g.x", "kind": "object"}, *groups]
    assert shared.json("list") == []
    assert shared.json("listall") == [
        {"name": ":Pyro.NameServer", "uris": [own]}, {"name": ":g.x", "uris": [URI, OTHER]},
    ]  # fmt: skip
    assert shared.json("resolve", ":g.x") == [{"name": ":g.x", "uris": [URI, OTHER]}]
    meta = {"room": "7", "raw": "AA==", "3": [1]}
    (shown,) = shared.json("showmeta", ":g.x")
    assert set(shown) == {"name", "kind", "created", "owner", "meta"}
    assert (shown["name"], shown["kind"], shown["meta"]) == (":g.x", "object", meta)
    (found,) = shared.json("search", "--glob", "x")
    assert (found["name"], found["uris"], found["meta"]) == (":g.x", [URI, OTHER], meta)
    status = shared.json("status")
    assert (status["uri"], status["names"], status["groups"], status["pair"]) == (own, 2, 3, None)


def test_search_and_status_as_text(shared: Server, ns: NameServerProxy) -> None:
    ns.createGroup(":g")
    ns.register(":g.x", URI)
    ns.register(":g.y", URI)
    ns.setMeta(":g.x", {"room": "7", "load": 3})
    assert shared.lines("search", ":g") == [f":g.x  object  {URI}", f":g.y  object  {URI}"]
    assert shared.lines("search", "--regex", ".*y", "--glob", ":g.*") == [f":g.y  object  {URI}"]
    assert shared.lines("search", "--meta", "room=7", "--meta", "load:=3") == [f":g.x  object  {URI}"]
    assert shared.lines("search", "--meta", "load=3") == []
    rows = dict(line.split(maxsplit=1) for line in shared.lines("status"))
    assert (rows["names"], rows["pair"], rows["storage"]) == ("3", "-", "MemoryStorage")


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["resolve", "nope"], 1, "Error: name not found: ':Default.nope'"),
        (["resolve", "nope", "--json"], 1, "Error: name not found"),
        (["list", ":nope"], 1, "Error: group not found: ':nope'"),
        (["search", ":nope"], 1, "Error: group not found: ':nope'"),
        (["search", "--regex", "("], 1, "Error: the pattern '('"),
        (["search", "--meta", "x"], 2, "KEY=TEXT or KEY:=JSON"),
        (["search", "--meta", "x:=y"], 2, "is no JSON"),
        (["watch", ":a..b"], 1, "Error: invalid name: ':a..b'"),
        (["export", ":nope"], 1, "Error: name not found: ':nope'"),
        (["import", "/nowhere/at/all"], 2, "No such file"),
        (["register", "x", "nonsense"], 1, "Error: invalid URI"),
        (["remove", "nope"], 1, "Error: name not found"),
        (["setmeta", ":", "{", "--json-value"], 2, "is no JSON"),
        (["showmeta", "nope"], 1, "Error: name not found"),
        (["bogus"], 2, "No such command"),
        (["--timeout", "0", "ping"], 2, "--timeout"),
        (["-p", "1", "-h", "127.0.0.1", "ping"], 1, "could not find a name server on host 127.0.0.1"),
    ],
)
def test_errors_are_told_on_stderr_with_a_status(
    shared: Server, ns: NameServerProxy, words: list[str], status: int, text: str
) -> None:
    ended = shared.nsc(*words)
    assert ended.status == status
    assert text in ended.stderr
    assert "Traceback" not in ended.stderr
    if "--json" in words:
        assert json.loads(ended.stdout) == []


def test_of_several_names_those_that_can_be_done_are(shared: Server, ns: NameServerProxy) -> None:
    ns.register("x", URI)
    ended = shared.nsc("resolve", "nope", "x", "--json")
    assert ended.status == 1
    assert json.loads(ended.stdout) == [{"name": ":Default.x", "uris": [URI]}]
    assert ended.stderr == "Error: name not found: ':Default.nope'\n"


def test_server_that_does_not_answer_is_given_up_after_the_timeout(shared: Server) -> None:
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = str(silent.getsockname()[1])
        ended = shared.nsc("-h", "127.0.0.1", "-p", port, "--timeout", "0.2", "ping")
    assert ended.status == 1
    assert ended.stderr.startswith("Error: ")


def test_help_tells_the_status_and_loads_no_gevent(shared: Server) -> None:
    ended = run(["-X", "importtime", "-m", "gpyro", "nsc", "--help"], shared.environment)
    assert "Exit status:" in ended.stdout
    assert "gpyro_cli._nsc_look" in ended.stderr
    assert "gevent" not in ended.stderr


# -- many names ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A name server with a great many names."""
    with Server(tmp_path_factory.mktemp("crowded")) as one:
        proxy = one.proxy()

        def register(first: int) -> None:
            for number in range(first, MANY, 50):
                proxy.register(f"object{number:05}", URI)

        gevent.joinall([gevent.spawn(register, first) for first in range(50)], timeout=60, raise_error=True)
        proxy._release()
        yield one
        one.stop()


def test_reader_that_has_seen_enough_ends_the_command_quietly_with_status_0(crowded: Server) -> None:
    for command in ("list", "list --json", "listall", "listall --json", "search :Default", "export :Default"):
        done = crowded.shell(f"gpyro nsc {command} | head -3")
        assert (done.returncode, done.stderr) == (0, ""), command
        assert "object00000" in done.stdout


def test_first_line_of_a_great_many_is_there_before_the_last_is_asked_for(crowded: Server) -> None:
    with Program(crowded.words("list"), crowded.environment) as program:
        assert program.read_until("object00000") == "object"
        # Nobody reads on: what is printed fits into the pipe, the rest is not there yet.
        assert program.process.poll() is None
        ended = program.finish()
    assert ended.status == 0
    assert ended.stdout.count("\n") == MANY


def test_all_of_a_great_many_are_listed_as_one_document(crowded: Server) -> None:
    assert [entry["name"] for entry in crowded.json("list")] == [f":Default.object{n:05}" for n in range(MANY)]
    assert len(crowded.json("listall")) == MANY + 1


# -- watch ---------------------------------------------------------------------------------------------------


def started_watch(server: Server, proxy: NameServerProxy, *words: str) -> Program:
    """Start a watch and return when it listens."""
    before = proxy.status()["watchers"]
    program = Program(server.words("watch", *words), server.environment)
    until(lambda: proxy.status()["watchers"] > before)
    return program


def until(condition: Any) -> None:
    with gevent.Timeout(SECONDS):
        while not condition():
            gevent.sleep(0.01)


def test_watch_sees_what_another_process_registers(shared: Server, ns: NameServerProxy) -> None:
    with started_watch(shared, ns, ":Default", "--json") as program:
        shared.lines("register", "x", URI)
        event = json.loads("{" + program.read_until("{"))
        assert (event["kind"], event["name"], event["uris"]) == ("registered", ":Default.x", [URI])
        shared.lines("creategroup", ":elsewhere")
        shared.lines("remove", "x")
        assert json.loads("{" + program.read_until("{"))["kind"] == "unregistered"
        ended = program.stop(signal.SIGINT)
        assert (ended.status, ended.stderr) == (0, "")


def test_watch_ends_after_so_many_events_and_prints_them_as_lines(shared: Server, ns: NameServerProxy) -> None:
    with started_watch(shared, ns, "--count", "2") as program:
        ns.register("x", URI)
        ns.createGroup(":g")
        ended = program.finish()
    assert (ended.status, ended.stderr) == (0, "")
    first, second = ended.stdout.splitlines()
    assert first.split()[2:] == ["registered", ":Default.x", URI]
    assert second.split()[2:] == ["created", ":g"]


def test_watch_ends_when_its_reader_has_gone_and_nothing_happens(shared: Server, ns: NameServerProxy) -> None:
    with started_watch(shared, ns) as program:
        assert program.process.stdout is not None
        program.process.stdout.close()
        assert program.process.wait(SECONDS) == 0
        assert program._errors() == ""


def test_watch_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        proxy = server.proxy()
        with started_watch(server, proxy, "--json") as program:
            server.stop()
            server.start()
            assert json.loads("{" + program.read_until("{"))["kind"] == "reset"
            proxy.register("x", URI)
            assert json.loads("{" + program.read_until("{"))["name"] == ":Default.x"
            ended = program.stop()
            assert (ended.status, ended.stderr) == (0, "")
        proxy._release()
        assert server.lines("shutdown") == ["Will shut down shortly."]
        assert server.program.finish().status == 0


# -- rights --------------------------------------------------------------------------------------------------


def test_who_has_no_right_sees_nothing_of_hidden_groups(tmp_path: Path) -> None:
    (tmp_path / "rights").write_text(":  *  lookup,register\n:secret  chief  admin\n:top  *  lookup,register\n")
    (tmp_path / "rights").chmod(0o600)
    with Server(tmp_path, "--rights", str(tmp_path / "rights")) as server:
        for words in (["search", ":secret"], ["watch", ":secret"], ["export", ":secret"], ["list", ":secret"]):
            ended = server.nsc(*words)
            assert (ended.status, ended.stdout) == (1, "")
            assert "access denied" in ended.stderr
        assert server.json("status")["names"] == 1
        server.stop()


# -- export and import ---------------------------------------------------------------------------------------


def exported(server: Server, path: Path, *words: str) -> list[dict[str, Any]]:
    ended = server.nsc("export", *words)
    assert (ended.status, ended.stderr) == (0, "")
    path.write_text(ended.stdout)
    return [json.loads(line) for line in ended.stdout.splitlines()]


def fill(ns: NameServerProxy) -> None:
    for name in NAMES:
        parts = name[1:].split(".")
        for depth in range(1, len(parts)):
            group = ":" + ".".join(parts[:depth])
            if parts[0] != "Default" and group not in [d["name"] for d in ns.search()]:
                ns.createGroup(group)
        ns.register(name, URI)
        ns.register(name, OTHER, member=True)
    ns.createGroup(":metas")
    for key, value in METAS.items():
        ns.register(f":metas.{key}", URI)
        ns.setMeta(f":metas.{key}", value)
    ns.setMeta(":metas", METAS["nested"])
    ns.setMeta(":", ("root", 1))


def content(ns: NameServerProxy) -> list[Any]:
    entries = [ns.details(":"), *ns.search()]
    return [(d["name"], d["kind"], d["uris"], d["meta"]) for d in entries if d["name"] != ":Pyro.NameServer"]


def test_round_trip_is_exact(shared: Server, ns: NameServerProxy, tmp_path: Path) -> None:
    fill(ns)
    header, *entries = exported(shared, tmp_path / "names")
    assert (header["format"], header["version"], header["group"]) == ("gpyro names", 1, ":")
    assert ":Pyro.NameServer" not in [entry["name"] for entry in entries]
    (tmp_path / "other").mkdir()
    with Server(tmp_path / "other") as other:
        proxy = other.proxy()
        assert other.lines("import", "--dry-run", str(tmp_path / "names"))[-1].endswith("0 left out, 0 failed.")
        assert [name for name, _ in proxy.list(":")] == ["Default", "Pyro"]
        everything = f"{len(entries)} imported, 0 left out, 0 failed."
        assert other.lines("import", str(tmp_path / "names")) == [everything]
        assert content(proxy) == content(ns)
        types = {d["name"]: type(d["meta"]) for d in proxy.search()}
        assert (types[":metas.bytes"], types[":metas.number"]) == (bytes, int)
        assert proxy.getMeta(":metas.nested")["tuple"] == (1, [2.5, (3,)], {4, 5})
        assert other.lines("import", "--replace", str(tmp_path / "names")) == [everything]
        assert content(proxy) == content(ns)
        proxy._release()
        other.stop()


def test_import_tells_each_failure_and_goes_on(shared: Server, ns: NameServerProxy, tmp_path: Path) -> None:
    ns.createGroup(":g")
    ns.register(":g.x", URI)
    ns.register(":g.y", URI)
    header, group, x, y = exported(shared, tmp_path / "names", ":g")
    ns.unregister(":g.y")
    bad = [{"name": "relative"}, {"name": ":g.x.z"}, {"meta_encoded": "!"}]
    lines = [header, group, x, "{", y, *({**y, **change} for change in bad)]
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (tmp_path / "names").write_text(text)
    for dry in (["--dry-run"], []):
        ended = shared.nsc("import", *dry, str(tmp_path / "names"))
        assert ended.status == 1
        assert ended.stdout.startswith("2 ")
        assert ended.stdout.endswith("imported, 0 left out, 5 failed.\n")
        numbers = [line.split(":")[1] for line in ended.stderr.splitlines()]
        assert numbers == [f" line {number}" for number in (3, 4, 6, 7, 8)]
        assert [part for part, _ in ns.list(":g")] == (["x"] if dry else ["x", "y"])


def test_replacing_takes_the_place_of_addresses_and_meta(
    shared: Server, ns: NameServerProxy, tmp_path: Path
) -> None:
    ns.createGroup(":g")
    ns.register(":g.x", URI)
    exported(shared, tmp_path / "names", ":g")
    ns.register(":g.x", OTHER, replace=True)
    ns.setMeta(":g.x", "other")
    ns.setMeta(":g", "other")
    assert shared.lines("import", "--replace", str(tmp_path / "names")) == ["2 imported, 0 left out, 0 failed."]
    assert str(ns.resolve(":g.x")) == URI
    assert (ns.getMeta(":g.x"), ns.getMeta(":g")) == (None, None)


def test_leased_addresses_and_the_servers_own_name_are_left_out(
    shared: Server, ns: NameServerProxy, tmp_path: Path
) -> None:
    ns.createGroup(":g")
    ns.register(":g.x", URI)
    header, group, x = exported(shared, tmp_path / "names", ":g")
    assert x["members"] == [{"uri": URI, "leased": False}]
    leased = {**x, "members": [{"uri": OTHER, "leased": True}]}
    both = {**x, "name": ":g.both", "members": [*x["members"], *leased["members"]]}
    own = {**x, "name": ":Pyro.NameServer"}
    entries = [header, group, {**leased, "name": ":g.leased"}, both, own]
    (tmp_path / "names").write_text("\n".join(map(json.dumps, entries)))
    ended = shared.nsc("import", "--replace", str(tmp_path / "names"))
    assert (ended.status, ended.stdout) == (0, "2 imported, 2 left out, 0 failed.\n")
    assert [str(uri) for uri in ns.resolve(":g.both", "all")] == [URI]
    ended = shared.nsc("import", "--replace", "--leased", str(tmp_path / "names"))
    assert (ended.status, ended.stdout) == (0, "3 imported, 1 left out, 0 failed.\n")
    assert [str(uri) for uri in ns.resolve(":g.both", "all")] == [URI, OTHER]
    assert str(ns.resolve(":Pyro.NameServer")) == f"PYRO://127.0.0.1:{shared.port}/:Pyro.NameServer"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "was not printed by"), ("hello", "was not printed by"), ('{"format": "x"}', "was not printed by"),
        ('{"format": "gpyro names", "version": 2}', "version 2"), ("\n" + "x" * 2_000_000, "more than"),
    ],
)  # fmt: skip
def test_file_of_another_kind_is_refused(shared: Server, tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "names").write_text(text)
    ended = shared.nsc("import", str(tmp_path / "names"))
    assert (ended.status, ended.stdout) == (1, "")
    assert error in ended.stderr


# -- completion ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_right_for_its_shell(shared: Server, tmp_path: Path, shell: str) -> None:
    ended = run(["-m", "gpyro", "completion", shell], shared.environment)
    assert (ended.status, ended.stderr) == (0, "")
    assert "_GPYRO_COMPLETE" in ended.stdout
    path = shutil.which(shell)
    if path is not None:
        (tmp_path / "script").write_text(ended.stdout)
        subprocess.run([path, "-n", str(tmp_path / "script")], check=True, timeout=SECONDS)


def test_commands_and_names_are_completed(shared: Server, ns: NameServerProxy) -> None:
    ns.createGroup(":Plant")
    ns.register(":Plant.press", URI)
    ns.register("pump", URI)
    assert complete(shared.environment, "gpyro ns") == ["ns", "nsc"]
    assert complete(shared.environment, "gpyro nsc se") == ["search", "setmeta"]
    # There are none where a busy machine takes longer than a person wants to wait; so try again.
    until(lambda: complete(shared.environment, "gpyro nsc resolve pu") == ["pump"])
    until(lambda: complete(shared.environment, "gpyro nsc list :P") == [":Plant", ":Pyro"])
    until(lambda: complete(shared.environment, "gpyro nsc resolve x :Plant.p") == [":Plant.press"])
    assert complete(shared.environment, "gpyro nsc resolve :none.x") == []


def test_completion_is_silent_without_a_name_server(shared: Server) -> None:
    nowhere = {"GPYRO_NS_PORT": str(free_port()), "GPYRO_NS_URIFILE": "/nowhere/at/all"}
    assert complete({**shared.environment, **nowhere}, "gpyro nsc resolve pu") == []


def test_bash_completes_a_name_with_colons(shared: Server, ns: NameServerProxy, tmp_path: Path) -> None:
    ns.createGroup(":Plant")
    ns.register(":Plant.press", URI)
    command = tmp_path / "gpyro"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gpyro "$@"\n')
    command.chmod(0o755)
    line = "gpyro nsc resolve :Plant."
    # Again where a busy machine takes longer than a person wants to wait.
    done = shared.shell(
        f'PATH="{tmp_path}:$PATH"; unset -f gpyro; eval "$(gpyro completion bash)"; '
        f'COMP_LINE="{line}" COMP_POINT={len(line)}; COMP_WORDBREAKS=" :"; '
        'for number in {1..10}; do _gpyro_completion gpyro; [[ $COMPREPLY ]] && break; done; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "Plant.press\n", "")
