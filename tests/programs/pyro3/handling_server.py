"""A server with a loop of its own, which sleeps in a method while others are served."""

import time

import Pyro.core


class Sleeper(Pyro.core.ObjBase):
    def __init__(self):
        Pyro.core.ObjBase.__init__(self)
        self.running = 1
        self.asleep = 0

    def sleep(self, seconds):
        self.asleep += 1
        time.sleep(seconds)  # what old methods do: in a patched process others are served meanwhile
        self.asleep -= 1

    def count(self):
        return self.asleep

    def end(self):
        self.running = 0


sleeper = Sleeper()
daemon = Pyro.core.Daemon(prtcol="PYRO", host="localhost", port=0, norange=1)
print("serving", daemon.connect(sleeper), flush=True)
while sleeper.running:
    daemon.handleRequests(3.0)
daemon.shutdown(True)
print("ended", isinstance(daemon, Pyro.protocol.TCPServer), daemon.protocol, daemon.hostname, flush=True)
