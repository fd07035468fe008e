"""An event server on a free port; with `-N` its address is printed and nobody else is told."""

import sys

import gpyro
from gpyro.eventserver import EVENTSERVER_NAME, EventService

daemon = gpyro.Daemon(port=0, norange=True)
service = EventService()
if "-N" not in sys.argv:
    daemon.useNameServer(gpyro.naming.NameServerLocator().getNS())
    print("URI=", daemon.connect(service, EVENTSERVER_NAME))
else:
    print("URI=", daemon.connect(service))
print("Event Server started.", flush=True)
try:
    daemon.requestLoop()
finally:
    daemon.shutdown(True)
