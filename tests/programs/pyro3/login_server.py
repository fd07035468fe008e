"""A server with a validator of its own, local storage and setInitTLS."""

import Pyro.core
import Pyro.protocol
from login import LoginValidator


class Visitors(Pyro.core.ObjBase):
    def who(self):
        storage = self.getLocalStorage()
        storage.calls += 1
        return storage.caller.authenticated, storage.calls, storage.greeting

    def where(self):
        return self.getLocalStorage().caller.addr[0]


def begin(storage):
    assert isinstance(storage, Pyro.protocol.LocalStorage)
    assert isinstance(storage.caller, Pyro.protocol.TCPConnection)
    storage.calls = 0
    storage.greeting = "hello " + storage.caller.authenticated


daemon = Pyro.core.Daemon(host="localhost")
daemon.setNewConnectionValidator(LoginValidator())
daemon.setInitTLS(begin)
print("serving", daemon.connect(Visitors()), flush=True)
daemon.requestLoop()
