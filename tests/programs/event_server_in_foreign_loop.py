"""An event server in a select loop of the program's own, ended by the first line on stdin."""

import select
import sys

import gpyro.eventserver

starter = gpyro.eventserver.EventServiceStarter()
starter.initialize("127.0.0.1", 0, useNameServer=0)
print("up", starter.uri, flush=True)
while starter.getServerSockets():
    ready, _, _ = select.select([*starter.getServerSockets(), sys.stdin], [], [], 20)
    if sys.stdin in ready:
        starter.shutdown()
    elif ready:
        starter.handleRequests(0)
print("ended", starter, flush=True)
