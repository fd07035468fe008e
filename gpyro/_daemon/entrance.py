"""The entrance of a daemon: who may knock, who has to identify himself, and who is let in.

Without a validator a caller is let in, or told that it is not, in the turn of the loop that reads its HELLO. With
one, a greenlet of its own deals with each new connection: the validator's methods may wait, and a login takes a
round trip. It ends with the connection, which the handshake's deadline ends if nothing else does.

A flood of callers that say nothing meets `has_room`: the slots for those who are not known yet are few, and who
has said nothing for a tenth of a second while others wait loses his. Who is in the middle of a login keeps his
longer. The more there are that wait, the sooner either goes, so that nobody waits long outside; but not before the
loop has heard what he had to say. An address that has its share of the slots waits in the lobby.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from gpyro import hub
from gpyro._daemon.lobby import Lobby
from gpyro._daemon.sources import Sources, source_of
from gpyro.access import describe_caller
from gpyro.configuration import Settings
from gpyro.connection import Connection
from gpyro.errors import ConnectionClosedError, ConnectionDeniedError, ProtocolError, RemoteProtocolError
from gpyro.log import Log
from gpyro.wire.hello import Greeting, Mechanism
from gpyro.wire.native import Frame

if TYPE_CHECKING:
    from gpyro._daemon.accounts import AccountBook
    from gpyro.auth import DefaultConnValidator, Identifications

__all__ = ["Entrance"]

#: Seconds in which a caller has to say something, and to get on with its login, while others wait for its slot.
SILENT_SECONDS, LOGIN_SECONDS = 0.1, 1.0
#: Seconds in which all who wait outside should get a slot, by which patience shrinks; and the least patience, in
#: seconds and turns of the loop: enough for a login on a busy machine, whose messages come a turn apart.
QUEUE_SECONDS, LEAST_SECONDS, LEAST_TURNS = 0.05, 0.02, 4
#: The least patience with somebody who is logging in: his passphrase has to be salted, and he may live far away.
LEAST_LOGIN_SECONDS = 0.25
#: Seconds between two lines about failed logins.
TELL_SECONDS = 1.0
#: Seconds between two looks into the lobby, and how many it holds.
LOBBY_SECONDS, LOBBY_PLACES = 0.02, 1000

CHANGED = "security reasons: who is let in has just been changed; try again"
UNKNOWN = "security reasons: the identification was not accepted"
OPEN = (
    "security reasons: this server does not authenticate its callers, and the caller has an identification, so it "
    "insists on that; let the daemon have setAllowedIdentifications, or take the identification from the proxy"
)
WANTED = {
    Mechanism.GPYRO_AUTH_1: "security reasons: this server wants an identification, a passphrase or a key "
    "(_setIdentification; for a name server NameServerLocator(identification); for commands -i or "
    "--identification-file)",
    Mechanism.CUSTOM: "security reasons: this server's validator wants a token of its own "
    "(_setNewConnectionValidator)",
}

log = logging.getLogger("gpyro.entrance")


class Entrance:
    """Decides about each new connection of one daemon.

    `daemon` returns what validators get as the daemon; `refusal` says why nobody can be let in now; `take_in`
    makes a connection of a socket.

    Resources: `close` closes those who wait in the lobby.
    """

    def __init__(
        self, settings: Settings, daemon: Callable[[], Any],
        refusal: Callable[[Connection], tuple[int, str] | None], take_in: Callable[[Any], object],
        places: int = LOBBY_PLACES,
    ) -> None:  # fmt: skip
        self._daemon = daemon
        self._take_in = take_in
        self._refusal = refusal
        self._settings = settings
        self.validator: DefaultConnValidator | None = None
        #: Roles by identity.
        self.roles: dict[str, frozenset[str]] = {}
        self._book: AccountBook | None = None
        #: Failed logins since the log was last told, and when that was.
        self._untold, self._told_at = 0, -TELL_SECONDS
        #: Greenlets in which a validator is being asked.
        self._asking = 0
        #: Who is not let in yet, with time and turn of the loop of the arrival, oldest first.
        self._waiting: dict[Connection, tuple[float, int]] = {}
        self._lobby = Lobby(min(LOBBY_PLACES, places), settings.handshake_timeout_seconds)
        self._lobby_timer: hub.Timer | None = None
        self.sources = Sources(
            settings.max_failed_logins, settings.block_seconds, settings.max_sources,
            settings.max_connections_per_source, settings.max_unauthenticated_per_source,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Entrance, {self.validator or 'open'}, {len(self._waiting)} not let in yet>"

    # -- before a word is said -------------------------------------------------------------------------------

    def has_room(self, waiting: Callable[[], int] = lambda: 0) -> bool:
        """Tell whether one more may come in to say who it is; makes room for it where somebody dawdles.

        Args:
            waiting: returns how many wait outside.
        """
        limit = self._settings.max_unauthenticated
        if len(self._waiting) >= limit:
            self._end_dawdlers(limit, waiting())
        # A validator that hangs must not gather greenlets of callers that have left.
        return len(self._waiting) < limit and self._asking < limit

    def _end_dawdlers(self, limit: int, waiting: int, source: str | None = None) -> None:
        """End who takes too long while others wait for one of `limit` slots, of one address if it is given."""
        patience = max(limit * QUEUE_SECONDS / max(waiting, 1), LEAST_SECONDS)
        silent = min(SILENT_SECONDS, patience)
        login = min(LOGIN_SECONDS, max(patience, LEAST_LOGIN_SECONDS))
        now = time.monotonic()
        for connection, (since, turn) in list(self._waiting.items()):
            if now - since <= silent:
                break
            if source is not None and _source(connection) != source:
                continue
            is_late = connection.peer is None or now - since > login
            if is_late and connection.state.turns() - turn >= LEAST_TURNS:
                item = "max_unauthenticated" if source is None else "max_unauthenticated_per_source"
                connection.close(ConnectionClosedError(
                    f"connection lost: {limit} callers are not let in yet ({item}), and this one dawdled"
                ))  # fmt: skip

    def receive(self, sock: Any, host: str, state: hub.HubState) -> None:
        """Deal with a socket that was accepted: it comes in, waits in the lobby, or is closed without a word."""
        if not self._is_rationed(host):
            self._take_in(sock)
            return
        source, now = source_of(host), time.monotonic()
        if self.sources.is_blocked(source, now):
            sock.close()
        elif not self.sources.has_share(source) and not self._lobby.has(source):
            self._take_in(sock)
        elif self._lobby.take(source, sock, now):
            self._watch_lobby(state)
        else:
            log.warning("%s has no place in the lobby, where %d wait already", host, len(self._lobby))
            sock.close()

    def is_called_upon(self) -> bool:
        """Tell whether somebody waits for something that no socket tells of: a timer, or a validator's own."""
        return len(self._lobby) > 0 or self._asking > 0

    def _watch_lobby(self, state: hub.HubState) -> None:
        if self._lobby_timer is None:
            self._lobby_timer = state.later(LOBBY_SECONDS, self._look_into_lobby, state)

    def _look_into_lobby(self, state: hub.HubState) -> None:
        self._lobby_timer = None
        for source, late in self._lobby.end_late(time.monotonic()).items():
            log.warning(
                "%d callers from %s waited in vain for a slot (max_unauthenticated_per_source)", late, source
            )
        for source, waiting in self._lobby.counts().items():
            if self.sources.has_share(source):
                self._end_dawdlers(self._settings.max_unauthenticated_per_source, waiting, source)
        try:
            self._lobby.call_in(lambda source: not self.sources.has_share(source) and self.has_room(), self._enter)
        finally:
            if len(self._lobby):
                self._watch_lobby(state)

    def _enter(self, sock: Any) -> None:
        try:
            self._take_in(sock)
        except Exception:
            log.exception("a caller from the lobby could not be taken in")
            sock.close()

    def close(self) -> None:
        """Nobody is let in any more."""
        if self._lobby_timer is not None:
            self._lobby_timer.cancel()
            self._lobby_timer = None
        self._lobby.close()

    def abandon(self) -> None:
        """This is a forked child: those who wait are the parent's."""
        self._lobby_timer = None
        self._lobby.close()

    def _is_rationed(self, host: str) -> bool:
        return bool(host) and (self._settings.ration_loopback or not hub.is_loopback(host))

    def arrived(self, connection: Connection) -> None:
        """A connection has begun."""
        self._waiting[connection] = time.monotonic(), connection.state.turns()
        self.sources.arrived(_source(connection))

    def left(self, connection: Connection) -> None:
        """A connection has ended."""
        waited = self._waiting.pop(connection, None) is not None
        self.sources.left(_source(connection), not waited)

    # -- letting in ------------------------------------------------------------------------------------------

    def admit(self, connection: Connection, greeting: Greeting, hello: Frame) -> None:
        """Decide about a caller that has said hello; with a validator, soon."""
        refusal = self._refusal(connection) or self._refuse_source(connection)
        if self._is_shut_out(connection):
            return
        if refusal is not None:
            connection.opening.deny(*refusal)
        elif self.validator is not None:
            connection.state.run_worker(lambda: self._receive(connection, greeting, hello))
        elif greeting.mechanism != Mechanism.NONE:
            connection.opening.deny(ConnectionDeniedError.SECURITY, OPEN)
        else:
            self._let_in(connection)

    def _refuse_source(self, connection: Connection) -> tuple[int, str] | None:
        if not self._is_rationed(_host(connection)) or not self.sources.has_too_many(_source(connection)):
            return None
        return ConnectionDeniedError.SERVERTOOBUSY, (
            f"server too busy: {self._settings.max_connections_per_source} connections of this caller's address "
            "are open (max_connections_per_source)"
        )

    def _let_in(self, connection: Connection, body: bytes | None = None, seals: Any = None) -> None:
        if connection.closed_by is not None:
            return
        certified = connection.certified_identity()
        if connection.identity is None:
            connection.identity = certified
        known = {_checked_identity(name) for name in (connection.identity, certified) if name is not None}
        roles = _checked_roles(connection.roles).union(*(self.roles.get(name, ()) for name in known))
        connection.roles = frozenset(roles)
        connection.principals = frozenset({"*", *known, *roles})
        fault = connection.opening.pickle_fault(connection.identity is not None, will_be_sealed=seals is not None)
        if fault:
            connection.opening.deny(ConnectionDeniedError.SECURITY, fault)
            return
        if self._waiting.pop(connection, None) is not None:
            self.sources.admitted(_source(connection))
        if known:
            log.info("= %s is %s", connection.addr, describe_caller(connection.identity, connection.principals))
        connection.opening.welcome(body, seals)

    def _receive(self, connection: Connection, greeting: Greeting, hello: Frame) -> bool:
        """Let a validator decide; in a greenlet of its own, which may be used again afterwards."""
        self._asking += 1
        try:
            self._ask(connection, greeting, hello)
        except RemoteProtocolError as exc:
            log.warning("! %s: %s", connection.addr, exc)
            connection.close(exc)
        except ProtocolError as exc:
            # It has ended meanwhile, and that is known.
            log.debug("%s did not log in: %s", connection.addr, exc)
        except BaseException as exc:
            log.exception("the validator failed for %s, which is denied", connection.addr)
            connection.opening.break_off("unspecified reason: the server's validator failed")
            if not isinstance(exc, (Exception, hub.Timeout)):
                raise
        finally:
            self._asking -= 1
            connection.login = None
        return True

    def _ask(self, connection: Connection, greeting: Greeting, hello: Frame) -> None:
        from gpyro.auth import Means  # loaded with the validator

        validator = self.validator
        assert validator is not None
        if not self._agrees(connection, validator.acceptHost(self._daemon(), connection)):
            return
        means = validator.means()
        wanted = {Means.LOGIN: Mechanism.GPYRO_AUTH_1, Means.CUSTOM: Mechanism.CUSTOM}.get(means, Mechanism.NONE)
        if greeting.mechanism != wanted:
            connection.opening.deny(ConnectionDeniedError.SECURITY, WANTED.get(wanted, OPEN))
            if greeting.mechanism != Mechanism.NONE:
                self._count_failure(connection)
        elif means is Means.LOGIN:
            self._log_in(connection, validator, greeting, hello)
        elif means is Means.CUSTOM:
            self._take_token(connection, validator)
        else:
            self._let_in(connection)

    def _agrees(self, connection: Connection, answer: Any) -> bool:
        """Deny where a validator's answer, (1, 0) or (0, reason code), says so."""
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise ValueError(f"the validator returned {answer!r}; it has to be (1, 0), or (0, reason code)")
        accepted, code = answer
        if not accepted:
            reason = ConnectionDeniedError.REASONS.get(code, ConnectionDeniedError.REASONS[0])
            connection.opening.deny(code if code in ConnectionDeniedError.REASONS else 0, reason)
        return bool(accepted)

    def _log_in(
        self, connection: Connection, validator: DefaultConnValidator, greeting: Greeting, hello: Frame
    ) -> None:
        from gpyro.wire.login import ServerLogin, parse_proof, raw_opening

        assert validator.identifications is not None
        accounts = self._open_book().of(validator.identifications)
        login = ServerLogin(accounts, greeting, connection.binding())
        challenge = connection.opening.challenge(Mechanism.GPYRO_AUTH_1, login.challenge_fields())
        transcript = login.transcript(raw_opening(hello), challenge)
        proof = parse_proof(bytes(connection.opening.handshake.wait()[4]))
        if self._is_shut_out(connection):
            return
        if self.validator is not validator or validator.identifications is None:
            connection.opening.deny(ConnectionDeniedError.SECURITY, CHANGED)
            return
        # Anew, as somebody may have been taken out since the challenge.
        login.accounts = self._open_book().of(validator.identifications)
        connection.login = attempt = Attempt(login)
        accepted, code = validator.acceptIdentification(self._daemon(), connection, proof, transcript)
        # A validator cannot let in somebody whose proof is wrong: there would be none to give him in return.
        if not accepted or attempt.found is None:
            self._count_failure(connection)
            if not accepted and code in (1, 2):
                self._agrees(connection, (0, code))
            else:
                connection.opening.deny(ConnectionDeniedError.SECURITY, UNKNOWN)
            return
        verifier, body, sending, receiving = attempt.found
        connection.identity = verifier.id
        connection.roles = _checked_roles(connection.roles) | verifier.roles
        self._let_in(connection, body, (sending, receiving))

    def _take_token(self, connection: Connection, validator: DefaultConnValidator) -> None:
        from gpyro.wire.login import build_challenge_fields, parse_token

        if not connection.is_local() and not connection.is_encrypted():
            connection.opening.deny(
                ConnectionDeniedError.SECURITY,
                "security reasons: a validator's own token is taken beyond this machine only inside TLS (PYROSSL)",
            )
            return
        challenge = validator.createAuthChallenge(self._daemon(), connection)
        fields = build_challenge_fields(challenge)
        connection.opening.challenge(Mechanism.CUSTOM, fields)
        token = parse_token(bytes(connection.opening.handshake.wait()[4]))
        if self._is_shut_out(connection):
            return
        if self.validator is not validator:
            connection.opening.deny(ConnectionDeniedError.SECURITY, CHANGED)
            return
        answer = validator.acceptIdentification(self._daemon(), connection, token, *fields.values())
        if self._agrees(connection, answer):
            self._let_in(connection, b"")
        else:
            self._count_failure(connection)

    def _is_shut_out(self, connection: Connection) -> bool:
        """Close without a word where others from there have failed too often meanwhile."""
        host = _host(connection)
        if not self._is_rationed(host) or not self.sources.is_blocked(source_of(host), time.monotonic()):
            return False
        connection.close(ConnectionClosedError("connection lost: too many logins from there have failed"))
        return True

    def _count_failure(self, connection: Connection) -> None:
        host = _host(connection)
        self._tell_failure(connection)
        if self._is_rationed(host) and self.sources.failed(source_of(host), time.monotonic()):
            self._lobby.close_source(source_of(host))
            log.warning(
                "%s is shut out for %g s: %d logins from there have failed within a minute (max_failed_logins)",
                source_of(host), self._settings.block_seconds, self._settings.max_failed_logins,
            )  # fmt: skip

    def _tell_failure(self, connection: Connection) -> None:
        """Let an operator know, a line a second at most, however many fail."""
        who = "" if connection.login is None else connection.login.key_id
        log.info("a login from %s as %s failed", connection.addr, who or "nobody by name")
        self._untold += 1
        now = time.monotonic()
        if now - self._told_at >= TELL_SECONDS:
            others = f", the last of {self._untold} since it was last told" if self._untold > 1 else ""
            as_whom = f" as {who!r}" if who else ""
            Log.warn("Daemon", f"a login from {connection.addr}{as_whom} failed{others}")
            self._told_at, self._untold = now, 0

    # -- whom it knows ---------------------------------------------------------------------------------------

    def set_roles(self, roles: Mapping[str, Iterable[str]]) -> None:
        """Give identities their roles; holds for connections that come."""
        from gpyro.auth import check_id

        if not isinstance(roles, Mapping):
            raise TypeError(f"roles are {roles!r}; give a mapping, like {{'press-4': ['operator']}}")
        checked = {}
        for identity, names in roles.items():
            if isinstance(names, str):
                raise TypeError(f"the roles of {identity!r} are {names!r}; give a list of names, like [{names!r}]")
            checked[str(identity)] = frozenset(check_id(name) for name in names)
        self.roles = checked

    def prepare(self, wanted: Identifications | None) -> None:
        """Make ready what will be wanted, before it is: nobody shall wait for that at the door."""
        if wanted is not None:
            book = self._open_book()
            book.use(book.make(wanted), wanted)

    def _open_book(self) -> AccountBook:
        if self._book is None:
            from gpyro._daemon.accounts import AccountBook  # only daemons with somebody at the door

            self._book = AccountBook()
        return self._book


