"""A client with Pyro.ext.remote_nons."""

import sys

import Pyro.ext.remote_nons

counter = Pyro.ext.remote_nons.get_server_object("counter", "localhost", int(sys.argv[1]))
print(counter.add(4), counter.value)
