"""The seed's foreign loop: the program selects, gpyro handles."""

import select

import gpyro


class Switch(gpyro.ObjBase):
    def __init__(self):
        gpyro.ObjBase.__init__(self)
        self.running = True

    def echo(self, value):
        return value

    def off(self):
        self.running = False
        return "off"


switch = Switch()
daemon = gpyro.Daemon()
print("serving", daemon.connect(switch), flush=True)
rounds = 0
while switch.running:
    socks = daemon.getServerSockets()
    ins, outs, exs = select.select(socks, [], [], 2)
    for s in socks:
        if s in ins:
            daemon.handleRequests()
            rounds += 1
            break
daemon.shutdown(True)
print("ended", rounds > 0, flush=True)
