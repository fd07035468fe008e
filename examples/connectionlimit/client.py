"""Three visitors at a server that serves two: the third is refused, and gets in once another one has left.

`python examples/connectionlimit/client.py`, while server.py runs.
"""

import gpyro

anna, bert, carl = (gpyro.Proxy("PYRONAME://cafe") for _ in range(3))
print("Anna:", anna.sit_down())
print("Bert:", bert.sit_down())
try:
    carl.sit_down()
except gpyro.errors.ConnectionDeniedError as exc:
    print("Carl:", exc)

anna._release()
carl.adapter.rebindURI(tries=50, wait=0.1)  # until the server has seen that she left
print("Carl, after Anna has left:", carl.sit_down())
