"""Validators in Pyro's manner, over real connections: the programs of its examples, and what goes wrong in one."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

import gevent
import gevent.event
import pytest

import gpyro
from gpyro import auth
from gpyro.errors import ConnectionDeniedError, DaemonError
from gpyro.wire.frames import HEADER, PREFACE, FrameType
from gpyro.wire.hello import Field, Greeting, Mechanism, build_fields
from tests.support.certificates import authority
from tests.support.servers import Running, connection_of, eventually, hello, running_daemon
from tests.support.tls_pair import client_config, server_config


class Account(gpyro.ObjBase):
    """What the examples serve: it knows its caller by what a validator noted."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def whoami(self) -> Any:
        self.calls += 1
        caller = self.getLocalStorage().caller
        return getattr(caller, "authenticated", None), gpyro.current_call.identity, sorted(caller.roles)


class UserLogin(auth.DefaultConnValidator):
    """User and password, as in Pyro's example user_passwd_auth."""

    USERS = {"irmen": "secret", "sarah": "hello"}

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def acceptIdentification(
        self, daemon: Any, connection: Any, token: bytes, challenge: bytes
    ) -> tuple[int, int]:
        login, _, proof = token.decode().partition(":")
        password = self.mungeIdent((login, self.USERS.get(login, "")))[1]
        self.seen.append((daemon, connection.addr[0], login))
        if login not in self.USERS or not hmac.compare_digest(self._proof(password, challenge), proof):
            return 0, auth.DENIED_SECURITY
        connection.authenticated = login
        connection.identity = login
        connection.roles = {"customer"}
        return 1, 0

    def createAuthToken(self, authid: Any, challenge: bytes, peeraddr: Any, URI: Any, daemon: Any) -> bytes:
        self.seen.append((peeraddr, str(URI)))
        login, password = authid
        return f"{login}:{self._proof(password, challenge)}".encode()

    def mungeIdent(self, ident: Any) -> Any:
        return ident[0], hashlib.sha256(ident[1].encode()).hexdigest()

    @staticmethod
    def _proof(password: str, challenge: bytes) -> str:
        return hmac.new(password.encode(), challenge, hashlib.sha256).hexdigest()


@pytest.fixture
def server() -> Iterator[Running]:
    with running_daemon() as running:
        yield running


def proxy_with(server: Running, obj: Any, ident: Any, validator: Any = None) -> Any:
    proxy = server.proxy(obj)
    if validator is not None:
        proxy._setNewConnectionValidator(validator)
    if ident is not None:
        proxy._setIdentification(ident)
    return proxy


def denial(proxy: Any) -> tuple[int, str]:
    with pytest.raises(ConnectionDeniedError) as info:
        proxy.whoami()
    return info.value.code, str(info.value)


# -- user and password -----------------------------------------------------------------------------------------


def test_user_and_password_of_a_validators_own(server: Running) -> None:
    validator = UserLogin()
    server.daemon.setNewConnectionValidator(validator)
    account = Account()
    proxy = proxy_with(server, account, ("sarah", "hello"), UserLogin())
    assert proxy.whoami() == ("sarah", "sarah", ["customer"])
    assert validator.seen == [(server.daemon, "127.0.0.1", "sarah")]
    assert connection_of(proxy).stream.seal is None, "a token of its own gives no key to seal with"
    seen = proxy.__dict__["_core"].validator.seen
    assert seen == [(("127.0.0.1", server.port), str(server.daemon.uri_of(account)))]


class TextLogin(UserLogin):
    """As programs for Pyro 3 wrote it, where tokens were text."""

    def acceptIdentification(self, daemon: Any, connection: Any, token: Any, challenge: bytes) -> tuple[int, int]:
        login, proof = token.split(":", 1)
        return super().acceptIdentification(daemon, connection, f"{login}:{proof}".encode(), challenge)

    def createAuthToken(self, authid: Any, challenge: bytes, peeraddr: Any, URI: Any, daemon: Any) -> Any:
        return super().createAuthToken(authid, challenge, peeraddr, URI, daemon).decode()


def test_token_of_text_arrives_as_text(server: Running) -> None:
    server.daemon.setNewConnectionValidator(TextLogin())
    account = Account()
    assert proxy_with(server, account, ("sarah", "hello"), TextLogin()).whoami()[0] == "sarah"
    assert denial(proxy_with(server, account, ("sarah", "wrong"), TextLogin()))[0] == 3
    # What sends bytes in its place does not get in.
    assert denial(proxy_with(server, account, ("sarah", "hello"), UserLogin()))[0] == 0


