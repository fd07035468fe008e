"""Finding a name server by UDP: the messages, who decides about them, and the server that answers.

    question   "gpNS", version, 1 location or 2 shutdown, 16 random bytes, zeros up to 548 bytes
    answer     "gpNS", version, 3 address or 4 refusal, the question's random bytes, text in UTF-8

Anybody can send either, with any sender's address on it, so two rules hold. An answer has the question's random
bytes, which only those know who heard the question. And it is never larger than the question, so that nobody who
forges addresses gets more out of a name server than he puts in; a question too small for its answer gets none.
What an answer says is a hint where to look, and no more.

Pyro sends the bare words "location" and "shutdown", and shuts down; here that is always refused.
Source: Pyro 3 manual, chapter 5 and chapter 9; the plugins' example of Pyro 3.16, transcript A5.
"""

from __future__ import annotations

import enum
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from gpyro import hub
from gpyro.errors import RemoteProtocolError, URIError
from gpyro.log import Log
from gpyro.uri import PyroURI

__all__ = [
    "LOCATION", "NONCE_BYTES", "QUESTION_BYTES", "SHUTDOWN", "Answer", "AnswerRate", "BCReqValidator",
    "BroadcastServer", "Kind", "Question", "build_answer", "build_question", "is_this_machine", "parse_address",
    "parse_answer", "parse_question",
]  # fmt: skip

MAGIC = b"gpNS"
VERSION = 1
#: As in the login: enough that nobody guesses it.
NONCE_BYTES = 16
HEADER = struct.Struct(f"!4sBB{NONCE_BYTES}s")
#: Every host takes a packet of 576 bytes in one piece (RFC 791, section 3.1); IP and UDP have 28 of them. The
#: longest address of a name server, 525 bytes, fits into the answer.
QUESTION_BYTES = 548

#: Pyro's words for the two questions, as validators get them. Source: Pyro 3.16, transcript A5.
LOCATION, SHUTDOWN = "location", "shutdown"
#: Source: Pyro 3.16, transcript A4.
DENIED = "Shutdown request denied"

#: Answers in one second, to all: a segment of a hundred machines that start together is served at once, and
#: whoever forges addresses gets 54 KB/s at most thrown at somebody.
ANSWERS_PER_SECOND = 100
#: Answers in one second to one address: a machine on which this many programs start together.
ANSWERS_PER_SOURCE = 25
#: Questions that wait for a validator which itself waits; more are dropped, and asked again.
MAX_WAITING = 64
#: Seconds that a validator may take for one question: askers have given up by then.
VALIDATOR_SECONDS = 5.0
#: Seconds between two lines about the same in the log; a flood shall not fill it.
LOG_SECONDS = 10.0

#: What a server that is bound to all addresses has in its own; the sender of the answer stands for it.
WILDCARDS = ("0.0.0.0", "::")


# -- messages --------------------------------------------------------------------------------------------------


class Kind(enum.IntEnum):
    """What a message is."""

    LOCATION = 1
    SHUTDOWN = 2
    ADDRESS = 3
    REFUSAL = 4


COMMANDS = {Kind.LOCATION: LOCATION, Kind.SHUTDOWN: SHUTDOWN}


class Question(NamedTuple):
    """What somebody wants to know; `size` is what the answer may have."""

    kind: Kind
    nonce: bytes
    size: int


class Answer(NamedTuple):
    """What somebody says."""

    kind: Kind
    text: str


def build_question(kind: Kind, nonce: bytes) -> bytes:
    """Return the bytes of a question, padded so that every answer is smaller."""
    return HEADER.pack(MAGIC, VERSION, kind, nonce).ljust(QUESTION_BYTES, b"\0")


def parse_question(data: bytes) -> Question:
    """Return the question.

    Raises:
        RemoteProtocolError: it is none.
    """
    kind, nonce = _parse_header(data)
    if kind not in COMMANDS:
        raise RemoteProtocolError(f"broadcast message of kind {kind:d} is no question")
    if any(data[HEADER.size :]):
        raise RemoteProtocolError("broadcast question has something after its end, only zeros may follow")
    return Question(kind, nonce, len(data))


def build_answer(question: Question, kind: Kind, text: str) -> bytes | None:
    """Return the bytes of an answer, None if it would be larger than the question."""
    answer = HEADER.pack(MAGIC, VERSION, kind, question.nonce) + text.encode()
    return answer if len(answer) <= question.size else None


def parse_answer(data: bytes, nonce: bytes) -> Answer:
    """Return the answer to the question that had this nonce.

    Raises:
        RemoteProtocolError: it is none.
    """
    kind, echoed = _parse_header(data)
    if kind in COMMANDS:
        raise RemoteProtocolError(f"broadcast message of kind {kind:d} is no answer")
    if echoed != nonce:
        raise RemoteProtocolError("broadcast answer is to another question")
    try:
        return Answer(kind, data[HEADER.size :].decode())
    except UnicodeDecodeError as exc:
        raise RemoteProtocolError(f"broadcast answer is not text: {exc.reason}") from exc


