"""An object whose public attributes can be read and set from outside.

`python examples/attributes/server.py`, then client.py.
"""

import gpyro


class Thermostat(gpyro.ObjBase):
    """Attributes of an ObjBase are for everybody who has an AttrProxy, but for those with an underscore."""

    def __init__(self):
        super().__init__()
        self.room = "kitchen"
        self.readings = [19.5, 20.0, 20.5]
        self._target = 20.0

    @property
    def target(self):
        return self._target

    @target.setter
    def target(self, degrees):
        if not 5 <= degrees <= 30:
            raise ValueError(f"{degrees} degrees; this heating does 5 to 30")
        self._target = degrees

    def average(self):
        return sum(self.readings) / len(self.readings)


daemon = gpyro.Daemon()
daemon.useNameServer(gpyro.naming.NameServerLocator().getNS())
daemon.connect(Thermostat(), "thermostat")
print("The thermostat is ready; ctrl-C ends it.")
daemon.requestLoop()
