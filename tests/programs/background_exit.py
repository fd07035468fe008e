"""A server in a background thread whose program just ends; its argument is the name server's port."""

import sys
import threading

import gpyro


class Thing:
    def echo(self, value):
        return value


daemon = gpyro.Daemon(port=0, norange=True)
daemon.useNameServer(gpyro.naming.NameServerLocator().getNS("127.0.0.1", int(sys.argv[1])))
uri = daemon.connect(Thing(), "kept")
threading.Thread(target=daemon.requestLoop, daemon=True).start()
proxy = gpyro.Proxy(uri)
print(proxy.echo(1))
