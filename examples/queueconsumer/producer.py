"""Publishes jobs, and waits until workers have done them all."""

import argparse

from gpyro.eventserver import Subscriber

KINDS = ["PAINT", "WELD", "DRILL", "POLISH"]


class Producer(Subscriber):
    """Publishes jobs, and counts those that are done."""

    def __init__(self):
        Subscriber.__init__(self)
        self.undone = set()

    def produce(self, count):
        for number in range(1, count + 1):
            # Jobs of one kind are done in the order in which they are published here.
            subject = "JOB." + KINDS[number % len(KINDS)]
            self.undone.add((subject, number))
            self.publish(subject, number)

    def event(self, event):
        subject, number, worker, deliveries = event.msg
        again = "" if deliveries == 1 else f", delivery {deliveries}"
        print(f"{subject} {number} done by {worker}{again}")
        # Not `remove`: a job may be done twice, if a worker is killed after it and before the server has heard.
        self.undone.discard((subject, number))
        if not self.undone:
            self.abort()


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--jobs", type=int, default=20, help="how many (default: 20)")
parser.add_argument("--leave", action="store_true", help="do not wait until they are done")
options = parser.parse_args()

producer = Producer()
producer.setThreading(0)
if not options.leave:
    producer.subscribe("JOBDONE")
producer.produce(options.jobs)
print(options.jobs, "jobs published")
if not options.leave:
    try:
        producer.listen()
        print("all of them are done")
    except KeyboardInterrupt:
        pass
producer.close()
