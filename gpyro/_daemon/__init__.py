"""The parts of `gpyro.daemon`: what is connected, and the service that runs on a hub."""
