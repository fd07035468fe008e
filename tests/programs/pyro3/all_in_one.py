"""Name server, event server and a daemon in one select loop of the program's own: PORT of the name server."""

import select
import sys

import Pyro.core
import Pyro.EventService.Server
import Pyro.naming

Pyro.core.initServer()
names = Pyro.naming.NameServerStarter()
names.initialize(hostname="localhost", port=int(sys.argv[1]), dontlookupother=1, nobroadcast=1)
events = Pyro.EventService.Server.EventServiceStarter()
events.initialize(hostname="localhost", port=0, useNameServer=0)
daemon = Pyro.core.Daemon(host="localhost", port=0, norange=1)
print("started", names.waitUntilStarted(), events.waitUntilStarted(), flush=True)
names.getServerSockets()
daemon.useNameServer(Pyro.naming.NameServerLocator().getNS("localhost"))
daemon.NameServer.createGroup(":Test")
daemon.connect(Pyro.core.ObjBase(), ":Test.echo")
print("events", events.uri, flush=True)
while True:
    servers = [names, events, daemon]
    sockets = {sock: server for server in servers for sock in server.getServerSockets()}
    for ready in select.select(list(sockets), [], [], 20)[0]:
        sockets[ready].handleRequests(0)
