"""A kitchen that calls its guests back, during their calls and after them.

`python examples/callbacks/server.py`, then client.py.
"""

from gevent import monkey

monkey.patch_all()  # so that what waits here lets the others go on

import threading
import time

import gpyro


class Kitchen:
    def cook(self, dish, guest):
        """Return when the dish is done; the guest hears how it comes along."""
        for step in ("washed", "chopped", "fried"):
            guest.hear(f"the {dish} is {step}")
        return f"fried {dish}"

    def order(self, dish, seconds, guest):
        """Return at once; the guest gets the dish when it is done."""
        threading.Thread(target=self._cook_slowly, args=(dish, seconds, guest)).start()

    def _cook_slowly(self, dish, seconds, guest):
        time.sleep(seconds)
        try:
            guest.get(dish)
        except gpyro.errors.ConnectionClosedError:
            print(f"Nobody is there any more for the {dish}.")


daemon = gpyro.Daemon()
daemon.useNameServer(gpyro.naming.NameServerLocator().getNS())
daemon.connect(Kitchen(), "kitchen")
print("The kitchen is open; ctrl-C closes it.")
daemon.requestLoop()
