"""Cleans up when ctrl-C comes out of the loop, as old programs do; the delegate shows what it knows."""

import Pyro.core
import Pyro.errors
import Pyro.naming


class Stock:
    def __init__(self):
        self.level = 7
        self._secret = "never"

    def take(self):
        self.level -= 1
        return self.level


Pyro.core.initServer()
daemon = Pyro.core.Daemon(host="localhost", port=0, norange=1)
daemon.useNameServer(Pyro.naming.NameServerLocator().getNS("localhost"))
front = Pyro.core.ObjBase()
front.delegateTo(Stock())
print("serving", daemon.connect(front, ":Default.stock"), flush=True)
try:
    daemon.requestLoop()
    print("returned", flush=True)
except KeyboardInterrupt:
    print("cleaned up", flush=True)
try:
    daemon.requestLoop()
except Pyro.errors.DaemonError as x:
    print("again:", x, flush=True)
