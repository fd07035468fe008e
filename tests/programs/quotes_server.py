"""The seed's server: an object of each kind, served until a signal."""

import gpyro
import gpyro.naming


class Quotes(gpyro.ObjBase):
    def __init__(self):
        gpyro.ObjBase.__init__(self)
        self.sum = 0

    def getName(self):
        return "quotes"

    def answerQuestion(self, q):
        return 42


gpyro.initServer(banner=1)
ns = gpyro.naming.NameServerLocator().getNS()
daemon = gpyro.Daemon()
daemon.useNameServer(ns)
uri = daemon.connect(Quotes(), "our_object")


class Plain:
    def hello(self, who):
        return "hello " + who


ns.createGroup(":Test")
ns.createGroup(":Test.simple")
obj = gpyro.ObjBase()
obj.delegateTo(Plain())
daemon.connect(obj, ":Test.simple.object1")


class Both(gpyro.ObjBase, Plain):
    def __init__(self):
        gpyro.ObjBase.__init__(self)
        Plain.__init__(self)


transient = daemon.connect(Both())
print("transient", transient)
print("serving", uri, flush=True)
try:
    daemon.requestLoop()
finally:
    daemon.shutdown(True)
    print("registered at the end:", sorted(name for name in daemon.getRegistered().values() if name), flush=True)
