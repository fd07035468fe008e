"""The seed's server as a program for Pyro 3: `import Pyro` and nothing of gpyro."""

import Pyro.core
import Pyro.naming


class Quotes(Pyro.core.ObjBase):
    def __init__(self):
        Pyro.core.ObjBase.__init__(self)
        self.sum = 0

    def getName(self):
        return "quotes"

    def answerQuestion(self, q):
        return 42


Pyro.core.initServer(banner=1)
ns = Pyro.naming.NameServerLocator().getNS()
daemon = Pyro.core.Daemon()
daemon.useNameServer(ns)
uri = daemon.connect(Quotes(), "our_object")


class Plain:
    def hello(self, who):
        return "hello " + who


for group in (":Test", ":Test.simple"):
    try:
        ns.createGroup(group)
    except Pyro.errors.NamingError:
        pass
try:
    ns.unregister(":Test.simple.object1")
except Pyro.errors.NamingError as x:
    print("unregister:", type(x).__name__)
obj = Pyro.core.ObjBase()
obj.delegateTo(Plain())
daemon.connect(obj, ":Test.simple.object1")


class Both(Pyro.core.ObjBase, Plain):
    def __init__(self):
        Pyro.core.ObjBase.__init__(self)
        Plain.__init__(self)


transient = daemon.connect(Both())
print("transient", transient)
print("serving", uri, flush=True)
try:
    daemon.requestLoop()
except KeyboardInterrupt:
    print("interrupted")
finally:
    daemon.shutdown(True)
    print("registered at the end:", sorted(name for name in daemon.getRegistered().values() if name), flush=True)
