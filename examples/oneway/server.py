"""A printer for callers who do not wait for it.

`python examples/oneway/server.py`, then client.py.
"""

from gevent import monkey

monkey.patch_all()  # so that a method that waits lets the others go on

import threading
import time

import gpyro


class Printer:
    def __init__(self):
        self._paper = threading.Condition()
        self._printed = 0

    def print_page(self, number):
        if number < 1:
            raise ValueError(f"page {number}; the first one is 1")
        with self._paper:  # one page at a time
            time.sleep(0.2)  # this is where the work would be
            print("page", number)
            self._printed += 1
            self._paper.notify_all()

    def wait_for(self, pages):
        """Return how many have been printed, once it is so many."""
        with self._paper:
            self._paper.wait_for(lambda: self._printed >= pages)
            return self._printed


daemon = gpyro.Daemon()
daemon.useNameServer(gpyro.naming.NameServerLocator().getNS())
daemon.connect(Printer(), "printer")
print("The printer is ready; ctrl-C ends it.")
daemon.requestLoop()
