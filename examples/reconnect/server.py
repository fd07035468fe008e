"""Hands out numbered tickets, beginning with 1 whenever it is started.

`python examples/reconnect/server.py`, then client.py; end this one and start it again.
"""

import itertools

import gpyro


class Tickets:
    def __init__(self):
        self._numbers = itertools.count(1)

    def draw(self):
        return next(self._numbers)


daemon = gpyro.Daemon()
daemon.useNameServer(gpyro.naming.NameServerLocator().getNS())
daemon.connect(Tickets(), "tickets")
print("Tickets are ready; ctrl-C ends this.")
daemon.requestLoop()
