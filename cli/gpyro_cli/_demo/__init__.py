"""The parts of `gpyro demo`: the values, the object server, its processes, and the steps."""