@pytest.mark.parametrize("ident", [("sarah", "wrong"), ("nobody", "hello"), ("", "")])
def test_wrong_user_or_password_is_denied_for_security(server: Running, ident: Any) -> None:
    server.daemon.setNewConnectionValidator(UserLogin())
    account = Account()
    proxy = proxy_with(server, account, ident, UserLogin())
    assert denial(proxy) == (3, "security reasons")
    assert account.calls == 0
    eventually(lambda: not server.connections)


def test_callers_without_the_validator_are_told_what_is_wanted(server: Running) -> None:
    server.daemon.setNewConnectionValidator(UserLogin())
    account = Account()
    for ident in (None, "passphrase"):
        code, text = denial(proxy_with(server, account, ident))
        assert code == 3
        assert "_setNewConnectionValidator" in text
    assert account.calls == 0


def test_token_is_not_shown_to_a_server_that_does_not_ask(server: Running) -> None:
    validator = UserLogin()
    code, text = denial(proxy_with(server, Account(), ("sarah", "hello"), validator))
    assert code == 3
    assert "does not authenticate" in text
    assert validator.seen == []


def test_rules_and_roles_of_what_a_validator_says(server: Running) -> None:
    server.daemon.setNewConnectionValidator(UserLogin())
    server.daemon.set_roles({"irmen": ["owner"]})
    uri = server.connect(Account(), allow={"owner": {"whoami"}})
    sarah = proxy_with(server, uri, ("sarah", "hello"), UserLogin())
    with pytest.raises(gpyro.errors.AccessDeniedError):
        sarah.whoami()
    assert proxy_with(server, uri, ("irmen", "secret"), UserLogin()).whoami()[2] == ["customer", "owner"]


# -- hosts -----------------------------------------------------------------------------------------------------


