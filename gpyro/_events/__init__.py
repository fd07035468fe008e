"""The parts of the event server; `gpyro.eventserver` is the door."""
