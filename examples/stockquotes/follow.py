"""Follows the prices of some stocks: subscribes to exactly their subjects."""

import argparse

from gpyro.eventserver import Subscriber


class Prices(Subscriber):
    """Prints each price, and ends after `count` of them."""

    def __init__(self, count):
        Subscriber.__init__(self)  # finds the event server with the name server's help
        self.left = count

    def event(self, event):
        print(f"{event.subject} {event.msg['price']:.2f}")
        if self.left:
            self.left -= 1
            if not self.left:
                self.abort()  # listen() returns


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("symbols", nargs="+", metavar="SYMBOL", help="SUNW, IBM, SGI, MSFT or SAP")
parser.add_argument("--count", type=int, default=0, help="end after so many prices (default: go on)")
options = parser.parse_args()

prices = Prices(options.count)
prices.setThreading(0)  # one after another, in order
prices.subscribe(["STOCKQUOTE." + symbol for symbol in options.symbols])
try:
    print("Waiting for prices of", ", ".join(options.symbols))
    prices.listen()
except KeyboardInterrupt:
    pass
prices.close()
