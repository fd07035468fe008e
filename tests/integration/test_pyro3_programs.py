"""Whole programs for Pyro 3, which know nothing of gpyro, as real processes: `tests/programs/pyro3` has them."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gpyro
from tests.support.programs import PROGRAMS, SECONDS, Ended, Program, free_port, make_environment, run
from tests.support.servers import eventually

OLD = PROGRAMS / "pyro3"


class Site:
    """A running name server, started as Pyro's, and the environment in which programs find it."""

    def __init__(self, storage: Path) -> None:
        self.storage = storage
        self.ns_port = free_port()
        self.daemon_port = free_port()
        self.environment = make_environment(storage, port=self.daemon_port)
        # In Pyro's own spelling.
        self.environment["PYRO_NS_PORT"] = str(self.ns_port)

    def start(self, name: str, *words: str) -> Program:
        return Program(["-m", "gpyro.pyro3", str(OLD / name), *words], self.environment)

    def run(self, name: str, *words: str) -> Ended:
        return run(["-m", "gpyro.pyro3", str(OLD / name), *words], self.environment)

    def names(self) -> list[str]:
        ns = gpyro.naming.NameServerLocator().getNS("127.0.0.1", self.ns_port)
        try:
            return [name for name, _ in ns.flatlist() if name != ":Pyro.NameServer"]
        finally:
            ns._release()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("storage"))
    with Program(["-m", "gpyro.pyro3.naming", "-r", "-x"], site.environment) as program:
        program.read_until("Name Server started.")
        yield site
        ended = program.stop()
        assert (ended.status, ended.stderr) == (0, "")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return make_environment(tmp_path)


# -- programs --------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_the_seeds_session_in_pyros_spelling_ends_with_the_names_gone(site: Site) -> None:
    with site.start("quotes_server.py") as server:
        assert server.read_until("gpyro Server initialized. Using gpyro V") == gpyro.__version__
        assert server.read_until("unregister:") == "NamingError"
        transient = server.read_until("transient")
        address = gpyro.PyroURI(server.read_until("serving"))
        client = site.run("quotes_client.py", str(address.port), transient)
        assert (client.status, client.stderr) == (0, "")
        assert client.stdout.splitlines() == [
            "quotes 42", "quotes 42", "quotes 42",
            "quotes quotes",
            "sum 2",
            "hello world",
            "hello transient",
            "names [':Default.our_object', ':Pyro.NameServer', ':Test.simple.object1']",
            "resolve: True",
            "remote: True 0",
        ]  # fmt: skip
        ended = server.stop(signal.SIGINT)
        assert (ended.status, ended.stderr) == (0, "")
    assert site.names() == []
    assert ended.stdout.splitlines()[-1] == "registered at the end: ['__PYRO_Internal_Daemon']"


def test_calls_are_served_while_a_method_of_an_old_program_sleeps(site: Site) -> None:
    with site.start("handling_server.py") as server:
        uri = server.read_until("serving")
        sleeper, looker = gpyro.Proxy(uri), gpyro.Proxy(uri)
        sleeper._setOneway("sleep")
        sleeper.sleep(60)
        eventually(lambda: looker.count() == 1)
        looker.end()
        sleeper._release()
        looker._release()
        server.read_until("ended True PYRO localhost")


def test_a_program_runs_both_servers_in_a_loop_of_its_own(environment: dict[str, str]) -> None:
    port = free_port()
    environment["PYRO_NS_PORT"] = str(port)
    with Program(["-m", "gpyro.pyro3", str(OLD / "all_in_one.py"), str(port)], environment) as program:
        assert program.read_until("started") == "True True"
        proxy = gpyro.Proxy(program.read_until("events"))
        ns = gpyro.naming.NameServerLocator().getNS("127.0.0.1", port)
        try:
            assert ns.resolve(":Test.echo").port
        finally:
            ns._release()
        try:
            proxy.publish("cars", "first")
        finally:
            proxy._release()
        assert program.stop().status == -signal.SIGTERM


