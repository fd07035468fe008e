"""Keeps something for each connection: a basket that every caller has for itself, though they share the object.

`python examples/sessions/server.py`, then client.py.
"""

import itertools

import gpyro

numbers = itertools.count(1)


def begin_session(session):
    """Called once for each connection, when its storage is first asked for."""
    session.number = next(numbers)
    session.basket = []
    print(f"Session {session.number} begins, for somebody at {session.caller.addr[0]}.")


class Market(gpyro.ObjBase):
    def put(self, item):
        self.getLocalStorage().basket.append(item)

    def basket(self):
        session = self.getLocalStorage()
        return session.number, session.basket


daemon = gpyro.Daemon()
daemon.setInitTLS(begin_session)
daemon.useNameServer(gpyro.naming.NameServerLocator().getNS())
daemon.connect(Market(), "market")
print("The market is open; ctrl-C closes it.")
daemon.requestLoop()
