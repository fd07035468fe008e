"""Follows all prices until the market closes; it is told where the event server is, and needs no name server."""

import argparse

from gpyro.eventserver import Subscriber


class Prices(Subscriber):
    def event(self, event):
        if event.subject == "STOCKMARKET.CLOSED":
            self.abort()
        else:
            print(f"{event.subject} {event.msg:.2f}")


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("uri", metavar="URI", help="what `gpyro es -N` prints behind URI=")
options = parser.parse_args()

prices = Prices(esURI=options.uri)
prices.setThreading(0)  # in order, so that no price comes after the closing
prices.subscribeMatch(r"STOCKQUOTE\.")
prices.subscribe("STOCKMARKET.CLOSED")
try:
    print("Waiting for prices")
    prices.listen()
    print("The market is closed.")
except KeyboardInterrupt:
    pass
prices.close()
