"""A patched process in which the first remote call is made in a greenlet that ends."""

from gevent import monkey

monkey.patch_all()

import gevent

import gpyro


class Thing(gpyro.ObjBase):
    def echo(self, value):
        return value


daemon = gpyro.Daemon(port=0, norange=True)
uri = daemon.connect(Thing())
server = gevent.spawn(daemon.requestLoop)
proxy = gpyro.Proxy(uri)
print("first", gevent.spawn(proxy.echo, 1).get(timeout=10))
gevent.sleep(0.01)
print("second", gevent.spawn(proxy.echo, 2).get(timeout=10))
print("connections", len(daemon._service._connections))
daemon.shutdown()
server.join(10)
