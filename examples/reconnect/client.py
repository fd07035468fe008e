"""Draws tickets, and waits for the server where that is away; it may come back at another port.

`python examples/reconnect/client.py`, while server.py runs, ends, and runs again.
"""

import argparse
import time

import gpyro


def draw(tickets):
    """Return a ticket, however long it takes until there is one."""
    while True:
        try:
            return tickets.draw()
        except (gpyro.errors.ProtocolError, gpyro.errors.NamingError) as exc:
            print("The server is away:", exc)
            if getattr(exc, "maybe_executed", False):
                # A lost ticket does no harm. Where it would, find out first instead of just trying again.
                print("Perhaps it has drawn a ticket before it went.")
        tickets.adapter.rebindURI(wait=0.5)
        print("The server is back.")


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--count", type=int, default=100, help="how many tickets (default: 100)")
parser.add_argument("--pause", type=float, default=1.0, help="seconds between two (default: 1)")
options = parser.parse_args()

tickets = gpyro.Proxy("PYRONAME://tickets")
try:
    for _ in range(options.count):
        print("ticket", draw(tickets))
        time.sleep(options.pause)
except KeyboardInterrupt:
    pass
