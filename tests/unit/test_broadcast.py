"""Messages of the broadcast, validators, the rate of answers, and plugins, without a network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpyro
from gpyro import hub
from gpyro._naming import plugins
from gpyro._naming.asking import Asking, Target, choose_targets
from gpyro._naming.broadcast import (
    HEADER,
    NONCE_BYTES,
    QUESTION_BYTES,
    Answer,
    AnswerRate,
    BCReqValidator,
    BroadcastServer,
    Kind,
    Question,
    build_answer,
    build_question,
    parse_address,
    parse_answer,
    parse_question,
)
from gpyro.auth import DefaultConnValidator
from gpyro.configuration import Settings
from gpyro.errors import ConfigurationError, RemoteProtocolError

NONCE = bytes(range(NONCE_BYTES))
QUESTION = build_question(Kind.LOCATION, NONCE)
questions = st.sampled_from([Kind.LOCATION, Kind.SHUTDOWN])
answers = st.sampled_from([Kind.ADDRESS, Kind.REFUSAL])
nonces = st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES)


# -- messages --------------------------------------------------------------------------------------------------


@given(questions, nonces)
def test_question_is_read_as_it_was_written(kind: Kind, nonce: bytes) -> None:
    assert parse_question(build_question(kind, nonce)) == Question(kind, nonce, QUESTION_BYTES)


@given(answers, nonces, st.text(max_size=100))
def test_answer_is_read_as_it_was_written(kind: Kind, nonce: bytes, text: str) -> None:
    data = build_answer(Question(Kind.LOCATION, nonce, QUESTION_BYTES), kind, text)
    assert data is not None
    assert parse_answer(data, nonce) == Answer(kind, text)


@given(st.one_of(st.binary(max_size=1500), st.binary(max_size=600).map(lambda rest: QUESTION[:6] + rest)), nonces)
def test_what_is_no_message_raises_one_error_and_no_other(data: bytes, nonce: bytes) -> None:
    for parse in (parse_question, lambda data: parse_answer(data, nonce)):
        try:
            parse(data)
        except RemoteProtocolError:
            pass


@given(st.text(max_size=600), st.text(max_size=20))
def test_what_is_no_address_raises_one_error_and_no_other(text: str, sender: str) -> None:
    try:
        parse_address(text, sender)
    except RemoteProtocolError:
        pass


@given(st.integers(HEADER.size, QUESTION_BYTES), answers, st.text(max_size=700))
def test_answer_is_never_larger_than_its_question(size: int, kind: Kind, text: str) -> None:
    question = parse_question(QUESTION[:size])
    answer = build_answer(question, kind, text)
    assert answer is None or len(answer) <= size


def test_the_longest_address_of_a_name_server_fits_into_an_answer() -> None:
    uri = gpyro.PyroURI("h" * 253, "n" * 255, 65535, "PYROSSL")
    assert build_answer(parse_question(QUESTION), Kind.ADDRESS, str(uri)) is not None


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "has 0 bytes"),
        (b"location", "has 8 bytes"),
        (QUESTION + bytes(1000), "has 1548 bytes"),
        (b"HTTP" + QUESTION[4:], "begins with b'HTTP'"),
        (QUESTION[:4] + b"\x02" + QUESTION[5:], "has version 2"),
        (QUESTION[:5] + b"\x09" + QUESTION[6:], "unknown kind 9"),
        (QUESTION[:5] + b"\x03" + QUESTION[6:], "kind 3 is no question"),
        (QUESTION[:-1] + b"x", "only zeros may follow"),
    ],
)
def test_what_is_no_question_is_told(data: bytes, text: str) -> None:
    with pytest.raises(RemoteProtocolError, match=text):
        parse_question(data)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (QUESTION, "kind 1 is no answer"),
        (HEADER.pack(b"gpNS", 1, 3, bytes(NONCE_BYTES)), "to another question"),
        (HEADER.pack(b"gpNS", 1, 3, NONCE) + b"\xff", "is not text"),
    ],
)
def test_what_is_no_answer_is_told(data: bytes, text: str) -> None:
    with pytest.raises(RemoteProtocolError, match=text):
        parse_answer(data, NONCE)


def test_address_of_all_interfaces_becomes_that_of_the_sender() -> None:
    uri = parse_address("PYRO://0.0.0.0:9090/:Pyro.NameServer", "192.0.2.7")
    assert str(uri) == "PYRO://192.0.2.7:9090/:Pyro.NameServer"


@pytest.mark.parametrize("text", ["PYRO://127.0.0.1:6379/x", "PYRO://localhost:1/x", "PYRO://[::1]:1/x"])
def test_others_may_not_send_anybody_to_his_own_machine(text: str) -> None:
    with pytest.raises(RemoteProtocolError, match="the asker's own machine"):
        parse_address(text, "192.0.2.7")
    assert str(parse_address(text, "127.0.0.1")) == text


@pytest.mark.parametrize("text", ["PYRONAME://x", "PYROLOC://h:1/x", "PYRO://./u:%2Frun%2Fx/y", "", "x", "PYRO://"])
def test_address_that_leads_to_no_name_server_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError, match="broadcast answer"):
        parse_address(text, "127.0.0.1")


# -- who decides -----------------------------------------------------------------------------------------------


class Socket:
    def __init__(self) -> None:
        self.sent: list[tuple[object, object]] = []

    def sendto(self, msg: object, addr: object) -> None:
        self.sent.append((msg, addr))


def test_validator_has_pyros_interface() -> None:
    class Mine(BCReqValidator):
        def acceptShutdownCmd(self) -> int:
            self.reply("denied!")
            return 0

    mine, sock = Mine(), Socket()
    assert mine(("location", sock), ("192.0.2.1", 7)) == 1
    assert mine(("shutdown", sock), ("192.0.2.1", 7)) == 0
    assert mine(("dance", sock), ("192.0.2.1", 7)) == 0
    assert mine.addr == ("192.0.2.1", 7)
    assert sock.sent == [("denied!", ("192.0.2.1", 7))]
    assert BCReqValidator()(("shutdown", sock), ("192.0.2.1", 7)) == 1
    assert repr(mine) == "<Mine>"


def test_a_second_has_so_many_answers_and_no_more() -> None:
    rate = AnswerRate(per_second=5, per_source=3)
    assert [rate.allows("a", 10.0 + number / 10) for number in range(4)] == [True, True, True, False]
    assert [rate.allows("b", 10.5) for _ in range(3)] == [True, True, False]
    assert repr(rate) == "<AnswerRate 5 of 5 in this second, 2 sources>"
    assert rate.allows("c", 11.0)
    assert rate.allows("a", 11.0)


def test_broadcast_server_tells_its_state() -> None:
    server = BroadcastServer(gpyro.PyroURI("PYRO://localhost:1/x"), "127.255.255.255")
    where = f"<BroadcastServer 127.255.255.255:{server.port}"
    assert repr(server) == f"{where}, not started, 0 answered, 0 refused, 0 dropped>"
    server.start()
    server.start()
    assert repr(server).startswith(f"{where}, listening")
    server.close()
    server.start()
    assert repr(server).startswith(f"{where}, closed")


# -- whom to ask -----------------------------------------------------------------------------------------------


def test_both_name_servers_are_asked_for_at_their_own_ports() -> None:
    assert choose_targets(Settings()) == [Target("255.255.255.255", 9090), Target("255.255.255.255", 9091)]
    settings = Settings(ns_bc_addr="127.0.0.255", ns2_bc_addr="127.1.255.255", ns2_bc_port=9)
    assert choose_targets(settings) == [Target("127.0.0.255", 9090), Target("127.1.255.255", 9)]


def test_given_port_and_address_are_asked_instead() -> None:
    assert choose_targets(Settings(), 7000) == [Target("255.255.255.255", 7000)]
    settings = Settings(ns_bc_addr="127.0.0.255", ns2_bc_port=9090)
    assert choose_targets(settings, None, "127.255.255.255") == [Target("127.255.255.255", 9090)]
    assert choose_targets(settings, 1, "<broadcast>") == [Target("255.255.255.255", 1)]
    assert choose_targets(settings, 1, "localhost") == [Target("127.0.0.1", 1)]


@pytest.mark.parametrize("address", ["no.such.invalid", "::1", "300.1.1.1", "a b"])
def test_invalid_broadcast_address_is_named(address: str) -> None:
    with pytest.raises(ConfigurationError, match=f"invalid broadcast address '{address}'.*ns_bc_addr"):
        choose_targets(Settings(), None, address)


def test_question_tells_its_state() -> None:
    with Asking([Target("127.255.255.255", hub.MAX_DATAGRAM_BYTES)], 0, 0.01) as asking:
        assert repr(asking) == "<Asking 1 targets, not sent, 0 answers, 0 ignored>"
        asking.send()
        assert repr(asking) == "<Asking 1 targets, waiting for answers, 0 answers, 0 ignored>"
    assert repr(asking) == "<Asking 1 targets, closed, 0 answers, 0 ignored>"


def test_question_to_nobody_waits_for_nothing() -> None:
    with Asking([], 5, 60) as asking:
        asking.send()
        assert list(asking.look(60)) == list(asking.rest()) == []


# -- plugins ---------------------------------------------------------------------------------------------------


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a module of that text into the current directory, and returns its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    made: list[str] = []

    def write(text: str) -> str:
        name = f"guards_of_test_{len(made)}"
        (tmp_path / f"{name}.py").write_text(text)
        made.append(name)
        return name

    yield write
    for name in made:
        sys.modules.pop(name, None)


BOTH = """
import gpyro.auth, gpyro.naming
class Connections(gpyro.auth.DefaultConnValidator): pass
class Questions(gpyro.naming.BCReqValidator): pass
def NSGuard(): return Connections()
def BCGuard(): return Questions()
"""


def test_plugin_in_the_current_directory_gives_both_validators(plugin: Any, tmp_path: Path) -> None:
    name = plugin(BOTH)
    before = list(sys.path)
    guards = plugins.load_guards(name)
    assert isinstance(guards.connections, DefaultConnValidator)
    assert isinstance(guards.broadcasts, BCReqValidator)
    assert plugins.describe_guards(guards) == [
        "Using security plugins:",
        f"  NS new conn validator = Connections from {name}  [{tmp_path / name}.py]",
        f"  BC request validator  = Questions from {name}  [{tmp_path / name}.py]",
    ]
    # Last, so that what is imported later is what it was before.
    assert sys.path == [*before, str(tmp_path)]


def test_plugin_with_one_function_leaves_the_other_validator_as_usual(plugin: Any) -> None:
    guards = plugins.load_guards(plugin(BOTH.replace("def BCGuard", "def other")))
    assert guards.broadcasts is None
    assert plugins.describe_guards(guards)[2] == "  default BC request validator"
    assert plugins.load_guards(plugin(BOTH.replace("def NSGuard", "def other"))).connections is None
    assert plugins.describe_guards(plugins.check_guards((None, None))) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", r"\(.*\.py\) has neither NSGuard\(\) nor BCGuard\(\)"),
        ("def NSGuard(): return 7", r"NSGuard\(\) of security plugin .* returned 7, .*DefaultConnValidator"),
        ("def BCGuard(): return 7", r"BCGuard\(\) of security plugin .* returned 7, .*BCReqValidator"),
        ("def BCGuard(): pass", r"BCGuard\(\) of security plugin .* returned None"),
        ("def NSGuard(): raise KeyError('id')", r"NSGuard\(\) of .* failed: KeyError: 'id'"),
        ("NSGuard = 7", r"NSGuard\(\) of .* failed: TypeError"),
        ("1/0", "cannot be imported: ZeroDivisionError"),
        ("def", "cannot be imported: SyntaxError"),
        ("import nosuchmodule", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_plugin_that_is_none_is_told(plugin: Any, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        plugins.load_guards(plugin(text))


@pytest.mark.parametrize("name", ["nosuchplugin", "", "../x", "a.b.c"])
def test_missing_plugin_is_told_with_where_it_is_looked_for(plugin: Any, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be imported: .*in the current directory"):
        plugins.load_guards(name)


@pytest.mark.parametrize("guards", [7, (1,), "ab", (7, None), (None, 7)])
def test_what_is_no_pair_of_validators_is_refused(guards: Any) -> None:
    with pytest.raises(ConfigurationError, match="must"):
        plugins.check_guards(guards)