class Hosts(auth.DefaultConnValidator):
    """Decides by the address, as in Pyro's example denyhosts."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[Any] = []

    def acceptHost(self, daemon: Any, connection: Any) -> tuple[int, int]:
        self.asked.append(connection.addr[0])
        gevent.sleep(0)  # a validator may wait
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("code", "text"),
    [(0, "unspecified reason"), (1, "server too busy"), (2, "host blocked"), (3, "security reasons")],
)
def test_hosts_are_denied_with_pyros_four_reasons(server: Running, code: int, text: str) -> None:
    validator = Hosts((0, code))
    server.daemon.setNewConnectionValidator(validator)
    account = Account()
    assert denial(proxy_with(server, account, None)) == (code, text)
    assert validator.asked == ["127.0.0.1"]
    assert account.calls == 0


def test_host_is_looked_at_before_anybody_has_to_identify_himself(server: Running) -> None:
    validator = Hosts((0, auth.DENIED_HOSTBLOCKED))
    validator.setAllowedIdentifications(["one"])
    server.daemon.setNewConnectionValidator(validator)
    assert denial(proxy_with(server, Account(), "one")) == (2, "host blocked")
    validator.answer = (1, 0)
    assert proxy_with(server, Account(), "one").whoami()[1] == "passphrase:1"
    assert "_setIdentification" in denial(proxy_with(server, Account(), None))[1]


@pytest.mark.parametrize("answer", [ValueError("a bug"), None, 7, (1,), (0, "security"), (1, 0, 0)])
def test_a_validator_with_a_bug_lets_nobody_in_and_is_logged(
    server: Running, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server.daemon.setNewConnectionValidator(Hosts(answer))
    account = Account()
    code, text = denial(proxy_with(server, account, None))
    assert code == 0
    assert text.startswith("unspecified reason")
    assert account.calls == 0
    if answer != (0, "security"):
        assert "the validator failed" in caplog.text
    server.daemon.setNewConnectionValidator(Hosts((1, 0)))
    assert proxy_with(server, account, None).whoami() == (None, None, [])


@pytest.mark.parametrize("when", ["host", "identification"])
def test_a_validator_that_runs_out_of_its_own_time_denies(
    server: Running, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(auth.DefaultConnValidator):
        def acceptHost(self, daemon: Any, connection: Any) -> tuple[int, int]:
            if when == "host":
                self.ask()
            return 1, 0

        def acceptIdentification(
            self, daemon: Any, connection: Any, token: bytes, challenge: bytes
        ) -> tuple[int, int]:
            self.ask()
            return 1, 0

        def ask(self) -> None:
            with gevent.Timeout(0.01):
                gevent.sleep(60)

    validator = Slow()
    validator.setAllowedIdentifications(["one"])
    server.daemon.setNewConnectionValidator(validator)
    code, text = denial(proxy_with(server, Account(), "one"))
    assert (code, text) == (0, "unspecified reason: the server's validator failed")
    assert "the validator failed for" in caplog.text
    assert server.service.entrance._asking == 0


def test_a_validator_keeps_what_it_notes_while_its_list_is_changed(server: Running) -> None:
    class Counting(auth.DefaultConnValidator):
        def __init__(self) -> None:
            super().__init__()
            self.seen = 0

        def acceptHost(self, daemon: Any, connection: Any) -> tuple[int, int]:
            self.seen += 1
            return 1, 0

        def __copy__(self) -> Any:
            raise AssertionError("a validator is nobody's to copy")

    validator = Counting()
    validator.setAllowedIdentifications(["one"])
    server.daemon.setNewConnectionValidator(validator)
    change = gevent.spawn(server.daemon.setAllowedIdentifications, ["one", "two", "three"])
    for _ in range(5):
        proxy_with(server, Account(), "one").whoami()
    change.get(timeout=10)
    assert validator.seen == 5
    assert proxy_with(server, Account(), "three").whoami()[1] == "passphrase:3"


def test_requests_that_come_with_the_greeting_wait_for_the_validator(server: Running) -> None:
    """The client needs no login, so its first calls leave with its HELLO; they run when it has been let in."""
    server.daemon.setNewConnectionValidator(Hosts((1, 0)))
    proxy = proxy_with(server, Account(), None)
    calls = [gevent.spawn(proxy.whoami) for _ in range(20)]
    assert [call.get(timeout=10) for call in calls] == [(None, None, [])] * 20


# -- looking on ------------------------------------------------------------------------------------------------


class Onlooker(auth.DefaultConnValidator):
    """Looks on and lets the base decide, as in Pyro's example NS_sec_plugins."""

    def __init__(self, decide: bool = True) -> None:
        super().__init__()
        self.setAllowedIdentifications(["s3cr3t", "p4ssphr4se"])
        self.decide = decide
        self.answers: list[Any] = []

    def acceptIdentification(
        self, daemon: Any, connection: Any, token: bytes, challenge: bytes
    ) -> tuple[int, int]:
        assert (len(token), len(challenge)) == (32, 32)
        claimed = connection.login.key_id
        answer = super().acceptIdentification(daemon, connection, token, challenge) if self.decide else (1, 0)
        self.answers.append((*answer, claimed, connection.identity))
        if answer[0]:
            connection.note = "seen"
        return answer


def test_onlooker_sees_logins_of_ordinary_clients(server: Running) -> None:
    validator = Onlooker()
    server.daemon.setNewConnectionValidator(validator)
    proxy = proxy_with(server, Account(), "p4ssphr4se")
    assert proxy.whoami()[1] == "passphrase:2"
    assert connection_of(proxy).stream.seal is not None
    assert server.connections[0].note == "seen"  # type: ignore[attr-defined]
    assert denial(proxy_with(server, Account(), "wrong"))[0] == 3
    assert validator.answers == [(1, 0, "", "passphrase:2"), (0, 3, "", None)]


def test_validator_cannot_wave_through_whose_proof_it_has_not_checked(server: Running) -> None:
    server.daemon.setNewConnectionValidator(Onlooker(decide=False))
    account = Account()
    assert denial(proxy_with(server, account, "s3cr3t"))[0] == 3
    assert account.calls == 0


class Junk(UserLogin):
    def __init__(
        self, challenge: Any = b"ok", token: Any = b"ok", identity: Any = None, roles: Any = ()
    ) -> None:
        super().__init__()
        self.challenge, self.token, self.name, self.roles = challenge, token, identity, roles

    def createAuthChallenge(self, tcpserver: Any, conn: Any) -> Any:
        return self.challenge

    def createAuthToken(self, authid: Any, challenge: bytes, peeraddr: Any, URI: Any, daemon: Any) -> Any:
        return self.token

    def acceptIdentification(self, daemon: Any, connection: Any, token: bytes, challenge: bytes) -> Any:
        connection.identity, connection.roles = self.name, self.roles
        return 1, 0


