"""Name servers found by broadcast on loopback, in which order with other places, and rogues that answer too."""

from __future__ import annotations

import os
import select
import threading
from pathlib import Path

import gevent
import pytest

import gpyro
from gpyro import hub, naming
from gpyro._naming import locating, resolving
from gpyro._naming.asking import MAX_ANSWERS
from gpyro._naming.broadcast import HEADER, NONCE_BYTES, Kind
from gpyro.configuration import Settings
from gpyro.errors import ConfigurationError, ConnectionDeniedError, NamingError, ProtocolError
from tests.support.discovery import (
    BROADCAST,
    SECONDS,
    URI,
    answer_to,
    bc_port_of,
    locate,
    name_server,
    own_settings,
    responder,
    tcp_port_of,
)
from tests.support.programs import Program, free_port, make_environment, run

NS = ["-m", "gpyro", "ns"]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return own_settings(tmp_path, monkeypatch)


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """The same, for a search that ends without an answer."""
    settings.bc_timeout = 0.1
    return settings


# -- found -----------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_name_server_is_found_by_broadcast(settings: Settings) -> None:
    with name_server(bcport=0) as one:
        settings.ns_bc_port = bc_port_of(one)
        ns = locate()
        assert ns.URI == one.uri
        ns._release()


def test_second_name_server_of_a_pair_is_found_by_its_broadcast(settings: Settings) -> None:
    with name_server(bcport=0) as one:
        settings.ns2_bc_port = bc_port_of(one)
        ns = locate()
        assert ns.URI == one.uri
        ns._release()


def test_given_port_and_address_are_asked(settings: Settings) -> None:
    settings.ns_bc_addr = "127.0.0.77"
    with name_server(bcport=0) as one:
        ns = locate(port=bc_port_of(one), bcaddr=BROADCAST)
        assert ns.URI == one.uri
        ns._release()
        settings.bc_timeout = 0.1
        with pytest.raises(NamingError, match=rf"broadcast to 127\.0\.0\.77 port {bc_port_of(one)} \(no answer\)"):
            locate(port=bc_port_of(one))


def test_name_server_on_all_addresses_is_found_at_the_one_that_answered(settings: Settings) -> None:
    with name_server(hostname="0.0.0.0", insecure_no_auth=True) as one:
        assert one.uri is not None
        ns = locate()
        assert ns.URI == f"PYRO://127.0.0.1:{one.uri.port}/:Pyro.NameServer"
        ns._release()


def test_name_address_finds_the_name_server_by_broadcast(settings: Settings) -> None:
    with name_server(bcport=0) as one:
        settings.ns_bc_port = bc_port_of(one)
        ns = locate()
        ns.register("pump", URI)
        assert resolving.resolve_uri(gpyro.PyroURI("PYRONAME://pump")) == URI
        ns._release()


def test_many_greenlets_and_threads_look_at_once(settings: Settings) -> None:
    with name_server(bcport=0) as one:
        settings.ns_bc_port = bc_port_of(one)
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
    settings.ns_bc_port = bc_port_of(one)
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
        settings.ns_hostname, settings.ns_port = "127.0.0.1", tcp_port_of(one)
        settings.ns_bc_port = bc_port_of(one)
        locate()._release()
        assert one.bcserver is not None
        assert one.bcserver.answered == 0


def test_given_host_is_asked_and_nobody_else(settings: Settings) -> None:
    with name_server(bcport=0) as one:
        settings.ns_bc_port = bc_port_of(one)
        with pytest.raises(NamingError, match=r"on host 127\.0\.0\.1"):
            locate(host="127.0.0.1", port=free_port(), bcaddr=BROADCAST)
        assert one.bcserver is not None
        assert one.bcserver.answered == 0


def test_early_answer_wins_over_a_name_server_on_this_machine(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locating, "FIRST_ANSWER_SECONDS", SECONDS)
    with name_server() as near, name_server(bcport=0) as far:
        settings.ns_port, settings.ns_bc_port = tcp_port_of(near), bc_port_of(far)
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
            return [] if len(heard) < 2 else [answer_to(question, uri)]

        with responder(settings.ns_bc_port, answer_late) as heard:
            ns = locate()
        assert ns.URI == one.uri
        assert len(heard) >= 2
        ns._release()


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
                answer_to(question, "PYRONAME://evil"), answer_to(question, "no address"),
                answer_to(question, f"PYRO://127.0.0.1:{free_port()}/gone"), answer_to(question, uri),
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
        return [answer_to(question, uri) for uri in [uris[0], *uris]]

    with responder(settings.ns_bc_port, answer), pytest.raises(NamingError):
        locate(trace=1)
    tried = [line for line in lines_of(capsys) if "contacting" in line and "rogue" in line]
    assert tried == [
        f"Locator: contacting the name server at {uri}, as 127.0.0.1 says..." for uri in uris[:MAX_ANSWERS]
    ]


def test_refusal_is_told_with_its_text_made_harmless(quick: Settings) -> None:
    def answer(question: bytes) -> list[bytes]:
        return [answer_to(question, "denied!\x1b[2J" + "x" * 400, Kind.REFUSAL)]

    with responder(quick.ns_bc_port, answer), pytest.raises(NamingError) as error:
        locate()
    assert "by broadcast at 127.0.0.1 (it says 'denied!\\\\x1b[2Jxxx" in str(error.value)
    assert "x" * 100 not in str(error.value)


def test_name_server_that_denies_is_told_after_the_others_were_tried(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with name_server("s3cret phrase", bcport=0) as one:
        settings.ns_bc_port = bc_port_of(one)
        with pytest.raises(ConnectionDeniedError, match=r"the name server at PYRO://.*, as 127\.0\.0\.1 says"):
            locate(trace=1)
        assert f"contacting the name server at localhost port {settings.ns_port}" in "".join(lines_of(capsys))
        ns = locating.find_name_server("s3cret phrase")
        assert ns.URI == one.uri
        ns._release()


def test_rogue_that_cannot_prove_itself_is_not_used_where_an_identification_is_given(settings: Settings) -> None:
    with name_server(bcport=0) as rogue:
        settings.ns_bc_port = bc_port_of(rogue)
        with pytest.raises(ConnectionDeniedError, match="does not authenticate"):
            naming.NameServerLocator("s3cret phrase").getNS()
