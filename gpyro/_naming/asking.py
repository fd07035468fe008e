"""A question by broadcast on its way: whom it goes to, when it is sent again, and what comes back."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import NamedTuple

from gpyro import hub
from gpyro._naming.broadcast import NONCE_BYTES, Kind, build_question, parse_address, parse_answer
from gpyro.configuration import Settings
from gpyro.errors import ConfigurationError, PyroError, RemoteProtocolError
from gpyro.uri import PyroURI
from gpyro.util import escape_controls

__all__ = ["FIRST_ANSWER_SECONDS", "MAX_ANSWERS", "Asking", "Found", "Target", "choose_targets"]

#: Where a question goes unless a setting or an argument says otherwise: everybody on the local network.
EVERYBODY = "255.255.255.255"
#: How Python writes it.
EVERYBODY_WORDS = ("<broadcast>", "")
#: Seconds in which a server on the same network answers, with room for one that is busy. When they are over,
#: places on this machine are looked at; nobody notices that wait.
FIRST_ANSWER_SECONDS = 0.05
#: Addresses that are tried for one question: each may take connect_timeout_seconds, and anybody can send them.
MAX_ANSWERS = 5
#: Datagrams looked at without waiting in between, of which most may be garbage.
DATAGRAMS_PER_LOOK = 64
#: Letters of a refusal that are shown.
SHOWN_LETTERS = 80


class Target(NamedTuple):
    """Whom to ask: a numeric address, often that of a whole network, and a UDP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host} port {self.port}"


class Found(NamedTuple):
    """An address that came as an answer, and who sent it; neither is to be believed."""

    uri: PyroURI
    sender: str


def choose_targets(settings: Settings, port: int | None = None, bcaddr: str | None = None) -> list[Target]:
    """Return whom to ask: the first name server's address and port, and unless a port is given the second's.

    Raises:
        ConfigurationError: an address is none.
    """
    wanted = [(bcaddr or settings.ns_bc_addr, settings.ns_bc_port if port is None else port)]
    if port is None:
        wanted.append((bcaddr or settings.ns2_bc_addr, settings.ns2_bc_port))
    return list(dict.fromkeys(Target(_check_address(host or EVERYBODY), number) for host, number in wanted))


def _check_address(host: str) -> str:
    if host in EVERYBODY_WORDS:
        return EVERYBODY
    try:
        return hub.resolve_ipv4(host)
    except PyroError as exc:
        raise ConfigurationError(
            f"invalid broadcast address {host!r}: {exc}; give an IPv4 address like 192.168.1.255 "
            "(bcaddr, -c, or the settings ns_bc_addr and ns2_bc_addr)"
        ) from exc


class Asking:
    """One question, until it is answered or given up; nothing is sent before `send`.

    Without targets it asks nobody, and nothing is waited for.

    Args:
        targets: whom to ask.
        retries: how often the question is sent again.
        timeout_seconds: how long answers are waited for each time it was sent.
        tell: gets a line for each step.

    Resources: leaving its `with` block closes the socket.
    Errors: targets that cannot be reached are in `problems`, and are passed over; so is what is no answer.
    """

    def __init__(
        self, targets: list[Target], retries: int, timeout_seconds: float,
        tell: Callable[[str], object] = lambda text: None,
    ) -> None:  # fmt: skip
        self._targets = targets
        self._retries = retries
        self._timeout = timeout_seconds
        self._tell = tell
        self._nonce = os.urandom(NONCE_BYTES)
        self._endpoint: hub.UdpEndpoint | None = None
        self._until = 0.0
        self._seen: set[str] = set()
        self._sent = self._ignored = 0
        #: What each target, or who answered no, is to be told with; empty where there was no answer.
        self.problems: dict[str, str] = {}

    def __repr__(self) -> str:
        state = "not sent" if not self._sent else "closed" if self._endpoint is None else "waiting for answers"
        count = f"{len(self._seen)} answers, {self._ignored} ignored"
        return f"<Asking {len(self._targets)} targets, {state}, {count}>"

    def __enter__(self) -> Asking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            endpoint.close()

    def send(self) -> None:
        """Send the question to all targets; those that cannot be reached are left out from now on.

        Raises:
            OSError: there is no descriptor for the socket.
        """
        if not self._targets:
            return
        if self._endpoint is None:
            self._endpoint = hub.ask_udp()
        question = build_question(Kind.LOCATION, self._nonce)
        for target in list(self._targets):
            try:
                self._endpoint.send(question, *target)
            except (OSError, OverflowError) as exc:
                self._targets.remove(target)
                self.problems[f"broadcast to {target}"] = str(getattr(exc, "strerror", None) or exc)
            else:
                if not self._seen:
                    self.problems[f"broadcast to {target}"] = "no answer"
        self._sent += 1
        self._until = time.monotonic() + self._timeout

    def look(self, seconds: float) -> Iterator[Found]:
        """Return the answers that are there, and those that come within `seconds`; each address once."""
        deadline = time.monotonic() + seconds
        for _ in self._rounds(deadline):
            assert self._endpoint is not None
            datagram = self._endpoint.receive(max(min(deadline, self._until) - time.monotonic(), 0.0))
            if datagram is None:
                return
            found = self._read(datagram)
            if found is not None:
                yield found

    def _rounds(self, deadline: float) -> Iterator[None]:
        """Count looks: as many as there is time for, and a few more, for what is there already."""
        for number in itertools.count():
            if self._endpoint is None or not self._targets or len(self._seen) >= MAX_ANSWERS:
                return
            if number >= DATAGRAMS_PER_LOOK and time.monotonic() >= deadline:
                return
            yield

    def rest(self) -> Iterator[Found]:
        """Return the answers that come until the question has been sent often enough, and waited for each time."""
        yield from self.look(self._until - time.monotonic())
        for number in range(1, self._retries + 1):
            if not self._targets or len(self._seen) >= MAX_ANSWERS:
                return
            self._tell(f"retry {number}")
            self.send()
            yield from self.look(self._timeout)

    def _read(self, datagram: hub.Datagram) -> Found | None:
        try:
            answer = parse_answer(datagram.data, self._nonce)
            if answer.kind is Kind.REFUSAL:
                self._note_refusal(datagram.host, answer.text)
                return None
            uri = parse_address(answer.text, datagram.host)
        except RemoteProtocolError as exc:
            self._ignored += 1
            if self._ignored == 1:
                self._tell(f"ignoring a message of {datagram.host}: {escape_controls(str(exc))}")
            return None
        if str(uri) in self._seen:
            return None
        self._seen.add(str(uri))
        for target in self._targets:
            self.problems.pop(f"broadcast to {target}", None)
        return Found(uri, datagram.host)

    def _note_refusal(self, sender: str, text: str) -> None:
        if len(self.problems) < MAX_ANSWERS:
            self.problems[f"by broadcast at {sender}"] = f"it says {escape_controls(text[:SHOWN_LETTERS])!r}"
