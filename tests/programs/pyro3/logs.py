"""Both of Pyro's logs, and settings that are changed while the program runs."""

import os

import Pyro.core
import Pyro.util
from Pyro.util import Log, UserLogger

Pyro.config.PYRO_TRACELEVEL = 2
Pyro.config.PYRO_USER_TRACELEVEL = 3
Pyro.config.PYRO_LOGFILE = os.path.join(Pyro.config.PYRO_STORAGE, "system.log")
Pyro.config.PYRO_USER_LOGFILE = "$STORAGE/user.log"
Log.msg("logs", "not written")
Log.warn("logs", "a warning", 1, [2])
Log.error("logs", "an error")
user = UserLogger()
user.msg("logs", "a note")
user.raw("raw text\n")

print(isinstance(Log, Pyro.util.SystemLogger), Pyro.config.PYRO_USER_LOGFILE)
