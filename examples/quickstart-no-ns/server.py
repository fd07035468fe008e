"""A server without a name server: it prints the address of its object, and clients are told that.

`python examples/quickstart-no-ns/server.py`, then client.py with the address.
"""

import gpyro


class Greeter(gpyro.ObjBase):
    def greet(self, name):
        return f"Hello, {name}!"


greeter = Greeter()
# Without this the id is random. Chosen here, the address can be remembered, and is good after a restart too.
greeter.setGUID("greeter")

daemon = gpyro.Daemon()
print("The greeter is", daemon.connect(greeter))
daemon.requestLoop()
