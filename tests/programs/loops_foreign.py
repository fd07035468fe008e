"""A server whose program has an event loop of its own: select, gevent's select, a patched select, asyncio."""

import sys

KIND, UNTIL_CONNECTIONS = sys.argv[1], int(sys.argv[2])
if KIND == "patched":
    from gevent import monkey

    monkey.patch_all()

import asyncio
import resource
import select
import time

import gevent
import gevent.select

import gpyro

resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


class Thing(gpyro.ObjBase):
    def __init__(self):
        gpyro.ObjBase.__init__(self)
        self.running = True
        self.rounds = 0

    def echo(self, value):
        return value

    def nap(self, seconds):
        gevent.sleep(seconds)
        return "slept"

    @gpyro.offload
    def block(self, seconds):
        time.sleep(seconds)  # blocks its thread: that is what offloading is for
        return "blocked"

    def ask(self, uri, value):
        return gpyro.Proxy(uri).echo(value)

    def idle(self):
        """Return the wake-ups, and the seconds of processor time, since the last call."""
        rounds, self.rounds = self.rounds, 0
        used, self.used = getattr(self, "used", 0.0), time.process_time()
        return rounds, self.used - used

    def off(self):
        self.running = False


thing = Thing()
daemon = gpyro.Daemon(port=0, norange=True)
uri = daemon.connect(thing)
if UNTIL_CONNECTIONS:
    # The loop of the program's own begins when most connections are there already.
    print("serving", uri, flush=True)
    while len(daemon._service._connections) < UNTIL_CONNECTIONS:
        daemon.handleRequests(1.0)


def serve(selecting):
    while thing.running:
        socks = daemon.getServerSockets()
        ins, _, _ = selecting(socks, [], [], 2)
        thing.rounds += 1
        for sock in socks:
            if sock in ins:
                daemon.handleRequests()
                break


async def serve_asyncio():
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def readable():
        thing.rounds += 1
        daemon.handleRequests()
        if not thing.running:
            ended.set()

    for sock in daemon.getServerSockets():
        loop.add_reader(sock, readable)
    await ended.wait()
    for sock in daemon.getServerSockets():
        loop.remove_reader(sock)


print("looping" if UNTIL_CONNECTIONS else "serving", uri, flush=True)
if KIND == "asyncio":
    asyncio.run(serve_asyncio())
else:
    serve(gevent.select.select if KIND == "gevent" else select.select)
daemon.shutdown(True)
print("ended", flush=True)
