"""The parts behind `gpyro.hub`, the one door to gevent, sockets and threads."""
