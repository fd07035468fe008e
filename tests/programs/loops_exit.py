"""A server that ends without a shutdown, in one of several ways."""

import atexit
import os
import sys
import threading

import gevent

import gpyro


class Names:
    def register(self, name, uri):
        print("registered", name, flush=True)

    def unregister(self, name):
        print("unregistered", name, flush=True)


HOW = sys.argv[1]
if HOW == "unix":
    daemon = gpyro.Daemon(host=f"./u:{os.getcwd()}/calls.sock")
else:
    daemon = gpyro.Daemon(port=0, norange=True)
daemon.useNameServer(Names())
daemon.connect(gpyro.ObjBase(), "thing")
if HOW in ("ran", "unix", "error"):
    daemon.requestLoop(lambda: gevent.sleep(0.01))
elif HOW == "thread":
    started = threading.Event()
    threading.Thread(target=daemon.requestLoop, args=(lambda: started.set() or True,), daemon=True).start()
    started.wait(10)
elif HOW == "shutdown in atexit":
    daemon.handleRequests(0)
    atexit.register(daemon.shutdown)
if HOW == "error":
    raise RuntimeError("on purpose")
