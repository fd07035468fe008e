"""A server that holds names: KIND, the name server's port, names.

It says "up" when it holds them, "done" when it has done what its kind is about, and "serving" in its loop.
"""

import os
import sys
import time
import warnings

KIND, PORT, *NAMES = sys.argv[1:]
if KIND == "patched":
    from gevent import monkey

    monkey.patch_all()

import gpyro

warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on: a fork in a process with threads

#: Longer than two of the leases that the tests give.
HELD_UP_SECONDS = 2.5

ns = gpyro.naming.NameServerLocator().getNS("127.0.0.1", int(PORT))
daemon = gpyro.Daemon(port=0, norange=True)
daemon.useNameServer(ns)
objects = [gpyro.ObjBase() for _ in NAMES]
for obj, name in zip(objects, NAMES, strict=True):
    if name.startswith("kept"):
        daemon.connect(obj, name)
        daemon.connectPersistent(obj, name)
    else:
        daemon.connect(obj, name, member=KIND == "member")
# The lease is not this connection's.
ns._release()
print("up", flush=True)

if KIND == "sleep":
    time.sleep(HELD_UP_SECONDS)  # holds the hub: a lease has to outlast that
    print("done", flush=True)
elif KIND == "spin":
    until = time.monotonic() + HELD_UP_SECONDS
    while time.monotonic() < until:
        pass
    print("done", flush=True)
elif KIND == "fork":
    pid = os.fork()
    if pid == 0:
        print("child", os.getpid(), flush=True)
        time.sleep(60)  # the child has nothing to do until the test kills it
        os._exit(0)
elif KIND == "forked child ends":
    if os.fork() == 0:
        sys.exit(0)
    os.wait()
    print("done", flush=True)
elif KIND == "forked child holds":
    if os.fork() == 0:
        own = gpyro.Daemon(port=0, norange=True)
        own.useNameServer(ns)
        own.connect(gpyro.ObjBase(), "child's")
        print("child up", flush=True)
        sys.exit(0)
    os.wait()
    print("done", flush=True)
elif KIND == "end":
    sys.exit(0)
lines = ["serving"]
daemon.requestLoop(lambda: not lines or not print(lines.pop(), flush=True), timeout=None)
