"""The parts of `gpyro.pyro3` that are more than names: installing, running, settings, old helpers."""
