"""A desk whose clerks take a second for each customer, and of whom there are always enough.

`python examples/manycalls/server.py`, then client.py.
"""

from gevent import monkey

monkey.patch_all()  # so that time.sleep, and all else that waits in Python, lets the other calls go on

import time

import gpyro


class Desk:
    def __init__(self):
        self._now = self._most = 0

    def serve(self, number):
        self._now += 1
        self._most = max(self._most, self._now)
        time.sleep(1)  # a question to a database, another server, a user
        self._now -= 1
        return number

    def most_at_once(self):
        return self._most


daemon = gpyro.Daemon()
daemon.useNameServer(gpyro.naming.NameServerLocator().getNS())
daemon.connect(Desk(), "desk")
print("The desk is open; ctrl-C closes it.")
daemon.requestLoop()
