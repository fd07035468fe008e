"""A server: one object that other programs can call, under the name "greeter".

Start a name server first (`gpyro ns`), then `python examples/quickstart/server.py`, and client.py beside it.
"""

import gpyro


class Greeter:
    """Any object will do: its public methods can be called, and those with an underscore cannot."""

    def __init__(self):
        self._count = 0

    def greet(self, name):
        self._count += 1
        return f"Hello, {name}! You are guest number {self._count}."


daemon = gpyro.Daemon()
daemon.useNameServer(gpyro.naming.NameServerLocator().getNS())
daemon.connect(Greeter(), "greeter")
print("The greeter is ready; ctrl-C ends it.")
daemon.requestLoop()