@pytest.mark.parametrize(
    "bad",
    [{"challenge": b"x" * 257}, {"challenge": None}, {"identity": "*"}, {"identity": 5}, {"roles": "admin"},
     {"roles": ["*"]}, {"roles": [5]}],
)
def test_junk_of_a_servers_validator_lets_nobody_in(
    server: Running, bad: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    server.daemon.setNewConnectionValidator(Junk(**bad))
    account = Account()
    assert denial(proxy_with(server, account, ("a", "b"), Junk()))[0] == 0
    assert account.calls == 0
    assert "the validator failed" in caplog.text


@pytest.mark.parametrize("size", [257, 400])
def test_a_token_that_is_too_long_is_refused_and_not_cut(server: Running, size: int) -> None:
    validator = Junk()
    validator.acceptIdentification = lambda *args: pytest.fail("asked")  # type: ignore[method-assign]
    server.daemon.setNewConnectionValidator(validator)
    body = Greeting(mechanism=Mechanism.CUSTOM).build()
    with server.peer(greet=False) as peer:
        peer.send(PREFACE + HEADER.pack(FrameType.HELLO, 0, 0, 0, len(body), 0) + body)
        peer.machine.sending(FrameType.HELLO)
        assert peer.frame()[0] == FrameType.CHALLENGE
        proof = build_fields({Field.PROOF: b"x" * size})
        peer.send(HEADER.pack(FrameType.PROOF, 0, 0, 0, len(proof), 0) + proof)
        assert peer.read_to_end() == b""
    eventually(lambda: not server.connections)


def test_a_validator_for_hosts_does_not_take_the_identifications_away(server: Running) -> None:
    server.daemon.setAllowedIdentifications(["one"])
    server.daemon.setNewConnectionValidator(Hosts((1, 0)))
    assert denial(proxy_with(server, Account(), None))[0] == 3
    assert proxy_with(server, Account(), "one").whoami()[1] == "passphrase:1"
    server.daemon.setAllowedIdentifications(None)
    assert proxy_with(server, Account(), None).whoami() == (None, None, [])


@pytest.mark.parametrize("token", [b"x" * 257, None, 5])
def test_junk_of_a_clients_validator_is_told_to_its_caller(server: Running, token: Any) -> None:
    server.daemon.setNewConnectionValidator(Junk())
    proxy = proxy_with(server, Account(), ("a", "b"), Junk(token=token))
    with pytest.raises(ValueError, match="at most 256 bytes"):
        proxy.whoami()
    eventually(lambda: not server.connections)


# -- certificates ------------------------------------------------------------------------------------------------


class Checking(auth.BasicSSLValidator):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.seen: list[Any] = []

    def checkCertificate(self, cert: Any) -> tuple[int, int]:
        self.seen.append(None if cert is None else dict(part[0] for part in cert["subject"])["commonName"])
        return (1, 0) if self.seen[-1] == self.name else (0, auth.DENIED_SECURITY)


def test_certificates_of_callers_are_shown_to_the_validator() -> None:
    ca = authority()
    wants = server_config(ca=ca.own.pem, client_certificates="required")
    with running_daemon(protocol="PYROSSL", tls=wants) as server:
        validator = Checking("sarah")
        server.daemon.setNewConnectionValidator(validator)
        server.daemon.set_roles({"certificate:sarah": ["customer"]})
        uri = server.connect(Account())
        for name in ("irmen", "sarah"):
            mine = ca.make(name, server=False, client=True)
            proxy = gpyro.Proxy(uri, tls=client_config(certificate=mine.both))
            if name == "irmen":
                assert denial(proxy) == (3, "security reasons")
            else:
                assert proxy.whoami() == (None, "certificate:sarah", ["customer"])
            proxy._release()
        assert validator.seen == ["irmen", "sarah"]


def test_servers_certificate_is_shown_to_the_proxys_validator() -> None:
    with running_daemon(protocol="PYROSSL", tls=server_config()) as server:
        account = Account()
        uri = server.connect(account)
        for name, accepted in (("a daemon", True), ("another", False)):
            proxy = gpyro.Proxy(uri, tls=client_config())
            proxy._setNewConnectionValidator(Checking(name))
            if accepted:
                assert proxy.whoami() == (None, None, [])
            else:
                assert "does not accept the certificate" in denial(proxy)[1]
            proxy._release()
        assert account.calls == 1


def test_a_proxys_validator_that_raises_leaves_no_connection_behind() -> None:
    class Broken(auth.BasicSSLValidator):
        def checkCertificate(self, cert: Any) -> tuple[int, int]:
            raise RuntimeError("a bug")

    with running_daemon(protocol="PYROSSL", tls=server_config()) as server:
        proxy = gpyro.Proxy(server.connect(Account()), tls=client_config())
        proxy._setNewConnectionValidator(Broken())
        for _ in range(3):
            with pytest.raises(RuntimeError, match="a bug"):
                proxy.whoami()
        eventually(lambda: not server.connections)


def test_login_and_certificate_together_give_both_names() -> None:
    ca = authority()
    mine = ca.make("sarah", server=False, client=True)
    wants = server_config(ca=ca.own.pem, client_certificates="optional")
    with running_daemon(protocol="PYROSSL", tls=wants) as server:
        server.daemon.setAllowedIdentifications(["one"])
        server.daemon.set_roles({"certificate:sarah": ["customer"]})
        uri = server.connect(Account(), allow={"certificate:sarah": {"whoami"}})
        for tls, allowed in ((client_config(certificate=mine.both), True), (client_config(), False)):
            proxy = gpyro.Proxy(uri, tls=tls)
            proxy._setIdentification("one")
            if allowed:
                assert proxy.whoami() == (None, "passphrase:1", ["customer"])
                assert connection_of(proxy).stream.seal is None, "TLS has its own"
            else:
                with pytest.raises(gpyro.errors.AccessDeniedError):
                    proxy.whoami()
            proxy._release()


def test_a_validator_that_hangs_gathers_no_greenlets() -> None:
    """Callers come and go while nothing answers; no more are asked about than may be on the way in."""
    asked = []
    never = gevent.event.Event()

    class Hanging(auth.DefaultConnValidator):
        def acceptHost(self, daemon: Any, connection: Any) -> tuple[int, int]:
            asked.append(connection)
            never.wait()
            return 1, 0

    with running_daemon(max_unauthenticated=5, handshake_timeout_seconds=1) as server:
        server.daemon.setNewConnectionValidator(Hanging())
        peers = [server.peer(greet=False) for _ in range(12)]
        for peer in peers:
            peer.send(hello())
        eventually(lambda: len(asked) == 5)
        eventually(lambda: not server.connections)
        assert len(asked) == 5
        never.set()
        for peer in peers:
            peer.sock.close()
        eventually(lambda: server.service.entrance._asking == 0 and not server.connections)


# -- what may not be one -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("validator", [None, object(), auth.DefaultConnValidator])
def test_what_is_no_validator_is_refused(server: Running, validator: Any) -> None:
    with pytest.raises(TypeError, match="validator must be specialization of DefaultConnValidator"):
        server.daemon.setNewConnectionValidator(validator)
    with pytest.raises(TypeError, match="validator must be specialization of DefaultConnValidator"):
        server.proxy(Account())._setNewConnectionValidator(validator)


def test_tokens_are_not_taken_beyond_this_machine_without_tls() -> None:
    with pytest.raises(DaemonError, match="anybody who reaches that address"):
        gpyro.Daemon(host="0.0.0.0", port=0, norange=True, validator=UserLogin())


def test_tokens_are_neither_taken_nor_sent_where_others_could_read_them(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpyro.connection import Connection

    validator = UserLogin()
    server.daemon.setNewConnectionValidator(validator)
    account, mine = Account(), UserLogin()
    # As if the connection came from another machine: tests stay on this one.
    monkeypatch.setattr(Connection, "is_local", lambda self: self.machine.side.value == "client")
    assert "only inside TLS" in denial(proxy_with(server, account, ("sarah", "hello"), mine))[1]
    monkeypatch.setattr(Connection, "is_local", lambda self: self.machine.side.value == "server")
    assert "without TLS" in denial(proxy_with(server, account, ("sarah", "hello"), mine))[1]
    assert (validator.seen, mine.seen, account.calls) == ([], [], 0)
