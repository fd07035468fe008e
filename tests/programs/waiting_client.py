"""A client that is not patched and waits: in a call, or for events."""

import sys

import gpyro
from gpyro.eventserver import Subscriber

uri, kind = sys.argv[1:]
try:
    if kind == "call":
        proxy = gpyro.Proxy(uri)
        print("waits", flush=True)
        proxy.wait()
    else:
        subscriber = Subscriber(esURI=uri)
        subscriber.subscribe("a")
        print("waits", flush=True)
        subscriber.listen()
except KeyboardInterrupt:
    print("interrupted", flush=True)
