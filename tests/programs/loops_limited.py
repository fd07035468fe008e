"""A patched server with few descriptors."""

from gevent import monkey

monkey.patch_all()

import logging
import resource
import sys
import time

import gpyro

logging.basicConfig(level=logging.WARNING)
LIMIT = int(sys.argv[1])
if LIMIT:
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))


class Thing(gpyro.ObjBase):
    def echo(self, value):
        return value

    def connections(self):
        return len(daemon._service._connections)

    def used(self):
        """Return the seconds of processor time since the last call."""
        before, self.before = getattr(self, "before", 0.0), time.process_time()
        return self.before - before


# The listener, not the limit on connections, is what this is about.
daemon = gpyro.Daemon(port=0, norange=True)
daemon._service._max_connections = 16000
print("serving", daemon.connect(Thing()), flush=True)
daemon.requestLoop()
