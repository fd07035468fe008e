"""A guest who is called by the kitchen; that needs no port here, calls come back over the guest's own connection.

`python examples/callbacks/client.py`, while server.py runs.
"""

import gpyro


class Guest(gpyro.ObjBase):
    """An ObjBase that is passed in a call stays where it is, and the other side gets a proxy for it."""

    def __init__(self):
        super().__init__()
        self._waits_for = set()

    def hear(self, text):
        print("I hear that", text)

    def get(self, dish):
        print("I get the", dish)
        self._waits_for.discard(dish)

    def dine(self, kitchen):
        print("I get", kitchen.cook("leek", self))  # during the call it hears how that comes along
        for dish, seconds in (("roast", 0.5), ("soup", 0.25)):
            self._waits_for.add(dish)
            kitchen.order(dish, seconds, self)
        while self._waits_for:
            # Between calls, callbacks are served in here.
            if not gpyro.run_callbacks(timeout=60):
                raise SystemExit("Nothing has come for a minute, so I go home.")


Guest().dine(gpyro.Proxy("PYRONAME://kitchen"))