def _parse_header(data: bytes) -> tuple[Kind, bytes]:
    if not HEADER.size <= len(data) <= hub.MAX_DATAGRAM_BYTES:
        raise RemoteProtocolError(
            f"broadcast message has {len(data)} bytes, they have {HEADER.size} to {hub.MAX_DATAGRAM_BYTES}"
        )
    magic, version, kind, nonce = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise RemoteProtocolError(f"broadcast message begins with {magic!r}, gpyro's begin with {MAGIC!r}")
    if version != VERSION:
        raise RemoteProtocolError(f"broadcast message has version {version}, this side speaks {VERSION}")
    try:
        return Kind(kind), nonce
    except ValueError:
        raise RemoteProtocolError(f"broadcast message has unknown kind {kind}") from None


def parse_address(text: str, sender: str) -> PyroURI:
    """Return the address that an answer gives, as its asker can use it.

    Args:
        text: what the answer says.
        sender: where it came from, which stands in for an address like 0.0.0.0.

    Raises:
        RemoteProtocolError: that is no address of a name server, or one of this machine that others told of.
    """
    try:
        uri = PyroURI(text)
        if uri.protocol not in ("PYRO", "PYROSSL") or uri.is_unix:
            raise RemoteProtocolError(f"broadcast answer names {text!r}, which is no address of a name server")
        if uri.address in WILDCARDS:
            uri = PyroURI(sender, uri.objectID, uri.port, uri.protocol)
    except URIError as exc:
        raise RemoteProtocolError(f"broadcast answer is no address: {exc}") from exc
    if is_this_machine(uri.address) and not is_this_machine(sender):
        raise RemoteProtocolError(f"broadcast answer of {sender} names {text!r}, which is the asker's own machine")
    return uri


def is_this_machine(host: str) -> bool:
    """Tell whether a host in an address leads each machine to itself."""
    return host == "localhost" or hub.is_loopback(host)


# -- who decides -----------------------------------------------------------------------------------------------


class BCReqValidator:
    """Decides about questions that come by broadcast; the base lets everybody know where the name server is.

    A subclass may override `acceptLocationCmd` and `acceptShutdownCmd`. `self.addr` is who asks, (host, port), and
    may be forged; `self.reply(text)` says something where there is no other answer. One question comes at a time,
    in a greenlet of its own, so a validator may wait, for VALIDATOR_SECONDS; those that ask meanwhile wait too.
    One that raises is logged, and means no. Whatever `acceptShutdownCmd` returns, the name server does not shut
    down because of a datagram.

    Source: Pyro 3 manual, chapter 9.
    """

    addr: Any = None
    sock: Any = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __call__(self, req: Any, addr: Any) -> Any:
        """Decide; `req` is the command's name and what has `sendto(text, addr)`, as in Pyro."""
        command, self.sock = req
        self.addr = addr
        if command == LOCATION:
            return self.acceptLocationCmd()
        return self.acceptShutdownCmd() if command == SHUTDOWN else 0

    def reply(self, msg: str | bytes) -> None:
        """Say something to who asks; what does not fit into the answer is cut off."""
        self.sock.sendto(msg, self.addr)

    def acceptLocationCmd(self) -> Any:
        """Return 1 to tell where the name server is, 0 to keep silent."""
        return 1

    def acceptShutdownCmd(self) -> Any:
        """Return 1 or 0; either way the shutdown is refused."""
        return 1


class _Reply:
    """What a validator replies with: kept until it is known whether there is another answer."""

    def __init__(self) -> None:
        self.text: str | None = None

    def sendto(self, msg: str | bytes, addr: object) -> None:
        """Take the text; it goes to who has asked, and to nobody else."""
        self.text = msg.decode(errors="replace") if isinstance(msg, bytes) else str(msg)


class AnswerRate:
    """Counts answers, so that a second has no more of them than may be."""

    def __init__(self, per_second: int = ANSWERS_PER_SECOND, per_source: int = ANSWERS_PER_SOURCE) -> None:
        self._per_second = per_second
        self._per_source = per_source
        self._until = 0.0
        self._count = 0
        self._sources: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<AnswerRate {self._count} of {self._per_second} in this second, {len(self._sources)} sources>"

    def allows(self, source: str, now: float) -> bool:
        """Tell whether this address may be answered now, and count it if so."""
        if now >= self._until:
            self._until, self._count = now + 1.0, 0
            self._sources.clear()
        seen = self._sources.get(source, 0)
        if self._count >= self._per_second or seen >= self._per_source:
            return False
        self._count += 1
        self._sources[source] = seen + 1
        return True


# -- the server ------------------------------------------------------------------------------------------------


