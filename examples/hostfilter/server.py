"""Lets in callers of some networks only, with a validator that is asked about each new connection.

`python examples/hostfilter/server.py 127.0.0.0/8`, then client.py; try it with 10.0.0.0/8 too.
"""

import argparse
from ipaddress import ip_address, ip_network

import gpyro


class NetworkFilter(gpyro.auth.DefaultConnValidator):
    def __init__(self, networks):
        super().__init__()
        self._networks = networks

    def acceptHost(self, daemon, connection):
        address = ip_address(connection.addr[0])
        if any(address in network for network in self._networks):
            return 1, 0
        print("not let in:", address)
        return 0, gpyro.auth.DENIED_HOSTBLOCKED


class Greeter:
    def greet(self, name):
        return f"Hello, {name}!"


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("networks", metavar="NETWORK", nargs="+", type=ip_network, help="such as 192.168.1.0/24")
options = parser.parse_args()

daemon = gpyro.Daemon(validator=NetworkFilter(options.networks))
daemon.useNameServer(gpyro.naming.NameServerLocator().getNS())
daemon.connect(Greeter(), "local_greeter")
print("The greeter is for", ", ".join(map(str, options.networks)), "only; ctrl-C ends it.")
daemon.requestLoop()