@pytest.mark.parametrize(
    ("number", "text"), [(signal.SIGINT, "cleaned up"), (signal.SIGTERM, "returned")]
)
def test_ctrl_c_comes_out_of_the_loop_of_an_old_program_once_all_is_in_order(
    number: int, text: str, site: Site
) -> None:
    with site.start("interrupted_server.py") as server:
        address = server.read_until("serving")
        proxy = gpyro.AttrProxy(address)
        try:
            assert (proxy.level, proxy.take(), proxy.level) == (7, 6, 6)
            proxy.level = 40
            assert proxy.take() == 39
        finally:
            proxy._release()
        assert ":Default.stock" in site.names()
        ended = server.stop(number)
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-2:] == [
        text,
        "again: the daemon has been shut down, and its requestLoop has ended; make a new Daemon to serve again",
    ]  # fmt: skip
    assert site.names() == []


@pytest.mark.parametrize(("option", "raised"), [({}, "KeyboardInterrupt"), ({"as_pyro3": 0}, "returned")])
def test_ctrl_c_that_nobody_catches_ends_as_under_python_unless_the_setting_says_otherwise(
    option: dict[str, int], raised: str, site: Site
) -> None:
    environment = {**site.environment, **{f"GPYRO_{key.upper()}": str(value) for key, value in option.items()}}
    source = (
        "import gpyro.pyro3; gpyro.pyro3.install(); import Pyro.core\n"
        "daemon = Pyro.core.Daemon(host='localhost', port=0, norange=1)\n"
        "daemon.requestLoop(lambda: print('up', flush=True) is None)\nprint('returned')"
    )
    with Program(["-c", source], environment) as program:
        program.read_until("up")
        ended = program.stop(signal.SIGINT)
    if raised == "returned":
        assert (ended.status, ended.stdout.splitlines()[-1], ended.stderr) == (0, "returned", "")
    else:
        assert (ended.status, "returned" in ended.stdout) == (-signal.SIGINT, False)
        assert ended.stderr.splitlines()[-1] == "KeyboardInterrupt"


@pytest.mark.parametrize("tool", ["naming", "EventService.Server", "test.echoserver"])
def test_tools_that_an_old_program_calls_end_on_ctrl_c_in_order(
    tool: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    words = {"naming": "main", "EventService.Server": "start", "test.echoserver": "main"}
    options = {"naming": ["-x", "-r"], "EventService.Server": ["-N", "-p", "0"], "test.echoserver": ["-N"]}
    started = {"naming": "Name Server started", "EventService.Server": "Event Server started"}
    environment["PYRO_NS_PORT"], environment["PYRO_PORT"] = str(free_port()), str(free_port())
    source = (
        f"import gpyro.pyro3; gpyro.pyro3.install(); import Pyro.{tool}\n"
        f"Pyro.{tool}.{words[tool]}({options[tool]})\nprint('returned')"
    )
    with Program(["-c", source], environment) as program:
        program.read_until(started.get(tool, "echoserver running"))
        ended = program.stop(signal.SIGINT)
    assert (ended.status, ended.stdout.splitlines()[-1], ended.stderr) == (0, "returned", "")


def test_subscribers_listen_and_abort(site: Site) -> None:
    with Program(["-m", "gpyro.pyro3.EventService.Server", "-n", "localhost", "-p", "0"], site.environment) as es:
        es.read_until("Event Server started.")
        with site.start("listener.py") as listener:
            listener.read_until("listening")
            published = site.run("publisher.py")
            assert (published.status, published.stderr) == (0, "")
            assert published.stdout == "published to :Pyro.EventService\n"
            ended = listener.finish()
        assert (ended.status, ended.stderr) == (0, "")
        assert ended.stdout.splitlines() == [
            "listening", "event cars.RED first", "event Stock.SUNW 12.5", "event Stock.IBM ('a', 1)",
            "ended 3 True",
        ]  # fmt: skip
        assert es.stop().status == 0


def test_objects_of_ext_remote_are_passed_by_reference_both_ways(site: Site) -> None:
    with site.start("remote_server.py") as server:
        server.read_until("serving")
        client = site.run("remote_client.py")
        assert (client.status, client.stderr) == (0, "")
        assert client.stdout.splitlines() == [
            "bank Vault",
            "deposit 100 111 111",
            "same True True",
            "all ['irmen']",
            "balance 5",
            "error ValueError in deposit: negative amount -1",
            "callback heard of irmen, who has 5",
        ]
        ended = server.finish()
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-1] == "ended 1"
    assert "Remoting object :Default.bank" in ended.stdout
    assert site.names() == []


