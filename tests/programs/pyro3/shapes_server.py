"""A server that takes and gives objects of the program's own classes by value."""

import Pyro.core
from shapes import Shape


class Pair:
    def __init__(self, first, second):
        self.first = first
        self.second = second


class Shapes(Pyro.core.ObjBase):
    def grow(self, shape):
        return [shape.grown(), isinstance(shape, Shape)]

    def pair(self):
        return Pair(Shape(3), {"four": Shape(4)})


daemon = Pyro.core.Daemon(host="localhost", port=0, norange=1)
print("serving", daemon.connect(Shapes()), flush=True)
daemon.requestLoop()
