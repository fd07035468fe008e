"""The parts of the name server; `gpyro.naming` is the door."""
