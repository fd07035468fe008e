"""The first words of a connection, on both sides: who is calling, hello, challenge and proof, welcome or denial.

The server's side only carries out what its handler decides, now or later: `welcome`, `deny`, or `challenge` first.
How a caller proves itself is in `login.py`, which is loaded where somebody does.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from gpyro._version import __version__
from gpyro.errors import ConnectionClosedError, ConnectionDeniedError, RemoteProtocolError
from gpyro.wire.hello import Feature, Field, Greeting, Mechanism, build_denial, parse_denial
from gpyro.wire.native import HEADER, PREFACE, Frame, FrameType, Side, State
from gpyro.wire.sniff import Dialect, build_farewell, describe, sniff

__all__ = ["Opening"]

#: A peer that takes less in one message could be sent no error text.
MIN_PEER_LIMIT = 1024

#: What a caller without TLS hears from a port that is for TLS.
TLS_ONLY = "this port is for TLS; call it by an address that begins with PYROSSL:// (or PYROLOCSSL://)"

#: Why a connection with pickle ends before the first call.
MISMATCH = (
    "security reasons: the %s speaks pickle and the %s does not; both have to be told so, with "
    "pickle=gpyro.PickleRules(...), or neither"
)
UNPROTECTED = (
    "security reasons: pickle is spoken only where both sides have proved who they are and nobody on the way can "
    "change what is said: after a login with a passphrase or key, inside TLS with certificates on both sides, or "
    "over this user's own unix socket"
)

log = logging.getLogger("gpyro.connection")
_instance = (-1, b"")


def instance_id() -> bytes:
    """Return 16 random bytes that name this process for its life."""
    global _instance
    if _instance[0] != os.getpid():
        _instance = (os.getpid(), os.urandom(16))
    return _instance[1]


class Opening:
    """What a connection says and hears until it is ready.

    `handshake` is what a greenlet of this side waits with while somebody logs in, None where nobody does.
    """

    __slots__ = ("_connection", "_head", "_said_something", "handshake", "peer")

    def __init__(self, connection: Any, listens: bool) -> None:
        self._connection = connection
        #: What a caller has sent before it is known what it speaks; None where that is known.
        self._head: bytes | None = b"" if listens else None
        self._said_something = False
        self.handshake: Any = None
        #: What the other side has told of itself.
        self.peer: Greeting | None = None

    def __repr__(self) -> str:
        return f"<Opening, {'the peer is known' if self.peer else 'nothing heard yet'}>"

    # -- the first bytes -------------------------------------------------------------------------------------

    def is_sniffing(self) -> bool:
        """Tell whether it is not known yet what the caller speaks."""
        return self._head is not None

    def sniff(self, data: bytes) -> bytes:
        """Look at who is calling; hands the bytes on once that is known to be gpyro."""
        assert self._head is not None
        connection = self._connection
        head = self._head + data
        dialect = sniff(head)
        if dialect is Dialect.UNDECIDED:
            self._head = head
            return b""
        self._head = None
        if dialect is Dialect.NATIVE:
            return head
        log.warning("! %s: %s", connection.addr, describe(dialect))
        farewell = build_farewell(dialect)
        if farewell:
            connection.stream.write(farewell)
        connection.close_gently(RemoteProtocolError(describe(dialect)))
        return b""

    def refuse_plain(self) -> None:
        """Tell a caller without TLS, in its own language, what the port is for; TLS has no word for it."""
        tls = self._connection.stream.tls
        head = tls.first_bytes()
        if not head:
            return
        dialect = sniff(head)
        if dialect is Dialect.NATIVE:
            body = build_denial(ConnectionDeniedError.SECURITY, TLS_ONLY)
            tls.send_plain(PREFACE + HEADER.pack(FrameType.DENY, 0, 0, 0, len(body), 0) + body)
        else:
            tls.send_plain(build_farewell(dialect))

    # -- frames ----------------------------------------------------------------------------------------------

    def _greeting(self, mechanism: int = Mechanism.NONE, fields: dict[int, bytes] | None = None) -> Greeting:
        connection = self._connection
        return Greeting(
            features=connection.features,
            runs=connection.state.runs(),
            mechanism=mechanism,
            heartbeat_seconds=int(connection.tuning.heartbeat_seconds),
            max_message_bytes=connection.tuning.wire.max_message_bytes,
            instance=instance_id(),
            fields={Field.AGENT: f"gpyro/{__version__}".encode(), **(fields or {})},
        )

    def say(self, kind: FrameType, body: bytes) -> bytes:
        """Send a frame of the greeting, the first one behind the preface; returns what was sent."""
        connection = self._connection
        connection.machine.sending(kind)
        log.debug("> %s %s", kind.name, connection.addr)
        data = HEADER.pack(kind, 0, 0, 0, len(body), 0) + body
        if not self._said_something:
            self._said_something = True
            data = PREFACE + data
        connection.stream.write(data)
        return data

    def take(self, frame: Frame) -> None:
        """Deal with a frame of the greeting; runs in the hub."""
        kind, body = frame[0], bytes(frame[4])
        if kind == FrameType.HELLO:
            greeting = Greeting.parse(body)
            self.meet(greeting)
            self._connection.handler.admit(self._connection, greeting, frame)
            self._hold_undecided()
        elif kind == FrameType.CHALLENGE:
            self._be_challenged(frame)
        elif kind == FrameType.PROOF:
            self.handshake.deliver(frame)
            self._hold_undecided()
        elif kind == FrameType.WELCOME:
            self._be_welcomed(frame, body)
        else:
            code, reason = parse_denial(body)
            self._connection.close(ConnectionDeniedError(reason, code))

    def meet(self, greeting: Greeting) -> None:
        """Note what the peer says of itself.

        Raises:
            RemoteProtocolError: no conversation is possible within its limits.
        """
        if 0 < greeting.max_message_bytes < MIN_PEER_LIMIT:
            raise RemoteProtocolError(
                f"{self._connection.addr} takes messages of {greeting.max_message_bytes} bytes only, "
                f"at least {MIN_PEER_LIMIT} are needed"
            )
        self.peer = greeting

    def pickle_fault(self, known: bool = True, will_be_sealed: bool = False) -> str:
        """Say why pickle may not be spoken here as one of the sides wants; empty where nothing is wrong.

        Args:
            known: the other side has proved who it is.
            will_be_sealed: frames will be as soon as the other side has been let in.
        """
        mine = self._connection.features & Feature.PICKLE
        theirs = 0 if self.peer is None else self.peer.features & Feature.PICKLE
        if mine != theirs:
            serves = self._connection.machine.side is Side.SERVER
            return MISMATCH % (("server", "caller") if serves is bool(mine) else ("caller", "server"))
        connection = self._connection
        if not mine or (connection.stream.is_unix() and connection.is_protected()):
            return ""
        return "" if known and (will_be_sealed or connection.is_protected()) else UNPROTECTED

    def _seal(self, seals: tuple[Any, Any] | None) -> None:
        """From now on each frame has a code; TLS has its own."""
        if seals is not None and not self._connection.is_encrypted():
            self._connection.stream.seal = seals[0].sign
            self._connection.machine.expect_seals(seals[1])

    # -- the server's side -----------------------------------------------------------------------------------

    def _hold_undecided(self) -> None:
        """Leave what comes in the kernel until somebody has decided."""
        connection = self._connection
        if connection.closed_by is None and connection.machine.state is State.DECIDING:
            connection.stream.stop_reading()

    def _read_on(self) -> None:
        if not self._connection.stream.is_reading():
            self._connection.state.soon(self._connection.resume)

    def challenge(self, mechanism: int, fields: dict[int, bytes]) -> bytes:
        """Ask a caller for its proof, which `handshake.wait` returns; returns the CHALLENGE as it leaves."""
        from gpyro._connection.login import Handshake  # only some programs need the cryptography behind it

        self.handshake = Handshake(self._connection)
        data = self.say(FrameType.CHALLENGE, self._greeting(mechanism, fields).build())
        self._read_on()
        return data

    def welcome(self, body: bytes | None = None, seals: tuple[Any, Any] | None = None) -> None:
        """Let the caller in; `body` is that of a login's WELCOME, `seals` the codes for sending and receiving."""
        self.say(FrameType.WELCOME, self._greeting().build() if body is None else body)
        self.handshake = None
        self._seal(seals)
        self._read_on()

    def deny(self, code: int, reason: str) -> None:
        """Turn the caller away with one of Pyro's reasons and a text."""
        connection = self._connection
        log.info("! %s denied: %s", connection.addr, reason)
        if connection.closed_by is None:
            self.say(FrameType.DENY, build_denial(code, reason))
            connection.close_gently(ConnectionDeniedError(reason, code))

    def break_off(self, reason: str) -> None:
        """End a conversation that has not got beyond its first words, as well as that can be said there."""
        connection = self._connection
        if connection.machine.may_send(FrameType.DENY):
            self.deny(ConnectionDeniedError.UNSPECIFIED, reason)
        else:
            connection.close(ConnectionClosedError(f"connection lost: {reason}"))

    # -- the client's side -----------------------------------------------------------------------------------

    def hello(self, mechanism: int = Mechanism.NONE, fields: dict[int, bytes] | None = None) -> bytes:
        """Send the HELLO; returns it as it leaves."""
        return self.say(FrameType.HELLO, self._greeting(mechanism, fields).build())

    def check_certificate(self, credentials: Any) -> None:
        """Let the proxy's validator look at the server's certificate.

        Raises:
            ConnectionDeniedError: it does not accept it; and whatever the validator raises.
        """
        connection = self._connection
        try:
            if credentials.refuses(connection.certificate):
                raise ConnectionDeniedError(
                    "security reasons: this proxy's validator does not accept the certificate of "
                    f"{connection.addr}", ConnectionDeniedError.SECURITY,
                )  # fmt: skip
        except BaseException:
            connection.close()
            raise

    def log_in(self, credentials: Any, uri: Any, until: float | None) -> None:
        """Say hello and log in, in the greenlet that opens the connection; see `login.log_in`."""
        from gpyro._connection.login import Handshake, log_in  # as in `challenge`

        self.handshake = Handshake(self._connection)
        log_in(self._connection, credentials, uri, until)

    def _be_challenged(self, frame: Frame) -> None:
        if self.handshake is None:
            self._connection.close(ConnectionDeniedError(
                "security reasons: the server asks for an identification, and this proxy has none "
                "(_setIdentification)", ConnectionDeniedError.SECURITY,
            ))  # fmt: skip
        else:
            self.handshake.deliver(frame)

    def _be_welcomed(self, frame: Frame, body: bytes) -> None:
        """The server lets us in; after a login it has to prove itself with the same frame."""
        handshake = self.handshake
        if handshake is None:
            self.meet(Greeting.parse(body))
        else:
            # Whatever else is wrong with it ends the connection, which wakes the greenlet that waits.
            try:
                self._seal(handshake.check_welcome(body))
            except ConnectionDeniedError as exc:
                log.warning("! %s: %s", self._connection.addr, exc)
                self._connection.close(exc)
            self.handshake = None
            handshake.deliver(frame)
        self._connection.calls.ready()
