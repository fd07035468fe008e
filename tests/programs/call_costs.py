"""Counts what calls cost on either side: `serve` is one process, `count ADDRESS` the other.

The latter is told line by line, in JSON, what to count: what is done, with which large value if any, by which
meter, FEW and MANY times, how often. It answers in JSON: for each side, what one of MANY costs more than FEW do,
which leaves out what beginning and ending cost. Of several counts it is the least, as a clock may tick in one.
"""

import gc
import json
import sys
from collections import Counter

import gevent
from meters import METERS

import gpyro

TEXT = "hello, world"
GREENLETS = 100


def make_value(kind, size):
    if kind == "ndarray":
        import numpy

        return numpy.ones(size // 8)
    return {"bytes": bytes, "bytearray": bytearray, "memoryview": memoryview}[kind](bytes(size))


class Counted(gpyro.ObjBase):
    def __init__(self):
        super().__init__()
        self.meter = None
        self.value = None

    def echo(self, value):
        return value

    def take(self, value):
        return len(value)

    def give(self):
        return self.value

    def prepare(self, kind, size):
        self.value = make_value(kind, size)

    def begin(self, name):
        self.meter = METERS[name]()
        self.meter.begin()

    def end(self):
        return self.meter.end()


class Works:
    """What is done a number of times between beginning and end."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.value = None
        self.held = []

    def prepare(self, kind, size):
        self.value = make_value(kind, size)
        self.proxy.prepare(kind, size)

    def turn(self, times):
        echo = self.proxy.echo
        for _ in range(times):
            echo(TEXT)

    def together(self, times):
        gevent.joinall([gevent.spawn(self.turn, times // GREENLETS) for _ in range(GREENLETS)], raise_error=True)

    def take(self, times):
        take, value = self.proxy.take, self.value
        for _ in range(times):
            take(value)

    def give(self, times):
        give = self.proxy.give
        for _ in range(times):
            give()

    def connect(self, times):
        for _ in range(times):
            self.held.append(gpyro.Proxy(self.proxy.URI))
            self.held[-1].echo(TEXT)


def count_once(proxy, work, times, meter):
    here = METERS[meter]()
    proxy.begin(meter)
    here.begin()
    work(times)
    client = here.end()
    return client, proxy.end()


def total(figures):
    return sum(count for name, count in figures.items() if name != "places")


def count(proxy, work, meter, few, many, repeat):
    """Return the figures of client and server; `few` may be 0, for what is counted with its first time."""
    if few:
        for _ in range(2):
            work(few)
            count_once(proxy, work, few, meter)
    before, after = (
        least([count_once(proxy, work, times, meter) for _ in range(repeat)]) for times in (few, many)
    )
    client, server = (per_time(*pair, many - few) for pair in zip(before, after, strict=True))
    return {"client": client, "server": server}


def least(counts):
    return [min(side, key=total) for side in zip(*counts, strict=True)]


def per_time(before, after, times):
    places = Counter(after["places"])
    places.subtract(before["places"])
    figures = {name: (after[name] - before[name]) / times for name in after if name != "places"}
    return {**figures, "places": {name: number / times for name, number in places.most_common() if number}}


def serve():
    daemon = gpyro.Daemon(host="127.0.0.1", port=0, norange=True)
    print("serving", daemon.connect(Counted()), flush=True)
    daemon.requestLoop()


def count_for(address):
    proxy = gpyro.Proxy(address)
    works = Works(proxy)
    for line in sys.stdin:
        name, value, *rest = json.loads(line)
        if value:
            works.prepare(*value)
        print("counted", json.dumps(count(proxy, getattr(works, name), *rest)), flush=True)
    proxy._release()


# Collections come when they like; what is left for them is another count.
gc.disable()
if sys.argv[1] == "serve":
    serve()
else:
    count_for(sys.argv[2])
