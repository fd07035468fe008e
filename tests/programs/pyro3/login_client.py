"""A client that logs in with a user name and a password."""

import sys

import Pyro.constants
import Pyro.core
import Pyro.errors
from login import LoginValidator
from Pyro.protocol import getHostname, getIPAddress

visitors = Pyro.core.getProxyForURI(sys.argv[1])
visitors._setNewConnectionValidator(LoginValidator())
visitors._setIdentification(("irmen", "wrong"))
try:
    visitors.who()
except Pyro.errors.ConnectionDeniedError as x:
    print("denied", x, Pyro.constants.deniedReasons[Pyro.constants.DENIED_SECURITY])
visitors._setIdentification(("irmen", "secret"))
print(visitors.who(), visitors.who())
visitors._release()
print(visitors.who(), visitors.where() == getIPAddress("localhost"), bool(getHostname()))
print(getIPAddress("no-such-host.invalid"), visitors.adapter.connected())
