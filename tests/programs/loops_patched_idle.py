"""A patched program that has its daemon serve what is pending, where that is nothing."""

from gevent import monkey

monkey.patch_all()

import gpyro

daemon = gpyro.Daemon(port=0, norange=True)
daemon.getServerSockets()
for _ in range(20):
    daemon.handleRequests(0)
daemon.shutdown(True)
print("ended", flush=True)
