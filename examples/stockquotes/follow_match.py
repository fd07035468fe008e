"""Follows the prices of all stocks whose subjects match a pattern, also of those that come later."""

import argparse

from gpyro.eventserver import Subscriber


class Prices(Subscriber):
    """Prints each price, and ends after `count` of them."""

    def __init__(self, count):
        Subscriber.__init__(self)
        self.left = count

    def event(self, event):
        print(f"{event.subject} {event.msg['price']:.2f}")
        if self.left:
            self.left -= 1
            if not self.left:
                self.abort()


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument(
    "pattern", nargs="?", default=r"^STOCKQUOTE\.S.*$",
    help="a regular expression, in which case does not matter (default: %(default)s)",
)  # fmt: skip
parser.add_argument("--count", type=int, default=0, help="end after so many prices (default: go on)")
options = parser.parse_args()

prices = Prices(options.count)
prices.setThreading(0)
prices.subscribeMatch(options.pattern)
try:
    print("Waiting for subjects that match", options.pattern)
    prices.listen()
except KeyboardInterrupt:
    pass
prices.close()
