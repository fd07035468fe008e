"""Name servers found by broadcast on loopback: real datagrams, real name servers, rogues, and the command."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import gevent
import gevent.socket
import pytest

import gpyro
from gpyro import hub, naming
from gpyro._naming import announcing, client, locating, server, starter
from gpyro._naming.asking import MAX_ANSWERS
from gpyro._naming.broadcast import (
    ANSWERS_PER_SOURCE,
    HEADER,
    NONCE_BYTES,
    QUESTION_BYTES,
    BCReqValidator,
    BroadcastServer,
    Kind,
    build_answer,
    build_question,
    parse_answer,
    parse_question,
)
from gpyro.configuration import Settings
from gpyro.errors import ConfigurationError, ConnectionDeniedError, DaemonError, NamingError, ProtocolError
from tests.support.programs import Program, free_port, make_environment, run

BROADCAST = "127.255.255.255"
SECONDS = 20.0
NS = ["-m", "gpyro", "ns"]
URI = gpyro.PyroURI("PYRO://127.0.0.1:7766/:Pyro.NameServer")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of this test alone: nobody is at the local places, and answers may take long on a busy machine."""
    settings = Settings(
        storage=str(tmp_path / "storage"), ns_port=free_port(), ns_bc_addr=BROADCAST, ns_bc_port=free_port(),
        ns2_bc_addr=BROADCAST, ns2_bc_port=free_port(), bc_timeout=SECONDS, bc_retries=0,
    )  # fmt: skip
    for module in (announcing, client, locating, server, starter):
        monkeypatch.setattr(module, "config", settings)
    return settings


@contextmanager
def name_server(identification: object = None, **options: Any) -> Iterator[naming.NameServerStarter]:
    """Run a name server in a thread of its own, at a free port, heard on loopback's broadcast address."""
    one = naming.NameServerStarter(identification)
    arguments: dict[str, Any] = {"port": 0, "bcaddr": BROADCAST, "dontlookupother": True, **options}
    thread = threading.Thread(target=one.start, kwargs=arguments)
    thread.start()
    try:
        assert one.waitUntilStarted(SECONDS)
        # Found by its broadcast or not at all.
        assert one._file is not None
        Path(one._file.path).unlink()
        yield one
    finally:
        one.shutdown()
        thread.join(SECONDS)
        assert not thread.is_alive()


@contextmanager
def responder(port: int, answers: Callable[[bytes], list[bytes]]) -> Iterator[list[bytes]]:
    """Hear questions and send what `answers(question)` returns; yields the questions."""
    heard: list[bytes] = []
    sock = gevent.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((BROADCAST, port))

    def respond() -> None:
        while True:
            data, address = sock.recvfrom(2048)
            heard.append(data)
            for answer in answers(data):
                sock.sendto(answer, address)

    greenlet = gevent.spawn(respond)
    try:
        yield heard
    finally:
        greenlet.kill()
        sock.close()


@contextmanager
def answering(uri: object = URI, **options: Any) -> Iterator[BroadcastServer]:
    """Answer in this thread's hub."""
    one = BroadcastServer(gpyro.PyroURI(uri), BROADCAST, 0, **options)  # type: ignore[arg-type]
    one.start()
    try:
        yield one
    finally:
        one.close()


class Asker:
    """Sends whatever bytes to a broadcast server, and hears what comes back."""

    def __init__(self, port: int) -> None:
        self._endpoint = hub.ask_udp()
        self._port = port
        self.sent = self.received = 0

    def close(self) -> None:
        self._endpoint.close()

    def send(self, data: bytes) -> None:
        self.sent += len(data)
        self._endpoint.send(data, BROADCAST, self._port)

    def hear(self, seconds: float = SECONDS) -> bytes | None:
        datagram = self._endpoint.receive(seconds)
        if datagram is None:
            return None
        self.received += len(datagram.data)
        return datagram.data

    def ask(self, kind: Kind = Kind.LOCATION, size: int = QUESTION_BYTES) -> str | None:
        """Return the text of the answer, None if there is none before the next question's."""
        nonce = bytes(NONCE_BYTES - 1) + bytes([self.sent % 256])
        self.send(build_question(kind, nonce)[:size])
        data = self.hear(SECONDS if size == QUESTION_BYTES else 0.1)
        return None if data is None else parse_answer(data, nonce).text


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """The same, for a search that ends without an answer."""
    settings.bc_timeout = 0.1
    return settings


