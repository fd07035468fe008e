"""A client: calls the object that the name server knows as "greeter", as if it were in this program.

`python examples/quickstart/client.py`, while server.py runs.
"""

import gpyro

greeter = gpyro.Proxy("PYRONAME://greeter")
print(greeter.greet("Anna"))
print(greeter.greet(name="Bert"))
