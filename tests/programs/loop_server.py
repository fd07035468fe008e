"""A server whose loop looks at a condition and at a socket of the program's own.

It ends by itself when its object has been told to, or when something comes on the socket.
"""

import socket
import sys

import gpyro

KIND = sys.argv[1]


class Switch(gpyro.ObjBase):
    def __init__(self):
        gpyro.ObjBase.__init__(self)
        self.running = True

    def off(self):
        self.running = False
        return "off"


switch = Switch()
daemon = gpyro.Daemon()
uri = daemon.connect(switch)
ours, theirs = socket.socketpair()
got = []


def callback(ready):
    assert ready == [ours], ready
    got.append(ours.recv(100))
    switch.running = False


def announce(text):
    if announcements:
        print(announcements.pop(), text, flush=True)


announcements = ["serving"]
try:
    if KIND == "condition":

        def running():
            announce(uri)
            return switch.running

        daemon.requestLoop(running, 3.0)
    elif KIND == "others":

        def running():
            announce(uri)
            return switch.running

        theirs.send(b"from the socket")
        daemon.requestLoop(running, 3.0, [ours], callback)
    elif KIND == "handle":
        announce(uri)
        while switch.running:
            daemon.handleRequests(3.0)
    elif KIND == "handle others":
        announce(uri)
        theirs.send(b"from the socket")
        while switch.running:
            daemon.handleRequests(3.0, [ours], callback)
finally:
    daemon.shutdown(True)
    ours.close()
    theirs.close()
print("ended", got, flush=True)
