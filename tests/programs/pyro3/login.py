"""What the login server and its client share: user names and passwords, in the manner of Pyro's examples."""

import hashlib
import hmac

import Pyro.constants
from Pyro.protocol import DefaultConnValidator

USERS = {b"irmen": hashlib.sha256(b"secret").digest()}


class LoginValidator(DefaultConnValidator):
    def __init__(self):
        DefaultConnValidator.__init__(self)

    def acceptHost(self, daemon, connection):
        if connection.addr[0] != "127.0.0.1":
            return (0, Pyro.constants.DENIED_HOSTBLOCKED)
        return DefaultConnValidator.acceptHost(self, daemon, connection)

    def acceptIdentification(self, daemon, connection, token, challenge):
        login, _, processed = bytes(token).partition(b":")
        known = USERS.get(login)
        if known and hmac.new(known, bytes(challenge), "sha256").digest() == processed:
            connection.authenticated = login.decode()
            return (1, 0)
        return (0, Pyro.constants.DENIED_SECURITY)

    def createAuthToken(self, authid, challenge, peeraddr, URI, daemon):
        return authid[0] + b":" + hmac.new(authid[1], bytes(challenge), "sha256").digest()

    def mungeIdent(self, ident):
        return (ident[0].encode(), hashlib.sha256(ident[1].encode()).digest())
