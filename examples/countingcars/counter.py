"""Counts the cars at one place: publishes how many have passed, now and then, and at last that it closes."""

import argparse
import random
import time

from gpyro.eventserver import Publisher

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("place", metavar="PLACE")
parser.add_argument("--rounds", type=int, default=20, help="how often it counts (default: 20)")
parser.add_argument("--pause", type=float, default=0.5, help="seconds between two rounds (default: 0.5)")
options = parser.parse_args()

publisher = Publisher()
total = 0
for _ in range(options.rounds):
    cars = random.randrange(10)
    publisher.publish("CARS." + options.place, cars)
    total += cars
    time.sleep(options.pause)
publisher.publish("CLOSED." + options.place, total)
print(options.place, "has seen", total, "cars")
