"""Hears whether it comes from a network that the server lets in.

`python examples/hostfilter/client.py`, while server.py runs.
"""

import gpyro

greeter = gpyro.Proxy("PYRONAME://local_greeter")
try:
    print(greeter.greet("Anna"))
except gpyro.errors.ConnectionDeniedError as exc:
    if exc.code == gpyro.auth.DENIED_HOSTBLOCKED:
        print("My network is not let in:", exc)
    else:
        raise
