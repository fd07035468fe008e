"""Adds up what the counters at several places report, and ends when all of them have closed."""

import argparse

from gpyro.eventserver import Subscriber


class Table(Subscriber):
    """How many reports and cars there were at each place."""

    def __init__(self, places):
        Subscriber.__init__(self)
        self.reports = {place: 0 for place in places}
        self.cars = {place: 0 for place in places}
        self.open = set(places)
        self.lost = 0

    def event(self, event):
        what, place = event.subject.split(".", 1)
        if what == "CARS":
            # These lines need no lock: with setThreading(0) only one event is handled at a time.
            self.reports[place] += 1
            self.cars[place] += event.msg
        else:
            self.open.discard(place)
            if not self.open:
                self.abort()

    def events_lost(self, count):
        # So the table would not be right; told here rather than left for somebody to wonder about.
        print(count or "some", "reports were lost")


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("places", nargs="+", metavar="PLACE")
options = parser.parse_args()

table = Table(options.places)
table.setThreading(0)
for place in options.places:
    table.subscribe(["CARS." + place, "CLOSED." + place])
try:
    print("Counting cars at", ", ".join(options.places))
    table.listen()
except KeyboardInterrupt:
    pass
table.close()
for place in options.places:
    print(f"{place}: {table.cars[place]} cars in {table.reports[place]} reports")
print("all:", sum(table.cars.values()), "cars")
