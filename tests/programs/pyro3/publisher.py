"""A publisher."""

import Pyro.core
import Pyro.EventService.Clients

Pyro.core.initClient()
publisher = Pyro.EventService.Clients.Publisher()
publisher.publish("cars.RED", "first")
publisher.publish(["Stock.SUNW", "Bond.DE"], 12.5)
publisher.publish("Stock.IBM", ("a", 1))
print("published to", Pyro.constants.EVENTSERVER_NAME)
