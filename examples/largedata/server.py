"""Gives back whatever it is sent.

`python examples/largedata/server.py`, then client.py.
"""

import gpyro


class Mirror:
    def echo(self, value):
        return value


daemon = gpyro.Daemon()
daemon.useNameServer(gpyro.naming.NameServerLocator().getNS())
daemon.connect(Mirror(), "mirror")
print("The mirror is ready; ctrl-C ends it.")
daemon.requestLoop()
