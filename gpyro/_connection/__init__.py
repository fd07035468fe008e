"""The parts of `gpyro.connection`: its tuning, the calls it serves, what it knows by reference."""
