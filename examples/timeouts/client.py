"""Three ways to wait no longer than one likes to; each of them stops the call at the server too.

`python examples/timeouts/client.py`, while server.py runs.
"""

import gevent

import gpyro

oven = gpyro.Proxy("PYRONAME://oven")

# Each call of this proxy has so many seconds.
oven._setTimeout(2)
print(oven.bake("bread", 0.1))
try:
    oven.bake("pizza", 3600)
except gpyro.errors.TimeoutError as exc:
    print("no pizza:", exc)
oven._setTimeout(None)

# All calls in the block have so many seconds together, those that the server makes for them included.
try:
    with gpyro.deadline(2):
        print(oven.bake("bun", 0.1))
        print(oven.bake("cake", 3600))
except gpyro.errors.TimeoutError as exc:
    print("no cake:", exc)

# Whatever else ends the wait, such as gevent's own Timeout or kill(), gives the call up as well.
try:
    with gevent.Timeout(2):
        print(oven.bake("roast", 3600))
except gevent.Timeout as exc:
    print("no roast:", exc)
