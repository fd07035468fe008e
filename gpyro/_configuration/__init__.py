"""The parts of `gpyro.configuration`: the table of items, and where values come from."""
