"""A stock market that is told where the event server is, and needs no name server."""

import argparse
import random
import time

from gpyro.eventserver import Publisher

SYMBOLS = ["SUNW", "IBM", "SGI", "MSFT", "SAP"]

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("uri", metavar="URI", help="what `gpyro es -N` prints behind URI=")
parser.add_argument("--rounds", type=int, default=10, help="how many prices of each (default: 10)")
parser.add_argument("--pause", type=float, default=1.0, help="seconds between two rounds (default: 1)")
options = parser.parse_args()

publisher = Publisher(esURI=options.uri)
for _ in range(options.rounds):
    # One call, one message, several subjects: each of them is an event, and all have the same time.
    price = round(random.uniform(90, 110), 2)
    publisher.publish(["STOCKQUOTE." + symbol for symbol in SYMBOLS], price)
    print(f"all {price:.2f}")
    time.sleep(options.pause)
publisher.publish("STOCKMARKET.CLOSED", None)
