"""An object whose methods fail, each in its own way.

`python examples/exceptions/server.py`, then client.py.
"""

from press_errors import PaperJam

import gpyro


class OutOfInk(Exception):
    """An error that only the server knows."""


class Press:
    def divide(self, pages, sheets):
        return pages / sheets

    def feed(self, tray):
        raise PaperJam(tray)

    def print_it(self):
        raise OutOfInk("no cyan is left")


daemon = gpyro.Daemon()
daemon.useNameServer(gpyro.naming.NameServerLocator().getNS())
daemon.connect(Press(), "press")
print("The press is ready; ctrl-C ends it.")
daemon.requestLoop()
