"""A client that is not patched and waits: in a call, for events, or in a method that the server calls back."""

import sys
import time

import gpyro
from gpyro.eventserver import Subscriber


class Visitor(gpyro.ObjBase):
    def work(self):
        print("waits", flush=True)
        time.sleep(600)


uri, kind = sys.argv[1:]
try:
    if kind == "call":
        proxy = gpyro.Proxy(uri)
        print("waits", flush=True)
        proxy.wait()
    elif kind == "callback":
        print("answer", gpyro.Proxy(uri).call_back(Visitor()))
    elif kind == "oneway callback":
        host, visitor = gpyro.Proxy(uri), Visitor()
        host.call_back_later(visitor)
        print("callbacks", gpyro.run_callbacks(600))
    else:
        subscriber = Subscriber(esURI=uri)
        subscriber.subscribe("a")
        print("waits", flush=True)
        subscriber.listen()
except KeyboardInterrupt:
    print("interrupted", flush=True)
