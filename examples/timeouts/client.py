"""Three ways to wait no longer than one likes to; each of them stops the call at the server too.

`python examples/timeouts/client.py`, while server.py runs.
"""

import gevent

import gpyro

oven = gpyro.Proxy("PYRONAME://oven")

# Each call of this proxy has so many seconds.
oven._setTimeout(1)
print(oven.bake("bread", 0.1))
try:
    oven.bake("pizza", 3600)
except gpyro.errors.TimeoutError as exc:
    print("no pizza:", exc)
oven._setTimeout(None)

# All calls in the block have so many seconds together, those that the server makes for them included.
try:
    with gpyro.deadline(1):
        print(oven.bake("bun", 0.1))
        print(oven.bake("cake", 3600))
except gpyro.errors.TimeoutError as exc:
    print("no cake:", exc)

# A greenlet that is killed gives up the call that it waits for.
waiting = gevent.spawn(oven.bake, "roast", 3600)
oven.bake("toast", 0)
waiting.kill()
print("no roast: its greenlet was killed")
