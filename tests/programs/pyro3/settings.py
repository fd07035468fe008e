"""Prints settings from environment, Pyro.conf and code."""

import Pyro.configuration
import Pyro.util

config = Pyro.config
print(config.PYRO_NS_DEFAULTGROUP, config.PYRO_BC_TIMEOUT, config.PYRO_ES_BLOCKQUEUE, config.PYRO_TRACELEVEL)
print("file", config.PYRO_CONFIG_FILE)
config.PYRO_PORT = 4000
config.PYRO_MULTITHREADED = 1
config.PYRO_NS_HOSTNAME = ""
print(config.PYRO_PORT, config.PYRO_NS_HOSTNAME, config.PYRO_DNS_URI)
own = Pyro.configuration.Config()
own.setup("")
print("own", own.PYRO_PORT, own.PYRO_NS_DEFAULTGROUP, repr(own.PYRO_CONFIG_FILE))