class BroadcastServer:
    """Tells whoever asks by broadcast where a name server is.

    Args:
        uri: the name server's address. One of this machine alone is told to this machine only.
        host: the address to hear on; "" is every one.
        port: 0 is a free one.
        validator: who decides; None answers everybody.
        shared: let other servers that say so have the same port.

    Resources: the owner closes it, from any thread; it also ends with the hub that it was started in. It has its
    port from the beginning, and answers from `start` on.
    Errors: what comes and is no question gets no answer; an answer that cannot be sent is noted in the log.

    Raises:
        OSError: the port is taken, or the address is not ours.
        ProtocolError: the host is unknown, or no IPv4 address.
    """

    def __init__(
        self, uri: PyroURI, host: str = "", port: int = 0, validator: BCReqValidator | None = None, *,
        shared: bool = False,
    ) -> None:  # fmt: skip
        self.uri = uri
        self.validator = BCReqValidator() if validator is None else validator
        self._endpoint = hub.serve_udp(host or WILDCARDS[0], port, shared=shared)
        self._rate = AnswerRate()
        self._waiting: deque[tuple[Question, hub.Datagram]] = deque()
        self._working = False
        self._started = self._closed = False
        self.answered = self.refused = self.dropped = 0
        self._logged: dict[str, float] = {}

    def __repr__(self) -> str:
        state = "closed" if self._closed else "listening" if self._started else "not started"
        counts = f"{self.answered} answered, {self.refused} refused, {self.dropped} dropped"
        return f"<BroadcastServer {self.host}:{self.port}, {state}, {counts}>"

    @property
    def host(self) -> str:
        """The numeric address that it hears on."""
        return self._endpoint.host

    @property
    def port(self) -> int:
        """The UDP port that it hears on."""
        return self._endpoint.port

    def start(self) -> None:
        """Answer from now on, in this thread's hub; harmless when repeated."""
        if not self._started and not self._closed:
            self._started = True
            self._endpoint.deliver(self._on_datagram)

    def close(self) -> None:
        """Stop answering; safe from any thread."""
        self._closed = True
        self._endpoint.close()

    def _on_datagram(self, datagram: hub.Datagram) -> None:
        if self._closed:
            return
        try:
            question = parse_question(datagram.data)
        except RemoteProtocolError as exc:
            self.dropped += 1
            self._log_seldom("garbage", Log.msg, f"no answer to {datagram.host}: {exc}")
            return
        if len(self._waiting) >= MAX_WAITING or not self._rate.allows(datagram.host, time.monotonic()):
            self.dropped += 1
            self._log_seldom(
                "flood", Log.warn, f"too many questions, the last from {datagram.host}; some get no answer "
                f"({ANSWERS_PER_SECOND} a second are answered, {ANSWERS_PER_SOURCE} of one address)",
            )  # fmt: skip
            return
        self._waiting.append((question, datagram))
        if not self._working:
            self._working = True
            hub.spawn_in(hub.current_state(), self._work)

    def _work(self) -> None:
        """Deal with the questions, one after another: a validator has the asker in an attribute."""
        try:
            while self._waiting and not self._closed:
                self._deal_with(*self._waiting.popleft())
        finally:
            self._working = False

    def _deal_with(self, question: Question, datagram: hub.Datagram) -> None:
        reply = _Reply()
        accepted = self._ask_validator(COMMANDS[question.kind], reply, (datagram.host, datagram.port))
        if question.kind is Kind.SHUTDOWN:
            self.refused += 1
            self._log_seldom("shutdown", Log.warn, f"shutdown request from {datagram.host} refused")
            self._answer(question, datagram, Kind.REFUSAL, DENIED if reply.text is None else reply.text)
        elif not accepted:
            self.refused += 1
            self._log_seldom("location", Log.msg, f"{datagram.host} is not told where the name server is")
            if reply.text is not None:
                self._answer(question, datagram, Kind.REFUSAL, reply.text)
        elif is_this_machine(self.uri.address) and not is_this_machine(datagram.host):
            self.dropped += 1
        elif self._answer(question, datagram, Kind.ADDRESS, str(self.uri)):
            self.answered += 1

    def _ask_validator(self, command: str, reply: _Reply, addr: tuple[str, int]) -> bool:
        try:
            with hub.Timeout(VALIDATOR_SECONDS):
                answer = self.validator((command, reply), addr)
        except (Exception, hub.Timeout) as exc:
            Log.error("BroadcastServer", f"{self.validator!r} failed for {command} of {addr[0]}, so no: {exc!r}")
            return False
        # A pair, as validators of connections return it, is no yes.
        return isinstance(answer, int) and bool(answer)

    def _answer(self, question: Question, datagram: hub.Datagram, kind: Kind, text: str) -> bool:
        if kind is Kind.REFUSAL:
            text = _cut(text, question.size - HEADER.size)
        answer = build_answer(question, kind, text)
        if answer is None:
            self.dropped += 1
            self._log_seldom("small", Log.msg, f"no answer to {datagram.host}: {question.size} bytes are too few")
            return False
        try:
            return self._endpoint.send(answer, datagram.host, datagram.port)
        except OSError as exc:
            self._log_seldom("send", Log.warn, f"the answer to {datagram.host} cannot be sent: {exc.strerror}")
            return False

    def _log_seldom(self, what: str, log: Callable[..., object], text: str) -> None:
        now = time.monotonic()
        if now >= self._logged.get(what, 0.0):
            self._logged[what] = now + LOG_SECONDS
            log("BroadcastServer", text)


def _cut(text: str, size: int) -> str:
    """Return what of the text has at most `size` bytes."""
    return text.encode(errors="replace")[: max(size, 0)].decode(errors="ignore")
