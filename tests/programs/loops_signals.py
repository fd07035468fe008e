"""A server that gets signals."""

import sys

KIND = sys.argv[1]
if KIND == "patched":
    from gevent import monkey

    monkey.patch_all()

import os
import signal
import threading
import time

import gevent

import gpyro


class Names:
    def register(self, name, uri):
        print("registered", name, flush=True)

    def unregister(self, name):
        print("unregistered", name, flush=True)


class Thing(gpyro.ObjBase):
    def __init__(self):
        gpyro.ObjBase.__init__(self)
        self.is_in = False

    def echo(self, value):
        return value

    def entered(self):
        return self.is_in

    def nap(self, seconds):
        self.is_in = True
        gevent.sleep(seconds)
        print("nap ended", flush=True)
        return "slept"

    def end(self):
        self.getDaemon().shutdown()


def own_handler(number, frame):
    os.write(1, b"own handler %d\n" % number)  # print may be interrupted in the middle of itself


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


def make(name):
    daemon = gpyro.Daemon(port=0, norange=True)
    thing = Thing()
    uri = daemon.connect(thing)
    print("serving", uri, flush=True)
    daemon.useNameServer(Names())
    daemon.connect(thing, name)
    return daemon


if KIND == "own handlers":
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, own_handler)
before = handlers()
daemon = make("thing")
if KIND == "thread":
    threading.Thread(target=daemon.requestLoop, daemon=True).start()
    while True:
        time.sleep(1)  # the main thread has nothing to do until the signal ends it
if KIND in ("two", "one after another"):
    other = make("other")
    gevent.spawn(other.requestLoop)
    gevent.sleep(0.01)
if KIND == "one after another":
    looks = iter([True, False])
    third = gpyro.Daemon(port=0, norange=True)
    third.requestLoop(lambda: next(looks), 0.05)
    gevent.spawn_later(0.05, print, "first loop ended", flush=True)
if KIND == "two":
    gevent.spawn_later(0.05, print, "looping", flush=True)
daemon.requestLoop()
print("loop ended", flush=True)
gevent.sleep(0.05)
print("handlers", "as before" if handlers() == before else handlers(), flush=True)
print("after", flush=True)