def locate(**arguments: Any) -> naming.NameServerProxy:
    return naming.NameServerLocator().getNS(**arguments)


def tcp_port_of(one: naming.NameServerStarter) -> int:
    assert one.uri is not None
    assert one.uri.port is not None
    return one.uri.port


def port_of(one: naming.NameServerStarter) -> int:
    assert one.bcserver is not None
    return one.bcserver.port


# -- found -----------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_name_server_is_found_by_broadcast(settings: Settings) -> None:
    with name_server(bcport=0) as one:
        settings.ns_bc_port = port_of(one)
        ns = locate()
        assert ns.URI == one.uri
        ns._release()


def test_second_name_server_of_a_pair_is_found_by_its_broadcast(settings: Settings) -> None:
    with name_server(bcport=0) as one:
        settings.ns2_bc_port = port_of(one)
        ns = locate()
        assert ns.URI == one.uri
        ns._release()


def test_given_port_and_address_are_asked(settings: Settings) -> None:
    settings.ns_bc_addr = "127.0.0.77"
    with name_server(bcport=0) as one:
        ns = locate(port=port_of(one), bcaddr=BROADCAST)
        assert ns.URI == one.uri
        ns._release()
        settings.bc_timeout = 0.1
        with pytest.raises(NamingError, match=rf"broadcast to 127\.0\.0\.77 port {port_of(one)} \(no answer\)"):
            locate(port=port_of(one))


def test_name_server_on_all_addresses_is_found_at_the_one_that_answered(settings: Settings) -> None:
    with name_server(hostname="0.0.0.0", insecure_no_auth=True) as one:
        assert one.uri is not None
        ns = locate()
        assert ns.URI == f"PYRO://127.0.0.1:{one.uri.port}/:Pyro.NameServer"
        ns._release()


def test_name_address_finds_the_name_server_by_broadcast(settings: Settings) -> None:
    with name_server(bcport=0) as one:
        settings.ns_bc_port = port_of(one)
        ns = locate()
        ns.register("pump", URI)
        assert locating.resolve_uri(gpyro.PyroURI("PYRONAME://pump")) == URI
        ns._release()


def test_many_greenlets_and_threads_look_at_once(settings: Settings) -> None:
    with name_server(bcport=0) as one:
        settings.ns_bc_port = port_of(one)
        found: list[object] = []

        def look() -> None:
            ns = locate()
            found.append(ns.URI)
            ns._release()

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        gevent.joinall([gevent.spawn(look) for _ in range(8)], timeout=SECONDS, raise_error=True)
        for thread in threads:
            thread.join(SECONDS)
        assert found == [one.uri] * 12


@pytest.mark.parametrize("patched", [False, True])
def test_program_finds_it_patched_or_not(tmp_path: Path, patched: bool) -> None:
    environment = make_environment(tmp_path, ns_port=free_port(), ns_bc_port=free_port(), bc_timeout=10)
    program = "from gevent import monkey; monkey.patch_all()\n" if patched else ""
    program += "import gpyro; print(gpyro.naming.NameServerLocator().getNS().URI)"
    with Program([*NS, "-r", "-p", "0", "-c", BROADCAST], environment) as ns:
        uri = ns.read_until("URI is:")
        ns.read_until("Name Server started.")
        (tmp_path / "Pyro_NS_URI").unlink()
        ended = run(["-c", program], environment)
        assert (ended.status, ended.stdout, ended.stderr) == (0, f"{uri}\n", "")


def test_name_server_in_a_loop_of_the_programs_own_is_found(settings: Settings) -> None:
    one = naming.NameServerStarter()
    one.initialize(port=0, bcport=0, bcaddr=BROADCAST)
    settings.ns_bc_port = port_of(one)
    Path(settings.ns_urifile).unlink()
    job = threading.Thread(target=lambda: locate()._release())
    job.start()
    while job.is_alive():
        if select.select(one.getServerSockets(), [], [], 0.2)[0]:
            one.handleRequests(0)
    assert one.bcserver is not None
    assert one.bcserver.answered == 1
    one.shutdown()
    assert repr(one.bcserver).startswith(f"<BroadcastServer {BROADCAST}:{settings.ns_bc_port}, closed, 1 answered")


