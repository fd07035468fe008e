"""Takes its objects out while it runs: by object, by id, by address."""

import gpyro
import gpyro.naming


class Thing(gpyro.ObjBase):
    def here(self):
        return True


class Remover(gpyro.ObjBase):
    def __init__(self):
        gpyro.ObjBase.__init__(self)
        self.things = [Thing(), Thing(), Thing()]

    def remove_by_object(self):
        daemon.disconnect(self.things[0])

    def remove_by_uid(self):
        uids = [uid for uid, name in daemon.getRegistered().items() if name == "thing1"]
        daemon.disconnect(uids[0])

    def remove_by_uri(self):
        daemon.disconnect(uris[2])


daemon = gpyro.Daemon()
daemon.useNameServer(gpyro.naming.NameServerLocator().getNS())
remover = Remover()
uris = [daemon.connect(thing, f"thing{number}") for number, thing in enumerate(remover.things)]
daemon.connect(remover, "remover")
print("serving", flush=True)
try:
    daemon.requestLoop()
finally:
    daemon.shutdown(True)
