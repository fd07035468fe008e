"""The client, which has a class of its own under the server's name."""

import sys

import Pyro.core
from shapes import Shape


class Pair:
    pass


shapes = Pyro.core.getProxyForURI(sys.argv[1])
grown, known = shapes.grow(Shape(5))
print(grown.sides, type(grown) is Shape, known)
pair = shapes.pair()
print(type(pair) is Pair, pair.first.sides, pair.second["four"].sides)