def test_ext_remote_nons_needs_no_name_server(environment: dict[str, str]) -> None:
    port = str(free_port())
    with Program(["-m", "gpyro.pyro3", str(OLD / "nons_server.py"), port], environment) as server:
        server.read_until("serving")
        client = run(["-m", "gpyro.pyro3", str(OLD / "nons_client.py"), port], environment)
        assert (client.status, client.stdout, client.stderr) == (0, "7 7\n", "")
        ended = server.stop()
    assert (ended.status, ended.stdout.splitlines()[-1]) == (0, "ended 1")


def test_validators_local_storage_and_logins_of_an_old_program(site: Site) -> None:
    with site.start("login_server.py") as server:
        client = site.run("login_client.py", server.read_until("serving"))
        assert (client.status, client.stderr) == (0, "")
        lines = client.stdout.splitlines()
        assert lines[0].startswith("denied security reasons")
        assert lines[0].endswith("security reasons")
        assert lines[1:] == [
            "('irmen', 1, 'hello irmen') ('irmen', 2, 'hello irmen')",
            "('irmen', 1, 'hello irmen') True True",
            "None True",
        ]
        assert server.stop().status == 0


def test_objects_of_the_programs_own_classes_travel_by_value(environment: dict[str, str]) -> None:
    with Program(["-m", "gpyro.pyro3", str(OLD / "shapes_server.py")], environment) as server:
        uri = server.read_until("serving")
        client = run(["-m", "gpyro.pyro3", str(OLD / "shapes_client.py"), uri], environment)
        assert (client.status, client.stderr) == (0, "")
        assert client.stdout == "6 True True\nTrue 3 4\n"
        assert server.stop().status == 0


def test_both_logs_are_written_as_the_settings_say_at_that_moment(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    ended = run(["-m", "gpyro.pyro3", str(OLD / "logs.py")], environment)
    assert (ended.status, ended.stdout) == (0, f"True {tmp_path}/user.log\n"), ended.stderr
    system = [line.partition("** ")[2] for line in (tmp_path / "system.log").read_text().splitlines()]
    assert system == ["WARN ** logs ** a warning 1 [2]", "ERR! ** logs ** an error"]
    user = (tmp_path / "user.log").read_text().splitlines()
    assert user[0].endswith("** NOTE ** logs ** a note")
    assert user[1] == "raw text"


def test_settings_come_from_pyro_conf_the_environment_and_code(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "Pyro.conf").write_text(
        "# as Pyro's own\nPYRO_NS_DEFAULTGROUP = :Plant\nPYRO_BC_TIMEOUT=2\nPYRO_COMPRESSION = 1\nPYRO_PORT=\n"
        "PYRO_ES_BLOCKQUEUE = 0\nPYRO_TRACELEVEL=0\n"
    )
    environment["PYRO_ES_BLOCKQUEUE"] = "1"
    del environment["GPYRO_BC_TIMEOUT"]
    ended = run(["-m", "gpyro.pyro3", str(OLD / "settings.py")], environment)
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        ":Plant 2.0 1 0", f"file {tmp_path}/Pyro.conf", "4000 None 0", "own 7766 :Default ''",
    ]  # fmt: skip
    elsewhere = tmp_path / "other.conf"
    elsewhere.write_text("PYRO_NS_DEFAULTGROUP=:Other\n")
    environment["PYRO_CONFIG_FILE"] = "other.conf"
    ended = run(["-m", "gpyro.pyro3", str(OLD / "settings.py")], environment)
    assert ended.stdout.splitlines()[:2] == [":Other 0.75 1 0", f"file {elsewhere}"]


