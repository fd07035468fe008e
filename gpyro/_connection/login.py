"""How a connection logs in: the caller's side in the greenlet that opens it, the frames that both sides wait for.

The messages are `wire/login.py`'s. Only the server's last word is checked in the hub, in the same turn in which
it is read, because the frames behind it are sealed already. A passphrase is salted in a native thread: that takes
35 ms.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from gpyro import hub
from gpyro._connection.calling import NotStarted, Waiting
from gpyro.auth import Credentials, Means, Seal
from gpyro.errors import ConnectionClosedError, ConnectionDeniedError, TimeoutError
from gpyro.wire.hello import Greeting, Mechanism
from gpyro.wire.login import ClientLogin, build_token, parse_challenge, raw_opening
from gpyro.wire.native import Frame, FrameType

__all__ = ["UNWANTED", "Handshake", "log_in"]

#: Salted keys that are kept for the next connection; each stands for one passphrase at one server.
KEPT_KEYS = 100

_salted: OrderedDict[tuple[bytes, bytes, bytes], bytes] = OrderedDict()

#: Why a server that lets us in without a login is left at once.
UNWANTED = (
    "security reasons: the server does not authenticate its callers, so it cannot prove who it is either; no call "
    "was sent. Take the identification away from this proxy, or let that daemon have setAllowedIdentifications"
)


class Handshake:
    """The frame that a greenlet waits for while a connection logs in.

    `check` takes the body of the WELCOME, and returns the codes for sending and receiving, or None for neither.
    """

    __slots__ = ("_connection", "_frame", "_waiting", "check")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._frame: Frame | None = None
        self._waiting: Waiting | None = None
        self.check: Callable[[bytes], tuple[Seal, Seal] | None] | None = None

    def __repr__(self) -> str:
        return f"<Handshake {'waited for' if self._waiting else 'idle'}>"

    def check_welcome(self, body: bytes) -> tuple[Seal, Seal] | None:
        """Look at the server's last word; runs in the hub.

        Raises:
            ConnectionDeniedError: it lets us in without the login that we wanted, or cannot prove who it is.
        """
        if self.check is None:
            raise ConnectionDeniedError(UNWANTED, ConnectionDeniedError.SECURITY)
        return self.check(body)

    def deliver(self, frame: Frame) -> None:
        """Hand over what came, and let the greenlet go on with it at once; runs in the hub."""
        self._frame = frame
        if self._waiting is not None:
            self._waiting.wake()

    def wake(self) -> None:
        """Let the greenlet look: there is a frame, or the connection has ended."""
        if self._waiting is not None:
            self._connection.state.soon(self._waiting.wake)

    def wait(self, until: float | None = None) -> Frame:
        """Return the next frame of the login; `until` is on the monotonic clock.

        Raises:
            ProtocolError and its kind: the connection has ended, in whatever way. TimeoutError: the time is over.
        """
        connection = self._connection
        self._waiting = Waiting(hub.getcurrent())
        timer = None
        if until is not None:
            timer = connection.state.later(until - time.monotonic(), self._waiting.wake)
        connection.stream.hold_loop(True)
        try:
            while self._frame is None and connection.closed_by is None and not _is_over(until):
                connection.state.hub.switch()
        finally:
            self._waiting.greenlet = None
            self._waiting = None
            if timer is not None:
                timer.cancel()
            connection.stream.hold_loop(False)
        frame, self._frame = self._frame, None
        if frame is None or connection.closed_by is not None:
            raise _ended(connection)
        return frame


def _is_over(until: float | None) -> bool:
    return until is not None and until <= time.monotonic()


def _ended(connection: Any) -> Exception:
    if connection.closed_by is None:
        return TimeoutError(f"{connection.addr} did not finish the login in time", maybe_executed=False)
    error: Exception = connection.closed_error(maybe_executed=False)
    if isinstance(error, NotStarted):
        # Who opens a connection tries no other one by itself.
        return ConnectionClosedError(str(error))
    return error


def log_in(connection: Any, credentials: Any, uri: Any, until: float | None) -> None:
    """Say hello and log in, in the greenlet that opens the connection; no call leaves before it returns.

    Without credentials it only waits for the WELCOME: who speaks pickle has to see that the other side does.

    Raises:
        ConnectionDeniedError: the server does not let us in, or cannot prove who it is.
        ProtocolError and its kind: the connection has ended. TimeoutError: the time is over.
    """
    try:
        means = Means.NONE if credentials is None else credentials.means()
        if means is Means.CUSTOM:
            _log_in_with_token(connection, credentials, uri, until)
        elif means is Means.LOGIN:
            _log_in_with_secret(connection, credentials, until)
        else:
            _wait_for_welcome(connection, until)
        _check_pickle(connection)
    except BaseException as exc:
        connection.close(exc if isinstance(exc, Exception) else None)
        raise


def _log_in_with_secret(connection: Any, credentials: Credentials, until: float | None) -> None:
    login = ClientLogin(credentials.ident, connection.binding())
    hello = connection.opening.hello(Mechanism.GPYRO_AUTH_1, login.hello_fields())
    frame = connection.opening.handshake.wait(until)
    greeting = Greeting.parse(bytes(frame[4]))
    connection.opening.meet(greeting)
    login.read_challenge(greeting)
    proof = login.build_proof(hello, raw_opening(frame), _salted_key(login, credentials))
    _prove(connection, proof, login.check_welcome, until)


def _log_in_with_token(connection: Any, credentials: Credentials, uri: Any, until: float | None) -> None:
    if not connection.is_local() and connection.stream.tls is None:
        raise ConnectionDeniedError(
            f"security reasons: a validator's own token is not sent to {connection.addr} without TLS, since "
            "everybody on the way could read it; use a PYROSSL address",
            ConnectionDeniedError.SECURITY,
        )
    connection.opening.hello(Mechanism.CUSTOM, {})
    frame = connection.opening.handshake.wait(until)
    greeting = Greeting.parse(bytes(frame[4]))
    connection.opening.meet(greeting)
    token = credentials.token(parse_challenge(greeting), connection.addr, uri)
    _prove(connection, build_token(token), lambda body: None, until)


def _wait_for_welcome(connection: Any, until: float | None) -> None:
    handshake = connection.opening.handshake

    def check(body: bytes) -> None:
        connection.opening.meet(Greeting.parse(body))

    handshake.check = check
    connection.opening.hello()
    handshake.wait(until)


def _check_pickle(connection: Any) -> None:
    fault = connection.opening.pickle_fault()
    if fault:
        raise ConnectionDeniedError(fault, ConnectionDeniedError.SECURITY)


def _prove(
    connection: Any, proof: bytes, check: Callable[[bytes], tuple[Seal, Seal] | None], until: float | None
) -> None:
    if connection.closed_by is not None:
        raise _ended(connection)
    handshake = connection.opening.handshake
    handshake.check = check
    connection.opening.say(FrameType.PROOF, proof)
    handshake.wait(until)


def _salted_key(login: ClientLogin, credentials: Credentials) -> bytes:
    """Return what the proof is made with; a passphrase is salted once for each server."""
    if login.kdf is None:
        return login.salted_key()
    # Not the passphrase itself, which shall not outlive the proxy in one more place.
    secret = credentials.ident if isinstance(credentials.ident, bytes) else str(credentials.ident).encode()
    place = (sha256(secret + login.salt).digest(), login.salt, login.kdf.pack())
    key = _salted.get(place)
    if key is None:
        key = hub.compute(login.salted_key)
        _salted[place] = key
        while len(_salted) > KEPT_KEYS:
            _salted.popitem(last=False)
    return key