# -- when, and in which order ----------------------------------------------------------------------------------


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("Locator:")]


def test_places_are_tried_in_order_and_the_question_is_sent_again(
    quick: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = quick
    settings.ns_hostname, settings.ns2_hostname, settings.bc_retries = "127.0.0.3", "127.0.0.4", 2
    settings.ns2_port = free_port()
    with responder(settings.ns_bc_port, lambda question: []) as heard, pytest.raises(NamingError) as error:
        locate(trace=1)
    first, second = settings.ns_bc_port, settings.ns2_bc_port
    lines = [line for line in lines_of(capsys) if "not there" not in line and _is_no_own_name(line)]
    assert lines == [
        f"Locator: contacting the name server at 127.0.0.3 port {settings.ns_port}...",
        f"Locator: searching a name server by broadcast to {BROADCAST} port {first} and "
        f"{BROADCAST} port {second}...",
        f"Locator: contacting the name server at 127.0.0.4 port {settings.ns2_port}...",
        f"Locator: contacting the name server at localhost port {settings.ns_port}...",
        f"Locator: contacting the name server at the address in {settings.ns_urifile}...",
        "Locator: retry 1",
        "Locator: retry 2",
    ]
    assert len(heard) == 3
    assert len(set(heard)) == 1
    for port in (first, second):
        assert f"broadcast to {BROADCAST} port {port} (no answer)" in str(error.value)


def _is_no_own_name(line: str) -> bool:
    return f" {os.uname().nodename} port" not in line


def test_configured_place_that_answers_needs_no_broadcast(settings: Settings) -> None:
    with name_server(bcport=0) as one:
        settings.ns_hostname, settings.ns_port, settings.ns_bc_port = "127.0.0.1", tcp_port_of(one), port_of(one)
        locate()._release()
        assert one.bcserver is not None
        assert one.bcserver.answered == 0


def test_given_host_is_asked_and_nobody_else(settings: Settings) -> None:
    with name_server(bcport=0) as one:
        settings.ns_bc_port = port_of(one)
        with pytest.raises(NamingError, match=r"on host 127\.0\.0\.1"):
            locate(host="127.0.0.1", port=free_port(), bcaddr=BROADCAST)
        assert one.bcserver is not None
        assert one.bcserver.answered == 0


def test_early_answer_wins_over_a_name_server_on_this_machine(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locating, "FIRST_ANSWER_SECONDS", SECONDS)
    with name_server() as near, name_server(bcport=0) as far:
        settings.ns_port, settings.ns_bc_port = tcp_port_of(near), port_of(far)
        ns = locate()
        assert ns.URI == far.uri
        ns._release()


def test_name_server_on_this_machine_is_taken_without_waiting_for_the_broadcast(settings: Settings) -> None:
    settings.bc_timeout, settings.bc_retries = 60, 100
    with name_server(nobroadcast=True, bcaddr=None) as near:
        settings.ns_port = tcp_port_of(near)
        with gevent.Timeout(SECONDS):
            ns = locate()
        assert ns.URI.address in ("localhost", _own_name())
        ns._release()


def _own_name() -> str:
    return os.uname().nodename


def test_answer_to_the_second_question_is_taken(settings: Settings) -> None:
    settings.bc_timeout, settings.bc_retries = 0.1, 100
    with name_server(bcport=0) as one:
        uri = str(one.uri)

        def answer_late(question: bytes) -> list[bytes]:
            return [] if len(heard) < 2 else [_answer(question, uri)]

        with responder(settings.ns_bc_port, answer_late) as heard:
            ns = locate()
        assert ns.URI == one.uri
        assert len(heard) >= 2
        ns._release()


def _answer(question: bytes, text: str, kind: Kind = Kind.ADDRESS) -> bytes:
    answer = build_answer(parse_question(question), kind, text)
    assert answer is not None
    return answer


def test_broadcast_that_is_switched_off_is_not_sent(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.ns_broadcast = False
    with responder(settings.ns_bc_port, lambda question: []) as heard:
        with pytest.raises(NamingError) as error:
            locate(trace=1, bcaddr=BROADCAST)
        gevent.sleep(0)
    assert heard == []
    assert "broadcast to" not in str(error.value)
    assert "Locator: not searching by broadcast (ns_broadcast is 0)" in lines_of(capsys)


def test_invalid_broadcast_address_is_named(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match=r"invalid broadcast address 'no\.such\.invalid'"):
        locate(bcaddr="no.such.invalid")


def test_the_hub_itself_may_not_look(settings: Settings) -> None:
    seen: list[str] = []

    def look() -> None:
        try:
            locate()
        except ProtocolError as exc:
            seen.append(str(exc))

    hub.current_state().soon(look)
    hub.run_pending()
    assert seen == ["cannot look for a name server inside a callback of the hub; spawn a greenlet for it"]


# -- answers that are not to be believed -----------------------------------------------------------------------


def test_answers_that_are_none_are_passed_over_and_the_right_one_is_taken(settings: Settings) -> None:
    with name_server(bcport=0) as one:
        uri = str(one.uri)

        def answer(question: bytes) -> list[bytes]:
            wrong_nonce = HEADER.pack(b"gpNS", 1, Kind.ADDRESS, bytes(NONCE_BYTES)) + b"PYRO://127.0.0.1:1/evil"
            return [
                wrong_nonce, b"", b"PYRO://127.0.0.1:1/evil", bytes(1400), question, b"\xff" * 600,
                _answer(question, "PYRONAME://evil"), _answer(question, "no address"),
                _answer(question, f"PYRO://127.0.0.1:{free_port()}/gone"), _answer(question, uri),
            ]  # fmt: skip

        with responder(settings.ns_bc_port, answer):
            ns = locate()
        assert ns.URI == one.uri
        ns._release()


def test_only_so_many_answers_are_tried_each_once_in_the_order_in_which_they_come(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    uris = [f"PYRO://127.0.0.1:{free_port()}/rogue{number}" for number in range(MAX_ANSWERS + 3)]

    def answer(question: bytes) -> list[bytes]:
        return [_answer(question, uri) for uri in [uris[0], *uris]]

    with responder(settings.ns_bc_port, answer), pytest.raises(NamingError):
        locate(trace=1)
    tried = [line for line in lines_of(capsys) if "contacting" in line and "rogue" in line]
    assert tried == [
        f"Locator: contacting the name server at {uri}, as 127.0.0.1 says..." for uri in uris[:MAX_ANSWERS]
    ]


def test_refusal_is_told_with_its_text_made_harmless(quick: Settings) -> None:
    def answer(question: bytes) -> list[bytes]:
        return [_answer(question, "denied!\x1b[2J" + "x" * 400, Kind.REFUSAL)]

    with responder(quick.ns_bc_port, answer), pytest.raises(NamingError) as error:
        locate()
    assert "by broadcast at 127.0.0.1 (it says 'denied!\\\\x1b[2Jxxx" in str(error.value)
    assert "x" * 100 not in str(error.value)


def test_name_server_that_denies_is_told_after_the_others_were_tried(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with name_server("s3cret phrase", bcport=0) as one:
        settings.ns_bc_port = port_of(one)
        with pytest.raises(ConnectionDeniedError, match=r"the name server at PYRO://.*, as 127\.0\.0\.1 says"):
            locate(trace=1)
        assert f"contacting the name server at localhost port {settings.ns_port}" in "".join(lines_of(capsys))
        ns = locating.find_name_server("s3cret phrase")
        assert ns.URI == one.uri
        ns._release()


def test_rogue_that_cannot_prove_itself_is_not_used_where_an_identification_is_given(settings: Settings) -> None:
    with name_server(bcport=0) as rogue:
        settings.ns_bc_port = port_of(rogue)
        with pytest.raises(ConnectionDeniedError, match="does not authenticate"):
            naming.NameServerLocator("s3cret phrase").getNS()


# -- the server ------------------------------------------------------------------------------------------------


def test_server_answers_with_the_address_and_the_questions_nonce() -> None:
    with answering() as one, closing(Asker(one.port)) as asker:
        assert asker.ask() == str(URI)
        assert asker.ask() == str(URI)
        assert one.answered == 2


def test_answers_are_never_larger_than_questions_counted_in_bytes() -> None:
    with answering() as one, closing(Asker(one.port)) as asker:
        full = HEADER.size + len(str(URI))
        assert asker.ask(size=full - 1) is None
        for size in (0, 1, HEADER.size - 1, HEADER.size):
            assert asker.ask(size=size) is None
        assert asker.received == 0
        asker.sent = 0
        assert asker.ask(size=full) == str(URI)
        assert asker.received <= asker.sent


def test_what_is_no_question_gets_no_answer() -> None:
    with answering() as one, closing(Asker(one.port)) as asker:
        question = build_question(Kind.LOCATION, bytes(NONCE_BYTES))
        for data in (b"location", b"shutdown", b"GET_NSURI", b"", bytes(548), question + b"!"):
            asker.send(data)
        asker.send(_answer(question, str(URI)))
        assert asker.ask() == str(URI)
        assert asker.hear(0) is None
        assert one.dropped == 7


def test_one_address_gets_so_many_answers_a_second_and_no_more() -> None:
    with answering() as one, closing(Asker(one.port)) as asker:
        question = build_question(Kind.LOCATION, bytes(NONCE_BYTES))
        start = time.monotonic()
        for sent in range(40, 201, 40):
            for _ in range(40):
                asker.send(question)
            with gevent.Timeout(SECONDS):
                while one.answered + one.dropped < sent:
                    gevent.sleep(0.001)
        seconds_begun = int(time.monotonic() - start) + 1
        assert ANSWERS_PER_SOURCE <= one.answered <= ANSWERS_PER_SOURCE * seconds_begun
        assert one.answered + one.dropped == 200


def test_shutdown_is_refused_and_logged_whatever_the_validator_says(caplog: pytest.LogCaptureFixture) -> None:
    with answering() as one, closing(Asker(one.port)) as asker:
        assert asker.ask(Kind.SHUTDOWN) == "Shutdown request denied"
        assert "shutdown request from 127.0.0.1 refused" in caplog.text
        assert asker.ask() == str(URI)
        assert one.refused == 1


def test_validator_decides_about_locations_and_replies() -> None:
    class Mine(BCReqValidator):
        def acceptLocationCmd(self) -> Any:
            assert self.addr[0] == "127.0.0.1"
            if answer == "reply":
                self.reply("not you! " + "x" * 2000)
                return 0
            return answer

        def acceptShutdownCmd(self) -> int:
            self.reply(b"denied!")
            return 1

    answer: Any = 1
    with answering(validator=Mine()) as one, closing(Asker(one.port)) as asker:
        assert asker.ask() == str(URI)
        for one_of_these in (0, None, (1, 0), "yes"):
            answer = one_of_these
            asker.send(build_question(Kind.LOCATION, bytes(NONCE_BYTES)))
            # The next answer that comes is that of the shutdown.
            assert asker.ask(Kind.SHUTDOWN) == "denied!"
        answer = "reply"
        text = asker.ask()
        assert text is not None
        assert text.startswith("not you! xxx")
        assert len(text) == QUESTION_BYTES - HEADER.size
        assert asker.received <= asker.sent


def test_validator_that_raises_is_logged_and_means_no(caplog: pytest.LogCaptureFixture) -> None:
    class Mine(BCReqValidator):
        def acceptLocationCmd(self) -> int:
            raise KeyError("bug in it")

    with answering(validator=Mine()) as one, closing(Asker(one.port)) as asker:
        asker.send(build_question(Kind.LOCATION, bytes(NONCE_BYTES)))
        assert asker.ask(Kind.SHUTDOWN) == "Shutdown request denied"
        assert "<Mine> failed for location of 127.0.0.1, so no: KeyError('bug in it')" in caplog.text


def test_validator_that_waits_has_one_question_at_a_time() -> None:
    class Mine(BCReqValidator):
        inside = 0

        def acceptLocationCmd(self) -> int:
            self.inside += 1
            addr = self.addr
            gevent.sleep(0.005)
            assert (self.inside, self.addr) == (1, addr)
            self.inside -= 1
            return 1

    with answering(validator=Mine()) as one:
        askers = [Asker(one.port) for _ in range(5)]
        jobs = [gevent.spawn(asker.ask) for asker in askers]
        gevent.joinall(jobs, timeout=SECONDS, raise_error=True)
        assert [job.value for job in jobs] == [str(URI)] * 5
        for asker in askers:
            asker.close()


def test_validator_that_hangs_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gpyro._naming.broadcast.VALIDATOR_SECONDS", 0.01)

    class Mine(BCReqValidator):
        def acceptLocationCmd(self) -> int:
            gevent.sleep(3600)
            return 1

    with answering(validator=Mine()) as one, closing(Asker(one.port)) as asker:
        asker.send(build_question(Kind.LOCATION, bytes(NONCE_BYTES)))
        assert asker.ask(Kind.SHUTDOWN) == "Shutdown request denied"
        assert "failed for location" in caplog.text


# -- starter and command ---------------------------------------------------------------------------------------


def test_name_server_for_this_machine_alone_hears_broadcasts_only_if_asked(settings: Settings) -> None:
    with name_server(bcaddr=None) as one:
        assert one.bcserver is None
    with name_server(bcaddr=None, bcport=0) as one:
        assert one.bcserver is not None
        assert one.bcserver.host == BROADCAST
    with name_server(bcport=0, nobroadcast=True) as one:
        assert one.bcserver is None


def test_taken_port_is_an_error_if_it_was_asked_for_and_a_warning_otherwise(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", settings.ns_bc_port))
        one = naming.NameServerStarter()
        with pytest.raises(DaemonError, match=r"Name Server was not started: .*Address already in use.*-b"):
            one.initialize(port=0, bcport=settings.ns_bc_port, dontlookupother=True)
        assert repr(one).startswith("<NameServerStarter ended")
        with name_server(hostname="0.0.0.0", bcaddr=None, insecure_no_auth=True) as one:
            assert one.bcserver is None
    assert "WARNING: the broadcast server cannot listen on 0.0.0.0 port" in capsys.readouterr().out


def test_name_server_for_this_machine_alone_is_told_of_another_on_the_network_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locating, "FIRST_ANSWER_SECONDS", SECONDS)
    with name_server(bcport=0) as first, name_server("s3cret phrase", bcport=0) as closed:
        for other, more in ((first, ""), (closed, ", and it wants an identification")):
            settings.ns_bc_port = port_of(other)
            with pytest.raises(NamingError, match=f"on this network already, {other.uri}{more}; .*-m"):
                naming.NameServerStarter().initialize(port=0)
        with name_server(bcaddr=None, dontlookupother=False, allowmultiple=True) as second:
            assert second.bcserver is None
    assert "WARNING: starting another name server; one is running on this network" in capsys.readouterr().out


class Site:
    """Where `gpyro ns` runs, heard at one UDP port of loopback."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.environment = self.make("first")

    def make(self, name: str) -> dict[str, str]:
        storage = self.directory / name
        storage.mkdir()
        # Long, as answers may take long on a busy machine; tests in which none comes have it shorter.
        return make_environment(storage, ns_port=free_port(), ns_bc_port=self.port, bc_timeout=10)

    def ns(self, *words: str, name: str = "", seconds: float = 0.1) -> Program:
        environment = self.make(name) if name else self.environment
        return Program([*NS, "-p", "0", *words], {**environment, "GPYRO_BC_TIMEOUT": str(seconds)})


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.smoke
def test_command_tells_where_it_hears_broadcasts_and_nsc_finds_it(site: Site) -> None:
    with site.ns("-c", BROADCAST) as program:
        assert program.read_until("Broadcast server listening on:") == f"{BROADCAST} port {site.port}"
        uri = gpyro.PyroURI(program.read_until("URI is:"))
        program.read_until("Name Server started.")
        elsewhere = site.make("elsewhere")
        ended = run(["-m", "gpyro", "nsc", "ping"], elsewhere)
        assert ended.stdout.splitlines()[0] == f"NS is at 127.0.0.1 port {uri.port}"
        elsewhere["GPYRO_NS_BC_ADDR"] = "127.0.0.77"
        nowhere = {**elsewhere, "GPYRO_BC_TIMEOUT": "0.1"}
        words = ["-m", "gpyro", "nsc", "-p", str(site.port)]
        assert run([*words, "-c", BROADCAST, "ping"], elsewhere).stdout == ended.stdout
        assert "(no answer)" in run([*words, "ping"], nowhere).stderr
        assert program.stop().status == 0


def test_command_takes_a_free_port_and_tells_it(site: Site) -> None:
    with site.ns("-b", "0") as program:
        where = program.read_until("Broadcast server listening on:")
        port = int(where.removeprefix(f"{BROADCAST} port "))
        program.read_until("Name Server started.")
        with closing(Asker(port)) as asker:
            text = asker.ask()
            assert text is not None
            assert text.startswith("PYRO://127.0.0.1:")
        assert program.stop().status == 0


def test_command_starts_none_when_it_is_told_not_to(site: Site) -> None:
    with site.ns("-x") as program:
        program.read_until("Not starting broadcast server.")
        program.read_until("Name Server started.")
        ended = program.stop()
    assert "Broadcast server" not in ended.stdout
    ended = run([*NS, "-x", "-b", "0"], site.environment)
    assert ended.status == 2
    assert "give one or the other" in ended.stderr


def test_second_on_the_network_is_refused_unless_multiple_or_not_looked_for(site: Site) -> None:
    with site.ns("-c", BROADCAST, "-m") as first:
        uri = first.read_until("URI is:")
        first.read_until("Name Server started.")
        with site.ns("-b", str(site.port), name="refused", seconds=10) as program:
            ended = program.finish()
        assert ended.status == 1
        assert f"one is running on this network already, {uri}; " in ended.stderr
        assert "-m" in ended.stderr
        assert ended.stderr.count("\n") == 1
        with site.ns("-b", str(site.port), "-m", name="multiple", seconds=10) as second:
            assert second.read_until("WARNING: starting another name server; one is running").endswith(uri)
            assert second.read_until("Broadcast server listening on:") == f"{BROADCAST} port {site.port}"
            other = second.read_until("URI is:")
            second.read_until("Name Server started.")
            with closing(Asker(site.port)) as asker:
                texts = {asker.ask()}
                data = asker.hear()
                assert data is not None
                texts.add(data[HEADER.size :].decode())
                assert texts == {uri, other}
            assert second.stop().status == 0
        with site.ns("-r", "-x", name="not-looked") as third:
            third.read_until("Name Server started.")
            assert third.stop().status == 0
        assert first.stop().status == 0


PLUGIN = """
import gpyro.auth, gpyro.naming
def BCGuard():
    return Questions()
def NSGuard():
    validator = Connections()
    validator.setAllowedIdentifications(["p4ssphr4se"])
    return validator
class Questions(gpyro.naming.BCReqValidator):
    def acceptLocationCmd(self):
        print(self.addr[0], "WANTS TO KNOW OUR LOCATION. Ok...", flush=True)
        return 1
    def acceptShutdownCmd(self):
        print(self.addr[0], "WANTS US TO SHUT DOWN, Pfff!", flush=True)
        self.reply("denied!")
        return 0
class Connections(gpyro.auth.DefaultConnValidator):
    def acceptHost(self, daemon, connection):
        print(connection.addr[0], "WANTS CONNECTION...", flush=True)
        return gpyro.auth.DefaultConnValidator.acceptHost(self, daemon, connection)
"""


def test_command_uses_security_plugins_of_the_current_directory(site: Site) -> None:
    file = site.directory / "first" / "NSSecEx.py"
    file.write_text(PLUGIN)
    with site.ns("-c", BROADCAST, "-s", "NSSecEx") as program:
        program.read_until("Using security plugins:")
        assert program.read_until("  NS new conn validator =") == f"Connections from NSSecEx  [{file}]"
        assert program.read_until("  BC request validator  =") == f"Questions from NSSecEx  [{file}]"
        program.read_until("Name Server started.")
        client_side = site.make("client")
        ended = run(["-m", "gpyro", "nsc", "ping"], client_side)
        assert ended.status == 1
        program.read_until("127.0.0.1 WANTS TO KNOW OUR LOCATION. Ok...")
        program.read_until("127.0.0.1 WANTS CONNECTION...")
        assert run(["-m", "gpyro", "nsc", "-i", "p4ssphr4se", "ping"], client_side).status == 0
        with closing(Asker(site.port)) as asker:
            assert asker.ask(Kind.SHUTDOWN) == "denied!"
        program.read_until("127.0.0.1 WANTS US TO SHUT DOWN, Pfff!")
        assert program.stop().status == 0


def test_command_tells_a_missing_or_wrong_plugin_in_one_line(site: Site) -> None:
    (site.directory / "first" / "empty_plugin.py").write_text("")
    told = {"nosuchplugin": "No module named 'nosuchplugin'", "empty_plugin": "has neither NSGuard()"}
    for name, text in told.items():
        ended = run([*NS, "-s", name], site.environment)
        assert (ended.status, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
        assert ended.stderr.startswith(f"Error: security plugin {name!r}")
        assert text in ended.stderr
