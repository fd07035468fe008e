"""A server with Pyro.ext.remote_nons."""

import sys

from Pyro.ext.remote_nons import handle_requests, provide_server_object


class Counter:
    def __init__(self):
        self.value = 3

    def add(self, number):
        self.value += number
        return self.value


provide_server_object(Counter(), "counter", "localhost", int(sys.argv[1]))
print("serving", flush=True)
print("ended", handle_requests())
