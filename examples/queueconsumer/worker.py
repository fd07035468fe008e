"""Does jobs of the reliable queue "jobs", which all workers share: each job goes to one of them.

A job counts as done when event() has returned. If event() fails, or the worker is killed while it is at it, the
job comes again, to this worker or to another one.
"""

import argparse
import logging
import time

from gpyro.eventserver import Subscriber


class Worker(Subscriber):
    def __init__(self, name, drop_every, seconds):
        Subscriber.__init__(self, queue="jobs")
        self.name = name
        self.drop_every = drop_every
        self.seconds = seconds
        self.tries = 0

    def event(self, event):
        self.tries += 1
        time.sleep(self.seconds)  # this is where the work would be
        if self.drop_every and self.tries % self.drop_every == 0:
            print(f"{event.subject} {event.msg} dropped, delivery {event.deliveries}")
            raise RuntimeError(f"{self.name} has dropped {event.subject} {event.msg}")
        print(f"{event.subject} {event.msg} done, delivery {event.deliveries}")
        # The producer wants to know.
        self.publish("JOBDONE", (event.subject, event.msg, self.name, event.deliveries))


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("name", metavar="NAME")
parser.add_argument("--drop-every", type=int, default=0, metavar="N", help="fail at every Nth job")
parser.add_argument("--seconds", type=float, default=0.3, help="how long a job takes (default: 0.3)")
options = parser.parse_args()

# What goes wrong in event() is logged.
logging.basicConfig(format="%(message)s")
worker = Worker(options.name, options.drop_every, options.seconds)
worker.setThreading(0)  # one job at a time
worker.subscribeMatch(r"JOB\..*")  # from now on the queue keeps these, whether somebody works or not
try:
    print(options.name, "works")
    worker.listen()
except KeyboardInterrupt:
    pass
worker.close()
