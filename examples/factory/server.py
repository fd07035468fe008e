"""A shop that makes a cart for each customer who asks, and clears away carts that are left standing.

`python examples/factory/server.py`, then client.py.
"""

import argparse
from decimal import Decimal

import gpyro


class Cart(gpyro.ObjBase):
    """A short-lived object: it has no name, only those reach it who are given a proxy for it."""

    def __init__(self, owner):
        super().__init__()
        self._owner = owner
        self._total = Decimal(0)

    def put(self, price):
        self._total += price

    def pay(self):
        """Return what everything costs; the cart is put away."""
        self.getDaemon().disconnect(self)
        return self._total

    def _gotReaped(self):
        print(f"The cart of {self._owner} was left standing and is put away.")


class Shop(gpyro.ObjBase):
    def cart(self, owner):
        cart = Cart(owner)
        self.getDaemon().connect(cart)
        return cart.getProxy()


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--age", type=float, default=10, help="seconds until an unused cart is put away (default: 10)")
options = parser.parse_args()

daemon = gpyro.Daemon()
daemon.setTransientsCleanupAge(options.age)
daemon.useNameServer(gpyro.naming.NameServerLocator().getNS())
daemon.connect(Shop(), "shop")
print("The shop is open; ctrl-C closes it.")
daemon.requestLoop()
