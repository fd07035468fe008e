"""Two sessions side by side: a proxy has a connection of its own, and a connection is a session.

`python examples/sessions/client.py`, while server.py runs.
"""

import gpyro

anna = gpyro.Proxy("PYRONAME://market")
bert = gpyro.Proxy("PYRONAME://market")
anna.put("tea")
bert.put("coffee")
anna.put("cake")
for who, market in (("Anna", anna), ("Bert", bert)):
    session, basket = market.basket()
    print(f"{who}, in session {session}, has {basket}.")

anna._release()  # closes the connection; the next call opens another one
session, basket = anna.basket()
print(f"Anna, in session {session}, has {basket}.")
