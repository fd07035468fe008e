"""A subscriber that counts events until it has had enough, in the manner of Pyro's examples."""

import Pyro.core
from Pyro.EventService.Clients import Subscriber


class Listener(Subscriber):
    def __init__(self):
        Subscriber.__init__(self)
        self.counter = 0

    def event(self, event):
        self.counter += 1
        print("event", event.subject, event.msg, flush=True)
        if self.counter == 3:
            self.abortListen = 1


Pyro.core.initClient()
listener = Listener()
listener.subscribe("Cars.red")
listener.subscribeMatch("^Stock\\..*")
listener.setThreading(0)
print("listening", flush=True)
listener.listen()
listener.unsubscribe("Cars.red")
print("ended", listener.counter, bool(listener.abortListen))