class Attempt:
    """One login under way, as validators see it in `connection.login`."""

    __slots__ = ("_login", "found")

    def __init__(self, login: Any) -> None:
        self._login = login
        #: Who it is, the WELCOME's body and the codes for both directions; None unless the proof is right.
        self.found: Any = None

    @property
    def key_id(self) -> str:
        """Whose key the caller says that it has, before that is proved; empty for a passphrase."""
        return str(self._login.key_id)

    @property
    def identity(self) -> str | None:
        """Who it is, once the proof has been checked."""
        return None if self.found is None else self.found[0].id

    def __repr__(self) -> str:
        return f"<Attempt, {self._login!r}, {'accepted' if self.found else 'not accepted'}>"

    def check(self, transcript: bytes, proof: bytes) -> bool:
        """Tell whether the proof is of somebody who may come in."""
        self.found = self._login.check(transcript, proof)
        return self.found is not None


def _checked_identity(identity: object) -> str:
    """Return who somebody is, as a validator may have said.

    Raises:
        ValueError: it is no text, or what rules call everybody.
    """
    if not isinstance(identity, str) or identity in ("", "*"):
        raise ValueError(f"connection.identity is {identity!r}; it has to be a text that names somebody")
    return identity


def _checked_roles(roles: object) -> frozenset[str]:
    """Return somebody's roles, as a validator may have said.

    Raises:
        ValueError: they are no names in a set or list.
    """
    if not isinstance(roles, (set, frozenset, list, tuple)) or not all(
        isinstance(role, str) and role not in ("", "*") for role in roles
    ):
        raise ValueError(f"connection.roles is {roles!r}; it has to be a set of names")
    return frozenset(roles)


def _source(connection: Connection) -> str:
    return source_of(_host(connection))


def _host(connection: Connection) -> str:
    return str(connection.addr[0]) if isinstance(connection.addr, tuple) else ""