@pytest.mark.parametrize("how", ["program", "tool"])
def test_a_line_of_pyro_conf_or_a_variable_that_is_wrong_is_told_in_one_line(
    how: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    words = {"program": ["-m", "gpyro.pyro3", str(OLD / "settings.py")], "tool": ["-m", "gpyro.pyro3.nsc", "ping"]}
    conf = tmp_path / "Pyro.conf"
    conf.write_text("PYRO_PROT = 7\n")
    ended = run(words[how], environment)
    text = f"Error: {conf}, line 1: PYRO_PROT is no setting; did you mean 'port'?\n"
    assert (ended.status, ended.stdout, ended.stderr) == (1, "", text)
    conf.unlink()
    environment["PYRO_TRACELEVEL"] = "high"
    ended = run(words[how], environment)
    assert (ended.status, ended.stdout) == (1, "")
    text = "environment variable PYRO_TRACELEVEL is 'high', but tracelevel must be a whole number from 0 to 3"
    assert ended.stderr.splitlines() == [f"Error: {text}"]


def test_a_pyro_conf_that_everybody_may_write_is_not_read_and_that_is_told_once(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    conf = tmp_path / "Pyro.conf"
    conf.write_text("PYRO_NS_DEFAULTGROUP = :Others\n")
    conf.chmod(0o666)
    program = tmp_path / "program.py"
    program.write_text(
        "import gpyro.pyro3; gpyro.pyro3.install(); import Pyro; print(Pyro.config.PYRO_NS_DEFAULTGROUP)\n"
    )
    ended = run(["-m", "gpyro.pyro3", str(program)], environment)
    assert (ended.status, ended.stdout) == (0, ":Default\n")
    assert ended.stderr == (
        f"WARNING: {conf} is not read: everybody may write it; name it in GPYRO_CONFIG_FILE if you trust it\n"
    )


# -- what is typed ---------------------------------------------------------------------------------------------


def hears(uri: str, text: str) -> bool:
    proxy = gpyro.Proxy(uri)
    proxy._setTimeout(SECONDS)
    try:
        return bool(proxy.say(text) == f"heard {text}")
    finally:
        proxy._release()


@pytest.mark.parametrize("how", ["input", "lines", "loop"])
def test_calls_are_answered_while_the_program_waits_for_a_line(how: str, environment: dict[str, str]) -> None:
    prompt = "say> " if how == "input" else ""
    with Program(["-m", "gpyro.pyro3", str(OLD / "chatting.py"), how], environment, has_input=True) as program:
        uri = program.read_until("serving")
        program.type_line("first")
        assert program.read_until(f"{prompt}typed") == "first"
        assert hears(uri, "a call")
        program.type_line("second")
        assert program.read_until(f"{prompt}typed") == "second"
        program.end_input()
        ended = program.finish()
    assert (ended.status, ended.stderr) == (0, "")
    if how == "input":
        assert ended.stdout.splitlines()[-1] == "say> end EOF when reading a line"


def test_calls_are_answered_while_the_program_reads_all_there_is(environment: dict[str, str]) -> None:
    with Program(["-m", "gpyro.pyro3", str(OLD / "chatting.py"), "all"], environment, has_input=True) as program:
        uri = program.read_until("serving")
        program.type_line("first")
        assert hears(uri, "a call")
        program.type_line("second")
        program.end_input()
        assert program.finish().stdout.splitlines()[-1] == "typed ['first', 'second']"


@pytest.mark.parametrize("end", ["ctrl-D", "ctrl-C"])
def test_calls_are_answered_while_somebody_sits_at_the_terminal(end: str, environment: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    try:
        words = ["-m", "gpyro.pyro3", str(OLD / "chatting.py"), "input"]
        with Program(words, environment, terminal=theirs) as program:
            uri = program.read_until("serving")
            os.write(ours, b"frist\x15first\n")
            assert program.read_until("say> typed") == "first"
            assert hears(uri, "a call")
            os.write(ours, b"second\n")
            assert program.read_until("say> typed") == "second"
            if end == "ctrl-D":
                os.write(ours, b"\x04")
                ended = program.finish()
            else:
                ended = program.stop(signal.SIGINT)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (ended.status, ended.stderr) == (0, "")
    last = {"ctrl-D": "say> end EOF when reading a line", "ctrl-C": "say> interrupted"}
    assert ended.stdout.splitlines()[-1] == last[end]


@pytest.mark.parametrize(("given", "text"), [("/dev/null", ""), ("three.txt", "typed 1\ntyped 2\ntyped 3\n")])
def test_input_is_a_file_or_nothing(given: str, text: str, tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "three.txt").write_text("1\n2\n3")
    with (tmp_path / given).open() as file:
        words = ["-m", "gpyro.pyro3", str(OLD / "chatting.py"), "lines"]
        with Program(words, environment, terminal=file.fileno()) as program:
            ended = program.finish()
    assert (ended.status, ended.stderr, ended.stdout.partition("\n")[2]) == (0, "", text)


@pytest.mark.parametrize("option", [[], ["--no-patch"]])
def test_input_of_the_program_is_pythons_own_where_nothing_is_patched(
    option: list[str], tmp_path: Path, environment: dict[str, str]
) -> None:
    program = tmp_path / "kind.py"
    program.write_text("import sys; print(sys.stdin is sys.__stdin__, sys.stdin.fileno(), sys.stdin.name)\n")
    ended = run(["-m", "gpyro.pyro3", *option, str(program)], environment)
    assert ended.stdout == f"{bool(option)} 0 <stdin>\n"


# -- running as Python does ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["end", "status", "text", "error", "interrupt"])
def test_a_program_sees_what_it_would_under_python_and_ends_so(how: str, environment: dict[str, str]) -> None:
    program = [str(OLD / "as_python.py"), how, "-m", "--help"]
    plain = run(program, environment)
    ours = run(["-m", "gpyro.pyro3", *program], environment)
    assert (ours.status, json.loads(ours.stdout)) == (plain.status, json.loads(plain.stdout))
    assert ours.stderr == plain.stderr
    assert {"end": 0, "status": 7, "text": 1, "error": 1, "interrupt": -signal.SIGINT}[how] == ours.status


def test_a_program_of_another_directory_finds_its_modules_through_a_link(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "link.py").symlink_to(OLD / "as_python.py")
    ended = run(["-m", "gpyro.pyro3", "link.py", "end"], environment)
    assert ended.status == 0, ended.stderr
    seen = json.loads(ended.stdout)
    assert (seen["path"], seen["argv"], seen["file"]) == (str(OLD), ["link.py", "end"], str(tmp_path / "link.py"))


def test_a_program_that_is_no_python_fails_as_under_python(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "old.py").write_text("print 'Python 2'\n")
    plain = run(["old.py"], environment)
    ours = run(["-m", "gpyro.pyro3", "old.py"], environment)
    assert (ours.status, ours.stdout) == (1, "")
    assert ours.stderr == plain.stderr
    assert "SyntaxError: Missing parentheses" in ours.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nothing.py"], "can't open file 'nothing.py': [Errno 2] No such file or directory"),
        (["."], "can't open file '.': [Errno 21] Is a directory"),
        (["--patch", "x.py"], "unknown option '--patch'"),
        ([], "Usage: python -m gpyro.pyro3 [--no-patch] program.py [args...]"),
    ],
)
def test_what_cannot_be_run_is_told_with_status_2(
    words: list[str], text: str, environment: dict[str, str]
) -> None:
    ended = run(["-m", "gpyro.pyro3", *words], environment)
    assert (ended.status, ended.stdout) == (2, "")
    assert text in ended.stderr


def test_help_tells_how_to_run_a_program(environment: dict[str, str]) -> None:
    ended = run(["-m", "gpyro.pyro3", "--help"], environment)
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Usage: python -m gpyro.pyro3")


@pytest.mark.parametrize(("option", "patched"), [([], "True"), (["--no-patch"], "False")])
def test_the_process_is_patched_unless_told_otherwise(
    option: list[str], patched: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    program = tmp_path / "patched.py"
    program.write_text("from gevent import monkey; import Pyro.core; print(monkey.is_module_patched('socket'))\n")
    ended = run(["-m", "gpyro.pyro3", *option, str(program)], environment)
    assert (ended.status, ended.stdout, ended.stderr) == (0, f"{patched}\n", "")


# -- the tools -------------------------------------------------------------------------------------------------


def test_every_tool_is_a_module_to_be_run(site: Site) -> None:
    for words, text in (
        (["nsc", "-h", "127.0.0.1", "ping"], "NS is up and running!"),
        (["nsc", "--help"], "Look at and change the names"),
        (["naming", "-h"], "Run a name server"),
        (["EventService.Server", "-h"], "Run an event server"),
        (["configuration", "ns_port"], str(site.ns_port)),
        (["test.echoserver", "-h"], "echoserver"),
        (["xnsc", "--help"], "in a window"),
    ):
        words = ["-m", f"gpyro.pyro3.{words[0]}", *words[1:]]
        if "-h" in words[2:] and "ping" in words:
            words[2:2] = ["-p", str(site.ns_port)]
        ended = run(words, site.environment)
        assert (ended.status, ended.stderr) == (0, ""), words
        assert text in ended.stdout


def test_a_security_plugin_that_was_written_for_pyro_is_loaded(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "guards.py").write_text(
        "import Pyro.naming, Pyro.protocol\n"
        "class Connections(Pyro.protocol.DefaultConnValidator):\n    pass\n"
        "class Broadcasts(Pyro.naming.BCReqValidator):\n"
        "    def acceptLocationCmd(self):\n        return 1\n"
        "def NSGuard():\n    return Connections()\n"
        "def BCGuard():\n    return Broadcasts()\n"
    )
    environment["PYRO_NS_PORT"] = str(free_port())
    with Program(["-m", "gpyro.pyro3.naming", "-r", "-x", "-s", "guards"], environment) as program:
        program.read_until("Using security plugins:")
        program.read_until("Name Server started.")
        ended = program.stop()
    assert (ended.status, ended.stderr) == (0, "")
    assert "Connections" in ended.stdout


def test_a_tool_that_fails_says_so_with_its_status(environment: dict[str, str]) -> None:
    environment["PYRO_NS_PORT"] = str(free_port())
    ended = run(["-m", "gpyro.pyro3.nsc", "ping"], environment)
    assert ended.status == 1
    assert "could not find a name server" in ended.stderr


def test_tools_are_functions_of_their_arguments(site: Site) -> None:
    program = """
import gpyro.pyro3
gpyro.pyro3.install()
import Pyro.nsc, Pyro.naming, Pyro.EventService.Server, Pyro.test.echoserver, Pyro.xnsc
Pyro.nsc.main(["ping"])
Pyro.xnsc.main(["pyro-xnsc", "--help"])
for tool in (Pyro.naming.main, Pyro.EventService.Server.start, Pyro.test.echoserver.main):
    tool(["-h"])
try:
    Pyro.nsc.main(["resolve", "nobody"])
except SystemExit as x:
    print("status", x.code)
Pyro.util.genguid_scripthelper([])
"""
    ended = run(["-c", program], site.environment)
    assert ended.status == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert "NS is up and running!" in lines
    usages = [line.split()[2] for line in lines if line.startswith("Usage: gpyro")]
    assert usages == ["xnsc", "ns", "es", "echoserver"]
    assert lines[-2] == "status 1"
    assert len(lines[-1]) == 32


# -- installing ------------------------------------------------------------------------------------------------


def _run_text(text: str, environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", text], env=environment, capture_output=True, text=True, timeout=60,
        cwd=environment["GPYRO_STORAGE"],
    )  # fmt: skip


def test_importing_gpyro_pyro3_patches_nothing_and_loads_no_gevent(environment: dict[str, str]) -> None:
    done = _run_text("import gpyro.pyro3, sys; print('gevent' in sys.modules, 'Pyro' in sys.modules)", environment)
    assert (done.returncode, done.stdout) == (0, "False False\n")


def test_modules_and_classes_are_the_same_under_both_names(environment: dict[str, str]) -> None:
    done = _run_text(
        """
import sys
import gpyro.pyro3
gpyro.pyro3.install()
gpyro.pyro3.install()
from Pyro.EventService.Clients import Subscriber
import Pyro.core
import Pyro.EventService.Server as server, Pyro.ext.remote, Pyro.ext.remote_nons
import gpyro.pyro3.core, gpyro.eventserver
print(sum(type(finder).__name__ == "PyroFinder" for finder in sys.meta_path))
print(all(sys.modules["gpyro.pyro3" + name[4:]] is module for name, module in sys.modules.items()
          if name.partition(".")[0] == "Pyro"))
print(Pyro.core is gpyro.pyro3.core, Subscriber is gpyro.eventserver.Subscriber, Pyro.naming is gpyro.pyro3.naming)
with gpyro.Daemon(port=0, norange=True) as daemon:
    print(isinstance(daemon, Pyro.core.Daemon), isinstance(Pyro.core.ObjBase(), gpyro.ObjBase))
Pyro.ext.remote.verbose = 1
from Pyro.ext import remote
print(remote.verbose, Pyro.core.__spec__.name, Pyro.errors.NamingError is gpyro.errors.NamingError)
import importlib
importlib.reload(Pyro.constants)
""",
        environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "1", "True", "True True True", "True True", "1 gpyro.pyro3.core True",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("imported", "used"),
    [
        ("Pyro", "config.PYRO_PORT"),
        ("Pyro.util", "config.PYRO_PORT"),
        ("Pyro.core", "protocol.DefaultConnValidator"),
        ("Pyro.core", "util.Log"),
        ("Pyro.core", "errors.PyroError"),
        ("Pyro.core", "constants.NAMESERVER_NAME"),
        ("Pyro.core", "core.PyroError"),
        ("Pyro.naming", "core.ObjBase"),
        ("Pyro.EventService.Clients", "naming.NameServerLocator"),
        ("Pyro.EventService.Clients", "core.initClient"),
        ("Pyro.EventService.Clients", "EventService.Server.EventServiceStarter"),
    ],
)
def test_imports_bring_along_what_they_did(imported: str, used: str, environment: dict[str, str]) -> None:
    done = _run_text(
        f"import gpyro.pyro3; gpyro.pyro3.install(patch=False)\nimport {imported}\nPyro.{used}", environment
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_module_that_is_left_out_is_named(environment: dict[str, str]) -> None:
    done = _run_text("import gpyro.pyro3; gpyro.pyro3.install(); import Pyro.wxnsc", environment)
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: No module named 'Pyro.wxnsc': gpyro.pyro3 does not have it; docs/pyro3.md lists "
        "what is left out"
    )


def test_a_real_pyro_that_is_loaded_is_not_replaced(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "Pyro").mkdir()
    (tmp_path / "Pyro" / "__init__.py").write_text("")
    done = _run_text("import gpyro.pyro3, Pyro; gpyro.pyro3.install()", environment)
    assert f"a package Pyro is loaded already, {tmp_path}/Pyro/__init__.py; call" in done.stderr
    # One that is only there is passed over.
    done = _run_text("import gpyro.pyro3; gpyro.pyro3.install(); import Pyro; print(Pyro.__name__)", environment)
    assert done.stdout == "gpyro.pyro3\n"


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("import threading; threading.Thread(target=threading.Event().wait, name='mine', daemon=True).start()",
         "other threads run already (mine), which would keep locks of their own kind"),
        ("import gevent; gevent.sleep(0)", "gevent or gpyro has been used in this process already"),
    ],
)  # fmt: skip
def test_a_patch_that_comes_too_late_is_refused_with_the_way_out(
    before: str, reason: str, environment: dict[str, str]
) -> None:
    program = f"{before}\nimport gpyro.pyro3\ntry: gpyro.pyro3.install()\nexcept Exception as x: print(x)\n"
    program += "import Pyro"
    done = _run_text(program, environment)
    assert done.stdout == (
        f"too late to patch this process: {reason}; call gpyro.pyro3.install() in the first line of the program, "
        "before its other imports, or run it with `python -m gpyro.pyro3 program.py`; install(patch=False) does "
        "without\n"
    )
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'Pyro'"


def test_names_that_were_taken_before_the_patch_are_told(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "helper.py").write_text("from socket import create_connection\n")
    program = "from time import sleep\nimport helper, ssl\nimport gpyro.pyro3\ngpyro.pyro3.install()\nimport Pyro"
    done = _run_text(program, environment)
    assert done.returncode == 0
    assert "RuntimeWarning: taken from the standard library before it was patched: " in done.stderr
    assert "__main__.sleep, helper.create_connection; what they do holds up all calls" in done.stderr
    program = "import gpyro.pyro3\ngpyro.pyro3.install()\nfrom time import sleep"
    done = _run_text(program, environment, "-W", "error")
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_patch_it_is_never_too_late(environment: dict[str, str]) -> None:
    done = _run_text(
        "import gevent; gevent.sleep(0)\nimport gpyro.pyro3\ngpyro.pyro3.install(patch=False)\nimport Pyro.core\n"
        "from gevent import monkey; print(monkey.is_module_patched('socket'))",
        environment,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
