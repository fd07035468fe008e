"""A name server, an event server and an object of one's own, all in this process, for a loop that is not gpyro's.

The programs beside this one run them in select, asyncio and Tk. A loop has to do two things: wait until one of
`server.getServerSockets()` can be read, and then call `server.handleRequests()`.
"""

import gpyro
from gpyro.eventserver import EventServiceStarter, Publisher
from gpyro.naming import NameServerStarter


class Board(gpyro.ObjBase):
    """A board to write on, which whoever is interested hears of as an event."""

    def __init__(self, show):
        super().__init__()
        self.is_open = True
        self._show = show
        self._publisher = Publisher()

    def write(self, text):
        self._show(text)
        self._publisher.publish("BOARD", text)

    def close(self):
        self.is_open = False


def start(show):
    """Return a board that shows its text with `show`, and all servers."""
    name_server = NameServerStarter()
    name_server.initialize()
    name_server.handleRequests(0)  # from now on it answers the others, which look for it

    event_server = EventServiceStarter()
    event_server.initialize()
    event_server.handleRequests(0)

    daemon = gpyro.Daemon()
    daemon.useNameServer(name_server.ns)
    board = Board(show)
    daemon.connect(board, "board")
    return board, [name_server, event_server, daemon]


def end(servers):
    """End all servers, those that know the name server first."""
    for server in reversed(servers):
        server.shutdown()
