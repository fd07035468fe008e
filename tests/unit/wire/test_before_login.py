"""Nothing of a call comes through before a login is over, whatever a peer sends, in whatever order.

First the machine by itself, in every state that it has until then; then a daemon that wants an identification, and
a proxy that has one, on real sockets. What came elsewhere of the missing rule: CVE-2025-32433, an SSH server that
served requests of callers who had not logged in.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gpyro
from gpyro._connection.serving import Serving
from gpyro.auth import Key
from gpyro.errors import ProtocolError, RemoteProtocolError
from gpyro.wire.hello import Field, Greeting, Mechanism, build_fields
from gpyro.wire.native import (
    HEADER,
    PREFACE,
    SEND,
    FrameType,
    Machine,
    Side,
    State,
    WireLimits,
    build_chunks,
    build_frame,
    build_target,
)
from tests.support.servers import SECONDS, Bench, RawPeer, Running, eventually, fake_server, running_daemon
from tests.support.wire_pair import cut_evenly, machine_in, needs_preface

T = FrameType
#: What asks for something to be done, answers it, or is part of either.
OF_CALLS = frozenset({T.REQUEST, T.REPLY, T.ERROR, T.ONEWAY, T.CANCEL, T.CHUNK})
LIMITS = WireLimits(max_message_bytes=2_000, max_value_bytes=5_000)
KEY = Key("press-4", bytes(32))
PASSPHRASE = "correct horse battery staple"

BEFORE = [
    (side, state)
    for side, states in (
        (Side.SERVER, (State.NEW, State.DECIDING, State.CHALLENGED)),
        (Side.CLIENT, (State.NEW, State.GREETED, State.CHALLENGED, State.PROVED)),
    )
    for state in states
]

#: Where a side does not read on before it has sent something itself.
DECISION_DUE = {(Side.SERVER, State.DECIDING), (Side.CLIENT, State.NEW), (Side.CLIENT, State.CHALLENGED)}


# -- what a peer may send ------------------------------------------------------------------------------------


def greeting(mechanism: int, fields: Mapping[int, bytes]) -> bytes:
    return Greeting(mechanism=mechanism, fields=dict(fields)).build()


#: Bodies of the handshake: good ones, such with something missing, anything.
handshake_bodies = st.one_of(
    st.builds(
        greeting, st.sampled_from([0, 1, 255, 7]),
        st.dictionaries(st.sampled_from([*range(1, 10)]), st.sampled_from([b"", b"k", bytes(16), bytes(32)])),
    ),
    st.just(greeting(Mechanism.GPYRO_AUTH_1, {Field.IDENTITY: b"", Field.NONCE: bytes(32)})),
    st.just(greeting(Mechanism.GPYRO_AUTH_1, {Field.IDENTITY: b"press-4", Field.NONCE: bytes(32)})),
    st.just(greeting(Mechanism.NONE, {})),
    st.just(build_fields({Field.PROOF: bytes(32)})),
    st.binary(max_size=40),
)  # fmt: skip


def good_frame(kind: int, request_id: int, body: bytes, target: bytes) -> bytes:
    if kind == T.CHUNK:
        inner = build_frame(T.REQUEST, 0, request_id, target, b"\x90")
        return b"".join(bytes(part) for chunk in build_chunks(inner, request_id, 20) for part in chunk)
    if kind in (T.REQUEST, T.ONEWAY):
        return b"".join(map(bytes, build_frame(kind, 0, request_id, target, b"\x90")))
    return b"".join(map(bytes, build_frame(kind, 0, request_id, b"", body)))


def login_hello(key_id: bytes, mechanism: int = Mechanism.GPYRO_AUTH_1) -> bytes:
    fields: dict[int, bytes] = {Field.IDENTITY: key_id, Field.NONCE: bytes(32)}
    return good_frame(T.HELLO, 0, greeting(mechanism, fields), b"")


def wrong_proof() -> bytes:
    return good_frame(T.PROOF, 0, build_fields({Field.PROOF: bytes(32)}), b"")


def frames_for(target: bytes) -> st.SearchStrategy[bytes]:
    """Frames of every type, whole and broken; requests are for something that is there."""
    good = st.builds(
        good_frame, st.sampled_from([*T, T.HELLO, T.PROOF, T.REQUEST, T.ONEWAY, T.WELCOME]), st.integers(0, 5),
        handshake_bodies, st.just(target),
    )  # fmt: skip
    broken = st.builds(
        lambda numbers, rest: HEADER.pack(*numbers) + rest,
        st.tuples(
            st.sampled_from([*range(0, 36), 255]), st.integers(0, 255), st.sampled_from([0, 1, 40, 65535]),
            st.integers(0, 5), st.sampled_from([0, 3, 500, 3_000, 2**32 - 1]),
            st.sampled_from([0, 0, 0, 5, 2**31]),
        ),
        st.binary(max_size=50),
    )  # fmt: skip
    return st.one_of(good, good, good, broken, st.binary(max_size=30))


TARGET = build_target("object", "echo")


# -- the machine by itself -----------------------------------------------------------------------------------


@dataclass
class Watched:
    """A machine in the hands of a shell that may decide anything at any time, and a note of whether it let in."""

    machine: Machine
    welcomed: bool = False
    calls_before: int = 0
    calls_after: int = 0

    def put(self, data: bytes) -> bool:
        """Feed bytes; False when the machine has failed."""
        view = self.machine.wants_into()
        if view is not None:
            view.release()
            self.machine.received_into(0)
        self.machine.receive_data(data)
        return self.take()

    def take(self) -> bool:
        while True:
            try:
                frames = self.machine.next_frames()
            except RemoteProtocolError:
                return False
            if not frames:
                return True
            for number, frame in enumerate(frames, 1):
                if frame[0] in OF_CALLS:
                    self.calls_after += self.welcomed
                    self.calls_before += not self.welcomed
                if frame[0] < 16:
                    assert number == len(frames), "something came out behind a frame that is to be decided about"
                if frame[0] == T.WELCOME:
                    self.welcomed = True

    def decide(self, kind: int) -> bool:
        """Send a frame of the handshake, if that may be sent now."""
        if kind in SEND.get((self.machine.side, self.machine.state), {}):
            self.machine.sending(kind)
            self.welcomed |= kind == T.WELCOME
        return self.take()


@settings(max_examples=600, deadline=None)
@given(
    where=st.sampled_from(BEFORE),
    steps=st.lists(
        st.one_of(
            st.lists(frames_for(TARGET), min_size=1, max_size=4).map(b"".join),
            st.sampled_from([T.HELLO, T.CHALLENGE, T.PROOF]),
        ),
        max_size=12,
    ),
    size=st.sampled_from([1, 5, 17, 60, 5_000, 5_000]), with_preface=st.booleans(),
)
def test_machine_that_was_not_welcomed_gives_out_nothing_of_a_call(
    where: tuple[Side, State], steps: list[bytes | FrameType], size: int, with_preface: bool
) -> None:
    machine = machine_in(*where, LIMITS)
    watched = Watched(machine)
    if with_preface and needs_preface(machine):
        assert watched.put(PREFACE)
    for step in steps:
        if isinstance(step, FrameType):
            going_on = watched.decide(step)
        else:
            going_on = all(watched.put(piece) for piece in cut_evenly(step, size))
        if not going_on:
            break
    assert watched.calls_before == 0
    assert watched.welcomed or watched.calls_after == 0


@settings(max_examples=300, deadline=None)
@given(
    frames=st.lists(frames_for(TARGET), max_size=8), behind=st.lists(frames_for(TARGET), max_size=4),
    size=st.integers(1, 200),
)
def test_server_gives_out_what_was_sent_too_early_only_after_its_welcome(
    frames: list[bytes], behind: list[bytes], size: int
) -> None:
    watched = Watched(machine_in(Side.SERVER, State.CHALLENGED, LIMITS))
    early = good_frame(T.PROOF, 0, b"", b"") + good_frame(T.REQUEST, 1, b"", TARGET) + b"".join(frames)
    assert all(watched.put(piece) for piece in cut_evenly(early, size))
    assert watched.machine.state is State.DECIDING and watched.calls_before == 0
    watched.decide(T.WELCOME)
    assert watched.calls_after >= 1
    for data in behind:
        if not watched.put(data):
            break
    assert watched.calls_before == 0


@pytest.mark.parametrize("state", [State.GREETED, State.PROVED])
def test_welcome_comes_out_alone_so_that_it_can_be_checked_before_what_follows(state: State) -> None:
    machine = machine_in(Side.CLIENT, state)
    opening = PREFACE if needs_preface(machine) else b""
    machine.receive_data(opening + good_frame(T.WELCOME, 0, b"", b"") + good_frame(T.REQUEST, 2, b"", TARGET))
    assert [frame[0] for frame in machine.next_frames()] == [T.WELCOME]


@pytest.mark.parametrize("where", BEFORE, ids=lambda part: part.value if isinstance(part, (Side, State)) else None)
@pytest.mark.parametrize("kind", sorted(OF_CALLS), ids=lambda kind: kind.name)
def test_no_frame_of_a_call_comes_out_before_the_welcome(where: tuple[Side, State], kind: FrameType) -> None:
    machine = machine_in(*where, LIMITS)
    watched = Watched(machine)
    if needs_preface(machine):
        watched.put(PREFACE)
    watched.put(good_frame(kind, 1, b"", TARGET))
    assert (watched.calls_before, watched.calls_after) == (0, 0)
    # It waits until this side has decided, or is an error at once.
    assert machine.state is (where[1] if where in DECISION_DUE else State.FAILED)


# -- a daemon that wants an identification -------------------------------------------------------------------


class Counted:
    """How often something got as far as the queue of calls."""

    def __init__(self) -> None:
        self.taken = 0


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted, take = Counted(), Serving.take

    def count(self: Serving, frame: Any) -> None:
        counted.taken += 1
        take(self, frame)

    monkeypatch.setattr(Serving, "take", count)
    return counted


class Touchy(Bench):
    """Counts how often one of its methods began."""

    touched = 0

    def echo(self, value: Any = None) -> Any:
        self.touched += 1
        return value


@pytest.fixture
def served() -> Iterator[tuple[Running, Touchy, str]]:
    with running_daemon() as running:
        running.daemon.setAllowedIdentifications([PASSPHRASE])
        thing = Touchy()
        yield running, thing, running.connect(thing)


def friend(running: Running, uri: str) -> Any:
    proxy = running.proxy(uri)
    proxy._setIdentification(PASSPHRASE)
    return proxy


def send_and_hear(port: int, pieces: list[bytes]) -> bytes:
    """Send pieces, each in a turn of its own so that the server can answer between them; return what it says."""
    with RawPeer(port, greet=False) as peer:
        try:
            for piece in pieces:
                peer.send(piece)
                gevent.sleep(0.0005)
            peer.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has closed already
        return peer.read_to_end()


def kinds_in(data: bytes) -> list[int]:
    """Return the types of the frames that a server sent behind its preface."""
    found, at = [], len(PREFACE)
    while at + HEADER.size <= len(data):
        kind, _, target, _, body, extras = HEADER.unpack_from(data, at)
        found.append(kind)
        at += HEADER.size + target + body + extras
    return found


def test_no_sequence_of_frames_of_a_stranger_reaches_a_method(
    served: tuple[Running, Touchy, str], counted: Counted
) -> None:
    running, thing, uri = served
    target = build_target(gpyro.PyroURI(uri).objectID, "echo")
    good = friend(running, uri)
    assert good.echo(1) == 1
    outcomes: set[int] = set()

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(
        frames=st.lists(frames_for(target), max_size=8), size=st.sampled_from([7, 100, 5_000]),
        opening=st.sampled_from([b"", *(PREFACE + words for words in (
            b"", login_hello(b""), login_hello(b"press-4"), login_hello(b"") + wrong_proof(),
            login_hello(b"press-4") + wrong_proof(), login_hello(b"", Mechanism.NONE),
        ))]),
    )  # fmt: skip
    def run(frames: list[bytes], size: int, opening: bytes) -> None:
        before = counted.taken, thing.touched
        said = send_and_hear(running.port, [*cut_evenly(opening, size), *frames])
        assert (counted.taken, thing.touched) == before
        if said.startswith(PREFACE):
            kinds = kinds_in(said)
            assert set(kinds) <= {T.CHALLENGE, T.DENY}, kinds
            outcomes.update(kinds)
        # The good caller is served as before.
        assert good.echo("still here") == "still here"
        assert (counted.taken, thing.touched) == (before[0] + 1, before[1] + 1)

    run()
    assert outcomes == {T.CHALLENGE, T.DENY}, "the examples did not come as far as a login"
    eventually(lambda: len(running.connections) == 1)
    newcomer = friend(running, uri)
    assert newcomer.echo("let in") == "let in"


@pytest.mark.parametrize("kind", [T.REQUEST, T.ONEWAY, T.CHUNK], ids=lambda kind: kind.name)
@pytest.mark.parametrize("behind", [0, 1, 2], ids=["preface", "hello", "proof"])
@pytest.mark.parametrize("mechanism", Mechanism, ids=lambda mechanism: mechanism.name)
def test_call_of_a_stranger_is_not_begun_wherever_it_stands(
    served: tuple[Running, Touchy, str], counted: Counted, kind: FrameType, behind: int, mechanism: Mechanism
) -> None:
    running, thing, uri = served
    target = build_target(gpyro.PyroURI(uri).objectID, "echo")
    words = [PREFACE, login_hello(b"", mechanism), wrong_proof()]
    call = good_frame(kind, 1, b"", target)
    for pieces in ([b"".join(words[: behind + 1]) + call], [*words[: behind + 1], call, *words[behind + 1 :]]):
        said = send_and_hear(running.port, pieces)
        assert T.WELCOME not in kinds_in(said)
    assert (counted.taken, thing.touched) == (0, 0)
    assert friend(running, uri).echo(2) == 2


# -- a proxy that has an identification ----------------------------------------------------------------------


def challenge() -> bytes:
    return good_frame(T.CHALLENGE, 0, greeting(Mechanism.GPYRO_AUTH_1, {Field.NONCE: bytes(32)}), b"")


@contextmanager
def false_server() -> Iterator[tuple[int, list[bytes], list[int]]]:
    """Say what stands in a list to each caller, then read on; yields the port, that list, and the types heard."""
    said: list[bytes] = []
    heard: list[int] = []

    def answer(sock: Any) -> None:
        sock.settimeout(SECONDS)
        data = b""
        try:
            for piece in [b"", *said]:
                sock.sendall(piece)
                data += sock.recv(4096) if not data else b""
                gevent.sleep(0.0005)
            sock.shutdown(socket.SHUT_WR)
            while more := sock.recv(4096):
                data += more
        except OSError:
            pass  # it has closed
        heard.extend(kinds_in(data))

    with fake_server(answer) as port:
        yield port, said, heard


def refused_by(port: int) -> str:
    """Call with an identification; return with what words that failed, not that it takes too long."""
    proxy = gpyro.Proxy(f"PYRO://127.0.0.1:{port}/x")
    proxy._setIdentification(KEY)
    with gevent.Timeout(SECONDS), pytest.raises(ProtocolError) as caught:
        proxy.echo(1)
    proxy._release()
    assert not isinstance(caught.value, gpyro.errors.TimeoutError)
    return str(caught.value)


@pytest.mark.parametrize("body", [b"\x04", b"\x04\0\x20short", b"", build_fields({Field.PROOF: bytes(32)})])
def test_last_word_of_a_false_server_ends_the_call_whatever_is_in_it(body: bytes, counted: Counted) -> None:
    with false_server() as (port, said, heard):
        said[:] = [PREFACE + challenge(), good_frame(T.WELCOME, 0, body, b"")]
        assert refused_by(port)
        eventually(lambda: bool(heard))
    assert (heard, counted.taken) == ([T.HELLO, T.PROOF], 0)


@pytest.mark.parametrize("whole", [True, False])
def test_server_that_welcomes_without_a_login_is_left_before_it_can_call(whole: bool, counted: Counted) -> None:
    welcome = PREFACE + good_frame(T.WELCOME, 0, greeting(Mechanism.NONE, {}), b"")
    call = good_frame(T.ONEWAY, 2, b"", build_target("x", "echo", scope=1))
    with false_server() as (port, said, heard):
        said[:] = [welcome + call] if whole else [welcome, call]
        assert "does not authenticate its callers" in refused_by(port)
        eventually(lambda: bool(heard))
    assert (heard, counted.taken) == ([T.HELLO], 0)


def test_no_sequence_of_frames_of_a_false_server_reaches_a_caller(counted: Counted) -> None:
    welcome = good_frame(T.WELCOME, 0, greeting(Mechanism.NONE, {}), b"")

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(
        frames=st.lists(frames_for(build_target("x", "echo", scope=1)), max_size=6),
        opening=st.sampled_from([b"", PREFACE, PREFACE + challenge(), PREFACE + challenge(), PREFACE + welcome]),
    )
    def run(frames: list[bytes], opening: bytes) -> None:
        said[:] = [opening, *frames]
        assert refused_by(port)
        assert counted.taken == 0

    with false_server() as (port, said, heard):
        run()
        eventually(lambda: set(heard) == {T.HELLO, T.PROOF})


def test_no_sequence_of_frames_of_a_server_keeps_a_caller_without_an_identification_waiting() -> None:
    welcome = good_frame(T.WELCOME, 0, greeting(Mechanism.NONE, {}), b"")

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(
        frames=st.lists(frames_for(build_target("x", "echo", scope=1)), max_size=6),
        opening=st.sampled_from([b"", PREFACE, PREFACE + challenge(), PREFACE + welcome, PREFACE + welcome]),
    )
    def run(frames: list[bytes], opening: bytes) -> None:
        said[:] = [opening, *frames]
        proxy = gpyro.Proxy(f"PYRO://127.0.0.1:{port}/x")
        with gevent.Timeout(SECONDS):
            try:
                proxy.echo(1)  # a REPLY may be among the frames
            except gpyro.errors.TimeoutError:
                raise
            except Exception as exc:
                assert isinstance(exc, gpyro.errors.PyroError), repr(exc)
        proxy._release()

    with false_server() as (port, said, _):
        run()
