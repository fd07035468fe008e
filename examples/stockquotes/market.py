"""A stock market: publishes prices, each under a subject of its own, such as STOCKQUOTE.SUNW."""

import argparse
import itertools
import random
import time

from gpyro.eventserver import Publisher

SYMBOLS = ["SUNW", "IBM", "SGI", "MSFT", "SAP"]

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--rounds", type=int, help="end after so many prices of each (default: go on)")
parser.add_argument("--pause", type=float, default=1.0, help="seconds between two rounds (default: 1)")
options = parser.parse_args()

publisher = Publisher()  # finds the event server with the name server's help
prices = {symbol: 100.0 for symbol in SYMBOLS}
try:
    for _ in range(options.rounds) if options.rounds else itertools.count():
        for symbol in SYMBOLS:
            prices[symbol] = round(prices[symbol] * random.uniform(0.97, 1.03), 2)
            publisher.publish("STOCKQUOTE." + symbol, {"symbol": symbol, "price": prices[symbol]})
            print(f"{symbol} {prices[symbol]:.2f}")
        time.sleep(options.pause)
except KeyboardInterrupt:
    print("The market closes.")
