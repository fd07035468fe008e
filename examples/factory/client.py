"""Two customers with a cart each: one pays, one leaves the cart standing for the shop to put away.

`python examples/factory/client.py`, while server.py runs.
"""

from decimal import Decimal

import gpyro

shop = gpyro.Proxy("PYRONAME://shop")
anna, bert = shop.cart("Anna"), shop.cart("Bert")
anna.put(Decimal("2.80"))
bert.put(Decimal("4.20"))
anna.put(Decimal("0.15"))
print("Anna pays", anna.pay())
try:
    anna.put(Decimal("1.00"))
except gpyro.errors.UnknownObjectError:
    print("Anna's cart has been put away.")
print("Bert leaves his cart standing.")
