"""Serves two connections and no more.

`python examples/connectionlimit/server.py`, then client.py.
"""

import gpyro


class Cafe:
    def sit_down(self):
        return "Please sit down."


# A limit of this daemon; GPYRO_MAXCONNECTIONS sets it for all of a process. `gpyro config` lists what can be set.
daemon = gpyro.Daemon(config=gpyro.config.snapshot(maxconnections=2))
daemon.useNameServer(gpyro.naming.NameServerLocator().getNS())
daemon.connect(Cafe(), "cafe")
print("The cafe has two chairs; ctrl-C closes it.")
daemon.requestLoop()
