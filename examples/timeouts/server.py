"""An oven that may take longer than its callers like to wait.

`python examples/timeouts/server.py`, then client.py.
"""

from gevent import monkey

monkey.patch_all()  # so that a method that waits, here in time.sleep, lets the others go on

import time

import gpyro


class Oven:
    def bake(self, what, seconds):
        try:
            time.sleep(seconds)
        except gpyro.errors.CallCancelled:
            print(f"Nobody waits for the {what} any more.")
            raise
        return f"{what} is baked"


daemon = gpyro.Daemon()
daemon.useNameServer(gpyro.naming.NameServerLocator().getNS())
daemon.connect(Oven(), "oven")
print("The oven is hot; ctrl-C ends it.")
daemon.requestLoop()
